#pragma once
// SPDX-License-Identifier: MIT
// The dense layer with weights in s8 for good and activations in eight bits by their range in each
// call (kernels/gemm_int8_linear.hpp); floats in and out.
#include <adze/kernels/gemm_int8_linear.hpp>
#include <adze/quant/integer_linear.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

// A weight [out, in] in s8 with a scale for each output, packed.
struct packed_codes {
  kernels::integer_weights<> codes;
  tensor scales;  // f32 [out]

  template <class = void>
  packed_codes(const tensor& w, const tensor& s, bool reduced)
      : codes(weight_matrix(w), reduced ? kernels::left_codes::u7 : kernels::left_codes::u8),
        scales(adze::detail::plain_copy(s, f32)) {}
};

template <class = void>
void check_dynamic_weight(std::string_view op, const tensor& w, const tensor& scales,
                          const tensor& bias) {
  if (w.dtype() != i8 || w.rank() != 2 || scales.dtype() != f32 ||
      scales.shape() != shape{w.shape()[0]}) {
    raise<dtype_error>(op, ": takes an i8 weight [out, in] and f32 scales [out]; got ", w, " and ",
                       scales);
  }
  check_real_bias(op, bias, w.shape()[0]);
}

// y = x w^T + bias for rows of floats.
template <class = void>
void dynamic_rows(matrix<const float> x, const packed_codes& w, const tensor& bias, matrix<float> y,
                  kernels::activation act, bool per_row) {
  kernels::dynamic_linear(x, w.codes, w.scales.data_as<float>(), y,
                          {.bias = bias.defined() ? bias.data_as<float>() : nullptr,
                           .activate = act,
                           .per_row = per_row});
}

template <class = void>
tensor dynamic_forward(const tensor& x, const packed_codes& w, const tensor& bias,
                       kernels::activation act, bool per_row) {
  adze::detail::floating_compute_type("dynamic_linear", x);
  if (x.rank() == 0 || x.shape().back() != w.codes.rows()) {
    raise<shape_error>("dynamic_linear: the last axis of x must be the weight's ", w.codes.rows(),
                       "; got ", x);
  }
  const tensor in = adze::detail::dense_as(x, f32);
  tensor y = empty(x.shape().with(x.rank() - 1, w.codes.cols()), f32);
  const index_t rows = result_rows(y);
  dynamic_rows(dense_matrix(in.data_as<float>(), rows, w.codes.rows()), w, bias,
               dense_matrix(y.data_as<float>(), rows, w.codes.cols()), act, per_row);
  return adze::detail::dense_as(y, x.dtype());
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// y = dequantize(quantize(x) w^T) + bias; x [..., in] floating, w i8 [out, in], scales f32 [out].
template <class = void> struct dynamic_linear_op {
  kernels::activation act = kernels::activation::none;
  bool per_row = false, reduced = false;
  static constexpr std::string_view name = "dynamic_linear";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads =
      gradient_reads(values::nothing, values::nothing, values::nothing, values::nothing);
  static constexpr value_set nondifferentiable = values::output(0);

  tensor forward(const tensor& x, const tensor& w, const tensor& scales, const tensor& bias) const {
    detail::check_dynamic_weight(name, w, scales, bias);
    const detail::packed_codes packed(adze::detail::dense_as(w, i8), scales, reduced);
    const tensor b = bias.defined() ? adze::detail::dense_as(bias, f32) : bias;
    return detail::dynamic_forward(x, packed, b, act, per_row);
  }
  std::array<tensor, 4> backward(backward_context&, const tensor&) const { return {}; }

  std::unique_ptr<adze::detail::prepared_step> prepare(tensor_list constants) const {
    if (!constants[1].defined() || !constants[2].defined()) return nullptr;
    detail::check_dynamic_weight(name, constants[1], constants[2], constants[3]);
    auto packed = std::make_shared<const detail::packed_codes>(
        adze::detail::dense_as(constants[1], i8), constants[2], reduced);
    const tensor b =
        constants[3].defined() ? adze::detail::plain_copy(constants[3], f32) : tensor();
    return adze::detail::make_step(
        [packed, b, *this](const tensor* const* in) {
          return detail::dynamic_forward(*in[0], *packed, b, act, per_row);
        },
        values::input(1) | values::input(2) | values::input(3), packed->codes.bytes());
  }
};

}  // namespace adze::quant::inline ADZE_ISA
