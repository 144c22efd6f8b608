#pragma once
// SPDX-License-Identifier: MIT
// prepare: a graph that simulates its integer twin. Quantizers stand on weights and on every value
// that an integer step will read: an observe step, which keeps the statistics, and a fake_quantize
// step, both switched on and off for the whole graph.
#include <adze/graph/splice.hpp>
#include <adze/quant/estimators.hpp>
#include <adze/quant/placement.hpp>

namespace adze::quant::inline ADZE_ISA {

// The scale and the zero point of what the observer has seen, x included while it is on. Copies of
// the step share what was seen; clones of a graph do not. Plans and recomputations add nothing.
template <class = void> struct observe_op {
  observer state{};
  bool on = true;
  static constexpr std::string_view name = "observe";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr value_set nondifferentiable = values::output(0) | values::output(1);

  std::array<tensor, 2> forward(const tensor& x) const {
    observer seen = state;
    if (on && !adze::detail::state.recomputing) seen.observe(x);
    const parameters p = seen.parameters();
    if (seen.observed()) return {p.scale, p.zero_point};
    const shape each =
        parameter_shape(state.options().format.grain, x.shape(), name);  // a dry run: scale 1
    return {adze::detail::filled(each, f32, 1.0), adze::detail::filled(each, i32, 0.0)};
  }
  tensor backward(backward_context&, tensor_list) const { return {}; }
  void visit(const state_visitor& f) { state.visit(f); }
};

}  // namespace adze::quant::inline ADZE_ISA

