// SPDX-License-Identifier: MIT
// Entries of the generic suite: matrix products, convolutions, attention and recurrent layers.
#include <algorithm>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <adze/ops/attention.hpp>
#include <adze/ops/conv.hpp>
#include <adze/ops/gru.hpp>
#include <adze/ops/linear.hpp>
#include <adze/ops/lstm.hpp>
#include <adze/ops/rnn.hpp>

#include "suite.hpp"

namespace adze::suite::suite_product_test {
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
  add("product", e);
}
tolerance of_terms(index_t n) { return {4, 2, static_cast<double>(n + 1)}; }
drawn sized(const shape& s) { return {.sizes = s}; }

// Matrices -----------------------------------------------------------------------------------

sample product(const shape& a, const shape& b) {
  return {op_of(matmul_op<>{}),
          {sized(a), sized(b)},
          [](const arrays& x) {
            array p = x[0], q = x[1];  // with the axes that vectors do not have
            const bool row = p.sizes.rank() == 1, column = q.sizes.rank() == 1;
            if (row) p.sizes = p.sizes.inserted(0, 1);
            if (column) q.sizes = q.sizes.inserted(1, 1);
            const index_t m = p.size(-2), k = p.size(-1), n = q.size(-1);
            const auto batch = [](const shape& s) {
              return s.erased(s.rank() - 1).erased(s.rank() - 2);
            };
            const shape lead = broadcast(batch(p.sizes), batch(q.sizes), "suite");
            shape to = lead;
            if (!row) to = to.inserted(to.rank(), m);
            if (!column) to = to.inserted(to.rank(), n);
            array y(to);
            const auto start = [&](const shape& s, index_t flat) {
              index_t at = 0, step = 1;
              for (index_t i = lead.rank() - 1; i >= 0; --i) {
                const index_t own = i - (lead.rank() - (s.rank() - 2));
                const index_t size = own < 0 ? 1 : s[own];
                at += size == 1 ? 0 : flat % lead[i] * step;
                flat /= lead[i];
                step *= size;
              }
              return at * s[s.rank() - 2] * s[s.rank() - 1];
            };
            for (index_t l = 0; l < lead.numel(); ++l) {
              const index_t at_p = start(p.sizes, l), at_q = start(q.sizes, l);
              for (index_t i = 0; i < m; ++i) {
                for (index_t j = 0; j < n; ++j) {
                  double s = 0;
                  for (index_t t = 0; t < k; ++t) s += p[at_p + i * k + t] * q[at_q + t * n + j];
                  y[(l * m + i) * n + j] = s;
                }
              }
            }
            return arrays{y};
          },
          of_terms(a.back())};
}

sample dense_layer(const shape& x, index_t out, bool bias, kernels::activation act) {
  const index_t in = x.back();
  return {op_of(linear_op<>{act}),
          {sized(x), sized({out, in}), bias ? sized({out}) : no_input()},
          [=](const arrays& v) {
            const shape to = x.with(x.rank() - 1, out);
            array y(to);
            for (index_t i = 0; i < y.numel(); ++i) {
              const index_t row = i / out, o = i % out;
              double s = bias ? v[2][o] : 0.0;
              for (index_t k = 0; k < in; ++k) s += v[0][row * in + k] * v[1](o, k);
              y[i] = act == kernels::activation::relu ? std::max(s, 0.0) : s;
            }
            return arrays{y};
          },
          of_terms(in)};
}

void matrices() {
  entry_for("matmul",
            [](index_t n) {
              return std::vector<sample>{
                  product({n, 5}, {5, 3}),      product({3, n}, {n, 4}),
                  product({4, 3}, {3, n}),      product({n}, {n}),
                  product({n, 4}, {4}),         product({3}, {3, n}),
                  product({2, 3, n}, {n, 2}),   product({2, 1, n, 3}, {4, 3, 2}),
                  product({n, 2, 3}, {n, 3, 2})};
            },
            {.threads_n = 150});
  for (const auto act : {kernels::activation::none, kernels::activation::relu}) {
    entry_for("linear",
              [=](index_t n) {
                return std::vector<sample>{
                    dense_layer({n, 5}, 4, true, act), dense_layer({3, n}, 6, true, act),
                    dense_layer({3, 4}, n, false, act), dense_layer({2, n, 3}, 5, true, act),
                    dense_layer({n}, 3, true, act)};
              },
              {.threads_n = 2000});
  }
}

// Convolutions -------------------------------------------------------------------------------

