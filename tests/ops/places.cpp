// SPDX-License-Identifier: MIT
// Numbers, slices and diagonals at places: values, every axis, gradients, refusals.
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/graph/trace.hpp>
#include <adze/ops/places.hpp>
#include <adze/ops/pointwise.hpp>

#include "checks.hpp"

namespace adze::places_test {
namespace {

using namespace test;
using values_of = std::vector<double>;

tensor column(index_t a, index_t b) { return unsqueeze(tensor_i64{a, b}, 1); }

}  // namespace

TEST_CASE("scatter of one number") {
  const tensor x = zeros({2, 3}, i32);
  const tensor y = scatter(x, 1, column(2, 0), 5.0);
  CHECK(numbers(y) == values_of{0, 0, 5, 5, 0, 0});
  CHECK(y.dtype() == i32);
  CHECK(numbers(x) == values_of(6, 0));
  CHECK_THROWS_AS(scatter(x, 1, column(2, 0), 0.5), dtype_error);
  CHECK_THROWS_AS(scatter(x, 1, column(2, 0), 3e9), value_error);
  CHECK_THROWS_AS(index_fill(cast(x, u8), 1, tensor_i64{0}, 300), value_error);
  CHECK_THROWS_AS(scatter(x, 1, column(3, 0), 1.0), value_error);
}

TEST_CASE("index_fill and index_copy replace slices") {
  const tensor x = reshape(arange(0.0, 12.0), {2, 3, 2});
  const tensor at = tensor_i64{2, 0};
  CHECK(numbers(index_fill(x, 1, at, -1.0)) ==
        values_of{-1, -1, 2, 3, -1, -1, -1, -1, 8, 9, -1, -1});
  CHECK(numbers(index_fill(x, -1, tensor_i32{1}, 0.0)) ==
        values_of{0, 0, 2, 0, 4, 0, 6, 0, 8, 0, 10, 0});
  const tensor source = full({2, 2, 2}, 50.0);
  CHECK(numbers(index_copy(x, 1, at, source)) == numbers(index_fill(x, 1, at, 50.0)));
  const tensor rows = unsqueeze(tensor_f32{{7, 7}, {8, 8}}, 0);
  const tensor turned = index_copy(transpose(x, 0, 1), 0, tensor_i64{1}, rows);
  CHECK(numbers(transpose(turned, 0, 1)) == values_of{0, 1, 7, 7, 4, 5, 6, 7, 8, 8, 10, 11});
  CHECK_THROWS_AS(index_fill(x, 1, tensor_i64{3}, 0.0), value_error);
  CHECK_THROWS_AS(index_fill(x, 1, column(1, 0), 0.0), shape_error);
  CHECK_THROWS_AS(index_copy(x, 1, at, ones({2, 1, 2})), shape_error);
}

TEST_CASE("a graph stores at places of other batches than the example's") {
  const tensor at = tensor_i64{3, 0}, few = smooth({2, 6}, f64), x = smooth({4, 6}, f64);
  const tensor columns = unsqueeze(tensor_i64{1, 0, 5, 2}, 1);
  const auto fill = [&](const tensor& v) { return index_fill(v, 1, at, 7.0); };
  const auto copy = [&](const tensor& v, const tensor& s) { return index_copy(v, 1, at, s); };
  const auto one = [](const tensor& v, const tensor& i) { return scatter(v, 1, i, 7.0); };
  const tensor s = smooth({4, 2}, f64, 0.3);
  CHECK(numbers(trace(fill, {few})(x)) == numbers(fill(x)));
  CHECK(numbers(trace(copy, {few, smooth({2, 2}, f64)})(x, s)) == numbers(copy(x, s)));
  CHECK(numbers(trace(one, {few, slice(columns, 0, {0, 2})})(x, columns)) ==
        numbers(one(x, columns)));
}

TEST_CASE("diag makes a matrix of a vector and takes it back") {
  const tensor v = tensor_f64{1, 2};
  CHECK(numbers(diag(v)) == values_of{1, 0, 0, 2});
  CHECK(numbers(diag(v, 1)) == values_of{0, 1, 0, 0, 0, 2, 0, 0, 0});
  CHECK(numbers(diag(v, -1)) == values_of{0, 0, 0, 1, 0, 0, 0, 2, 0});
  const tensor m = reshape(arange(6), {2, 3});
  CHECK(numbers(diag(m)) == values_of{0, 4});
  CHECK(numbers(diag(m, 1)) == values_of{1, 5});
  CHECK(numbers(diag(m, 2)) == values_of{2});
  CHECK(numbers(diag(m, -1)) == values_of{3});
  CHECK(numbers(diag(transpose(m), 1)) == values_of{3});
  CHECK(diag(m, 3).numel() == 0);
  CHECK(diag(m, -7).numel() == 0);
  constexpr index_t most = std::numeric_limits<index_t>::max();
  CHECK(diag(m, most).numel() == 0);
  CHECK(diag(m, -most - 1).numel() == 0);
  for (const index_t far : {most, -most - 1, index_t{1} << 33}) {
    CHECK(
        message_of([&] { return diag(v, far); }).starts_with("diag: no memory holds that square"));
  }
  CHECK(diag(zeros({0})).shape() == shape{0, 0});
  CHECK_THROWS_AS(diag(zeros({2, 2, 2})), shape_error);
}

TEST_CASE("gradients, twice") {
  const tensor x = leaf({3, 4}), s = leaf({3, 2}, 1.0, 0.8), v = leaf({3});
  const tensor at = tensor_i64{3, 1};
  check_gradients([&](const list& p) { return square(index_fill(p[0], 1, at, 2.0)); }, {x});
  check_gradients([&](const list& p) { return square(index_copy(p[0], 1, at, p[1])); }, {x, s});
  check_gradients([&](const list& p) { return square(scatter(p[0], 0, column(2, 0), 2.0)); }, {x});
  check_gradients([](const list& p) { return square(diag(p[0], 1)); }, {x});
  check_gradients([](const list& p) { return square(diag(p[0], -1)); }, {v});
}

}  // namespace adze::places_test
