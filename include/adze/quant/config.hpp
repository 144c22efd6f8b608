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
  template <class = void>
  config keeping(std::function<bool(const layer_description&)> applies) const {
    config c = *this;
    c.rules.insert(c.rules.begin(), {std::move(applies), {.quantize = false}});
    return c;
  }
  // For training: activations by moving averages of their extremes, weights as they are now.
  template <class = void> config for_training() const {
    config c = *this;
    const auto change = [](layer_config& l) {
      if (l.activation.kind != statistic::fixed && !is_estimator(l.activation.kind)) {
        l.activation.kind = statistic::moving_average;
      }
      if (is_estimator(l.weight.kind)) return;
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
// For prepare_qat: weights of few bits with learned steps (LSQ), activations in eight.
inline config learned_weights(int bits) {
  return {.all = {.weight = {.kind = statistic::learned, .format = weight_format(bits)}}};
}
// For prepare_qat, weights and activations of `bits` by one method. Activations are those of ReLUs,
// which begin with the range 0 to `most`; others are observed as usual, in eight bits.
inline config estimated(statistic weight, statistic activation, int bits, float most) {
  const bool one = weight == statistic::power_of_two || weight == statistic::tanh_weights;
  return {.all = {.activation = {.kind = activation,
                                 .format = activation_format(bits),
                                 .range = {0.0f, most}},
                  .weight = {.kind = weight,
                             .format = weight_format(bits, one ? per_tensor() : per_axis(0))}}};
}
inline config with_lsq(int bits, float most = 8) {
  return estimated(statistic::learned, statistic::learned, bits, most);
}
inline config with_pact(int bits, float most = 8) {
  return estimated(statistic::min_max, statistic::clipped, bits, most);
}
inline config with_tqt(int bits, float most = 8) {
  return estimated(statistic::power_of_two, statistic::power_of_two, bits, most);
}
// DoReFa's activations are clipped at 1, once for all. At most seven bits: codes are odd numbers.
inline config with_dorefa(int bits) {
  return estimated(statistic::tanh_weights, statistic::unit, bits, 1);
}
// Weights in four bits by output, activations in eight.
inline config w4a8() {
  return {.all = {.weight = {.kind = statistic::min_max, .format = weight_format(4)}}};
}

}  // namespace adze::quant