// y[n, o, i, j] += x[n, c, i s - p + k d, j s - p + l d] w[o, c, k, l], for every such term.
template <class F>
void each_term(const shape& x, const shape& w, const shape& y, const conv_options& o, F f) {
  const index_t in_group = x[1] / o.groups, out_group = w[0] / o.groups;
  for (index_t n = 0; n < y[0]; ++n) {
    for (index_t c = 0; c < y[1]; ++c) {
      for (index_t i = 0; i < y[2]; ++i) {
        for (index_t j = 0; j < y[3]; ++j) {
          for (index_t g = 0; g < in_group; ++g) {
            for (index_t k = 0; k < w[2]; ++k) {
              for (index_t l = 0; l < w[3]; ++l) {
                const index_t h = i * o.stride[0] - o.padding[0] + k * o.dilation[0];
                const index_t v = j * o.stride[1] - o.padding[1] + l * o.dilation[1];
                if (h < 0 || h >= x[2] || v < 0 || v >= x[3]) continue;
                f(place{n, c, i, j}, place{n, c / out_group * in_group + g, h, v},
                  place{c, g, k, l});
              }
            }
          }
        }
      }
    }
  }
}
shape convolved(const shape& x, const shape& w, const conv_options& o) {
  const auto size = [&](index_t n, index_t k, std::size_t a) {
    return (n + 2 * o.padding[a] - o.dilation[a] * (k - 1) - 1) / o.stride[a] + 1;
  };
  return {x[0], w[0], size(x[2], w[2], 0), size(x[3], w[3], 1)};
}
index_t terms(const shape& w) { return w[1] * w[2] * w[3]; }

sample convolution(const shape& x, const shape& w, const conv_options& o, bool bias = true,
                   kernels::activation act = kernels::activation::none) {
  return {op_of(conv2d_op<>{o, act}),
          {sized(x), sized(w), bias ? sized({w[0]}) : no_input()},
          [=](const arrays& v) {
            array y(convolved(x, w, o));
            each_term(x, w, y.sizes, o, [&](const place& to, const place& from, const place& by) {
              y.at(to) += v[0].at(from) * v[1].at(by);
            });
            const index_t pixels = y.size(2) * y.size(3);
            for (index_t i = 0; i < y.numel(); ++i) {
              if (bias) y[i] += v[2][i / pixels % w[0]];
              if (act == kernels::activation::relu) y[i] = std::max(y[i], 0.0);
            }
            return arrays{y};
          },
          of_terms(terms(w))};
}
// g [n, o, oh, ow] back to images of shape x.
sample transposed(const shape& x, const shape& w, const conv_options& o, bool bias = true) {
  const shape g = convolved(x, w, o);
  return {op_of(conv_transpose2d_op<>{o, {x[2], x[3]}}),
          {sized(g), sized(w), bias ? sized({x[1]}) : no_input()},
          [=](const arrays& v) {
            array y(x);
            each_term(x, w, g, o, [&](const place& from, const place& to, const place& by) {
              y.at(to) += v[0].at(from) * v[1].at(by);
            });
            const index_t pixels = x[2] * x[3];
            for (index_t i = 0; bias && i < y.numel(); ++i) y[i] += v[2][i / pixels % x[1]];
            return arrays{y};
          },
          of_terms(w[0] * w[2] * w[3] / o.groups)};
}
sample weight_gradient(const shape& x, const shape& w, const conv_options& o) {
  const shape g = convolved(x, w, o);
  return {op_of(conv2d_weight_gradient_op<>{o, {w[2], w[3]}}),
          {sized(x), sized(g)},
          [=](const arrays& v) {
            array y(w);
            each_term(x, w, g, o, [&](const place& at, const place& from, const place& to) {
              y.at(to) += v[0].at(from) * v[1].at(at);
            });
            return arrays{y};
          },
          of_terms(g[0] * g[2] * g[3])};
}

