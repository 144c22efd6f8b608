// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <adze/optim/rmsprop.hpp>

#include "problem.hpp"

namespace adze::optim::testing {
namespace {

// torch.optim.RMSprop's algorithm, as its page gives it.
reference rmsprop_reference(const rmsprop_options& o) {
  return [o, squares = memory(), means = memory(),
          buffers = memory()](std::size_t k, numbers& p, const numbers& grad, int) mutable {
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double g = (o.maximize ? -grad[i] : grad[i]) + o.weight_decay * p[i];
      double& v = squares.at(k, p.size())[i];
      v = o.alpha * v + (1.0 - o.alpha) * g * g;
      double spread = v;
      if (o.centered) {
        double& mean = means.at(k, p.size())[i];
        mean = mean * o.alpha + (1.0 - o.alpha) * g;
        spread = v - mean * mean;
      }
      const double d = g / (std::sqrt(spread) + o.eps);
      if (o.momentum > 0.0) {
        double& b = buffers.at(k, p.size())[i];
        b = o.momentum * b + d;
        p[i] -= o.lr * b;
      } else {
        p[i] -= o.lr * d;
      }
    }
  };
}

TEST_CASE("rmsprop: the published update, for every combination of options") {
  for (const bool centered : {false, true}) {
    for (const bool maximize : {false, true}) {
      for (const double momentum : {0.0, 0.8}) {
        for (const double decay : {0.0, 0.05}) {
          for (const double alpha : {0.99, 0.6}) {
            const rmsprop_options o{.lr = 1e-3,
                                    .alpha = alpha,
                                    .eps = 1e-5,
                                    .weight_decay = decay,
                                    .momentum = momentum,
                                    .centered = centered,
                                    .maximize = maximize};
            rmsprop opt(leaves(), o);
            CAPTURE(centered);
            CAPTURE(maximize);
            CAPTURE(momentum);
            CAPTURE(decay);
            CAPTURE(alpha);
            CHECK(difference(opt, rmsprop_reference(o)) < 1e-12);
          }
        }
      }
    }
  }
}

TEST_CASE("rmsprop: float stays near double") {
  CHECK(float_difference<rmsprop>({.lr = 1e-3, .momentum = 0.5}) < 1e-4);
}

TEST_CASE("rmsprop: a constant gradient leaves no NaN in the centered form") {
  numbers g;
  for (int i = 0; i < 1000; ++i) g.push_back(0.013 * i);
  tensor p = tensor_with({1000}, numbers(1000, 1.0), f32).set_requires_grad();
  p.set_grad(tensor_with({1000}, g, f32));
  rmsprop opt({p}, {.lr = 1e-3, .alpha = 0.5, .eps = 1e-3, .centered = true});
  for (int t = 0; t < 300; ++t) opt.step();
  for (const double x : values_of(p)) CHECK(std::isfinite(x));
}

TEST_CASE("rmsprop: defaults and options out of their range") {
  CHECK(rmsprop_options{}.lr == 1e-2);
  CHECK(rmsprop_options{}.alpha == 0.99);
  CHECK(rmsprop_options{}.eps == 1e-8);
  const std::vector<tensor> p{tensor_with({1}, {0.0}).set_requires_grad()};
  CHECK_THROWS_WITH_AS(rmsprop(p, {.alpha = -0.5}), "rmsprop: alpha must be at least 0; got -0.5",
                       value_error);
  CHECK_THROWS_WITH_AS(rmsprop(p, {.momentum = -1.0}),
                       "rmsprop: momentum must be at least 0; got -1", value_error);
}

}  // namespace
}  // namespace adze::optim::testing
