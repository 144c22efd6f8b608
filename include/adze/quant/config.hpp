#pragma once
// SPDX-License-Identifier: MIT
// What prepare does with a layer, as plain data: how activations and weights are observed and held,
// and which layers are treated otherwise.
#include <functional>

#include <adze/quant/observer.hpp>

namespace adze::quant {

struct layer_config {
  observer_options activation{.kind = statistic::histogram, .format = activation_format()};
  observer_options weight{.kind = statistic::min_max, .format = weight_format()};
  bool quantize = true;  // false: the layer stays in floats
};

// What a rule sees of a layer: the name of its weight ("conv1.weight"; empty where there is none),
// the op, the weight's shape.
struct layer_description {
  std::string_view name{}, op{};
  shape weight{};
};

struct layer_rule {
  std::function<bool(const layer_description&)> applies{};
  layer_config use{};
};

struct config {
  layer_config all{};
  std::vector<layer_rule> rules{};  // the first that applies wins

  const layer_config& of(const layer_description& layer) const {
    for (const layer_rule& r : rules) {
      if (r.applies && r.applies(layer)) return r.use;
    }
    return all;
  }
  // The same config with the layers in floats for which `applies` is true.
  config keeping(std::function<bool(const layer_description&)> applies) const {
    config c = *this;
    c.rules.insert(c.rules.begin(), {std::move(applies), {.quantize = false}});
    return c;
  }
  // For training: activations by moving averages of their extremes, weights as they are now.
  config for_training() const {
    config c = *this;
    const auto change = [](layer_config& l) {
      if (l.activation.kind != statistic::fixed) l.activation.kind = statistic::moving_average;
      if (l.weight.kind == statistic::learned) return;
      l.weight.kind = statistic::moving_average, l.weight.rate = 1;
    };
    change(c.all);
    for (layer_rule& r : c.rules) change(r.use);
    return c;
  }
};

// fbgemm's: activations in seven bits, so that products of bytes never saturate in pairs; weights
// by output. The fastest one on CPUs without an instruction for such products.
inline config x86() {
  return {
      .all = {.activation = {.kind = statistic::histogram, .format = reduced_activation_format()}}};
}
// Eight bits for activations and weights by output, on kernels that are exact for all of them.
inline config full8() { return {}; }
// qnnpack's: eight bits, one scale for each weight.
inline config qnnpack() {
  return {
      .all = {.weight = {.kind = statistic::min_max, .format = weight_format(8, per_tensor())}}};
}
// Weights of few bits with learned steps (LSQ), activations in eight: for prepare_qat.
inline config learned_weights(int bits) {
  return {.all = {.weight = {.kind = statistic::learned, .format = weight_format(bits)}}};
}
// Weights in four bits by output, activations in eight.
inline config w4a8() {
  return {.all = {.weight = {.kind = statistic::min_max, .format = weight_format(4)}}};
}

}  // namespace adze::quant
