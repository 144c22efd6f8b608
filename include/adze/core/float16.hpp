#pragma once
// SPDX-License-Identifier: MIT
// float16: IEEE binary16 as a storage type. Conversions round once, to nearest even, and keep
// subnormals and NaN. There is no arithmetic: kernels convert to float, compute and round back.
#include <compare>
#include <cstdint>
#include <limits>

#include <adze/core/small_float.hpp>

namespace adze {

struct float16 {
  std::uint16_t bits;

  float16() = default;
  explicit constexpr float16(float x) noexcept : bits(narrow_bits<5, 10>(x)) {}
  explicit constexpr float16(double x) noexcept : bits(narrow_bits<5, 10>(x)) {}
  template <class Integer>
  requires std::is_integral_v<Integer>
  explicit constexpr float16(Integer n) noexcept : float16(odd_double(n)) {}

  static constexpr float16 from_bits(std::uint16_t code) noexcept {
    float16 x{};
    x.bits = code;
    return x;
  }

  explicit constexpr operator float() const noexcept {
    const std::uint32_t sign = (bits & 0x8000u) << 16;
    const std::uint32_t size = bits & 0x7fffu;
    if (size >= 0x7c00u) {  // infinity, or a NaN that becomes quiet as in hardware
      const std::uint32_t quiet = size > 0x7c00u ? 0x00400000u : 0u;
      return std::bit_cast<float>(sign | 0x7f800000u | quiet | ((size & 0x3ffu) << 13));
    }
    if (size < 0x0400u) {
      const float value = static_cast<float>(size) * 0x1p-24f;
      return sign != 0 ? -value : value;
    }
    return std::bit_cast<float>(sign | ((size << 13) + (112u << 23)));
  }
  explicit constexpr operator double() const noexcept { return static_cast<float>(*this); }

  friend constexpr bool operator==(float16 a, float16 b) noexcept {
    return static_cast<float>(a) == static_cast<float>(b);
  }
  friend constexpr std::partial_ordering operator<=>(float16 a, float16 b) noexcept {
    return static_cast<float>(a) <=> static_cast<float>(b);
  }
};

}  // namespace adze

template <> struct std::numeric_limits<adze::float16> : std::numeric_limits<float> {
  static constexpr int digits = 11;
  static constexpr int digits10 = 3;
  static constexpr int max_digits10 = 5;
  static constexpr int min_exponent = -13;
  static constexpr int min_exponent10 = -4;
  static constexpr int max_exponent = 16;
  static constexpr int max_exponent10 = 4;
  static constexpr adze::float16 min() noexcept { return adze::float16::from_bits(0x0400); }
  static constexpr adze::float16 max() noexcept { return adze::float16::from_bits(0x7bff); }
  static constexpr adze::float16 lowest() noexcept { return adze::float16::from_bits(0xfbff); }
  static constexpr adze::float16 epsilon() noexcept { return adze::float16::from_bits(0x1400); }
  static constexpr adze::float16 round_error() noexcept { return adze::float16::from_bits(0x3800); }
  static constexpr adze::float16 infinity() noexcept { return adze::float16::from_bits(0x7c00); }
  static constexpr adze::float16 quiet_NaN() noexcept { return adze::float16::from_bits(0x7e00); }
  static constexpr adze::float16 signaling_NaN() noexcept {
    return adze::float16::from_bits(0x7d00);
  }
  static constexpr adze::float16 denorm_min() noexcept { return adze::float16::from_bits(0x0001); }
};
