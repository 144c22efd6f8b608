#pragma once
// SPDX-License-Identifier: MIT
// Layers of libtorch as the networks of models.hpp use them: executors run them eagerly in floats,
// watch their ranges, or run them in int8.
#include <cmath>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

namespace adze_torch {

using at::Tensor;

enum class act { none, relu, relu6 };

// Named tensors of a network; each must be taken.
class weight_map {
 public:
  void add(const std::string& name, Tensor x) { all_[name] = std::move(x); }
  Tensor take(const std::string& name) {
    const Tensor x = find(name);
    if (!x.defined()) throw std::runtime_error("no weight " + name);
    return x;
  }
  // Undefined where there is none.
  Tensor find(const std::string& name) {
    const auto at = all_.find(name);
    if (at == all_.end()) return {};
    taken_[name] = true;
    return at->second;
  }
  void check_all_taken() const {
    for (const auto& [name, x] : all_)
      if (taken_.count(name) == 0) throw std::runtime_error("unknown weight " + name);
  }
  const std::map<std::string, Tensor>& all() const { return all_; }

 private:
  std::map<std::string, Tensor> all_;
  std::map<std::string, bool> taken_;
};

// A convolution or a linear layer, with the batch norm after it where there is one.
struct layer {
  Tensor weight, bias;
  Tensor gamma, beta, mean, variance;
  std::int64_t stride = 1, padding = 0, groups = 1;
};

inline layer plain_layer(weight_map& w, const std::string& name, std::int64_t padding = 0) {
  return {.weight = w.take(name + ".weight"), .bias = w.find(name + ".bias"), .padding = padding};
}
inline layer conv_norm(weight_map& w, const std::string& name, std::int64_t stride = 1,
                       std::int64_t groups = 1) {
  layer made{.weight = w.take(name + ".conv.weight"),
             .gamma = w.take(name + ".norm.weight"),
             .beta = w.take(name + ".norm.bias"),
             .mean = w.take(name + ".norm.running_mean"),
             .variance = w.take(name + ".norm.running_var"),
             .stride = stride,
             .groups = groups};
  made.padding = made.weight.size(2) / 2;
  return made;
}

struct executor {
  bool training = false;
  virtual ~executor() = default;
  virtual Tensor conv(const layer& l, const Tensor& x, act a) = 0;
  virtual Tensor linear(const layer& l, const Tensor& x, act a) = 0;
  virtual Tensor add_relu(const Tensor& x, const Tensor& y) = 0;
};

inline Tensor activate(Tensor x, act a) {
  return a == act::none ? x : a == act::relu ? at::relu_(x) : at::relu6_(x);
}

struct eager : executor {
  Tensor conv(const layer& l, const Tensor& x, act a) override {
    Tensor y = at::conv2d(x, l.weight, l.bias, l.stride, l.padding, 1, l.groups);
    if (l.gamma.defined())
      y = at::batch_norm(y, l.gamma, l.beta, l.mean, l.variance, training, 0.1, 1e-5, false);
    return activate(y, a);
  }
  Tensor linear(const layer& l, const Tensor& x, act a) override {
    return activate(at::linear(x, l.weight, l.bias), a);
  }
  Tensor add_relu(const Tensor& x, const Tensor& y) override { return activate(x + y, act::relu); }
};

}  // namespace adze_torch
