#pragma once
// SPDX-License-Identifier: MIT
// From a graph that trains to one that infers: batch norm on its running statistics, no dropout,
// and batch norms folded into the weights of the convolution or dense layer before them.
#include <adze/graph/edit.hpp>
#include <adze/ops/attention.hpp>
#include <adze/ops/batch_norm.hpp>
#include <adze/ops/conv.hpp>
#include <adze/ops/dropout.hpp>
#include <adze/ops/linear.hpp>

namespace adze::inline ADZE_ISA {

// The graph with frozen statistics: each batch norm takes its running mean and variance. What it
// multiplies and adds is trained on as before. Throws value_error for one that has none.
template <class = void> graph freeze_statistics(graph g) {
  for (graph_step& s : g.steps) {
    const auto* norm = s.op.template as<batch_norm_op<>>();
    if (norm == nullptr) continue;
    if (s.inputs[3] == no_value || s.inputs[4] == no_value) {
      raise<value_error>("freeze_statistics: a batch norm of ", g.at(s.inputs[0]).sizes,
                         " keeps no running statistics; make it with track_running_stats");
    }
    s.op = erased_op::of(batch_norm_eval_op<>{norm->eps});
  }
  return g;
}

// The graph as in evaluation: frozen statistics, and no dropout.
template <class = void> graph for_inference(graph g) {
  g = freeze_statistics(std::move(g));
  for (graph_step& s : g.steps) {
    if (s.op.template as<dropout_op<>>() != nullptr) {
      detail::redirect(g, s.outputs[0], s.inputs[0]);
    } else if (auto* attention = s.op.template as<attention_op<>>()) {
      attention->options.dropout = 0.0;
    }
  }
  detail::sweep(g);
  return g;
}

}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {

// Where the channels of a layer's output stand in its weight: [before, channels, after] elements
// for each of `groups` parts of equal size.
struct weight_channels {
  index_t groups = 1, before = 1, channels = 0, after = 1;
};

// y = (x - mean) scale + shift by channel, in f64: what a batch norm does in evaluation.
struct channel_scale {
  std::vector<double> scale, shift;
};

template <class = void>
channel_scale scale_of(const batch_norm_eval_op<>& norm, const graph& g, const graph_step& s) {
  const tensor mean = f64_copy(g.constant(s.inputs[3]));
  const tensor var = f64_copy(g.constant(s.inputs[4]));
  const index_t n = mean.numel();
  const tensor w = channel_values(g.constant(s.inputs[1]), n, 1);
  const tensor b = channel_values(g.constant(s.inputs[2]), n, 0);
  channel_scale c;
  for (index_t i = 0; i < n; ++i) {
    const double k = w.data_as<double>()[i] / std::sqrt(var.data_as<double>()[i] + norm.eps);
    c.scale.push_back(k);
    c.shift.push_back(b.data_as<double>()[i] - mean.data_as<double>()[i] * k);
  }
  return c;
}

template <class = void>
tensor scaled_weight(const tensor& w, const weight_channels& c, const std::vector<double>& scale) {
  tensor wide = f64_copy(w);
  double* x = wide.data_as<double>();
  for (index_t group = 0; group < c.groups; ++group) {
    for (index_t i = 0; i < c.before; ++i) {
      for (index_t k = 0; k < c.channels; ++k) {
        const double by = scale[static_cast<std::size_t>(group * c.channels + k)];
        for (index_t j = 0; j < c.after; ++j) *x++ *= by;
      }
    }
  }
  return dense_as(wide, w.dtype());
}

// Which channels a batch norm of the layer's result (of this rank) may be folded into; no channels
// where it may not. The outputs of a linear are the last axis, those of a batch norm axis 1.
template <class = void>
weight_channels folding_channels(const graph_step& layer, const tensor& w, index_t rank) {
  const shape& s = w.shape();
  if (const auto* linear = layer.op.as<linear_op<>>()) {
    if (linear->act == kernels::activation::none && rank == 2) return {1, 1, s[0], s[1]};
  } else if (const auto* conv = layer.op.as<conv2d_op<>>()) {
    if (conv->act == kernels::activation::none) return {1, 1, s[0], s[1] * s[2] * s[3]};
  } else if (const auto* turned = layer.op.as<conv_transpose2d_op<>>()) {
    return {turned->o.groups, s[0] / turned->o.groups, s[1], s[2] * s[3]};
  }
  return {};
}

template <class = void> std::string bias_name(const std::string& weight) {
  const std::string_view end = "weight";
  if (weight.size() < end.size() || !weight.ends_with(end)) return weight + ".bias";
  return weight.substr(0, weight.size() - end.size()) + "bias";
}

// The layer's weight and bias become w k and b k + shift, new constants of the graph.
template <class = void>
void fold_into(graph& g, graph_step& layer, const weight_channels& c, const channel_scale& by) {
  const tensor w = g.constant(layer.inputs[1]), b = g.constant(layer.inputs[2]);
  const auto n = static_cast<index_t>(by.scale.size());
  tensor wide = channel_values(b, n, 0), bias = empty({n}, f64);
  for (index_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    bias.data_as<double>()[i] = wide.data_as<double>()[i] * by.scale[at] + by.shift[at];
  }
  const graph_value old = g.at(layer.inputs[1]);
  const auto keep = [&](std::string name, tensor x) {
    if (w.requires_grad()) x.set_requires_grad();
    return g.add_constant(std::move(name), x, old.parameter);
  };
  layer.inputs[2] = keep(bias_name(old.name), dense_as(bias, w.dtype()));
  layer.inputs[1] = keep(old.name, scaled_weight(w, c, by.scale));
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// The graph in evaluation, each batch norm that follows a conv2d, conv_transpose2d or linear folded
// into it: with k = weight / sqrt(running_var + eps), w' = w k and b' = (b - running_mean) k +
// bias, computed in f64 (Jacob et al. 2018, section 3.2). Constants of folded layers are new
// tensors, all others stay shared. A batch norm stays where the layer's result is read elsewhere
// too.
template <class = void> graph fold(graph g) {
  g = for_inference(std::move(g));
  g.unread.clear();  // its state is no longer the model's
  const std::vector<index_t> by = detail::producers(g);
  std::vector<index_t> uses = detail::use_counts(g);
  for (graph_step& s : g.steps) {
    const auto* norm = s.op.template as<batch_norm_eval_op<>>();
    if (norm == nullptr) continue;
    graph_step* layer = detail::sole_producer(g, s.inputs[0], by, uses);
    if (layer == nullptr || layer->inputs.size() != 3) continue;
    const tensor w = g.constant(layer->inputs[1]);
    if (!w.defined() || (layer->inputs[2] != no_value && !g.constant(layer->inputs[2]).defined())) {
      continue;
    }
    const detail::weight_channels c =
        detail::folding_channels(*layer, w, g.at(s.inputs[0]).sizes.rank());
    if (c.channels == 0) continue;
    bool constant = true;  // of the batch norm's own inputs
    for (std::size_t i = 1; i < 5; ++i) {
      constant = constant && (s.inputs[i] == no_value || g.constant(s.inputs[i]).defined());
    }
    if (!constant) continue;
    detail::fold_into(g, *layer, c, detail::scale_of(*norm, g, s));
    detail::redirect(g, s.outputs[0], s.inputs[0], uses);
  }
  detail::sweep(g);
  return g;
}

}  // namespace adze::inline ADZE_ISA
