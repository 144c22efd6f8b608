#pragma once
// SPDX-License-Identifier: MIT
// The networks that programs here time, with PyTorch's shapes.
#include <adze/nn/conv.hpp>
#include <adze/nn/norm.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/transformer.hpp>
#include <adze/ops/pool.hpp>
#include <adze/ops/reduce.hpp>

#include <optional>
#include <string>
#include <type_traits>
#include <vector>

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

// LeCun, Bottou, Bengio, Haffner 1998, with ReLU and max pooling.
struct lenet_1998 {
  nn::conv2d conv1{{.in = 1, .out = 6, .kernel = 5, .padding = 2}};
  nn::conv2d conv2{{.in = 6, .out = 16, .kernel = 5}};
  nn::linear fc1{{.in = 400, .out = 120}}, fc2{{.in = 120, .out = 84}}, fc3{{.in = 84, .out = 10}};
  tensor operator()(const tensor& x) const {
    const tensor h = max_pool2d(relu(conv2(max_pool2d(relu(conv1(x))))));
    return fc3(relu(fc2(relu(fc1(flatten(h, 1))))));
  }
  void visit(auto&& f) {
    f("conv1", conv1), f("conv2", conv2), f("fc1", fc1), f("fc2", fc2), f("fc3", fc3);
  }
};

// A convolution and what follows it: a batch norm, or one with an activation.
template <class Norm> struct conv_then {
  nn::conv2d conv;
  Norm norm;
  conv_then(index_t in, index_t out, index_t kernel, index_t stride = 1, index_t groups = 1)
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
using conv_norm = conv_then<nn::batch_norm2d>;
using conv_norm_relu = conv_then<nn::batch_norm_act2d>;
struct norm_relu6 : nn::batch_norm_act2d {
  explicit norm_relu6(const nn::batch_norm_layer_options& o)
      : batch_norm_act2d(o, norm_activation::relu6) {}
};
using conv_norm_relu6 = conv_then<norm_relu6>;

struct residual {
  conv_norm_relu a, b;
  std::optional<conv_norm> shortcut{};
  residual(index_t in, index_t out, index_t stride) : a(in, out, 3, stride), b(out, out, 3) {
    if (in != out) shortcut.emplace(in, out, 1, stride);
  }
  tensor operator()(const tensor& x) const {
    return b.norm(b.conv(a(x)), shortcut ? (*shortcut)(x) : x);
  }
  void visit(auto&& f) { f("a", a), f("b", b), f("shortcut", shortcut); }
};

// Of 32 x 32 images (He et al. 2016, section 4.2), with 1 x 1 shortcuts.
struct resnet_20 {
  conv_norm_relu first{3, 16, 3};
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
    tensor y = first(x);
    for (const residual& b : blocks) y = b(y);
    return head(mean(y, {2, 3}));
  }
  void visit(auto&& f) { f("first", first), f("blocks", blocks), f("head", head); }
};

// Depthwise separable blocks with ReLU6, as in MobileNet, of 32 x 32 images.
struct mobile_net {
  conv_norm_relu6 first{3, 32, 3}, deep1{32, 32, 3, 1, 32}, wide1{32, 64, 1},
      deep2{64, 64, 3, 2, 64}, wide2{64, 128, 1}, deep3{128, 128, 3, 2, 128}, wide3{128, 256, 1};
  nn::linear head{{.in = 256, .out = 10}};
  tensor operator()(const tensor& x) const {
    const tensor y = wide3(deep3(wide2(deep2(wide1(deep1(first(x)))))));
    return head(flatten(adaptive_avg_pool2d(y, {1, 1}), 1));
  }
  void visit(auto&& f) {
    f("first", first), f("deep1", deep1), f("wide1", wide1), f("deep2", deep2), f("wide2", wide2),
        f("deep3", deep3), f("wide3", wide3), f("head", head);
  }
};

// Four blocks of 128 with four heads, over 65 characters.
struct char_gpt {
  nn::gpt net{{.vocabulary = 65, .context = 128, .embed = 128, .heads = 4, .layers = 4}};
  tensor operator()(const tensor& tokens) const { return flatten(net(tokens), 0, 1); }
  void visit(auto&& f) { net.visit(f); }
};

// [t, b, 64] to a class of each sequence, by the last state of 128.
struct lstm {
  nn::lstm cells{{.in = 64, .hidden = 128}};
  nn::linear head{{.in = 128, .out = 10}};
  tensor operator()(const tensor& x) const { return head(select(cells(x).output, 0, -1)); }
  void visit(auto&& f) { f("cells", cells), f("head", head); }
};

// run(std::type_identity<Model>{}, input) for the network of that name, with the sizes of one
// input; false where there is none.
template <class F> bool with_network(const std::string& name, F run) {
  const auto call = [&]<class Model>(std::type_identity<Model> type, const shape& one) {
    run(type, one);
    return true;
  };
  if (name == "mlp") return call(std::type_identity<mlp>{}, {1, 784});
  if (name == "lenet_5") return call(std::type_identity<lenet_5>{}, {1, 1, 28, 28});
  if (name == "lenet_1998") return call(std::type_identity<lenet_1998>{}, {1, 1, 28, 28});
  if (name == "resnet_20") return call(std::type_identity<resnet_20>{}, {1, 3, 32, 32});
  if (name == "mobile_net") return call(std::type_identity<mobile_net>{}, {1, 3, 32, 32});
  return false;
}

}  // namespace adze::models
