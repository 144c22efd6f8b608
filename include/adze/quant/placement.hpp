#pragma once
// SPDX-License-Identifier: MIT
// Where a graph is to be quantized: which steps can run on integers, what each is, and which values
// need codes of their own. prepare puts quantizers there, convert reads the same answers.
#include <adze/graph/fuse.hpp>
#include <adze/ops/concat.hpp>
#include <adze/ops/dropout.hpp>
#include <adze/ops/gru.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/lstm.hpp>
#include <adze/ops/pool.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/ops/slice.hpp>
#include <adze/ops/softmax.hpp>
#include <adze/quant/batch_norm.hpp>
#include <adze/quant/config.hpp>
#include <adze/quant/fake_quant.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

// What a step means for codes. layer: a product with constant weights; own: its results need a
// scale of their own; same: its results are codes of its input; other: floats only.
enum class step_kind : std::uint8_t { layer, own, same, other };

// A mean over both axes of images is a pooling to 1 x 1.
template <class = void> bool is_image_mean(const graph& g, const graph_step& s) {
  const auto* mean = s.op.as<mean_op<>>();
  if (mean == nullptr || g.at(s.inputs[0]).sizes.rank() != 4) return false;
  const index_list& over = mean->over;
  return over.size() == 2 &&
         resolve_axis(over[0], 4, "mean") + resolve_axis(over[1], 4, "mean") == 5 &&
         resolve_axis(over[0], 4, "mean") >= 2 && resolve_axis(over[1], 4, "mean") >= 2;
}

// Dropout is none in evaluation, which is what is converted: codes pass through it.
using moving_ops =
    types<reshape_op<>, flatten_op<>, transpose_op<>, permute_op<>, squeeze_op<>, unsqueeze_op<>,
          slice_op<>, select_op<>, contiguous_op<>, clone_op<>, detach_op<>, dropout_op<>>;
template <class... Op> bool is_any(const erased_op& op, types<Op...>) {
  return ((op.as<Op>() != nullptr) || ...);
}

// Functions of one value: on 256 codes each is a table.
using table_functions =
    types<unary<functors::sigmoid_f>, unary<functors::tanh_f>, unary<functors::gelu_f>,
          unary<functors::gelu_tanh_f>, unary<functors::silu_f>, unary<functors::mish_f>,
          unary<functors::softplus_f>, unary<functors::elu_f>, unary<functors::leaky_relu_f>,
          unary<functors::hardtanh_f>, unary<functors::hardsigmoid_f>,
          unary<functors::hardswish_f>>;

template <class = void> step_kind kind_of(const graph& g, const graph_step& s) {
  if (s.op.as<linear_op<>>() != nullptr || s.op.as<conv2d_op<>>() != nullptr ||
      s.op.as<normed_layer_op<>>() != nullptr) {
    return adze::detail::has_constant_weight(g, s) ? step_kind::layer : step_kind::other;
  }
  const bool adds = s.op.as<binary<functors::add_f>>() != nullptr ||
                    s.op.as<binary<functors::add_relu_f>>() != nullptr;
  if (adds) {
    const shape &a = g.at(s.inputs[0]).sizes, &b = g.at(s.inputs[1]).sizes;
    const bool constant = g.constant(s.inputs[0]).defined() || g.constant(s.inputs[1]).defined();
    return a == b && !constant ? step_kind::own : step_kind::other;
  }
  if (s.op.as<concat_op<>>() != nullptr || s.op.as<avg_pool2d_op<>>() != nullptr ||
      is_image_mean(g, s) || s.op.as<softmax_op<>>() != nullptr ||
      is_any(s.op, table_functions{})) {
    return step_kind::own;
  }
  const bool same = s.op.as<max_pool2d_op<>>() != nullptr || is_any(s.op, moving_ops{}) ||
                    s.op.as<unary<functors::relu_f>>() != nullptr;
  return same && is_floating(g.at(s.inputs[0]).type) ? step_kind::same : step_kind::other;
}

// Estimators of activations are for what ReLUs give; any other value is observed, in eight bits.
inline observer_options observed_instead(observer_options o) {
  if (!is_estimator(o.kind)) return o;
  o.kind = statistic::moving_average;
  o.format.bits = 8;
  return o;
}
template <class = void> bool ends_in_relu(const graph_step& s) {
  const auto* linear = s.op.as<linear_op<>>();
  const auto* conv = s.op.as<conv2d_op<>>();
  const auto* normed = s.op.as<normed_layer_op<>>();
  return (linear != nullptr && linear->act == kernels::activation::relu) ||
         (conv != nullptr && conv->act == kernels::activation::relu) ||
         (normed != nullptr && normed->relu) || s.op.as<binary<functors::add_relu_f>>() != nullptr;
}

