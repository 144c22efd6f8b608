// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <adze/optim/adagrad.hpp>
#include <adze/optim/adam.hpp>
#include <adze/optim/one_cycle.hpp>
#include <adze/optim/sgd.hpp>

#include "problem.hpp"

namespace adze::optim::testing {
namespace {

TEST_CASE("one_cycle: by hand, linear") {
  // 10 steps, 0.4 of them up: the top at 3, the end at 9. From 1 up to 10, down to 0.1.
  sgd o(one(), {.lr = 5.0, .momentum = 0.5});
  scheduler s(o, one_cycle_lr{.max_lr = 10.0,
                              .total_steps = 10,
                              .pct_start = 0.4,
                              .anneal_strategy = anneal::linear,
                              .div_factor = 10.0,
                              .final_div_factor = 10.0});
  const numbers lr{1, 4, 7, 10, 8.35, 6.7, 5.05, 3.4, 1.75, 0.1};
  for (std::size_t t = 0; t < 10; ++t) {
    CHECK(o.lr() == doctest::Approx(lr[t]));
    const auto x = static_cast<double>(t);
    CHECK(o.options().momentum ==
          doctest::Approx(t <= 3 ? 0.95 - 0.1 * x / 3 : 0.85 + 0.1 * (x - 3) / 6));
    s.step();
  }
  const char* text = "one_cycle_lr: step 11 is beyond total_steps = 10";
  CHECK_THROWS_WITH_AS(s.step(), text, value_error);
  CHECK(s.position() == 10.0);
}

TEST_CASE("one_cycle: defaults are PyTorch's; cosine; Adam's first beta") {
  adam o(one());
  scheduler s(o, one_cycle_lr{.max_lr = 0.1, .total_steps = 100});
  CHECK(o.lr() == doctest::Approx(0.1 / 25));
  CHECK(o.options().betas[0] == doctest::Approx(0.95));
  s.step_to(14.5);  // half of the way up
  CHECK(o.lr() == doctest::Approx((0.1 + 0.004) / 2));
  CHECK(o.options().betas[0] == doctest::Approx(0.9));
  s.step_to(29);
  CHECK(o.lr() == doctest::Approx(0.1));
  CHECK(o.options().betas[0] == doctest::Approx(0.85));
  s.step_to(64);
  CHECK(o.lr() == doctest::Approx((0.1 + 4e-7) / 2));
  s.step_to(99);
  CHECK(o.lr() == doctest::Approx(4e-7));
  CHECK(o.options().betas[0] == doctest::Approx(0.95));
  CHECK(o.options().betas[1] == 0.999);
}

TEST_CASE("one_cycle: three phases") {
  sgd o(one(), {.momentum = 0.9});
  scheduler s(o, one_cycle_lr{.max_lr = 1.0,
                              .total_steps = 20,
                              .pct_start = 0.25,
                              .anneal_strategy = anneal::linear,
                              .div_factor = 4.0,
                              .final_div_factor = 5.0,
                              .three_phase = true});
  const auto at = [&](double t) {
    s.step_to(t);
    return o.lr();
  };
  CHECK(at(0) == doctest::Approx(0.25));
  CHECK(at(4) == doctest::Approx(1.0));
  CHECK(at(6) == doctest::Approx(0.625));
  CHECK(at(8) == doctest::Approx(0.25));
  CHECK(o.options().momentum == doctest::Approx(0.95));
  CHECK(at(13.5) == doctest::Approx(0.15));
  CHECK(o.options().momentum == doctest::Approx(0.95));
  CHECK(at(19) == doctest::Approx(0.05));
}

TEST_CASE("one_cycle: the momentum of every group") {
  sgd o(one(), {.lr = 1.0, .momentum = 0.5});
  o.add_group(one(), {.lr = 1.0, .momentum = 0.5});
  scheduler s(o, one_cycle_lr{.total_steps = 10, .pct_start = 0.4});
  for (const index_t g : {0, 1}) CHECK(*o.momentum(g) == doctest::Approx(0.95));
  s.step_to(3);
  for (const index_t g : {0, 1}) CHECK(*o.momentum(g) == doctest::Approx(0.85));
}

TEST_CASE("one_cycle: the group's own rate, no momentum, phases without length") {
  adagrad o(one(), {.lr = 0.5});
  o.add_group(one(), {.lr = 0.25});
  scheduler s(o, one_cycle_lr{.total_steps = 10, .pct_start = 0.1, .cycle_momentum = false});
  CHECK(o.lr(0) == doctest::Approx(0.5));  // the way up has one step
  CHECK(o.lr(1) == doctest::Approx(0.25));
  const char* text = "scheduler: the rule cycles momentum, and the optimizer has none; set "
                     ".cycle_momentum = false";
  CHECK_THROWS_WITH_AS(scheduler(o, one_cycle_lr{.total_steps = 10}), text, value_error);
}

TEST_CASE("one_cycle: options out of their range") {
  sgd o(one(), {.lr = 1.0});
  CHECK_THROWS_WITH_AS(scheduler(o, one_cycle_lr{}),
                       "one_cycle_lr: total_steps must be at least 1; got 0", value_error);
  CHECK_THROWS_WITH_AS(scheduler(o, one_cycle_lr{.total_steps = 5, .pct_start = 1.5}),
                       "one_cycle_lr: pct_start must be in [0, 1]; got 1.5", value_error);
  CHECK_THROWS_WITH_AS(scheduler(o, one_cycle_lr{.max_lr = -1.0, .total_steps = 5}),
                       "one_cycle_lr: max_lr must be at least 0; got -1", value_error);
}

}  // namespace
}  // namespace adze::optim::testing
