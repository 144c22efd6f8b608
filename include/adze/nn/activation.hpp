#pragma once
// SPDX-License-Identifier: MIT
// Activations, identity and flatten as layers, for nn::sequential: nn::relu{}, nn::gelu{},
// nn::leaky_relu{.negative_slope = 0.2}. Only prelu has a parameter.
#include <adze/nn/linear.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/softmax.hpp>

namespace adze::nn::inline ADZE_ISA {

struct identity {
  tensor operator()(const tensor& x) const { return x; }
};
// All axes but the batch as one.
struct flatten {
  static constexpr bool stateless = true;
  index_t first = 1, last = -1;
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::flatten(x, first, last);
  }
};

struct relu {
  template <class = void> tensor operator()(const tensor& x) const { return adze::relu(x); }
};
struct relu6 {
  template <class = void> tensor operator()(const tensor& x) const { return adze::relu6(x); }
};
struct leaky_relu {
  static constexpr bool stateless = true;
  double negative_slope = 0.01;
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::leaky_relu(x, negative_slope);
  }
};
struct elu {
  static constexpr bool stateless = true;
  double alpha = 1.0;
  template <class = void> tensor operator()(const tensor& x) const { return adze::elu(x, alpha); }
};
struct selu {
  template <class = void> tensor operator()(const tensor& x) const { return adze::selu(x); }
};
struct celu {
  static constexpr bool stateless = true;
  double alpha = 1.0;
  template <class = void> tensor operator()(const tensor& x) const { return adze::celu(x, alpha); }
};
struct gelu {
  static constexpr bool stateless = true;
  gelu_form form = gelu_form::erf;
  template <class = void> tensor operator()(const tensor& x) const { return adze::gelu(x, form); }
};
struct silu {
  template <class = void> tensor operator()(const tensor& x) const { return adze::silu(x); }
};
struct mish {
  template <class = void> tensor operator()(const tensor& x) const { return adze::mish(x); }
};
struct softplus {
  static constexpr bool stateless = true;
  double beta = 1.0, threshold = 20.0;
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::softplus(x, beta, threshold);
  }
};
struct softsign {
  template <class = void> tensor operator()(const tensor& x) const { return adze::softsign(x); }
};
struct sigmoid {
  template <class = void> tensor operator()(const tensor& x) const { return adze::sigmoid(x); }
};
struct log_sigmoid {
  template <class = void> tensor operator()(const tensor& x) const { return adze::log_sigmoid(x); }
};
struct tanh {
  template <class = void> tensor operator()(const tensor& x) const { return adze::tanh(x); }
};
struct hardtanh {
  static constexpr bool stateless = true;
  double low = -1.0, high = 1.0;
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::hardtanh(x, low, high);
  }
};
struct hardsigmoid {
  template <class = void> tensor operator()(const tensor& x) const { return adze::hardsigmoid(x); }
};
struct hardswish {
  template <class = void> tensor operator()(const tensor& x) const { return adze::hardswish(x); }
};
struct softmax {
  static constexpr bool stateless = true;
  index_t axis = -1;
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::softmax(x, axis);
  }
};
struct log_softmax {
  static constexpr bool stateless = true;
  index_t axis = -1;
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::log_softmax(x, axis);
  }
};

struct prelu_options {
  index_t channels = 1;  // 1: one slope for all
  double start = 0.25;
  dtype type = f32;
};
// A leaky_relu whose slopes are learned; weight [channels].
struct prelu {
  tensor weight{};

  explicit prelu(const prelu_options& o = {}) {
    detail::check_layer_size("nn::prelu", "channels", o.channels);
    weight = full({o.channels}, o.start, o.type).set_requires_grad();
  }
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::prelu(x, weight);
  }
  void visit(auto&& f) { f("weight", weight); }
};

}  // namespace adze::nn::inline ADZE_ISA
