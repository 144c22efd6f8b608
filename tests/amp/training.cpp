// SPDX-License-Identifier: MIT
// Whole trainings under autocast: the memory that a step takes, and results equal to those of f32.
#include <doctest/doctest.h>

#include <adze/amp/autocast.hpp>
#include <adze/amp/grad_scaler.hpp>
#include <adze/autograd/backward.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/linear.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/transformer.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/cross_entropy.hpp>
#include <adze/ops/pool.hpp>
#include <adze/ops/slice.hpp>
#include <adze/optim/sgd.hpp>
#include <adze/tensor/create.hpp>
#include <adze/tensor/typed.hpp>

namespace adze {
namespace {

// LeCun, Bottou, Bengio, Haffner 1998, with ReLU and max pooling.
struct lenet_5 {
  nn::conv2d conv1{{.in = 1, .out = 6, .kernel = 5, .padding = 2}};
  nn::conv2d conv2{{.in = 6, .out = 16, .kernel = 5}};
  nn::linear fc1{{.in = 400, .out = 120}};
  nn::linear fc2{{.in = 120, .out = 84}};
  nn::linear fc3{{.in = 84, .out = 10}};
  tensor operator()(const tensor& x) const {
    const tensor h = max_pool2d(relu(conv2(max_pool2d(relu(conv1(x))))));
    return fc3(relu(fc2(relu(fc1(flatten(h, 1))))));
  }
  void visit(auto&& f) {
    f("conv1", conv1), f("conv2", conv2), f("fc1", fc1), f("fc2", fc2), f("fc3", fc3);
  }
};

struct mlp {
  nn::linear fc1{{.in = 64, .out = 64}};
  nn::linear fc2{{.in = 64, .out = 10}};
  tensor operator()(const tensor& x) const { return fc2(relu(fc1(flatten(x, 1)))); }
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2); }
};

// Bytes that one training step has at most, beside parameters and states of the optimizer.
template <class Model>
double step_bytes(const Model& model, const tensor& x, const tensor& y, const amp::policy& p,
                  bool on) {
  optim::sgd opt(parameters(model), {.lr = 1e-3});
  index_t before = 0;
  for (int i = 0; i < 3; ++i) {
    opt.zero_grad();
    before = memory().live_bytes;
    reset_peak();
    tensor loss;
    {
      const amp::autocast guard(p, {.enabled = on});
      const tensor logits = model(x);
      loss = cross_entropy(reshape(logits, {-1, logits.size(-1)}), y);
    }
    backward(loss);
    opt.step();
  }
  return static_cast<double>(memory().peak_bytes - before);
}

struct outcome {
  double loss = 0.0, accuracy = 0.0;
  index_t skipped = 0;
  outcome& operator+=(const outcome& o) {
    loss += o.loss, accuracy += o.accuracy, skipped += o.skipped;
    return *this;
  }
};
struct recipe {
  index_t size, count;  // of the images
  int epochs;
  double noise;  // beside patterns of deviation 1
  double lr = 0.05;
  double smoothing = 0.0;  // of the labels: the loss ends at their entropy, not at 0
  std::uint64_t seed = 0;
};

// Images of ten classes: a pattern for each, and noise.
struct images {
  tensor x, y;
  images(index_t n, index_t size, double noise, std::uint64_t seed) {
    generator patterns(1), g(seed);
    const tensor centre = randn({10, 1, size, size}, f32, patterns);
    y = randint(0, 10, {n}, g);
    x = index_select(centre, 0, y) + randn({n, 1, size, size}, f32, g) * noise;
  }
};

// The mean loss of the last epoch, and the accuracy on images not seen.
template <class Model> outcome train(const recipe& r, const amp::policy& p, bool on) {
  manual_seed(r.seed);
  const Model model;
  const images train(r.count, r.size, r.noise, 100), test(1024, r.size, r.noise, 200);
  optim::sgd opt(parameters(model), {.lr = r.lr, .momentum = 0.9});
  amp::grad_scaler scaler({.enabled = on && p.low() == f16});
  double loss_sum = 0.0;
  for (int epoch = 0; epoch < r.epochs; ++epoch) {
    for (index_t at = 0; at < r.count; at += 64) {
      const tensor x = slice(train.x, 0, {at, at + 64}), y = slice(train.y, 0, {at, at + 64});
      tensor loss;
      {
        const amp::autocast guard(p, {.enabled = on});
        loss = cross_entropy(model(x), y, {.label_smoothing = r.smoothing});
      }
      opt.zero_grad();
      backward(scaler.scale(loss));
      scaler.step(opt);
      scaler.update();
      if (epoch == r.epochs - 1) loss_sum += loss.item() * 64 / static_cast<double>(r.count);
    }
  }
  const no_grad plain;
  const amp::autocast guard(p, {.enabled = on});
  const tensor right = argmax(model(test.x)) == test.y;
  return {loss_sum, 100.0 * static_cast<double>(sum(right).item<index_t>()) / 1024,
          scaler.statistics().skipped_steps};
}

