#pragma once
// SPDX-License-Identifier: MIT
// Residual adds in the epilogue of the layer before them, for plans: conv2d or linear, + r and a
// ReLU are one step. Not for graphs that train or run at other sizes: the op knows no broadcasting
// and has no gradient.
#include <adze/graph/fuse.hpp>

namespace adze::inline ADZE_ISA {

// act(layer(x, w, b) + residual), whose sizes and type are those of the result: the bits of the
// layer and the sum one after the other.
template <class Layer> struct layer_add_op {
  Layer layer{};
  bool last = false;  // nobody reads the residual after this step
  static constexpr std::string_view name =
      std::is_same_v<Layer, linear_op<>> ? "linear_add" : "conv2d_add";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads =
      gradient_reads(values::nothing, values::nothing, values::nothing, values::nothing);

  tensor forward(const tensor& x, const tensor& w, const tensor& b, const tensor& residual) const {
    return layer.onto(input(residual), x, w, b);
  }
  // Its memory may be the result's where nobody else holds it.
  detail::residual_input input(const tensor& residual) const {
    const bool alone = residual.impl().store->refs.load(std::memory_order_acquire) == 1;
    return {residual, last && alone};
  }
  std::array<tensor, 4> backward(backward_context&, const tensor&) const { return {}; }
};

}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {

// The layer that a step is, with a residual or without; else null.
template <class Layer> const Layer* layer_of(const erased_op& op) {
  const auto* with_residual = op.as<layer_add_op<Layer>>();
  return with_residual != nullptr ? &with_residual->layer : op.as<Layer>();
}

// The sum `s` as one step with the layer that makes its input `k`; false where that is none or ends
// in an activation of its own.
template <class Layer>
bool join_layer(const graph& g, graph_step& s, std::size_t k, const graph_step& made,
                kernels::activation act) {
  const auto* layer = made.op.template as<Layer>();
  if (layer == nullptr || layer->act != kernels::activation::none) return false;
  const graph_value &x = g.at(made.inputs[0]), &y = g.at(s.outputs[0]);
  if (x.type != y.type || x.sizes.numel() == 0) return false;
  Layer last = *layer;
  last.act = act;
  std::vector<value_id> in = made.inputs;
  in.push_back(s.inputs[1 - k]);
  s.op = erased_op::of(layer_add_op<Layer>{last});
  s.inputs = std::move(in);
  return true;
}

// Whether two values are of one size and of one type that epilogues add.
template <class = void> bool adds_in_place(const graph& g, const graph_step& s) {
  const graph_value &a = g.at(s.inputs[0]), &b = g.at(s.inputs[1]);
  return a.sizes == b.sizes && a.type == b.type && is_floating(a.type) && size_of(a.type) > 2 &&
         a.sizes.numel() > 0;
}

// Tells steps with a residual whether they are the last to read it, of what a step has made.
template <class = void> void mark_last_readers(graph& g) {
  const std::vector<index_t> by = producers(g);
  std::vector<char> read(g.values.size(), 0);  // by a later step or in another place
  for (const value_id id : g.outputs) read[static_cast<std::size_t>(id)] = 1;
  for (std::size_t i = g.steps.size(); i-- > 0;) {
    graph_step& s = g.steps[i];
    const auto mark = [&](auto* op) {
      if (op == nullptr) return;
      const auto residual = static_cast<std::size_t>(s.inputs[3]);
      op->last = by[residual] >= 0 && read[residual] == 0 &&
                 std::count(s.inputs.begin(), s.inputs.end(), s.inputs[3]) == 1;
    };
    mark(s.op.template as<layer_add_op<conv2d_op<>>>());
    mark(s.op.template as<layer_add_op<linear_op<>>>());
    for (const value_id id : s.inputs) {
      if (id != no_value) read[static_cast<std::size_t>(id)] = 1;
    }
  }
}

// The graph, at the sizes of its values, with each sum of a layer's result that is read only there
// and any other value done by the layer. The step stands where the sum stood: everything that it
// reads is there. Of two layers the later one takes the other's result.
template <class = void> graph join_residuals(graph g) {
  const std::vector<index_t> by = producers(g), uses = use_counts(g);
  for (graph_step& s : g.steps) {
    const bool relu = s.op.template as<binary<functors::add_relu_f>>() != nullptr;
    if (!relu && s.op.template as<binary<functors::add_f>>() == nullptr) continue;
    if (!adds_in_place(g, s)) continue;
    const auto place = [&](std::size_t k) { return by[static_cast<std::size_t>(s.inputs[k])]; };
    const std::size_t later = place(1) > place(0) ? 1 : 0;
    const auto act = relu ? kernels::activation::relu : kernels::activation::none;
    for (const std::size_t k : {later, 1 - later}) {
      const graph_step* layer = sole_producer(g, s.inputs[k], by, uses);
      if (layer != nullptr && (join_layer<conv2d_op<>>(g, s, k, *layer, act) ||
                               join_layer<linear_op<>>(g, s, k, *layer, act)))
        break;
    }
  }
  sweep(g);
  mark_last_readers(g);
  return g;
}

}  // namespace adze::detail::inline ADZE_ISA
