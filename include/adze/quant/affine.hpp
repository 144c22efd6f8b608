#pragma once
// SPDX-License-Identifier: MIT
// Scales and zero points as tensors, chosen from ranges; tensors to codes and back. The arithmetic
// is that of kernels/affine.hpp, which fake quantization and the integer kernels share:
//   code = clamp(round(x * (1 / scale)) + zero, low, high)     x ~ (code - zero) * scale
// with an f32 reciprocal, rounding half to even before the zero point is added.
#include <adze/kernels/quantize.hpp>
#include <adze/ops/dense.hpp>
#include <adze/quant/code_map.hpp>

namespace adze::quant {

// How one tensor is held in codes. Tensors of the shape that parameter_shape() gives: scale f32,
// positive; zero_point i32, or f32 where it is added before rounding; undefined means zeros.
struct parameters {
  tensor scale{};
  tensor zero_point{};
  granularity grain{};
  code_range codes{};
  dtype storage() const { return storage_of(codes); }
};

}  // namespace adze::quant

namespace adze::quant::detail::inline ADZE_ISA {

inline void check_range(std::string_view op, float low, float high) {
  if (!(low <= high) || std::isinf(low) || std::isinf(high)) {
    raise<value_error>(op, ": a range is two finite numbers, the lower one first; got ", low,
                       " to ", high);
  }
}

// The parameters of one range; a zero point that is a code.
inline kernels::affine affine_of(kernels::extent x, const format& f, code_range codes) {
  if (f.scheme == scheme::affine) return kernels::static_affine(x, codes, f.least);
  const float most = (static_cast<float>(codes.high) - static_cast<float>(codes.low)) / 2;
  kernels::affine a = kernels::symmetric_affine(x, most, f.least);
  if (codes.low >= 0) a.zero = codes == kernels::codes_u8 ? 128 : (codes.low + codes.high) / 2;
  return a;
}

// Codes that f32 does not hold, such as those of biases: computed in f64.
inline bool beyond_floats(code_range r) { return r.low < -(1 << 24) || r.high > 1 << 24; }

// The whole of x is one row of bytes and floats, in any order of its axes.
template <class Code>
void quantize_whole(const tensor& x, tensor& q, kernels::affine a, code_range codes) {
  const float* from = x.data_as<float>();
  Code* to = q.data_as<Code>();
  parallel_for(x.numel(), kernels::codes_chunk, [&](index_t i0, index_t i1) {
    kernels::quantize_row<Code>(from + i0, to + i0, i1 - i0, a, codes);
  });
}
template <class Code> void dequantize_whole(const tensor& q, tensor& y, kernels::affine a) {
  const Code* from = q.data_as<Code>();
  float* to = y.data_as<float>();
  parallel_for(q.numel(), kernels::codes_chunk, [&](index_t i0, index_t i1) {
    kernels::dequantize_row<Code>(from + i0, to + i0, i1 - i0, a);
  });
}
// The one pair of parameters of a call that the byte loops can do.
template <class = void> bool one_affine(const parameters& p, kernels::affine& a) {
  const bool whole_zero = !p.zero_point.defined() || !is_floating(p.zero_point.dtype());
  if (p.scale.numel() != 1 || p.scale.dtype() != f32 || !whole_zero) return false;
  a = {p.scale.item<float>(), p.zero_point.defined() ? p.zero_point.item<std::int32_t>() : 0};
  return true;
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// Parameters for ranges known beforehand: f32 tensors of one shape, that of the scales. Ranges are
// extended to hold 0 (not for real_zero). With codes qmin to qmax, in f32:
//   affine     scale = max((high - low) / (qmax - qmin), least), zero = clamp(qmin - round(low /
//   scale)) symmetric  scale = max(max(-low, high) / ((qmax - qmin) / 2), least), zero = 0;
//   unsigned: middle real_zero  scale = (high - low) / (qmax - qmin), 1 where that is <= least;
//   zero = -low / scale
// Errors: shape_error where the shapes differ, value_error for a range that is not finite or not
// in order (nothing observed is not a range: see observer). Source: PyTorch 1.13's observers.
template <class = void>
parameters choose_parameters(const tensor& low, const tensor& high, const format& f) {
  if (low.shape() != high.shape()) {
    raise<shape_error>("choose_parameters: both ends need one shape; got ", low, " and ", high);
  }
  const bool real = f.scheme == scheme::real_zero;
  parameters p{empty(low.shape(), f32), empty(low.shape(), real ? f32 : i32), f.grain, f.codes()};
  const tensor a = adze::detail::dense_as(low, f32), b = adze::detail::dense_as(high, f32);
  for (index_t i = 0; i < a.numel(); ++i) {
    const kernels::extent x{a.template data_as<float>()[i], b.template data_as<float>()[i]};
    detail::check_range("choose_parameters", x.low, x.high);
    float& scale = p.scale.template data_as<float>()[i];
    if (real) {
      scale = (x.high - x.low) / static_cast<float>(p.codes.high - p.codes.low);
      if (scale <= f.least) scale = 1;
      p.zero_point.template data_as<float>()[i] = -x.low / scale;
      continue;
    }
    const kernels::affine one = detail::affine_of(x, f, p.codes);
    scale = one.scale;
    p.zero_point.template data_as<std::int32_t>()[i] = one.zero;
  }
  return p;
}

// One pair of parameters for all elements, from numbers.
template <class = void> parameters make_parameters(kernels::affine a, code_range codes) {
  parameters p{empty({}, f32), empty({}, i32), per_tensor(), codes};
  *p.scale.template data_as<float>() = a.scale;
  *p.zero_point.template data_as<std::int32_t>() = a.zero;
  return p;
}

// Parameters of this very tensor, as dynamic quantization wants them (FBGEMM's
// ChooseQuantizationParams, in double, scales of at least 6.1e-5); NaN does not count.
template <class = void>
parameters dynamic_parameters(const tensor& x, code_range codes = kernels::codes_u8,
                              kernels::dynamic_options o = {}) {
  const tensor d = adze::detail::dense_keeping(x, f32);
  const auto range = kernels::extent_of_all(d.template data_as<float>(), d.numel());
  return make_parameters(kernels::dynamic_affine(range, codes, o), codes);
}

// x in codes, laid out like x: u8 or i8 where the codes fit, else i32. x: any floating tensor; f64
// is computed in f64. NaN becomes the zero point, infinities saturate. Not differentiable: see
// fake_quantize. Errors: shape_error where the parameters do not belong to x, dtype_error for
// integers, value_error for scales that are not positive.
template <class = void> tensor quantize(const tensor& x, const parameters& p) {
  adze::detail::floating_compute_type("quantize", x);
  const detail::shared_parameters shared{p.scale, p.zero_point, p.grain};
  detail::check_parameters("quantize", x, shared);
  tensor q = empty_like(x, p.storage());
  kernels::affine a;
  if (detail::one_affine(p, a) && q.dtype() != i32 && x.dtype() != f64) {
    const tensor d = adze::detail::dense_like(x, q, f32);
    if (q.dtype() == u8) {
      detail::quantize_whole<std::uint8_t>(d, q, a, p.codes);
    } else {
      detail::quantize_whole<std::int8_t>(d, q, a, p.codes);
    }
    return q;
  }
  const bool wide = detail::beyond_floats(p.codes);
  detail::map_codes(kernels::code_loops<kernels::code_bodies::code>,
                    wide ? f64 : detail::code_compute_type(x, p.zero_point), {.codes = p.codes},
                    shared, q, {&x});
  return q;
}

// Codes back to floats of `type`: (q - zero) * scale. Errors: as quantize; dtype_error unless q
// holds u8, i8 or i32.
template <class = void> tensor dequantize(const tensor& q, const parameters& p, dtype type = f32) {
  if (q.dtype() != u8 && q.dtype() != i8 && q.dtype() != i32) {
    raise<dtype_error>("dequantize: codes are u8, i8 or i32; got ", q);
  }
  const detail::shared_parameters shared{p.scale, p.zero_point, p.grain};
  detail::check_parameters("dequantize", q, shared);
  tensor y = empty_like(q, type);
  kernels::affine a;
  if (detail::one_affine(p, a) && q.dtype() != i32 && type == f32 && is_dense(q)) {
    q.dtype() == u8 ? detail::dequantize_whole<std::uint8_t>(q, y, a)
                    : detail::dequantize_whole<std::int8_t>(q, y, a);
    return y;
  }
  const bool wide = detail::beyond_floats(p.codes) || type == f64;
  detail::map_codes(kernels::code_loops<kernels::code_bodies::value_of_code>,
                    wide ? f64 : detail::code_compute_type(y, p.zero_point), {.codes = p.codes},
                    shared, y, {&q});
  return y;
}

}  // namespace adze::quant::inline ADZE_ISA
