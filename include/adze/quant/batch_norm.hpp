#pragma once
// SPDX-License-Identifier: MIT
// Batch norm in quantization-aware training, by the path that never divides by its weight: what is
// quantized is the weight as it will be after folding, while statistics are those of the batch.
//   y = layer(x, w)              m, v: mean and variance of y in the batch (running ones: M, V)
//   z = layer(x, q(w g / sqrt(V + eps))) sqrt((V + eps) / (v + eps)) + b - g m / sqrt(v + eps)
// With m = M and v = V this is the folded layer exactly (Krishnamoorthi 2018, section 3.2.3).
#include <adze/graph/fold.hpp>
#include <adze/graph/fuse.hpp>
#include <adze/graph/splice.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/reduce.hpp>

namespace adze::quant::inline ADZE_ISA {

// Passes the mean and the biased variance [c] of the batch y [n, c, ...] on, and moves the running
// ones, as batch_norm does; or, frozen, passes the running ones on. Of y only the sizes are read:
// those of the call, for a graph may be traced at others.
template <class = void> struct statistics_op {
  double momentum = 0.1;
  bool frozen = false;
  static constexpr std::string_view name = "batch_statistics";
  static constexpr numeric precision = numeric::wide;
  static constexpr value_set keeps = values::input(2) | values::input(3) | values::input(4);
  static constexpr value_set writes = values::input(2) | values::input(3);
  static constexpr auto reads = gradient_reads(values::nothing, values::nothing, values::nothing,
                                               values::nothing, values::nothing);

  std::array<tensor, 2> forward(const tensor& mean, const tensor& var, const tensor& running_mean,
                                const tensor& running_var, const tensor& y) const {
    if (frozen) {
      return {adze::detail::dense_as(running_mean, mean.dtype()),
              adze::detail::dense_as(running_var, var.dtype())};
    }
    if (!adze::detail::state.recomputing) {
      const index_t count = y.numel() / std::max<index_t>(1, y.size(1));  // by channel
      const double unbiased = count > 1 ? double(count) / double(count - 1) : 1.0;
      tensor m = adze::detail::f64_copy(mean), v = adze::detail::f64_copy(var);
      for (index_t i = 0; i < v.numel(); ++i) v.data_as<double>()[i] *= unbiased;
      adze::detail::update_running(running_mean, m.data_as<double>(), momentum);
      adze::detail::update_running(running_var, v.data_as<double>(), momentum);
    }
    return {alias(mean), alias(var)};
  }
  std::array<tensor, 5> backward(backward_context&, tensor_list g) const {
    if (frozen) return {};
    return {g[0], g[1]};
  }
};

struct folded_training {
  double eps = 1e-5, momentum = 0.1;
  bool frozen = false;  // the running statistics, and they stay
};
// Layer and norm as one: `layer(x, w, b)` is the product, `quantize(w)` what simulates its codes,
// norm is weight, bias, running_mean and running_var.
template <class Layer, class Quantize>
tensor train_folded(const folded_training& o, const tensor& x, const tensor& w, const tensor& b,
                    const std::array<tensor, 4>& norm, const Layer& layer,
                    const Quantize& quantize) {
  const auto& [weight, bias, running_mean, running_var] = norm;
  const auto by_output = [&](const tensor& v) {
    index_list sizes{-1};
    for (index_t i = 1; i < w.rank(); ++i) sizes.push_back(1);
    return reshape(v, sizes);
  };
  const auto by_channel = [&](const tensor& v) {
    return w.rank() == 2 ? v : reshape(v, {1, -1, 1, 1});
  };
  const tensor plain = layer(x, w, b);
  const index_list over = adze::detail::but_channels(plain.rank());
  const auto [mean, var] = record(statistics_op<>{o.momentum, o.frozen}, adze::mean(plain, over),
                                  adze::var(plain, over, 0.0), running_mean, running_var, plain);
  const tensor then = sqrt(running_var + o.eps), now = sqrt(var + o.eps);
  const tensor folded = weight.defined() ? w * by_output(weight / then) : w / by_output(then);
  const tensor z = layer(x, quantize(folded), tensor());
  tensor shift = (b.defined() ? b - mean : 0.0 - mean) / now;
  if (weight.defined()) shift = shift * weight;
  if (bias.defined()) shift = shift + bias;
  return z * by_channel(then / now) + by_channel(shift);
}

// A convolution or dense layer with its batch norm and ReLU, as one step of a graph that is being
// prepared: inputs x, w, b and the norm's four. It runs only as what prepare_qat makes of it.
template <class = void> struct normed_layer_op {
  bool convolution = false;
  conv_options o{};
  folded_training norm{};
  bool relu = false;
  static constexpr std::string_view name = "normed_layer";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set none = values::nothing;
  static constexpr auto reads = gradient_reads(none, none, none, none, none, none, none);

  tensor forward(const tensor& x, const tensor&, const tensor&, const tensor&, const tensor&,
                 const tensor&, const tensor&) const {
    raise<state_error>("normed_layer: is replaced by prepare_qat and never runs; got ", x);
  }
  std::array<tensor, 7> backward(backward_context&, const tensor&) const { return {}; }

  // The layer with simulated weights; see train_folded.
  template <class Quantize>
  tensor run(const std::vector<tensor>& in, const Quantize& quantize) const {
    const auto layer = [this](const tensor& x, const tensor& w, const tensor& b) {
      return convolution ? conv2d(x, w, b, o) : linear(x, w, b);
    };
    const tensor y =
        train_folded(norm, in[0], in[1], in[2], {in[3], in[4], in[5], in[6]}, layer, quantize);
    return relu ? adze::relu(y) : y;
  }
};

}  // namespace adze::quant::inline ADZE_ISA

