#pragma once
// SPDX-License-Identifier: MIT
// Operations of libtorch on rows of floats, with outputs made beforehand wherever it takes them.
#include <functional>
#include <memory>

#include <torch/optim.h>

#include "layers.hpp"

namespace adze_torch {

struct row_op {
  Tensor x, y;
  std::function<void()> call;
};

inline std::unique_ptr<torch::optim::Optimizer> optimizer_for(const std::string& name,
                                                              const Tensor& p) {
  if (name == "adamw")
    return std::make_unique<torch::optim::AdamW>(
        std::vector<Tensor>{p}, torch::optim::AdamWOptions(1e-3).weight_decay(0.01));
  return std::make_unique<torch::optim::SGD>(std::vector<Tensor>{p},
                                             torch::optim::SGDOptions(1e-3).momentum(0.9));
}

// The inputs of all: x, and 0.5 x where there is a second.
inline std::unique_ptr<row_op> make_op(const std::string& name, Tensor x) {
  auto op = std::make_unique<row_op>();
  row_op* o = op.get();
  o->x = x, o->y = at::empty_like(x);
  const Tensor second = x * 0.5;
  if (name == "exp") o->call = [o] { at::exp_out(o->y, o->x); };
  if (name == "tanh") o->call = [o] { at::tanh_out(o->y, o->x); };
  if (name == "sigmoid") o->call = [o] { at::sigmoid_out(o->y, o->x); };
  if (name == "gelu_tanh") o->call = [o] { at::gelu_out(o->y, o->x, "tanh"); };
  if (name == "gelu") o->call = [o] { at::gelu_out(o->y, o->x, "none"); };
  if (name == "softmax") o->call = [o] { at::_softmax_out(o->y, o->x, 1, false); };
  if (name == "layer_norm")
    o->call = [o, w = at::full({x.size(1)}, 1.5), b = at::full({x.size(1)}, 0.25)] {
      o->y = at::layer_norm(o->x, {o->x.size(1)}, w, b);
    };
  if (name == "relu") o->call = [o] { at::clamp_min_out(o->y, o->x, 0); };
  if (name == "add") o->call = [o, second] { at::add_out(o->y, o->x, second); };
  if (name == "sum") {
    o->y = at::empty({});
    o->call = [o] { at::sum_out(o->y, o->x, at::IntArrayRef{}); };
  }
  if (name == "where")
    o->call = [o, c = x > 0, none = at::zeros({})] { o->y = at::where(c, o->x, none); };
  if (name == "sort") o->call = [o] { o->y = std::get<0>(at::sort(o->x, 1)); };
  if (name == "topk") o->call = [o] { o->y = std::get<0>(at::topk(o->x, o->x.size(1) / 8, 1)); };
  if (name == "adamw" || name == "sgd") {
    Tensor p = o->y = x.clone().set_requires_grad(true);
    p.mutable_grad() = second;
    o->call = [step = std::shared_ptr<torch::optim::Optimizer>(optimizer_for(name, p))] {
      step->step();
    };
  }
  if (!op->call) throw std::runtime_error("unknown operation " + name);
  return op;
}

}  // namespace adze_torch
