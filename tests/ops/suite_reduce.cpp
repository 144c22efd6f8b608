// SPDX-License-Identifier: MIT
// Entries of the generic suite: reductions over axes, norms of vectors, running sums.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <doctest/doctest.h>

#include <adze/ops/reduce.hpp>

#include "suite.hpp"

namespace adze::suite::suite_reduce_test {
namespace {

using values_of = std::vector<double>;
using fold = std::function<double(const values_of&)>;

// The elements that each result is made of, in row-major order, folded.
array folded(const array& x, const std::vector<index_t>& over, bool keep, const fold& f) {
  const index_t rank = x.sizes.rank();
  std::vector<bool> gone(static_cast<std::size_t>(rank), over.empty());
  for (const index_t a : over) gone[static_cast<std::size_t>(a < 0 ? a + rank : a)] = true;
  shape full;  // with axes of size 1
  std::vector<index_t> left;
  for (index_t a = 0; a < rank; ++a) {
    const bool g = gone[static_cast<std::size_t>(a)];
    full = full.inserted(a, g ? 1 : x.sizes[a]);
    if (!g || keep) left.push_back(g ? 1 : x.sizes[a]);
  }
  std::vector<values_of> parts(static_cast<std::size_t>(full.numel()));
  static_cast<void>(made(x.sizes, [&](const place& p) {
    index_t to = 0;
    for (index_t a = 0; a < rank; ++a) {
      to = to * full[a] + (full[a] == 1 ? 0 : p[static_cast<std::size_t>(a)]);
    }
    parts[static_cast<std::size_t>(to)].push_back(x.at(p));
    return 0.0;
  }));
  array y{shape(left)};
  for (index_t i = 0; i < y.numel(); ++i) y[i] = f(parts[static_cast<std::size_t>(i)]);
  return y;
}

struct shaped {
  shape sizes;
  std::vector<index_t> over;
  bool keep = false;
};

// One entry over several shapes and sets of axes.
template <class Make>
void reduction(std::string name, const Make& op, const fold& f, const drawn& input,
               const tolerance& allowed, const std::function<std::vector<shaped>(index_t)>& cases,
               smoothness gradient = smoothness::twice, std::optional<dtype> result = {}) {
  entry e;
  e.name = std::move(name);
  e.gradient = gradient;
  e.threads_n = 9000;
  e.temporaries = true;
  e.samples = [=](index_t n) {
    std::vector<sample> v;
    for (const shaped& c : cases(n)) {
      drawn d = input;
      d.sizes = c.sizes;
      tolerance t = allowed;
      if (t.scale > 1) t.scale = static_cast<double>(c.sizes.numel());  // of sums of all
      v.push_back({op(index_list(std::span(c.over)), c.keep),
                   {d},
                   [=](const arrays& x) {
                     array y = folded(x[0], c.over, c.keep, f);
                     y.type = result;
                     return arrays{y};
                   },
                   t});
    }
    return v;
  };
  add("reduce", e);
}

std::vector<shaped> usual(index_t n) {
  return {{{n}, {}},           {{3, n}, {1}},          {{n, 3}, {0}},         {{n, 4}, {-1}, true},
          {{2, n, 3}, {0, 2}}, {{2, n, 3}, {1}, true}, {{2, 3, n, 2}, {1, 2}}};
}
// Without a fold over nothing.
std::vector<shaped> nonempty(index_t n) {
  return {{{n + 1}, {}},        {{3, n + 1}, {1}},       {{n + 1, 3}, {0}},
          {{n, 4}, {-1}, true}, {{2, n + 1, 3}, {0, 2}}, {{n, 2, 3}, {1}, true}};
}
// With at least three elements folded.
std::vector<shaped> several(index_t n) {
  return {{{n + 3}, {}}, {{3, n + 3}, {1}}, {{n, 4}, {-1}, true}, {{3, n, 3}, {0, 2}}};
}

double total(const values_of& v) {
  long double s = 0;
  for (const double x : v) s += x;
  return static_cast<double>(s);
}

double variance(const values_of& v, double correction) {
  const double n = static_cast<double>(v.size()), mean = total(v) / n;
  values_of squares;
  for (const double x : v) squares.push_back((x - mean) * (x - mean));
  return total(squares) / (n - correction);
}

void sums() {
  const auto sum = [](const index_list& over, bool keep) { return op_of(sum_op<>{over, keep}); };
  reduction("sum", sum, total, {}, {2, 1, 2}, usual);
  reduction("sum of integers", sum, total, {.low = -9, .high = 9, .type = i32}, exact, usual,
            smoothness::none, i64);
  reduction("sum of truths", sum, total, {.type = bool8}, exact, usual, smoothness::none, i64);
  reduction(
      "mean",
      [](const index_list& over, bool keep) {
        return op_of(mean_op<>{over, keep});
      },
      [](const values_of& v) { return total(v) / static_cast<double>(v.size()); }, {}, {4, 4, 1},
      usual);
  for (const double correction : {0.0, 1.0}) {
    reduction(
        "var",
        [=](const index_list& over, bool keep) {
          return op_of(var_op<>{over, correction, keep});
        },
        [=](const values_of& v) { return variance(v, correction); }, {.low = 1, .high = 3},
        {8, 8, 1}, several);
    reduction(
        "std_dev",
        [=](const index_list& over, bool keep) {
          return op_of(std_dev_op<>{over, correction, keep});
        },
        [=](const values_of& v) { return std::sqrt(variance(v, correction)); },
        {.low = 1, .high = 3}, {8, 8, 1}, several);
  }
  const auto to = [](const shape& from, const shape& sizes, const std::vector<index_t>& over) {
    return sample{op_of(sum_to_op<>{sizes}),
                  {{.sizes = from}},
                  [=](const arrays& x) {
                    array y = over.empty() ? x[0] : folded(x[0], over, true, total);
                    y.sizes = sizes;
                    return arrays{y};
                  },
                  {2, 1, static_cast<double>(from.numel() + 1)}};
  };
  entry e{"sum_to", [to](index_t n) {
            return std::vector<sample>{to({n, 3}, {3}, {0}), to({2, n, 3}, {n, 1}, {0, 2}),
                                       to({3, n}, {1, n}, {0}), to({n, 2}, {n, 2}, {})};
          }};
  e.threads_n = 9000;
  e.temporaries = true;
  add("reduce", e);
}

void norms() {
  const double inf = std::numeric_limits<double>::infinity();
  for (const double p : {2.0, 1.0, 3.0, 1.5, inf, 0.0}) {
    const bool largest = p == inf;
    reduction(
        "norm",
        [=](const index_list& over, bool keep) {
          return op_of(norm_op<>{over, p, keep});
        },
        [=](const values_of& v) {
          double s = 0;
          for (const double x : v) {
            const double a = std::abs(x);
            s = largest ? std::max(s, a) : s + (p == 0 ? double(x != 0) : std::pow(a, p));
          }
          return largest || p == 0 ? s : std::pow(s, 1 / p);
        },
        {.low = largest ? 0.2 : -2, .kinks = {0.0}, .distinct = largest}, {8, 2, 1}, usual,
        p == 0 ? smoothness::none : smoothness::twice);
  }
  reduction(
      "logsumexp",
      [](const index_list& over, bool keep) {
        return op_of(logsumexp_op<>{over, keep});
      },
      [](const values_of& v) {
        long double s = 0;
        for (const double x : v) s += std::exp(static_cast<long double>(x));
        return static_cast<double>(std::log(s));
      },
      {}, {4, 4, 1}, usual);
}

void extremes() {
  using kernels::folds::largest;
  using kernels::folds::smallest;
  const drawn apart{.distinct = true};
  reduction(
      "amax",
      [](const index_list& over, bool keep) {
        return op_of(extreme<largest>{over, keep});
      },
      [](const values_of& v) { return *std::max_element(v.begin(), v.end()); }, apart, exact,
      nonempty);
  reduction(
      "amin",
      [](const index_list& over, bool keep) {
        return op_of(extreme<smallest>{over, keep});
      },
      [](const values_of& v) { return *std::min_element(v.begin(), v.end()); }, apart, exact,
      nonempty);
  reduction(
      "prod",
      [](const index_list& over, bool keep) {
        return op_of(prod_op<>{over, keep});
      },
      [](const values_of& v) {
        long double y = 1;
        for (const double x : v) y *= x;
        return static_cast<double>(y);
      },
      {.low = 0.9, .high = 1.1}, {24, 0}, usual);
  const auto whole = [](index_t n) { return std::vector<shaped>{{{n}, {}}, {{2, n, 3}, {}}}; };
  for (const double low : {-1.0, 0.6, 0.0}) {  // some zeros, none, all
    const drawn d{.low = low, .high = low == 0 ? 0.4 : 1.0, .grid = 1.0};
    reduction(
        "all", [](const index_list&, bool) { return op_of(truth_op<smallest>{}); },
        [](const values_of& v) {
          return double(std::all_of(v.begin(), v.end(), [](double x) { return x != 0; }));
        },
        d, exact, whole, smoothness::none, bool8);
    reduction(
        "any", [](const index_list&, bool) { return op_of(truth_op<largest>{}); },
        [](const values_of& v) {
          return double(std::any_of(v.begin(), v.end(), [](double x) { return x != 0; }));
        },
        d, exact, whole, smoothness::none, bool8);
  }
}

void running() {
  for (const bool reverse : {false, true}) {
    const auto along = [=](const shape& s, index_t axis) {
      return sample{op_of(cumsum_op<>{axis, reverse}),
                    {{.sizes = s}},
                    [=](const arrays& x) {
                      const around r(s, axis);
                      array y = x[0];
                      for (index_t o = 0; o < r.outer; ++o) {
                        for (index_t i = 0; i < r.inner; ++i) {
                          double sum = 0;
                          for (index_t k = 0; k < r.n; ++k) {
                            const index_t at = reverse ? r.n - 1 - k : k;
                            y[(o * r.n + at) * r.inner + i] = sum +=
                                x[0][(o * r.n + at) * r.inner + i];
                          }
                        }
                      }
                      return arrays{y};
                    },
                    {2, 1, static_cast<double>(s.numel() + 1)}};
    };
    entry e{"cumsum", [along](index_t n) {
              return std::vector<sample>{along({n}, 0), along({n, 3}, 0), along({3, n}, -1),
                                         along({2, n, 3}, 1)};
            }};
    e.threads_n = 10000;
    e.temporaries = true;
    add("reduce", e);
  }
}

const bool registered = (sums(), norms(), extremes(), running(), true);

}  // namespace

TEST_CASE("suite: reductions") {
  CHECK(registered);
  run_family("reduce");
}

}  // namespace adze::suite::suite_reduce_test
