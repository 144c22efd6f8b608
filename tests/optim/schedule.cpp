// SPDX-License-Identifier: MIT
#include <limits>

#include <doctest/doctest.h>

#include <adze/optim/adagrad.hpp>
#include <adze/optim/adam.hpp>
#include <adze/optim/schedule.hpp>
#include <adze/optim/sgd.hpp>

#include "problem.hpp"

namespace adze::optim::testing {
namespace {

const double pi = std::acos(-1.0);

// The rates of steps 0, 1, ...
template <class Rule> numbers rates(double lr, Rule rule, int count) {
  sgd o(one(), {.lr = lr});
  scheduler s(o, rule);
  numbers all;
  for (int t = 0; t < count; ++t) {
    all.push_back(o.lr());
    s.step();
  }
  return all;
}

void check_near(const numbers& a, const numbers& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    CHECK(std::abs(a[i] - b[i]) <= 1e-14 * std::max(1.0, std::abs(b[i])));
  }
}

TEST_CASE("schedule: steps, milestones, powers") {
  check_near(rates(0.5, step_lr{.step_size = 3}, 8),
             {0.5, 0.5, 0.5, 0.05, 0.05, 0.05, 0.005, 0.005});
  check_near(rates(1.0, multi_step_lr{.milestones = {2, 2, 5}, .gamma = 0.5}, 7),
             {1, 1, 0.25, 0.25, 0.25, 0.125, 0.125});
  check_near(rates(2.0, exponential_lr{.gamma = 0.5}, 4), {2, 1, 0.5, 0.25});
  check_near(rates(0.3, constant_lr{.factor = 0.5, .total_iters = 2}, 4), {0.15, 0.15, 0.3, 0.3});
  check_near(rates(1.0, polynomial_lr{.total_iters = 4, .power = 2}, 6),
             {1, 0.5625, 0.25, 0.0625, 0, 0});
  check_near(rates(0.1, lambda_lr{[](double t) { return 1.0 / (1.0 + t); }}, 3),
             {0.1, 0.05, 0.1 / 3});
}

TEST_CASE("schedule: warm-up is linear, with PyTorch's defaults") {
  check_near(rates(0.05, linear_lr{.start_factor = 0.5, .total_iters = 4}, 6),
             {0.025, 0.03125, 0.0375, 0.04375, 0.05, 0.05});
  check_near(rates(0.3, linear_lr{}, 7), {0.1, 0.14, 0.18, 0.22, 0.26, 0.3, 0.3});
}

TEST_CASE("schedule: cosine goes down in t_max steps and up again") {
  const double h = std::sqrt(0.5);
  check_near(rates(1.0, cosine_annealing_lr{.t_max = 4, .eta_min = 0.2}, 9),
             {1, 0.2 + 0.4 * (1 + h), 0.6, 0.2 + 0.4 * (1 - h), 0.2, 0.2 + 0.4 * (1 - h), 0.6,
              0.2 + 0.4 * (1 + h), 1});
}

TEST_CASE("schedule: warm restarts, as counted step by step") {
  for (const index_t mult : {1, 2, 3}) {
    index_t current = 0, period = 3;  // torch's step() without an argument
    numbers expected;
    for (int t = 0; t < 60; ++t) {
      expected.push_back(0.01 + 0.99 * (1 + std::cos(pi * double(current) / double(period))) / 2);
      if (++current >= period) current -= period, period *= mult;
    }
    check_near(
        rates(1.0, cosine_annealing_warm_restarts{.t_0 = 3, .t_mult = mult, .eta_min = 0.01}, 60),
        expected);
  }
  sgd o(one(), {.lr = 1.0});
  scheduler s(o, cosine_annealing_warm_restarts{.t_0 = 2});
  s.step_to(2.5);
  CHECK(o.lr() == doctest::Approx((1 + std::cos(pi / 4)) / 2));
  CHECK(s.position() == 2.5);
}

TEST_CASE("schedule: one rule after another") {
  const sequential_lr rule{.schedules = {linear_lr{.start_factor = 0.25, .total_iters = 3},
                                         cosine_annealing_lr{.t_max = 2},
                                         [](double t, double base) { return base / (8 + 8 * t); }},
                           .milestones = {3, 5}};
  check_near(rates(0.8, rule, 7), {0.2, 0.4, 0.6, 0.8, 0.4, 0.1, 0.05});
}

TEST_CASE("schedule: chained rules multiply") {
  const chained_scheduler rule{
      {constant_lr{.factor = 0.1, .total_iters = 2}, exponential_lr{.gamma = 0.9}}};
  check_near(rates(1.0, rule, 5), {0.1, 0.09, 0.81, 0.729, 0.6561});
}

TEST_CASE("schedule: every group from its own rate") {
  sgd o(one(), {.lr = 1.0});
  o.add_group(one(), {.lr = 0.1});
  scheduler s(o, step_lr{.step_size = 1, .gamma = 0.5});
  s.step();
  CHECK(o.lr(0) == 0.5);
  CHECK(o.lr(1) == 0.05);
}

TEST_CASE("schedule: a group that came later is not left behind without a word") {
  sgd o(one(), {.lr = 1.0});
  scheduler s(o, step_lr{.step_size = 1, .gamma = 0.5});
  o.add_group(one(), {.lr = 0.1});
  CHECK_THROWS_WITH_AS(s.step(),
                       "scheduler: made for 1 groups of parameters, and the optimizer has 2 now; "
                       "make the scheduler after add_group",
                       state_error);
  CHECK((o.lr(0) == 1.0 && s.position() == 0.0));
}

TEST_CASE("schedule: goes on from a saved place") {
  adam a(one(), {.lr = 1.0}), b(one(), {.lr = 7.0});
  scheduler s(a, cosine_annealing_lr{.t_max = 10}), u(b, cosine_annealing_lr{.t_max = 10});
  for (int t = 0; t < 4; ++t) s.step();
  u.load_state_dict(s.state_dict());
  CHECK(b.lr() == a.lr());
  s.step();
  u.step();
  CHECK(b.lr() == a.lr());
  saved_state bad = s.state_dict();
  bad.numbers.pop_back();
  CHECK_THROWS_WITH_AS(u.load_state_dict(bad),
                       "scheduler.load_state_dict: base_lrs.0 is missing; the state must come from "
                       "the same kind and set-up",
                       value_error);
  CHECK(u.position() == 5.0);
}

TEST_CASE("schedule: a refused place changes nothing") {
  sgd a(one(), {.lr = 1.0});
  scheduler s(a, lambda_lr{[](double t) {
                if (t > 5.0) raise<value_error>("too far");
                return 1.0 / (1.0 + t);
              }});
  saved_state far = s.state_dict();
  far.numbers = {{"last_epoch", 6.0}, {"base_lrs.0", 8.0}};
  CHECK_THROWS_WITH_AS(s.load_state_dict(far), "too far", value_error);
  s.step();
  CHECK(a.lr() == 0.5);
  for (const double t : {-1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
    far.numbers[0].second = t;
    CHECK_THROWS_AS(s.load_state_dict(far), value_error);
  }
  CHECK(s.position() == 1.0);
}

TEST_CASE("schedule: warm restarts of any length are found") {
  const cosine_annealing_warm_restarts rule{.t_0 = 3, .t_mult = 2};
  for (const double cycles : {1.0, 20.0, 50.0}) {  // start of the cycle after so many
    CHECK(rule(3.0 * (std::exp2(cycles) - 1.0), 1.0) == 1.0);
  }
  for (const double t : {1e18, 1e19, 1e300}) {
    const double rate = rule(t, 1.0);
    CHECK(rate >= 0.0);
    CHECK(rate <= 1.0);
  }
}

TEST_CASE("schedule: every group goes on from its own saved rate") {
  sgd a(one(), {.lr = 1.0}), b(one(), {.lr = 7.0});
  a.add_group(one(), {.lr = 0.1});
  b.add_group(one(), {.lr = 7.0});
  scheduler s(a, step_lr{.step_size = 2}), u(b, step_lr{.step_size = 2});
  s.step();
  u.load_state_dict(s.state_dict());
  CHECK(b.lr(0) == 1.0);
  CHECK(b.lr(1) == 0.1);
}

TEST_CASE("schedule: rules that cannot be") {
  sgd o(one(), {.lr = 1.0});
  CHECK_THROWS_WITH_AS(scheduler(o, step_lr{}), "step_lr: step_size must be at least 1; got 0",
                       value_error);
  CHECK_THROWS_WITH_AS(scheduler(o, exponential_lr{}),
                       "exponential_lr: gamma must be above 0; got 0", value_error);
  CHECK_THROWS_WITH_AS(scheduler(o, cosine_annealing_lr{.t_max = -3}),
                       "cosine_annealing_lr: t_max must be at least 1; got -3", value_error);
  CHECK_THROWS_WITH_AS(scheduler(o, cosine_annealing_warm_restarts{.t_0 = 5, .t_mult = 0}),
                       "cosine_annealing_warm_restarts: t_mult must be at least 1; got 0",
                       value_error);
  CHECK_THROWS_WITH_AS(scheduler(o, multi_step_lr{.milestones = {5, 2}}),
                       "multi_step_lr: milestones must rise", value_error);
  CHECK_THROWS_WITH_AS(scheduler(o, sequential_lr{.schedules = {linear_lr{}}, .milestones = {1}}),
                       "sequential_lr: needs one milestone between two schedules; got 1 schedules, "
                       "1 milestones",
                       value_error);
  CHECK_THROWS_WITH_AS(scheduler(o, lambda_lr{}),
                       "lambda_lr: factor is empty; pass a function of t", value_error);
  CHECK_THROWS_AS(scheduler(o, sequential_lr{.schedules = {step_lr{}}}), value_error);
  CHECK(o.lr() == 1.0);
}

}  // namespace
}  // namespace adze::optim::testing
