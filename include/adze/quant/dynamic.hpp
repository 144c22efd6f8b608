#pragma once
// SPDX-License-Identifier: MIT
// Dynamic quantization of a graph: dense, LSTM and GRU layers keep their weights in s8 and quantize
// what comes in by its range in each call. No calibration, no training; everything between layers
// stays in floats.
#include <functional>
#include <unordered_map>

#include <adze/graph/fold.hpp>
#include <adze/graph/fuse.hpp>
#include <adze/quant/dynamic_recurrent.hpp>
#include <adze/quant/observer.hpp>

namespace adze::quant {

struct dynamic_options {
  format weight = weight_format();
  bool per_row = false;  // a range for each row that a dense layer gets, not one for all of a call
  bool reduced = false;  // seven bits for activations (onednn, reduce_range of fbgemm)
  std::function<bool(std::string_view weight)>
      skip{};  // layers that stay in floats, by weight name
};

}  // namespace adze::quant

namespace adze::quant::inline ADZE_ISA {

// The parameters of a weight by the smallest and the largest element that share a scale; scale 1
// for a weight without elements.
template <class = void> parameters weight_parameters(const tensor& w, const format& f) {
  if (w.numel() == 0) {
    const shape each = parameter_shape(f.grain, w.shape(), "weight_parameters");
    return {adze::detail::filled(each, f32, 1.0), adze::detail::filled(each, i32, 0.0), f.grain,
            f.codes()};
  }
  observer o({.format = f});
  o.observe(w);
  return o.parameters();
}

}  // namespace adze::quant::inline ADZE_ISA

namespace adze::quant::detail::inline ADZE_ISA {

// Weights that are in codes by now, each once: codes and scales.
using coded_weights = std::unordered_map<value_id, std::array<value_id, 2>>;

// The weight at `id` as two constants, codes and scales by output.
template <class = void>
std::array<value_id, 2> code_constants(graph& g, value_id id, const format& f,
                                       coded_weights& made) {
  if (const auto found = made.find(id); found != made.end()) return found->second;
  const graph_value w = g.at(id);
  const parameters p = weight_parameters(w.constant, f);
  tensor scales = empty({w.sizes[0]}, f32);
  for (index_t i = 0; i < scales.numel(); ++i) {
    scales.template data_as<float>()[i] =
        p.scale.template data_as<float>()[p.scale.numel() == 1 ? 0 : i];
  }
  const tensor codes = quantize(w.constant, p);
  return made[id] = {g.add_constant(w.name, codes, false),
                     g.add_constant(w.name + "_scale", scales, false)};
}

template <class = void>
bool quantizable_weight(const graph& g, value_id id, const dynamic_options& o) {
  const tensor w = g.constant(id);
  return w.defined() && w.rank() == 2 && is_floating(w.dtype()) &&
         !(o.skip && o.skip(g.at(id).name));
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// The graph in evaluation, folded and fused, with every linear, lstm and gru whose weights are
// constants quantized dynamically. Weights need a symmetric format per tensor or per output
// (axis 0); value_error for another.
template <class = void> graph quantize_dynamic(graph g, const dynamic_options& o = {}) {
  if (o.weight.scheme != scheme::symmetric || storage_of(o.weight.codes()) != i8) {
    raise<value_error>("quantize_dynamic: weights need symmetric codes that fit s8; "
                       "weight_format() is one");
  }
  if (!is_by_output(o.weight.grain, 2, "quantize_dynamic")) {
    raise<value_error>("quantize_dynamic: weights have one scale, or one for each output (axis 0); "
                       "got ",
                       to_text(o.weight.grain));
  }
  detail::coded_weights made;
  g = fuse(fold(std::move(g)));
  for (graph_step& s : g.steps) {
    if (const auto* linear = s.op.template as<linear_op<>>()) {
      if (!adze::detail::has_constant_weight(g, s) ||
          !detail::quantizable_weight(g, s.inputs[1], o)) {
        continue;
      }
      const auto [codes, scales] = detail::code_constants(g, s.inputs[1], o.weight, made);
      s.op = erased_op::of(dynamic_linear_op<>{linear->act, o.per_row, o.reduced});
      s.inputs = {s.inputs[0], codes, scales, s.inputs[2]};
      continue;
    }
    const bool lstm = s.op.template as<lstm_op<>>() != nullptr;
    if (!lstm && s.op.template as<gru_op<>>() == nullptr) continue;
    const std::size_t first = lstm ? 3 : 2;  // of the weights, after x and the states
    if (!detail::quantizable_weight(g, s.inputs[first], o) ||
        !detail::quantizable_weight(g, s.inputs[first + 1], o) ||
        !adze::detail::is_constant_or_absent(g, s.inputs[first + 2]) ||
        !adze::detail::is_constant_or_absent(g, s.inputs[first + 3])) {
      continue;
    }
    const auto input = detail::code_constants(g, s.inputs[first], o.weight, made);
    const auto hidden = detail::code_constants(g, s.inputs[first + 1], o.weight, made);
    std::vector<value_id> in(s.inputs.begin(), s.inputs.begin() + static_cast<index_t>(first));
    in.insert(in.end(),
              {input[0], input[1], hidden[0], hidden[1], s.inputs[first + 2], s.inputs[first + 3]});
    s.op = lstm ? erased_op::of(dynamic_lstm_op<>{o.reduced})
                : erased_op::of(dynamic_gru_op<>{o.reduced});
    s.inputs = std::move(in);
  }
  adze::detail::sweep(g);
  return g;
}

}  // namespace adze::quant::inline ADZE_ISA
