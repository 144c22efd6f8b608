// SPDX-License-Identifier: MIT
// Places and values of what is not zero: every layout and dtype, broadcasting, gradients, refusals.
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include <adze/ops/inplace.hpp>
#include <adze/ops/nonzero.hpp>
#include <adze/ops/pointwise.hpp>

#include "checks.hpp"

namespace adze::nonzero_test {
namespace {

using namespace test;
using values_of = std::vector<double>;

}  // namespace

TEST_CASE("nonzero names the places in row-major order") {
  const tensor x = tensor_f32{{0, 2, 0}, {-0.5f, 0, NAN}};
  CHECK(numbers(nonzero(x)) == values_of{0, 1, 1, 0, 1, 2});
  CHECK(nonzero(x).shape() == shape{3, 2});
  CHECK(nonzero(x).dtype() == i64);
  CHECK(numbers(nonzero(transpose(x))) == values_of{0, 1, 1, 0, 2, 1});
  CHECK(numbers(nonzero(tensor_bool8{false, true, true})) == values_of{1, 2});
  CHECK(numbers(nonzero(tensor_i64{5, 0, -1})) == values_of{0, 2});
  CHECK(numbers(nonzero(cast(tensor_f32{0, 0x1p-24f}, f16))) == values_of{1});
  CHECK(nonzero(zeros({4, 0, 2})).shape() == shape{0, 3});
  CHECK(nonzero(full({}, 2.0)).shape() == shape{1, 0});
  CHECK(nonzero(zeros({})).shape() == shape{0, 0});
}

TEST_CASE("nonzero of a value that was changed through another handle throws") {
  tensor y = random_leaf({3}) * 2.0;
  const tensor z = y;
  add_(y, 1.0);
  CHECK(message_of([&] {
          return nonzero(z);
        }).find("nonzero: input 0 (f64[3]) was changed in place") == 0);
  CHECK(nonzero(y).shape() == shape{3, 1});
}

TEST_CASE("masked_select takes what the mask holds, and gives its gradient back") {
  const tensor x = tensor_f64{{1, 2, 3}, {4, 5, 6}};
  const tensor mask = tensor_bool8{{true, false, true}, {false, false, true}};
  CHECK(numbers(masked_select(x, mask)) == values_of{1, 3, 6});
  CHECK(numbers(masked_select(transpose(x), transpose(mask))) == values_of{1, 3, 6});
  CHECK(numbers(masked_select(x, tensor_bool8{false, true, false})) == values_of{2, 5});
  CHECK(numbers(masked_select(tensor_f64{7, 8, 9}, mask)) == values_of{7, 9, 9});
  CHECK(masked_select(x, x > 9.0).shape() == shape{0});
  CHECK(masked_select(zeros({0, 3}), zeros({0, 3}, bool8)).shape() == shape{0});
  CHECK(masked_select(cast(x, i32), mask).dtype() == i32);
  check_gradients([&](const list& v) { return square(masked_select(v[0], mask)); },
                  {random_leaf({2, 3})});
  check_gradients([&](const list& v) { return square(masked_select(v[0], mask)); },
                  {random_leaf({3})});
  CHECK_THROWS_AS(masked_select(x, x), dtype_error);
  CHECK_THROWS_AS(masked_select(x, tensor_bool8{true, false}), shape_error);
}

}  // namespace adze::nonzero_test
