#pragma once
// SPDX-License-Identifier: MIT
// The networks of benchmarks/models.hpp, with the same names of weights, for libtorch.
#include <memory>

#include "layers.hpp"

namespace adze_torch {

struct network {
  virtual ~network() = default;
  virtual Tensor run(executor& e, const Tensor& x) = 0;
};

inline Tensor pool(const Tensor& x) { return at::max_pool2d(x, {2, 2}, {2, 2}, {0, 0}, {1, 1}); }
inline Tensor spatial_mean(const Tensor& x) {
  return at::adaptive_avg_pool2d(x, {1, 1}).flatten(1);
}

struct mlp : network {
  layer fc1, fc2, fc3;
  explicit mlp(weight_map& w)
      : fc1(plain_layer(w, "fc1")), fc2(plain_layer(w, "fc2")), fc3(plain_layer(w, "fc3")) {}
  Tensor run(executor& e, const Tensor& x) override {
    const Tensor h = e.linear(fc1, x.flatten(1), act::relu);
    return e.linear(fc3, e.linear(fc2, h, act::relu), act::none);
  }
};

struct lenet_5 : network {
  layer conv1, conv2, fc1, fc2;
  explicit lenet_5(weight_map& w)
      : conv1(plain_layer(w, "conv1")), conv2(plain_layer(w, "conv2")), fc1(plain_layer(w, "fc1")),
        fc2(plain_layer(w, "fc2")) {}
  Tensor run(executor& e, const Tensor& x) override {
    const Tensor h = pool(e.conv(conv2, pool(e.conv(conv1, x, act::relu)), act::relu));
    return e.linear(fc2, e.linear(fc1, h.contiguous().flatten(1), act::relu), act::none);
  }
};

struct lenet_1998 : network {
  layer conv1, conv2, fc1, fc2, fc3;
  explicit lenet_1998(weight_map& w)
      : conv1(plain_layer(w, "conv1", 2)), conv2(plain_layer(w, "conv2")),
        fc1(plain_layer(w, "fc1")), fc2(plain_layer(w, "fc2")), fc3(plain_layer(w, "fc3")) {}
  Tensor run(executor& e, const Tensor& x) override {
    const Tensor h = pool(e.conv(conv2, pool(e.conv(conv1, x, act::relu)), act::relu));
    const Tensor y = e.linear(fc1, h.contiguous().flatten(1), act::relu);
    return e.linear(fc3, e.linear(fc2, y, act::relu), act::none);
  }
};

struct resnet_20 : network {
  struct block {
    layer a, b, shortcut;
  };
  layer first, head;
  std::vector<block> blocks;
  explicit resnet_20(weight_map& w) : first(conv_norm(w, "first")), head(plain_layer(w, "head")) {
    std::int64_t in = 16, i = 0;
    for (const std::int64_t out : {16, 16, 16, 32, 32, 32, 64, 64, 64}) {
      const std::string name = "blocks." + std::to_string(i++);
      const std::int64_t stride = in == out ? 1 : 2;
      block b{conv_norm(w, name + ".a", stride), conv_norm(w, name + ".b"), {}};
      if (in != out) b.shortcut = conv_norm(w, name + ".shortcut", stride);
      blocks.push_back(b);
      in = out;
    }
  }
  Tensor run(executor& e, const Tensor& x) override {
    Tensor y = e.conv(first, x, act::relu);
    for (const block& b : blocks) {
      const Tensor z = e.conv(b.b, e.conv(b.a, y, act::relu), act::none);
      y = e.add_relu(z, b.shortcut.weight.defined() ? e.conv(b.shortcut, y, act::none) : y);
    }
    return e.linear(head, spatial_mean(y), act::none);
  }
};

struct mobile_net : network {
  std::vector<layer> convs;
  layer head;
  explicit mobile_net(weight_map& w) : head(plain_layer(w, "head")) {
    convs.push_back(conv_norm(w, "first"));
    convs.push_back(conv_norm(w, "deep1", 1, 32));
    convs.push_back(conv_norm(w, "wide1"));
    convs.push_back(conv_norm(w, "deep2", 2, 64));
    convs.push_back(conv_norm(w, "wide2"));
    convs.push_back(conv_norm(w, "deep3", 2, 128));
    convs.push_back(conv_norm(w, "wide3"));
  }
  Tensor run(executor& e, const Tensor& x) override {
    Tensor y = x;
    for (const layer& c : convs) y = e.conv(c, y, act::relu6);
    return e.linear(head, spatial_mean(y), act::none);
  }
};

// Products of heads written out, for the fused attention of later versions is not there yet.
struct char_gpt : network {
  struct block {
    layer in, out, linear1, linear2;
    Tensor weight1, bias1, weight2, bias2;
  };
  Tensor token, position, weight, bias, head, mask;
  std::vector<block> blocks;
  std::int64_t heads = 4;
  explicit char_gpt(weight_map& w)
      : token(w.take("token.weight")), position(w.take("position.weight")),
        weight(w.take("norm.weight")), bias(w.take("norm.bias")), head(w.take("head")) {
    for (std::int64_t i = 0; i < 4; ++i) {
      const std::string at = "blocks." + std::to_string(i) + ".";
      block b;
      b.in = {.weight = w.take(at + "self_attn.in_proj_weight"),
              .bias = w.take(at + "self_attn.in_proj_bias")};
      b.out = plain_layer(w, at + "self_attn.out_proj");
      b.linear1 = plain_layer(w, at + "linear1");
      b.linear2 = plain_layer(w, at + "linear2");
      b.weight1 = w.take(at + "norm1.weight"), b.bias1 = w.take(at + "norm1.bias");
      b.weight2 = w.take(at + "norm2.weight"), b.bias2 = w.take(at + "norm2.bias");
      blocks.push_back(b);
    }
    const std::int64_t t = position.size(0);
    mask = at::ones({t, t}, at::kBool).tril().logical_not();
  }
  Tensor attend(executor& e, const block& b, const Tensor& x) const {
    const std::int64_t n = x.size(0), t = x.size(1), c = x.size(2);
    const auto parts = e.linear(b.in, x, act::none).split(c, 2);
    const auto by_head = [&](const Tensor& p) {
      return p.view({n, t, heads, c / heads}).transpose(1, 2);
    };
    const Tensor q = by_head(parts[0]), k = by_head(parts[1]), v = by_head(parts[2]);
    Tensor scores = at::matmul(q, k.transpose(2, 3)) / std::sqrt(double(c / heads));
    scores.masked_fill_(mask.narrow(0, 0, t).narrow(1, 0, t), -INFINITY);
    const Tensor y = at::matmul(at::softmax(scores, -1), v);
    return e.linear(b.out, y.transpose(1, 2).contiguous().view({n, t, c}), act::none);
  }
  Tensor run(executor& e, const Tensor& x) override {
    const std::int64_t t = x.size(1), c = token.size(1);
    Tensor y = at::embedding(token, x) + position.narrow(0, 0, t);
    for (const block& b : blocks) {
      y = y + attend(e, b, at::layer_norm(y, {c}, b.weight1, b.bias1));
      const Tensor z = at::layer_norm(y, {c}, b.weight2, b.bias2);
      y = y + e.linear(b.linear2, at::gelu(e.linear(b.linear1, z, act::none)), act::none);
    }
    return at::linear(at::layer_norm(y, {c}, weight, bias), head).flatten(0, 1);
  }
};

struct lstm_classifier : network {
  std::vector<Tensor> cells;
  layer head;
  explicit lstm_classifier(weight_map& w) : head(plain_layer(w, "head")) {
    for (const char* name : {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"})
      cells.push_back(w.take(std::string("cells.") + name));
  }
  Tensor run(executor& e, const Tensor& x) override {
    const Tensor zero = at::zeros({1, x.size(1), cells[1].size(1)});
    const auto [y, h, c] = at::lstm(x, {zero, zero}, cells, true, 1, 0.0, e.training, false, false);
    return e.linear(head, y.select(0, -1), act::none);
  }
};

inline std::unique_ptr<network> make_network(const std::string& kind, weight_map& w) {
  if (kind == "mlp") return std::make_unique<mlp>(w);
  if (kind == "lenet_5") return std::make_unique<lenet_5>(w);
  if (kind == "lenet_1998") return std::make_unique<lenet_1998>(w);
  if (kind == "resnet_20") return std::make_unique<resnet_20>(w);
  if (kind == "mobile_net") return std::make_unique<mobile_net>(w);
  if (kind == "char_gpt") return std::make_unique<char_gpt>(w);
  if (kind == "lstm") return std::make_unique<lstm_classifier>(w);
  throw std::runtime_error("unknown network " + kind);
}

}  // namespace adze_torch
