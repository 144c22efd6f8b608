// SPDX-License-Identifier: MIT
// Simulation is execution, for whole networks and for thousands of random layers: the integer graph
// gives the simulated codes at every quantized value, and plans give the bits of the graph for any
// number of threads.
#include <thread>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/graph/plan.hpp>
#include <adze/nn/sequential.hpp>
#include <adze/ops/softmax.hpp>
#include <adze/quant/convert.hpp>

#include "../graph/conv_norm.hpp"
#include "../ops/checks.hpp"

namespace adze::quant {
namespace {

using namespace test;

struct lenet {
  nn::conv2d conv1{{.in = 1, .out = 20, .kernel = 5}}, conv2{{.in = 20, .out = 50, .kernel = 5}};
  nn::linear fc1{{.in = 800, .out = 500}}, fc2{{.in = 500, .out = 10}};
  tensor operator()(const tensor& x) const {
    const tensor h = max_pool2d(relu(conv2(max_pool2d(relu(conv1(x))))));
    return fc2(relu(fc1(flatten(h, 1))));
  }
  void visit(auto&& f) { f("conv1", conv1), f("conv2", conv2), f("fc1", fc1), f("fc2", fc2); }
};

struct residual {
  conv_norm a, b;
  std::optional<conv_norm> shortcut{};
  residual(index_t in, index_t out, index_t stride) : a(in, out, 3, stride), b(out, out, 3) {
    if (in != out) shortcut.emplace(in, out, 1, stride);
  }
  tensor operator()(const tensor& x) const {
    return relu(b(relu(a(x))) + (shortcut ? (*shortcut)(x) : x));
  }
  void visit(auto&& f) { f("a", a), f("b", b), f("shortcut", shortcut); }
};

struct resnet_20 {
  conv_norm first{3, 16, 3};
  std::vector<residual> blocks{};
  nn::linear head{{.in = 64, .out = 10}};
  resnet_20() {
    index_t in = 16;
    for (const index_t out : {16, 16, 16, 32, 32, 32, 64, 64, 64}) {
      blocks.emplace_back(in, out, in == out ? 1 : 2);
      in = out;
    }
  }
  tensor operator()(const tensor& x) const {
    tensor y = relu(first(x));
    for (const residual& b : blocks) y = b(y);
    return head(mean(y, {2, 3}));
  }
  void visit(auto&& f) { f("first", first), f("blocks", blocks), f("head", head); }
};

struct mobile_net {  // depthwise separable blocks, ReLU6
  conv_norm first{3, 16, 3, 2}, deep1{16, 16, 3, 1, 16}, wide1{16, 32, 1}, deep2{32, 32, 3, 2, 32},
      wide2{32, 64, 1};
  nn::linear head{{.in = 64, .out = 10}};
  tensor operator()(const tensor& x) const {
    tensor y = relu6(first(x));
    y = relu6(wide1(relu6(deep1(y))));
    y = relu6(wide2(relu6(deep2(y))));
    return head(flatten(adaptive_avg_pool2d(y, {1, 1}), 1));
  }
  void visit(auto&& f) {
    f("first", first), f("deep1", deep1), f("wide1", wide1), f("deep2", deep2), f("wide2", wide2),
        f("head", head);
  }
};

struct agreement {
  index_t codes = 0, differ = 0;
  double most = 0;  // in codes
};

// Every simulated activation of `prepared` beside its codes, on x.
void compare(agreement& a, const graph& prepared, const tensor& x) {
  const no_grad plain;
  graph simulated = detail::frozen(prepared);
  std::vector<double> scales;
  simulated.outputs.clear();
  for (const graph_step& s : simulated.steps) {
    if (s.op.as<fake_quantize_op<>>() == nullptr || simulated.constant(s.inputs[0]).defined())
      continue;
    simulated.outputs.push_back(s.outputs[0]);
    scales.push_back(simulated.constant(s.inputs[1]).item());
  }
  detail::converter c(simulated);
  const graph integers = c.run();
  detail::snap_sums(simulated);
  for (const float_step& l : c.left)
    CHECK_MESSAGE(l.reason == "its result is not quantized", l.op, ": ", l.reason);
  const list p = simulated.run(list{x}), q = integers.run(list{x});
  for (std::size_t i = 0; i < p.size(); ++i) {
    const auto u = numbers(p[i]), v = numbers(q[i]);
    for (std::size_t k = 0; k < u.size(); ++k) {
      const double off = std::nearbyint(std::abs(u[k] - v[k]) / scales[i]);
      a.differ += off != 0;
      a.most = std::max(a.most, off);
    }
    a.codes += static_cast<index_t>(u.size());
  }
}

template <class Net> void check_network(const shape& sizes, const char* name) {
  manual_seed(11);
  Net net;
  for (int i = 0; i < 3; ++i) static_cast<void>(net(randn(sizes) + 0.2));
  const tensor x = randn(sizes) + 0.2;
  agreement all;
  const no_grad plain;
  for (const config& c : {x86(), full8()}) {
    graph prepared = prepare(trace(net, x), c);
    for (int i = 0; i < 2; ++i) static_cast<void>(prepared(randn(sizes) + 0.2));
    compare(all, prepared, x);
    const graph q = convert(prepared);
    const tensor y = q(x);
    const plan p = compile(q, x);
    std::vector<tensor> found(3);
    std::vector<std::thread> callers;
    for (tensor& to : found) {
      callers.emplace_back([&p, &x, &to] {
        for (int i = 0; i < 3; ++i) to = p(x);
      });
    }
    for (std::thread& t : callers) t.join();
    for (const tensor& f : found) CHECK(distance(numbers(f), numbers(y)) == 0.0);
    const int before = threads();
    for (const int count : {1, 2, 3}) {
      set_threads(count);
      CHECK(distance(numbers(p(x)), numbers(y)) == 0.0);
    }
    set_threads(before);
  }
  MESSAGE(std::string(name) << ": " << all.differ << " of " << all.codes << " codes differ, by "
                            << all.most << " at most");
  CHECK(all.differ == 0);
}

TEST_CASE("networks: LeNet-5, ResNet-20 and a MobileNet run as they were simulated") {
  check_network<lenet>({4, 1, 28, 28}, "LeNet-5");
  check_network<resnet_20>({2, 3, 32, 32}, "ResNet-20");
  check_network<mobile_net>({2, 3, 32, 32}, "MobileNet-like");
}

TEST_CASE("layers: 10,000 random problems, extreme codes among them") {
  agreement all;
  const no_grad plain;
  manual_seed(21);
  config torch = full8();  // weights from -128 on
  torch.all.weight.format = torch_weight_format();
  const config configs[] = {x86(), full8(), qnnpack(), w4a8(), torch};
  for (index_t i = 0; i < 10000; ++i) {
    const auto pick = [](index_t low, index_t high) {
      return randint(low, high + 1, {}).item<index_t>();
    };
    const index_t groups = pick(1, 2), in = groups * pick(1, 6), out = groups * pick(1, 9);
    const bool depthwise = i % 5 == 0;
    const conv_options o{.stride = {pick(1, 2), pick(1, 2)},
                         .padding = {pick(0, 2), pick(0, 2)},
                         .dilation = {pick(1, 2), pick(1, 2)},
                         .groups = depthwise ? in : groups};
    const shape sizes = depthwise ? shape{in, 1, pick(1, 3), pick(1, 3)}
                                  : shape{out, in / groups, pick(1, 3), pick(1, 3)};
    // Uniform values: both ends of the codes are used.
    const tensor w = rand(sizes) * 2.0 - 1.0, b = i % 3 == 0 ? tensor() : randn({sizes[0]});
    const tensor x = rand({1, in, pick(5, 8), pick(5, 7)}) * 3.0 - (i % 2 == 0 ? 0.0 : 1.7);
    const tensor dense = rand({out, in}) - 0.5, last = rand({3, out}) - 0.5;
    const auto f = [&](const tensor& v) {
      if (i % 4 == 0) {
        const tensor y = linear(mean(v, {2, 3}), dense);
        return i % 8 == 0 ? sigmoid(relu(y)) : linear(i % 16 == 4 ? softmax(y) : tanh(y), last);
      }
      const tensor y = conv2d(v, w, b, o);
      return i % 7 == 0 ? tanh(relu(y)) : y + y;
    };
    graph prepared = prepare(trace(f, x), configs[i / 3 % 5]);
    static_cast<void>(prepared(x));
    compare(all, prepared, x);
  }
  MESSAGE(all.differ << " of " << all.codes << " codes differ, by " << all.most << " at most");
  CHECK(all.differ == 0);
}

}  // namespace
}  // namespace adze::quant