// Functions whose range is known need no statistics: scale 1 / 256 and zero point 0 of eight bits
// (tanh: 2 / 256 and 128), as PyTorch has it.
template <class = void> observer_options result_options(const graph_step& s, observer_options o) {
  const bool unit =
      s.op.as<softmax_op<>>() != nullptr ||
      is_any(s.op, types<unary<functors::sigmoid_f>, unary<functors::hardsigmoid_f>>{});
  const bool both = s.op.as<unary<functors::tanh_f>>() != nullptr;
  if (!unit && !both) return is_estimator(o.kind) && !ends_in_relu(s) ? observed_instead(o) : o;
  if (o.kind == statistic::fixed) return o;
  if (is_estimator(o.kind)) o = observed_instead(o);
  const code_range codes = o.format.codes();
  const auto count = static_cast<float>(codes.high - codes.low + 1);
  o.kind = statistic::fixed;
  o.range = unit ? kernels::extent{0.0f, 1 - 1 / count} : kernels::extent{-1.0f, 1 - 2 / count};
  return o;
}

// The parameters of a fake quantizer whose scales are constants.
template <class = void> parameters parameters_of(const graph& g, const graph_step& fake) {
  const auto& op = *fake.op.as<fake_quantize_op<>>();
  return {g.constant(fake.inputs[1]), g.constant(fake.inputs[2]), op.grain, op.codes};
}

// Why no integer layer can have a weight of this rank in these codes; empty where one can.
template <class = void> std::string weight_refusal(const parameters& p, index_t rank) {
  if (storage_of(p.codes) != i8) return "its weight codes do not fit s8";
  if (p.grain.of == granularity::kind::group) return "its weight is quantized in groups";
  if (!is_by_output(p.grain, rank, "convert")) {
    return "its weight has scales along another axis than its outputs";
  }
  for (index_t i = 0; p.zero_point.defined() && i < p.zero_point.numel(); ++i) {
    if (p.zero_point.dtype() != i32 || p.zero_point.template data_as<std::int32_t>()[i] != 0) {
      return "its weight has zero points";
    }
  }
  return {};
}

// Scales of the sums of a layer, [out]: those of x times those of the weight, in f32.
inline tensor sum_scales(float x, const tensor& w, index_t outputs) {
  tensor s = empty({outputs}, f32);
  for (index_t i = 0; i < outputs; ++i) {
    s.data_as<float>()[i] = x * w.data_as<float>()[w.numel() == 1 ? 0 : i];
  }
  return s;
}

// The first weight of a recurrent layer that stands on constants, among its inputs; 0 for others.
template <class = void> std::size_t recurrent_weights_at(const graph& g, const graph_step& s) {
  const std::size_t first = s.op.as<lstm_op<>>() != nullptr  ? 3
                            : s.op.as<gru_op<>>() != nullptr ? 2
                                                             : 0;
  if (first == 0) return 0;
  const bool constant = g.constant(s.inputs[first]).defined() &&
                        g.constant(s.inputs[first + 1]).defined() &&
                        adze::detail::is_constant_or_absent(g, s.inputs[first + 2]) &&
                        adze::detail::is_constant_or_absent(g, s.inputs[first + 3]);
  return constant ? first : 0;
}

// A clamp from 0 on, such as ReLU6: between a layer and codes it is a bound of the codes.
template <class = void> const functors::hardtanh_f* clamp_of(const graph_step& s) {
  const auto* clamp = s.op.as<unary<functors::hardtanh_f>>();
  return clamp != nullptr && clamp->f.low == 0 && clamp->f.high > 0 ? &clamp->f : nullptr;
}

// Results of layers that only such a clamp reads: they need no codes of their own.
template <class = void>
std::vector<char> clamped_results(const graph& g, const std::vector<step_kind>& kinds) {
  const std::vector<index_t> uses = adze::detail::use_counts(g);
  std::vector<char> made(g.values.size(), 0), clamped(g.values.size(), 0);
  for (std::size_t i = 0; i < g.steps.size(); ++i) {
    const graph_step& s = g.steps[i];
    if (kinds[i] == step_kind::layer) made[static_cast<std::size_t>(s.outputs[0])] = 1;
    if (kinds[i] != step_kind::own || clamp_of(s) == nullptr) continue;
    const auto x = static_cast<std::size_t>(s.inputs[0]);
    clamped[x] = made[x] != 0 && uses[x] == 1;
  }
  return clamped;
}

// Inputs of a step that are values of the run, not weights and the like.
inline std::size_t activation_count(const graph_step& s, step_kind kind) {
  return kind == step_kind::layer ? 1 : s.inputs.size();
}

}  // namespace adze::quant::detail::inline ADZE_ISA
