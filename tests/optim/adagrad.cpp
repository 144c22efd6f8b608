// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <adze/optim/adagrad.hpp>

#include "problem.hpp"

namespace adze::optim::testing {
namespace {

// torch.optim.Adagrad's algorithm, as its page gives it.
reference adagrad_reference(const adagrad_options& o) {
  return [o, sums = memory()](std::size_t k, numbers& p, const numbers& grad, int t) mutable {
    const double rate = o.lr / (1.0 + (t - 1) * o.lr_decay);
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double g = (o.maximize ? -grad[i] : grad[i]) + o.weight_decay * p[i];
      double& sum = sums.at(k, p.size(), o.initial_accumulator_value)[i];
      sum += g * g;
      p[i] -= rate * g / (std::sqrt(sum) + o.eps);
    }
  };
}

TEST_CASE("adagrad: the published update, for every combination of options") {
  for (const double lr_decay : {0.0, 0.01}) {
    for (const double decay : {0.0, 0.05}) {
      for (const double initial : {0.0, 0.1}) {
        for (const bool maximize : {false, true}) {
          const adagrad_options o{.lr = 0.05,
                                  .lr_decay = lr_decay,
                                  .weight_decay = decay,
                                  .initial_accumulator_value = initial,
                                  .maximize = maximize};
          adagrad opt(leaves(), o);
          CAPTURE(lr_decay);
          CAPTURE(decay);
          CAPTURE(initial);
          CAPTURE(maximize);
          CHECK(difference(opt, adagrad_reference(o)) < 1e-12);
        }
      }
    }
  }
}

TEST_CASE("adagrad: float stays near double") {
  CHECK(float_difference<adagrad>({.lr = 0.05, .weight_decay = 1e-3}) < 1e-4);
}

TEST_CASE("adagrad: defaults and options out of their range") {
  CHECK(adagrad_options{}.lr == 1e-2);
  CHECK(adagrad_options{}.eps == 1e-10);
  const std::vector<tensor> p{tensor_with({1}, {0.0}).set_requires_grad()};
  CHECK_THROWS_WITH_AS(adagrad(p, {.lr_decay = -0.5}),
                       "adagrad: lr_decay must be at least 0; got -0.5", value_error);
  CHECK_THROWS_WITH_AS(adagrad(p, {.initial_accumulator_value = -1.0}),
                       "adagrad: initial_accumulator_value must be at least 0; got -1",
                       value_error);
}

}  // namespace
}  // namespace adze::optim::testing
