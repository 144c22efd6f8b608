// SPDX-License-Identifier: MIT
// Graphs in codes into lists of tensors and back: what loads into a graph of the same structure
// gives the saved one's results bit for bit.
#include <doctest/doctest.h>

#include <adze/graph/cost.hpp>
#include <adze/graph/plan.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/linear.hpp>
#include <adze/nn/norm.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/sequential.hpp>
#include <adze/nn/state_dict.hpp>
#include <adze/optim/sgd.hpp>
#include <adze/quant/sensitivity.hpp>
#include <adze/quant/weight_only.hpp>

#include "../ops/checks.hpp"

namespace adze::quant {
namespace {

using namespace test;

// Every integer step there is: layers with a bound, sums, tables, pools, concat, softmax.
auto network(std::uint64_t seed) {
  manual_seed(seed);
  return nn::sequential{
      nn::conv2d{{.in = 2, .out = 8, .kernel = 3, .padding = 1}},
      [](const tensor& x) { return relu6(x); },
      nn::conv2d{{.in = 8, .out = 8, .kernel = 3, .padding = 1}},
      [](const tensor& x) { return gelu(x); },
      [](const tensor& x) {
        return relu(x + max_pool2d(x, {.kernel = {3, 3}, .stride = {1, 1}, .padding = {1, 1}}));
      },
      [](const tensor& x) {
        return concat(
            list{x, avg_pool2d(x, {.kernel = {3, 3}, .stride = {1, 1}, .padding = {1, 1}})}, 1);
      },
      [](const tensor& x) {
        return mean(x, {2, 3});
      },
      nn::linear{{.in = 16, .out = 12}},
      [](const tensor& x) { return softmax(x, -1); },
      nn::linear{{.in = 12, .out = 5}}};
}
tensor example(double size = 1) { return (random({4, 2, 6, 6}, f32) - 0.3) * size; }

named_tensors copies(const named_tensors& list) {
  named_tensors all;
  for (const auto& [name, x] : list) all.emplace_back(name, adze::detail::dense_copy(x));
  return all;
}
template <class F> void loads_bit_for_bit(const F& made) {
  const tensor x = example();
  const graph saved = made(1, 1.0);
  graph again = made(2, 3.0);
  const named_tensors list = copies(state_dict(saved));
  CHECK(numbers(again(x)) != numbers(saved(x)));
  const plan before = compile(again, x);
  const std::vector<double> planned = numbers(before(x));
  load_state_dict(again, list);
  CHECK(numbers(again(x)) == numbers(saved(x)));
  CHECK(numbers(compile(again, x)(x)) == numbers(compile(saved, x)(x)));
  CHECK(numbers(before(x)) == planned);  // a plan is a snapshot
}

TEST_CASE("state_dict: graphs in codes and their simulations load bit for bit") {
  const no_grad plain;
  for (const config& c : {full8(), x86()}) {
    const auto prepared = [&](std::uint64_t seed, double size) {
      const auto net = network(seed);
      return calibrated(trace(net, example()), c, {example(size)});
    };
    loads_bit_for_bit(
        [&](std::uint64_t seed, double size) { return convert(prepared(seed, size)); });
    loads_bit_for_bit(
        [&](std::uint64_t seed, double size) { return simulate(prepared(seed, size)); });
  }
  loads_bit_for_bit(
      [](std::uint64_t seed, double) { return quantize_dynamic(trace(network(seed), example())); });
  loads_bit_for_bit([](std::uint64_t seed, double) {
    return quantize_weights(trace(network(seed), example()), {.group = 8});
  });
}

TEST_CASE("state_dict: a list without the parameters of steps, or of other codes, is refused") {
  const no_grad plain;
  const auto net = network(3);
  const tensor x = example();
  const auto made = [&](const config& c) { return convert(calibrated(trace(net, x), c, {x})); };
  graph q = made(full8());
  named_tensors list = copies(state_dict(q));
  CHECK(std::count_if(list.begin(), list.end(),
                      [](const auto& e) { return e.first == "quantize.0.to[0..255]"; }) == 1);
  graph other = made(x86());
  const std::vector<double> kept = numbers(other(x));
  const std::string says = message_of([&] { load_state_dict(other, list); });
  CHECK(says.find("missing quantize.0.to[0..127]") != std::string::npos);
  CHECK(says.find("unexpected quantize.0.to[0..255]") != std::string::npos);
  CHECK(numbers(other(x)) == kept);
  graph simulated = simulate(calibrated(trace(net, x), x86(), {x}));
  const graph wide = simulate(calibrated(trace(net, x), full8(), {x}));
  CHECK(message_of([&] {
          load_state_dict(simulated, state_dict(wide));
        }).find("input0_scale[0..255]") != std::string::npos);
  CHECK_THROWS_AS(load_state_dict(simulated, state_dict(wide)), value_error);
  std::erase_if(list, [](const auto& e) { return e.first.find('[') != std::string::npos; });
  CHECK_THROWS_AS(load_state_dict(q, list), value_error);
}

TEST_CASE("state_dict: a clone of a graph in codes has parameters of its own") {
  const no_grad plain;
  const auto net = network(5);
  const tensor x = example();
  const auto made = [&](double size) {
    return convert(calibrated(trace(net, x), full8(), {example(size)}));
  };
  const graph q = made(1), wide = made(4);
  graph copy = clone(q);
  const std::vector<double> kept = numbers(q(x));
  load_state_dict(copy, state_dict(wide));
  CHECK(numbers(q(x)) == kept);
  CHECK(numbers(copy(x)) == numbers(wide(x)));
}

struct trained {
  nn::conv2d conv{{.in = 2, .out = 4, .kernel = 3, .bias = false}};
  nn::batch_norm2d norm{{.channels = 4}};
  nn::linear head{{.in = 4, .out = 3}};
  tensor operator()(const tensor& x) const { return head(mean(relu(norm(conv(x))), {2, 3})); }
  void visit(auto&& f) { f("conv", conv), f("norm", norm), f("head", head); }
};

TEST_CASE("state_dict: a training with simulated codes goes on where it was saved") {
  const auto made = [](std::uint64_t seed, const config& c) {
    manual_seed(seed);
    return prepare_qat(trace(trained{}, example()), c);
  };
  const auto step = [](graph& g, const tensor& x) {
    optim::sgd opt(adze::parameters(g), {.lr = 0.1});
    zero_grad(g);
    const tensor loss = sum(g(x) * g(x));
    backward(loss);
    opt.step();
    return loss.item();
  };
  for (const config& c : {full8(), with_lsq(4)}) {
    graph one = made(1, c), two = made(2, c);
    CHECK(state_dict(one).size() == state_dict(two).size());
    for (int i = 0; i < 3; ++i) step(one, example());
    load_state_dict(two, copies(state_dict(one)));
    CHECK(numbers(convert(two)(example())).size() == 12);  // observers have seen what was saved
    for (int i = 0; i < 3; ++i) {
      const tensor x = example(2);
      CHECK(step(one, x) == step(two, x));
    }
    CHECK(numbers(convert(one)(example() * 0.0 + 1.0)) ==
          numbers(convert(two)(example() * 0.0 + 1.0)));
  }
  graph going = made(6, full8());
  static_cast<void>(step(going, example()));
  const graph kept = clone(going);
  const std::vector<double> then = numbers(simulate(kept)(example() * 0.0 + 1.0));
  for (int i = 0; i < 3; ++i) static_cast<void>(step(going, example(5)));
  CHECK(numbers(simulate(kept)(example() * 0.0 + 1.0)) == then);
  graph wide = made(5, full8());
  to(wide, f64);
  CHECK(std::isfinite(step(wide, adze::detail::dense_as(example(), f64))));
  graph fresh = made(3, full8());
  graph same = made(4, full8());
  load_state_dict(same, copies(state_dict(fresh)));  // what has seen nothing still has not
  CHECK_THROWS_AS(convert(same), state_error);
}

std::vector<std::string> names_and_shapes(const graph& g) {
  std::vector<std::string> all;
  for (const auto& [name, x] : state_dict(g)) all.push_back(text(name, " ", x.dtype(), x.shape()));
  return all;
}
// What `saved` holds fits into `fresh`, which then gives its results.
void takes_over(graph& fresh, const graph& saved, const tensor& x) {
  CHECK(names_and_shapes(fresh) == names_and_shapes(saved));
  load_state_dict(fresh, copies(state_dict(saved)));
  CHECK(numbers(fresh(x)) == numbers(saved(x)));
}
config by_extremes(config c) {
  c.all.activation.kind = statistic::min_max;
  return c;
}

TEST_CASE("state_dict: what a graph in codes holds does not depend on which scales are equal") {
  const no_grad plain;
  const tensor last = random({2, 4, 1, 1}, f32);
  const auto made = [&](double left, double right) {  // the larger branch has the range of both
    const tensor w = full({2, 2, 1, 1}, 1.0, f32), x = rand({2, 2, 4, 4}, f32, source());
    const tensor a = w * left, b = w * right;
    const auto f = [&](const tensor& v) {
      const tensor both = concat(list{relu(conv2d(v, a)), relu(conv2d(v, b))}, 1);
      return conv2d(both, last);
    };
    return convert(calibrated(trace(f, x), by_extremes(full8()), {x}));
  };
  graph one = made(1, 3);
  const graph other = made(3, 1);
  const tensor x = rand({2, 2, 4, 4}, f32, source());
  takes_over(one, other, x);
  CHECK(numbers(compile(one, x)(x)) == numbers(other(x)));
  CHECK(numbers(compile(other, x)(x)) == numbers(other(x)));
}

TEST_CASE("state_dict: a parameter of ones multiplies what another value would") {
  const no_grad plain;
  const tensor x = random({4, 6}, f32), w = random({5, 6}, f32);
  const auto made = [&](double gamma) {
    const tensor by = full({5}, gamma, f32).set_requires_grad();
    return simulate(calibrated(trace([&](const tensor& v) { return linear(v, w) * by; },
                                     std::vector<tensor>{x}, {.parameters = {{"gamma", by}}}),
                               full8(), {x}));
  };
  graph fresh = made(1);
  const graph trained = made(3);
  takes_over(fresh, trained, x);
}

TEST_CASE("state_dict: a simulation with dead channels has the names and shapes of a fresh one") {
  const no_grad plain;
  const tensor x = rand({16, 40}, f32, source());
  for (const config& c : {full8(), qnnpack()}) {
    const auto made = [&](double second) {
      const tensor kept = random({1, 40}, f32), b = tensor_f32{1.5f, -1.5f};
      const tensor w = concat(list{kept, kept * second}, 0);
      return simulate(calibrated(trace([&](const tensor& v) { return linear(v, w, b); }, x),
                                 by_extremes(c), {x}));
    };
    graph fresh = made(1);
    const graph pruned = made(0);
    takes_over(fresh, pruned, x);
  }
}

TEST_CASE("state_dict: scales that were trained have their codes in the name") {
  const no_grad plain;
  const tensor x = rand({4, 6}, f32, source());
  const auto net =
      nn::sequential{nn::linear{{.in = 6, .out = 5}}, [](const tensor& v) { return relu(v); },
                     nn::linear{{.in = 5, .out = 4}}};
  const auto made = [&](const config& c) {
    graph g = prepare_qat(trace(net, x), c);
    static_cast<void>(g(x));
    return simulate(g);
  };
  const std::array<config, 2> pairs[] = {{with_lsq(3), with_lsq(7)},
                                         {with_tqt(3), with_tqt(7)},
                                         {with_pact(3), with_pact(7)},
                                         {with_dorefa(3), with_dorefa(7)}};
  for (const auto& [few, many] : pairs) {
    const graph narrow = made(few);
    graph wide = made(many);
    CHECK_THROWS_AS(load_state_dict(wide, state_dict(narrow)), value_error);
    std::vector<std::string> without;
    for (const auto& [name, t] : state_dict(narrow)) {
      const bool scale = name.find("_scale") != std::string::npos &&
                         name.find("bias") == std::string::npos &&
                         name.find("sum") == std::string::npos;
      if (scale && name.find('[') == std::string::npos) without.push_back(name);
    }
    CHECK(without.empty());
  }
}

TEST_CASE("prepare: plans do not observe, and clones have histograms of their own") {
  const no_grad plain;
  const auto net = network(7);
  const tensor x = example(), far = example(20);
  for (const config& c : {full8(), by_extremes(full8())}) {
    graph g = prepare(trace(net, x), c);
    static_cast<void>(g(x));
    const std::vector<double> then = numbers(simulate(g)(x));
    const plan p = compile(g, far);
    static_cast<void>(p(far));
    CHECK(numbers(simulate(g)(x)) == then);
    const graph copy = clone(g);
    static_cast<void>(g(far));
    CHECK(numbers(simulate(g)(x)) != then);
    CHECK(numbers(simulate(copy)(x)) == then);
    set_simulating(g, true);
    const plan fixed = compile(g, x);
    const std::vector<double> planned = numbers(fixed(x));
    static_cast<void>(g(example(400)));
    CHECK(numbers(fixed(x)) == planned);  // a snapshot
    graph again = prepare(trace(net, x), c);
    load_state_dict(again, copies(state_dict(copy)));
    CHECK(numbers(simulate(again)(x)) == then);
  }
}

TEST_CASE("cost: what steps hold as state counts") {
  const no_grad plain;
  const tensor x = example();
  const graph q = convert(calibrated(trace(network(8), x), full8(), {x}));
  index_t bytes = 0;
  for (const auto& [name, t] : state_dict(q)) bytes += t.numel() * size_of(t.dtype());
  CHECK(constant_bytes(q) == bytes);
  CHECK(cost(q).constant_bytes == bytes);
  const auto gelus = [](const tensor& v) { return gelu(v); };
  const plan p = compile(convert(calibrated(trace(gelus, x), full8(), {x})), x);
  index_t held = 0;
  for (const graph_step& s : p.steps().steps) held += s.op.name() == "gelu" ? 0 : 8;
  CHECK(p.constant_bytes() == held);
}

}  // namespace
}  // namespace adze::quant
