#pragma once
// SPDX-License-Identifier: MIT
// Dense layers whose weights are four-bit codes with a scale for each group of inputs: for layers
// that are bound by reading their weights. Inputs are quantized to s8 by row in each call, so that
// no weight is ever widened to a float (kernels/gemm_int4.hpp). No calibration, no training.
#include <adze/kernels/gemm_int4.hpp>
#include <adze/quant/dynamic.hpp>

namespace adze::quant {

struct weight_only_options {
  int bits = 4;        // 4, or 8: by output, as quantize_dynamic with a range for each row
  index_t group = 32;  // inputs that share a scale; a multiple of 8. Of 4 bits only
  std::function<bool(std::string_view weight)> skip{};  // layers that stay in floats
};

}  // namespace adze::quant

namespace adze::quant::detail::inline ADZE_ISA {

// Codes of four bits, two in a byte, the first in the low half, with 8 added: [out, in / 2].
template <class = void> tensor pack_nibbles(const tensor& x) {
  const tensor codes = adze::detail::dense_as(x, i8);
  const index_t out = codes.shape()[0], in = codes.shape()[1], bytes = (in + 1) / 2;
  tensor p = adze::detail::zeros_of({out, bytes}, u8);
  for (index_t o = 0; o < out; ++o) {
    for (index_t i = 0; i < in; ++i) {
      const int code = codes.data_as<std::int8_t>()[o * in + i] + 8;
      p.data_as<std::uint8_t>()[o * bytes + i / 2] |=
          static_cast<std::uint8_t>(code << (i % 2 * 4));
    }
  }
  return p;
}
template <class = void> tensor unpack_nibbles(const tensor& packed, index_t in) {
  const index_t out = packed.shape()[0], bytes = packed.shape()[1];
  tensor codes = empty({out, in}, i8);
  for (index_t o = 0; o < out; ++o) {
    for (index_t i = 0; i < in; ++i) {
      const int byte = packed.data_as<std::uint8_t>()[o * bytes + i / 2];
      codes.data_as<std::int8_t>()[o * in + i] =
          static_cast<std::int8_t>((byte >> (i % 2 * 4) & 15) - 8);
    }
  }
  return codes;
}

struct int4_layer {
  kernels::int4_weights<> weights;
  tensor bias;
  kernels::activation act;

