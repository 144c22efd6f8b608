// SPDX-License-Identifier: MIT
// Simulation is execution: converted graphs give the codes of the simulated ones.
#include <doctest/doctest.h>

#include <adze/graph/plan.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/dropout.hpp>
#include <adze/nn/norm.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/sequential.hpp>
#include <adze/nn/transformer.hpp>
#include <adze/ops/loss.hpp>
#include <adze/optim/adam.hpp>
#include <adze/optim/sgd.hpp>
#include <adze/quant/dynamic.hpp>
#include <adze/quant/sensitivity.hpp>

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

index_t count(const graph& g, std::string_view name) {
  index_t n = 0;
  for (const graph_step& s : g.steps) n += s.op.name() == name;
  return n;
}

TEST_CASE("convert: softmax, sigmoid and tanh by table with fixed ranges, or in floats by config") {
  manual_seed(12);
  const tensor a = random({12, 8}, f32), b = random({9, 12}, f32), c = random({7, 9}, f32),
               d = random({5, 7}, f32), x = random({40, 8}, f32);
  const auto f = [&](const tensor& v) {
    return softmax(linear(tanh(linear(sigmoid(linear(softmax(linear(v, a)), b)), c)), d));
  };
  const no_grad plain;
  const graph g = trace(f, x);
  for (const config& how : {full8(), x86()}) {
    const graph prepared = prepare(g, how);
    static_cast<void>(prepared(x));
    const conversion r = convert_with_reasons(prepared);
    CHECK(count(r.g, "integer_softmax") == 1);
    CHECK(count(r.g, "table") == 2);
    CHECK(count(r.g, "softmax") == 1);  // the last one: nothing reads its codes
    CHECK(r.left.size() == 1);
    CHECK(distance(numbers(r.g(x)), numbers(simulate(prepared)(x))) < 1e-6);
    CHECK(distance(numbers(r.g(x)), numbers(f(x))) < 0.03);
    const float n = how.all.activation.format.reduce_range ? 128 : 256;
    std::vector<edge> edges;
    for (const graph_step& s : r.g.steps) {
      if (const auto* t = s.op.as<table_op<>>()) edges.push_back(t->y);
      if (const auto* t = s.op.as<integer_softmax_op<>>()) edges.push_back(t->y);
    }
    REQUIRE(edges.size() == 3);
    for (std::size_t i : {0u, 1u}) {
      CHECK(edges[i].scale == 1 / n);
      CHECK(edges[i].zero == 0);
    }
    CHECK(edges[2].scale == 2 / n);
    CHECK(edges[2].zero == static_cast<std::int32_t>(n / 2));
  }
  const config keeps = full8().keeping(
      [](const layer_description& l) { return l.op == "softmax" || l.op == "tanh"; });
  const graph prepared = prepare(g, keeps);
  static_cast<void>(prepared(x));
  const graph mixed = convert(prepared);
  CHECK(count(mixed, "softmax") == 2);
  CHECK(count(mixed, "tanh") == 1);
  CHECK(count(mixed, "table") == 1);
  CHECK(count(mixed, "integer_linear") == 4);
  CHECK(distance(numbers(mixed(x)), numbers(simulate(prepared)(x))) < 1e-6);
}

TEST_CASE("convert: codes flow through concat, pooling, tables and moved axes") {
  manual_seed(17);
  const tensor a = random({6, 3, 3, 3}, f32), b = random({5, 3, 1, 1}, f32),
               c = random({4, 11, 3, 3}, f32), d = random({7, 16}, f32),
               x = random({4, 3, 12, 12}, f32);
  const auto f = [&](const tensor& v) {
    const std::vector<tensor> both{relu(conv2d(v, a, {}, {.padding = {1, 1}})), conv2d(v, b)};
    tensor y = avg_pool2d(concat(both, 1), {.kernel = {2, 2}});
    y = hardswish(conv2d(relu6(y), c));
    y = max_pool2d(transpose(transpose(y, 2, 3), 2, 3), {.kernel = {2, 2}});
    return linear(gelu(reshape(slice(y, 1, {0, 4}), {4, -1})), d);
  };
  const no_grad plain;
  for (const config& how : {x86(), full8()}) {
    const graph prepared = calibrated(trace(f, x), how, {x});
    const conversion r = convert_with_reasons(prepared);
    CHECK(r.left.empty());
    CHECK(count(r.g, "quantize") == 1);
    CHECK(count(r.g, "dequantize") == 0);
    CHECK(count(r.g, "concat") == 1);
    CHECK(count(r.g, "integer_avg_pool2d") == 1);
    CHECK(count(r.g, "integer_max_pool2d") == 1);
    CHECK(distance(numbers(r.g(x)), numbers(simulate(prepared)(x))) < 1e-5);
    CHECK(distance(numbers(r.g(x)), numbers(f(x))) < 0.1 * amax(abs(f(x))).item());
    CHECK(distance(numbers(compile(r.g, x)(x)), numbers(r.g(x))) == 0.0);
  }
}

