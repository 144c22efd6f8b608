// float16 and bfloat16: all codes, the rounding points of both sources, special values.
#include <cmath>
#include <cstdint>
#include <limits>

#include <doctest/doctest.h>

#include <adze/core/bfloat16.hpp>
#include <adze/core/float16.hpp>

namespace adze {
namespace {

// The value of a code from its fields, by ldexp.
double value_of(std::uint32_t code, int exponent, int mantissa) {
  const int bias = (1 << (exponent - 1)) - 1;
  const int field = static_cast<int>(code >> mantissa) & ((1 << exponent) - 1);
  const double low = static_cast<double>(code & ((1u << mantissa) - 1));
  const double size = field == 0
                          ? std::ldexp(low, 1 - bias - mantissa)
                          : std::ldexp(low + std::ldexp(1.0, mantissa), field - bias - mantissa);
  return (code & 0x8000u) != 0 ? -size : size;
}

template <class T> struct format;
template <> struct format<float16> {
  static constexpr int exponent = 5, mantissa = 10;
  static constexpr std::uint32_t infinite = 0x7c00, quiet = 0x0200;
};
template <> struct format<bfloat16> {
  static constexpr int exponent = 8, mantissa = 7;
  static constexpr std::uint32_t infinite = 0x7f80, quiet = 0x0040;
};

template <class T> std::uint32_t code(float x) { return T(x).bits; }
template <class T> std::uint32_t code(double x) { return T(x).bits; }

std::uint32_t as_bits(float x) { return std::bit_cast<std::uint32_t>(x); }
float as_float(std::uint32_t x) { return std::bit_cast<float>(x); }

}  // namespace

TEST_CASE_TEMPLATE("every 16-bit code has its exact value and comes back", T, float16, bfloat16) {
  using F = format<T>;
  int wrong = 0;
  for (std::uint32_t c = 0; c < 0x10000; ++c) {
    const T x = T::from_bits(static_cast<std::uint16_t>(c));
    const auto f = static_cast<float>(x);
    const auto d = static_cast<double>(x);
    const std::uint32_t size = c & 0x7fffu;
    if (size > F::infinite) {
      wrong += !std::isnan(f) || !std::isnan(d);
      wrong += (as_bits(f) >> 31) != (c >> 15);
      wrong += code<T>(f) != (c | F::quiet);  // quiet, payload and sign kept
      wrong += code<T>(d) != (c | F::quiet);
      continue;
    }
    const double expected =
        size == F::infinite ? (c >> 15 != 0 ? -1.0 : 1.0) * std::numeric_limits<double>::infinity()
                            : value_of(c, F::exponent, F::mantissa);
    wrong += static_cast<double>(f) != expected || std::signbit(f) != (c >> 15 != 0);
    wrong += d != expected;
    wrong += code<T>(f) != c;
    wrong += code<T>(d) != c;
  }
  CHECK(wrong == 0);
}

TEST_CASE_TEMPLATE("doubles around every midpoint go to the nearest code, ties to even", T, float16,
                   bfloat16) {
  using F = format<T>;
  int wrong = 0;
  for (std::uint32_t c = 0; c < F::infinite; ++c) {
    const double low = value_of(c, F::exponent, F::mantissa);
    const double high = value_of(c + 1, F::exponent, F::mantissa);  // 2^(bias+1) above the largest
    const double middle = low + (high - low) / 2;
    const std::uint32_t even = (c & 1u) != 0 ? c + 1 : c;
    wrong += code<T>(middle) != even || code<T>(-middle) != (even | 0x8000u);
    wrong += code<T>(std::nextafter(middle, 0.0)) != c;
    wrong += code<T>(std::nextafter(middle, 1e300)) != c + 1;
    wrong += code<T>(-std::nextafter(middle, 0.0)) != (c | 0x8000u);
    wrong += code<T>(std::nextafter(high, 0.0)) != c + 1;
    wrong += code<T>(std::nextafter(low, 1e300)) != c;
    const auto m = static_cast<float>(middle);
    if (static_cast<double>(m) != middle) continue;
    wrong += code<T>(m) != even;
    if (m > 0x1p-149f) wrong += code<T>(std::nextafter(m, 0.0f)) != c;
    wrong += code<T>(std::nextafter(m, std::numeric_limits<float>::infinity())) != c + 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("float to 16 bits is rounding of the exact value as a double") {
  int wrong = 0;
  for (std::uint64_t i = 0; i < (std::uint64_t{1} << 32); i += 1009) {
    const float x = as_float(static_cast<std::uint32_t>(i));
    const auto d = static_cast<double>(x);
    wrong += code<float16>(x) != code<float16>(d);
    wrong += code<bfloat16>(x) != code<bfloat16>(d);
    wrong += code<bfloat16>(x) != narrow_bits<8, 7>(x);  // the short formula is the general one
  }
  CHECK(wrong == 0);
}

TEST_CASE("float16 and bfloat16 at their limits") {
  CHECK(code<float16>(65519.996f) == 0x7bff);
  CHECK(code<float16>(65520.0f) == 0x7c00);
  CHECK(code<float16>(65520.0) == 0x7c00);
  CHECK(code<float16>(std::nextafter(65520.0, 0.0)) == 0x7bff);
  CHECK(code<float16>(-1e30f) == 0xfc00);
  CHECK(code<float16>(1e300) == 0x7c00);
  CHECK(code<float16>(0x1p-25f) == 0x0000);
  CHECK(code<float16>(0x1.000002p-25f) == 0x0001);
  CHECK(code<float16>(-0x1p-26f) == 0x8000);
  CHECK(code<float16>(5e-324) == 0x0000);
  CHECK(code<bfloat16>(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(code<bfloat16>(as_float(0x7f7f7fff)) == 0x7f7f);
  CHECK(code<bfloat16>(0x1p-134f) == 0x0000);
  CHECK(code<bfloat16>(0x1.8p-134) == 0x0001);
  // One rounding: through float these would meet a tie that is none.
  CHECK(code<float16>(1.0 + 0x1p-11 + 0x1p-40) == 0x3c01);
  CHECK(code<bfloat16>(1.0 + 0x1p-8 + 0x1p-40) == 0x3f81);
  CHECK(code<bfloat16>(1.0 + 0x1p-7 + 0x1p-8 - 0x1p-40) == 0x3f81);
}

TEST_CASE("integers round once, order and equality are those of the values") {
  CHECK(float16(2049).bits == float16(2048.0f).bits);
  CHECK(float16(-2051).bits == float16(-2052.0f).bits);
  CHECK(float16(std::int64_t{1} << 40).bits == 0x7c00);
  const std::uint64_t tie = (std::uint64_t{1} << 62) + (std::uint64_t{1} << 54);
  CHECK(bfloat16(tie).bits == bfloat16(0x1p62f).bits);
  CHECK(bfloat16(tie + 1).bits == bfloat16(0x1.02p62f).bits);
  CHECK(bfloat16(std::numeric_limits<std::int64_t>::min()).bits == bfloat16(-0x1p63f).bits);

  const float16 zero(0.0f);
  const float16 nan = float16::from_bits(0x7e00);
  CHECK(zero == float16(-0.0f));
  CHECK(float16(1.0f) < float16(1.5f));
  CHECK(bfloat16(-1.0f) > bfloat16(-2.0f));
  CHECK_FALSE(nan == nan);
  CHECK_FALSE(nan < zero);
  static_assert(float16(1.5f).bits == 0x3e00 && static_cast<float>(float16(1.5f)) == 1.5f);
  static_assert(bfloat16(1.5).bits == 0x3fc0 && sizeof(float16) == 2 && sizeof(bfloat16) == 2);
  static_assert(std::is_trivial_v<float16> && std::is_trivial_v<bfloat16>);
  static_assert(!std::is_convertible_v<float, float16> && !std::is_convertible_v<float16, float>);
  static_assert(static_cast<double>(std::numeric_limits<float16>::max()) == 65504.0);
  static_assert(static_cast<double>(std::numeric_limits<bfloat16>::epsilon()) == 0x1p-7);
}

}  // namespace adze
