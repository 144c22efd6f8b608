// SPDX-License-Identifier: MIT
// Simulation is execution: converted graphs give the codes of the simulated ones.
#include <doctest/doctest.h>

#include <adze/graph/plan.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/norm.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/sequential.hpp>
#include <adze/ops/loss.hpp>
#include <adze/optim/adam.hpp>
#include <adze/optim/sgd.hpp>
#include <adze/quant/convert.hpp>

#include "../ops/checks.hpp"

namespace adze::quant {
namespace {

using namespace test;

struct block {
  nn::conv2d one{{.in = 16, .out = 16, .kernel = 3, .padding = 1, .bias = false}};
  nn::batch_norm2d norm{{.channels = 16}};
  tensor operator()(const tensor& x) const { return relu(norm(one(x)) + x); }
  void visit(auto&& f) {
    f("one", one);
    f("norm", norm);
  }
};

struct reader {
  nn::lstm lstm{{.in = 12, .hidden = 20, .layers = 2}};
  nn::linear head{{.in = 20, .out = 12}};
  tensor operator()(const tensor& x) const { return head(lstm(x).output); }
  void visit(auto&& f) { f("lstm", lstm), f("head", head); }
};

auto small_net() {
  manual_seed(4);
  return nn::sequential{nn::conv2d{{.in = 3, .out = 16, .kernel = 3, .stride = 2, .padding = 1}},
                        block{},
                        [](const tensor& x) {
                          return max_pool2d(x, {.kernel = {2, 2}});
                        },
                        block{},
                        [](const tensor& x) {
                          return mean(x, {2, 3});
                        },
                        nn::linear{{.in = 16, .out = 12}},
                        [](const tensor& x) { return relu(x); },
                        nn::linear{{.in = 12, .out = 5}}};
}

TEST_CASE("convert: a residual network, all integers") {
  auto net = small_net();
  for (int i = 0; i < 4; ++i) static_cast<void>(net(random({8, 3, 16, 16}, f32) + 0.3));
  const no_grad plain;
  const tensor x = random({8, 3, 16, 16}, f32) + 0.3;
  for (const config& c : {x86(), full8(), qnnpack(), w4a8()}) {
    const graph prepared = prepare(trace(net, x), c);
    eval(net);
    CHECK(distance(numbers(prepared(x)), numbers(net(x))) < 1e-4);
    const conversion r = convert_with_reasons(prepared);
    CHECK(r.left.empty());
    CHECK(r.g.steps.front().op.name() == "quantize");
    for (const graph_step& s : r.g.steps) {
      const std::string_view n = s.op.name();
      CHECK_MESSAGE((n.starts_with("integer") || n == "quantize" || n == "flatten"), n);
    }
    const tensor simulated = simulate(prepared)(x), integers = r.g(x);
    CHECK(distance(numbers(simulated), numbers(integers)) < 0.02);
    CHECK(distance(numbers(compile(r.g, x)(x)), numbers(integers)) == 0.0);
  }
}

TEST_CASE("prepare_qat: an LSTM with its head trains in simulated codes and runs on integers") {
  manual_seed(9);
  reader net;
  const tensor x = random({6, 4, 12}, f32), target = random({6, 4, 12}, f32);
  graph qat = prepare_qat(trace(net, x), full8());
  optim::adam opt(adze::parameters(qat), {.lr = 0.02});
  double first = 0, last = 0;
  for (int i = 0; i < 25; ++i) {
    opt.zero_grad();
    const tensor loss = mse_loss(qat(x), target);
    backward(loss);
    opt.step();
    (i == 0 ? first : last) = loss.item();
  }
  CHECK(last < 0.8 * first);
  const no_grad plain;
  const conversion r = convert_with_reasons(qat);
  CHECK(r.left.empty());
  index_t lstms = 0;
  for (const graph_step& s : r.g.steps) lstms += s.op.name() == "dynamic_lstm";
  CHECK(lstms == 2);
  CHECK(distance(numbers(r.g(x)), numbers(qat(x))) < 0.1);
  CHECK(mse_loss(r.g(x), target).item() < 1.05 * last);
}

TEST_CASE("prepare_qat: batch norms train in folded form; frozen and converted they agree") {
  auto net = small_net();
  const tensor x = random({8, 3, 16, 16}, f32) + 0.3;
  graph qat = prepare_qat(trace(net, x), full8());
  set_simulating(qat, false);
  // Without codes the folded form is the network itself, in value and in running statistics.
  auto twin = clone(net);
  CHECK(distance(numbers(qat(x)), numbers(twin(x))) < 1e-4);
  CHECK(distance(numbers(named_buffers(qat)[0].second), numbers(named_buffers(twin)[0].second)) <
        1e-5);
  set_simulating(qat, true);
  optim::sgd opt(adze::parameters(qat), {.lr = 0.05});
  double first = 0, last = 0;
  const tensor target = random({8, 5}, f32);
  for (int i = 0; i < 30; ++i) {
    zero_grad(qat);
    const tensor loss = mse_loss(qat(x), target);
    backward(loss);
    opt.step();
    (i == 0 ? first : last) = loss.item();
  }
  CHECK(last < 0.7 * first);
  set_observing(qat, false);
  set_statistics(qat, false);
  const no_grad plain;
  const graph simulated = simulate(qat);
  const conversion r = convert_with_reasons(qat);
  CHECK(r.left.empty());
  CHECK(distance(numbers(qat(x)), numbers(simulated(x))) < 0.05);
  CHECK(distance(numbers(r.g(x)), numbers(simulated(x))) < 0.02);
  CHECK(r.g.steps.size() == 11);
}

}  // namespace
}  // namespace adze::quant
