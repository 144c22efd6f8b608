// SPDX-License-Identifier: MIT
// Comparisons, logic and `where` against plain C++ for every length around a register's, with NaN,
// infinities and both zeros; bool8 as numbers and numbers as bool8.
#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/ops/arithmetic.hpp>
#include <adze/ops/compare.hpp>
#include <adze/ops/gather.hpp>
#include <adze/tensor/layout.hpp>

#include "checks.hpp"

namespace adze::compare_test {
namespace {

using namespace test;

// Values of which many are equal, by turns special ones.
tensor values(index_t n, dtype type, index_t turn) {
  const double nan = std::nan("");
  const double some[] = {0, -0.0, 1, nan, -1, HUGE_VAL, 2, -HUGE_VAL, 1, 1};
  tensor x = zeros({n}, f64);
  for (index_t i = 0; i < n; ++i) {
    const double v = some[static_cast<std::size_t>((i * turn + i / 7) % 10)];
    x.data_as<double>()[i] = is_floating(type) || std::isfinite(v) ? v : 3.0;
  }
  return cast(type == u8 ? abs(x) : x, type);
}

template <class F> index_t wrong(const tensor& y, const tensor& a, const tensor& b, F f) {
  const auto left = numbers(a), right = numbers(b), of = numbers(y);
  index_t count = 0;
  for (std::size_t i = 0; i < of.size(); ++i) count += of[i] != f(left[i], right[i]);
  return count;
}

}  // namespace

TEST_CASE("comparisons and logic of every length and dtype") {
  for (const dtype type : {f32, f64, f16, bf16, i64, i32, i8, u8}) {
    CAPTURE(static_cast<int>(type));
    for (index_t n = 0; n < 150; n += n < 70 ? 1 : 13) {
      const tensor a = values(n, type, 3), b = values(n, type, 7);
      CHECK(wrong(a == b, a, b, [](double x, double y) { return x == y; }) == 0);
      CHECK(wrong(a != b, a, b, [](double x, double y) { return x != y; }) == 0);
      CHECK(wrong(a < b, a, b, [](double x, double y) { return x < y; }) == 0);
      CHECK(wrong(a <= b, a, b, [](double x, double y) { return x <= y; }) == 0);
      CHECK(wrong(a && b, a, b, [](double x, double y) { return x != 0 && y != 0; }) == 0);
      CHECK(wrong(a || b, a, b, [](double x, double y) { return x != 0 || y != 0; }) == 0);
    }
  }
}

TEST_CASE("where chooses, bit by bit") {
  for (const dtype type : {f32, f64, bf16, i64, i8}) {
    for (const index_t n : {0, 1, 5, 16, 31, 64, 100, 999}) {
      const tensor a = values(n, type, 3), b = values(n, type, 9), c = values(n, f32, 7) > 0.5;
      const auto y = numbers(where(c, a, b)), left = numbers(a), right = numbers(b);
      const bool* const first = c.data_as<bool>();
      index_t off = 0;
      for (std::size_t i = 0; i < y.size(); ++i) {
        const double chosen = first[i] ? left[i] : right[i];
        off += !(y[i] == chosen && std::signbit(y[i]) == std::signbit(chosen)) &&
               !(std::isnan(y[i]) && std::isnan(chosen));
      }
      CHECK(off == 0);
    }
  }
}

TEST_CASE("integers next to numbers that f64 cannot tell apart") {
  const tensor x = tensor_i64{9007199254740993, std::numeric_limits<std::int64_t>::max(),
                              std::numeric_limits<std::int64_t>::min()};
  using truths = std::vector<double>;
  CHECK(numbers(x == 9007199254740992.0) == truths{0, 0, 0});
  CHECK(numbers(x > 9007199254740992.0) == truths{1, 1, 0});
  CHECK(numbers(x == 0x1p63) == truths{0, 0, 0});
  CHECK(numbers(x < 0x1p63) == truths{1, 1, 1});
  CHECK(numbers(x == -0x1p63) == truths{0, 0, 1});
  CHECK(numbers(x <= -1e300) == truths{0, 0, 0});
  CHECK(numbers(tensor_u8{200} < 256.0) == truths{1});
  CHECK(numbers(tensor_i32{3} > 2.5) == truths{1});
}

TEST_CASE("numbers as bool8 and back: anything but zero is true, NaN too") {
  for (const dtype type : {f32, f64, f16, bf16, i64, i32, i8, u8}) {
    for (const index_t n : {0, 1, 15, 16, 63, 64, 65, 200, 1000}) {
      const tensor x = values(n, type, 3), truth = cast(x, bool8);
      CHECK(wrong(truth, x, x, [](double v, double) { return v != 0; }) == 0);
      CHECK(wrong(cast(truth, type), truth, x, [](double v, double) { return v; }) == 0);
      // Every second element, and a stretched one.
      const tensor strided = slice(x, 0, {.step = 2});
      CHECK(wrong(cast(strided, bool8), strided, strided,
                  [](double v, double) { return v != 0; }) == 0);
    }
  }
  for (const dtype code : {i8, u8}) {
    const tensor all = cast(arange(256) - (code == i8 ? 128 : 0), code);
    CHECK(wrong(cast(all, f32), all, all, [](double v, double) { return v; }) == 0);
  }
}

}  // namespace adze::compare_test