struct convolution_case {
  shape x, w;
  conv_options o{};
};
// n is in turn a width, a number of channels and a batch.
std::vector<convolution_case> convolution_cases(index_t n) {
  const index_t m = std::max<index_t>(1, n), pixels = std::min<index_t>(n, 20) + 3;
  return {{{2, 3, 5, pixels}, {4, 3, 3, 3}, {}},
          {{1, 2, pixels, 4}, {3, 2, 3, 2}, {.padding = {1, 1}}},
          {{1, 4, 6, pixels + 1}, {5, 4, 3, 3}, {.stride = {2, 2}, .padding = {1, 1}}},
          {{1, 1, 7, pixels + 2}, {2, 1, 3, 3}, {.padding = {2, 1}, .dilation = {2, 2}}},
          {{1, 4, 4, pixels}, {6, 2, 3, 3}, {.padding = {1, 1}, .groups = 2}},
          {{1, m, 4, 4}, {m, 1, 3, 3}, {.padding = {1, 1}, .groups = m}},
          {{1, m, 3, 3}, {3, m, 1, 1}, {}},
          {{1, 3, 4, 4}, {m, 3, 2, 3}, {.stride = {1, 2}}},
          {{std::min<index_t>(n, 4), 2, 3, 3}, {2, 2, 2, 2}, {}}};
}
template <class Make> samples_of convolutions(const Make& make) {
  return [make](index_t n) {
    std::vector<sample> v;
    for (const convolution_case& c : convolution_cases(n)) v.push_back(make(c));
    return v;
  };
}

void images() {
  const extent some{.threads_n = 40, .sizes = {0, 1, 2, 5, 8, 9, 17, 33}};
  entry_for("conv2d",
            convolutions([](const convolution_case& c) { return convolution(c.x, c.w, c.o); }),
            some);
  entry_for("conv2d, relu", convolutions([](const convolution_case& c) {
              return convolution(c.x, c.w, c.o, false, kernels::activation::relu);
            }),
            some);
  entry_for("conv_transpose2d", convolutions([](const convolution_case& c) {
              return transposed(c.x, c.w, c.o, c.x[1] % 2 == 1);
            }),
            some);
  entry_for("conv2d_weight_gradient",
            convolutions([](const convolution_case& c) { return weight_gradient(c.x, c.w, c.o); }),
            some);
}

// Attention ----------------------------------------------------------------------------------

struct attention_case {
  shape q, k, v, mask{};
  attention_options o{};
  std::optional<dtype> mask_type{};
  bool masked = false;
};
sample attended(const attention_case& c) {
  drawn mask{.sizes = c.mask, .low = -1.0, .high = 2.0, .type = c.mask_type};
  if (!c.masked) mask = no_input();
  const reference expected = [=](const arrays& x) {
    const index_t t = c.q[c.q.rank() - 2], d = c.q.back(), s = c.k[c.k.rank() - 2], e = c.v.back();
    const index_t heads = c.q.numel() / std::max<index_t>(1, t * d);
    const double scale = c.o.scale != 0 ? c.o.scale : 1 / std::sqrt(static_cast<double>(d));
    const double lowest = -std::numeric_limits<double>::infinity();
    array y(c.q.with(c.q.rank() - 1, e));
    for (index_t h = 0; h < heads; ++h) {
      for (index_t i = 0; i < t; ++i) {
        std::vector<double> weight(static_cast<std::size_t>(s));
        double top = lowest, sum = 0;
        for (index_t j = 0; j < s; ++j) {
          double& w = weight[static_cast<std::size_t>(j)];
          for (index_t k = 0; k < d; ++k)
            w += x[0][(h * t + i) * d + k] * x[1][(h * s + j) * d + k];
          w *= scale;
          if (c.masked) {  // [t, s], the same for all heads
            const double m = x[3](i, j);
            w = c.mask_type == bool8 ? (m != 0 ? w : lowest) : w + m;
          }
          if (c.o.causal && j > i) w = lowest;
          top = std::max(top, w);
        }
        for (double& w : weight) sum += w = top == lowest ? 0 : std::exp(w - top);
        for (index_t j = 0; j < s && sum > 0; ++j) {
          const double w = weight[static_cast<std::size_t>(j)] / sum;
          for (index_t k = 0; k < e; ++k) y[(h * t + i) * e + k] += w * x[2][(h * s + j) * e + k];
        }
      }
    }
    return arrays{y};
  };
  return {op_of(attention_op<>{.options = c.o}),
          {sized(c.q), sized(c.k), sized(c.v), mask},
          expected,
          {16, 16, 2}};
}

void attention() {
  entry_for(
      "scaled_dot_product_attention",
      [](index_t n) {
        const index_t m = std::min<index_t>(n, 40);
        return std::vector<sample>{
            attended({{2, m, 3}, {2, m + 2, 3}, {2, m + 2, 4}}),
            attended({{2, 2, m, 4}, {2, 2, m, 4}, {2, 2, m, 4}, {}, {.causal = true}}),
            attended({{3, m + 1}, {4, m + 1}, {4, 5}, {}, {.scale = 0.3}}),
            attended({{2, 3, 4}, {2, m, 4}, {2, m, 3}, {3, m}, {}, {}, true}),
            attended({{2, m, 4}, {2, 5, 4}, {2, 5, m + 1}, {m, 5}, {.causal = true}, bool8, true})};
      },
      {.threads_n = 33});
}