TEST_CASE("convert: ReLU6 behind a layer is a bound of its codes") {
  manual_seed(18);
  const tensor a = random({9, 6}, f32) * 4.0, b = random({5, 9}, f32), x = random({64, 6}, f32);
  const auto f = [&](const tensor& v) { return linear(relu6(linear(v, a)), b); };
  const no_grad plain;
  config wide = full8();  // codes beyond 6: the bound is one of them
  wide.all.activation = {
      .kind = statistic::fixed, .format = activation_format(), .range = {-4, 10}};
  for (const config& how : {x86(), full8(), wide}) {
    const graph prepared = calibrated(trace(f, x), how, {x});
    const graph q = convert(prepared);
    CHECK(q.steps.size() == 3);
    const auto* first = q.steps[1].op.as<integer_linear_op<>>();
    REQUIRE(first != nullptr);
    const edge y = first->finish.y;
    CHECK(first->finish.act == kernels::activation::relu);
    CHECK(std::abs(double(first->finish.top() - y.zero) * y.scale - 6) <= y.scale);
    CHECK((first->finish.top() < y.codes.high) == (y.zero > 0));
    CHECK(amax(linear(x, a)).item() > 8);
    CHECK(distance(numbers(q(x)), numbers(simulate(prepared)(x))) < 1e-5);
    CHECK(distance(numbers(q(x)), numbers(f(x))) < 0.15 * amax(abs(f(x))).item());
  }
}

TEST_CASE("convert: layers otherwise by a rule, others in floats by a predicate, and why") {
  manual_seed(13);
  nn::sequential net{nn::conv2d{{.in = 3, .out = 8, .kernel = 3}},
                     [](const tensor& x) { return relu(x); },
                     nn::conv2d{{.in = 8, .out = 8, .kernel = 3}},
                     [](const tensor& x) { return flatten(x, 1); },
                     nn::linear{{.in = 8 * 16, .out = 6}},
                     [](const tensor& x) { return cumsum(x, 1); },
                     nn::linear{{.in = 6, .out = 4}}};
  const tensor x = random({4, 3, 8, 8}, f32);
  config c = x86().keeping([](const layer_description& l) { return l.name == "2.weight"; });
  layer_config narrow = c.all;
  narrow.weight.format = weight_format(3);
  c.rules.push_back({[](const layer_description& l) { return l.weight == shape{6, 128}; }, narrow});
  const no_grad plain;
  const graph prepared = prepare(trace(net, x), c);
  static_cast<void>(prepared(x));
  const graph q = convert(prepared);
  CHECK(count(q, "conv2d") == 1);
  CHECK(count(q, "integer_conv2d") == 1);
  CHECK(count(q, "integer_linear") == 2);
  CHECK(count(q, "cumsum") == 1);
  for (const graph_step& s : q.steps) {
    if (s.op.name() != "integer_linear") continue;
    const tensor w = q.constant(s.inputs[1]);
    const double most = amax(abs(cast(w, f32))).item();
    CHECK(most == (w.shape() == shape{6, 128} ? 3 : 127));
  }
  CHECK(distance(numbers(q(x)), numbers(simulate(prepared)(x))) < 1e-5);
}

TEST_CASE("convert: a GPT keeps attention, norms and embeddings in floats, its layers run in s8") {
  manual_seed(14);
  nn::gpt net({.vocabulary = 13, .context = 8, .embed = 16, .heads = 2, .layers = 2});
  eval(net);
  const tensor x = randint(0, 13, {3, 8});
  const no_grad plain;
  const graph g = trace(net, x);
  const graph prepared = prepare(g, full8());
  for (int i = 0; i < 8; ++i) static_cast<void>(prepared(randint(0, 13, {3, 8})));
  static_cast<void>(prepared(x));
  const conversion r = convert_with_reasons(prepared);
  CHECK(count(r.g, "integer_linear") == 9);  // four in each block, and the head
  CHECK(count(r.g, "linear") == 0);
  CHECK(count(r.g, "scaled_dot_product_attention") == 2);
  std::string why;
  for (const float_step& s : r.left) why += text(s.op, " ", s.name, ": ", s.reason, "\n");
  CHECK_MESSAGE(why.find("embedding token.weight: it has no integer form\n") != std::string::npos,
                why);
  CHECK(why.find("layer_norm blocks.1.norm1.weight: it has") != std::string::npos);
  CHECK(why.find("scaled_dot_product_attention : it has") != std::string::npos);
  const double size = amax(abs(net(x))).item();
  CHECK(distance(numbers(r.g(x)), numbers(net(x))) < 0.05 * size);
  CHECK(distance(numbers(r.g(x)), numbers(simulate(prepared)(x))) < 1e-3 * size);
  CHECK(distance(numbers(compile(r.g, x)(x)), numbers(r.g(x))) == 0.0);
}

