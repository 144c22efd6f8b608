#pragma once
// SPDX-License-Identifier: MIT
// From a graph that observes to one that simulates: every scale and zero point a constant, batch
// norms folded, biases in steps of their layer's sums. This is what integers will do, in floats.
#include <adze/quant/batch_norm.hpp>
#include <adze/quant/prepare.hpp>
#include <adze/quant/whole_sums.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

// What each observer has found, as constants.
template <class = void> void freeze_observers(graph& g, std::string_view caller) {
  for (graph_step& s : g.steps) {
    const auto* o = s.op.template as<observe_op<>>();
    if (o == nullptr) continue;
    const graph_value from = g.at(s.inputs[0]);
    observer seen = o->state;
    if (from.constant.defined() && o->on) seen.observe(from.constant);
    if (!seen.observed()) {
      raise<state_error>(caller, ": an observer has seen nothing; its value is ", from.type,
                         from.sizes, " ", from.name,
                         "; run the prepared graph on examples, or take ",
                         "quant::calibrated(graph, config, batches)");
    }
    const parameters p = seen.parameters();
    const auto keep = [&](value_id id, const tensor& x) {
      if (id == no_value) return;
      graph_value& v = g.at(id);
      v.constant = x;
      v.sizes = x.shape(), v.type = x.dtype();
    };
    keep(s.outputs[0], p.scale);
    keep(s.outputs[1], p.zero_point);
  }
  std::erase_if(g.steps,
                [](const graph_step& s) { return s.op.template as<observe_op<>>() != nullptr; });
  set_simulating(g, true);
}

// Scales and zero points of all quantizers are named after what is quantized, and after its codes,
// as those of integer steps are: a list for other codes does not fit.
template <class = void> void name_scales(graph& g) {
  index_t unnamed = 0;
  for (const graph_step& s : g.steps) {
    const auto* fake = s.op.template as<fake_quantize_op<>>();
    if (fake == nullptr) continue;
    const std::string& from = g.at(s.inputs[0]).name;
    const std::string name = from.empty() ? text("activation", unnamed++) : from;
    const std::string codes = text("[", fake->codes.low, "..", fake->codes.high, "]");
    const auto call = [&](value_id id, const char* what) {
      if (!g.constant(id).defined() || g.at(id).parameter) return;
      g.at(id).name = name + what + codes;
    };
    call(s.inputs[1], "_scale");
    call(s.inputs[2], "_zero_point");
  }
}

// The constant operand of a step of two, as one number for each of n channels on axis 1; empty
// where it is none.
template <class = void>
tensor by_channel_constant(const graph& g, value_id id, index_t rank, index_t n) {
  const tensor c = g.constant(id);
  if (!c.defined() || c.numel() != n || c.rank() > rank) return {};
  const index_t axis = c.rank() - (rank - 1);  // the channels, right-aligned
  if (axis < 0 || c.shape()[axis] != n) return {};
  return adze::detail::dense_copy(reshape(c, {n}));
}

template <class = void> bool all_ones(const tensor& x) {
  const tensor d = adze::detail::dense_as(x, f64);
  for (index_t i = 0; i < d.numel(); ++i) {
    if (d.data_as<double>()[i] != 1.0) return false;
  }
  return true;
}

