#pragma once
// SPDX-License-Identifier: MIT
// Steps that one kernel can do in one pass over its result become one step.
#include <adze/graph/edit.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/conv.hpp>
#include <adze/ops/linear.hpp>

namespace adze::inline ADZE_ISA {

// The graph with each ReLU that follows a conv2d or linear done by it: linear + relu gives linear
// with an activation. The ReLU stays where the layer's result is read elsewhere too. Values and
// gradients are the same bits.
template <class = void> graph fuse(graph g) {
  const std::vector<index_t> by = detail::producers(g), uses = detail::use_counts(g);
  for (graph_step& s : g.steps) {
    if (s.op.template as<unary<functors::relu_f>>() == nullptr) continue;
    graph_step* layer = detail::sole_producer(g, s.inputs[0], by, uses);
    if (layer == nullptr) continue;
    if (auto* linear = layer->op.template as<linear_op<>>()) {
      linear->act = kernels::activation::relu;
    } else if (auto* conv = layer->op.template as<conv2d_op<>>()) {
      conv->act = kernels::activation::relu;
    } else {
      continue;
    }
    detail::redirect(g, s.outputs[0], s.inputs[0]);
  }
  detail::sweep(g);
  return g;
}

}  // namespace adze::inline ADZE_ISA