TEST_CASE(
    "prepare_qat: observers and simulation switch by themselves; empty batches change nothing") {
  manual_seed(15);
  nn::sequential net{nn::linear{{.in = 6, .out = 5}}, [](const tensor& x) { return relu(x); },
                     nn::linear{{.in = 5, .out = 3}}};
  const tensor x = random({8, 6}, f32);
  const no_grad plain;
  graph qat = prepare_qat(trace(net, x));
  const auto state = [&] { return numbers(simulate(qat)(x)); };
  static_cast<void>(qat(x));
  const auto first = state();
  static_cast<void>(qat(zeros({0, 6})));
  CHECK(state() == first);
  CHECK_THROWS_AS(qat(x + std::numeric_limits<double>::quiet_NaN()), numeric_error);
  CHECK(state() == first);
  set_observing(qat, false);
  static_cast<void>(qat(x * 50.0));
  CHECK(state() == first);  // frozen scales
  const double quantized = distance(numbers(qat(x)), numbers(net(x)));
  CHECK(quantized > 1e-4);
  CHECK(quantized < 0.1);
  CHECK(distance(numbers(qat(x * 50.0)), numbers(net(x * 50.0))) > 1);  // clipped
  set_simulating(qat, false);
  CHECK(distance(numbers(qat(x)), numbers(net(x))) < 1e-6);
  set_observing(qat, true);
  for (int i = 0; i < 400; ++i) static_cast<void>(qat(x * 50.0));
  set_simulating(qat, true);
  CHECK(state() != first);
  CHECK(distance(numbers(qat(x * 50.0)), numbers(net(x * 50.0))) < 3);
}