// Multiplication by ones goes, an addition of constants after a layer becomes its bias: what is
// left of a batch norm that trained in folded form. A parameter stays: it is 1 by chance, and a
// graph's steps must not depend on what is loaded into it.
template <class = void> void absorb_constants(graph& g) {
  const no_grad plain;
  const std::vector<index_t> by = adze::detail::producers(g);
  std::vector<index_t> uses = adze::detail::use_counts(g);
  for (graph_step& s : g.steps) {
    const bool adds = s.op.template as<binary<functors::add_f>>() != nullptr;
    if (!adds && s.op.template as<binary<functors::mul_f>>() == nullptr) continue;
    const std::size_t c = g.constant(s.inputs[1]).defined() ? 1 : 0;
    const tensor constant = g.constant(s.inputs[c]);
    const value_id x = s.inputs[1 - c];
    if (!constant.defined() || g.constant(x).defined()) continue;
    if (!adds) {
      const bool same = broadcast(g.at(x).sizes, constant.shape(), "mul") == g.at(x).sizes;
      const bool trained = g.at(s.inputs[c]).parameter;
      if (same && !trained && all_ones(constant)) adze::detail::redirect(g, s.outputs[0], x, uses);
      continue;
    }
    graph_step* layer = adze::detail::sole_producer(g, x, by, uses);
    if (layer == nullptr) continue;
    const auto* linear = layer->op.template as<linear_op<>>();
    const auto* conv = layer->op.template as<conv2d_op<>>();
    const bool free = (linear != nullptr && linear->act == kernels::activation::none) ||
                      (conv != nullptr && conv->act == kernels::activation::none);
    const tensor old = free ? g.constant(layer->inputs[2]) : tensor();
    if (!free || (layer->inputs[2] != no_value && !old.defined())) continue;
    const shape& w = g.at(layer->inputs[1]).sizes;
    tensor bias = conv != nullptr || g.at(x).sizes.rank() == 2
                      ? by_channel_constant(g, s.inputs[c], g.at(x).sizes.rank(), w[0])
                      : tensor();
    if (!bias.defined()) continue;
    if (old.defined()) bias = bias + old;
    layer->inputs[2] =
        g.add_constant(adze::detail::bias_name(g.at(layer->inputs[1]).name), bias, false);
    adze::detail::redirect(g, s.outputs[0], x, uses);
  }
  adze::detail::sweep(g);
}

// The scale of a channel's weights w under which |bias| / (x w) and the largest sum fit s32
// together, at least the one it has. A code is at most twice its weight in steps, hence 2^30. Where
// no code but 0 is left, the bias gets 22 bits, which floats hold exactly.
inline double roomy_scale(double bias, double weights, double largest) {
  const double fits = (bias + weights) * 0x1p-30;
  return largest < 0.49 * fits ? std::max(fits, bias * 0x1p-22) : fits;
}

// Weights of pruned and almost dead channels have scales near 0, in whose steps no bias fits s32:
// such channels, and those whose sums might not fit beside their bias, get larger ones. Every
// weight has a scale by output from here on: shapes and names must not depend on which needed room.
template <class = void> void make_room_for_biases(graph& g) {
  const std::vector<index_t> by = adze::detail::producers(g);
  for (const graph_step& s : g.steps) {
    const auto [x, w] = quantizers_of_layer(g, s, by);
    if (w == nullptr || w->outputs[0] != s.inputs[1]) continue;
    const edge left = edge_at(g, *x);
    const double reach = std::max(left.codes.high - left.zero, left.zero - left.codes.low);
    const tensor weight = adze::detail::dense_as(g.constant(w->inputs[0]), f32);
    const tensor bias = g.constant(s.inputs[2]);
    const parameters p = parameters_of(g, *w);
    const index_t outputs = weight.shape()[0],
                  each = weight.numel() / std::max<index_t>(1, outputs);
    const tensor codes = adze::detail::dense_copy(quantize(g.constant(w->inputs[0]), p));
    const tensor b = bias.defined() ? adze::detail::dense_as(bias, f64) : zeros({outputs}, f64);
    tensor scale = sum_scales(1, adze::detail::dense_as(p.scale, f32), outputs);
    for (index_t o = 0; o < outputs; ++o) {
      double sum = 0, size = 0, largest = 0;
      for (index_t i = o * each; i < (o + 1) * each; ++i) {
        const double value = std::abs(weight.data_as<float>()[i]);
        sum += std::abs(codes.data_as<std::int8_t>()[i]);
        size += value, largest = std::max(largest, value);
      }
      float& now = scale.data_as<float>()[o];
      const double steps = std::abs(b.data_as<double>()[o]) / left.scale;
      const double most = steps / now + reach * sum;
      if (!(most > 0x1p31 - 0x1p9) || std::isinf(most)) continue;  // rounded up, it still fits
      now = static_cast<float>(roomy_scale(steps, reach * size, largest));
    }
    graph_step& fake = g.steps[static_cast<std::size_t>(w - g.steps.data())];
    fake.op.template as<fake_quantize_op<>>()->grain = per_axis(0);
    fake.inputs = {w->inputs[0], g.add_constant(g.at(w->inputs[1]).name, scale, false), no_value};
  }
}

