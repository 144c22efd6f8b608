// SPDX-License-Identifier: MIT
// The tables in which ways of requantization differ, and each way against wide arithmetic.
#include <cmath>
#include <cstdlib>
#include <limits>

#include <doctest/doctest.h>

#include <adze/quant/requantize.hpp>

namespace adze::quant::requantize_test {
namespace {

constexpr kernels::code_range wide{-100000, 100000};

std::int32_t nearest(double m, std::int32_t sum) {
  return requantize::nearest(sum, static_cast<float>(m), 0, wide);
}
std::int32_t gemmlowp(double m, std::int32_t sum) {
  return requantize::two_roundings(sum, fixed_multiplier(m), 0, wide);
}

TEST_CASE("requantize: where the published ways differ") {
  CHECK(nearest(0x1p-8, 127) == 0);
  CHECK(gemmlowp(0x1p-8, 127) == 1);
  CHECK(nearest(0x1p-8, 128) == 0);
  CHECK(gemmlowp(0x1p-8, 128) == 1);
  CHECK(nearest(0x1p-8, -128) == 0);
  CHECK(gemmlowp(0x1p-8, -128) == -1);
  CHECK(nearest(0.0117, 128) == 1);
  CHECK(nearest(0.0117, -128) == -1);
  CHECK(gemmlowp(0.0117, 128) == 2);
  CHECK(gemmlowp(0.0117, -128) == -2);
  CHECK(nearest(0.5, 1) == 0);
  CHECK(gemmlowp(0.5, 1) == 1);
  CHECK(nearest(0.5, -3) == -2);
  CHECK(gemmlowp(0.5, -3) == -1);
}

TEST_CASE("requantize: multipliers, saturation, clamps") {
  const fixed_multiplier half(0.5), almost(1 - 0x1p-40), two(2.0);
  CHECK(half.q == 1 << 30);
  CHECK(half.shift == 0);
  CHECK(almost.q == 1 << 30);  // rounded up to 2^31, so halved
  CHECK(almost.shift == -1);
  CHECK(two.shift == -2);
  constexpr std::int32_t least = std::numeric_limits<std::int32_t>::min();
  CHECK(requantize::doubling_high(least, least) == std::numeric_limits<std::int32_t>::max());
  for (const double m : {1e-12, 1e-30}) {  // beyond what a shift can say: every sum is 0
    CHECK(requantize::half_up(least, fixed_multiplier(m), 3, {0, 255}) == 3);
    CHECK(requantize::two_roundings(least, fixed_multiplier(m), 3, {0, 255}) == 3);
  }
  const fixed_multiplier smallest(0.75 * 0x1p-31);  // the last that a shift can say
  CHECK(requantize::half_up(least, smallest, 3, {0, 255}) == 2);
  CHECK(requantize::two_roundings(least, smallest, 3, {0, 255}) == 2);
  CHECK(requantize::nearest(1000, 1.0f, 3, {0, 255}) == 255);
  CHECK(requantize::clamped_first(-1000, 1.0f, 3, {0, 255}) == 0);
}

TEST_CASE("requantize: multipliers that a shift cannot say are errors") {
  const fixed_multiplier largest(0x1p30 - 1);
  CHECK(requantize::half_up(1, largest, 0, wide) == wide.high);
  CHECK(requantize::half_up(-1, largest, 0, wide) == wide.low);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double m : {0x1p30, 0x1p30 - 0x1p-20, 1e12, infinity, std::nan(""), 0.0, -1.0}) {
    CHECK_THROWS_AS(fixed_multiplier{m}, value_error);
  }
}

TEST_CASE("requantize: half_up is the exact product rounded once, ties upwards") {
  for (std::int32_t sum = -3000; sum <= 3000; sum += 7) {
    for (const double m : {0.5, 0.25, 0.0117, 0.3, 0x1p-8}) {
      const fixed_multiplier f(m);
      const double exact = double(sum) * f.q * std::ldexp(1.0, -31 - f.shift);
      CHECK(requantize::half_up(sum, f, 0, wide) ==
            static_cast<std::int32_t>(std::floor(exact + 0.5)));
      CHECK(requantize::clamped_first(sum, static_cast<float>(m), 0, wide) == nearest(m, sum));
      CHECK(std::abs(gemmlowp(m, sum) - nearest(m, sum)) <= 1);
    }
  }
}

}  // namespace
}  // namespace adze::quant::requantize_test
