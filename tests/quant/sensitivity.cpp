// SPDX-License-Identifier: MIT
// Uneven channels, what layers lose alone, conversions under a bound, and the comparison of
// formats, on a small network that has learned digits; char models on made text.
#include <doctest/doctest.h>

#include <adze/data/loader.hpp>
#include <adze/data/synthetic.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/embedding.hpp>
#include <adze/nn/norm.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/ops/cross_entropy.hpp>
#include <adze/ops/sort.hpp>
#include <adze/optim/adam.hpp>
#include <adze/quant/compare.hpp>
#include <adze/quant/sensitivity.hpp>
#include <adze/quant/weight_only.hpp>

#include "../ops/checks.hpp"

namespace adze::quant {
namespace {

using namespace test;

// ReLU before the norm, so that the norm is not folded: channels may be as uneven as they like.
struct digit_net {
  nn::linear fc1{{.in = 784, .out = 48}};
  nn::batch_norm1d norm{{.channels = 48}};
  nn::linear fc2{{.in = 48, .out = 24}}, fc3{{.in = 24, .out = 10}};
  tensor operator()(const tensor& x) const {
    return fc3(relu(fc2(norm(relu(fc1(flatten(x, 1)))))));
  }
  void visit(auto&& f) { f("fc1", fc1), f("norm", norm), f("fc2", fc2), f("fc3", fc3); }
};

data::tensor_dataset test_digits() {
  return data::synthetic_digits({.count = 1000, .first = 4000});
}
double accuracy(const graph& g) {
  const no_grad guard;
  const auto [x, y] = test_digits().slice(0, 1000);
  return 100 * mean(cast(argmax(g(x)) == y, f64)).item();
}

// Trained, in evaluation.
digit_net trained_net() {
  manual_seed(5);
  digit_net model;
  const auto set = data::synthetic_digits({.count = 4000});
  optim::adam opt(adze::parameters(model), {.lr = 2e-3});
  for (index_t epoch = 0; epoch < 4; ++epoch) {
    for (auto& [x, y] :
         data::loader(set, {.batch_size = 50, .shuffle = true, .seed = 0}).epoch(epoch)) {
      opt.zero_grad();
      backward(cross_entropy(model(x), y));
      opt.step();
    }
  }
  eval(model);
  return model;
}
std::vector<tensor> calibration() {
  const auto set = data::synthetic_digits({.count = 256, .first = 5000});
  return {set.slice(0, 128).x, set.slice(128, 128).x};
}
graph traced(const digit_net& net) { return trace(net, test_digits().slice(0, 4).x); }

// The same function with every sixth row of fc1 scaled by 2000: ReLU passes factors on, the norm's
// statistics take them out again.
digit_net uneven(const digit_net& from) {
  digit_net net = clone(from);
  const no_grad guard;
  const auto factor = [](index_t i) { return i % 6 == 0 ? 2000.0f : 1.0f; };
  for (index_t i = 0; i < 48; ++i) {
    for (index_t k = 0; k < 784; ++k) net.fc1.weight.data_as<float>()[i * 784 + k] *= factor(i);
    net.fc1.bias.data_as<float>()[i] *= factor(i);
    net.norm.running_mean.data_as<float>()[i] *= factor(i);
    net.norm.running_var.data_as<float>()[i] *= factor(i) * factor(i);
  }
  return net;
}

TEST_CASE("uneven channels: one scale for all of them collapses, one for each repairs it") {
  const digit_net net = trained_net();
  const graph even = traced(net), g = traced(uneven(net));
  const double exact = accuracy(even);
  CHECK(exact > 85);
  CHECK(std::abs(accuracy(g) - exact) <= 0.3);
  const double per_tensor = accuracy(convert(calibrated(g, qnnpack(), calibration()))),
               per_channel = accuracy(convert(calibrated(g, full8(), calibration())));
  MESSAGE("f32 " << exact << ", per tensor " << per_tensor << ", per channel " << per_channel);
  CHECK(per_tensor < 60);
  CHECK(per_channel >= exact - 1.0);
}

TEST_CASE("sensitivity: the uneven layer is the worst; a bound keeps it, and only it, in floats") {
  const graph g = traced(uneven(trained_net()));
  const evaluation e{calibration(), accuracy};
  const sensitivity_report r = sensitivity(g, qnnpack(), e);
  REQUIRE(r.layers.size() == 3);
  CHECK(r.float_score == accuracy(g));
  CHECK(r.layers[0].name == "fc1.weight");
  CHECK(r.layers[0].op == "linear");
  CHECK(r.layers[0].score < 60);
  CHECK(r.layers[0].sqnr > 20);  // of its result, which the large channels rule
  for (std::size_t i : {1u, 2u}) {
    CHECK(r.layers[i].score > r.float_score - 1);
    CHECK(r.layers[i].sqnr > 30);
    CHECK(r.layers[i].sqnr < 60);
  }
  CHECK(to_table(r).text().find("fc1.weight") != std::string::npos);

  const bounded_conversion b = convert_within(g, qnnpack(), e, 1.0);
  CHECK(b.within);
  CHECK(b.floats == std::vector<std::string>{"fc1.weight"});
  CHECK(b.float_score - b.score <= 1.0);
  CHECK(accuracy(b.g) == b.score);
  index_t floats = 0, integers = 0;
  for (const graph_step& s : b.g.steps) {
    floats += s.op.name() == "linear", integers += s.op.name() == "integer_linear";
  }
  CHECK(floats == 1);
  CHECK(integers == 2);
  CHECK(convert_within(g, full8(), e, 1.0).floats.empty());
  const bounded_conversion none = convert_within(g, qnnpack(), e, -100.0);  // cannot be kept
  CHECK_FALSE(none.within);
  CHECK(none.floats.size() == 3);
  CHECK(message_of([&] {
          sensitivity(g, full8(), {calibration(), {}});
        }) == "quant::sensitivity: needs batches to observe and a score; got 2 batches, no score");
}

// One layer, both ways: the ratio is that of the errors of its definition.
TEST_CASE("sensitivity: the ratio is signal over error in dB") {
  CHECK(detail::decibels(tensor_f64{3.0, 4.0}, tensor_f64{3.0, 4.5}) == doctest::Approx(20.0));
  CHECK(std::isinf(detail::decibels(tensor_f64{1.0}, tensor_f64{1.0})));
  manual_seed(3);
  const tensor w = random({8, 16}, f32), x = random({64, 16}, f32);
  const auto f = [&](const tensor& v) { return linear(v, w); };
  const graph g = trace(f, std::vector<tensor>{x}, {.parameters = {{"w", w}}});
  const auto ratio = [&](int bits) {
    config c;
    c.all.weight.format = weight_format(bits);
    return sensitivity(g, c, {{x}, [](const graph&) { return 0.0; }}).layers[0].sqnr;
  };
  // Four times the step is 12 dB, until the inputs' own codes are felt.
  CHECK(ratio(2) < ratio(4) - 9);
  CHECK(ratio(4) == doctest::Approx(ratio(6) - 12).epsilon(0.1));
}

TEST_CASE("compare: scores, bytes and latencies of each format") {
  const graph g = traced(trained_net());
  const graph q = convert(calibrated(g, full8(), calibration()));
  const compare_options o{.score = accuracy, .batches = {1, 16}, .seconds = 0.01};
  const auto rows = compare({{"f32", g}, {"int8", q}, {"int4", quantize_weights(g)}},
                            test_digits().slice(0, 16).x, o);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].score == accuracy(g));
  CHECK(rows[1].score == accuracy(q));
  CHECK(rows[1].file_bytes * 10 < rows[0].file_bytes * 3);
  // Where no instruction multiplies bytes exactly, plans hold weights as words.
  const index_t tenths = simd::integers<simd::native>::bytes_exact ? 5 : 6;
  CHECK(rows[1].run_bytes * 10 < rows[0].run_bytes * tenths);
  CHECK(rows[2].file_bytes * 10 < rows[0].file_bytes * 2);
  for (const comparison& r : rows) {
    REQUIRE(r.calls.size() == 2);
    for (const latency& l : r.calls) {
      CHECK(l.low > 0);
      CHECK((l.low <= l.median && l.median <= l.high));
    }
  }
  const std::string t = to_table(rows, o).text();
  CHECK(t.find("batch 16, us") != std::string::npos);
  CHECK(message_of([&] {
          compare({{"f32", g}}, test_digits().slice(0, 8).x, o);
        }).starts_with("quant::compare: needs a batch of 16 examples"));
}

