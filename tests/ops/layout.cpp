// SPDX-License-Identifier: MIT
// Views and copies: what shares memory, values against index arithmetic, gradients, refusals.
#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/graph/trace.hpp>
#include <adze/ops/layout.hpp>

#include "checks.hpp"

namespace adze {
namespace {

using namespace test;
using values_of = std::vector<double>;

tensor count(const shape& sizes) { return reshape(cast(arange(sizes.numel()), f64), sizes); }
bool shares(const tensor& a, const tensor& b) { return a.impl().store == b.impl().store; }

}  // namespace

TEST_CASE("views share memory and show the right elements") {
  const tensor x = count({2, 3, 4});
  const tensor turned = transpose(x, 0, -1);
  CHECK(turned.shape() == shape{4, 3, 2});
  CHECK(turned.as<double>()(3, 1, 0) == 7.0);
  const tensor ordered = permute(x, {2, 0, -2});
  CHECK(ordered.shape() == shape{4, 2, 3});
  CHECK(ordered.as<double>()(1, 1, 2) == 21.0);
  const tensor wide = expand(unsqueeze(x, 1), {5, -1, 6, 3, -1});
  CHECK(wide.shape() == shape{5, 2, 6, 3, 4});
  CHECK(wide.as<double>()(4, 1, 5, 2, 3) == 23.0);
  const tensor flat = flatten(x, 1);
  CHECK(flat.shape() == shape{2, 12});
  CHECK(flatten(x, 0, 1).shape() == shape{6, 4});
  CHECK(flatten(zeros({})).shape() == shape{1});
  const tensor squeezed = squeeze(reshape(x, {2, 1, 12}), -2);
  CHECK(squeezed.shape() == shape{2, 12});
  for (const tensor* view : {&turned, &ordered, &wide, &flat, &squeezed}) CHECK(shares(*view, x));
  CHECK_FALSE(shares(clone(x), x));
  CHECK(shares(contiguous(x), x));
  CHECK_FALSE(shares(contiguous(turned), x));
  CHECK(distance(contiguous(turned), turned) == 0.0);
}

TEST_CASE("reshape is a view exactly when the strides allow it") {
  const tensor x = count({4, 6});
  CHECK(shares(reshape(x, {2, 2, -1}), x));
  const tensor half = slice(x, 1, {0, 3});  // rows with gaps
  CHECK(shares(reshape(half, {2, 2, 3}), x));
  CHECK(shares(reshape(half, {4, 3, 1, 1}), x));
  CHECK_FALSE(shares(reshape(half, {12}), x));
  CHECK(numbers(reshape(half, {12})) == values_of{0, 1, 2, 6, 7, 8, 12, 13, 14, 18, 19, 20});
  CHECK(shares(reshape(transpose(x), {2, 3, 4}), x));
  CHECK_FALSE(shares(reshape(transpose(x), {24}), x));
  CHECK(numbers(reshape(transpose(x), {2, 12}))[13] == numbers(transpose(x))[13]);
  const tensor wide = expand(count({3, 1}), {3, 4});
  CHECK(numbers(reshape(wide, {12}))[5] == 1.0);
  CHECK(reshape(zeros({0, 3}), {5, 0}).shape() == shape{5, 0});
  CHECK(reshape(zeros({0, 3}), {-1, 3}).shape() == shape{0, 3});
  CHECK(reshape(ones({1, 1}), {}).rank() == 0);
  CHECK(message_of([&] {
          return reshape(x, {5, -1});
        }) == "reshape: [5,-1] does not hold the 24 elements of [4,6]");
  CHECK_THROWS_AS(reshape(x, {-1, -1}), shape_error);
  CHECK_THROWS_AS(reshape(x, {-2, 12}), shape_error);
  CHECK_THROWS_AS(reshape(x, {index_t{1} << 62, index_t{1} << 62}), shape_error);
}

TEST_CASE("every reshape of every view equals the copy of it") {
  const tensor x = count({2, 3, 4});
  const std::vector<tensor> views{x,
                                  transpose(x, 0, 2),
                                  permute(x, {1, 0, 2}),
                                  slice(x, 2, {1, 3}),
                                  select(x, 1, 2),
                                  flip(x, {0}),
                                  expand(unsqueeze(x, 0), {2, 2, 3, 4})};
  for (const tensor& v : views) {
    const values_of expected = numbers(v);
    for (index_t a = 1; a <= v.numel(); ++a) {
      for (index_t b = 1; a * b <= v.numel(); ++b) {
        if (v.numel() % (a * b) != 0) continue;
        CHECK(numbers(reshape(v, {a, b, -1})) == expected);
      }
    }
  }
}

TEST_CASE("slices and their clipping") {
  const tensor x = count({7});
  const auto taken = [&](const slice_range& r) { return numbers(slice(x, 0, r)); };
  CHECK(taken({1, 6, 2}) == values_of{1, 3, 5});
  CHECK(taken({-3}) == values_of{4, 5, 6});
  CHECK(taken({.stop = -5}) == values_of{0, 1});
  CHECK(taken({5, 100, 1}) == values_of{5, 6});
  CHECK(taken({4, 2, 1}).empty());
  CHECK(taken({100, 200, 1}).empty());
  const index_t huge = std::numeric_limits<index_t>::max();
  CHECK(taken({1, huge, huge}) == values_of{1});
  CHECK(taken({0, huge, huge - 5}) == values_of{0});
  CHECK(shares(slice(x, 0, {1, 3}), x));
  CHECK_THROWS_AS(slice(x, 0, {0, 5, 0}), value_error);
  CHECK_THROWS_AS(slice(x, 1, {}), shape_error);
  CHECK(select(x, 0, -1).item() == 6.0);
  CHECK_THROWS_AS(select(x, 0, 7), value_error);
  const auto parts = split(count({5, 2}), 2);
  CHECK(parts.size() == 3);
  CHECK(parts[2].shape() == shape{1, 2});
  CHECK(split(count({5}), std::vector<index_t>{0, 5})[0].numel() == 0);
  CHECK(chunk(count({7}), 3)[2].numel() == 1);
  CHECK(chunk(count({2}), 3).size() == 2);
  CHECK_THROWS_AS(split(x, std::vector<index_t>{3, 3}), shape_error);
  CHECK_THROWS_AS(split(x, std::vector<index_t>{8, -1}), shape_error);
  CHECK_THROWS_AS(split(x, 0), value_error);
}

TEST_CASE("concat, stack, flip, pad and triangles") {
  const tensor a = count({2, 2}), b = count({2, 1}) + 10.0;
  const tensor joined[] = {a, b};
  CHECK(numbers(concat(joined, 1)) == values_of{0, 1, 10, 2, 3, 11});
  CHECK_THROWS_AS(concat(joined, 0), shape_error);
  CHECK_THROWS_AS(concat({}, 0), shape_error);
  const tensor mixed[] = {tensor_f32{1}, tensor_f64{2}};
  CHECK(concat(mixed).dtype() == f64);
  const tensor whole[] = {tensor_i32{1}, tensor_f32{2.5f}};
  CHECK(numbers(concat(whole)) == values_of{1, 2.5});
  const tensor equal_shapes[] = {a, a * 2.0};
  CHECK(numbers(stack(equal_shapes, -1)) == values_of{0, 0, 1, 2, 2, 4, 3, 6});
  CHECK_THROWS_AS(stack(joined), shape_error);
  CHECK(numbers(flip(a, {1})) == values_of{1, 0, 3, 2});
  CHECK(numbers(flip(a, {0, 1})) == values_of{3, 2, 1, 0});
  CHECK_THROWS_AS(flip(a, {0, -2}), shape_error);
  CHECK(flip(full({}, 2.0), {-1}).item() == 2.0);
  CHECK_THROWS_AS(flip(full({}, 2.0), {1}), shape_error);
  CHECK(numbers(pad(a, {1, 0}, 9.0)) == values_of{9, 0, 1, 9, 2, 3});
  CHECK(numbers(pad(a, {-1, 0, 0, 1}, 7.0)) == values_of{1, 3, 7});
  CHECK_THROWS_AS(pad(a, {-3, 1}), shape_error);
  CHECK_THROWS_AS(pad(a, {1}), shape_error);
  CHECK(pad(cast(a, u8), {0, 1}, 255.0).as<std::uint8_t>()(1, 2) == 255);
  const tensor m = count({2, 3}) + 1.0;
  CHECK(numbers(tril(m)) == values_of{1, 0, 0, 4, 5, 0});
  CHECK(numbers(triu(m, 1)) == values_of{0, 2, 3, 0, 0, 6});
  CHECK(numbers(tril(m, -5)) == values_of(6, 0.0));
  CHECK(numbers(tril(m, 5)) == numbers(m));
  CHECK_THROWS_AS(tril(count({3})), shape_error);
}

TEST_CASE("amounts and places beyond all tensors") {
  constexpr index_t most = std::numeric_limits<index_t>::max();
  const tensor x = count({2, 2}) + 1.0;
  CHECK(numbers(triu(x, most)) == values_of(4, 0.0));
  CHECK(numbers(triu(x, -most - 1)) == numbers(x));
  CHECK(numbers(tril(x, most)) == numbers(x));
  CHECK(numbers(tril(x, -most - 1)) == values_of(4, 0.0));
  CHECK(message_of([&] {
          return pad(x, {most, most});
        }) ==
        "pad: no axis is that long; got 9223372036854775807 and 9223372036854775807 for [2,2]");
  CHECK_THROWS_AS(pad(x, {-most - 1, 0}), shape_error);
  CHECK(chunk(x, most).size() == 2);
  CHECK(chunk(count({7}), 3)[2].shape() == shape{1});
  CHECK(numbers(slice(x, 0, {.start = 1, .step = most})) == values_of{3, 4});
}

TEST_CASE("repeat and roll") {
  const tensor x = tensor_f64{{1, 2}, {3, 4}};
  CHECK(numbers(repeat(x, {2})) == values_of{1, 2, 1, 2, 3, 4, 3, 4});
  CHECK(numbers(repeat(x, {2, 1})) == values_of{1, 2, 3, 4, 1, 2, 3, 4});
  CHECK(numbers(repeat(transpose(x), {1, 2})) == values_of{1, 3, 1, 3, 2, 4, 2, 4});
  CHECK(repeat(x, {3, 1, 2}).shape() == shape{3, 2, 4});
  CHECK(repeat(x, {1, 1, 1}).shape() == shape{1, 2, 2});
  CHECK(repeat(x, {0, 3}).shape() == shape{0, 6});
  CHECK(repeat(zeros({2, 0}), {3, 2}).shape() == shape{6, 0});
  CHECK(repeat(ones({1, 1, 1, 1, 1, 1, 1, 2}), {2, 1, 1, 1, 1, 1, 1, 2}).shape() ==
        shape{2, 1, 1, 1, 1, 1, 1, 4});
  CHECK(repeat(x, {1}).data() != x.data());
  CHECK_THROWS_AS(repeat(x, {-1}), value_error);
  CHECK(numbers(roll(x, {1})) == values_of{4, 1, 2, 3});
  CHECK(numbers(roll(x, {1}, {0})) == values_of{3, 4, 1, 2});
  CHECK(numbers(roll(arange(5.0), {-7}, {-1})) == values_of{2, 3, 4, 0, 1});
  CHECK(numbers(roll(x, {1, 1}, {0, 1})) == values_of{4, 3, 2, 1});
  CHECK(roll(x, {2}, {0}).data() != x.data());
  CHECK(roll(zeros({0, 3}), {1}, {0}).shape() == shape{0, 3});
  CHECK_THROWS_AS(roll(x, {1, 2}, {0}), value_error);
  CHECK_THROWS_AS(roll(x, {1}, {2}), shape_error);
  check_gradients(
      [](const list& v) {
        return square(repeat(v[0], {2, 1, 3}));
      },
      {random_leaf({2, 3})});
  check_gradients(
      [](const list& v) {
        return square(roll(v[0], {1, -2}, {0, 1}));
      },
      {random_leaf({2, 3})});
}

TEST_CASE("what pad stores must be a number of the dtype") {
  const tensor bytes = cast(count({2}), u8), whole = cast(count({2}), i64);
  CHECK(message_of([&] { return pad(bytes, {1, 0}, 300.0); }) == "pad: u8 holds 0 to 255; got 300");
  CHECK_THROWS_AS(pad(whole, {1, 0}, 0.5), dtype_error);
  CHECK_THROWS_AS(pad(whole, {1, 0}, NAN), dtype_error);
  CHECK(numbers(pad(whole, {1, 0}, -3.0)) == values_of{-3, 0, 1});
}

TEST_CASE("channels-last layouts survive copies, concat and pad") {
  const tensor x = channels_last(random({2, 3, 4, 5}));
  CHECK(clone(x).strides() == x.strides());
  CHECK(cast(x, f32).strides() == x.strides());
  const tensor both[] = {x, x};
  CHECK(concat(both, 1).strides() == channels_last_strides({2, 6, 4, 5}));
  CHECK(pad(x, {1, 1, 1, 1}).strides() == channels_last_strides({2, 3, 6, 7}));
  CHECK(contiguous(x).is_contiguous());
  CHECK(distance(contiguous(x), x) == 0.0);
}

TEST_CASE("casts between all dtypes") {
  const double inf = std::numeric_limits<double>::infinity();
  const tensor x = tensor_f64{-1e10, -129.7, -1.5, 0, 0.5, 2.9, 300, 1e20, inf, std::nan("")};
  CHECK(numbers(cast(x, i8)) == values_of{-128, -128, -1, 0, 0, 2, 127, 127, 127, 0});
  CHECK(numbers(cast(x, u8)) == values_of{0, 0, 0, 0, 0, 2, 255, 255, 255, 0});
  CHECK(numbers(cast(x, bool8)) == values_of{1, 1, 1, 0, 1, 1, 1, 1, 1, 1});
  CHECK(numbers(cast(x, i32))[0] == -2147483648.0);
  CHECK(cast(x, i64).as<index_t>()(7) == std::numeric_limits<index_t>::max());
  CHECK(numbers(cast(tensor_i32{300, -1}, u8)) == values_of{44, 255});  // integers wrap
  CHECK(numbers(cast(tensor_f64{1.0 + 1e-9}, f32)) == values_of{1});
  CHECK(numbers(cast(tensor_f32{65520.0f, 2049.0f}, f16)) == values_of{inf, 2048});
  CHECK(cast(x, f64).impl_or_null() == x.impl_or_null());
  const tensor big = tensor_i64{(index_t{1} << 53) + 1};
  CHECK(cast(cast(big, i64), i64).as<index_t>()(0) == (index_t{1} << 53) + 1);
}

TEST_CASE("gradients of views and copies, twice") {
  const auto one = [](auto f, const shape& sizes) {
    check_gradients([f](const list& x) { return square(f(x[0])); }, {random_leaf(sizes)});
  };
  one([](const tensor& x) { return slice(x, 1, {1, -1, 2}); }, {3, 6});
  one([](const tensor& x) { return slice(x, 0, {2, 2}); }, {3, 6});
  one([](const tensor& x) { return select(x, -1, -2); }, {3, 4});
  one([](const tensor& x) { return reshape(transpose(x), {-1, 2}); }, {2, 4, 3});
  one([](const tensor& x) { return permute(x, {2, 0, -2}); }, {2, 4, 3});
  one([](const tensor& x) { return expand(x, {5, 2, -1, 3}); }, {2, 4, 1});
  one([](const tensor& x) { return squeeze(unsqueeze(x, -1), 2) * unsqueeze(x, 0); }, {2, 3});
  one([](const tensor& x) { return flatten(x, 1); }, {2, 3, 2});
  one([](const tensor& x) { return contiguous(transpose(x)) * clone(transpose(x)); }, {2, 3});
  one([](const tensor& x) { return flip(x, {0, -1}); }, {3, 4});
  one([](const tensor& x) { return pad(x, {1, -2, -1, 3}, 5.0); }, {3, 6});
  one([](const tensor& x) { return tril(x, -1) + triu(x, 1); }, {2, 3, 4});
  one([](const tensor& x) { return split(x, 2, 1)[1] * split(x, 2, 1)[0]; }, {3, 4});
  one([](const tensor& x) { return split(x, 2, 1)[2]; }, {3, 6});
  check_gradients(
      [](const list& x) {
        return square(concat(list{x[0], x[1], x[2]}, 1));
      },
      {random_leaf({3, 2}), random_leaf({3, 0}), random_leaf({3, 1})});
  check_gradients(
      [](const list& x) {
        return square(stack(list{x[0], x[1]}, 1));
      },
      {random_leaf({3, 2}), random_leaf({3, 2})});
  CHECK(live_nodes() == 0);
}

TEST_CASE("casts give the gradient in the dtype of what was cast; integers stop it") {
  tensor x = cast(tensor_f32{1.5f, 2.5f}, bf16);
  x.set_requires_grad();
  backward(sum(square(cast(x, f32))));
  CHECK(x.grad().dtype() == bf16);
  CHECK(numbers(x.grad()) == values_of{3, 5});
  CHECK_FALSE(cast(x, i32).requires_grad());
  CHECK_FALSE(detach(x).requires_grad());
  CHECK(shares(detach(x), x));
}

TEST_CASE("axes that do not exist, orders that are none") {
  const tensor x = zeros({2, 3});
  CHECK_THROWS_AS(transpose(x, 0, 2), shape_error);
  CHECK_THROWS_AS(transpose(zeros({3})), shape_error);
  CHECK_THROWS_AS(permute(x, {0, 0}), shape_error);
  CHECK_THROWS_AS(permute(x, {0}), shape_error);
  CHECK_THROWS_AS(expand(x, {3, 3}), shape_error);
  CHECK_THROWS_AS(expand(x, {3}), shape_error);
  CHECK_THROWS_AS(expand(x, {-1, 2, 3}), shape_error);
  CHECK_THROWS_AS(squeeze(x, 0), shape_error);
  CHECK_THROWS_AS(unsqueeze(x, 4), shape_error);
  CHECK_THROWS_AS(flatten(x, 1, 0), shape_error);
  const std::string rest = ": axis 5 is out of range; the tensor has 2 axes";
  CHECK(message_of([&] { return narrow(x, 5, 0, 1); }) == "narrow" + rest);
  CHECK(message_of([&] { return split(x, 1, 5); }) == "split" + rest);
  CHECK(message_of([&] { return chunk(x, 1, 5); }) == "chunk" + rest);
  CHECK(message_of([&] { return stack({x, x}, 5); }).starts_with("stack: axis 5"));
}

TEST_CASE("movedim and narrow are views; lists in braces are concatenated") {
  const tensor x = count({2, 3, 4});
  CHECK(movedim(x, 0, 2).shape() == shape{3, 4, 2});
  CHECK(distance(movedim(x, 0, -1), permute(x, {1, 2, 0})) == 0.0);
  CHECK(distance(movedim(x, {2, 0}, {0, 1}), permute(x, {2, 0, 1})) == 0.0);
  CHECK(shares(movedim(x, 2, 0), x));
  CHECK_THROWS_AS(movedim(x, {0, 0}, {1, 2}), value_error);
  CHECK_THROWS_AS(movedim(x, {0, 1}, {1, -2}), value_error);
  CHECK_THROWS_AS(movedim(x, {0, 1}, 1), value_error);
  CHECK_THROWS_AS(movedim(x, 0, 3), shape_error);

  CHECK(distance(narrow(x, 2, 1, 2), slice(x, 2, {1, 3})) == 0.0);
  CHECK(distance(narrow(x, -1, -2, 2), slice(x, 2, {2, 4})) == 0.0);
  CHECK(narrow(x, 1, 3, 0).shape() == shape{2, 0, 4});
  CHECK(narrow(x, 1, -1, 0).shape() == shape{2, 0, 4});
  for (const index_t start : {-2, -1}) {  // from the end of the batch that runs
    const auto last = [&](const tensor& v) { return narrow(v, 0, start, 1); };
    CHECK(distance(trace(last, {slice(x, 1, {0, 1})})(x), last(x)) == 0.0);
    CHECK(distance(trace(last, {count({2, 3})})(count({4, 3})), last(count({4, 3}))) == 0.0);
  }
  CHECK(shares(narrow(x, 0, 1, 1), x));
  CHECK(message_of([&] { return narrow(x, 1, 2, 2); }) ==
        "narrow: no 2 places from 2 on axis 1 of f64[2,3,4]");
  CHECK_THROWS_AS(narrow(x, 1, -4, 1), value_error);
  CHECK_THROWS_AS(narrow(x, 1, 0, -1), value_error);

  CHECK(concat({x, x}, 1).shape() == shape{2, 6, 4});
  CHECK(concat({x, x}).shape() == shape{4, 3, 4});
  CHECK(stack({x, x, x}, 1).shape() == shape{2, 3, 3, 4});
  CHECK(stack({x}).shape() == shape{1, 2, 3, 4});
  const tensor_f32 typed{1, 2};
  CHECK(numbers(concat({typed, ones({1})})) == values_of{1, 2, 1});
}

}  // namespace adze
