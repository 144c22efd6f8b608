#pragma once
// SPDX-License-Identifier: MIT
// The dense layer, and how weights of layers begin: nn::linear fc{{.in = 784, .out = 300}};
#include <adze/nn/init.hpp>
#include <adze/nn/module.hpp>
#include <adze/ops/linear.hpp>

namespace adze::nn {

struct linear_options {
  index_t in = 0, out = 0;
  bool bias = true;
  dtype type = f32;
};

}  // namespace adze::nn

namespace adze::detail::inline ADZE_ISA {

[[gnu::cold]] inline void check_layer_size(std::string_view layer, std::string_view what,
                                           index_t n) {
  if (n < 1) raise<value_error>(layer, ": ", what, " must be at least 1; got ", n);
}

// An uninitialised leaf that wants gradients.
[[gnu::cold]] inline tensor new_parameter(const shape& sizes, dtype type) {
  tensor x = empty(sizes, type);
  return x.set_requires_grad();
}

// PyTorch's default of linear and convolution layers: uniform within 1 / sqrt(fan in), the bias
// too.
template <class = void> [[gnu::cold]] void start_weight_and_bias(tensor& weight, tensor& bias) {
  nn::init::kaiming_uniform_(weight, {.negative_slope = std::sqrt(5.0)});
  if (!bias.defined()) return;
  const double bound = 1.0 / std::sqrt(static_cast<double>(nn::init::fans_of(weight).in));
  nn::init::uniform_(bias, -bound, bound);
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::nn::inline ADZE_ISA {

// y = x weight^T + bias over the last axis; weight [out, in], bias [out].
struct linear {
  linear_options options{};
  tensor weight{}, bias{};

  [[gnu::cold]] explicit linear(const linear_options& o) : options(o) {
    detail::check_layer_size("nn::linear", "in", o.in);
    detail::check_layer_size("nn::linear", "out", o.out);
    weight = detail::new_parameter({o.out, o.in}, o.type);
    if (o.bias) bias = detail::new_parameter({o.out}, o.type);
    detail::start_weight_and_bias(weight, bias);
  }
  linear(index_t, index_t, bool = true) = delete;  // write nn::linear{{.in = 784, .out = 128}}
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::linear(x, weight, bias);
  }
  void visit(auto&& f) {
    f("weight", weight);
    f("bias", bias);
  }
};

}  // namespace adze::nn::inline ADZE_ISA
