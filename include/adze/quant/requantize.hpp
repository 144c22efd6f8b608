#pragma once
// SPDX-License-Identifier: MIT
// The ways of other engines to bring an s32 sum into codes, by their definitions, for comparison
// with models that were made for them. Plans here dequantize and quantize in f32
// (kernels/gemm_int8_finish.hpp); codes of different ways differ by one at ties.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <adze/core/error.hpp>
#include <adze/kernels/affine.hpp>

namespace adze::quant {

// A multiplier as q 2^-31 2^-shift with q in [2^30, 2^31); shift is negative for multipliers of 1
// and more. Errors: value_error unless 0 < m <= 2^30 - 1: the sum is shifted to the right.
struct fixed_multiplier {
  std::int32_t q = 0;
  int shift = 0;

  explicit fixed_multiplier(double m) {
    if (!(m > 0 && m <= 0x1p30 - 1)) {
      raise<value_error>("fixed_multiplier: takes numbers above 0 and up to 2^30 - 1; got ", m);
    }
    const double part = std::frexp(m, &shift);  // m = part 2^shift, part in [0.5, 1)
    auto whole = static_cast<std::int64_t>(std::round(part * 0x1p31));
    if (whole == std::int64_t(1) << 31) whole /= 2, ++shift;
    q = static_cast<std::int32_t>(whole);
    shift = -shift;
    if (shift > 31) q = 0, shift = 0;  // no sum of 32 bits would reach a half
  }
};

namespace requantize {

// round(sum m) + zero, half to even (FBGEMM, oneDNN).
inline std::int32_t nearest(std::int32_t sum, float m, std::int32_t zero, kernels::code_range r) {
  const float y = std::nearbyint(static_cast<float>(sum) * m) + static_cast<float>(zero);
  return static_cast<std::int32_t>(
      std::clamp(y, static_cast<float>(r.low), static_cast<float>(r.high)));
}

// Clamped before rounding (XNNPACK's fp32).
inline std::int32_t clamped_first(std::int32_t sum, float m, std::int32_t zero,
                                  kernels::code_range r) {
  const float y = std::clamp(static_cast<float>(sum) * m, static_cast<float>(r.low - zero),
                             static_cast<float>(r.high - zero));
  return static_cast<std::int32_t>(std::lrint(y)) + zero;
}

// The high half of 2 a b, rounded; exact ties upwards.
inline std::int32_t doubling_high(std::int32_t a, std::int32_t b) {
  constexpr std::int32_t least = std::numeric_limits<std::int32_t>::min();
  if (a == least && b == least) return std::numeric_limits<std::int32_t>::max();
  const std::int64_t product = std::int64_t(a) * b;
  const std::int64_t nudge = product >= 0 ? std::int64_t(1) << 30 : 1 - (std::int64_t(1) << 30);
  return static_cast<std::int32_t>((product + nudge) / (std::int64_t(1) << 31));
}
// x / 2^n, ties away from zero.
inline std::int32_t rounding_shift(std::int32_t x, int n) {
  const std::int32_t mask = static_cast<std::int32_t>((std::int64_t(1) << n) - 1);
  const std::int32_t rest = x & mask, half = (mask >> 1) + (x < 0 ? 1 : 0);
  return (x >> n) + (rest > half ? 1 : 0);
}
// gemmlowp's two roundings, for multipliers below 1.
inline std::int32_t two_roundings(std::int32_t sum, const fixed_multiplier& m, std::int32_t zero,
                                  kernels::code_range r) {
  const std::int32_t y = rounding_shift(doubling_high(sum, m.q), m.shift);
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(std::int64_t(y) + zero, r.low, r.high));
}

// One rounding in 64 bits, ties upwards (XNNPACK's rndnu).
inline std::int32_t half_up(std::int32_t sum, const fixed_multiplier& m, std::int32_t zero,
                            kernels::code_range r) {
  const int shift = m.shift + 31;
  const std::int64_t y = (std::int64_t(sum) * m.q + (std::int64_t(1) << (shift - 1))) >> shift;
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(y + zero, r.low, r.high));
}

}  // namespace requantize
}  // namespace adze::quant