// ---- char models on text that is made: each letter follows from the two before, mostly
constexpr index_t letters = 16;
tensor made_text(index_t rows, std::uint64_t seed) {
  generator g(seed);
  const tensor all = randint(0, letters, {rows, 33}, g), free = rand({rows, 33}, f32, g);
  for (index_t b = 0; b < rows; ++b) {
    auto* row = const_cast<std::int64_t*>(all.data_as<std::int64_t>()) + b * 33;
    for (index_t t = 2; t < 33; ++t) {
      if (free.data_as<float>()[b * 33 + t] < 0.85f)
        row[t] = (5 * row[t - 1] + row[t - 2]) % letters;
    }
  }
  return all;
}
struct char_lstm {
  nn::embedding token{{.rows = letters, .width = 24}};
  nn::lstm cells{{.in = 24, .hidden = 64, .batch_first = true}};
  nn::linear head{{.in = 64, .out = letters}};
  tensor operator()(const tensor& x) const { return head(cells(token(x)).output); }
  void visit(auto&& f) { f("token", token), f("cells", cells), f("head", head); }
};
template <class F> tensor loss_of(const F& f, const tensor& text) {
  const tensor logits = f(slice(text, 1, {0, 32}));
  return cross_entropy(reshape(logits, {-1, letters}), reshape(slice(text, 1, {1, 33}), {-1}));
}
template <class F> double bits(const F& f, const tensor& text) {
  const no_grad guard;
  return loss_of(f, text).item() / std::log(2.0);
}
template <class Model> void train(const Model& model, int steps, double lr, std::uint64_t seed) {
  optim::adam opt(adze::parameters(model), {.lr = lr});
  for (int i = 0; i < steps; ++i) {
    opt.zero_grad();
    backward(loss_of(model, made_text(16, seed + static_cast<std::uint64_t>(i))));
    opt.step();
  }
}

