// SPDX-License-Identifier: MIT
// Entries of the generic suite: normalisation, softmax, losses and pooling.
#include <algorithm>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <adze/ops/batch_norm.hpp>
#include <adze/ops/batch_norm_act.hpp>
#include <adze/ops/cross_entropy.hpp>
#include <adze/ops/loss.hpp>
#include <adze/ops/nll_loss.hpp>
#include <adze/ops/norm.hpp>
#include <adze/ops/pool.hpp>
#include <adze/ops/softmax.hpp>

#include "suite.hpp"

namespace adze::suite::suite_norm_test {
namespace {

using samples_of = std::function<std::vector<sample>(index_t)>;

struct extent {
  index_t threads_n = 0;
  std::vector<index_t> sizes{};
};
void entry_for(std::string name, const samples_of& samples, const extent& x = {}) {
  entry e;
  e.name = std::move(name);
  e.samples = samples;
  e.threads_n = x.threads_n;
  e.sizes = x.sizes;
  e.temporaries = true;
  add("norm", e);
}
drawn sized(const shape& s) { return {.sizes = s}; }
drawn maybe(bool given, const shape& s) {
  return given ? drawn{.sizes = s, .low = 0.3, .high = 2} : no_input();
}

// Normalisation ------------------------------------------------------------------------------

// Groups of elements that are normalised together, weighed by element: `group_of` and `weight_of`
// say by flat index which statistics and which weight belong to it.
struct grouping {
  index_t groups;
  std::function<index_t(index_t)> group_of, weight_of;
};
array normalized(const array& x, const array& w, const array& b, const grouping& g, double eps,
                 bool center) {
  std::vector<double> mean(static_cast<std::size_t>(g.groups)), square = mean, count = mean;
  const auto at = [&](index_t i) { return static_cast<std::size_t>(g.group_of(i)); };
  for (index_t i = 0; i < x.numel(); ++i) {
    mean[at(i)] += x[i];
    count[at(i)] += 1;
  }
  for (std::size_t k = 0; k < mean.size(); ++k) mean[k] = center ? mean[k] / count[k] : 0;
  for (index_t i = 0; i < x.numel(); ++i) square[at(i)] += std::pow(x[i] - mean[at(i)], 2);
  array y(x.sizes);
  for (index_t i = 0; i < x.numel(); ++i) {
    y[i] = (x[i] - mean[at(i)]) / std::sqrt(square[at(i)] / count[at(i)] + eps);
    if (w.defined()) y[i] *= w[g.weight_of(i)];
    if (b.defined()) y[i] += b[g.weight_of(i)];
  }
  return y;
}

constexpr tolerance normal{16, 16, 2};

void normalisations() {
  entry_for("layer_norm",
            [](index_t n) {
              const auto layer = [](const shape& s, index_t axes, bool w, bool b) {
                index_t inner = 1;
                shape weight;
                for (index_t i = s.rank() - axes; i < s.rank(); ++i) {
                  inner *= s[i];
                  weight = weight.inserted(weight.rank(), s[i]);
                }
                inner = std::max<index_t>(1, inner);
                const grouping g{s.numel() / inner, [=](index_t i) { return i / inner; },
                                 [=](index_t i) { return i % inner; }};
                return sample{op_of(layer_norm_op<>{axes, 1e-5}),
                              {sized(s), maybe(w, weight), maybe(b, weight)},
                              [=](const arrays& x) {
                                return arrays{normalized(x[0], x[1], x[2], g, 1e-5, true)};
                              },
                              normal};
              };
              return std::vector<sample>{
                  layer({3, n + 2}, 1, true, true), layer({n, 5}, 1, true, false),
                  layer({2, 3, n + 1}, 2, true, true), layer({n, 2, 3}, 1, false, false)};
            },
            {.threads_n = 4000});
  entry_for(
      "rms_norm",
      [](index_t n) {
        const auto rms = [](const shape& s, bool w) {
          const index_t inner = std::max<index_t>(1, s.back());
          const grouping g{s.numel() / inner, [=](index_t i) { return i / inner; },
                           [=](index_t i) { return i % inner; }};
          return sample{
              op_of(rms_norm_op<>{1, 1e-6}),
              {sized(s), maybe(w, {s.back()})},
              [=](const arrays& x) { return arrays{normalized(x[0], x[1], {}, g, 1e-6, false)}; },
              normal};
        };
        return std::vector<sample>{rms({3, n + 2}, true), rms({n, 5}, false), rms({2, n, 3}, true)};
      },
      {.threads_n = 4000});
  entry_for(
      "group_norm",
      [](index_t n) {
        const auto group = [](const shape& s, index_t groups, bool w) {
          const index_t pixels =
              std::max<index_t>(1, s.numel() / std::max<index_t>(1, s[0] * s[1]));
          const index_t inner = pixels * s[1] / groups;
          const grouping g{s[0] * groups, [=](index_t i) { return i / inner; },
                           [=](index_t i) { return i / pixels % s[1]; }};
          return sample{
              op_of(group_norm_op<>{groups, 1e-5}),
              {sized(s), maybe(w, {s[1]}), maybe(w, {s[1]})},
              [=](const arrays& x) { return arrays{normalized(x[0], x[1], x[2], g, 1e-5, true)}; },
              normal};
        };
        return std::vector<sample>{group({2, 4, n + 1, 2}, 2, true), group({2, 6, n + 2}, 6, false),
                                   group({n, 4, 2, 3}, 1, true), group({3, 2 * n + 2}, 1, true)};
      },
      {.threads_n = 2000});
  for (const bool training : {true, false}) {
    entry_for(training ? "batch_norm" : "batch_norm_eval",
              [=](index_t n) {
                const auto batch = [=](const shape& s, bool w) {
                  const index_t pixels =
                      std::max<index_t>(1, s.numel() / std::max<index_t>(1, s[0] * s[1]));
                  const grouping g{s[1], [=](index_t i) { return i / pixels % s[1]; },
                                   [=](index_t i) { return i / pixels % s[1]; }};
                  drawn mean{.sizes = {s[1]}, .type = f32, .constant = true}, var = mean;
                  var.low = 0.3;
                  return sample{training ? op_of(batch_norm_op<>{}) : op_of(batch_norm_eval_op<>{}),
                                {sized(s), maybe(w, {s[1]}), maybe(w, {s[1]}), mean, var},
                                [=](const arrays& x) {
                                  if (training)
                                    return arrays{normalized(x[0], x[1], x[2], g, 1e-5, true)};
                                  array y(s);
                                  for (index_t i = 0; i < y.numel(); ++i) {
                                    const index_t c = g.group_of(i);
                                    y[i] = (x[0][i] - x[3][c]) / std::sqrt(x[4][c] + 1e-5);
                                    if (w) y[i] = y[i] * x[1][c] + x[2][c];
                                  }
                                  return arrays{y};
                                },
                                normal};
                };
                return std::vector<sample>{batch({n + 3, 4}, true), batch({2, 3, n + 2, 2}, true),
                                           batch({3, n, 2}, true), batch({3, 2, n + 1}, false)};
              },
              {.threads_n = 4000});
  }
  entry_for("batch_norm_act",
            [](index_t n) {
              const auto batch = [](const shape& s, norm_activation act, bool adds) {
                const index_t pixels =
                    std::max<index_t>(1, s.numel() / std::max<index_t>(1, s[0] * s[1]));
                const auto channel = [=](index_t i) { return i / pixels % s[1]; };
                const drawn running{.sizes = {s[1]}, .low = 0.3, .type = f32, .constant = true};
                return sample{op_of(batch_norm_act_op<>{act, adds}),
                              {sized(s),
                               {.sizes = {s[1]}, .low = 2, .high = 6},
                               maybe(adds, {s[1]}),
                               running,
                               running,
                               adds ? sized(s) : no_input()},
                              [=](const arrays& x) {
                                const grouping g{s[1], channel, channel};
                                array y = normalized(x[0], x[1], x[2], g, 1e-5, true);
                                const double top = act == norm_activation::relu6 ? 6 : 1e300;
                                for (index_t i = 0; i < y.numel(); ++i)
                                  y[i] = std::clamp(adds ? y[i] + x[5][i] : y[i], 0.0, top);
                                return arrays{y};
                              },
                              normal};
              };
              using enum norm_activation;
              return std::vector<sample>{
                  batch({n + 3, 4}, relu, false), batch({2, 3, n + 2, 2}, relu6, true),
                  batch({3, n, 2}, relu6, false), batch({3, 2, n + 1}, relu, true)};
            },
            {.threads_n = 4000});
  for (const bool logarithm : {false, true}) {
    entry_for(logarithm ? "log_softmax" : "softmax",
              [=](index_t n) {
                const auto soft = [=](const shape& s, index_t axis) {
                  return sample{
                      logarithm ? op_of(log_softmax_op<>{axis}) : op_of(softmax_op<>{axis}),
                      {{.sizes = s, .low = -5, .high = 5}},
                      [=](const arrays& x) {
                        const around r(s, axis);
                        array y(s);
                        for (index_t o = 0; o < r.outer * r.inner; ++o) {
                          const index_t at = o / r.inner * r.n * r.inner + o % r.inner;
                          double sum = 0;
                          for (index_t k = 0; k < r.n; ++k) {
                            sum += std::exp(x[0][at + k * r.inner]);
                          }
                          for (index_t k = 0; k < r.n; ++k) {
                            const double v = x[0][at + k * r.inner];
                            y[at + k * r.inner] = logarithm ? v - std::log(sum) : std::exp(v) / sum;
                          }
                        }
                        return arrays{y};
                      },
                      logarithm ? tolerance{8, 16} : tolerance{16, 2}};
                };
                std::vector<sample> v{soft({3, n}, -1), soft({n, 4}, 1), soft({n + 1, 3}, 0),
                                      soft({2, n, 3}, 1)};
                if (n == 1) v.push_back(soft({}, -1));
                return v;
              },
              {.threads_n = 9000});
  }
}

// Losses -------------------------------------------------------------------------------------

array reduced(const array& each, reduction reduce, double denominator) {
  if (reduce == reduction::none) return each;
  array y{shape{}};
  for (const double v : each.v) y[0] += v;
  if (reduce == reduction::mean) y[0] /= denominator;
  return y;
}

sample cross_entropy_of(const shape& s, bool weighed, double smoothing, index_t ignored,
                        reduction reduce) {
  const index_t axis = s.rank() == 1 ? 0 : 1, classes = s[axis];
  const shape rows = s.erased(axis);
  drawn weight = maybe(weighed, {classes});
  weight.constant = true;
  return {op_of(cross_entropy_op<>{ignored, smoothing, reduce}),
          {{.sizes = s, .low = -4, .high = 4}, whole_numbers(rows, classes), weight},
          [=](const arrays& x) {
            const around r(s, axis);
            const auto w = [&](index_t c) { return weighed ? x[2][c] : 1.0; };
            array each(rows);
            double denominator = 0;
            for (index_t i = 0; i < each.numel(); ++i) {
              const index_t at = i / r.inner * r.n * r.inner + i % r.inner;
              const auto t = static_cast<index_t>(x[1][i]);
              double sum = 0, all = 0;
              for (index_t k = 0; k < classes; ++k) sum += std::exp(x[0][at + k * r.inner]);
              const auto log_p = [&](index_t k) { return x[0][at + k * r.inner] - std::log(sum); };
              for (index_t k = 0; k < classes; ++k) all += w(k) * log_p(k);
              if (t == ignored) continue;
              each[i] = -(1 - smoothing) * w(t) * log_p(t) -
                        smoothing / static_cast<double>(classes) * all;
              denominator += w(t);
            }
            return arrays{reduced(each, reduce, denominator)};
          },
          {16, 16, static_cast<double>(reduce == reduction::sum ? rows.numel() + 1 : 1)}};
}

sample nll_loss_of(const shape& s, bool weighed, index_t ignored, reduction reduce) {
  const index_t axis = s.rank() == 1 ? 0 : 1, classes = s[axis];
  const shape rows = s.erased(axis);
  drawn weight = maybe(weighed, {classes});
  weight.constant = true;
  return {op_of(nll_loss_op<>{ignored, reduce}),
          {{.sizes = s, .low = -4, .high = 0}, whole_numbers(rows, classes), weight},
          [=](const arrays& x) {
            const around r(s, axis);
            array each(rows);
            double denominator = 0;
            for (index_t i = 0; i < each.numel(); ++i) {
              const auto t = static_cast<index_t>(x[1][i]);
              if (t == ignored) continue;
              const double w = weighed ? x[2][t] : 1.0;
              each[i] = -w * x[0][i / r.inner * r.n * r.inner + i % r.inner + t * r.inner];
              denominator += w;
            }
            return arrays{reduced(each, reduce, denominator)};
          },
          {4, 4, static_cast<double>(reduce == reduction::sum ? rows.numel() + 1 : 1)}};
}

void losses() {
  entry_for("cross_entropy",
            [](index_t n) {
              using enum reduction;
              return std::vector<sample>{cross_entropy_of({n + 1, 5}, false, 0, -100, mean),
                                         cross_entropy_of({3, n + 1}, true, 0.1, -100, sum),
                                         cross_entropy_of({n, 4}, true, 0, 1, none),
                                         cross_entropy_of({2, 3, n}, false, 0.2, 2, sum),
                                         cross_entropy_of({2, n + 2, 3}, true, 0.1, 0, none),
                                         cross_entropy_of({n + 1}, false, 0, -100, mean)};
            },
            {.threads_n = 3000});
  entry_for("nll_loss",
            [](index_t n) {
              using enum reduction;
              return std::vector<sample>{nll_loss_of({n + 1, 5}, false, -100, mean),
                                         nll_loss_of({3, n + 1}, true, -100, sum),
                                         nll_loss_of({n, 4}, true, 1, none),
                                         nll_loss_of({2, n + 2, 3}, true, 0, none),
                                         nll_loss_of({n + 1}, false, -100, mean)};
            },
            {.threads_n = 3000});
  entry_for("mse_loss",
            [](index_t n) {
              const auto squared = [](const shape& s, bool average) {
                return sample{op_of(mse_loss_op<>{average}),
                              {sized(s), sized(s)},
                              [=](const arrays& x) {
                                array each(s);
                                for (index_t i = 0; i < each.numel(); ++i) {
                                  each[i] = std::pow(x[0][i] - x[1][i], 2);
                                }
                                return arrays{reduced(each,
                                                      average ? reduction::mean : reduction::sum,
                                                      static_cast<double>(s.numel()))};
                              },
                              {8, 4}};
              };
              return std::vector<sample>{squared({n + 1}, true), squared({n, 3}, false),
                                         squared({2, n + 1, 3}, true)};
            },
            {.threads_n = 20000});
  // Both are functions of two elements; scalars broadcast, though the public calls refuse it.
  const drawn probability{.low = 0.05, .high = 0.95};
  add("norm", elementwise(op_of(binary_cross_entropy_op<>{}), 2,
                          [](const std::vector<double>& x) {
                            return -x[1] * std::log(x[0]) - (1 - x[1]) * std::log1p(-x[0]);
                          },
                          {.input = probability, .allowed = {8, 16}, .special = false}));
  add("norm", elementwise(op_of(bce_with_logits_op<>{}), 2,
                          [](const std::vector<double>& x) {
                            return std::max(x[0], 0.0) - x[0] * x[1] +
                                   std::log1p(std::exp(-std::abs(x[0])));
                          },
                          {.inputs = {{.low = -4, .high = 4, .kinks = {0.0}}, probability},
                           .allowed = {8, 16},
                           .special = false}));
}

// Pooling ------------------------------------------------------------------------------------

struct window {
  std::vector<index_t> rows{}, columns{};  // inside the image
  double size = 0;                         // what an average divides by
};
using windows = std::vector<std::vector<window>>;  // by pixel of the result

windows windows_of(const pool_geometry& g, const shape& x, const shape& y) {
  windows all;
  const pool_options& o = g.options;
  for (index_t i = 0; i < y[2]; ++i) {
    std::vector<window> line;
    for (index_t j = 0; j < y[3]; ++j) {
      window w;
      index_t padded[2];
      for (const std::size_t a : {0u, 1u}) {
        const index_t at = a == 0 ? i : j, n = x[2 + static_cast<index_t>(a)];
        std::vector<index_t>& inside = a == 0 ? w.rows : w.columns;
        index_t first = at * g.stride(a) - o.padding[a], count = o.kernel[a], step = o.dilation[a];
        if (g.is_adaptive()) {
          const index_t m = g.adaptive[a];
          first = at * n / m;
          count = ((at + 1) * n + m - 1) / m - first;
          step = 1;
        }
        for (index_t k = 0; k < count; ++k) {
          const index_t p = first + k * step;
          if (p >= 0 && p < n) inside.push_back(p);
        }
        padded[a] = std::min(first + count, n + o.padding[a]) - first;
      }
      w.size = static_cast<double>(w.rows.size() * w.columns.size());
      if (!g.is_adaptive() && o.count_include_pad)
        w.size = static_cast<double>(padded[0] * padded[1]);
      line.push_back(w);
    }
    all.push_back(line);
  }
  return all;
}
const window& at(const windows& all, const place& p) {
  return all[static_cast<std::size_t>(p[2])][static_cast<std::size_t>(p[3])];
}
shape pooled(const shape& x, const pool_geometry& g) {
  const pool_options& o = g.options;
  const auto size = [&](index_t n, std::size_t a) {
    if (g.is_adaptive()) return g.adaptive[a];
    const index_t room = n + 2 * o.padding[a] - o.dilation[a] * (o.kernel[a] - 1) - 1;
    index_t count = (room + (o.ceil_mode ? g.stride(a) - 1 : 0)) / g.stride(a) + 1;
    if (o.ceil_mode && (count - 1) * g.stride(a) >= n + o.padding[a]) --count;
    return count;
  };
  return {x[0], x[1], size(x[2], 0), size(x[3], 1)};
}

sample largest_of(const shape& x, const pool_geometry& g) {
  return {op_of(max_pool2d_op<>{g}),
          {{.sizes = x, .distinct = true}},
          [=](const arrays& v) {
            const shape to = pooled(x, g);
            const windows all = windows_of(g, x, to);
            return arrays{made(to, [&](const place& p) {
              double best = -std::numeric_limits<double>::infinity();
              for (const index_t h : at(all, p).rows) {
                for (const index_t w : at(all, p).columns)
                  best = std::max(best, v[0](p[0], p[1], h, w));
              }
              return best;
            })};
          },
          exact};
}
sample average_of(const shape& x, const pool_geometry& g) {
  return {op_of(avg_pool2d_op<>{g}),
          {sized(x)},
          [=](const arrays& v) {
            const shape to = pooled(x, g);
            const windows all = windows_of(g, x, to);
            return arrays{made(to, [&](const place& p) {
              double sum = 0;
              for (const index_t h : at(all, p).rows) {
                for (const index_t w : at(all, p).columns) sum += v[0](p[0], p[1], h, w);
              }
              return sum / at(all, p).size;
            })};
          },
          {4, 8}};
}
sample shared_out(const shape& x, const pool_geometry& g) {
  const shape from = pooled(x, g);
  return {op_of(avg_pool2d_gradient_op<>{g, {x[2], x[3]}}),
          {sized(from)},
          [=](const arrays& v) {
            const windows all = windows_of(g, x, from);
            array y(x);
            static_cast<void>(made(from, [&](const place& p) {
              for (const index_t h : at(all, p).rows) {
                for (const index_t w : at(all, p).columns) {
                  y(p[0], p[1], h, w) += v[0].at(p) / at(all, p).size;
                }
              }
              return 0.0;
            }));
            return arrays{y};
          },
          {4, 8}};
}

struct pool_case {
  shape x;
  pool_geometry g;
};
std::vector<pool_case> pool_cases(index_t n, bool dilated) {
  const index_t pixels = std::min<index_t>(n, 30) + 3, m = n;
  const auto options = [](const pool_options& o) { return pool_geometry{.options = o}; };
  std::vector<pool_case> v{
      {{2, 3, 4, pixels}, options({})},
      {{1, 2, pixels, 5}, options({.kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 1}})},
      {{1, 2, 5, pixels}, options({.kernel = {2, 3}, .stride = {2, 2}, .ceil_mode = true})},
      {{1, m, 4, 4}, options({.kernel = {3, 3}, .stride = {1, 1}, .padding = {1, 0}})},
      {{m, 2, 4, 3}, options({.kernel = {2, 2}, .stride = {1, 2}})},
      {{2, 2, 5, pixels}, {.adaptive = {2, 3}}},
      {{1, m, 3, 4}, {.adaptive = {1, 1}}}};
  v.push_back({{1, 2, 5, pixels},
               options({.kernel = {3, 3},
                        .stride = {2, 2},
                        .padding = {1, 1},
                        .ceil_mode = true,
                        .count_include_pad = false})});
  if (dilated)
    v.push_back(
        {{1, 2, 5, pixels + 2}, options({.kernel = {2, 3}, .stride = {1, 1}, .dilation = {2, 2}})});
  return v;
}
template <class Make> samples_of pools(bool dilated, const Make& make) {
  return [=](index_t n) {
    std::vector<sample> v;
    for (const pool_case& c : pool_cases(n, dilated)) v.push_back(make(c.x, c.g));
    return v;
  };
}

index_t whole(double x) { return static_cast<index_t>(x); }

drawn pixels(const shape& s, index_t below) {
  drawn d = whole_numbers(s, below);
  d.type = i32;
  return d;
}

void poolings() {
  const extent some{.threads_n = 300};
  entry_for("max_pool2d", pools(true, largest_of), some);
  entry_for("avg_pool2d", pools(false, average_of), some);
  entry_for("avg_pool2d_gradient", pools(false, shared_out), some);
  entry_for(
      "pool_gather",
      [](index_t n) {
        const auto fetched = [](const shape& x, const shape& y) {
          return sample{op_of(pool_gather_op<>{}),
                        {sized(x), pixels(y, x[2] * x[3])},
                        [=](const arrays& v) {
                          return arrays{made(y, [&](const place& p) {
                            const index_t i = whole(v[1].at(p));
                            return v[0](p[0], p[1], i / x[3], i % x[3]);
                          })};
                        },
                        exact};
        };
        return std::vector<sample>{fetched({2, 3, 3, n + 1}, {2, 3, 2, 2}),
                                   fetched({1, n, 3, 4}, {1, n, 2, 2}),
                                   fetched({1, 2, 3, 4}, {1, 2, 2, n})};
      },
      some);
  entry_for(
      "pool_scatter",
      [](index_t n) {
        const auto spread = [](const shape& x, const shape& y) {
          return sample{op_of(pool_scatter_op<>{{x[2], x[3]}}),
                        {sized(y), pixels(y, x[2] * x[3])},
                        [=](const arrays& v) {
                          array d(x);
                          static_cast<void>(made(y, [&](const place& p) {
                            const index_t i = whole(v[1].at(p));
                            d(p[0], p[1], i / x[3], i % x[3]) += v[0].at(p);
                            return 0.0;
                          }));
                          return arrays{d};
                        },
                        {4, 16}};
        };
        return std::vector<sample>{spread({2, 3, 3, n + 1}, {2, 3, 2, 2}),
                                   spread({1, n, 3, 4}, {1, n, 2, 2}),
                                   spread({1, 2, 3, 4}, {1, 2, 2, n})};
      },
      some);
}

const bool registered = (normalisations(), losses(), poolings(), true);

}  // namespace

TEST_CASE("suite: normalisation, losses and pooling") {
  CHECK(registered);
  run_family("norm");
}

}  // namespace adze::suite::suite_norm_test
