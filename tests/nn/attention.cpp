// SPDX-License-Identifier: MIT
// Multi-head attention: PyTorch's parameters, and the definition in loops from them.
#include <limits>

#include <doctest/doctest.h>

#include <adze/nn/attention.hpp>
#include <adze/nn/state_dict.hpp>

#include "../ops/checks.hpp"

namespace adze {
namespace {

using namespace test;

// y [n, e] = x [n, e] w^T + b with rows first .. first + e of w and b.
std::vector<double> projected(const std::vector<double>& x, const tensor& w, const tensor& b,
                              std::size_t first, std::size_t e) {
  const auto weight = numbers(w);
  std::vector<double> y;
  for (std::size_t i = 0; i < x.size() / e; ++i) {
    for (std::size_t o = first; o < first + e; ++o) {
      double sum = b.defined() ? numbers(b)[o] : 0;
      for (std::size_t j = 0; j < e; ++j) sum += x[i * e + j] * weight[o * e + j];
      y.push_back(sum);
    }
  }
  return y;
}

// Batch by batch and head by head; mask [t, s], may be empty.
std::vector<double> naive(const nn::multi_head_attention& a, const tensor& query, const tensor& key,
                          const tensor& value, const std::vector<double>& mask) {
  const auto e = static_cast<std::size_t>(a.options.embed);
  const auto heads = static_cast<std::size_t>(a.options.heads), d = e / heads;
  const auto t = static_cast<std::size_t>(query.size(-2)),
             s = static_cast<std::size_t>(key.size(-2));
  const auto q = projected(numbers(query), a.in_proj_weight, a.in_proj_bias, 0, e);
  const auto k = projected(numbers(key), a.in_proj_weight, a.in_proj_bias, e, e);
  const auto v = projected(numbers(value), a.in_proj_weight, a.in_proj_bias, 2 * e, e);
  std::vector<double> mixed(q.size());
  for (std::size_t b = 0; b < q.size() / (t * e); ++b) {
    for (std::size_t h = 0; h < heads; ++h) {
      for (std::size_t i = 0; i < t; ++i) {
        std::vector<double> w(s);
        double total = 0;
        for (std::size_t j = 0; j < s; ++j) {
          double dot = 0;
          for (std::size_t n = h * d; n < (h + 1) * d; ++n) {
            dot += q[(b * t + i) * e + n] * k[(b * s + j) * e + n];
          }
          w[j] = std::exp(dot / std::sqrt(static_cast<double>(d)) +
                          (mask.empty() ? 0 : mask[i * s + j]));
          total += w[j];
        }
        for (std::size_t n = h * d; n < (h + 1) * d; ++n) {
          for (std::size_t j = 0; j < s; ++j) {
            mixed[(b * t + i) * e + n] += w[j] / total * v[(b * s + j) * e + n];
          }
        }
      }
    }
  }
  return projected(mixed, a.out_proj.weight, a.out_proj.bias, 0, e);
}

constexpr double inf = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("multi-head attention has PyTorch's names, order, shapes and zero biases") {
  std::string s;
  const nn::multi_head_attention a{{.embed = 6, .heads = 2}};
  for (const auto& [name, x] : state_dict(a)) s += text(name, " ", x, "\n");
  CHECK(s == "in_proj_weight f32[18,6]\nin_proj_bias f32[18]\nout_proj.weight f32[6,6]\n"
             "out_proj.bias f32[6]\n");
  CHECK(numbers(a.in_proj_bias) == std::vector<double>(18, 0.0));
  CHECK(numbers(a.out_proj.bias) == std::vector<double>(6, 0.0));
  CHECK(parameters(nn::multi_head_attention{{.embed = 6, .heads = 2, .bias = false}}).size() == 2);
}

TEST_CASE("multi-head attention equals its definition: of itself, of others, masked, causal") {
  for (const bool bias : {true, false}) {
    manual_seed(1);
    nn::multi_head_attention a{{.embed = 6, .heads = 2, .bias = bias, .type = f64}};
    if (bias) {
      nn::init::normal_(a.in_proj_bias);
      nn::init::normal_(a.out_proj.bias);
    }
    const tensor x = random({3, 4, 6}), key = random({3, 5, 6}), value = random({3, 5, 6});
    CHECK(off_by(a(x), naive(a, x, x, x, {})) < 1e-12);
    CHECK(off_by(a(x, {.key = key}), naive(a, x, key, key, {})) < 1e-12);
    CHECK(off_by(a(x, {.key = key, .value = value}), naive(a, x, key, value, {})) < 1e-12);
    CHECK(off_by(a(x, {.value = x}), naive(a, x, x, x, {})) < 1e-12);
    const tensor mask = random({4, 5});
    CHECK(off_by(a(x, {.key = key, .mask = mask}), naive(a, x, key, key, numbers(mask))) < 1e-12);
    std::vector<double> lower(16);
    for (std::size_t i = 0; i < 16; ++i) lower[i] = i % 4 > i / 4 ? -inf : 0;
    CHECK(off_by(a(x, {.causal = true}), naive(a, x, x, x, lower)) < 1e-12);
    CHECK(distance(a(select(x, 0, 1)), select(a(x), 0, 1)) < 1e-14);  // without a batch
  }
}

TEST_CASE("gradients of multi-head attention to input and parameters") {
  manual_seed(2);
  const nn::multi_head_attention a{{.embed = 4, .heads = 2, .type = f64}};
  list in = parameters(a);
  in.push_back(random_leaf({2, 3, 4}));
  in.push_back(random_leaf({2, 5, 4}));
  const std::size_t n = in.size();
  check_gradients([&](const list& v) { return square(a(v[n - 2], {.causal = true})); }, in);
  check_gradients([&](const list& v) { return square(a(v[n - 2], {.key = v[n - 1]})); }, in);
}

TEST_CASE("attention dropout acts in training only; wrong sizes are named") {
  nn::multi_head_attention a{{.embed = 6, .heads = 3, .dropout = 0.5}};
  const tensor x = random({2, 8, 6}, f32);
  CHECK(distance(a(x), a(x)) > 0);
  eval(a);
  CHECK(distance(a(x), a(x)) == 0);
  CHECK_THROWS_WITH_AS((nn::multi_head_attention{{.embed = 6, .heads = 4}}),
                       "nn::multi_head_attention: heads must divide embed; got 4 and 6",
                       value_error);
  CHECK_THROWS_AS(a(random({2, 8, 5}, f32)), shape_error);
}

}  // namespace adze
