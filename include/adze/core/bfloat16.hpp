#pragma once
// SPDX-License-Identifier: MIT
// bfloat16: the upper half of a float as a storage type. Conversions round once, to nearest even,
// and keep subnormals and NaN. There is no arithmetic: kernels convert to float and round back.
#include <compare>
#include <cstdint>
#include <limits>

#include <adze/core/small_float.hpp>

namespace adze {

struct bfloat16 {
  std::uint16_t bits;

  bfloat16() = default;
  explicit constexpr bfloat16(float x) noexcept
      : bits(round_bits(std::bit_cast<std::uint32_t>(x))) {}
  explicit constexpr bfloat16(double x) noexcept : bits(narrow_bits<8, 7>(x)) {}
  template <class Integer>
  requires std::is_integral_v<Integer>
  explicit constexpr bfloat16(Integer n) noexcept : bfloat16(odd_double(n)) {}

  static constexpr bfloat16 from_bits(std::uint16_t code) noexcept {
    bfloat16 x{};
    x.bits = code;
    return x;
  }

  explicit constexpr operator float() const noexcept {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
  explicit constexpr operator double() const noexcept { return static_cast<float>(*this); }

  friend constexpr bool operator==(bfloat16 a, bfloat16 b) noexcept {
    return static_cast<float>(a) == static_cast<float>(b);
  }
  friend constexpr std::partial_ordering operator<=>(bfloat16 a, bfloat16 b) noexcept {
    return static_cast<float>(a) <=> static_cast<float>(b);
  }

 private:
  // The code of narrow_bits<8, 7> without branches, for loops that the compiler vectorises.
  static constexpr std::uint16_t round_bits(std::uint32_t x) noexcept {
    const std::uint32_t rounded = (x + 0x7fffu + ((x >> 16) & 1u)) >> 16;
    const std::uint32_t quiet = (x >> 16) | 0x0040u;
    return static_cast<std::uint16_t>((x & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
  }
};

}  // namespace adze

template <> struct std::numeric_limits<adze::bfloat16> : std::numeric_limits<float> {
  static constexpr int digits = 8;
  static constexpr int digits10 = 2;
  static constexpr int max_digits10 = 4;
  static constexpr adze::bfloat16 min() noexcept { return adze::bfloat16::from_bits(0x0080); }
  static constexpr adze::bfloat16 max() noexcept { return adze::bfloat16::from_bits(0x7f7f); }
  static constexpr adze::bfloat16 lowest() noexcept { return adze::bfloat16::from_bits(0xff7f); }
  static constexpr adze::bfloat16 epsilon() noexcept { return adze::bfloat16::from_bits(0x3c00); }
  static constexpr adze::bfloat16 round_error() noexcept {
    return adze::bfloat16::from_bits(0x3f00);
  }
  static constexpr adze::bfloat16 infinity() noexcept { return adze::bfloat16::from_bits(0x7f80); }
  static constexpr adze::bfloat16 quiet_NaN() noexcept { return adze::bfloat16::from_bits(0x7fc0); }
  static constexpr adze::bfloat16 signaling_NaN() noexcept {
    return adze::bfloat16::from_bits(0x7fa0);
  }
  static constexpr adze::bfloat16 denorm_min() noexcept {
    return adze::bfloat16::from_bits(0x0001);
  }
};