namespace adze::quant::detail::inline ADZE_ISA {

// Layers whose only reader is a batch norm become one step with it, and with the ReLU after it.
template <class = void> graph join_norms(graph g) {
  const std::vector<index_t> by = adze::detail::producers(g), uses = adze::detail::use_counts(g);
  for (graph_step& s : g.steps) {
    if (s.op.template as<unary<functors::relu_f>>() != nullptr) {
      graph_step* before = adze::detail::sole_producer(g, s.inputs[0], by, uses);
      auto* normed = before == nullptr ? nullptr : before->op.template as<normed_layer_op<>>();
      if (normed == nullptr || normed->relu) continue;
      normed->relu = true;
      adze::detail::redirect(g, s.outputs[0], s.inputs[0]);
      continue;
    }
    const auto* train = s.op.template as<batch_norm_op<>>();
    const auto* eval = s.op.template as<batch_norm_eval_op<>>();
    if ((train == nullptr && eval == nullptr) || s.inputs[3] == no_value) continue;
    graph_step* layer = adze::detail::sole_producer(g, s.inputs[0], by, uses);
    if (layer == nullptr ||
        !g.constant(layer->inputs.size() > 1 ? layer->inputs[1] : no_value).defined()) {
      continue;
    }
    normed_layer_op<> op;
    op.norm = {train != nullptr ? train->eps : eval->eps, train != nullptr ? train->momentum : 0.1,
               train == nullptr};
    if (const auto* conv = layer->op.template as<conv2d_op<>>()) {
      op.convolution = true, op.o = conv->o;
    } else if (layer->op.template as<linear_op<>>() == nullptr) {
      continue;
    }
    const tensor w = g.constant(layer->inputs[1]);
    const index_t rank = g.at(s.inputs[0]).sizes.rank();
    if (adze::detail::folding_channels(*layer, w, rank).channels == 0) continue;
    const std::vector<value_id> norm(s.inputs.begin() + 1, s.inputs.end());
    s.inputs = layer->inputs;
    s.inputs.insert(s.inputs.end(), norm.begin(), norm.end());
    s.op = erased_op::of(op);
  }
  adze::detail::sweep(g);
  return g;
}

}  // namespace adze::quant::detail::inline ADZE_ISA