template <class Model> void check_parity(const recipe& common) {
  outcome wide, low[2];
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    recipe r = common;
    r.seed = seed;
    wide += train<Model>(r, amp::bf16(), false);
    low[0] += train<Model>(r, amp::bf16(), true);
    low[1] += train<Model>(r, amp::fp16(), true);
  }
  INFO("f32: loss ", wide.loss / 3, ", accuracy ", wide.accuracy / 3);
  CHECK(wide.accuracy / 3 > 95.0);
  for (const outcome& o : low) {
    INFO("16 bits: loss ", o.loss / 3, ", accuracy ", o.accuracy / 3, ", skipped ", o.skipped);
    CHECK(o.loss == doctest::Approx(wide.loss).epsilon(0.01));
    CHECK(std::abs(o.accuracy - wide.accuracy) / 3 <= 0.3);
    CHECK(o.skipped <= 3);  // while the scale finds its place
  }
}

}  // namespace

TEST_CASE("amp: a training step of LeNet-5 takes at most 0.62 of the memory of f32") {
  manual_seed(1);
  const lenet_5 model;
  const tensor x = randn({128, 1, 28, 28}), y = randint(0, 10, {128});
  const double wide = step_bytes(model, x, y, amp::bf16(), false);
  for (const amp::policy& p : {amp::bf16(), amp::fp16()}) {
    const double share = step_bytes(model, x, y, p, true) / wide;
    INFO("LeNet-5, ", p.low(), ": ", share, " of ", wide / 1e6, " MB");
    CHECK(share <= 0.62);
  }
}

TEST_CASE("amp: a training step of a small GPT takes at most 0.62 of the memory of f32") {
  manual_seed(1);
  const nn::gpt model({.vocabulary = 65, .context = 256, .embed = 128, .heads = 4, .layers = 2});
  const tensor x = randint(0, 65, {8, 256}), y = randint(0, 65, {8 * 256});
  const double wide = step_bytes(model, x, y, amp::bf16(), false);
  for (const amp::policy& p : {amp::bf16(), amp::fp16()}) {
    const double share = step_bytes(model, x, y, p, true) / wide;
    INFO("GPT, ", p.low(), ": ", share, " of ", wide / 1e6, " MB");
    CHECK(share <= 0.62);
  }
}

TEST_CASE("amp: recurrent layers keep their activations in 16 bits for the backward pass") {
  const tensor x = randn({192, 16, 8});
  const auto kept = [&](const auto& layer, bool on) {
    const index_t before = memory().live_bytes;
    const amp::autocast guard(amp::bf16(), {.enabled = on, .cache = false});
    const tensor last = select(layer(x).output, 0, 191);
    CHECK(last.requires_grad());
    return static_cast<double>(memory().live_bytes - before);
  };
  const auto check = [&](const auto& layer) {
    const double share = kept(layer, true) / kept(layer, false);
    INFO(share, " of f32");
    CHECK(share <= 0.62);
  };
  check(nn::rnn({.in = 8, .hidden = 128}));
  check(nn::gru({.in = 8, .hidden = 128}));
  check(nn::lstm({.in = 8, .hidden = 128}));
}

TEST_CASE("amp: an MLP reaches the loss and the accuracy of f32") {
  check_parity<mlp>({.size = 8, .count = 1024, .epochs = 6, .noise = 1.5});
}

TEST_SUITE("slow") {
  TEST_CASE("amp: LeNet-5 reaches the loss and the accuracy of f32") {
    check_parity<lenet_5>(
        {.size = 28, .count = 4096, .epochs = 4, .noise = 1.0, .lr = 0.02, .smoothing = 0.1});
  }
}

}  // namespace adze
