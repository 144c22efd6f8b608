// SPDX-License-Identifier: MIT
// Arithmetic where the generic suite's random numbers do not go: slopes of powers at zero, truth
// values as numbers. Values and types are those of PyTorch 1.13.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/adze.hpp>

#include "checks.hpp"

namespace adze::arithmetic_test {
namespace {

using namespace test;
using values_of = std::vector<double>;

constexpr double inf = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("results from 32 MiB, which go past the caches, are those of small pieces") {
  const int before = threads();
  for (const dtype type : {f32, f64}) {
    const index_t n = (index_t(1) << 25) / size_of(type) + 12345, piece = index_t(1) << 20;
    const tensor a = randn({n}, type), b = randn({n}, type);
    for (const int count : {1, 3}) {
      set_threads(count);
      const tensor sum = a + b, power = exp(a);
      bool same = true;
      for (index_t i = 0; i < n; i += piece) {
        const index_t m = std::min(piece, n - i);
        const tensor x = slice(a, 0, {i, i + m}), y = slice(b, 0, {i, i + m});
        same = same && all(slice(sum, 0, {i, i + m}) == x + y).item() != 0 &&
               all(slice(power, 0, {i, i + m}) == exp(x)).item() != 0;
      }
      CHECK(same);
    }
  }
  set_threads(before);
}

TEST_CASE("slopes of powers with zero bases and exponents") {
  const values_of points{0.0, -0.0, 2.0, -3.0, inf};
  tensor x = tensor_f64(points, {5});
  x.set_requires_grad();
  CHECK(numbers(grad(sum(pow(x, 0.0)), x)) == values_of(5, 0.0));
  CHECK(numbers(grad(sum(pow(x, 1.0)), x)) == values_of(5, 1.0));
  tensor none = zeros({5}, f64);
  none.set_requires_grad();
  CHECK(numbers(grad(sum(pow(x, none)), x)) == values_of(5, 0.0));

  tensor base = zeros({4}, f64), exponent = tensor_f64{2.0, 0.5, 0.0, -1.0};
  exponent.set_requires_grad();
  base.set_requires_grad();
  const values_of slope = numbers(grad(sum(pow(base, exponent)), exponent));
  CHECK(slope == values_of{0, 0, 0, -inf});  // 0^b falls from infinity to 1 at b = 0
}

TEST_CASE("maximum and minimum give the loser no gradient, not 0 times infinity") {
  const double nan = std::nan("");
  tensor a = tensor_f64{1, 2, 3, 3, nan}, b = tensor_f64{2, 1, 3, 2, 1};
  a.set_requires_grad(), b.set_requires_grad();
  const tensor g = tensor_f64{inf, nan, inf, -inf, 5};
  const auto gradients = [&](const tensor& y) {
    const list d = grad(tensor_list(&y, 1), list{a, b}, {.gradients = {g}});
    return std::vector<values_of>{numbers(d[0]), numbers(d[1])};
  };
  const auto same = [](const values_of& x, const values_of& y) { return distance(x, y) == 0.0; };
  const auto largest = gradients(maximum(a, b)), smallest = gradients(minimum(a, b));
  CHECK(same(largest[0], {0, nan, inf, -inf, 5}));  // NaN is above and below: both get g
  CHECK(same(largest[1], {inf, 0, inf, 0, 5}));
  CHECK(same(smallest[0], {inf, 0, inf, 0, 5}));
  CHECK(same(smallest[1], {0, nan, inf, -inf, 5}));
}

TEST_CASE("lerp, outer and isfinite are what their parts give") {
  const tensor a = random_leaf({3}), b = random_leaf({2, 3}), c = random_leaf({4});
  for (const double weight : {0.0, 0.3, 0.8, 1.0, -2.0}) {
    CHECK(distance(lerp(a, b, weight), a + weight * (b - a)) < 1e-14);
    check_gradients([=](const list& x) { return square(lerp(x[0], x[1], weight)); }, {a, b});
  }
  CHECK(numbers(lerp(tensor_f32{1e8f}, tensor_f32{1}, 1.0)) == values_of{1});
  CHECK(distance(outer(a, c), matmul(unsqueeze(a, 1), unsqueeze(c, 0))) == 0.0);
  check_gradients([](const list& x) { return square(outer(x[0], x[1])); }, {a, c});
  CHECK_THROWS_AS(outer(b, c), shape_error);
  const tensor odd = tensor_f32{1, INFINITY, -INFINITY, NAN, 3e38f, 0};
  for (const dtype type : {f32, f64, bf16}) {
    CHECK(numbers(isfinite(cast(odd, type))) == values_of{1, 0, 0, 0, 1, 1});
  }
  CHECK(all(isfinite(tensor_i64{1, -5})).item<bool>());
  CHECK(all(isfinite(tensor_bool8{true, false})).item<bool>());
}

TEST_CASE("lerp of 16-bit floats is rounded once, also between the ends of their range") {
  const tensor a = cast(tensor_f32{65504, -65504, 1}, f16), b = -a;
  CHECK(numbers(lerp(a, b, 0.0)) == numbers(a));
  CHECK(numbers(lerp(a, b, 1.0)) == numbers(b));
  CHECK(numbers(lerp(a, b, 0.5)) == values_of{0, 0, 0});
  CHECK(lerp(cast(tensor_f32{1}, f16), cast(tensor_f32{2048}, f16), 0.25).item() == 513);
  CHECK(lerp(a, cast(b, f32), 0.5).dtype() == f32);
  CHECK_THROWS_AS(lerp(tensor_i64{1}, tensor_i64{2}, 0.5), dtype_error);
}

TEST_CASE("integers are clamped to whole or infinite bounds") {
  const tensor x = tensor_i64{-9, -1, 0, 4, index_t{1} << 60};
  CHECK(numbers(clamp(x, -1, 3)) == values_of{-1, -1, 0, 3, 3});
  CHECK(clamp(x, 0, inf).as<index_t>()(4) == index_t{1} << 60);
  CHECK(numbers(clamp(x, -inf, 0)) == values_of{-9, -1, 0, 0, 0});
  CHECK(numbers(clamp(cast(x, u8), 1, 250)) == values_of{247, 250, 1, 4, 1});
  CHECK(clamp(tensor_i32{5}, -3, 3).dtype() == i32);
  const tensor b = tensor_u8{7, 250};
  CHECK(numbers(clamp(b, 300, 400)) == values_of{255, 255});
  CHECK(numbers(clamp(b, -300, 9)) == values_of{7, 9});
  CHECK(numbers(clamp(b, -inf, -1)) == values_of{0, 0});
  tensor c = clone(b);
  CHECK(numbers(clamp_(c, 300, 400)) == values_of{255, 255});
  CHECK(clamp(tensor_bool8{true, false}, 0, 2).dtype() == i64);
  tensor y = clone(x);
  CHECK(numbers(clamp_(y, -2, 2)) == values_of{-2, -1, 0, 2, 2});
  CHECK(numbers(clamp_max(tensor_i8{5, -9}, -1e300)) == values_of{-128, -128});
  CHECK(numbers(clamp_min(tensor_i64{5}, -1e300)) == values_of{5});
  CHECK(clamp(x, 1e300, inf).as<index_t>()(0) == std::numeric_limits<index_t>::max());
  CHECK_THROWS_AS(clamp(x, 0.5, 3), dtype_error);
  CHECK_THROWS_AS(clamp(x, NAN, 3), dtype_error);
  CHECK_THROWS_AS(clamp_(y, 0, 2.5), dtype_error);
  CHECK(message_of([&] { return mul(tensor_i64{1}, 1e16); }) ==
        "mul: an integer tensor takes whole scalars between -9e15 and 9e15; got i64[1] and 1e+16; "
        "cast(x, f32) first");
}

TEST_CASE("the larger and the smaller of integers and a number beyond them is their end") {
  CHECK(numbers(maximum(tensor_u8{1, 200}, 300.0)) == values_of{255, 255});
  CHECK(numbers(minimum(tensor_u8{1, 200}, -5.0)) == values_of{0, 0});
  CHECK(numbers(maximum(tensor_i8{-100, 100}, 200.0)) == values_of{127, 127});
  CHECK(numbers(minimum(tensor_i8{-100, 100}, 200.0)) == values_of{-100, 100});
  CHECK(numbers(maximum(tensor_i32{10}, 3e9)) == values_of{0x1p31 - 1});
  CHECK(maximum(tensor_i64{10}, inf).as<index_t>()(0) == std::numeric_limits<index_t>::max());
  CHECK(numbers(minimum(tensor_i64{10}, -1e300)) == values_of{-0x1p63});
  CHECK(numbers(maximum(tensor_u8{1, 200}, 7.0)) == values_of{7, 200});
  CHECK_THROWS_AS(maximum(tensor_u8{1}, 0.5), dtype_error);
  CHECK_THROWS_AS(minimum(tensor_u8{1}, NAN), dtype_error);
}

TEST_CASE("truth values next to numbers are counted, and do not subtract") {
  const tensor t = tensor_bool8{true, false};
  for (const tensor& y : {t * 2.0, 2.0 * t, t + 1.0, 1.0 - t, t - 1.0}) CHECK(y.dtype() == i64);
  CHECK(numbers(t * 2.0) == values_of{2, 0});
  CHECK(numbers(t + 1.0) == values_of{2, 1});
  CHECK(numbers(1.0 - t) == values_of{0, 1});
  CHECK(numbers(t - 1.0) == values_of{0, -1});
  CHECK((t + t).dtype() == bool8);
  CHECK((t * tensor_f32{1, 2}).dtype() == f32);
  CHECK(numbers(maximum(t, 5.0)) == values_of{5, 5});
  CHECK(numbers(minimum(t, -5.0)) == values_of{-5, -5});
  CHECK(maximum(t, 0.0).dtype() == i64);
  CHECK_THROWS_AS(t - t, dtype_error);
  CHECK(message_of([&] { return -t; }) ==
        "neg: bool8 is not a number; got bool8[2]; !x is the opposite, cast(x, i32) counts");
  CHECK(message_of([&] { return sub(t, t); }) ==
        "sub: bool8 is not a number; got bool8[2] and bool8[2]; a != b says where they differ, "
        "cast(x, i32) counts");
}

TEST_CASE("clamp with one bound passes the gradient on at the bound, and keeps integers") {
  tensor x = tensor_f64{-1, 0, 2, std::nan("")};
  x.set_requires_grad();
  CHECK(numbers(slice(clamp_min(x, 0.0), 0, {0, 3})) == values_of{0, 0, 2});
  CHECK(numbers(slice(clamp_max(x, 0.0), 0, {0, 3})) == values_of{-1, 0, 0});
  CHECK(std::isnan(numbers(clamp_min(x, 0.0))[3]));
  CHECK(numbers(slice(grad(sum(clamp_min(x, 0.0)), x), 0, {0, 3})) == values_of{0, 1, 1});
  CHECK(numbers(slice(grad(sum(clamp_max(x, 0.0)), x), 0, {0, 3})) == values_of{1, 1, 0});
  CHECK(numbers(clamp_min(tensor_i32{-4, 4}, 0.0)) == values_of{0, 4});
  CHECK(numbers(clamp_max(tensor_i64{-4, 4}, -1.0)) == values_of{-4, -1});
}

}  // namespace adze::arithmetic_test
