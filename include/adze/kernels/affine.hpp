#pragma once
// SPDX-License-Identifier: MIT
// The affine arithmetic of codes, in its only place, and the parameters that a range asks for:
//   code = clamp(round(x * (1 / scale)) + zero, low, high)     x ~ (code - zero) * scale
// The reciprocal is taken once, in the type of x; rounding is half to even, before the zero point
// is added. Infinities saturate. What loops over memory is in quantize.hpp and code_rows.hpp.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <adze/simd/pack.hpp>

namespace adze::kernels {

struct affine {
  float scale = 1;
  std::int32_t zero = 0;
};

// The codes in use, both ends included.
struct code_range {
  std::int32_t low = 0, high = 255;
  bool operator==(const code_range&) const = default;
};
inline constexpr code_range codes_u8{0, 255}, codes_u7{0, 127}, codes_s8{-128, 127},
    codes_s7{-64, 63};

struct extent {
  float low = 0, high = 0;
};

struct dynamic_options {
  bool preserve_sparsity = false;  // ranges with both signs: the zero point is the middle code
  bool power_of_two = false;       // scales are rounded up to one
};

// The parameters of one range, computed when the data are there (FBGEMM's ChooseQuantizationParams,
// numerics of dynamic quantization): the range is extended to hold 0, scale = (high - low) / codes
// in double, 0.1 where that is 0 or has no reciprocal, 6.1e-5 at least; the zero point comes from
// the end of the range whose error is smaller, and is half to even.
inline affine dynamic_affine(extent x, code_range codes, dynamic_options o = {}) {
  const bool middle = o.preserve_sparsity && x.low < 0 && x.high > 0;
  const double steps = static_cast<double>(codes.high) - codes.low;
  if (middle) {
    const double up = std::floor(steps / 2), down = up + 1;
    const double most = std::max(-x.low / down, x.high / up);
    x = {static_cast<float>(-most * down), static_cast<float>(most * up)};
  }
  double low = std::min(x.low, 0.0f), high = std::max(x.high, 0.0f);
  auto scale = static_cast<float>((high - low) / steps);
  if (scale == 0 || std::isinf(1 / scale)) scale = 0.1f;
  if (o.power_of_two && std::isfinite(scale)) {
    int e = 0;
    if (std::frexp(scale, &e) == 0.5f) --e;
    scale = std::ldexp(1.0f, e);
  }
  if (constexpr float least = 6.1e-5f; scale < least) {
    const float old = scale;
    scale = least;
    if (low == 0) {
      high = least * steps;
    } else if (high == 0) {
      low = -least * steps;
    } else {
      low *= double(least) / old, high *= double(least) / old;
    }
  }
  const double s = scale;
  const double from_low = codes.low - low / s, from_high = codes.high - high / s;
  const double low_error = std::abs(codes.low) + std::abs(low / s);
  const double high_error = std::abs(codes.high) + std::abs(high / s);
  double zero = low_error < high_error ? from_low : from_high;
  if (middle) zero = (static_cast<double>(codes.low) + codes.high) / 2;
  if (!(zero >= codes.low)) return {scale, codes.low};  // NaN too, of an infinite range
  if (zero > codes.high) return {scale, codes.high};
  return {scale, static_cast<std::int32_t>(std::nearbyint(zero))};
}

// The parameters of one range, known beforehand (observers): extended to hold 0, then in f32
//   scale = max((high - low) / (codes.high - codes.low), least)
//   zero = clamp(codes.low - round(low / scale), codes.low, codes.high)
inline affine static_affine(extent x, code_range codes, float least) {
  const float low = std::min(x.low, 0.0f), high = std::max(x.high, 0.0f);
  const float steps = static_cast<float>(codes.high) - static_cast<float>(codes.low);
  float scale = (high - low) / steps;
  if (std::isinf(scale)) scale = high / steps - low / steps;  // a range of more than the largest
  scale = std::max(scale, least);
  const float zero = static_cast<float>(codes.low) - std::nearbyint(low / scale);
  return {scale, static_cast<std::int32_t>(std::clamp(zero, static_cast<float>(codes.low),
                                                      static_cast<float>(codes.high)))};
}

// Zero point 0 and the largest size at `most`: weights, where 127 and 63 are usual, and 127.5 is
// PyTorch's for -128..127.
inline affine symmetric_affine(extent x, float most,
                               float least = std::numeric_limits<float>::epsilon()) {
  return {std::max(std::max(-x.low, x.high) / most, least), 0};
}

inline namespace ADZE_ISA {

// The arithmetic for lanes of floats or doubles. Steps are codes minus the zero point: whole
// numbers, exact in the lanes. NaN stays NaN.
template <class P> struct code_lanes {
  P scale, inverse, zero, low, high;  // low and high in steps

  code_lanes(P scale_, P zero_, code_range codes)
      : scale(scale_), inverse(P(1) / scale_), zero(zero_), low(P(codes.low) - zero_),
        high(P(codes.high) - zero_) {}

  P clipped(P x) const { return less_of(high, greater_of(low, x * inverse)); }
  P steps(P x) const { return round(clipped(x)) + P(0); }  // + 0: no step is -0
  P value(P x) const { return steps(x) * scale; }
  P code(P x) const {  // NaN becomes the zero point
    const P y = steps(x);
    return where(y == y, y, P(0)) + zero;
  }
  P value_of(P code_) const { return (code_ - zero) * scale; }
  // The rounded, unclamped code is a code: where straight-through gradients pass.
  typename P::mask_type inside(P x) const {
    const P y = round(x * inverse);
    return (y >= low) & (y <= high);
  }
  // d value / d scale with straight-through rounding: the clipped step outside, round(v) - v of
  // v = x / scale inside.
  P scale_slope(P x) const {
    const P v = x * inverse, y = round(v);
    return where(y < low, low, where(y > high, high, y - v));
  }
};

// The same with a zero point that is no code: it is added before rounding (embedding tables),
//   code = clamp(round(x * (1 / scale) + zero), low, high).
// In doubles, where the product of floats is exact.
template <class P> struct real_zero_lanes {
  P scale, inverse, zero, low, high;

  real_zero_lanes(P scale_, P zero_, code_range codes)
      : scale(scale_), inverse(P(1) / scale_), zero(zero_), low(P(codes.low)), high(P(codes.high)) {
  }

  P raw(P x) const { return round(x * inverse + zero); }
  P clamped(P x) const { return less_of(high, greater_of(low, raw(x))) + P(0); }
  P value(P x) const { return value_of(clamped(x)); }
  P code(P x) const {
    const P y = clamped(x);
    return where(y == y, y, clamped(P(0)));
  }
  P value_of(P code_) const { return (code_ - zero) * scale; }
  typename P::mask_type inside(P x) const {
    const P y = raw(x);
    return (y >= low) & (y <= high);
  }
  P scale_slope(P x) const {
    const P v = x * inverse, y = raw(x);
    return where(y < low, low - zero, where(y > high, high - zero, y - zero - v));
  }
};

}  // namespace ADZE_ISA
}  // namespace adze::kernels