// Biases in s32 steps of the sums they are added to.
template <class = void> void quantize_biases(graph& g) {
  const std::vector<index_t> by = adze::detail::producers(g);
  std::vector<graph_step> steps;
  const std::vector<graph_step> old = g.steps;
  for (graph_step s : old) {
    const auto [x, w] = quantizers_of_layer(g, s, by);
    const tensor bias = w != nullptr ? g.constant(s.inputs[2]) : tensor();
    if (bias.defined()) {
      const tensor scale =
          sum_scales(g.constant(x->inputs[1]).template item<float>(),
                     adze::detail::dense_as(g.constant(w->inputs[1]), f32), bias.numel());
      const value_id scales = g.add_constant(g.at(s.inputs[2]).name + "_scale", scale, false);
      const value_id out = g.add_value({bias.shape(), bias.dtype()});
      steps.push_back({erased_op::of(fake_quantize_op<>{per_axis(0), bias_codes}),
                       {s.inputs[2], scales, no_value},
                       {out}});
      s.inputs[2] = out;
    }
    steps.push_back(std::move(s));
  }
  g.steps = std::move(steps);
}

// Learned steps as scales that stay; a clipping before codes that clamp by themselves goes.
template <class = void> void freeze_steps(graph& g) {
  const no_grad plain;
  for (graph_step& s : g.steps) {
    if (s.op.template as<pact_clip_op<>>() != nullptr) {
      adze::detail::redirect(g, s.outputs[0], s.inputs[0]);
    }
    const auto* learned = s.op.template as<lsq_op<>>();
    if (learned == nullptr) continue;
    const tensor scale = maximum(g.constant(s.inputs[1]), double(default_least_scale));
    s.inputs = {s.inputs[0], g.add_constant("", scale, false), no_value};
    s.op = erased_op::of(fake_quantize_op<>{learned->grain, learned->codes});
  }
}

// Everything but the whole sums: what is converted.
template <class = void> graph frozen(graph g, std::string_view caller = "quant::simulate") {
  for (graph_step& s : g.steps) {
    if (s.op.template as<statistics_op<>>() == nullptr) continue;
    adze::detail::redirect(g, s.outputs[0], s.inputs[2]);
    adze::detail::redirect(g, s.outputs[1], s.inputs[3]);
  }
  adze::detail::sweep(g);
  g = fold_constants(for_inference(std::move(g)), [](const graph_step& s) {
    return s.op.template as<fake_quantize_op<>>() != nullptr ||
           s.op.template as<observe_op<>>() != nullptr || s.op.template as<lsq_op<>>() != nullptr;
  });
  freeze_steps(g);
  freeze_observers(g, caller);
  name_scales(g);
  absorb_constants(g);
  g = fuse(std::move(g));
  make_room_for_biases(g);
  quantize_biases(g);
  return g;
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// The prepared graph as its integer twin will run, in floats: quantizers with the scales found so
// far, statistics of batch norms frozen and folded, biases and sums in whole steps. What convert()
// makes gives the same codes. Throws state_error where an observer has seen nothing. Weights are
// copied: training goes on without it.
template <class = void> graph simulate(graph g) {
  g = detail::frozen(std::move(g));
  detail::snap_sums(g);
  return clone(g);
}

}  // namespace adze::quant::inline ADZE_ISA
