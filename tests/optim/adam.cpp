// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <adze/optim/adam.hpp>
#include <adze/optim/adamw.hpp>

#include "problem.hpp"

namespace adze::optim::testing {
namespace {

// torch.optim.Adam's and AdamW's algorithms, as their pages give them.
template <class Options> reference adam_reference(const Options& o, bool decoupled) {
  return [o, decoupled, first = memory(), second = memory(),
          top = memory()](std::size_t k, numbers& p, const numbers& grad, int t) mutable {
    for (std::size_t i = 0; i < p.size(); ++i) {
      double g = o.maximize ? -grad[i] : grad[i];
      if (decoupled) {
        p[i] -= o.lr * o.weight_decay * p[i];
      } else {
        g += o.weight_decay * p[i];
      }
      double& m = first.at(k, p.size())[i];
      double& v = second.at(k, p.size())[i];
      m = o.betas[0] * m + (1.0 - o.betas[0]) * g;
      v = o.betas[1] * v + (1.0 - o.betas[1]) * g * g;
      const double m_hat = m / (1.0 - std::pow(o.betas[0], t));
      double v_hat = v / (1.0 - std::pow(o.betas[1], t));
      if (o.amsgrad) {  // PyTorch keeps the maximum of v, and corrects it
        double& most = top.at(k, p.size())[i];
        most = std::max(most, v);
        v_hat = most / (1.0 - std::pow(o.betas[1], t));
      }
      p[i] -= o.lr * m_hat / (std::sqrt(v_hat) + o.eps);
    }
  };
}

template <class O> void check_all(bool decoupled) {
  using options = typename O::options_type;
  for (const bool amsgrad : {false, true}) {
    for (const bool maximize : {false, true}) {
      for (const double decay : {0.0, 0.05}) {
        for (const double eps : {1e-8, 1e-3}) {
          for (const std::array<double, 2> betas :
               {std::array{0.9, 0.999}, std::array{0.5, 0.9}, std::array{0.0, 0.99}}) {
            const options o{.lr = 0.01,
                            .betas = betas,
                            .eps = eps,
                            .weight_decay = decay,
                            .amsgrad = amsgrad,
                            .maximize = maximize};
            O opt(leaves(), o);
            CAPTURE(amsgrad);
            CAPTURE(maximize);
            CAPTURE(decay);
            CAPTURE(eps);
            CAPTURE(betas[0]);
            CHECK(difference(opt, adam_reference(o, decoupled)) < 1e-12);
          }
        }
      }
    }
  }
}

TEST_CASE("adam: the published update, for every combination of options") {
  check_all<adam>(false);
}
TEST_CASE("adamw: the published update, for every combination of options") {
  check_all<adamw>(true);
}

TEST_CASE("adam: float stays near double") {
  CHECK(float_difference<adam>({.lr = 0.01, .weight_decay = 1e-3}) < 1e-4);
  CHECK(float_difference<adamw>({.lr = 0.01, .amsgrad = true}) < 1e-4);
}

TEST_CASE("adam: the first step is lr in the direction of the sign") {
  tensor p = tensor_with({3}, {1.0, 1.0, 1.0}).set_requires_grad();
  p.set_grad(tensor_with({3}, {1e-3, -20.0, 0.0}));
  adam opt({p}, {.lr = 0.1, .eps = 0.0, .amsgrad = false});
  opt.options().eps = 1e-30;
  opt.step();
  CHECK(values_of(p)[0] == doctest::Approx(0.9));
  CHECK(values_of(p)[1] == doctest::Approx(1.1));
  CHECK(values_of(p)[2] == 1.0);
}

TEST_CASE("adam: defaults") {
  CHECK(adam_options{}.lr == 1e-3);
  CHECK(adam_options{}.betas == std::array{0.9, 0.999});
  CHECK(adam_options{}.eps == 1e-8);
  CHECK(adam_options{}.weight_decay == 0.0);
  CHECK(adamw_options{}.weight_decay == 1e-2);
}

TEST_CASE("adam: options out of their range") {
  const std::vector<tensor> p{tensor_with({1}, {0.0}).set_requires_grad()};
  CHECK_THROWS_WITH_AS(adam(p, {.lr = -1.0}), "adam: lr must be at least 0; got -1", value_error);
  CHECK_THROWS_WITH_AS(adam(p, {.betas = {1.0, 0.9}}), "adam: betas[0] must be in [0, 1); got 1",
                       value_error);
  CHECK_THROWS_WITH_AS(adamw(p, {.betas = {0.9, -0.5}}),
                       "adamw: betas[1] must be in [0, 1); got -0.5", value_error);
  CHECK_THROWS_WITH_AS(adamw(p, {.eps = -1e-8}), "adamw: eps must be at least 0; got -1e-08",
                       value_error);
}

}  // namespace
}  // namespace adze::optim::testing
