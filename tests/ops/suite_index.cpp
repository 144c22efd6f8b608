// SPDX-License-Identifier: MIT
// Entries of the generic suite: gather, scatter and what else goes by integer indices; places of
// extremes and orders.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <doctest/doctest.h>

#include <adze/ops/embedding.hpp>
#include <adze/ops/places.hpp>
#include <adze/ops/sample.hpp>
#include <adze/ops/sort.hpp>

#include "suite.hpp"

namespace adze::suite::suite_index_test {
namespace {

using samples_of = std::function<std::vector<sample>(index_t)>;

void entry_for(std::string name, const samples_of& samples,
               smoothness gradient = smoothness::twice) {
  entry e;
  e.name = std::move(name);
  e.samples = samples;
  e.gradient = gradient;
  e.threads_n = 3000;
  e.temporaries = e.name == "max" || e.name == "argmax";
  add("index", e);
}

index_t whole(double x) { return static_cast<index_t>(x); }

// Where slice p of an axis belongs by an index of one axis.
place named_place(const array& index, place p, index_t axis) {
  index_t& i = p[static_cast<std::size_t>(axis)];
  i = whole(index[i]);
  return p;
}

sample gathered(const shape& x, const shape& index, index_t axis) {
  return {op_of(gather_op<>{axis}),
          {{.sizes = x}, whole_numbers(index, x[axis])},
          [=](const arrays& in) {
            return arrays{made(index, [&](place p) {
              const index_t to = whole(in[1].at(p));
              p[static_cast<std::size_t>(axis)] = to;
              return in[0].at(p);
            })};
          },
          exact};
}

template <bool adds> sample scattered(const shape& x, const shape& index, index_t axis) {
  drawn at = whole_numbers(index, x[axis]);
  at.distinct = !adds;
  return {op_of(scatter_any<adds>{axis}),
          {{.sizes = x}, at, {.sizes = index}},
          [=](const arrays& in) {
            array y = in[0];
            static_cast<void>(made(index, [&](const place& p) {
              place to = p;
              to[static_cast<std::size_t>(axis)] = whole(in[1].at(p));
              y.at(to) = (adds ? y.at(to) : 0.0) + in[2].at(p);
              return 0.0;
            }));
            return arrays{y};
          },
          adds ? tolerance{4, 16} : exact};
}

void indexed() {
  entry_for("gather", [](index_t n) {
    return std::vector<sample>{gathered({n + 1, 4}, {5, 4}, 0), gathered({3, 4}, {2, n}, 1),
                               gathered({4, n, 3}, {2, n, 3}, 0), gathered({n + 2}, {2 * n}, 0)};
  });
  entry_for("scatter", [](index_t n) {
    return std::vector<sample>{scattered<false>({n + 1}, {n + 1}, 0),
                               scattered<false>({3, n}, {1, n}, 0),
                               scattered<false>({n, 4, 2}, {n, 1, 2}, 1)};
  });
  entry_for("scatter_add", [](index_t n) {
    return std::vector<sample>{scattered<true>({n + 1}, {2 * n}, 0),
                               scattered<true>({3, n}, {5, n}, 0),
                               scattered<true>({n, 4, 2}, {n, 3, 2}, 1)};
  });
  entry_for("index_select", [](index_t n) {
    const auto selected = [](const shape& x, index_t count, index_t axis) {
      return sample{op_of(index_select_op<>{axis}),
                    {{.sizes = x}, whole_numbers({count}, x[axis])},
                    [=](const arrays& in) {
                      return arrays{made(x.with(axis, count), [&](place p) {
                        index_t& i = p[static_cast<std::size_t>(axis)];
                        i = whole(in[1][i]);
                        return in[0].at(p);
                      })};
                    },
                    exact};
    };
    return std::vector<sample>{selected({n + 1, 3}, 7, 0), selected({3, 4}, n, 1),
                               selected({n, 3, 2}, 4, 1)};
  });
  entry_for("index_add", [](index_t n) {
    const auto added = [](const shape& x, index_t count, index_t axis) {
      return sample{op_of(index_any<true>{axis}),
                    {{.sizes = x}, whole_numbers({count}, x[axis]), {.sizes = x.with(axis, count)}},
                    [=](const arrays& in) {
                      array y = in[0];
                      static_cast<void>(made(x.with(axis, count), [&](const place& p) {
                        return y.at(named_place(in[1], p, axis)) += in[2].at(p);
                      }));
                      return arrays{y};
                    },
                    {4, 16}};
    };
    return std::vector<sample>{added({n + 1, 3}, 5, 0), added({3, 4}, n, 1),
                               added({n, 3, 2}, 4, 1)};
  });
  entry_for("scatter_fill", [](index_t n) {
    const auto filled = [](const shape& x, const shape& index, index_t axis) {
      return sample{op_of(scatter_fill_op<>{axis, 0.75}),
                    {{.sizes = x}, whole_numbers(index, x[axis])},
                    [=](const arrays& in) {
                      array y = in[0];
                      static_cast<void>(made(index, [&](const place& p) {
                        place to = p;
                        to[static_cast<std::size_t>(axis)] = whole(in[1].at(p));
                        return y.at(to) = 0.75;
                      }));
                      return arrays{y};
                    },
                    exact};
    };
    return std::vector<sample>{filled({n + 1}, {2 * n}, 0), filled({3, n}, {5, n}, 0),
                               filled({n, 4, 2}, {n, 3, 2}, 1)};
  });
  entry_for("index_fill", [](index_t n) {
    const auto filled = [](const shape& x, index_t count, index_t axis) {
      return sample{op_of(index_fill_op<>{axis, 0.75}),
                    {{.sizes = x}, whole_numbers({count}, x[axis])},
                    [=](const arrays& in) {
                      array y = in[0];
                      static_cast<void>(made(x.with(axis, count), [&](const place& p) {
                        return y.at(named_place(in[1], p, axis)) = 0.75;
                      }));
                      return arrays{y};
                    },
                    exact};
    };
    return std::vector<sample>{filled({n + 1, 3}, 5, 0), filled({3, 4}, n, 1),
                               filled({n, 3, 2}, 4, 1)};
  });
  entry_for("index_copy", [](index_t n) {
    const auto copied = [](const shape& x, index_t count, index_t axis) {
      drawn at = whole_numbers({count}, x[axis]);
      at.distinct = true;
      return sample{op_of(index_any<false>{axis}),
                    {{.sizes = x}, at, {.sizes = x.with(axis, count)}},
                    [=](const arrays& in) {
                      array y = in[0];
                      static_cast<void>(made(x.with(axis, count), [&](const place& p) {
                        return y.at(named_place(in[1], p, axis)) = in[2].at(p);
                      }));
                      return arrays{y};
                    },
                    exact};
    };
    return std::vector<sample>{copied({n + 1, 3}, std::min<index_t>(n, 5), 0),
                               copied({3, n + 2}, n, 1), copied({n, 4, 2}, 3, 1)};
  });
  const samples_of hot = [](index_t n) {
    std::vector<sample> v;
    for (const shape& s : {shape{n}, shape{n, 2}}) {
      v.push_back({op_of(one_hot_op<>{5}),
                   {whole_numbers(s, 5)},
                   [s](const arrays& in) {
                     return arrays{made(s.inserted(s.rank(), 5), [&](place p) {
                                     const index_t c = p.back();
                                     p.pop_back();
                                     return double(whole(in[0].at(p)) == c);
                                   }).as(i64)};
                   },
                   exact});
    }
    return v;
  };
  entry_for("one_hot", hot, smoothness::none);
  entry_for("embedding", [](index_t n) {
    const auto rows = [](const shape& index, index_t width) {
      return sample{op_of(embedding_op<>{}),
                    {whole_numbers(index, 7), {.sizes = {7, width}}},
                    [=](const arrays& in) {
                      return arrays{made(index.inserted(index.rank(), width), [&](place p) {
                        const index_t c = p.back();
                        p.pop_back();
                        return in[1](whole(in[0].at(p)), c);
                      })};
                    },
                    exact};
    };
    return std::vector<sample>{rows({n}, 3), rows({2, n}, 5), rows({3}, n), rows({}, 4)};
  });
}

// The places of a line in the order of its values; of equals the first one first.
std::vector<index_t> ordered(const std::vector<double>& line, bool descending) {
  std::vector<index_t> at(line.size());
  std::iota(at.begin(), at.end(), 0);
  std::stable_sort(at.begin(), at.end(), [&](index_t a, index_t b) {
    const double x = line[static_cast<std::size_t>(a)], y = line[static_cast<std::size_t>(b)];
    return descending ? x > y : x < y;
  });
  return at;
}

// The first `count` in order along an axis: values and places.
arrays first_ones(const array& x, index_t axis, index_t count, bool descending) {
  const around r(x.sizes, axis);
  const shape to = x.sizes.rank() == 0 ? shape{} : x.sizes.with(axis, count);
  array y(to), places(to);
  std::vector<double> line(static_cast<std::size_t>(r.n));
  for (index_t o = 0; o < r.outer; ++o) {
    for (index_t i = 0; i < r.inner; ++i) {
      for (index_t k = 0; k < r.n; ++k) {
        line[static_cast<std::size_t>(k)] = x[(o * r.n + k) * r.inner + i];
      }
      const std::vector<index_t> at = ordered(line, descending);
      for (index_t k = 0; k < count; ++k) {
        const index_t from = at[static_cast<std::size_t>(k)];
        y[(o * count + k) * r.inner + i] = line[static_cast<std::size_t>(from)];
        places[(o * count + k) * r.inner + i] = static_cast<double>(from);
      }
    }
  }
  return {y, std::move(places).as(i64)};
}
array squeezed(array x, index_t axis, bool keep) {
  if (!keep) x.sizes = x.sizes.erased(axis);
  return x;
}

void orders() {
  for (const bool largest : {true, false}) {
    for (const bool keep : {true, false}) {
      entry_for("max", [=](index_t n) {
        const auto best = [=](const shape& s, index_t axis) {
          return sample{op_of(extreme_along_op<>{axis, keep, largest}),
                        {{.sizes = s, .distinct = true}},
                        [=](const arrays& x) {
                          arrays y = first_ones(x[0], axis, 1, largest);
                          return arrays{squeezed(y[0], axis, keep), squeezed(y[1], axis, keep)};
                        },
                        exact};
        };
        return std::vector<sample>{best({n + 1, 3}, 0), best({n, 4}, 1), best({2, n + 1, 2}, 1)};
      });
      const samples_of places = [=](index_t n) {
        const auto best = [=](const shape& s, index_t axis) {
          return sample{op_of(arg_extreme_op<>{axis, keep, largest}),
                        {{.sizes = s, .grid = 0.5}},
                        [=](const arrays& x) {
                          return arrays{
                              squeezed(first_ones(x[0], axis, 1, largest)[1], axis, keep)};
                        },
                        exact};
        };
        return std::vector<sample>{best({n + 1, 9}, 0), best({n, 4}, 1), best({2, n + 1, 4}, 1)};
      };
      entry_for("argmax", places, smoothness::none);
    }
    entry_for("topk", [=](index_t n) {
      const auto some = [=](const shape& s, index_t axis, index_t k) {
        return sample{
            op_of(topk_op<>{k, axis, largest}),
            {{.sizes = s, .distinct = true}},
            [=](const arrays& x) { return first_ones(x[0], axis, k < 0 ? s[axis] : k, largest); },
            exact};
      };
      return std::vector<sample>{some({n + 2, 3}, 0, 2), some({n, 4}, 1, 3), some({2, n}, 1, -1),
                                 some({2, n, 3}, 1, -1), some({3, n}, 0, 0)};
    });
    // Equal values keep their order; no gradient is asked, as it has steps there.
    const samples_of ties = [=](index_t n) {
      return std::vector<sample>{
          {op_of(topk_op<>{-1, 0, largest}),
           {{.sizes = {n, 3}, .grid = 0.5}},
           [=](const arrays& x) { return first_ones(x[0], 0, x[0].size(0), largest); },
           exact}};
    };
    entry_for("sort", ties, smoothness::none);
  }
}

// The value of a part of each line, and the places of the ranks around it.
void ranks() {
  const auto part = [](const shape& s, index_t axis, double q, bool lower) {
    return sample{op_of(quantile_op<>{q, axis, lower}),
                  {{.sizes = s, .distinct = true}},
                  [=](const arrays& x) {
                    const arrays all = first_ones(x[0], axis, s[axis], false);
                    const double rank = q * static_cast<double>(s[axis] - 1),
                                 below = std::floor(rank);
                    const auto one = [&](const array& from, double k) {
                      return made(s.with(axis, 1), [&](place p) {
                        p[static_cast<std::size_t>(axis)] = whole(k);
                        return from.at(p);
                      });
                    };
                    const double next = std::min(below + 1, static_cast<double>(s[axis] - 1));
                    array y = one(all[0], below);
                    const array upper = one(all[0], next);
                    for (index_t i = 0; !lower && i < y.numel(); ++i) {
                      y[i] += (upper[i] - y[i]) * (rank - below);
                    }
                    return arrays{y, one(all[1], below).as(i64), one(all[1], next).as(i64)};
                  },
                  lower ? exact : tolerance{4, 4}};
  };
  entry_for("quantile", [=](index_t n) {
    return std::vector<sample>{part({n + 1, 3}, 0, 0.3, false), part({n, 4}, 1, 0.5, true),
                               part({2, n + 1, 2}, 1, 0.9, false), part({3, n + 1}, 1, 1.0, false)};
  });
}

// Of one place there is but one draw; frequencies are in sample.cpp.
void draws() {
  entry_for(
      "multinomial",
      [](index_t n) {
        const auto drawing = [](const shape& s, index_t count) {
          return sample{
              op_of(multinomial_op<>{count, true}),
              {{.sizes = s, .low = 0.5, .high = 2}},
              [=](const arrays&) { return arrays{array(s.with(s.rank() - 1, count)).as(i64)}; },
              exact};
        };
        return std::vector<sample>{drawing({n, 1}, 3), drawing({1}, n + 1)};
      },
      smoothness::none);
}

const bool registered = (indexed(), orders(), ranks(), draws(), true);

}  // namespace

TEST_CASE("suite: ops by index and by order") {
  CHECK(registered);
  run_family("index");
}

}  // namespace adze::suite::suite_index_test