  // packed [out, (in + 1) / 2], scales [out, groups].
  template <class = void>
  int4_layer(const tensor& packed, const tensor& scales, const tensor& b, index_t in, index_t group,
             kernels::activation activate)
      : bias(b), act(activate) {
    const tensor codes = unpack_nibbles(adze::detail::dense_as(packed, u8), in);
    const tensor by_group = adze::detail::dense_copy(transpose(scales));  // [groups, out]
    weights = kernels::int4_weights<>(weight_matrix(codes), by_group.data_as<float>(), group);
  }
  template <class = void> tensor operator()(const tensor& x) const {
    if (x.rank() == 0 || x.shape().back() != weights.rows()) {
      raise<shape_error>("int4_linear: the last axis of x must be the weight's ", weights.rows(),
                         "; got ", x);
    }
    const tensor in = adze::detail::dense_as(x, f32);
    tensor y = empty(x.shape().with(x.rank() - 1, weights.cols()), f32);
    const index_t rows = result_rows(y);
    kernels::int4_linear<>(
        dense_matrix(in.data_as<float>(), rows, weights.rows()), weights,
        dense_matrix(y.data_as<float>(), rows, weights.cols()),
        {.bias = bias.defined() ? bias.data_as<float>() : nullptr, .activate = act});
    return adze::detail::dense_as(y, x.dtype());
  }
};

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// y = x w^T + bias, w in packed nibbles u8 [out, (in + 1) / 2], scales f32 [out, groups], x
// floating
// [..., in].
template <class = void> struct int4_linear_op {
  index_t in = 0, group = 32;
  kernels::activation act = kernels::activation::none;
  static constexpr std::string_view name = "int4_linear";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads =
      gradient_reads(values::nothing, values::nothing, values::nothing, values::nothing);
  static constexpr value_set nondifferentiable = values::output(0);

  tensor forward(const tensor& x, const tensor& packed, const tensor& scales,
                 const tensor& bias) const {
    adze::detail::floating_compute_type(name, x);
    check(packed, scales, bias);
    return layer(packed, scales, bias)(x);
  }
  std::array<tensor, 4> backward(backward_context&, const tensor&) const { return {}; }
  std::unique_ptr<adze::detail::prepared_step> prepare(tensor_list constants) const {
    if (!constants[1].defined() || !constants[2].defined()) return nullptr;
    check(constants[1], constants[2], constants[3]);
    auto made = std::make_shared<const detail::int4_layer>(
        layer(constants[1], constants[2],
              constants[3].defined() ? adze::detail::plain_copy(constants[3], f32) : tensor()));
    return adze::detail::make_step([made](const tensor* const* x) { return (*made)(*x[0]); },
                                   values::input(1) | values::input(2) | values::input(3),
                                   made->weights.panels() * made->weights.panel_bytes());
  }

 private:
  detail::int4_layer layer(const tensor& packed, const tensor& scales, const tensor& bias) const {
    const tensor b = bias.defined() ? adze::detail::dense_as(bias, f32) : bias;
    return {packed, adze::detail::dense_as(scales, f32), b, in, group, act};
  }
  void check(const tensor& packed, const tensor& scales, const tensor& bias) const {
    if (group < 1) raise<value_error>(name, ": a group has at least one input; got ", group);
    const index_t out = packed.rank() == 2 ? packed.shape()[0] : 0;
    if (packed.dtype() != u8 || packed.shape() != shape{out, (in + 1) / 2} ||
        scales.shape() != shape{out, (in + group - 1) / group}) {
      raise<shape_error>(name, ": takes a u8 weight [out, ", (in + 1) / 2, "] and scales [out, ",
                         (in + group - 1) / group, "]; got ", packed, " and ", scales);
    }
    detail::check_real_bias(name, bias, out);
  }
};

// The graph in evaluation, folded and fused, with the weight of every linear in codes of `bits`:
// symmetric, -7..7 of the largest size of each group. Other layers stay in floats. Errors:
// value_error for other bits or groups.
template <class = void> graph quantize_weights(graph g, const weight_only_options& o = {}) {
  if (o.bits == 8) return quantize_dynamic(std::move(g), {.per_row = true, .skip = o.skip});
  if (o.bits != 4 || o.group < 8 || o.group % 8 != 0) {
    raise<value_error>("quantize_weights: 8 bits, or 4 with groups of a multiple of 8; got ",
                       o.bits, " bits, groups of ", o.group);
  }
  const format f = weight_format(4, per_group(o.group, 1));
  g = fuse(fold(std::move(g)));
  detail::coded_weights made;
  for (graph_step& s : g.steps) {
    const auto* linear = s.op.template as<linear_op<>>();
    if (linear == nullptr || !adze::detail::has_constant_weight(g, s)) continue;
    const graph_value w = g.at(s.inputs[1]);
    if (!is_floating(w.type) || (o.skip && o.skip(w.name))) continue;
    const auto [weight, is_new] = made.try_emplace(s.inputs[1]);
    if (is_new) {
      const parameters p = weight_parameters(w.constant, f);
      weight->second = {
          g.add_constant(w.name, detail::pack_nibbles(quantize(w.constant, p)), false),
          g.add_constant(w.name + "_scale", p.scale, false)};
    }
    const auto [codes, scales] = weight->second;
    s.op = erased_op::of(int4_linear_op<>{w.sizes[1], o.group, linear->act});
    s.inputs = {s.inputs[0], codes, scales, s.inputs[2]};
  }
  adze::detail::sweep(g);
  return g;
}

}  // namespace adze::quant::inline ADZE_ISA
