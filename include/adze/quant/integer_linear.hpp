#pragma once
// SPDX-License-Identifier: MIT
// The dense layer on codes: exact sums, one rounding into codes or floats. A plan packs the weight
// once.
#include <adze/graph/plan_steps.hpp>
#include <adze/kernels/gemm_int8.hpp>
#include <adze/quant/integer_ops.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

// What the kernels may assume of left codes in a range.
template <class = void> kernels::left_codes left_of(const edge& x) {
  if (x.is_signed()) return kernels::left_codes::s8;
  return x.codes.high <= 127 ? kernels::left_codes::u7 : kernels::left_codes::u8;
}

// Weight [out, in] of s8 as the right side of a product.
template <class = void> matrix<const std::int8_t> weight_matrix(const tensor& w) {
  index_t in = 1;
  for (index_t i = 1; i < w.rank(); ++i) in *= w.shape()[i];
  return matrix<const std::int8_t>{w.data_as<std::int8_t>(), w.shape()[0], in, in, 1}.transposed();
}

template <class = void>
void check_layer_inputs(std::string_view op, const tensor& w, const tensor& multiplier,
                        const tensor& bias, dtype bias_type) {
  const shape channels{w.rank() > 0 ? w.shape()[0] : 0};
  if (w.dtype() != i8 || multiplier.dtype() != f32 || multiplier.shape() != channels) {
    raise<dtype_error>(op, ": takes an i8 weight [out, ...] and f32 multipliers [out]; got ", w,
                       " and ", multiplier);
  }
  if (bias.defined() && (bias.dtype() != bias_type || bias.shape() != channels)) {
    raise<dtype_error>(op, ": the bias must be ", bias_type, channels, "; got ", bias);
  }
}

// A bias that is added to floats: floating, [outputs], or undefined.
template <class = void>
void check_real_bias(std::string_view op, const tensor& bias, index_t outputs) {
  if (!bias.defined() || (is_floating(bias.dtype()) && bias.shape() == shape{outputs})) return;
  raise<shape_error>(op, ": the bias must be floats [", outputs, "]; got ", bias);
}

// The rows of a dense layer's result; its input may have no features to count them by.
inline index_t result_rows(const tensor& y) {
  return y.numel() / std::max<index_t>(1, y.shape().back());
}

// How the sums of a layer become its results: t m as a float, m being the scale of x times that of
// the weight, and for codes what quantize() makes of it.
struct layer_finish {
  held_edge x{}, y{};  // y: unless the results are floats
  bool real = false;
  kernels::activation act = kernels::activation::none;
  float most = std::numeric_limits<float>::infinity();  // no value above: after a ReLU6

  dtype result_type() const { return real ? f32 : edge(y).storage(); }
  // The highest code.
  std::int32_t top() const {
    return std::isinf(most) ? y.codes.high : std::min(y.codes.high, code_of(most, y));
  }
  kernels::integer_finish with(const kernels::affine& left, const tensor& multiplier,
                               const tensor& bias) const {
    const edge to = y;
    kernels::integer_finish f{.left = {&left, false},
                              .column_scales = multiplier.data_as<float>(),
                              .activate = act,
                              .inverse = 1.0f / to.scale,
                              .zero = to.zero,
                              .codes = {to.codes.low, top()}};
    if (bias.defined() && real) f.real_bias = bias.data_as<float>();
    if (bias.defined() && !real) f.bias = bias.data_as<std::int32_t>();
    return f;
  }
  kernels::affine left() const { return {1.0f, edge(x).zero}; }
  void visit(const state_visitor& f) {
    x.visit("x", f);
    if (!real) y.visit("y", f);
  }
};

template <class In, class Out>
void linear_codes(const layer_finish& f, const tensor& x, const kernels::integer_weights<>& w,
                  const tensor& multiplier, const tensor& bias, tensor& y) {
  const index_t rows = result_rows(y);
  const kernels::affine left = f.left();
  kernels::gemm_int8<In, Out>({x.data_as<In>(), rows, w.rows(), w.rows(), 1}, w,
                              dense_matrix(y.data_as<Out>(), rows, w.cols()),
                              f.with(left, multiplier, bias));
}

// x [..., in] of codes, contiguous, to [..., out].
template <class = void>
tensor run_linear(const layer_finish& f, const tensor& x, const kernels::integer_weights<>& w,
                  const tensor& multiplier, const tensor& bias) {
  check_codes("integer_linear", x, f.x);
  if (x.rank() == 0 || x.shape().back() != w.rows()) {
    raise<shape_error>("integer_linear: the last axis of x must be the weight's ", w.rows(),
                       "; got ", x);
  }
  const tensor in = x.is_contiguous() ? x : adze::detail::dense_copy(x);
  tensor y = empty(x.shape().with(x.rank() - 1, w.cols()), f.result_type());
  with_code_type(f.x, [&]<class In>() {
    if (f.real) return linear_codes<In, float>(f, in, w, multiplier, bias, y);
    with_code_type(f.y, [&]<class Out>() { linear_codes<In, Out>(f, in, w, multiplier, bias, y); });
  });
  return y;
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// t = sum over k of (x - x.zero) w + bias in s32; codes clamp(round(t m / y.scale) + y.zero), or
// floats t m + bias with a real bias. x u8 or i8 [..., in], w i8 [out, in], m f32 [out], bias i32
// (codes) or f32 (floats) [out] or undefined.
template <class = void> struct integer_linear_op {
  detail::layer_finish finish{};
  static constexpr std::string_view name = "integer_linear";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads =
      gradient_reads(values::nothing, values::nothing, values::nothing, values::nothing);

  tensor forward(const tensor& x, const tensor& w, const tensor& multiplier,
                 const tensor& bias) const {
    check(w, multiplier, bias);
    const tensor weight = adze::detail::dense_as(w, i8);
    return detail::run_linear(
        finish, x,
        kernels::integer_weights<>(detail::weight_matrix(weight), detail::left_of(finish.x)),
        adze::detail::dense_as(multiplier, f32), bias);
  }
  std::array<tensor, 4> backward(backward_context&, const tensor&) const { return {}; }
  void visit(const state_visitor& f) { finish.visit(f); }

  std::unique_ptr<adze::detail::prepared_step> prepare(tensor_list constants) const {
    if (!constants[1].defined() || !constants[2].defined()) return nullptr;
    check(constants[1], constants[2], constants[3]);
    const tensor w = adze::detail::dense_as(constants[1], i8);
    const tensor multiplier = adze::detail::plain_copy(constants[2], f32);
    const tensor bias = constants[3].defined()
                            ? adze::detail::plain_copy(constants[3], constants[3].dtype())
                            : tensor();
    auto packed = std::make_shared<const kernels::integer_weights<>>(detail::weight_matrix(w),
                                                                     detail::left_of(finish.x));
    return adze::detail::make_step(
        [f = finish, packed, multiplier, bias](const tensor* const* in) {
          return detail::run_linear(f, *in[0], *packed, multiplier, bias);
        },
        values::input(1) | values::input(2) | values::input(3), packed->bytes());
  }

 private:
  void check(const tensor& w, const tensor& multiplier, const tensor& bias) const {
    detail::check_layer_inputs(name, w, multiplier, bias, finish.real ? f32 : i32);
    if (w.rank() != 2) raise<shape_error>(name, ": the weight must be [out, in]; got ", w);
  }
};

}  // namespace adze::quant::inline ADZE_ISA
