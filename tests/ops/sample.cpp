// SPDX-License-Identifier: MIT
// Draws by weight: frequencies, places of weight 0, order without replacement, seeds, refusals.
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/checkpoint.hpp>
#include <adze/graph/trace.hpp>
#include <adze/ops/inplace.hpp>
#include <adze/ops/sample.hpp>

#include "checks.hpp"

namespace adze::sample_test {
namespace {

using namespace test;
using values_of = std::vector<double>;

}  // namespace

TEST_CASE("places come as often as their weights say") {
  const tensor w = tensor_f32{{1, 0, 3, 4}, {0, 2, 0, 0}};
  const index_t n = 40000;
  generator g(11);
  const values_of y = numbers(multinomial(w, n, true, g));
  std::vector<double> count(4);
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    count[static_cast<std::size_t>(y[i])] += 1.0 / n;
    REQUIRE(y[static_cast<std::size_t>(n) + i] == 1);
  }
  CHECK(distance(count, {0.125, 0, 0.375, 0.5}) < 0.01);
  CHECK(count[1] == 0);
}

TEST_CASE("without replacement all differ, the first by weight, the second among those left") {
  const tensor w = expand(reshape(tensor_f64{2, 1, 0, 1}, {1, 4}), {20000, 4});
  generator g(5);
  const tensor y = multinomial(w, 3, false, g);
  CHECK(y.shape() == shape{20000, 3});
  CHECK(y.dtype() == i64);
  const values_of v = numbers(y);
  double first = 0, second = 0;
  for (std::size_t i = 0; i < v.size(); i += 3) {
    REQUIRE(std::set<double>{v[i], v[i + 1], v[i + 2]} == std::set<double>{0, 1, 3});
    first += v[i] == 0;
    second += v[i] == 1 && v[i + 1] == 0;
  }
  CHECK(first / 20000 == doctest::Approx(0.5).epsilon(0.02));
  CHECK(second / 20000 == doctest::Approx(0.25 * 2 / 3).epsilon(0.05));
}

TEST_CASE("the seed decides, every dtype and layout serves, one draw needs one number") {
  const tensor w = tensor_f32{{1, 2, 3}, {3, 2, 1}};
  generator a(1), b(1), c(2);
  const values_of first = numbers(multinomial(w, 50, true, a));
  CHECK(first == numbers(multinomial(cast(w, f16), 50, true, b)));
  CHECK(first != numbers(multinomial(w, 50, true, c)));
  CHECK(multinomial(transpose(w), 2, false, a).shape() == shape{3, 2});
  CHECK(multinomial(tensor_f64{0, 5}, 1).item() == 1.0);
  const random_state before = a.state();
  static_cast<void>(multinomial(w, 1, false, a));
  CHECK(a.state().offset == before.offset + 1);
  CHECK(multinomial(zeros({0, 3}), 2).shape() == shape{0, 2});
  CHECK_FALSE(multinomial(leaf({2}) * 0.0 + 1.0, 1).requires_grad());
}

TEST_CASE("many places: each draw is the first place whose running sum passes it") {
  const index_t n = 1000, count = 5000;
  tensor w = cast(smooth({n}) > 0.2, f64);  // zeros between ones
  generator g(3), same(3);
  const values_of y = numbers(multinomial(w, count, true, g)), weight = numbers(w);
  std::vector<double> u(static_cast<std::size_t>(count));
  uniform_fill(u.data(), 0, count, same.reserve_for<double>(count));
  const double total = sum(w).item();
  for (std::size_t k = 0; k < u.size(); ++k) {
    std::size_t at = 0;
    double running = weight[0];
    while (running <= u[k] * total) running += weight[++at];
    REQUIRE(y[k] == static_cast<double>(at));
  }
}

TEST_CASE("a graph draws at each replay; a value changed through another handle throws") {
  const auto f = [](const tensor& w) { return multinomial(w, 20, true); };
  const graph g = trace(f, ones({6}));
  manual_seed(3);
  const values_of first = numbers(g(ones({6}))), second = numbers(g(ones({6})));
  CHECK(first != second);
  manual_seed(3);
  CHECK(numbers(f(ones({6}))) == first);
  CHECK(numbers(g(tensor_f32{0, 0, 1, 0, 0, 0})) == values_of(20, 2.0));
  tensor y = random_leaf({3}) * 0.0 + 1.0;
  const tensor z = y;
  add_(y, 1.0);
  CHECK_THROWS_AS(multinomial(z, 1), state_error);
}

TEST_CASE("a run that is repeated draws from the default generator") {
  generator own(3);
  const auto f = [&](const list& x) {
    return x[0] * cast(multinomial(ones({6}), 4, true, own), f64);
  };
  const std::string refused =
      "multinomial: checkpoint() and trace() run a function again with the numbers of the default "
      "generator; draw from that one inside of them";
  const random_state before = own.state();
  CHECK(message_of([&] { return checkpoint(f, {random_leaf({4})}); }) == refused);
  CHECK(message_of([&] { trace([&](const tensor& x) { return f({x}); }, random({4})); }) ==
        refused);
  CHECK(own.state().offset == before.offset);
  const no_grad guard;  // run once
  CHECK(checkpoint(f, {random({4})}).shape() == shape{4});
}

TEST_CASE("weights that cannot be drawn by") {
  CHECK(message_of([] {
          return multinomial(tensor_f32{1, -1}, 1);
        }) == "multinomial: weights must be finite and not negative; got -1");
  CHECK_THROWS_AS(multinomial(tensor_f32{1, INFINITY}, 1), value_error);
  CHECK_THROWS_AS(multinomial(tensor_f32{NAN, 1}, 1), value_error);
  CHECK_THROWS_AS(multinomial(zeros({3}), 1), value_error);
  CHECK_THROWS_AS(multinomial(zeros({2, 0}), 1), value_error);
  CHECK_THROWS_AS(multinomial(tensor_f32{1, 0, 1}, 3), value_error);
  CHECK_THROWS_AS(multinomial(ones({3}), 4), value_error);
  CHECK_THROWS_AS(multinomial(ones({3}), 0), value_error);
  CHECK_THROWS_AS(multinomial(ones({1, 2, 3}), 1), shape_error);
  CHECK_THROWS_AS(multinomial(ones({3}, i64), 1), dtype_error);
}

}  // namespace adze::sample_test
