// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <adze/optim/plateau.hpp>
#include <adze/optim/sgd.hpp>

#include "problem.hpp"

namespace adze::optim::testing {
namespace {

// The rate after each measure.
numbers follow(const plateau_options& options, const numbers& measures) {
  sgd o(one(), {.lr = 1.0});
  reduce_lr_on_plateau s(o, options);
  numbers rates;
  for (const double x : measures) {
    s.step(x);
    rates.push_back(o.lr());
  }
  return rates;
}

TEST_CASE("plateau: patience, cooldown, the least rate") {
  CHECK(follow({.factor = 0.5, .patience = 1}, {5, 5, 5, 5, 5, 4, 4, 4}) ==
        numbers{1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125});
  CHECK(follow({.factor = 0.5, .patience = 0, .cooldown = 2}, {5, 5, 5, 5, 5, 5, 5}) ==
        numbers{1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25});
  CHECK(follow({.factor = 0.1, .patience = 0, .min_lr = 0.3}, {1, 1, 1}) == numbers{1, 0.3, 0.3});
  CHECK(follow({.factor = 0.5, .patience = 0, .eps = 0.6}, {1, 1}) == numbers{1, 1});
}

TEST_CASE("plateau: what counts as better") {
  const auto lowered = [](const plateau_options& o, double first, double second) {
    return follow(o, {first, second})[1] != 1.0;
  };
  plateau_options o{.factor = 0.5, .patience = 0, .threshold = 0.1};
  CHECK(lowered(o, 10, 9.5));
  CHECK(!lowered(o, 10, 8.9));
  o.threshold_mode = threshold_mode::abs;
  CHECK(!lowered(o, 10, 9.85));
  CHECK(lowered(o, 10, 9.95));
  o.mode = goal::max;
  CHECK(!lowered(o, 10, 10.15));
  CHECK(lowered(o, 10, 10.05));
  o.threshold_mode = threshold_mode::rel;
  CHECK(lowered(o, 10, 10.5));
  CHECK(!lowered(o, 10, 11.5));
  CHECK(lowered(o, 10, std::nan("")));
}

TEST_CASE("plateau: every group is lowered, to the least rate at most") {
  sgd o(one(), {.lr = 1.0});
  o.add_group(one(), {.lr = 0.2});
  reduce_lr_on_plateau s(o, {.factor = 0.5, .patience = 0, .min_lr = 0.15});
  CHECK(!s.step(1));
  CHECK(s.step(1));
  CHECK(o.lr(0) == 0.5);
  CHECK(o.lr(1) == 0.15);
}

TEST_CASE("plateau: a rate that stays is not said to be lowered") {
  sgd o(one(), {.lr = 0.2});
  reduce_lr_on_plateau s(o, {.factor = 0.5, .patience = 0, .min_lr = 0.15});
  for (const bool lowered : {false, true, false, false}) CHECK(s.step(1) == lowered);
}

TEST_CASE("plateau: a saved cooldown goes on") {
  sgd a(one(), {.lr = 1.0}), b(one(), {.lr = 1.0});
  const plateau_options o{.patience = 0, .cooldown = 2};
  reduce_lr_on_plateau s(a, o), u(b, o);
  CHECK(!s.step(3));
  CHECK(s.step(3));
  u.load_state_dict(s.state_dict());
  for (const bool lowered : {false, false, true}) CHECK(u.step(3) == lowered);
}

TEST_CASE("plateau: goes on from a saved place; a factor that does not reduce") {
  sgd a(one(), {.lr = 1.0}), b(one(), {.lr = 1.0});
  reduce_lr_on_plateau s(a, {.patience = 1}), u(b, {.patience = 1});
  CHECK(!s.step(3));
  CHECK(!s.step(3));
  u.load_state_dict(s.state_dict());
  CHECK(u.best() == 3.0);
  CHECK(u.step(3));
  CHECK(b.lr() == doctest::Approx(0.1));
  CHECK_THROWS_WITH_AS(reduce_lr_on_plateau(a, {.factor = 1.0}),
                       "reduce_lr_on_plateau: factor must be in [0, 1); got 1", value_error);
}

}  // namespace
}  // namespace adze::optim::testing
