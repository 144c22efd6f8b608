// SPDX-License-Identifier: MIT
// Elements by index against loops: every axis, layout and dtype; bounds, both derivatives.
#include <vector>

#include <doctest/doctest.h>

#include <adze/ops/gather.hpp>
#include <adze/ops/reduce.hpp>

#include "checks.hpp"

namespace adze {
namespace {

using namespace test;
using values_of = std::vector<double>;

tensor one(const shape& sizes, double index) { return full(sizes, index, i64); }
tensor indices(const shape& sizes, index_t bound) { return randint(0, bound, sizes, source()); }

}  // namespace

TEST_CASE("gather, scatter and scatter_add along every axis of every layout") {
  const tensor base = smooth({3, 4, 5}, f64);
  const std::vector<tensor> layouts{base, transpose(base, 0, 2), slice(base, 2, {0, 5, 2}),
                                    expand(slice(base, 1, {1, 2}), {3, 6, 5})};
  for (const tensor& x : layouts) {
    for (index_t axis = 0; axis < 3; ++axis) {
      shape sizes{2, 3, 2};
      sizes = sizes.with(axis, 7);
      const tensor at = indices(sizes, x.size(axis));
      const tensor source_values = smooth(sizes, f64, 1.0, 0.7);
      const auto i = at.as<index_t>();
      const auto s = source_values.as<double>();
      const tensor_f64 v = x.as<double>();
      tensor_f64 added(detail::dense_copy(x)), stored(detail::dense_copy(x));
      const tensor y = gather(x, axis - 3, at);
      index_t wrong = 0;
      for (index_t a = 0; a < sizes[0]; ++a) {
        for (index_t b = 0; b < sizes[1]; ++b) {
          for (index_t c = 0; c < sizes[2]; ++c) {
            const index_t k = i(a, b, c);
            const index_t p = axis == 0 ? k : a, q = axis == 1 ? k : b, r = axis == 2 ? k : c;
            wrong += y.as<double>()(a, b, c) != v(p, q, r);
            added(p, q, r) += s(a, b, c);
            stored(p, q, r) = s(a, b, c);
          }
        }
      }
      CHECK(wrong == 0);
      CHECK(distance(scatter_add(x, axis, at, source_values), added) == 0.0);
      CHECK(distance(scatter(x, axis, at, source_values), stored) == 0.0);
      CHECK(distance(gather(x, axis, cast(at, i32)), y) == 0.0);
    }
  }
}

TEST_CASE("index_select and index_add take whole slices") {
  const tensor x = smooth({4, 3, 6}, f64), at = tensor_i64{2, 0, 0, 2, 1};
  for (const tensor& v : {x, permute(x, {2, 0, 1})}) {
    for (index_t axis = 0; axis < 3; ++axis) {
      const tensor y = index_select(v, axis, at);
      tensor sums = detail::dense_copy(v);
      for (index_t k = 0; k < 5; ++k) {
        const index_t from = at.as<index_t>()(k);
        CHECK(distance(select(y, axis, k), select(v, axis, from)) == 0.0);
        tensor place = select(sums, axis, from);
        const tensor more = place + select(y, axis, k);
        kernels::copy(place.shape(), detail::operand_of(place), detail::operand_of(more));
      }
      CHECK(distance(index_add(v, axis, at, y), sums) == 0.0);
    }
  }
  CHECK(index_select(x, 1, tensor_i64(shape{0})).shape() == shape{4, 0, 6});
}

TEST_CASE("every dtype; 16-bit floats are summed in f32") {
  const tensor at = tensor_i64{1, 1, 0};
  for (const dtype type : {f32, f64, f16, bf16, i8, u8, i32, i64}) {
    const tensor x = cast(tensor_i32{1, 2}, type), s = cast(tensor_i32{10, 20, 30}, type);
    CHECK(numbers(gather(x, 0, at)) == values_of{2, 2, 1});
    CHECK(numbers(scatter_add(x, 0, at, s)) == values_of{31, 32});
    CHECK(numbers(scatter(x, 0, at, s)) == values_of{30, 20});
  }
  CHECK(numbers(index_select(tensor_bool8{true, false}, 0, at)) == values_of{0, 0, 1});
  const tensor many = zeros({4000}, i64);
  CHECK(numbers(scatter_add(zeros({1}, f16), 0, many, ones({4000}, f16))) == values_of{4000});
  CHECK_THROWS_AS(scatter_add(zeros({1}, bool8), 0, many, ones({4000}, bool8)), dtype_error);
}

TEST_CASE("indices and shapes that do not fit are named, and nothing is written") {
  const tensor x = zeros({3, 4});
  CHECK(message_of([&] {
          return gather(x, 1, tensor_i64{{0, 4}});
        }) == "gather: index 4 is out of range for an axis of size 4; at element 1 of i64[1,2]");
  CHECK_THROWS_AS(gather(x, 1, one({1, 1}, -1)), value_error);
  CHECK_THROWS_AS(gather(x, 0, zeros({1, 1})), dtype_error);
  CHECK_THROWS_AS(gather(x, 0, tensor_i64{0}), shape_error);
  CHECK_THROWS_AS(gather(x, 0, zeros({1, 5}, i64)), shape_error);
  CHECK_THROWS_AS(gather(x, 2, one({1, 1}, 0)), shape_error);
  CHECK_THROWS_AS(scatter(x, 0, one({1, 1}, 0), zeros({1, 2})), shape_error);
  CHECK_THROWS_AS(scatter(x, 0, one({1, 1}, 0), zeros({1, 1}, f64)), shape_error);
  CHECK_THROWS_AS(scatter_add(x, 0, one({1, 1}, 3), zeros({1, 1})), value_error);
  CHECK_THROWS_AS(index_select(x, 1, one({1, 1}, 0)), shape_error);
  CHECK_THROWS_AS(index_select(x, 0, tensor_i64{3}), value_error);
  CHECK_THROWS_AS(index_add(x, 0, tensor_i64{0}, zeros({1, 3})), shape_error);
  CHECK(message_of([&] { return one_hot(tensor_i64{3}, 3); }) ==
        "one_hot: index 3 is out of range for an axis of size 3; at element 0 of i64[1]");
  CHECK_THROWS_AS(masked_fill(zeros({3}), zeros({2, 3}, bool8), 1.0), shape_error);
  CHECK(message_of([] { return masked_fill(zeros({3}), ones({3}), 1.0); }) ==
        "masked_fill: the mask must be bool8; got f32[3]; compare it with 0");
  const tensor mask = zeros({3}, bool8);
  CHECK(message_of([&] {
          return index_add(mask, 0, tensor_i64{0, 1, 2}, mask);
        }).starts_with("index_add: dtype bool8"));
}

TEST_CASE("a mask in the place of an index is told where to go") {
  CHECK(
      message_of([] {
        return index_select(ones({2}), 0, tensor_bool8{true, false});
      }) ==
      "index_select: the index must be i64 or i32; got bool8[2]; masked_select, or nonzero(mask)");
}

TEST_CASE("next to integers a scalar must be whole") {
  const tensor x = tensor_i64{1, 2}, mask = tensor_bool8{true, false};
  CHECK(numbers(where(mask, x, 7.0)) == values_of{1, 7});
  CHECK_THROWS_AS(where(mask, x, 0.5), dtype_error);
  CHECK_THROWS_AS(where(mask, 0.5, x), dtype_error);
  const tensor bytes = tensor_u8{1, 2};
  CHECK(message_of([&] { return masked_fill(bytes, mask, 300); }) ==
        "masked_fill: u8 holds 0 to 255; got 300");
  CHECK_THROWS_AS(where(mask, bytes, -1), value_error);
  CHECK_THROWS_AS(where(mask, 256, bytes), value_error);
  CHECK_THROWS_AS(masked_fill(x, mask, -std::numeric_limits<double>::infinity()), dtype_error);
}

TEST_CASE("one_hot and masked_fill") {
  const tensor y = one_hot(tensor_i32{{0, 2}, {1, 1}}, 3);
  CHECK(y.shape() == shape{2, 2, 3});
  CHECK(y.dtype() == i64);
  CHECK(numbers(y) == values_of{1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0});
  CHECK(one_hot(zeros({0}, i64), 4).shape() == shape{0, 4});
  const tensor x = tensor_f32{{1, 2}, {3, 4}};
  CHECK(numbers(masked_fill(x, tensor_bool8{true, false}, -1.0)) == values_of{-1, 2, -1, 4});
  CHECK(numbers(gather(full({}, 3.0), 0, zeros({}, i64))) == values_of{3});
}

TEST_CASE("gradients, twice") {
  const tensor at = indices({2, 5, 3}, 4), few = tensor_i64{3, 0, 0};
  const auto check = [](const tensor_function& f, const list& x) { check_gradients(f, x); };
  check([&](const list& x) { return square(gather(x[0], 1, at)); }, {leaf({2, 4, 3})});
  check([&](const list& x) { return square(scatter_add(x[0], 1, at, x[1])); },
        {leaf({2, 4, 3}), leaf({2, 5, 3}, 1.0, 0.9)});
  check(
      [&](const list& x) {
        return square(scatter(x[0], 1, tensor_i64{{0, 2}, {3, 1}}, x[1]));
      },
      {leaf({2, 4}), leaf({2, 2}, 1.0, 0.9)});
  check([&](const list& x) { return square(index_select(transpose(x[0]), 0, few)); },
        {leaf({2, 4})});
  check([&](const list& x) { return square(index_add(x[0], 0, few, x[1])); },
        {leaf({4, 2}), leaf({3, 2}, 1.0, 0.9)});
  check([&](const list& x) { return square(masked_fill(x[0], detach(x[0]) > 0.0, 2.0)); },
        {leaf({2, 4})});
  CHECK(live_nodes() == 0);
}

}  // namespace adze
