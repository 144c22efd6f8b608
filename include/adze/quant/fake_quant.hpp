#pragma once
// SPDX-License-Identifier: MIT
// Fake quantization: the value of the code of x, with a straight-through gradient. The arithmetic
// is that of quantize() and dequantize(), so what is simulated is what integers give.
#include <adze/ops/pointwise.hpp>
#include <adze/quant/affine.hpp>

namespace adze::quant {

// Codes of biases in s32: what quantize() makes in doubles.
inline constexpr code_range bias_codes{std::numeric_limits<std::int32_t>::min() + 1,
                                       std::numeric_limits<std::int32_t>::max()};

}  // namespace adze::quant

namespace adze::quant::inline ADZE_ISA {

// Scale and zero point are inputs, as graphs and learned scales want them; their gradients are
// none here (lsq.hpp learns them).
template <class = void> struct fake_quantize_op {
  granularity grain{};
  code_range codes{};
  bool on = true;  // off: x itself, for floats beside simulated codes
  static constexpr std::string_view name = "fake_quantize";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set keeps = values::input(1) | values::input(2);
  static constexpr auto reads = gradient_reads(
      values::input(0) | values::input(1) | values::input(2), values::nothing, values::nothing);

  shape result(const shape& x, const shape&, const shape&) const { return x; }
  tensor forward(const tensor& x, const tensor& scale, const tensor& zero) const {
    if (!on) return alias(x);
    return mapped(kernels::code_loops<kernels::code_bodies::value>, x, scale, zero, nullptr);
  }
  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const {
    if (!on) return {g, {}, {}};
    const tensor x = c.in(0), scale = c.in(1), zero = c.in(2);
    if (c.create()) {
      return {
          g * mapped(kernels::code_loops<kernels::code_bodies::inside>, x, scale, zero, nullptr),
          {},
          {}};
    }
    return {mapped(kernels::code_loops<kernels::code_bodies::passed>, x, scale, zero, &g), {}, {}};
  }

 private:
  tensor mapped(const kernels::map_loops& loops, const tensor& x, const tensor& scale,
                const tensor& zero, const tensor* g) const {
    adze::detail::floating_compute_type(name, x);
    const detail::shared_parameters shared{scale, zero, grain};
    detail::check_parameters(name, x, shared);
    tensor y = empty_like(x, x.dtype());
    const dtype type = detail::beyond_floats(codes) ? f64 : detail::code_compute_type(x, zero);
    if (g == nullptr) {
      detail::map_codes(loops, type, {.codes = codes}, shared, y, {&x});
    } else {
      detail::map_codes(loops, type, {.codes = codes}, shared, y, {&x, g});
    }
    return y;
  }
};

// x rounded to whole steps of a sum: what simulates an s32 accumulator. Not a quantizer: its
// results are floats for whatever comes next.
template <class = void> struct snap_op {
  fake_quantize_op<> to{};
  static constexpr std::string_view name = "whole_sums";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set keeps = values::input(1);
  static constexpr auto reads = gradient_reads(values::nothing, values::nothing);
  tensor forward(const tensor& x, const tensor& scale) const { return to.forward(x, scale, {}); }
  std::array<tensor, 2> backward(backward_context&, const tensor& g) const { return {g, {}}; }
};

// (clamp(round(x / scale) + zero_point) - zero_point) * scale. Gradient: g where the rounded code
// is one of the codes, both ends included, before clamping, else 0; twice differentiable as such.
// NaN stays NaN, infinities become the outermost values. x: any floating tensor; the parameters get
// no gradient. Errors: shape_error where they do not belong to x, value_error for scales that are
// not positive. Source: PyTorch's fake_quantize_per_tensor_affine and _per_channel_affine.
template <class = void> tensor fake_quantize(const tensor& x, const parameters& p) {
  return record(fake_quantize_op<>{p.grain, p.codes}, x, p.scale, p.zero_point);
}

}  // namespace adze::quant::inline ADZE_ISA