// Recurrent layers ---------------------------------------------------------------------------

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

// Sums of all gates over one row: W x + b, or U h + a.
std::vector<double> gate_sums(const array& w, const array& bias, const double* x) {
  std::vector<double> y(static_cast<std::size_t>(w.size(0)));
  for (index_t g = 0; g < w.size(0); ++g) {
    double s = bias.defined() ? bias[g] : 0.0;
    for (index_t c = 0; c < w.size(1); ++c) s += w(g, c) * x[c];
    y[static_cast<std::size_t>(g)] = s;
  }
  return y;
}

enum class cell { tanh, relu, lstm, gru };
sample recurrent(cell kind, index_t t, index_t b, index_t c, index_t h, bool bias) {
  const index_t gates = kind == cell::lstm ? 4 : kind == cell::gru ? 3 : 1;
  const any_op op = kind == cell::lstm   ? op_of(lstm_op<>{})
                    : kind == cell::gru  ? op_of(gru_op<>{})
                    : kind == cell::relu ? op_of(rnn_op<>{rnn_activation::relu})
                                         : op_of(rnn_op<>{});
  std::vector<drawn> in{sized({t, b, c}), sized({b, h})};
  if (kind == cell::lstm) in.push_back(sized({b, h}));
  const std::size_t w = in.size();
  for (const shape& s : {shape{gates * h, c}, shape{gates * h, h}}) {
    in.push_back({.sizes = s, .low = -0.7, .high = 0.7});
  }
  for (int i = 0; i < 2; ++i) in.push_back(bias ? sized({gates * h}) : no_input());
  const reference expected = [=](const arrays& x) {
    array all({t, b, h}), state = x[1], memory = kind == cell::lstm ? x[2] : array({b, h});
    for (index_t step = 0; step < t; ++step) {
      for (index_t row = 0; row < b; ++row) {
        const auto from_x = gate_sums(x[w], x[w + 2], x[0].v.data() + (step * b + row) * c);
        const auto from_h = gate_sums(x[w + 1], x[w + 3], state.v.data() + row * h);
        for (index_t k = 0; k < h; ++k) {
          const auto part = [&](index_t g) { return static_cast<std::size_t>(g * h + k); };
          const auto sum = [&](index_t g) { return from_x[part(g)] + from_h[part(g)]; };
          double& y = all(step, row, k);
          if (kind == cell::tanh) y = std::tanh(sum(0));
          if (kind == cell::relu) y = std::max(0.0, sum(0));
          if (kind == cell::lstm) {
            double& m = memory(row, k);
            m = logistic(sum(1)) * m + logistic(sum(0)) * std::tanh(sum(2));
            y = logistic(sum(3)) * std::tanh(m);
          }
          if (kind == cell::gru) {
            const double z = logistic(sum(1));
            const double n = std::tanh(from_x[part(2)] + logistic(sum(0)) * from_h[part(2)]);
            y = (1 - z) * n + z * state(row, k);
          }
        }
      }
      for (index_t i = 0; i < b * h; ++i) state[i] = all[step * b * h + i];
    }
    arrays results{all, state};
    if (kind == cell::lstm) results.push_back(memory);
    return results;
  };
  return {op, in, expected, {32, 32, static_cast<double>(t * 2)}};
}

void recurrences() {
  const std::pair<const char*, cell> kinds[] = {
      {"rnn", cell::tanh}, {"rnn, relu", cell::relu}, {"lstm", cell::lstm}, {"gru", cell::gru}};
  for (const auto& [name, kind] : kinds) {
    entry_for(name,
              [kind = kind](index_t n) {
                const index_t m = std::min<index_t>(n, 33);
                return std::vector<sample>{
                    recurrent(kind, 2, m, 2, 3, true), recurrent(kind, 2, 2, m, 2, false),
                    recurrent(kind, 1, 2, 3, m + 1, true),
                    recurrent(kind, std::clamp<index_t>(n, 1, 7), 1, 2, 2, true)};
              },
              {.threads_n = 32});
  }
}

const bool registered = (matrices(), images(), attention(), recurrences(), true);

}  // namespace

TEST_CASE("suite: products") {
  CHECK(registered);
  run_family("product");
}

}  // namespace adze::suite::suite_product_test
