// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <adze/optim/clip.hpp>

#include "problem.hpp"

namespace adze::optim::testing {
namespace {

const double infinity = std::numeric_limits<double>::infinity();

tensor with_gradient(const numbers& g, dtype type = f64) {
  const shape sizes{static_cast<index_t>(g.size())};
  tensor p = tensor_with(sizes, numbers(g.size()), type).set_requires_grad();
  p.set_grad(tensor_with(sizes, g, type));
  return p;
}

TEST_CASE("clip: the norm over all gradients, and PyTorch's factor") {
  for (const double p : {2.0, 1.0, 3.0, 0.5, infinity}) {
    const std::vector<tensor> all = leaves();
    set_gradients(all, 3);
    double expected = 0.0;
    std::vector<numbers> before;
    for (const tensor& x : all) {
      before.push_back(values_of(x.grad()));
      for (const double g : before.back()) {
        expected =
            p == infinity ? std::max(expected, std::abs(g)) : expected + std::pow(std::abs(g), p);
      }
    }
    if (p != infinity) expected = std::pow(expected, 1.0 / p);
    const double total = clip_grad_norm(all, 0.25, {.norm_type = p});
    CAPTURE(p);
    CHECK(std::abs(total - expected) <= 1e-12 * expected);
    const double factor = 0.25 / (expected + 1e-6);
    for (std::size_t k = 0; k < all.size(); ++k) {
      const numbers after = values_of(all[k].grad());
      for (std::size_t i = 0; i < after.size(); ++i) {
        CHECK(after[i] == doctest::Approx(before[k][i] * factor).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("clip: by hand; a small norm changes nothing") {
  const std::vector<tensor> p{with_gradient({3.0}), with_gradient({0.0, 4.0}),
                              tensor_with({1}, {1.0}).set_requires_grad()};
  CHECK(clip_grad_norm(p, 5.1) == 5.0);
  CHECK(values_of(p[1].grad())[1] == 4.0);
  CHECK(clip_grad_norm(p, 1.0) == 5.0);
  CHECK(values_of(p[1].grad())[1] == doctest::Approx(4.0 / 5.000001).epsilon(1e-15));
  CHECK(!p[2].grad().defined());
  CHECK(clip_grad_norm({}, 1.0) == 0.0);
}

TEST_CASE("clip: parameters without a gradient are passed over, wherever they stand") {
  const tensor none = tensor_with({1}, {1.0}).set_requires_grad();
  const std::vector<tensor> p{none, with_gradient({3.0}), none, with_gradient({4.0})};
  // At the limit itself the factor is below 1 by the 1e-6.
  CHECK(clip_grad_norm(p, 5.0) == 5.0);
  CHECK(values_of(p[3].grad())[0] == doctest::Approx(4.0 * 5.0 / 5.000001).epsilon(1e-15));
  clip_grad_value(p, 0.5);
  CHECK(values_of(p[1].grad())[0] == 0.5);
  CHECK(values_of(p[3].grad())[0] == 0.5);
}

TEST_CASE("clip: float and 16-bit gradients, also where squares overflow") {
  for (const dtype type : {f32, f16, bf16}) {
    const std::vector<tensor> p{with_gradient(numbers(700, 0.5), type)};
    CHECK(clip_grad_norm(p, 1.0) == doctest::Approx(std::sqrt(175.0)));
    CHECK(values_of(p[0].grad())[699] == doctest::Approx(0.5 / std::sqrt(175.0)).epsilon(0.01));
  }
  const std::vector<tensor> huge{with_gradient({3e30, -4e30}, f32)};
  CHECK(clip_grad_norm(huge, 1.0) == doctest::Approx(5e30));
  CHECK(values_of(huge[0].grad())[1] == doctest::Approx(-0.8));
  const auto norm = [](double p) {
    return clip_grad_norm(std::vector<tensor>{with_gradient({3e38, -3e38}, f32)}, 1.0,
                          {.norm_type = p});
  };
  CHECK(norm(1.0) == doctest::Approx(6e38));
  CHECK(norm(3.0) == doctest::Approx(3e38 * std::cbrt(2.0)));
}

TEST_CASE("clip: gradients that are not finite") {
  const std::vector<tensor> p{with_gradient({1.0, std::nan("")}), with_gradient({2.0})};
  const char* text = "clip_grad_norm: the total norm of the gradients is nan; nothing was changed; "
                     "anomaly mode names the op that made it";
  CHECK_THROWS_WITH_AS(clip_grad_norm(p, 1.0, {.error_if_nonfinite = true}), text, numeric_error);
  CHECK_THROWS_AS(clip_grad_norm(p, 1.0, {.norm_type = infinity, .error_if_nonfinite = true}),
                  numeric_error);
  CHECK(values_of(p[0].grad())[0] == 1.0);
  CHECK(std::isnan(clip_grad_norm(p, 1.0)));
  CHECK(std::isnan(values_of(p[1].grad())[0]));

  const std::vector<tensor> q{with_gradient({infinity, 1.0}, f32)};
  CHECK(clip_grad_norm(q, 1.0) == infinity);
  CHECK(values_of(q[0].grad())[1] == 0.0);
}

TEST_CASE("clip: values are bounded, NaN stays") {
  const std::vector<tensor> p{with_gradient({-3.0, -0.5, 0.5, 3.0, std::nan(""), infinity}, f32)};
  const std::uint32_t version = p[0].grad().version();
  clip_grad_value(p, 1.0);
  const numbers g = values_of(p[0].grad());
  CHECK(g[0] == -1.0);
  CHECK(g[1] == -0.5);
  CHECK(g[2] == 0.5);
  CHECK(g[3] == 1.0);
  CHECK(std::isnan(g[4]));
  CHECK(g[5] == 1.0);
  CHECK(p[0].grad().version() == version + 1);
}

TEST_CASE("clip: a gradient with stretched axes becomes dense") {
  tensor p = tensor_with({2, 3}, numbers(6)).set_requires_grad();
  const tensor value = tensor_with({1}, {2.0});
  p.set_grad(alias(value, {2, 3}, dims{}));
  CHECK(clip_grad_norm(std::vector<tensor>{p}, infinity) == doctest::Approx(std::sqrt(24.0)));
  clip_grad_value(std::vector<tensor>{p}, 0.5);
  CHECK(values_of(p.grad()) == numbers(6, 0.5));
  CHECK(values_of(value)[0] == 2.0);
}

TEST_CASE("clip: threads change no bit") {
  numbers g(200001);
  for (std::size_t i = 0; i < g.size(); ++i) g[i] = wave(i, 0.5);
  numbers totals;
  const int before = threads();
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    totals.push_back(clip_grad_norm(std::vector<tensor>{with_gradient(g, f32)}, 1.0));
  }
  set_threads(before);
  CHECK(totals[0] == totals[1]);
  CHECK(totals[0] == totals[2]);
}

TEST_CASE("clip: limits out of their range") {
  const std::vector<tensor> p{with_gradient({1.0})};
  CHECK_THROWS_WITH_AS(clip_grad_norm(p, -1.0),
                       "clip_grad_norm: max_norm must be at least 0; got -1", value_error);
  CHECK_THROWS_WITH_AS(clip_grad_norm(p, 1.0, {.norm_type = 0.0}),
                       "clip_grad_norm: norm_type must be above 0; got 0", value_error);
  CHECK_THROWS_WITH_AS(clip_grad_value(p, -1.0),
                       "clip_grad_value: clip_value must be at least 0; got -1", value_error);
}

}  // namespace
}  // namespace adze::optim::testing
