// SPDX-License-Identifier: MIT
// Values by rank: those of PyTorch, NaN, every axis and layout, gradients at the places, refusals.
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include <adze/graph/trace.hpp>
#include <adze/ops/quantile.hpp>

#include "checks.hpp"

namespace adze::quantile_test {
namespace {

using namespace test;
using values_of = std::vector<double>;

}  // namespace

TEST_CASE("kthvalue counts from the smallest, from 1") {
  const tensor x = tensor_f32{{3, 1, 2, NAN}, {7, 7, -1, 0}};
  const auto second = kthvalue(x, 2);
  CHECK(numbers(second[0]) == values_of{2, 0});
  CHECK(numbers(second[1]) == values_of{2, 3});
  CHECK(std::isnan(numbers(kthvalue(x, 4)[0])[0]));
  CHECK(numbers(kthvalue(x, 1, 0)[0]) == values_of{3, 1, -1, 0});
  CHECK(kthvalue(x, 1, 1, true)[0].shape() == shape{2, 1});
  CHECK(kthvalue(x, 1, 1, true)[1].dtype() == i64);
  CHECK(kthvalue(full({}, 3.0), 1)[0].item() == 3.0);
  CHECK(message_of([&] { return kthvalue(x, 5); }) ==
        "kthvalue: k must be 1 to 4 on axis -1; got 5 for f32[2,4]");
  CHECK_THROWS_AS(kthvalue(x, 0), value_error);
  CHECK(message_of([&] { return kthvalue(x, 1, 5); }).starts_with("kthvalue: axis 5 is"));
}

TEST_CASE("the median is the lower of two, and NaN where one element is") {
  const tensor x = tensor_f64{{4, 1, 3, 2}, {5, 9, 9, 9}};
  CHECK(median(x).item() == 4.0);
  CHECK(numbers(median(x, 1)[0]) == values_of{2, 9});
  CHECK(numbers(median(x, 1)[1]) == values_of{3, 1});
  CHECK(numbers(median(transpose(x), 0, true)[0]) == values_of{2, 9});
  CHECK(median(x, 0, true)[0].shape() == shape{1, 4});
  const auto gap = median(tensor_f32{{1, NAN, 0}, {2, 1, 0}}, -1);
  CHECK(std::isnan(numbers(gap[0])[0]));
  CHECK(numbers(gap[1]) == values_of{1, 1});
  CHECK(median(tensor_i64{5, 1, 3, 2}).item<index_t>() == 2);
  CHECK(median(full({}, 3.0)).item() == 3.0);
  CHECK_THROWS_AS(median(zeros({0})), value_error);
  CHECK(message_of([&] { return median(x, 5); }).starts_with("median: axis 5 is"));
}

TEST_CASE("quantiles lie on the line between two ranks") {
  const tensor x = tensor_f64{{40, 10, 30, 20}, {1, 1, 1, INFINITY}};
  CHECK(numbers(quantile(x, 0.5, 1)) == values_of{25, 1});
  CHECK(numbers(quantile(x, 0.25, -1)) == values_of{17.5, 1});
  CHECK(numbers(quantile(x, 0.0, 1)) == values_of{10, 1});
  CHECK(numbers(quantile(x, 1.0, 1)) == values_of{40, INFINITY});
  CHECK(quantile(x, 0.5, 0, true).shape() == shape{1, 4});
  CHECK(quantile(x, 0.9).item() == INFINITY);
  CHECK(quantile(select(x, 0, 0), 0.9).item() == doctest::Approx(37.0));
  CHECK(quantile(full({}, 3.0), 0.3).item() == 3.0);
  CHECK(std::isnan(quantile(tensor_f32{1, NAN, 2}, 0.0).item()));
  CHECK_THROWS_AS(quantile(x, 1.5), value_error);
  CHECK_THROWS_AS(quantile(x, NAN), value_error);
  CHECK_THROWS_AS(quantile(zeros({0}), 0.5), value_error);
  CHECK_THROWS_AS(quantile(arange(4), 0.5), dtype_error);
}

TEST_CASE("a graph takes the ranks of the batch that it runs") {
  const tensor few = smooth({4, 3}), all = smooth({8, 3}, f64, 1.0, 0.8);
  const auto check = [&](auto f) {
    const graph g = trace(f, {few});
    CHECK(numbers(g(all)) == numbers(f(all)));
    tensor x = detach(all);
    x.set_requires_grad();
    CHECK(numbers(grad(sum(g(x)), x)) == numbers(grad(sum(f(x)), x)));
  };
  check([](const tensor& x) { return kthvalue(x, 3, 0)[0]; });
  check([](const tensor& x) { return median(x, 0)[0]; });
  check([](const tensor& x) { return median(x); });
  check([](const tensor& x) { return quantile(x, 0.4, 0); });
  check([](const tensor& x) { return quantile(x, 0.9); });
}

TEST_CASE("gradients go to the places") {
  const tensor x = leaf({3, 5});
  check_gradients([](const list& v) { return kthvalue(v[0], 2, 0)[0]; }, {x});
  check_gradients([](const list& v) { return median(v[0], 1)[0]; }, {x});
  check_gradients([](const list& v) { return median(v[0]); }, {x});
  check_gradients([](const list& v) { return quantile(v[0], 0.3, 1, true); }, {x});
  check_gradients([](const list& v) { return quantile(v[0], 0.7); }, {x});
}

}  // namespace adze::quantile_test
