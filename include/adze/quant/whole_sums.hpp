#pragma once
// SPDX-License-Identifier: MIT
// What a simulation does after its float kernels so that the next quantizer sees what integers
// give: sums in whole steps, softmax by the table of its codes.
#include <adze/quant/fake_quant.hpp>
#include <adze/quant/integer_softmax.hpp>
#include <adze/quant/placement.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

// The fake quantizer whose codes a value is made of, through steps that only move them.
template <class = void>
const graph_step* quantizer_of(const graph& g, value_id id, const std::vector<index_t>& by) {
  while (id != no_value && by[static_cast<std::size_t>(id)] >= 0) {
    const graph_step& s = g.steps[static_cast<std::size_t>(by[static_cast<std::size_t>(id)])];
    if (s.op.template as<fake_quantize_op<>>() != nullptr) return &s;
    if (kind_of(g, s) != step_kind::same) return nullptr;
    id = s.inputs[0];
  }
  return nullptr;
}

// The quantizers of a layer that convert puts on integers: its sums are whole steps. Null for any
// other step.
struct layer_quantizers {
  const graph_step *x = nullptr, *w = nullptr;
};
template <class = void>
layer_quantizers quantizers_of_layer(const graph& g, const graph_step& s,
                                     const std::vector<index_t>& by) {
  const bool layer =
      s.op.template as<linear_op<>>() != nullptr || s.op.template as<conv2d_op<>>() != nullptr;
  const graph_step* x = layer ? quantizer_of(g, s.inputs[0], by) : nullptr;
  const graph_step* w = x != nullptr ? quantizer_of(g, s.inputs[1], by) : nullptr;
  if (w == nullptr || !g.constant(w->inputs[0]).defined()) return {};
  const parameters left = parameters_of(g, *x);
  const bool bytes = left.scale.numel() == 1 && left.storage() != i32;
  return bytes && weight_refusal(parameters_of(g, *w), g.at(w->inputs[0]).sizes.rank()).empty()
             ? layer_quantizers{x, w}
             : layer_quantizers{};
}

// The scale of one step of an average's sum: that of its input over the elements of a window; 0
// where windows differ.
template <class = void> float mean_step(const graph& g, const graph_step& s, float x) {
  const shape& in = g.at(s.inputs[0]).sizes;
  if (is_image_mean(g, s)) return x / static_cast<float>(in[2] * in[3]);
  const auto* pool = s.op.template as<avg_pool2d_op<>>();
  if (pool == nullptr) return 0;
  const kernels::pool_shape p = adze::detail::pool_shape_of(pool->geometry, in);
  const index_t n = p.divide_by(0, 0);
  for (index_t i = 0; i < p.h.out; ++i) {
    for (index_t j = 0; j < p.w.out; ++j) {
      if (p.divide_by(i, j) != n) return 0;
    }
  }
  return x / static_cast<float>(n);
}

// The edge that a fake quantizer of one scale makes.
template <class = void> edge edge_at(const graph& g, const graph_step& fake) {
  const tensor zero = g.constant(fake.inputs[2]);
  return {g.constant(fake.inputs[1]).template item<float>(),
          zero.defined() ? zero.template item<std::int32_t>() : 0,
          fake.op.template as<fake_quantize_op<>>()->codes};
}
// Softmax between two quantizers as integers do it.
template <class = void> void simulate_softmax(graph& g) {
  const std::vector<index_t> by = adze::detail::producers(g), uses = adze::detail::use_counts(g);
  for (const graph_step& reader : g.steps) {
    if (reader.op.template as<fake_quantize_op<>>() == nullptr) continue;
    graph_step* s = adze::detail::sole_producer(g, reader.inputs[0], by, uses);
    const auto* softmax = s == nullptr ? nullptr : s->op.template as<softmax_op<>>();
    const graph_step* x = softmax == nullptr ? nullptr : quantizer_of(g, s->inputs[0], by);
    if (x == nullptr || g.constant(x->inputs[1]).numel() != 1) continue;
    const auto wide = [](const graph_step& q) {
      return storage_of(q.op.template as<fake_quantize_op<>>()->codes) == i32;
    };
    if (wide(*x) || wide(reader)) continue;  // no tables for them: convert leaves it in floats
    s->op = erased_op::of(softmax_of_codes_op<>{edge_at(g, *x), softmax->axis});
  }
}

// Sums are whole steps: after each layer and each mean on codes, what the float kernel's rounding
// has added is taken away again, so that the next quantizer sees what integers give.
template <class = void> void snap_sums(graph& g) {
  simulate_softmax(g);
  const std::vector<index_t> by = adze::detail::producers(g);
  std::vector<graph_step> steps;
  for (const graph_step& s : std::vector<graph_step>(g.steps)) {
    steps.push_back(s);
    const bool layer =
        s.op.template as<linear_op<>>() != nullptr || s.op.template as<conv2d_op<>>() != nullptr;
    const bool means = is_image_mean(g, s) || s.op.template as<avg_pool2d_op<>>() != nullptr;
    auto [x, w] = quantizers_of_layer(g, s, by);
    if (means) x = quantizer_of(g, s.inputs[0], by);
    if (x == nullptr || g.constant(x->inputs[1]).numel() != 1) continue;
    const float scale = g.constant(x->inputs[1]).template item<float>();
    const index_t rank = g.at(s.outputs[0]).sizes.rank();
    tensor step;
    if (layer) {
      const tensor ws = adze::detail::dense_as(g.constant(w->inputs[1]), f32);
      step = sum_scales(scale, ws, g.at(s.inputs[1]).sizes[0]);
    } else if (const float one = mean_step(g, s, scale); one > 0) {
      step = adze::detail::filled({}, f32, one);
    }
    if (!step.defined()) continue;
    const bool conv = s.op.template as<conv2d_op<>>() != nullptr;
    const granularity grain = layer ? per_axis(conv ? 1 : rank - 1) : per_tensor();
    const std::string name = layer ? g.at(w->inputs[0]).name + "_sum_scale" : "sum_scale";
    const value_id scales = g.add_constant(name, step, false);
    const graph_value like = g.at(s.outputs[0]);
    const value_id raw = g.add_value({like.sizes, like.type});
    steps.push_back({erased_op::of(snap_op<>{{grain, bias_codes}}), {raw, scales}, {s.outputs[0]}});
    steps[steps.size() - 2].outputs[0] = raw;
  }
  g.steps = std::move(steps);
  adze::detail::sweep(g);
}

}  // namespace adze::quant::detail::inline ADZE_ISA
