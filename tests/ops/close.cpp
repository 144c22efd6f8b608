// SPDX-License-Identifier: MIT
// Agreement within bounds: values of PyTorch's isclose, infinities, NaN, integers, dtypes.
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include <adze/ops/close.hpp>

#include "checks.hpp"

namespace adze::close_test {
namespace {

using namespace test;
using values_of = std::vector<double>;

}  // namespace

TEST_CASE("isclose takes its bounds from the second tensor") {
  // No expected row begins with equal numbers and ends in zeros: g++ 12 with AVX-512 makes all of
  // them the first (docs/decisions.md).
  const tensor a = tensor_f64{100, 1, 1.00001, 0}, b = tensor_f64{101, 1.00002, 1, 1e-8};
  CHECK(numbers(isclose(a, b)) == values_of{0, 0, 1, 1});
  CHECK(numbers(isclose(a, b, {.rtol = 0.005, .atol = 0})) == values_of{0, 1, 1, 0});
  CHECK(numbers(isclose(a, b, {.rtol = 0, .atol = 1})) == values_of{1, 1, 1, 1});
  CHECK(isclose(a, b).dtype() == bool8);
  CHECK_FALSE(allclose(a, b));
  CHECK(allclose(a, b, {.atol = 1}));
  CHECK(allclose(a, full({}, 1.0, f64), {.atol = 99}));  // broadcast
  CHECK(allclose(zeros({0}), zeros({0})));
  CHECK_THROWS_AS(isclose(a, b, {.rtol = -1}), value_error);
  CHECK_THROWS_AS(isclose(a, b, {.atol = NAN}), value_error);
}

TEST_CASE("infinities agree with themselves, NaN where it is said so") {
  const tensor a = tensor_f32{INFINITY, INFINITY, INFINITY, NAN, NAN};
  const tensor b = tensor_f32{INFINITY, -INFINITY, 1, NAN, 1};
  CHECK(numbers(isclose(a, b)) == values_of{1, 0, 0, 0, 0});
  CHECK(numbers(isclose(a, b, {.rtol = 1, .equal_nan = true})) == values_of{1, 0, 0, 1, 0});
  CHECK(numbers(isinf(a)) == values_of{1, 1, 1, 0, 0});
  CHECK(numbers(isinf(b)) == values_of{1, 1, 0, 0, 0});
  CHECK(numbers(isinf(cast(b, f16))) == values_of{1, 1, 0, 0, 0});
  CHECK(numbers(isinf(tensor_i32{1, 0})) == values_of{0, 0});
}

TEST_CASE("integers, 16-bit floats and leaves can be compared") {
  CHECK(allclose(tensor_i64{(index_t{1} << 60) + 1}, tensor_i64{(index_t{1} << 60) + 1}, {0, 0}));
  CHECK_FALSE(allclose(tensor_i64{(index_t{1} << 60) + 1}, tensor_i64{index_t{1} << 60}, {0, 0}));
  CHECK_FALSE(allclose(tensor_i32{1}, tensor_i32{2}));
  CHECK(allclose(cast(tensor_f32{0.1f}, bf16), tensor_f32{0.1f}, {.rtol = 0.01}));
  const tensor w = leaf({3});
  CHECK(allclose(w, w));
  CHECK_FALSE(isclose(w, w).requires_grad());
}

TEST_CASE("where of two numbers") {
  const tensor y = where(tensor_bool8{true, false}, 1.0, -2.0);
  CHECK(numbers(y) == values_of{1, -2});
  CHECK(y.dtype() == f32);
  CHECK_THROWS_AS(where(tensor_f32{1, 0}, 1.0, 0.0), dtype_error);
}

}  // namespace adze::close_test
