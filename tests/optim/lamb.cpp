// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <adze/optim/lamb.hpp>

#include "problem.hpp"

namespace adze::optim::testing {
namespace {

// You et al. 2020, algorithm 2, with phi(z) = z.
reference lamb_reference(const lamb_options& o) {
  return [o, first = memory(), second = memory()](std::size_t k, numbers& p, const numbers& grad,
                                                  int t) mutable {
    numbers d(p.size());
    double p_norm = 0.0, d_norm = 0.0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double g = o.maximize ? -grad[i] : grad[i];
      double& m = first.at(k, p.size())[i];
      double& v = second.at(k, p.size())[i];
      m = o.betas[0] * m + (1.0 - o.betas[0]) * g;
      v = o.betas[1] * v + (1.0 - o.betas[1]) * g * g;
      const double m_hat = m / (1.0 - std::pow(o.betas[0], t));
      const double v_hat = v / (1.0 - std::pow(o.betas[1], t));
      d[i] = m_hat / (std::sqrt(v_hat) + o.eps) + o.weight_decay * p[i];
      p_norm += p[i] * p[i];
      d_norm += d[i] * d[i];
    }
    p_norm = std::sqrt(p_norm);
    d_norm = std::sqrt(d_norm);
    const double ratio = p_norm > 0.0 && d_norm > 0.0 ? p_norm / d_norm : 1.0;
    for (std::size_t i = 0; i < p.size(); ++i) p[i] -= o.lr * ratio * d[i];
  };
}

TEST_CASE("lamb: the published update, for every combination of options") {
  for (const double decay : {0.0, 0.05}) {
    for (const bool maximize : {false, true}) {
      for (const std::array<double, 2> betas : {std::array{0.9, 0.999}, std::array{0.5, 0.9}}) {
        const lamb_options o{
            .lr = 0.005, .betas = betas, .weight_decay = decay, .maximize = maximize};
        lamb opt(leaves(), o);
        CAPTURE(decay);
        CAPTURE(maximize);
        CAPTURE(betas[0]);
        CHECK(difference(opt, lamb_reference(o)) < 1e-12);
      }
    }
  }
}

TEST_CASE("lamb: float stays near double") { CHECK(float_difference<lamb>({.lr = 0.005}) < 1e-4); }

TEST_CASE("lamb: without eps, lanes beyond the end do not count") {
  tensor p = tensor_with({3}, {3.0, 0.0, 4.0}).set_requires_grad();
  p.set_grad(tensor_with({3}, {1.0, 1.0, -1.0}));
  lamb opt({p}, {.lr = 0.1, .eps = 0.0, .weight_decay = 0.0});
  opt.step();  // direction (1, 1, -1), ratio 5 / sqrt(3)
  CHECK(values_of(p)[1] == doctest::Approx(-0.5 / std::sqrt(3.0)));
}

TEST_CASE("lamb: a parameter of zeros moves by lr") {
  tensor p = tensor_with({2}, {0.0, 0.0}).set_requires_grad();
  p.set_grad(tensor_with({2}, {1.0, -3.0}));
  lamb opt({p}, {.lr = 0.1, .eps = 0.0});
  opt.step();
  CHECK(values_of(p)[0] == doctest::Approx(-0.1));
  CHECK(values_of(p)[1] == doctest::Approx(0.1));
}

TEST_CASE("lamb: defaults and options out of their range") {
  CHECK(lamb_options{}.eps == 1e-6);
  CHECK(lamb_options{}.weight_decay == 0.01);
  const std::vector<tensor> p{tensor_with({1}, {0.0}).set_requires_grad()};
  CHECK_THROWS_WITH_AS(lamb(p, {.betas = {0.9, 1.5}}), "lamb: betas[1] must be in [0, 1); got 1.5",
                       value_error);
}

}  // namespace
}  // namespace adze::optim::testing