TEST_CASE("char LSTM: int8, dynamic and trained, costs at most 1 % of the bits per character") {
  manual_seed(6);
  const char_lstm model;
  train(model, 500, 4e-3, 1000);
  const tensor text = made_text(64, 7);
  const double exact = bits(model, text);
  CHECK(exact < 2.5);  // 4 bits without knowing anything
  const tensor example = slice(text, 1, {0, 32});
  const graph g = trace(model, slice(example, 0, {0, 2}));  // the batch is not the graph's
  for (const bool reduced : {false, true}) {
    const double dynamic = bits(quantize_dynamic(g, {.reduced = reduced}), text);
    MESSAGE("bits per character: f32 " << exact << ", dynamic int8 " << dynamic);
    CHECK(dynamic <= 1.01 * exact);
  }
  // In three bits the weights need training.
  config few;
  few.all.weight.format = weight_format(3);
  const graph observed = calibrated(g, few, {example});
  const graph qat = prepare_qat(trace(clone(model), example), few);
  train(qat, 120, 1e-3, 5000);
  const double plain = bits(convert(observed), text), learned = bits(convert(qat), text);
  MESSAGE("weights of three bits: " << plain << ", after training " << learned);
  CHECK(plain > 1.03 * exact);
  CHECK(learned < exact + 0.5 * (plain - exact));
}

}  // namespace
}  // namespace adze::quant
