// SPDX-License-Identifier: MIT
// Channels of which pruning has left nothing or almost nothing, and inputs that are always 0: their
// scales stand at a floor, and biases must survive it.
#include <doctest/doctest.h>

#include <adze/graph/plan.hpp>
#include <adze/graph/trace.hpp>
#include <adze/ops/conv.hpp>
#include <adze/quant/sensitivity.hpp>

#include "../ops/checks.hpp"

namespace adze::quant {
namespace {

using namespace test;

// The same in floats, simulated, on integers and planned; `within` of the floats.
template <class F> void check_all(const F& f, const tensor& x, const config& c, double within) {
  const graph floats = trace(f, x), prepared = calibrated(floats, c, {x});
  const graph integers = convert(prepared);
  const auto exact = numbers(floats(x)), simulated = numbers(simulate(prepared)(x)),
             converted = numbers(integers(x));
  CHECK(distance(simulated, exact) < within);
  CHECK(distance(converted, exact) < within);
  CHECK(distance(converted, simulated) < 1e-6);
  CHECK(numbers(compile(integers, x)(x)) == converted);
}

// Output 1 has no weights, output 2 ones that do not count, 3 ones whose codes are all 127 in steps
// that a bias overflows.
tensor pruned(const shape& sizes) {
  tensor w = rand(sizes, f32, source()) - 0.5;
  const index_t each = w.numel() / w.size(0);
  const float scale[] = {1.0f, 0.0f, 1e-9f, 1e-6f};
  for (index_t i = 0; i < w.numel(); ++i) {
    float& v = w.data_as<float>()[i];
    v = i / each == 3 ? 1e-6f : v * scale[i / each % 4];
  }
  return w;
}

TEST_CASE("dead channels: a linear keeps its biases, as floats and as codes") {
  const no_grad plain;
  const tensor x = rand({16, 40}, f32, source());
  const tensor w = pruned({6, 40}), next = random({3, 6}, f32) * 0.2;
  const tensor b = tensor_f32{0.25f, 1.5f, -1.5f, 1.5f, -0.5f, 1.25f};
  for (const config& c : {full8(), x86()}) {
    check_all([&](const tensor& v) { return linear(v, w, b); }, x, c, 0.02);
    check_all([&](const tensor& v) { return linear(linear(v, w, b), next); }, x, c, 0.06);
    check_all([&](const tensor& v) { return linear(relu(linear(v, w, b)), next); }, x, c, 0.06);
  }
}

TEST_CASE("dead channels: convolutions of all kinds keep their biases") {
  const no_grad plain;
  const tensor x = rand({2, 8, 6, 6}, f32, source());
  const tensor b = tensor_f32{0.25f, 1.5f, -1.5f, 1.5f, -0.5f, 1.25f, 0.75f, -1.5f};
  for (const index_t groups : {1, 2, 8}) {
    const tensor w = pruned({8, 8 / groups, 3, 3}), next = random({4, 8, 1, 1}, f32) * 0.2;
    const auto layer = [&](const tensor& v) {
      return conv2d(v, w, b, {.padding = {1, 1}, .groups = groups});
    };
    for (const config& c : {full8(), x86()}) {
      check_all(layer, x, c, 0.03);
      check_all([&](const tensor& v) { return conv2d(layer(v), next); }, x, c, 0.08);
    }
  }
}

TEST_CASE("dead channels: one scale for a weight becomes many where a bias needs room") {
  const no_grad plain;
  const tensor x = rand({16, 40}, f32, source()), dead = zeros({2, 40}, f32);
  const tensor b = tensor_f32{1.5f, -1.5f};
  check_all([&](const tensor& v) { return linear(v, dead, b); }, x, qnnpack(), 1e-5);
  // A bias beyond s32 in steps of its neighbour, whose weights keep their codes.
  const tensor w = (rand({2, 40}, f32, source()) - 0.5) * 1e-3, far = tensor_f32{1e3f, 0.0f};
  const graph prepared =
      calibrated(trace([&](const tensor& v) { return linear(v, w, far); }, x), qnnpack(), {x});
  const tensor exact = linear(x, w, far);
  for (const tensor& y : {convert(prepared)(x), simulate(prepared)(x)}) {
    CHECK(distance(numbers(select(y, 1, 0)), numbers(select(exact, 1, 0))) < 1e-3 * 1e3);
    CHECK(distance(numbers(select(y, 1, 1)), numbers(select(exact, 1, 1))) < 1e-4);
  }
}

TEST_CASE("dead channels: inputs that were always 0 leave the bias") {
  const no_grad plain;
  const tensor x = zeros({4, 40}, f32), w = random({3, 40}, f32) * 0.01;
  const tensor b = tensor_f32{1.5f, -0.25f, 3.0f};
  check_all([&](const tensor& v) { return linear(v, w, b); }, x, full8(), 1e-5);
}

TEST_CASE("dead channels: activations of 16 bits leave their layer in floats, simulated too") {
  const no_grad plain;
  const tensor x = rand({4, 600}, f32, source()), w = full({2, 600}, 0.01, f32);
  const tensor b = tensor_f32{1.5f, -1.5f};
  config c = full8();
  c.all.activation.format = activation_format(16);
  check_all([&](const tensor& v) { return linear(v, w, b); }, x, c, 0.01);
}

}  // namespace
}  // namespace adze::quant
