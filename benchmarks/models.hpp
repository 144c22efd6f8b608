#pragma once
// SPDX-License-Identifier: MIT
// The networks that programs here time, with PyTorch's shapes.
#include <adze/nn/conv.hpp>
#include <adze/nn/norm.hpp>
#include <adze/ops/pool.hpp>
#include <adze/ops/reduce.hpp>

namespace adze::models {

struct mlp {  // 784-512-512-10
  nn::linear fc1{{.in = 784, .out = 512}}, fc2{{.in = 512, .out = 512}},
      fc3{{.in = 512, .out = 10}};
  tensor operator()(const tensor& x) const { return fc3(relu(fc2(relu(fc1(flatten(x, 1)))))); }
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2), f("fc3", fc3); }
};

// The variant of LeNet-5 that compression papers use: 20 and 50 channels, 500 units.
struct lenet_5 {
  nn::conv2d conv1{{.in = 1, .out = 20, .kernel = 5}}, conv2{{.in = 20, .out = 50, .kernel = 5}};
  nn::linear fc1{{.in = 800, .out = 500}}, fc2{{.in = 500, .out = 10}};
  tensor operator()(const tensor& x) const {
    const tensor h = max_pool2d(relu(conv2(max_pool2d(relu(conv1(x))))));
    return fc2(relu(fc1(flatten(h, 1))));
  }
  void visit(auto&& f) { f("conv1", conv1), f("conv2", conv2), f("fc1", fc1), f("fc2", fc2); }
};

struct conv_norm {
  nn::conv2d conv;
  nn::batch_norm2d norm;
  conv_norm(index_t in, index_t out, index_t kernel, index_t stride = 1, index_t groups = 1)
      : conv({.in = in,
              .out = out,
              .kernel = kernel,
              .stride = stride,
              .padding = kernel / 2,
              .groups = groups,
              .bias = false}),
        norm({.channels = out}) {}
  tensor operator()(const tensor& x) const { return norm(conv(x)); }
  void visit(auto&& f) { f("conv", conv), f("norm", norm); }
};

struct residual {
  conv_norm a, b;
  std::optional<conv_norm> shortcut{};
  residual(index_t in, index_t out, index_t stride) : a(in, out, 3, stride), b(out, out, 3) {
    if (in != out) shortcut.emplace(in, out, 1, stride);
  }
  tensor operator()(const tensor& x) const {
    return relu(b(relu(a(x))) + (shortcut ? (*shortcut)(x) : x));
  }
  void visit(auto&& f) { f("a", a), f("b", b), f("shortcut", shortcut); }
};

// Of 32 x 32 images (He et al. 2016, section 4.2), with 1 x 1 shortcuts.
struct resnet_20 {
  conv_norm first{3, 16, 3};
  std::vector<residual> blocks{};
  nn::linear head{{.in = 64, .out = 10}};
  resnet_20() {
    index_t in = 16;
    for (const index_t out : {16, 16, 16, 32, 32, 32, 64, 64, 64}) {
      blocks.emplace_back(in, out, in == out ? 1 : 2);
      in = out;
    }
  }
  tensor operator()(const tensor& x) const {
    tensor y = relu(first(x));
    for (const residual& b : blocks) y = b(y);
    return head(mean(y, {2, 3}));
  }
  void visit(auto&& f) { f("first", first), f("blocks", blocks), f("head", head); }
};

// Depthwise separable blocks with ReLU6, as in MobileNet, of 32 x 32 images.
struct mobile_net {
  conv_norm first{3, 32, 3}, deep1{32, 32, 3, 1, 32}, wide1{32, 64, 1}, deep2{64, 64, 3, 2, 64},
      wide2{64, 128, 1}, deep3{128, 128, 3, 2, 128}, wide3{128, 256, 1};
  nn::linear head{{.in = 256, .out = 10}};
  tensor operator()(const tensor& x) const {
    tensor y = relu6(first(x));
    y = relu6(wide1(relu6(deep1(y))));
    y = relu6(wide2(relu6(deep2(y))));
    y = relu6(wide3(relu6(deep3(y))));
    return head(flatten(adaptive_avg_pool2d(y, {1, 1}), 1));
  }
  void visit(auto&& f) {
    f("first", first), f("deep1", deep1), f("wide1", wide1), f("deep2", deep2), f("wide2", wide2),
        f("deep3", deep3), f("wide3", wide3), f("head", head);
  }
};

}  // namespace adze::models
