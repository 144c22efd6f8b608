#pragma once
// SPDX-License-Identifier: MIT
// Where a graph is to be quantized: which steps can run on integers, what each is, and which values
// need codes of their own. prepare puts quantizers there, convert reads the same answers.
#include <adze/graph/fuse.hpp>
#include <adze/ops/concat.hpp>
#include <adze/ops/gru.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/lstm.hpp>
#include <adze/ops/pool.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/ops/slice.hpp>
#include <adze/quant/batch_norm.hpp>
#include <adze/quant/config.hpp>

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

template <class = void> bool has_constant_weight(const graph& g, const graph_step& s) {
  const bool bias = s.inputs[2] == no_value || g.constant(s.inputs[2]).defined();
  return g.constant(s.inputs[1]).defined() && bias;
}

using moving_ops =
    types<reshape_op<>, flatten_op<>, transpose_op<>, permute_op<>, squeeze_op<>, unsqueeze_op<>,
          slice_op<>, select_op<>, contiguous_op<>, clone_op<>, detach_op<>>;
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
    return has_constant_weight(g, s) ? step_kind::layer : step_kind::other;
  }
  const bool adds = s.op.as<binary<functors::add_f>>() != nullptr ||
                    s.op.as<binary<functors::add_relu_f>>() != nullptr;
  if (adds) {
    const shape &a = g.at(s.inputs[0]).sizes, &b = g.at(s.inputs[1]).sizes;
    const bool constant = g.constant(s.inputs[0]).defined() || g.constant(s.inputs[1]).defined();
    return a == b && !constant ? step_kind::own : step_kind::other;
  }
  if (s.op.as<concat_op<>>() != nullptr || s.op.as<avg_pool2d_op<>>() != nullptr ||
      is_image_mean(g, s) || is_any(s.op, table_functions{})) {
    return step_kind::own;
  }
  const bool same = s.op.as<max_pool2d_op<>>() != nullptr || is_any(s.op, moving_ops{}) ||
                    s.op.as<unary<functors::relu_f>>() != nullptr;
  return same && is_floating(g.at(s.inputs[0]).type) ? step_kind::same : step_kind::other;
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
  const bool constant =
      g.constant(s.inputs[first]).defined() && g.constant(s.inputs[first + 1]).defined();
  return constant ? first : 0;
}

// Inputs of a step that are values of the run, not weights and the like.
inline std::size_t activation_count(const graph_step& s, step_kind kind) {
  return kind == step_kind::layer ? 1 : s.inputs.size();
}

}  // namespace adze::quant::detail::inline ADZE_ISA
