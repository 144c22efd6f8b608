// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <adze/optim/sgd.hpp>

#include "problem.hpp"

namespace adze::optim::testing {
namespace {

// torch.optim.SGD's algorithm, as its page gives it.
reference sgd_reference(const sgd_options& o) {
  return [o, buffers = memory()](std::size_t k, numbers& p, const numbers& grad, int t) mutable {
    for (std::size_t i = 0; i < p.size(); ++i) {
      double g = o.maximize ? -grad[i] : grad[i];
      if (o.weight_decay != 0.0) g += o.weight_decay * p[i];
      if (o.momentum != 0.0) {
        double& b = buffers.at(k, p.size())[i];
        b = t > 1 ? o.momentum * b + (1.0 - o.dampening) * g : g;
        g = o.nesterov ? g + o.momentum * b : b;
      }
      p[i] -= o.lr * g;
    }
  };
}

TEST_CASE("sgd: the published update, for every combination of options") {
  int count = 0;
  for (const double momentum : {0.0, 0.9}) {
    for (const double dampening : {0.0, 0.3}) {
      for (const double decay : {0.0, 0.05}) {
        for (const bool nesterov : {false, true}) {
          for (const bool maximize : {false, true}) {
            if (nesterov && (momentum == 0.0 || dampening != 0.0)) continue;
            const sgd_options o{.lr = maximize ? 0.001 : 0.05,
                                .momentum = momentum,
                                .dampening = dampening,
                                .weight_decay = decay,
                                .nesterov = nesterov,
                                .maximize = maximize};
            sgd opt(leaves(), o);
            CAPTURE(momentum);
            CAPTURE(dampening);
            CAPTURE(decay);
            CAPTURE(nesterov);
            CAPTURE(maximize);
            CHECK(difference(opt, sgd_reference(o)) < 1e-12);
            ++count;
          }
        }
      }
    }
  }
  CHECK(count == 20);
}

TEST_CASE("sgd: float stays near double") {
  CHECK(float_difference<sgd>({.lr = 0.05, .momentum = 0.9, .weight_decay = 1e-3}) < 1e-5);
}

TEST_CASE("sgd: a step by hand, and the defaults of the options") {
  tensor p = tensor_with({2}, {1.0, -2.0}).set_requires_grad();
  p.set_grad(tensor_with({2}, {0.5, 4.0}));
  sgd opt({p}, {.lr = 0.1});
  opt.step();
  CHECK(values_of(p)[0] == doctest::Approx(0.95));
  CHECK(values_of(p)[1] == doctest::Approx(-2.4));
  CHECK(sgd_options{}.lr == 1e-3);
  CHECK(sgd_options{}.momentum == 0.0);
}

TEST_CASE("sgd: momentum set later starts with the whole gradient") {
  tensor p = tensor_with({1}, {0.0}).set_requires_grad();
  sgd opt({p}, {.lr = 1.0, .dampening = 0.5});
  p.set_grad(tensor_with({1}, {1.0}));
  opt.step();
  opt.options().momentum = 0.9;
  opt.step();
  CHECK(values_of(p)[0] == -2.0);
  opt.step();
  CHECK(values_of(p)[0] == doctest::Approx(-2.0 - 1.4));
}

TEST_CASE("sgd: without weight decay an infinite parameter stays infinite") {
  const double infinity = std::numeric_limits<double>::infinity();
  tensor p = tensor_with({1}, {-infinity}).set_requires_grad();
  p.set_grad(tensor_with({1}, {0.0}));
  sgd opt({p}, {.lr = 0.1, .momentum = 0.9});
  opt.step();
  CHECK(values_of(p)[0] == -infinity);
}

TEST_CASE("sgd: options out of their range") {
  const std::vector<tensor> p{tensor_with({1}, {0.0}).set_requires_grad()};
  CHECK_THROWS_WITH_AS(sgd(p, {.lr = -1.0}), "sgd: lr must be at least 0; got -1", value_error);
  CHECK_THROWS_WITH_AS(sgd(p, {.lr = std::nan("")}), "sgd: lr must be at least 0; got nan",
                       value_error);
  CHECK_THROWS_WITH_AS(sgd(p, {.momentum = -0.1}), "sgd: momentum must be at least 0; got -0.1",
                       value_error);
  CHECK_THROWS_WITH_AS(sgd(p, {.weight_decay = -2.0}),
                       "sgd: weight_decay must be at least 0; got -2", value_error);
  const char* text = "sgd: nesterov needs a momentum and no dampening; got momentum 0, dampening 0";
  CHECK_THROWS_WITH_AS(sgd(p, {.nesterov = true}), text, value_error);
  CHECK_THROWS_AS(sgd(p, {.momentum = 0.9, .dampening = 0.1, .nesterov = true}), value_error);
}

}  // namespace
}  // namespace adze::optim::testing
