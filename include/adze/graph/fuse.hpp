#pragma once
// SPDX-License-Identifier: MIT
// Steps that one kernel can do in one pass over its result become one step.
#include <adze/graph/edit.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/conv.hpp>
#include <adze/ops/linear.hpp>
#include <adze/ops/pointwise.hpp>

namespace adze::inline ADZE_ISA {

namespace functors {

struct add_relu_f {  // max(a + b, 0) in one pass; slope 0 at 0
  static constexpr std::string_view name = "add_relu";
  static constexpr auto reads = gradient_reads(values::output(0), values::output(0));
  template <class V> V f(const V& a, const V& b) const { return maximum(a + b, 0.0); }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context& c, const tensor& g) const {
    const tensor passed = where(c.out(0) > 0.0, g, 0.0);
    return {passed, passed};
  }
};

}  // namespace functors

// The graph with each ReLU that follows a conv2d, a linear or an add done by it: linear + relu
// gives linear with an activation, a residual block's add + relu one pass. The ReLU stays where the
// layer's result is read elsewhere too. Values and gradients are the same bits.
template <class = void> graph fuse(graph g) {
  const std::vector<index_t> by = detail::producers(g);
  std::vector<index_t> uses = detail::use_counts(g);
  for (graph_step& s : g.steps) {
    if (s.op.template as<unary<functors::relu_f>>() == nullptr) continue;
    graph_step* layer = detail::sole_producer(g, s.inputs[0], by, uses);
    if (layer == nullptr) continue;
    if (auto* linear = layer->op.template as<linear_op<>>()) {
      linear->act = kernels::activation::relu;
    } else if (auto* conv = layer->op.template as<conv2d_op<>>()) {
      conv->act = kernels::activation::relu;
    } else if (layer->op.template as<binary<functors::add_f>>() != nullptr &&
               is_floating(g.at(s.inputs[0]).type)) {  // sums of integers wrap before the ReLU
      layer->op = erased_op::of(binary<functors::add_relu_f>{});
    } else {
      continue;
    }
    detail::redirect(g, s.outputs[0], s.inputs[0], uses);
  }
  detail::sweep(g);
  return g;
}

}  // namespace adze::inline ADZE_ISA
