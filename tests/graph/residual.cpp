// SPDX-License-Identifier: MIT
// Residual adds in the epilogues of plans: the bits of the layer and the sum one after the other,
// whatever kernel the layer runs by, and the cases that must stay as they are.
#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/graph/cost.hpp>
#include <adze/graph/plan.hpp>
#include <adze/ops/activation.hpp>

#include "../ops/checks.hpp"
#include "conv_norm.hpp"

namespace adze::residual_test {
namespace {

using namespace test;

index_t steps_named(const graph& g, std::string_view name) {
  return std::count_if(g.steps.begin(), g.steps.end(),
                       [name](const graph_step& s) { return s.op.name() == name; });
}
index_t sums_in(const graph& g) { return steps_named(g, "add") + steps_named(g, "add_relu"); }

// The plan of f at x gives the bits of its steps, of which `sums` stay sums; dense layers with
// packed weights add in an order of their own.
template <class F> plan check_plan(const F& f, const list& x, index_t joined, index_t sums = 0) {
  const no_grad guard;
  const graph g = trace(f, x), apart = fuse(fold(g));
  const plan p = compile(g, x);
  CHECK(steps_named(p.steps(), "conv2d_add") + steps_named(p.steps(), "linear_add") == joined);
  CHECK(sums_in(p.steps()) == sums);
  const bool reordered =
      steps_named(p.steps(), "linear") + steps_named(p.steps(), "linear_add") > 0;
  for (int i = 0; i < 2; ++i) {
    list now;
    for (const tensor& t : x) now.push_back(random(t.shape(), t.dtype()));
    const list a = apart.run(now), b = p.run(now);
    for (std::size_t k = 0; k < a.size(); ++k) {
      CHECK((detail::same_values(a[k], b[k]) || (reordered && distance(a[k], b[k]) < 5e-5)));
    }
  }
  return p;
}

tensor activated(const tensor& x, bool active) { return active ? relu(x) : x; }

TEST_CASE("residual: every way of a convolution") {
  struct problem {
    shape x, w;
    conv_options o;
  };
  const problem problems[] = {
      {{2, 24, 9, 7}, {40, 24, 1, 1}, {}},                                    // pixels
      {{1, 5, 1, 1}, {3, 5, 1, 1}, {}},                                       // one pixel
      {{2, 24, 9, 7}, {40, 24, 1, 1}, {.stride = {2, 2}}},                    // windows
      {{1, 3, 12, 11}, {17, 3, 3, 3}, {.padding = {1, 1}}},                   // few channels
      {{2, 20, 10, 13}, {37, 20, 3, 3}, {.padding = {1, 1}}},                 // Winograd
      {{1, 160, 4, 4}, {160, 160, 3, 3}, {.padding = {1, 1}}},                // by panels
      {{2, 20, 10, 13}, {37, 20, 3, 3}, {.padding = {1, 1}, .exact = true}},  // windows
      {{2, 400, 6, 6}, {20, 400, 3, 3}, {.padding = {1, 1}, .exact = true}},  // deep
      {{2, 12, 9, 9}, {18, 4, 3, 3}, {.padding = {1, 1}, .groups = 3}},       // groups
      {{2, 21, 9, 10}, {21, 1, 3, 3}, {.padding = {1, 1}, .groups = 21}},     // depthwise
      {{2, 33, 9, 10}, {33, 1, 3, 3}, {.stride = {2, 2}, .groups = 33}},      // by two
      {{2, 7, 11, 10}, {7, 1, 5, 5}, {.padding = {2, 2}, .groups = 7}},       // 5 x 5
      {{1, 24, 1, 30}, {48, 24, 1, 5}, {.padding = {0, 2}}}};                 // lines
  for (const dtype type : {f32, f64}) {
    for (const problem& p : problems) {
      const shape to = conv2d_op<>{p.o}.result(p.x, p.w, {});
      for (const int bits : {0, 1, 2, 3}) {
        const tensor w = random(p.w, type), b = (bits & 1) != 0 ? random({p.w[0]}, type) : tensor();
        const auto f = [&](const tensor& x, const tensor& r) {
          return activated(conv2d(x, w, b, p.o) + r, (bits & 2) != 0);
        };
        check_plan(f, {random(p.x, type), random(to, type)}, 1);
        const auto turned = [&](const tensor& x, const tensor& r) {
          return activated(r + conv2d(x, w, b, p.o), (bits & 2) != 0);
        };
        check_plan(turned, {random(p.x, type), channels_last(random(to, type))}, 1);
      }
    }
  }
}

TEST_CASE("residual: every way of a product") {
  const index_t sizes[][3] = {{1, 7, 5},    {3, 70, 9},    {4, 300, 600}, {40, 64, 10},
                              {33, 300, 4}, {64, 100, 65}, {70, 520, 600}};
  for (const dtype type : {f32, f64}) {
    for (const auto& [m, k, n] : sizes) {
      const tensor w = random({n, k}, type), b = random({n}, type);
      for (const bool active : {false, true}) {
        const auto f = [&, shift = active ? b : tensor()](const tensor& x, const tensor& r) {
          return activated(linear(x, w, shift) + r, active);
        };
        check_plan(f, {random({m, k}, type), random({m, n}, type)}, 1);
        check_plan(f, {random({2, m, k}, type), random({2, m, n}, type)}, 1);
        check_plan([&](const tensor& x, const tensor& r) { return f(x, transpose(r)); },
                   {random({m, k}, type), random({n, m}, type)}, 1);
      }
    }
  }
}

TEST_CASE("residual: what else the layer's result is, and what else is added to it") {
  const tensor w = random({8, 8, 3, 3}, f32), v = random({8, 8, 1, 1}, f32);
  const conv_options same{.padding = {1, 1}};
  const tensor x = channels_last(random({2, 8, 6, 6}, f32));
  const auto conv = [&](const tensor& t) { return conv2d(t, w, {}, same); };
  // The layer's own input; the input of the layer before.
  check_plan([&](const tensor& t) { return relu(conv(t) + t); }, {x}, 1);
  check_plan([&](const tensor& t) { return relu(conv(relu(conv(t))) + t); }, {x}, 1);
  // Computed after the layer: the step runs where the sum stood.
  const plan p = check_plan(
      [&](const tensor& t) {
        const tensor y = conv(t);
        return y + exp(t * 0.5);
      },
      {x}, 1);
  CHECK(p.steps().steps.back().op.name() == "conv2d_add");
  // Of two layers the later one adds the other's result.
  const plan both = check_plan(
      [&](const tensor& t) {
        const tensor y = conv2d(relu(t), v), z = conv(t);
        return relu(z + y);
      },
      {x}, 1);
  CHECK(show(both.steps()).find("conv2d_add+relu(input0, constant1, -, %") != std::string::npos);
  // A layer joins one sum; the next has no layer.
  check_plan(
      [&](const tensor& t) {
        const tensor y = conv(t) + t;
        return y + exp(t);
      },
      {x}, 1, 1);
  // Read twice, or an output; with an activation of its own.
  check_plan(
      [&](const tensor& t) {
        const tensor y = conv(t);
        return (y + t) * y;
      },
      {x}, 0, 1);
  check_plan(
      [&](const tensor& t) {
        const tensor y = conv(t);
        return std::array<tensor, 2>{y, y + t};
      },
      {x}, 0, 1);
  check_plan(
      [&](const tensor& t) {
        const tensor y = conv(t);
        return y + y;
      },
      {x}, 0, 1);
  check_plan([&](const tensor& t) { return relu(conv(t)) + t; }, {x}, 0, 1);
  // Other sizes, and 16 bits, which round between the layer and the sum.
  const tensor row = random({8, 1, 1}, f32);
  check_plan([&](const tensor& t) { return conv(t) + row; }, {x}, 0, 1);
  check_plan([&](const tensor& t) { return conv(t) + mean(t, {2, 3}, true); }, {x}, 0, 1);
  const tensor half = cast(w, bf16);
  check_plan([&](const tensor& t) { return conv2d(t, half, {}, same) + t; }, {cast(x, bf16)}, 0, 1);
  const tensor narrow = random({8, 8}, bf16);
  check_plan([&](const tensor& t) { return linear(t, narrow) + t; }, {random({3, 8}, bf16)}, 0, 1);
  check_plan([&](const tensor& t) { return linear(t, narrow) + cast(t, f32); },
             {random({3, 8}, bf16)}, 0, 1);
}

TEST_CASE("residual: its memory becomes the result's where nobody else reads it") {
  const tensor w = random({24, 24, 3, 3}, f32);
  const tensor x = channels_last(random({2, 24, 12, 12}, f32));
  const auto conv = [&](const tensor& t) { return conv2d(t, w, {}, {.padding = {1, 1}}); };
  const auto bytes = [&](const auto& f) { return check_plan(f, {x}, 1).arena_bytes(); };
  const index_t one = x.numel() * 4;
  const index_t two = bytes([&](const tensor& t) {
    const tensor r = exp(t);
    return conv(relu(conv(r))) + r;
  });
  CHECK(two < 2 * one + 1000);
  // The layer's input, read again later, under another name, the graph's input.
  CHECK(bytes([&](const tensor& t) {
          const tensor r = exp(t);
          return conv(r) + r;
        }) > 2 * one);
  CHECK(bytes([&](const tensor& t) {
          const tensor r = exp(t), y = conv(relu(conv(r))) + r;
          return exp(y) * r;
        }) > 2 * one + 1000);
  CHECK(bytes([&](const tensor& t) {
          const tensor r = exp(t), view = reshape(r, {2, 24, 144}), y = conv(relu(conv(r))) + r;
          return reshape(y, {2, 24, 144}) * view;
        }) > 2 * one + 1000);
  const plan input = check_plan([&](const tensor& t) { return conv(relu(conv(t))) + t; }, {x}, 1);
  const tensor before = clone(x);
  const no_grad guard;
  static_cast<void>(input(x));
  CHECK(detail::same_values(x, before));
}

TEST_CASE("residual: compiled for another batch than the trace's, where the sum broadcasts") {
  const no_grad guard;
  const tensor w = random({6, 6}, f32), table = random({1, 5, 6}, f32);
  const auto f = [&](const tensor& x) { return linear(x, w) + slice(table, 1, {.stop = 4}); };
  const graph g = trace(f, random({1, 4, 6}, f32));
  const tensor x = random({3, 4, 6}, f32);
  CHECK(sums_in(compile(g, x).steps()) == 1);
  CHECK(distance(numbers(compile(g, x)(x)), numbers(f(x))) < 1e-6);
}

struct residual_network {  // blocks of a ResNet, then inverted ones of a MobileNet
  conv_norm first{3, 16, 3}, a1{16, 16, 3}, a2{16, 16, 3}, b1{16, 32, 3, 2}, b2{32, 32, 3},
      shortcut{16, 32, 1, 2}, wide{32, 96, 1}, deep{96, 96, 3, 1, 96}, narrow{96, 32, 1};
  nn::linear head{{.in = 32, .out = 10}};
  tensor operator()(const tensor& x) const {
    tensor y = relu(first(x));
    y = relu(a2(relu(a1(y))) + y);
    y = relu(b2(relu(b1(y))) + shortcut(y));
    y = narrow(relu6(deep(relu6(wide(y))))) + y;
    return head(mean(y, {2, 3}));
  }
  void visit(auto&& f) {
    f("first", first), f("a1", a1), f("a2", a2), f("b1", b1), f("b2", b2);
    f("shortcut", shortcut), f("wide", wide), f("deep", deep), f("narrow", narrow), f("head", head);
  }
};

TEST_CASE("residual: networks keep no sum, cost what they cost, whatever the number of threads") {
  const no_grad guard;
  residual_network net;
  for (int i = 0; i < 3; ++i) static_cast<void>(net(random({8, 3, 32, 32}, f32)));
  eval(net);
  for (const index_t batch : {1, 9}) {
    const tensor x = random({batch, 3, 32, 32}, f32);
    const plan p = check_plan(net, {x}, 3);
    const graph_cost whole = cost(trace(net, x)), now = cost(p.steps());
    CHECK(now.macs == whole.macs);
    const tensor y = p(x);
    const int before = threads();
    for (const int n : {1, 2, 3}) {
      set_threads(n);
      CHECK(detail::same_values(p(x), y));
    }
    set_threads(before);
  }
}

}  // namespace
}  // namespace adze::residual_test
