#pragma once
// SPDX-License-Identifier: MIT
// How values are to be held in codes: scheme, bits, which codes, which elements share parameters.
// Plain data; the parameters themselves (scale and zero point) are in affine.hpp.
#include <limits>

#include <adze/kernels/affine.hpp>
#include <adze/quant/granularity.hpp>

namespace adze::quant {

using kernels::code_range;

// Where the zero point is: anywhere in the codes, in their middle, or at a real number that is
// added before rounding (embedding tables).
enum class scheme : std::uint8_t { affine, symmetric, real_zero };

// The smallest scale: f32's epsilon, as PyTorch's observers have it.
inline constexpr float default_least_scale = std::numeric_limits<float>::epsilon();

struct format {
  quant::scheme scheme = scheme::affine;
  int bits = 8;  // 2 to 8, or 16
  bool is_signed = false;
  bool narrow = false;        // signed: without the lowest code, -127..127
  bool reduce_range = false;  // one bit less, for kernels that add pairs in 16 bits
  granularity grain{};        // named per_tensor(), per_axis(0), per_group(32)
  float least = default_least_scale;
  code_range custom{0, 0};  // other codes, in place of those of `bits`, sign and `narrow`
  bool operator==(const format&) const = default;

  // The codes in use, both ends included; reduce_range halves both, rounding down: 127 to 63, and
  // -127 to -64, so that a narrow format has all codes of the reduced range, as PyTorch's has.
  // Errors: value_error for bits that there are not, no codes, or a symmetric unsigned format with
  // reduced range, of which PyTorch's are not symmetric.
  code_range codes() const {
    code_range r = custom;
    if (r == code_range{0, 0}) {
      if ((bits < 2 || bits > 8) && bits != 16) {
        raise<value_error>("quant::format: bits are 2 to 8, or 16; got ", bits);
      }
      const std::int32_t count = std::int32_t(1) << bits;
      r = is_signed ? code_range{-count / 2 + (narrow ? 1 : 0), count / 2 - 1}
                    : code_range{0, count - 1};
    }
    if (reduce_range && scheme == scheme::symmetric && r.low >= 0) {
      raise<value_error>("quant::format: a symmetric unsigned format has no reduced range; got ",
                         "codes ", r.low, " to ", r.high, "; take a signed or an affine one");
    }
    if (reduce_range) r = {r.low >> 1, r.high >> 1};
    if (r.low >= r.high || r.low < -(1 << 16) || r.high > 1 << 16) {
      raise<value_error>("quant::format: needs two codes at least, of 17 bits at most; got codes ",
                         r.low, " to ", r.high);
    }
    return r;
  }
};

// The dtype that holds codes: u8, i8, else i32.
inline dtype storage_of(code_range r) {
  if (r.low >= 0 && r.high <= 255) return u8;
  return r.low >= -128 && r.high <= 127 ? i8 : i32;
}

// Activations: affine, unsigned, one pair of parameters.
inline format activation_format(int bits = 8) { return {.bits = bits}; }
// The same with one bit less (fbgemm, x86): products of u7 and s8 in pairs never saturate.
inline format reduced_activation_format() { return {.reduce_range = true}; }
// Weights: symmetric, -127..127, a scale for each output channel.
inline format weight_format(int bits = 8, granularity grain = per_axis(0)) {
  return {
      .scheme = scheme::symmetric, .bits = bits, .is_signed = true, .narrow = true, .grain = grain};
}
// The same as PyTorch has it: -128..127, scale = largest / 127.5.
inline format torch_weight_format(int bits = 8, granularity grain = per_axis(0)) {
  return {.scheme = scheme::symmetric, .bits = bits, .is_signed = true, .grain = grain};
}

}  // namespace adze::quant