TEST_CASE("prepare_qat: LSQ, PACT, TQT and DoReFa by config train, and convert to what they were") {
  struct method {
    config how;
    double most;          // the largest weight code
    std::size_t learned;  // parameters beside the network's
  };
  for (const method& m :
       {method{with_lsq(4, 2), 7, 5}, method{with_pact(4, 2), 7, 2}, method{with_tqt(4, 2), 7, 5},
        method{with_dorefa(3), 7, 0}, method{learned_weights(4), 7, 3}}) {
    manual_seed(16);
    nn::sequential net{nn::linear{{.in = 12, .out = 32}}, [](const tensor& x) { return relu(x); },
                       nn::linear{{.in = 32, .out = 32}}, [](const tensor& x) { return relu(x); },
                       nn::linear{{.in = 32, .out = 5}}};
    const tensor x = random({64, 12}, f32), target = random({64, 5}, f32);
    graph qat = prepare_qat(trace(net, x), m.how);
    CHECK(adze::parameters(qat).size() == 6 + m.learned);
    optim::adam opt(adze::parameters(qat), {.lr = 0.01});
    double first = 0, last = 0;
    for (int i = 0; i < 150; ++i) {
      opt.zero_grad();
      const tensor loss = mse_loss(qat(x), target);
      backward(loss);
      opt.step();
      (i == 0 ? first : last) = loss.item();
    }
    CHECK(last < 0.7 * first);
    set_observing(qat, false);
    const no_grad plain;
    const conversion r = convert_with_reasons(qat);
    CHECK(r.left.empty());
    CHECK(count(r.g, "integer_linear") == 3);
    CHECK(count(r.g, "quantize") == 1);
    for (const graph_step& s : r.g.steps) {
      if (s.op.name() != "integer_linear") continue;
      const tensor w = abs(cast(r.g.constant(s.inputs[1]), f32));
      CHECK(amax(w).item() <= m.most);
      if (m.learned == 0) CHECK(sum(w - 2.0 * floor(w / 2.0)).item() == double(w.numel()));  // odd
    }
    CHECK(distance(numbers(r.g(x)), numbers(simulate(qat)(x))) < 1e-5);
    // Biases in whole steps turn some codes of the coarse activations.
    CHECK(mse_loss(r.g(x), qat(x)).item() < 0.1 * last);
    CHECK(mse_loss(r.g(x), target).item() < 1.1 * mse_loss(qat(x), target).item());
  }
  nn::linear layer{{.in = 4, .out = 3}};
  const graph g = trace(layer, zeros({2, 4}));
  CHECK(message_of([&] { prepare_qat(g, with_dorefa(8)); }) ==
        "quant::prepare: DoReFa's codes fit s8 with seven bits at most; got 8");
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

TEST_CASE("convert: a constant is not added to a bias whose sum is read before, too") {
  const no_grad plain;
  const tensor w = random({3, 4}), b = random({3}), c = random({3}), x = random({5, 4});
  const auto added = [&](const tensor& v) {
    const tensor y = linear(v, w) + b;
    return (y + c) * y;
  };
  const auto multiplied = [&](const tensor& v) {
    const tensor y = linear(v, w, b) * ones({3}, f64);
    return (y + c) * y;
  };
  const auto check = [&](const auto& f) {
    graph g = trace(f, x);
    detail::absorb_constants(g);
    CHECK(g.steps.size() == 3);
    CHECK(distance(g(x), f(x)) < 1e-13);
  };
  check(added);
  check(multiplied);
}

TEST_CASE(
    "prepare_qat: joins no batch norm over another axis than the outputs, none after a ReLU") {
  const tensor w = random({3, 4}), mean = random({3}), var = rand({3}, f64) + 0.5;
  const auto norm = [&](const tensor& y) {
    return batch_norm(y, {}, {}, mean, var, {.training = true});
  };
  const auto plain = [&](const tensor& v) { return norm(linear(v, w)); };
  const auto rectified = [&](const tensor& v) { return norm(relu(linear(v, w))); };
  const auto joined = [](const graph& g) {
    index_t n = 0;
    for (const graph_step& s : detail::join_norms(g).steps) n += s.op.name() == "normed_layer";
    return n;
  };
  CHECK(joined(trace(plain, random({5, 4}))) == 1);
  CHECK(joined(trace(plain, random({5, 3, 4}))) == 0);
  CHECK(joined(fuse(trace(rectified, random({5, 4})))) == 0);
}

TEST_CASE("prepare_qat: running variances count the elements of the batch at hand") {
  const tensor w = random({3, 4}), mean = zeros({3}, f64), var = ones({3}, f64);
  const auto norm = [&](const tensor& y, const tensor& m, const tensor& v) {
    return batch_norm(y, {}, {}, m, v, {.training = true});
  };
  const auto f = [&](const tensor& v) { return norm(linear(v, w), mean, var); };
  graph qat = prepare_qat(trace(f, random({64, 4})));
  set_simulating(qat, false);
  const tensor x = random({3, 4}), m = zeros({3}, f64), v = ones({3}, f64);
  static_cast<void>(qat(x));
  static_cast<void>(norm(linear(x, w), m, v));
  CHECK(distance(numbers(mean), numbers(m)) < 1e-12);
  CHECK(distance(numbers(var), numbers(v)) < 1e-12);
}

TEST_CASE("prepare_qat: the gradients of LSQ's steps count the elements of the batch at hand") {
  const tensor w = random({3, 4}, f32), own = random({2, 3}, f32), x = random({5, 4}, f32) + 2.0;
  const auto f = [&](const tensor& v) { return linear(relu(linear(v, w)), own); };
  const auto step_gradients = [&](index_t traced) {
    const graph qat =
        prepare_qat(trace(f, concat(list(static_cast<std::size_t>(traced), x), 0)), with_lsq(4));
    std::vector<double> all;
    for (const tensor& d : grad(list{sum(qat(x))}, adze::parameters(qat))) {
      if (d.defined()) all.push_back(sum(d).item());
    }
    return all;
  };
  const auto one = step_gradients(1), many = step_gradients(8);
  REQUIRE(one.size() == many.size());
  CHECK(one.size() > 0);
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(many[i] == doctest::Approx(one[i]));
}

TEST_CASE("convert: weights by output, the axis counted from the end") {
  const no_grad guard;
  const nn::linear layer{{.in = 16, .out = 70}};
  const tensor x = random({5, 16}, f32);
  const auto by = [&](index_t axis) {
    config c = full8();
    c.all.weight.format.grain = per_axis(axis);
    return convert_with_reasons(calibrated(trace(layer, x), c, {x}));
  };
  CHECK(by(-2).left.empty());
  CHECK(numbers(by(-2).g(x)) == numbers(by(0).g(x)));
}

TEST_CASE("convert: a weight of two layers is there once") {
  const no_grad guard;
  const tensor w = random({16, 16}, f32), x = random({5, 16}, f32);
  const graph g = trace([&](const tensor& v) { return linear(relu(linear(v, w)), w); }, x);
  const graph prepared = calibrated(g, full8(), {x}), q = convert(prepared);
  index_t codes = 0;
  for (const auto& [name, value] : named_buffers(q)) codes += value.rank() == 2;
  CHECK(codes == 1);
  CHECK(distance(numbers(q(x)), numbers(simulate(prepared)(x))) < 0.1);
}

TEST_CASE("convert: weights by input or by group stay in floats, in the simulation too") {
  const no_grad guard;
  const nn::linear layer{{.in = 16, .out = 70}};
  const tensor x = random({5, 16}, f32);
  for (const granularity grain : {per_axis(1), per_group(8, 1)}) {
    config c = full8();
    c.all.weight.format.grain = grain;
    const graph g = calibrated(trace(layer, x), c, {x});
    CHECK(distance(simulate(g)(x), layer(x)) < 0.03);
    CHECK(distance(convert(g)(x), layer(x)) < 0.03);
  }
}

TEST_CASE("prepare_qat: codes pass through dropout, which is none when they are converted") {
  manual_seed(31);
  nn::sequential net{nn::conv2d{{.in = 2, .out = 4, .kernel = 3}},
                     [](const tensor& x) { return relu(x); },
                     [](const tensor& x) {
                       return max_pool2d(x, {.kernel = {2, 2}});
                     },
                     [](const tensor& x) { return flatten(x, 1); },
                     nn::dropout{{.p = 0.3}},
                     nn::linear{{.in = 36, .out = 3}}};
  const tensor x = random({4, 2, 8, 8}, f32);
  const no_grad plain;
  graph qat = prepare_qat(trace(net, x));
  static_cast<void>(qat(x));
  const conversion r = convert_with_reasons(qat);
  CHECK(r.left.empty());
  CHECK(count(r.g, "quantize") == 1);
  CHECK(count(r.g, "dequantize") == 0);
  CHECK(count(r.g, "integer_max_pool2d") == 1);
  CHECK(distance(numbers(r.g(x)), numbers(simulate(qat)(x))) < 1e-5);
}

TEST_CASE("convert: every step in floats between integer steps is listed, and a computed weight") {
  const tensor a = random({6, 5}, f32), b = random({3, 6}, f32), x = random({8, 5}, f32);
  const auto reasons = [&](const auto& f) {
    std::string why;
    const trace_options names{.parameters = {{"a", a}, {"b", b}}};
    const graph g = calibrated(trace(f, std::vector<tensor>{x}, names), full8(), {x});
    for (const float_step& s : convert_with_reasons(g).left) {
      why += text(s.op, " ", s.name, ": ", s.reason, "\n");
    }
    return why;
  };
  const no_grad plain;
  CHECK(reasons([&](const tensor& v) { return linear(exp(linear(v, a)), b); }) ==
        "exp : it has no integer form\n");
  CHECK(reasons([&](const tensor& v) { return exp(linear(exp(v), a)); }) == "");  // at the ends
  const tensor bias = ones({6});
  CHECK(reasons([&](const tensor& v) {
          return linear(relu(linear(v, abs(a * static_cast<double>(v.size(0))), bias)), b);
        }).starts_with("linear a: its weight is computed"));
}

TEST_CASE("convert: says what to do with a graph that is not prepared, or has seen nothing") {
  const tensor w = random({6, 5}, f32), x = random({8, 5}, f32);
  const graph floats = trace([&](const tensor& v) { return linear(v, w); }, x);
  CHECK(message_of([&] { convert(floats); }).starts_with("quant::convert: nothing is prepared"));
  const std::string says = message_of([&] { convert(prepare(floats)); });
  CHECK(says.starts_with("quant::convert: an observer has seen nothing; its value is f32[8,5]"));
  CHECK(says.find("quant::calibrated(graph, config, batches)") != std::string::npos);
  CHECK(message_of([&] { simulate(prepare(floats)); }).starts_with("quant::simulate: an observer"));
  const no_grad plain;  // weights in codes are something
  CHECK(numbers(convert(quantize_dynamic(floats))(x)) == numbers(quantize_dynamic(floats)(x)));
}

}  // namespace
}  // namespace adze::quant