namespace adze::quant::detail::inline ADZE_ISA {

// x through a new quantizer, as recorded ops.
template <class = void>
tensor quantizer(const tensor& x, const observer_options& o, bool simulate) {
  if (is_estimator(o.kind)) {
    return o.format.is_signed ? estimated_weight(x, o.kind, o.format)
                              : estimated_activation(x, o, simulate);
  }
  observer seen(o);
  seen.expect(parameter_shape(o.format.grain, x.shape(), "quant::prepare"));
  const auto [scale, zero] = record(observe_op<>{seen}, x);
  return record(fake_quantize_op<>{o.format.grain, o.format.codes(), simulate}, x, scale, zero);
}

template <class = void>
layer_description description_of(const graph& g, const graph_step& s, step_kind kind) {
  if (kind != step_kind::layer) return {{}, s.op.name(), {}};
  const graph_value& w = g.at(s.inputs[1]);
  return {w.name, s.op.name(), w.sizes};
}

// How each step will run, a layer that the config keeps in floats as `other`.
template <class = void> std::vector<step_kind> step_kinds(const graph& g, const config& c) {
  std::vector<step_kind> kinds;
  for (const graph_step& s : g.steps) {
    const step_kind kind = kind_of(g, s);
    const bool stays = (kind == step_kind::layer || kind == step_kind::own) &&
                       !c.of(description_of(g, s, kind)).quantize;
    kinds.push_back(stays ? step_kind::other : kind);
  }
  return kinds;
}

// Values that an integer step reads, through steps that only move them too.
template <class = void>
std::vector<char> needed_codes(const graph& g, const std::vector<step_kind>& kinds) {
  std::vector<char> needed(g.values.size(), 0);
  for (std::size_t i = g.steps.size(); i-- > 0;) {
    const graph_step& s = g.steps[i];
    // Softmax is worth codes only between integer steps: at the end it wants all there is.
    const bool if_needed =
        kinds[i] == step_kind::same || s.op.template as<softmax_op<>>() != nullptr;
    const bool reads = kinds[i] != step_kind::other &&
                       (!if_needed || needed[static_cast<std::size_t>(s.outputs[0])] != 0);
    for (std::size_t k = 0; reads && k < activation_count(s, kinds[i]); ++k) {
      if (s.inputs[k] != no_value) needed[static_cast<std::size_t>(s.inputs[k])] = 1;
    }
  }
  return needed;
}

template <class = void> class preparation {
 public:
  preparation(graph g, config c, bool simulate)
      : g_(std::move(g)), config_(std::move(c)), simulate_(simulate),
        kinds_(step_kinds(g_, config_)), needed_(needed_codes(g_, kinds_)), now_(g_.values.size()) {
    const std::vector<char> clamped = clamped_results(g_, kinds_);
    for (std::size_t i = 0; i < needed_.size(); ++i) needed_[i] = needed_[i] && !clamped[i];
    for (std::size_t i = 0; i < now_.size(); ++i) now_[i] = static_cast<value_id>(i);
  }

  graph run() {
    for (const value_id id : std::vector<value_id>(g_.inputs)) {
      place(id, observed_instead(config_.all.activation));
    }
    const std::vector<graph_step> old = std::move(g_.steps);
    for (std::size_t i = 0; i < old.size(); ++i) {
      const layer_config& c = config_.of(description_of(g_, old[i], kinds_[i]));
      add(old[i], kinds_[i], c);
      for (const value_id id : old[i].outputs) {
        if (id != no_value && kinds_[i] != step_kind::same) {
          place(id, result_options(old[i], kinds_[i] == step_kind::other ? config_.all.activation
                                                                         : c.activation));
        }
      }
    }
    for (value_id& id : g_.outputs) id = now_[at(id)];
    g_.steps = std::move(steps_);
    adze::detail::sweep(g_);
    return std::move(g_);
  }

 private:
  static std::size_t at(value_id id) { return static_cast<std::size_t>(id); }
  // The step on simulated values, its weight through a quantizer of its own.
  void add(graph_step s, step_kind kind, const layer_config& c) {
    const bool layer = kind == step_kind::layer;
    for (std::size_t k = 0; k < s.inputs.size(); ++k) {
      if (s.inputs[k] != no_value && !(layer && k > 0)) s.inputs[k] = now_[at(s.inputs[k])];
    }
    if (const std::size_t first = recurrent_weights_at(g_, s); first > 0) {
      const layer_config& own =
          config_.of({g_.at(s.inputs[first]).name, s.op.name(), g_.at(s.inputs[first]).sizes});
      for (const std::size_t k : {first, first + 1}) {
        if (own.quantize) s.inputs[k] = through(s.inputs[k], own.weight);
      }
    }
    // Integer sums are exact: what simulates them must not err by more than a rounded sum does.
    if (auto* conv = s.op.template as<conv2d_op<>>(); conv != nullptr && layer)
      conv->o.exact = true;
    auto* normed = s.op.template as<normed_layer_op<>>();
    if (normed != nullptr) normed->o.exact = layer;
    if (normed == nullptr) {
      if (layer) s.inputs[1] = through(s.inputs[1], c.weight);
      steps_.push_back(std::move(s));
      return;
    }
    std::vector<value_id> in;  // without those that are absent
    for (const value_id id : s.inputs) {
      if (id != no_value) in.push_back(id);
    }
    now_[at(s.outputs[0])] =
        adze::detail::splice(g_, steps_, in, [&](const std::vector<tensor>& x) {
          std::vector<tensor> all(s.inputs.size());
          for (std::size_t k = 0, next = 0; k < all.size(); ++k) {
            if (s.inputs[k] != no_value) all[k] = x[next++];
          }
          return std::vector<tensor>{normed->run(
              all, [&](const tensor& w) { return layer ? quantizer(w, c.weight, simulate_) : w; })};
        })[0];
  }
  value_id through(value_id id, const observer_options& o) {
    return adze::detail::splice(g_, steps_, {id}, [&](const std::vector<tensor>& x) {
      return std::vector<tensor>{quantizer(x[0], o, simulate_)};
    })[0];
  }
  // From here on readers of the value see its simulation.
  void place(value_id id, const observer_options& o) {
    if (at(id) >= needed_.size() || needed_[at(id)] == 0) return;
    if (!is_floating(g_.at(id).type)) return;
    now_[at(id)] = through(now_[at(id)], o);
  }

  graph g_;
  config config_;
  bool simulate_;
  std::vector<step_kind> kinds_;
  std::vector<char> needed_;
  std::vector<value_id> now_;
  std::vector<graph_step> steps_{};
};

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// For calibration (post-training quantization): the graph in evaluation, folded and fused, that
// observes every batch it is run on and gives what the float graph gives; convert() or simulate()
// follow. Run it under no_grad on a few hundred examples.
template <class = void> graph prepare(graph g, const config& c = full8()) {
  return detail::preparation<>(fuse(fold(std::move(g))), c, false).run();
}

// For quantization-aware training: the graph as it was traced in training mode, with all codes
// simulated and statistics kept at every call; optimise parameters(graph). Batch norms train in
// folded form (batch_norm.hpp). In the usual schedule observers stop (set_observing) after some
// epochs, statistics (set_statistics) a little before.
template <class = void> graph prepare_qat(graph g, const config& c = full8()) {
  return detail::preparation<>(fuse(detail::join_norms(std::move(g))), c.for_training(), true)
      .run();
}

// Whether batch norms go on using and moving the statistics of batches, or keep to the running
// ones.
template <class = void> void set_statistics(graph& g, bool of_batches) {
  for (graph_step& s : g.steps) {
    if (auto* o = s.op.template as<statistics_op<>>()) o->frozen = !of_batches;
  }
}

// Switches the statistics of all quantizers, or the simulation of codes, on or off.
template <class = void> void set_observing(graph& g, bool on) {
  for (graph_step& s : g.steps) {
    if (auto* o = s.op.template as<observe_op<>>()) o->on = on;
  }
}
template <class = void> void set_simulating(graph& g, bool on) {
  for (graph_step& s : g.steps) {
    if (auto* f = s.op.template as<fake_quantize_op<>>()) f->on = on;
  }
}

}  // namespace adze::quant::inline ADZE_ISA
