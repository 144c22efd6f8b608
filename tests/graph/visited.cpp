// SPDX-License-Identifier: MIT
// Members that visit() forgets.
#include <doctest/doctest.h>

#include <adze/graph/visited.hpp>
#include <adze/nn/linear.hpp>
#include <adze/nn/norm.hpp>
#include <adze/ops/arithmetic.hpp>

namespace adze::visited_test {
namespace {

struct whole {
  nn::linear fc{{.in = 3, .out = 4}};
  nn::batch_norm1d bn{{.channels = 4}};
  tensor scale = ones({4}).set_requires_grad(), shift = ones({4});
  tensor operator()(const tensor& x) const { return bn(fc(x)) * scale + shift; }
  void visit(auto&& f) {
    f("fc", fc);
    f("bn", bn);
    f("scale", scale);
  }
};

struct partial : whole {
  nn::linear head{{.in = 4, .out = 2, .bias = false}};
  tensor operator()(const tensor& x) const { return head(whole::operator()(x)); }
  void visit(auto&& f) { f("fc", fc), f("bn", bn); }
};

struct untrained : whole {
  void visit(auto&& f) { whole::visit(f), f("shift", shift); }
};

TEST_CASE("check_visited: a whole model passes, constants that want no gradient too") {
  const whole model;
  CHECK_NOTHROW(check_visited(model, ones({2, 3})));
  CHECK(model.bn.num_batches_tracked.item() == 0);
}

TEST_CASE("check_visited: what visit() forgets is listed with the ops that use it") {
  partial model;
  CHECK_THROWS_WITH_AS(check_visited(model, ones({2, 3})),
                       "check_visited: the model uses tensors that want gradients and that visit() "
                       "does not name: f32[4] in mul, f32[2,4] in linear; name them, or the layers "
                       "that hold them",
                       state_error);
}

TEST_CASE("check_visited: what nothing will train is listed by name") {
  untrained model;
  CHECK_THROWS_WITH_AS(
      check_visited(model, {ones({2, 3})}),
      "check_visited: visit() names tensors that want no gradient, so that nothing "
      "will train them: shift f32[4]; call set_requires_grad() where they are "
      "made, or name them as nn::buffer{x}; freeze layers after this check",
      state_error);
  model.shift.set_requires_grad();
  CHECK_NOTHROW(check_visited(model, {ones({2, 3})}));
}

}  // namespace
}  // namespace adze::visited_test
