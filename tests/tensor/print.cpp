// SPDX-License-Identifier: MIT
// Printed tensors against golden texts.
#include <cmath>
#include <sstream>

#include <doctest/doctest.h>

#include <adze/tensor/create.hpp>
#include <adze/tensor/print.hpp>

namespace adze {

TEST_CASE("values in columns, dtype and shape behind them") {
  CHECK(to_string(tensor_f32{1.5f, -2, 100}) == "[  1.5000,  -2.0000, 100.0000] f32[3]");
  CHECK(to_string(tensor_f64{{1, 2}, {3, -4}}) == "[[ 1.,  2.],\n [ 3., -4.]] f64[2,2]");
  CHECK(to_string(detail::rounded_to(arange(8), f32)) == "[0., 1., 2., 3., 4., 5., 6., 7.] f32[8]");
  CHECK(to_string(full({2, 1, 2}, 7.0, i32)) == "[[[7, 7]],\n\n [[7, 7]]] i32[2,1,2]");
  CHECK(to_string(tensor_u8{1, 200}) == "[  1, 200] u8[2]");
  CHECK(to_string(tensor_i64{(index_t{1} << 53) + 1}) == "[9007199254740993] i64[1]");
  CHECK(to_string(tensor_bool8{true, false}) == "[ true, false] bool8[2]");
  CHECK(to_string(full({2}, 1.0 / 3, bf16)) == "[0.3340, 0.3340] bf16[2]");
}

TEST_CASE("single values, nothing, NaN and infinities") {
  CHECK(to_string(full({}, 2.5)) == "2.5000 f32[]");
  CHECK(to_string(full({}, 2, i8)) == "2 i8[]");
  CHECK(to_string(zeros({0})) == "[] f32[0]");
  CHECK(to_string(zeros({2, 0, 3})) == "[] f32[2,0,3]");
  CHECK(to_string(tensor()) == "undefined");
  CHECK(to_string(tensor_f32{-NAN, INFINITY, -INFINITY, 1}) == "[ nan,  inf, -inf,   1.] f32[4]");
}

TEST_CASE("powers of ten where the range is wide") {
  CHECK(to_string(tensor_f32{1e-6f, 1}) == "[1.0000e-06, 1.0000e+00] f32[2]");
  CHECK(to_string(tensor_f64{1e9, 1}) == "[1.0000e+09, 1.0000e+00] f64[2]");
  CHECK(to_string(tensor_f64{1.7e308}) == "[1.7000e+308] f64[1]");
  CHECK(to_string(tensor_f64{12345.5, 0}) == "[12345.5000,     0.0000] f64[2]");
}

TEST_CASE("long axes keep their ends") {
  CHECK(to_string(arange(2000)) == "[   0,    1,    2, ..., 1997, 1998, 1999] i64[2000]");
  CHECK(to_string(arange(9), {.threshold = 8, .edge = 1}) == "[0, ..., 8] i64[9]");
  CHECK(to_string(arange(9), {.threshold = 8, .edge = 5}) == "[0, 1, 2, 3, 4, 5, 6, 7, 8] i64[9]");
  const tensor x = alias(arange(12), {4, 3}, {1, 4});
  CHECK(to_string(x, {.threshold = 4, .edge = 1}) ==
        "[[ 0, ...,  8],\n ...,\n [ 3, ..., 11]] i64[4,3]");
  CHECK(to_string(arange(9), {.threshold = 0, .edge = 0}) == "[...] i64[9]");
}

TEST_CASE("precision, streams, refusals") {
  CHECK(to_string(tensor_f32{0.123456f}, {.precision = 2}) == "[0.12] f32[1]");
  std::ostringstream out;
  out << arange(2) << '!';
  CHECK(out.str() == "[0, 1] i64[2]!");
  out.str("");
  out << shape{2, 3} << ' ' << shape{} << ' ' << bf16;
  CHECK(out.str() == "[2,3] [] bf16");
  CHECK_THROWS_AS(to_string(arange(2), {.edge = -1}), value_error);
  CHECK_THROWS_AS(to_string(arange(2), {.precision = 61}), value_error);
}

}  // namespace adze
