// SPDX-License-Identifier: MIT
// Trainings of larger models under autocast end where those in f32 do: a residual network with
// batch norm, an LSTM and a GPT on made text.
#include <functional>

#include <doctest/doctest.h>

#include <adze/amp/autocast.hpp>
#include <adze/amp/grad_scaler.hpp>
#include <adze/autograd/backward.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/embedding.hpp>
#include <adze/nn/linear.hpp>
#include <adze/nn/norm.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/transformer.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/cross_entropy.hpp>
#include <adze/ops/pool.hpp>
#include <adze/optim/adam.hpp>
#include <adze/tensor/create.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::models_test {
namespace {

constexpr index_t letters = 16;

// conv - norm - relu - conv - norm, beside the input.
struct residual_block {
  nn::conv2d conv1, conv2;
  nn::batch_norm2d norm1, norm2;
  explicit residual_block(index_t c)
      : conv1({.in = c, .out = c, .kernel = 3, .padding = 1, .bias = false}),
        conv2({.in = c, .out = c, .kernel = 3, .padding = 1, .bias = false}),
        norm1({.channels = c}), norm2({.channels = c}) {}
  tensor operator()(const tensor& x) const { return relu(norm2(conv2(relu(norm1(conv1(x))))) + x); }
  void visit(auto&& f) {
    f("conv1", conv1), f("conv2", conv2), f("norm1", norm1), f("norm2", norm2);
  }
};

struct residual_network {
  nn::conv2d stem{{.in = 3, .out = 16, .kernel = 3, .padding = 1}};
  std::vector<residual_block> blocks{residual_block(16), residual_block(16), residual_block(16)};
  nn::linear head{{.in = 16, .out = 10}};
  tensor operator()(const tensor& x) const {
    tensor y = stem(x);
    for (const residual_block& b : blocks) y = b(y);
    return head(flatten(adaptive_avg_pool2d(y, {1, 1}), 1));
  }
  void visit(auto&& f) { f("stem", stem), f("blocks", blocks), f("head", head); }
};

struct recurrent_network {
  nn::embedding token{{.rows = letters, .width = 32}};
  nn::lstm cells{{.in = 32, .hidden = 64, .batch_first = true}};
  nn::linear head{{.in = 64, .out = letters}};
  tensor operator()(const tensor& x) const { return head(cells(token(x)).output); }
  void visit(auto&& f) { f("token", token), f("cells", cells), f("head", head); }
};

struct small_gpt : nn::gpt {
  small_gpt()
      : nn::gpt({.vocabulary = letters, .context = 32, .embed = 64, .heads = 4, .layers = 2}) {}
};

struct batch {
  tensor x, y;
};

// Letters that follow from the one before with a chance of 0.8.
batch made_text(generator& g) {
  tensor all = randint(0, letters, {16, 33}, g);
  const tensor free = rand({16, 33}, f32, g);
  for (index_t b = 0; b < 16; ++b) {
    std::int64_t* row = all.data_as<std::int64_t>() + b * 33;
    for (index_t t = 1; t < 33; ++t) {
      if (free.data_as<float>()[b * 33 + t] < 0.8f) row[t] = (5 * row[t - 1] + 3) % letters;
    }
  }
  return {slice(all, 1, {0, 32}), reshape(slice(all, 1, {1, 33}), {-1})};
}

// Noise with a stripe pattern of the class.
batch made_images(generator& g) {
  const tensor y = randint(0, 10, {32}, g);
  tensor x = randn({32, 3, 12, 12}, f32, g);
  for (index_t i = 0; i < x.numel(); ++i) {
    const index_t label = y.data_as<std::int64_t>()[i / 432], column = i % 12, row = i / 12 % 12;
    const double wave = std::sin(0.3 * static_cast<double>((label + 1) * (column + row)));
    x.data_as<float>()[i] += static_cast<float>(wave);
  }
  return {x, y};
}

struct outcome {
  double loss = 0.0, accuracy = 0.0;
  index_t skipped = 0;
};

template <class Model>
outcome train(batch (*draw)(generator&), int steps, std::uint64_t seed, const amp::policy& p,
              bool on) {
  manual_seed(seed);
  const Model model;
  optim::adam opt(parameters(model), {.lr = 2e-3});
  amp::grad_scaler scaler({.enabled = on && p.low() == f16});
  generator g(100 + seed);
  outcome r;
  constexpr int last = 40;
  for (int i = 0; i < steps; ++i) {
    const batch b = draw(g);
    tensor loss, logits;
    {
      const amp::autocast guard(p, {.enabled = on});
      logits = model(b.x);
      logits = reshape(logits, {-1, logits.size(-1)});
      loss = cross_entropy(logits, b.y, {.label_smoothing = 0.1});
    }
    opt.zero_grad();
    backward(scaler.scale(loss));
    scaler.step(opt);
    scaler.update();
    if (i < steps - last) continue;
    r.loss += loss.item() / last;
    r.accuracy += 100.0 / last * mean(cast(argmax(detach(logits)) == b.y, f64)).item();
  }
  r.skipped = scaler.statistics().skipped_steps;
  return r;
}

template <class Model> void check_parity(batch (*draw)(generator&), int steps, double reached) {
  for (const amp::policy& p : {amp::bf16(), amp::fp16()}) {
    outcome low, wide;
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
      const outcome a = train<Model>(draw, steps, seed, p, true);
      const outcome b = train<Model>(draw, steps, seed, p, false);
      low.loss += a.loss / 3, wide.loss += b.loss / 3;
      low.accuracy += a.accuracy / 3, wide.accuracy += b.accuracy / 3;
      low.skipped += a.skipped;
    }
    CAPTURE(p.low());
    INFO("loss ", low.loss, " against ", wide.loss, ", accuracy ", low.accuracy, " against ",
         wide.accuracy, ", skipped ", low.skipped);
    CHECK(wide.accuracy > reached);
    CHECK(low.loss == doctest::Approx(wide.loss).epsilon(0.01));
    CHECK(std::abs(low.accuracy - wide.accuracy) <= 0.3);
    CHECK(low.skipped <= 6);  // while the scale finds its place
  }
}

}  // namespace

TEST_SUITE("slow") {
  TEST_CASE("amp: a residual network ends where it does in f32") {
    check_parity<residual_network>(made_images, 150, 90.0);
  }
  TEST_CASE("amp: an LSTM ends where it does in f32") {
    check_parity<recurrent_network>(made_text, 200, 70.0);
  }
  TEST_CASE("amp: a small GPT ends where it does in f32") {
    check_parity<small_gpt>(made_text, 200, 70.0);
  }
}

}  // namespace adze::models_test
