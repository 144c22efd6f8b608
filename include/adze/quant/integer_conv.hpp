#pragma once
// SPDX-License-Identifier: MIT
// Convolution of codes: exact sums, one rounding into codes or floats, padding with the zero point.
// Results are channels-last. A plan packs the weight once.
#include <adze/kernels/conv_int8.hpp>
#include <adze/ops/conv.hpp>
#include <adze/quant/integer_linear.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

template <class = void>
kernels::conv_int8_weights<> pack_conv(const tensor& w, const conv_options& o, const edge& x) {
  const shape image{1, w.shape()[1] * o.groups, 1, 1};
  return {adze::detail::conv_shape_of(image, w.shape(), o), w.data_as<std::int8_t>(), left_of(x)};
}

template <class = void>
kernels::conv_shape checked_conv(const tensor& x, const shape& w, const conv_options& o) {
  adze::detail::check_conv_options("integer_conv2d", o);
  if (x.rank() != 4 || w.rank() != 4 || x.shape()[1] != w[1] * o.groups || w[0] % o.groups != 0) {
    raise<shape_error>("integer_conv2d: x [n, c, h, w] and weight [o, c / groups, kh, kw] do not "
                       "belong together; got ",
                       x, " and ", w, ", groups ", o.groups);
  }
  const kernels::conv_shape s = adze::detail::conv_shape_of(x.shape(), w, o);
  if (s.h + 2 * s.pad_h < s.dil_h * (s.kh - 1) + 1 ||
      s.w + 2 * s.pad_w < s.dil_w * (s.kw - 1) + 1) {
    raise<shape_error>("integer_conv2d: the kernel does not fit the padded input; got x ", x,
                       ", weight ", w);
  }
  return s;
}

// x of codes in any layout; the kernels want adjacent channels.
template <class = void>
tensor run_conv(const layer_finish& f, const conv_options& o, const tensor& x, const shape& weight,
                const kernels::conv_int8_weights<>& w, const tensor& multiplier,
                const tensor& bias) {
  check_codes("integer_conv2d", x, f.x);
  const kernels::conv_shape s = checked_conv(x, weight, o);
  tensor in = x;
  if (s.c > 1 && x.strides()[1] != 1) {
    in = empty_channels_last(x.shape(), x.dtype());
    with_code_type(f.x, [&]<class In>() {
      kernels::join_channels<In>(s, adze::detail::image_of<In>(x), in.data_as<In>());
    });
  }
  tensor y = empty_channels_last({s.n, s.o, s.out_h(), s.out_w()}, f.result_type());
  const kernels::affine left = f.left();
  const kernels::integer_finish finish = f.with(left, multiplier, bias);
  with_code_type(f.x, [&]<class In>() {
    const auto from = adze::detail::image_of<In>(std::as_const(in));
    if (f.real) return kernels::conv_int8<In, float>(s, from, w, y.data_as<float>(), finish);
    with_code_type(f.y, [&]<class Out>() {
      kernels::conv_int8<In, Out>(s, from, w, y.data_as<Out>(), finish);
    });
  });
  return y;
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// As integer_linear: x u8 or i8 [n, c, h, w], w i8 [o, c / groups, kh, kw], m f32 [o], bias i32
// (for codes) or f32 (for floats) [o] or undefined.
template <class = void> struct integer_conv2d_op {
  detail::layer_finish finish{};
  conv_options o{};
  static constexpr std::string_view name = "integer_conv2d";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads =
      gradient_reads(values::nothing, values::nothing, values::nothing, values::nothing);

  tensor forward(const tensor& x, const tensor& w, const tensor& multiplier,
                 const tensor& bias) const {
    detail::check_layer_inputs(name, w, multiplier, bias, finish.real ? f32 : i32);
    static_cast<void>(detail::checked_conv(x, w.shape(), o));
    const tensor weight = adze::detail::dense_as(w, i8);
    return detail::run_conv(finish, o, x, w.shape(), detail::pack_conv(weight, o, finish.x),
                            adze::detail::dense_as(multiplier, f32), bias);
  }
  std::array<tensor, 4> backward(backward_context&, const tensor&) const { return {}; }
  void visit(const state_visitor& f) { finish.visit(f); }

  std::unique_ptr<adze::detail::prepared_step> prepare(tensor_list constants) const {
    if (!constants[1].defined() || !constants[2].defined()) return nullptr;
    detail::check_layer_inputs(name, constants[1], constants[2], constants[3],
                               finish.real ? f32 : i32);
    const tensor w = adze::detail::dense_as(constants[1], i8);
    const tensor multiplier = adze::detail::plain_copy(constants[2], f32);
    const tensor bias = constants[3].defined()
                            ? adze::detail::plain_copy(constants[3], constants[3].dtype())
                            : tensor();
    auto packed =
        std::make_shared<const kernels::conv_int8_weights<>>(detail::pack_conv(w, o, finish.x));
    return adze::detail::make_step(
        [f = finish, options = o, sizes = w.shape(), packed, multiplier,
         bias](const tensor* const* in) {
          return detail::run_conv(f, options, *in[0], sizes, *packed, multiplier, bias);
        },
        values::input(1) | values::input(2) | values::input(3), packed->bytes());
  }
};

}  // namespace adze::quant::inline ADZE_ISA
