#pragma once
// SPDX-License-Identifier: MIT
// Rounding of float and double to a smaller IEEE format held in 16 bits: one step, to nearest even.
// The formats themselves are in float16.hpp and bfloat16.hpp. Only integers are used, so the result
// does not depend on the rounding mode, on flush-to-zero or on the instruction set.
#include <bit>
#include <cstdint>
#include <type_traits>

namespace adze {

// The code of x in the format with one sign bit, then `exponent` bits, then `mantissa` bits.
// Overflow gives infinity, underflow gives subnormals and then zero, the sign always stays;
// a NaN stays a NaN: it becomes quiet and keeps the top bits of its payload.
template <int exponent, int mantissa, class T> constexpr std::uint16_t narrow_bits(T x) noexcept {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
  using word = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr int source_bits = sizeof(T) * 8;
  constexpr int source_mantissa = sizeof(T) == 4 ? 23 : 52;
  constexpr int source_bias = sizeof(T) == 4 ? 127 : 1023;
  constexpr int bias = (1 << (exponent - 1)) - 1;
  constexpr int dropped = source_mantissa - mantissa;
  constexpr word hidden = word{1} << source_mantissa;
  constexpr word infinite = ((word{1} << (source_bits - 1)) - 1) & ~(hidden - 1);
  constexpr std::uint32_t target_infinite = ((1u << exponent) - 1) << mantissa;

  const word bits = std::bit_cast<word>(x);
  const word size = bits & ~(word{1} << (source_bits - 1));
  const auto sign = static_cast<std::uint32_t>(bits >> (source_bits - 16)) & 0x8000u;
  if (size > infinite) {
    const auto payload = static_cast<std::uint32_t>((size & (hidden - 1)) >> dropped);
    return static_cast<std::uint16_t>(sign | target_infinite | (1u << (mantissa - 1)) | payload);
  }
  const auto field = static_cast<int>(size >> source_mantissa);
  const int power = (field == 0 ? 1 : field) - source_bias;  // of the leading bit's place
  word value = (size & (hidden - 1)) | (field == 0 ? word{0} : hidden);
  // Below the smallest normal the exponent stays, and more low bits fall away instead.
  const int missing = 1 - bias - power;
  const int shift = missing > 0 ? dropped + missing : dropped;
  if (shift > source_mantissa + 1) return static_cast<std::uint16_t>(sign);  // under half the least
  const word rest = value & ((word{1} << shift) - 1);
  const word half = word{1} << (shift - 1);
  value >>= shift;
  value += static_cast<word>(rest > half || (rest == half && (value & 1) != 0));
  // The hidden bit counts as one step of the exponent field: a carry lands where it should.
  if (missing <= 0) {
    if (power > bias) return static_cast<std::uint16_t>(sign | target_infinite);
    value += static_cast<word>(power + bias - 1) << mantissa;
  }
  return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(value));
}

// The integer as a double that rounds to any small format as the integer itself would: beyond 53
// bits it is rounded to odd, so that the later rounding still sees on which side it lies.
template <class Integer> constexpr double odd_double(Integer n) noexcept {
  static_assert(std::is_integral_v<Integer>);
  const bool negative = n < Integer{0};
  auto size = static_cast<std::uint64_t>(n);
  if (negative) size = std::uint64_t{0} - size;
  if (size >> 53 == 0) return negative ? -static_cast<double>(size) : static_cast<double>(size);
  const std::uint64_t top = (size >> 11) | static_cast<std::uint64_t>((size & 0x7ff) != 0);
  return (negative ? -2048.0 : 2048.0) * static_cast<double>(top);
}

}  // namespace adze
