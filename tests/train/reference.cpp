// SPDX-License-Identifier: MIT
// Training in double agrees with an independent trainer: the same first weights and batches, 50
// steps of an MLP and of LeNet-5, the loss of each step within 1e-9 relative.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <adze/autograd/backward.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/state_dict.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/cross_entropy.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/pool.hpp>
#include <adze/optim/sgd.hpp>
#include <adze/tensor/typed.hpp>

#include "reference.hpp"

namespace adze {
namespace {

using plain::array;

struct mlp {
  nn::linear fc1{{.in = 64, .out = 32, .type = f64}}, fc2{{.in = 32, .out = 20, .type = f64}},
      fc3{{.in = 20, .out = 10, .type = f64}};
  tensor operator()(const tensor& x) const { return fc3(relu(fc2(relu(fc1(x))))); }
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2), f("fc3", fc3); }
};

struct lenet {
  nn::conv2d conv1{{.in = 1, .out = 6, .kernel = 5, .type = f64}},
      conv2{{.in = 6, .out = 16, .kernel = 5, .type = f64}};
  nn::linear fc1{{.in = 256, .out = 120, .type = f64}}, fc2{{.in = 120, .out = 84, .type = f64}},
      fc3{{.in = 84, .out = 10, .type = f64}};
  tensor operator()(const tensor& x) const {
    const tensor h = max_pool2d(relu(conv2(max_pool2d(relu(conv1(x))))));
    return fc3(relu(fc2(relu(fc1(flatten(h, 1))))));
  }
  void visit(auto&& f) {
    f("conv1", conv1), f("conv2", conv2), f("fc1", fc1), f("fc2", fc2), f("fc3", fc3);
  }
};

plain::network plain_mlp() {
  plain::network n;
  n.add(plain::dense(64, 32));
  n.add(plain::relu());
  n.add(plain::dense(32, 20));
  n.add(plain::relu());
  n.add(plain::dense(20, 10));
  return n;
}

plain::network plain_lenet() {
  plain::network n;
  n.add(plain::conv(1, 6, 5, 28));
  n.add(plain::relu());
  n.add(plain::max_pool(6, 24));
  n.add(plain::conv(6, 16, 5, 12));
  n.add(plain::relu());
  n.add(plain::max_pool(16, 8));
  n.add(plain::dense(256, 120));
  n.add(plain::relu());
  n.add(plain::dense(120, 84));
  n.add(plain::relu());
  n.add(plain::dense(84, 10));
  return n;
}

// Uniform on [-1, 1), from a generator of the test's own.
struct noise {
  std::uint64_t state = 12345;
  double operator()() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(state >> 11) * 0x1p-52 - 1.0;
  }
};

// Both get the same weights, uniform within 1 / sqrt(inputs of a unit).
template <class Model> void same_start(Model& model, plain::network& reference) {
  noise next;
  named_tensors given = state_dict(model);
  std::size_t at = 0;
  for (auto& layer : reference.layers) {
    for (plain::parameter& p : layer->parameters) {
      const std::size_t units = layer->parameters[1].value.size();
      const double inputs = static_cast<double>(layer->parameters[0].value.size() / units);
      for (double& v : p.value) v = next() / std::sqrt(inputs);
      tensor& x = given.at(at++).second;
      REQUIRE(x.numel() == static_cast<index_t>(p.value.size()));
      x = tensor_f64(p.value, x.shape()).untyped();
    }
  }
  REQUIRE(at == given.size());
  load_state_dict(model, given);
}

struct batch {
  array x;
  std::vector<std::size_t> labels;
};
// Ten patterns in noise: something to learn.
batch next_batch(noise& next, std::size_t size, std::size_t features) {
  batch b;
  for (std::size_t n = 0; n < size; ++n) {
    b.labels.push_back(static_cast<std::size_t>((next() + 1.0) * 5.0));
    for (std::size_t i = 0; i < features; ++i) {
      b.x.push_back(std::sin(static_cast<double>((b.labels.back() + 1) * (i + 3)) * 0.37) +
                    0.5 * next());
    }
  }
  return b;
}

template <class Model>
void check_agreement(Model& model, plain::network reference, const shape& example,
                     std::size_t batch_size) {
  const plain::sgd o{.lr = 0.04, .momentum = 0.9, .weight_decay = 5e-4};
  same_start(model, reference);
  optim::sgd opt(parameters(model),
                 {.lr = o.lr, .momentum = o.momentum, .weight_decay = o.weight_decay});
  noise next{.state = 99};
  double first = 0.0, lowest = 1e9;
  for (int t = 0; t < 50; ++t) {
    const batch b = next_batch(next, batch_size, static_cast<std::size_t>(example.numel()));
    const auto n = static_cast<index_t>(batch_size);
    const tensor x = tensor_f64(b.x, example.inserted(0, n)).untyped();
    const std::vector<std::int64_t> labels(b.labels.begin(), b.labels.end());
    opt.zero_grad();
    const tensor loss = cross_entropy(model(x), tensor_i64(labels, {n}).untyped());
    backward(loss);
    opt.step();
    const double expected = reference.train(b.x, b.labels, o);
    CAPTURE(t);
    CHECK(std::abs(loss.item() - expected) <= 1e-9 * expected);
    if (t == 0) first = expected;
    lowest = std::min(lowest, expected);
  }
  CHECK(lowest < 0.5 * first);  // there was something to follow
}

TEST_CASE("train: 50 steps of an MLP follow an independent trainer") {
  mlp model;
  check_agreement(model, plain_mlp(), {64}, 16);
}

TEST_CASE("train: 50 steps of LeNet-5 follow an independent trainer") {
  lenet model;
  check_agreement(model, plain_lenet(), {1, 28, 28}, 8);
}

}  // namespace
}  // namespace adze
