// SPDX-License-Identifier: MIT
// Whole training runs end in the same bits, whatever the number of threads and however often they
// are repeated: parameters, statistics and the last loss of an MLP, a CNN, an LSTM and a GPT.
#include <doctest/doctest.h>

#include <bit>
#include <vector>

#include <adze/adze.hpp>

namespace adze {
namespace {

struct tiny_mlp {
  nn::linear fc1{{.in = 40, .out = 300}}, fc2{{.in = 300, .out = 10}};
  nn::dropout drop{{.p = 0.3}};
  tensor operator()(const tensor& x) { return fc2(drop(relu(fc1(x)))); }
  void visit(auto&& f) { f("fc1", fc1), f("drop", drop), f("fc2", fc2); }
};

struct tiny_cnn {
  nn::conv2d conv1{{.in = 3, .out = 8, .kernel = 3, .padding = 1}};
  nn::batch_norm2d norm{{.channels = 8}};
  nn::conv2d depthwise{{.in = 8, .out = 8, .kernel = 3, .stride = 2, .padding = 1, .groups = 8}};
  nn::conv2d conv2{{.in = 8, .out = 16, .kernel = 3}};
  nn::linear fc{{.in = 16, .out = 10}};
  tensor operator()(const tensor& x) {
    tensor h = relu(norm(conv1(x)));
    h = max_pool2d(relu(conv2(depthwise(h))));
    return fc(flatten(adaptive_avg_pool2d(h, {1, 1}), 1));
  }
  void visit(auto&& f) {
    f("conv1", conv1), f("norm", norm), f("depthwise", depthwise), f("conv2", conv2), f("fc", fc);
  }
};

struct tiny_lstm {
  nn::embedding tokens{{.rows = 20, .width = 16}};
  nn::lstm lstm{{.in = 16, .hidden = 40, .layers = 2}};
  nn::linear head{{.in = 40, .out = 20}};
  tensor operator()(const tensor& x) { return head(lstm(tokens(x)).output); }
  void visit(auto&& f) { f("tokens", tokens), f("lstm", lstm), f("head", head); }
};

struct tiny_gpt : nn::gpt {
  tiny_gpt() : nn::gpt{{.vocabulary = 30, .context = 16, .embed = 32, .heads = 4, .layers = 2}} {}
};

std::uint64_t hash_of(const tensor& x, std::uint64_t h) {
  const tensor dense = contiguous(x);
  const auto* bytes = dense.data_as<unsigned char>();
  for (index_t i = 0; i < dense.numel() * size_of(dense.dtype()); ++i) {
    h = (h ^ bytes[i]) * 0x100000001b3;
  }
  return h;
}

// Ten steps of AdamW with clipping; a hash of the whole training state and of the loss.
template <class Model, class Batch> std::uint64_t trained(int thread_count, Batch batch) {
  const int before = threads();
  set_threads(thread_count);
  manual_seed(11);
  Model model;
  optim::adamw opt(parameters(model), {.lr = 1e-2});
  tensor loss;
  for (int step = 0; step < 10; ++step) {
    const auto [x, y] = batch(step);
    opt.zero_grad();
    const tensor logits = model(x);
    const index_t classes = logits.size(-1);
    loss = cross_entropy(reshape(logits, {-1, classes}), reshape(y, {-1}));
    backward(loss);
    optim::clip_grad_norm(parameters(model), 1.0);
    opt.step();
  }
  std::uint64_t h = hash_of(loss, 0xcbf29ce484222325);
  for (const auto& [name, value] : state_dict(model)) h = hash_of(value, h);
  set_threads(before);
  return h;
}

template <class Model, class Batch> void check_same_bits(Batch batch) {
  const std::uint64_t expected = trained<Model>(1, batch);
  for (const int n : {1, 2, 3, 4, 8}) {
    CAPTURE(n);
    CHECK(trained<Model>(n, batch) == expected);
  }
}

struct pair {
  tensor x, y;
};

TEST_CASE("determinism: MLP with dropout") {
  check_same_bits<tiny_mlp>([](int) { return pair{randn({256, 40}), randint(0, 10, {256})}; });
}

TEST_CASE("determinism: CNN with batch norm and depthwise convolution") {
  check_same_bits<tiny_cnn>([](int) { return pair{randn({16, 3, 20, 20}), randint(0, 10, {16})}; });
}

TEST_CASE("determinism: LSTM of two layers") {
  check_same_bits<tiny_lstm>([](int) {
    return pair{randint(0, 20, {12, 8}), randint(0, 20, {12, 8})};
  });
}

TEST_CASE("determinism: GPT of two blocks") {
  check_same_bits<tiny_gpt>([](int) {
    return pair{randint(0, 30, {6, 16}), randint(0, 30, {6, 16})};
  });
}

}  // namespace
}  // namespace adze
