// SPDX-License-Identifier: MIT
// Dynamic quantization: graphs keep their results to the error of eight bits, weights are codes,
// plans give the same bits, and each layer is the kernel's formula.
#include <set>

#include <doctest/doctest.h>

#include <adze/graph/cost.hpp>
#include <adze/graph/plan.hpp>
#include <adze/graph/trace.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/sequential.hpp>
#include <adze/ops/embedding.hpp>
#include <adze/quant/sensitivity.hpp>
#include <adze/quant/weight_only.hpp>

#include "../ops/checks.hpp"

namespace adze::quant {
namespace {

using namespace test;

double relative(const tensor& a, const tensor& b) {
  const auto x = numbers(a), y = numbers(b);
  double off = 0, all = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    off += (x[i] - y[i]) * (x[i] - y[i]);
    all += y[i] * y[i];
  }
  return std::sqrt(off / all);
}

graph fold_all(graph g) {
  return fold_constants(std::move(g), [](const graph_step&) { return false; });
}

TEST_CASE("quantize_dynamic: a dense network") {
  manual_seed(2);
  nn::sequential net{nn::linear{{.in = 40, .out = 64}}, [](const tensor& x) { return relu(x); },
                     nn::linear{{.in = 64, .out = 10, .bias = false}}};
  const no_grad guard;
  const tensor x = random({9, 40}, f32);
  const graph g = trace(net, x);
  for (const bool per_row : {false, true}) {
    for (const bool reduced : {false, true}) {
      const graph q = quantize_dynamic(g, {.per_row = per_row, .reduced = reduced});
      CHECK(q.steps.size() == 2);
      CHECK(relative(q(x), net(x)) < (reduced ? 2 : 1) * 0.012);  // half the codes, twice the error
      CHECK(constant_bytes(q) < 0.3 * static_cast<double>(constant_bytes(g)));
      const plan p = compile(q, x);
      CHECK(distance(numbers(p(x)), numbers(q(x))) == 0.0);
    }
  }
  const graph some =
      quantize_dynamic(g, {.skip = [](std::string_view w) { return w == "0.weight"; }});
  CHECK(some.steps[0].op.name() == "linear");
  CHECK(some.steps[1].op.name() == "dynamic_linear");
  CHECK_THROWS_AS(quantize_dynamic(g, {.weight = weight_format(8, per_group(8))}), value_error);
  CHECK(message_of([&] { quantize_dynamic(g, {.weight = activation_format()}); }) ==
        "quantize_dynamic: weights need symmetric codes that fit s8; weight_format() is one");
}

TEST_CASE("quantize_dynamic: scales belong to outputs, by either name of their axis") {
  const no_grad guard;
  const tensor x = random({4, 16}, f32), w = random({70, 16}, f32);
  const graph g = trace([&](const tensor& v) { return linear(v, w); }, x);
  const auto by = [&](const granularity& grain) {
    return quantize_dynamic(g, {.weight = weight_format(8, grain)});
  };
  CHECK(numbers(by(per_axis(-2))(x)) == numbers(by(per_axis(0))(x)));
  CHECK(relative(by(per_tensor())(x), g(x)) < 0.02);
  for (const granularity& grain : {per_axis(1), per_axis(-1)}) {
    CHECK(message_of([&] { by(grain); }) ==
          "quantize_dynamic: weights have one scale, or one for each output (axis 0); got " +
              to_text(grain));
  }
}

// By the definition: all in floats, codes computed one by one.
TEST_CASE("dynamic_linear: the published formula") {
  const tensor x = random({4, 13}, f32) * 3.0, w = random({5, 13}, f32), b = random({5}, f32);
  const parameters p = weight_parameters(w, weight_format());
  const tensor y = record(dynamic_linear_op<>{}, x, quant::quantize(w, p), p.scale, b);
  const parameters a = dynamic_parameters(x);
  const tensor expected =
      linear(dequantize(quant::quantize(x, a), a), dequantize(quant::quantize(w, p), p), b);
  CHECK(distance(numbers(y), numbers(expected)) < 1e-4);
}

TEST_CASE("quantize_dynamic: LSTM and GRU, several layers, both directions") {
  const no_grad guard;
  manual_seed(5);
  const tensor x = random({6, 3, 20}, f32);
  const nn::recurrent_options o{.in = 20, .hidden = 24, .layers = 2, .bidirectional = true};
  nn::lstm lstm(o);
  nn::gru gru(o);
  const auto check = [&](const auto& layer) {
    const graph g = trace(layer, x);
    const graph q = quantize_dynamic(g);
    const std::vector<tensor> exact = g.run(list{x}), got = q.run(list{x});
    for (std::size_t i = 0; i < exact.size(); ++i) CHECK(relative(got[i], exact[i]) < 0.02);
    CHECK(constant_bytes(q) < 0.33 * static_cast<double>(constant_bytes(g)));
    const std::vector<tensor> planned = compile(q, x).run(list{x});
    for (std::size_t i = 0; i < exact.size(); ++i) {
      CHECK(distance(numbers(planned[i]), numbers(got[i])) == 0.0);
    }
  };
  check(lstm);
  check(gru);
}

// Every operand that could make the kernels read or write where there is nothing.
TEST_CASE("dynamic_lstm, dynamic_gru: wrong states, weights and biases are errors") {
  const tensor x = random({4, 3, 5}, f32), h = zeros({3, 6}, f32), few = zeros({1, 6}, f32);
  const auto codes = [](index_t out, index_t in) { return full({out, in}, 1, i8); };
  const auto scales = [](index_t out) { return full({out}, 0.01, f32); };
  const auto lstm = [&](const tensor& c, index_t width, const tensor& bias, const tensor& v) {
    return record(dynamic_lstm_op<>{}, v, h, c, codes(width, 5), scales(width), codes(width, 6),
                  scales(width), bias, bias)[0];
  };
  const auto gru = [&](const tensor& state, index_t width, const tensor& bias, const tensor& v) {
    return record(dynamic_gru_op<>{}, v, state, codes(width, 5), scales(width), codes(width, 6),
                  scales(width), bias, bias)[0];
  };
  const tensor none;
  CHECK(lstm(h, 24, zeros({24}, f32), x).shape() == shape{4, 3, 6});
  CHECK(gru(h, 18, none, x).shape() == shape{4, 3, 6});
  CHECK(message_of([&] { return lstm(few, 24, none, x); }) ==
        "dynamic_lstm: the states h and c must have one shape; got f32[3,6] and f32[1,6]");
  CHECK_THROWS_AS(lstm(zeros({3, 6}, i32), 24, none, x), dtype_error);
  CHECK_THROWS_AS(lstm(h, 24, none, zeros({4, 3, 5}, i32)), dtype_error);
  CHECK_THROWS_AS(lstm(h, 18, none, x), shape_error);
  CHECK_THROWS_AS(lstm(h, 24, zeros({6}, f32), x), shape_error);
  CHECK_THROWS_AS(lstm(h, 24, none, zeros({0, 3, 5}, f32)), shape_error);
  CHECK_THROWS_AS(gru(few, 18, none, x), shape_error);
  CHECK_THROWS_AS(gru(zeros({3, 6}, i32), 18, none, x), dtype_error);
  CHECK_THROWS_AS(gru(h, 24, none, x), shape_error);
  CHECK_THROWS_AS(gru(h, 18, zeros({24}, f32), x), shape_error);
  CHECK_THROWS_AS(gru(h, 18, none, zeros({0, 3, 5}, f32)), shape_error);
  // A plan's packed step sees only the states.
  const auto step = dynamic_lstm_op<>{}.prepare(
      list{none, none, none, codes(24, 5), scales(24), codes(24, 6), scales(24), none, none});
  const tensor* const in[] = {&x, &h, &few};
  adze::detail::results out;
  CHECK_THROWS_AS(step->run(in, out), shape_error);
}

TEST_CASE("dynamic_linear, int4_linear: a bias of another size is an error") {
  const tensor x = random({3, 8}, f32), few = zeros({1}, f32), none;
  const tensor w = full({5, 8}, 1, i8), scales = full({5}, 0.01, f32);
  CHECK_THROWS_AS(record(dynamic_linear_op<>{}, x, w, scales, few), shape_error);
  CHECK_THROWS_AS(dynamic_linear_op<>{}.prepare(list{none, w, scales, few}), shape_error);
  const tensor nibbles = full({5, 4}, 0x99, u8), groups = full({5, 1}, 0.01, f32);
  CHECK_THROWS_AS(record(int4_linear_op<>{8, 8}, x, nibbles, groups, few), shape_error);
  CHECK_THROWS_AS(int4_linear_op<>({8, 8}).prepare(list{none, nibbles, groups, few}), shape_error);
  CHECK_THROWS_AS(record(int4_linear_op<>{8, 0}, x, nibbles, groups, none), value_error);
}

TEST_CASE("linears without inputs give their bias, without outputs nothing") {
  const no_grad guard;
  const edge left{0.1f, 3, {0, 255}}, result{0.5f, 5, {0, 255}};
  for (const index_t rows : {0, 1, 4, 70}) {
    for (const index_t in : {0, 9}) {
      for (const index_t out : {0, 1, 5, 300}) {
        if (in > 0 && out > 0) continue;
        const tensor x = zeros({2, rows, in}, f32), w = zeros({out, in}, i8), none;
        const tensor b = random({out}, f32), scales = full({out}, 0.25, f32);
        const auto expected = numbers(expand(b, {2, rows, out}));
        const auto check = [&](const auto& op, const tensor& v, const list& rest,
                               const std::vector<double>& wanted) {
          const tensor y = record(op, v, rest[0], rest[1], rest[2]);
          CHECK(y.shape() == shape{2, rows, out});
          CHECK(numbers(y) == wanted);
          const auto step = op.prepare(list{none, rest[0], rest[1], rest[2]});
          const tensor* const only[] = {&v};
          adze::detail::results again;
          step->run(only, again);
          CHECK(numbers(again[0]) == wanted);
        };
        for (const bool per_row : {false, true}) {
          dynamic_linear_op<> op;
          op.per_row = per_row;
          check(op, x, {w, scales, b}, expected);
        }
        const tensor nibbles = zeros({out, (in + 1) / 2}, u8);
        const tensor groups = full({out, (in + 7) / 8}, 0.25, f32);
        check(int4_linear_op<>{in, 8}, x, {nibbles, groups, b}, expected);
        integer_linear_op<> op;
        op.finish = {.x = left, .y = result, .real = true};
        const tensor codes = zeros({2, rows, in}, u8);
        check(op, codes, {w, scales, b}, expected);
        op.finish.real = false;
        const tensor whole = full({out}, -3, i32);  // of 0.25: a code and a half below 5, to even
        check(op, codes, {w, scales, whole},
              std::vector<double>(static_cast<std::size_t>(2 * rows * out), 3.0));
      }
    }
  }
}

TEST_CASE("quantize_dynamic, quantize_weights: layers without inputs or without outputs") {
  const no_grad guard;
  for (const shape& sizes : {shape{5, 0}, shape{0, 7}}) {
    const tensor x = zeros({3, sizes[1]}, f32), w = zeros(sizes, f32);
    const tensor b = random({sizes[0]}, f32);
    const graph g = trace([&](const tensor& v) { return linear(v, w, b); }, x);
    for (const graph& q : {quantize_dynamic(g), quantize_weights(g, {.group = 8})}) {
      CHECK(q.steps[0].op.name() != "linear");
      CHECK(numbers(q(x)) == numbers(g(x)));
      CHECK(numbers(compile(q, x)(x)) == numbers(g(x)));
    }
  }
}

TEST_CASE("quantize_weights: four bits by group, odd sizes, plans") {
  const no_grad guard;
  manual_seed(8);
  for (const index_t in : {8, 33, 64, 100}) {
    const tensor x = random({5, in}, f32), w = random({9, in}, f32), b = random({9}, f32);
    const graph g = trace([&](const tensor& v) { return relu(linear(v, w, b)); }, x);
    const graph q = quantize_weights(g, {.group = 16});
    REQUIRE(q.steps.size() == 1);
    const parameters p = weight_parameters(w, weight_format(4, per_group(16, 1)));
    const tensor simulated = relu(linear(x, dequantize(quant::quantize(w, p), p), b));
    CHECK(relative(q(x), simulated) < 0.015);  // what is left: inputs in s8
    CHECK(relative(q(x), g(x)) < 0.2);
    CHECK(distance(numbers(compile(q, x)(x)), numbers(q(x))) == 0.0);
    CHECK(distance(numbers(detail::unpack_nibbles(detail::pack_nibbles(quant::quantize(w, p)), in)),
                   numbers(quant::quantize(w, p))) == 0.0);
  }
  nn::linear wide{{.in = 512, .out = 64}};
  const graph g = trace(wide, zeros({1, 512}));
  CHECK(constant_bytes(quantize_weights(g)) < 0.17 * static_cast<double>(constant_bytes(g)));
  CHECK(quantize_weights(g, {.bits = 8}).steps[0].op.name() == "dynamic_linear");
  CHECK_THROWS_AS(quantize_weights(g, {.bits = 5}), value_error);
}

TEST_CASE("quantize_dynamic, quantize_weights: weights that are views of others") {
  const no_grad guard;
  const tensor x = random({4, 64}, f32), stored = random({64, 20}, f32), w = transpose(stored);
  const graph g = trace([&](const tensor& v) { return linear(v, w); }, x);
  const graph dense = trace([&](const tensor& v) { return linear(v, contiguous(w)); }, x);
  CHECK(numbers(quantize_dynamic(g)(x)) == numbers(quantize_dynamic(fold_all(dense))(x)));
  CHECK(numbers(quantize_weights(g, {.group = 8})(x)) ==
        numbers(quantize_weights(fold_all(dense), {.group = 8})(x)));
}

TEST_CASE("cost: multiply-adds and bytes of layers in codes") {
  const no_grad guard;
  const nn::linear layer{{.in = 15, .out = 6}};
  const tensor x = random({3, 15}, f32);
  const graph g = trace(layer, x);
  const index_t macs = 3 * 15 * 6;
  const graph_cost dynamic = cost(quantize_dynamic(g)),
                   packed = cost(quantize_weights(g, {.group = 8}));
  CHECK(dynamic.macs == macs);
  CHECK(dynamic.constant_bytes == 15 * 6 + 4 * (6 + 6));  // codes; scales and biases
  CHECK(packed.macs == macs);
  CHECK(packed.constant_bytes == 8 * 6 + 4 * (2 * 6 + 6));
  CHECK(cost(convert(calibrated(g, full8(), {x}))).macs == macs);
  const auto conv = [k = random({4, 2, 3, 3}, f32)](const tensor& v) { return conv2d(v, k); };
  const tensor image = random({2, 2, 5, 5}, f32);
  CHECK(cost(convert(calibrated(trace(conv, image), full8(), {image}))).macs == 2 * 4 * 9 * 18);
  const nn::lstm lstm{{.in = 4, .hidden = 6}};
  const nn::gru gru{{.in = 4, .hidden = 6}};
  const tensor steps = random({3, 2, 4}, f32);
  CHECK(cost(quantize_dynamic(trace(lstm, steps))).macs == 3 * 2 * 4 * 6 * (4 + 6));
  CHECK(cost(quantize_dynamic(trace(gru, steps))).macs == 3 * 2 * 3 * 6 * (4 + 6));
}

TEST_CASE("quantize_dynamic: a weight of two layers is there once") {
  const no_grad guard;
  const tensor x = random({4, 16}, f32), w = random({16, 16}, f32);
  const graph g = trace([&](const tensor& v) { return linear(relu(linear(v, w)), w); }, x);
  for (const graph& q : {quantize_dynamic(g), quantize_weights(g, {.group = 8})}) {
    CHECK(named_buffers(q).size() == 2);  // codes and scales
    CHECK(q.steps[0].inputs[1] == q.steps[1].inputs[1]);
    CHECK(relative(q(x), g(x)) < 0.3);
  }
}

TEST_CASE("quantize_dynamic, quantize_weights: a bias that is computed keeps its layer in floats") {
  const no_grad guard;
  const tensor x = random({4, 4}, f32), w = random({4, 4}, f32);
  const graph g = trace([&](const tensor& v) { return linear(v, w, sum(v, {0})); }, x);
  CHECK(numbers(quantize_dynamic(g)(x)) == numbers(g(x)));
  CHECK(numbers(quantize_weights(g, {.group = 8})(x)) == numbers(g(x)));
  const tensor steps = random({3, 2, 16}, f32), in = random({16, 16}, f32),
               own = random({16, 4}, f32), zero = zeros({2, 4}, f32);
  const auto f = [&](const tensor& v) {
    const tensor b = sum(v, {0, 1});
    return record(lstm_op<>{}, v, zero, zero, in, own, b, b)[0];
  };
  const graph l = trace(f, steps);
  const graph q = quantize_dynamic(l), c = detail::converted(calibrated(l, full8(), {steps})).g;
  CHECK(numbers(compile(q, steps)(steps)) == numbers(l(steps)));
  CHECK(numbers(compile(c, steps)(steps)) == numbers(l(steps)));
  CHECK_THROWS_AS(convert(calibrated(l, full8(), {steps})), state_error);  // nothing in codes
}

TEST_CASE("quantize_dynamic: a tied weight is there twice, under two names") {
  const no_grad guard;
  const tensor token = arange(3), w = random({5, 8}, f32);
  const graph g = trace([&](const tensor& t) { return linear(embedding(t, w), w); }, token);
  const auto buffers = named_buffers(quantize_dynamic(g));
  std::set<std::string> names;
  for (const auto& b : buffers) names.insert(b.first);
  CHECK(buffers.size() == 3);  // floats, codes and scales
  CHECK(names.size() == buffers.size());
}

}  // namespace
}  // namespace adze::quant
