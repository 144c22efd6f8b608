// SPDX-License-Identifier: MIT
// Graphs: a replay is the function, in values and in gradients; folding and fusing keep values;
// control flow on data is caught; costs are those of the definition.
#include <set>

#include <doctest/doctest.h>

#include <adze/amp/autocast.hpp>
#include <adze/graph/cost.hpp>
#include <adze/graph/fold.hpp>
#include <adze/graph/fuse.hpp>
#include <adze/graph/trace.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/dropout.hpp>
#include <adze/nn/norm.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/state_dict.hpp>
#include <adze/ops/inplace.hpp>
#include <adze/ops/pool.hpp>
#include <adze/ops/sort.hpp>

#include "../ops/checks.hpp"

namespace adze {
namespace {

using namespace test;

struct small_net {
  nn::conv2d conv{{.in = 3, .out = 8, .kernel = 3, .padding = 1, .bias = false, .type = f64}};
  nn::batch_norm2d norm{{.channels = 8, .type = f64}};
  nn::dropout drop{{.p = 0.5}};
  nn::linear head{{.in = 8 * 4 * 4, .out = 5, .type = f64}};
  tensor operator()(const tensor& x) const {
    return head(drop(flatten(max_pool2d(relu(norm(conv(x))), {.kernel = {2, 2}}), 1)));
  }
  void visit(auto&& f) {
    f("conv", conv);
    f("norm", norm);
    f("drop", drop);
    f("head", head);
  }
};

struct half_op {  // its second result is absent
  static constexpr std::string_view name = "half";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  std::array<tensor, 2> forward(const tensor& x) const { return {x * 0.5, tensor()}; }
  tensor backward(backward_context&, tensor_list g) const { return g[0] * 0.5; }
};

struct rows_op {  // as many results as x has rows
  static constexpr std::string_view name = "rows";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  std::vector<tensor> forward(const tensor& x) const {
    std::vector<tensor> rows;
    for (index_t i = 0; i < x.size(0); ++i) rows.push_back(select(x, 0, i));
    return rows;
  }
  tensor backward(backward_context&, tensor_list) const { return {}; }
};

// With statistics that differ from 0 and 1.
small_net trained_net() {
  manual_seed(3);
  small_net net;
  static_cast<void>(net(random({16, 3, 8, 8}) * 2.0 + 1.0));
  return net;
}

double apart(const tensor& a, const tensor& b) { return distance(numbers(a), numbers(b)); }

index_t steps_named(const graph& g, std::string_view name) {
  index_t n = 0;
  for (const graph_step& s : g.steps) n += s.op.name() == name;
  return n;
}

TEST_CASE("trace: the graph gives what the function gives, at other batch sizes too") {
  small_net net = trained_net();
  eval(net);
  const graph g = trace(net, random({2, 3, 8, 8}));
  const no_grad guard;
  for (const index_t batch : {1, 2, 5}) {
    const tensor x = random({batch, 3, 8, 8});
    CHECK(apart(g(x), net(x)) == 0.0);
  }
  CHECK(g.steps.size() == 6);
  CHECK(message_of([&] { g.run({}); }) == "graph: takes 1 inputs; got 0");
}

TEST_CASE("trace: an error of a step says which, and what the graph was traced with") {
  const tensor place = random({16, 3});
  const graph g = trace([&](const tensor& x) { return relu(x) + place; }, random({2, 16, 3}));
  CHECK(message_of([&] {
          g(random({2, 8, 3}));
        }) ==
        "add: shapes [2,8,3] and [16,3] do not broadcast (8 vs 16 on axis 1); sizes must be equal "
        "or 1; step 1 (add) of a graph traced with f64[2,16,3]");
  CHECK_THROWS_AS(g(random({2, 8, 3})), shape_error);
}

TEST_CASE("trace: a graph has no training mode to switch") {
  graph g = trace([](const tensor& x) { return relu(x); }, random({2}));
  CHECK(message_of([&] { eval(g); }).starts_with("eval: a graph has no training mode"));
  CHECK(message_of([&] { train(g); }).find("quant::simulate(g)") != std::string::npos);
  CHECK_THROWS_AS(train(g, false), state_error);
}

TEST_CASE("trace: a graph is a module that shares its parameters; gradients are the function's") {
  small_net net = trained_net();
  eval(net);
  const tensor x = random({4, 3, 8, 8});
  const graph g = trace(net, x);
  const named_tensors names = named_parameters(g);
  REQUIRE(names.size() == 5);
  CHECK(names[0].first == "conv.weight");
  CHECK(&names[0].second.impl() == &net.conv.weight.impl());
  CHECK(named_buffers(g).size() == 3);
  const auto gradients = [&](const auto& f) {
    return grad(list{sum(square(f(x)))}, parameters(net));
  };
  const std::vector<tensor> a = gradients(net), b = gradients(g);
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(apart(a[i], b[i]) == 0.0);

  const graph own = clone(g);
  CHECK(&own.values[1].constant.impl() != &g.values[1].constant.impl());
  const list both{x, net.conv.weight};
  check_gradients([&](tensor_list in) { return g(in[0]); },
                  {random({2, 3, 8, 8}).set_requires_grad()});
}

TEST_CASE("trace: leaves statistics, the generator and gradients as they were") {
  small_net net = trained_net();
  const tensor mean = clone(net.norm.running_mean);
  manual_seed(9);
  const graph g = trace(net, random({4, 3, 8, 8}));
  const tensor after = randn({3});
  manual_seed(9);
  CHECK(apart(after, randn({3})) == 0.0);
  CHECK(apart(net.norm.running_mean, mean) == 0.0);
  CHECK(steps_named(g, "batch_norm") == 1);
  CHECK(steps_named(g, "dropout") == 1);
  const index_t nodes = live_nodes();
  static_cast<void>(trace(net, random({4, 3, 8, 8})));
  CHECK(live_nodes() == nodes);
  static_cast<void>(g(random({4, 3, 8, 8})));  // a replay is a training step's forward
  CHECK(apart(net.norm.running_mean, mean) > 0.0);
}

TEST_CASE("trace: replays under autocast") {
  nn::linear layer{{.in = 8, .out = 4}};
  const graph g = trace(layer, random({2, 8}, f32));
  const amp::autocast guard(amp::bf16());
  CHECK(g(random({2, 8}, f32)).dtype() == bf16);
}

TEST_CASE("trace: several inputs and outputs, lists, absent inputs, in-place ops") {
  const auto f = [](const tensor& a, const tensor& b) {
    tensor y = a * b;
    add_(y, 1.0);
    const std::array<tensor, 2> both{concat(std::vector<tensor>{y, a}, 0), y - b};
    return both;
  };
  const tensor a = random({2, 3}), b = random({2, 3}), c = random({2, 3});
  const graph g = trace(f, {a, b});
  const std::vector<tensor> y = g.run(list{c, a});
  const auto expected = f(c, a);
  CHECK(apart(y[0], expected[0]) == 0.0);
  CHECK(apart(y[1], expected[1]) == 0.0);

  nn::lstm lstm{{.in = 4, .hidden = 6, .layers = 2, .type = f64}};
  const graph r = trace(lstm, random({3, 2, 4}));
  const tensor x = random({5, 7, 4});  // other steps, another batch
  const nn::lstm_result now = lstm(x);
  CHECK(r.outputs.size() == 3);
  CHECK(message_of([&] { r(x); }) == "graph: has 3 outputs; run(inputs) returns them all");
  CHECK(apart(r.run(list{x})[0], now.output) == 0.0);
}

TEST_CASE("trace: a function may write into its inputs; the examples stay as they were") {
  const auto f = [](const tensor& in) {
    tensor y = in;
    add_(y, 1.0);
    return y * 2.0;
  };
  const tensor x = random({2, 3}), second = transpose(random({3, 2})), kept = clone(x);
  const graph g = trace(f, x, {.second = {second}});
  CHECK(apart(x, kept) == 0.0);
  CHECK(apart(g(x), (kept + 1.0) * 2.0) == 0.0);
  CHECK(apart(x, kept) == 0.0);
}

TEST_CASE("trace: a value that was changed through another handle or view is refused") {
  const tensor x = random({2, 8});
  const auto refused = [&](auto f) {
    return message_of([&] { trace(f, x); }).find("through another handle or view") !=
           std::string::npos;
  };
  CHECK(message_of([&] {
          trace(
              [](const tensor& in) {
                tensor out = zeros({4, 8}, f64), top = slice(out, 0, {0, 2});
                copy_(top, in);
                return out;
              },
              x);
        }) == "trace: f64[4,8] was changed in place through another handle or view, which a graph "
              "cannot follow (version 0, now 1); use the changed handle, or put the parts together "
              "with stack() or concat()");
  CHECK(refused([](const tensor& in) {
    tensor y = in * 2.0, row = slice(y, 0, {0, 1});
    mul_(row, 0.0);
    return y;
  }));
  CHECK(refused([](const tensor& in) {
    tensor y = in * 2.0, row = slice(y, 0, {0, 1});
    mul_(y, 0.0);
    return row + 1.0;
  }));
  CHECK(refused([](const tensor& in) {  // a second handle of what the trace has not seen yet
    tensor out = zeros({2, 8}, f64), second = out;
    copy_(second, in);
    return out;
  }));
  CHECK(refused([](const tensor& in) {
    tensor y = in * 2.0, second = y;
    add_(second, 1.0);
    return y * second;
  }));
  // The changed handle itself, and views of it, are followed.
  const auto f = [](const tensor& in) {
    tensor out = zeros({2, 8}, f64);
    copy_(out, in);
    mul_(out, 3.0);
    tensor row = slice(out, 0, {1, 2});
    return row + slice(out, 0, {0, 1});
  };
  const graph g = trace(f, random({2, 8}));
  CHECK(apart(g(x), f(x)) == 0.0);
  // A batch norm that is used twice writes its statistics, as the graph does.
  nn::batch_norm2d norm{{.channels = 3, .type = f64}};
  const tensor image = random({2, 3, 4, 4});
  const graph twice = trace([&](const tensor& in) { return norm(relu(norm(in))); }, image);
  CHECK(apart(twice(image), norm(relu(norm(image)))) < 1e-12);
}

TEST_CASE("trace: an absent result of an op is not stored; one of the function is refused") {
  const tensor x = random({2, 3});
  const graph g = trace([](const tensor& v) { return record(half_op{}, v)[0]; }, x);
  CHECK(g.steps[0].outputs[1] == no_value);
  CHECK(apart(g(x), x * 0.5) == 0.0);
  const auto none = [](const tensor& v) { return std::array<tensor, 2>{v * 2.0, tensor()}; };
  CHECK(message_of([&] { trace(none, x); }) == "trace: result 1 of the function is undefined");
}

TEST_CASE("trace: a second example catches control flow on data") {
  const tensor plus = full({3}, 1.0), minus = full({3}, -1.0);
  const auto branch = [](const tensor& x) {
    return x.requires_grad() || sum(x).item() > 0 ? exp(x) : tanh(x);
  };
  CHECK(message_of([&] { trace(branch, plus, {.second = {minus}}); }) ==
        "trace: the function takes another path on the second example; step 1 was exp, now tanh; "
        "a graph holds one path: no `if` on values or sizes");
  const auto baked = [](const tensor& x) { return mul(x, sum(x).item()); };
  const std::string said = message_of([&] { trace(baked, plus, {.second = {minus}}); });
  CHECK(said.starts_with("trace: on the second example step 1 (mul"));
  const auto longer = [](const tensor& x) {
    const tensor y = exp(x);
    return x.size(0) > 3 ? exp(y) : y;
  };
  CHECK(message_of([&] { trace(longer, plus, {.second = {ones({4})}}); }) ==
        "trace: the function runs 2 ops on the second example and 1 on the first");
  CHECK_NOTHROW(
      trace([](const tensor& x) { return dropout(x, 0.5, true); }, plus, {.second = {minus}}));
}

TEST_CASE("trace: results whose number depends on data are another path") {
  const auto parts = [](const tensor& x) {
    return sum(split(x, sum(x).item() > 0 ? 2 : 1, 0).back(), {0});
  };
  const tensor plus = full({6}, 1.0), minus = full({6}, -1.0);
  CHECK(message_of([&] { trace(parts, plus, {.second = {minus}}); }) ==
        "trace: the function takes another path on the second example; step 1 was split -> 1 2 3, "
        "now split -> 1 2 3 4 5 6; a graph holds one path: no `if` on values or sizes");
  CHECK(message_of([&] { trace(parts, minus, {.second = {plus}}); }).find("-> 1 2 3;") !=
        std::string::npos);
  // At other sizes than the trace's an op may have another number of results.
  const auto last = [](const tensor& x) { return record(rows_op{}, x)[9] * 2.0; };
  const graph g = trace(last, random({10, 2}));
  CHECK(message_of([&] {
          g(random({9, 2}));
        }) == "graph: rows gives 9 results at these sizes and gave 10 in the trace; "
              "step 0 (rows) of a graph traced with f64[10,2]");
}

struct tied_net {
  nn::linear a{{.in = 4, .out = 4, .bias = false, .type = f64}}, b{a};
  nn::batch_norm1d norm{{.channels = 4, .type = f64}};
  nn::batch_norm1d aside{{.channels = 2, .affine = false, .type = f64}};  // never called
  tensor operator()(const tensor& x) const { return b(norm(a(x))); }
  void visit(auto&& f) {
    f("a", a);
    f("b", b);
    f("norm", norm);
    f("aside", aside);
  }
};

TEST_CASE("trace: a graph saves what the model saves, under the model's names") {
  tied_net net;
  const tensor x = random({5, 4});
  static_cast<void>(net(x));
  const auto names = [](const auto& m) {
    std::set<std::string> all;
    for (const auto& [name, value] : state_dict(m)) all.insert(name);
    return all;
  };
  const graph g = trace(net, x);
  CHECK(names(g) == names(net));
  CHECK(adze::parameters(g).size() == 3);
  CHECK(named_parameters(g).size() == 4);
  tied_net other = clone(net);
  CHECK_NOTHROW(load_state_dict(other, state_dict(g)));
  CHECK(other.norm.num_batches_tracked.item() == 1);
  graph own = clone(g);
  CHECK(names(own) == names(net));
  CHECK(apart(own(x), g(x)) == 0.0);
  {
    const no_grad plain;
    fill_(other.a.weight, 0.5);
  }
  CHECK_NOTHROW(load_state_dict(own, state_dict(other)));
  CHECK(apart(own(x), other(x)) < 1e-12);
  CHECK(names(trace(g, x)) == names(net));
  // Folded, `a` has a weight of its own.
  CHECK(names(fold(g)) == std::set<std::string>{"a.weight", "b.weight", "a.weight.1", "a.bias"});
}

TEST_CASE("fold: batch norm goes into the layer before it, to the last ulps") {
  small_net net = trained_net();
  const graph g = trace(net, random({4, 3, 8, 8}));  // in training mode
  const graph folded = fold(g);
  eval(net);
  const no_grad guard;
  const tensor x = random({3, 3, 8, 8});
  CHECK(apart(folded(x), net(x)) < 1e-13);
  CHECK(folded.steps.size() == 5);
  const named_tensors names = named_parameters(folded);
  REQUIRE(names.size() == 4);
  std::string all;
  for (const auto& [name, value] : names) all += name + " ";
  CHECK(all == "head.weight head.bias conv.bias conv.weight ");
  CHECK(names[3].second.requires_grad());
  CHECK(steps_named(for_inference(g), "batch_norm_eval") == 1);
  CHECK(steps_named(for_inference(g), "dropout") == 0);
  CHECK(steps_named(freeze_statistics(g), "dropout") == 1);
}

TEST_CASE("fold: grouped, transposed and dense layers; not where the result is read twice") {
  const no_grad guard;
  const tensor x = random({2, 4, 5, 5});
  const auto norm = [](const tensor& y) {
    const index_t c = y.size(1);
    manual_seed(static_cast<std::uint64_t>(c));
    return std::vector<tensor>{rand({c}, f64) + 0.5, random({c}), random({c}),
                               rand({c}, f64) + 0.5};
  };
  const auto check = [&](const tensor_function& layer, const tensor& in, index_t steps) {
    const std::vector<tensor> t = norm(layer(list{in}));
    const auto f = [&](const tensor& v) {
      return batch_norm(layer(list{v}), t[0], t[1], t[2], t[3], {.training = false});
    };
    const graph g = fold(trace(f, in));
    CHECK(static_cast<index_t>(g.steps.size()) == steps);
    CHECK(apart(g(in), f(in)) < 1e-13);
  };
  const tensor grouped = random({6, 2, 3, 3}), turned = random({4, 3, 3, 3}), bias = random({6});
  check([&](tensor_list v) { return conv2d(v[0], grouped, bias, {.groups = 2}); }, x, 1);
  check(
      [&](tensor_list v) {
        return conv_transpose2d(v[0], turned, bias, {.stride = {2, 2}, .groups = 2});
      },
      x, 1);
  const tensor w = random({3, 8});
  check([&](tensor_list v) { return linear(v[0], w); }, random({4, 8}), 1);
  check([&](tensor_list v) { return relu(linear(v[0], w)); }, random({4, 8}), 3);
  const tensor square_weight = random({4, 4, 1, 1});
  check(
      [&](tensor_list v) {
        const tensor y = conv2d(v[0], square_weight);
        return y + y;
      },
      x, 3);
}

TEST_CASE("fold: keeps eps, from training too; not through an activation; no attention dropout") {
  const no_grad guard;
  const tensor w = random({3, 4}), k = random({3, 4, 1, 1}), mean = random({3}),
               var = rand({3}, f64);
  const auto norm = [&](const tensor& y, bool training) {
    return batch_norm(y, {}, {}, mean, var, {.training = training, .momentum = 0, .eps = 0.5});
  };
  const tensor x = random({5, 4}), expected = norm(linear(x, w), false);
  for (const bool training : {false, true}) {
    const graph g = trace([&](const tensor& v) { return norm(linear(v, w), training); }, x);
    CHECK(apart(for_inference(g)(x), expected) < 1e-13);
    CHECK(apart(fold(g)(x), expected) < 1e-13);
  }
  const tensor image = random({2, 4, 3, 3});
  const auto rectified = [&](const tensor& v) { return norm(relu(conv2d(v, k)), false); };
  const graph fused = fuse(trace(rectified, image));
  CHECK(fused.steps.size() == 2);
  CHECK(apart(fold(fused)(image), rectified(image)) < 1e-13);
  const auto look = [](const tensor& q, double p) {
    return scaled_dot_product_attention(q, q, q, {}, {.dropout = p});
  };
  const graph g = trace([&](const tensor& q) { return look(q, 0.5); }, x);
  CHECK(apart(for_inference(g)(x), look(x, 0.0)) < 1e-13);
}

TEST_CASE("fold: a batch norm stays behind one that was folded, where the result is read twice") {
  const no_grad guard;
  const tensor w = random({3, 4}), mean = random({3}), var = rand({3}, f64) + 0.5,
               x = random({5, 4});
  const auto norm = [&](const tensor& y) {
    return batch_norm(y, {}, {}, mean, var, {.training = false});
  };
  const auto twice = [&](const tensor& v) {
    const tensor y = norm(linear(v, w));
    return norm(y) + y;
  };
  const graph both = fold(trace(twice, x));
  CHECK(both.steps.size() == 3);
  CHECK(apart(both(x), twice(x)) < 1e-13);
  const auto chain = [&](const tensor& v) { return norm(norm(linear(v, w))); };
  const graph one = fold(trace(chain, x));
  CHECK(one.steps.size() == 1);
  CHECK(apart(one(x), chain(x)) < 1e-13);
}

TEST_CASE("fold: not into a linear whose outputs are not the channels of the batch norm") {
  const no_grad guard;
  for (const index_t steps : {3, 4}) {
    const tensor w = random({3, 4}), x = random({2, steps, 4});
    const tensor mean = random({steps}), var = rand({steps}, f64) + 0.5;
    const auto f = [&](const tensor& v) {
      return batch_norm(linear(v, w), {}, {}, mean, var, {.training = false});
    };
    const graph g = fold(trace(f, x));
    CHECK(g.steps.size() == 2);
    CHECK(apart(g(x), f(x)) < 1e-13);
  }
}

TEST_CASE("fuse: relu becomes part of the layer before it; same bits, same gradients") {
  const tensor w = random_leaf({5, 4}), b = random_leaf({5}), k = random_leaf({3, 2, 3, 3});
  const auto f = [&](const tensor& x, const tensor& image) {
    const tensor y = linear(x, w, b);
    return std::array<tensor, 3>{relu(y) + y, relu(linear(x, w, b)), relu(conv2d(image, k))};
  };
  const list x{random({3, 4}), random({2, 2, 6, 6})};
  const graph g = trace(f, x), fused = fuse(g);
  CHECK(steps_named(g, "relu") == 3);
  CHECK(steps_named(fused, "relu") == 1);
  CHECK(show(fused).find("linear+relu(") != std::string::npos);
  const auto gradients = [&](const graph& h) {
    const list y = h.run(x);
    return grad(list{sum(square(y[0])) + sum(exp(y[1])) + sum(square(y[2]))}, list{w, b, k});
  };
  const list ga = gradients(g), gb = gradients(fused);
  for (std::size_t i = 0; i < ga.size(); ++i) CHECK(apart(ga[i], gb[i]) == 0.0);
  const list ya = g.run(x), yb = fused.run(x);
  for (std::size_t i = 0; i < ya.size(); ++i) CHECK(apart(ya[i], yb[i]) == 0.0);
}

TEST_CASE("cost: LeNet-5's published numbers of parameters and multiply-adds") {
  nn::conv2d one{{.in = 1, .out = 20, .kernel = 5}}, two{{.in = 20, .out = 50, .kernel = 5}};
  nn::linear three{{.in = 800, .out = 500}}, four{{.in = 500, .out = 10}};
  const auto f = [&](const tensor& x) {
    tensor y = max_pool2d(one(x), {.kernel = {2, 2}});
    y = max_pool2d(two(y), {.kernel = {2, 2}});
    return four(relu(three(flatten(y, 1))));
  };
  const graph_cost c = cost(trace(f, zeros({1, 1, 28, 28})));
  CHECK(c.parameters == 431080);
  CHECK(c.parameter_bytes == 4 * 431080);
  CHECK(c.macs == 288000 + 1600000 + 400000 + 5000);
  CHECK(c.steps[0].result_bytes == 4 * 20 * 24 * 24);
  CHECK(c.peak_bytes == 4 * (20 * 24 * 24 + 20 * 12 * 12));
  CHECK(c.constant_bytes == c.parameter_bytes);
  CHECK(to_table(c).rows() == 9);
}

TEST_CASE("cost: views keep their memory alive, results that nobody reads go at once") {
  const tensor x = zeros({2, 3, 4}, f64), row = zeros({1, 24}, f64);
  const auto twice = [](const tensor& y) { return concat(std::vector<tensor>{y, y}, 0); };
  const auto viewed = [&](const tensor& v) {
    return twice(transpose(reshape(exp(v), {2, 12})) + reshape(select(row, 0, 0), {12, 2}));
  };
  // exp(v), its views, the sum; then the sum and twice as much
  CHECK(cost(trace(viewed, x)).peak_bytes == 8 * (24 + 48));
  const auto held = [&](const tensor& v) { return twice(transpose(reshape(exp(v), {2, 12}))); };
  CHECK(cost(trace(held, x)).peak_bytes == 8 * (24 + 48));
  const auto sorted = [&](const tensor& v) { return twice(exp(sort(v)[0])); };
  CHECK(cost(trace(sorted, x)).peak_bytes == 8 * (24 + 48));
  const auto halved = [&](const tensor& v) { return twice(split(exp(v), 1, 0)[1]); };
  const graph_cost c = cost(trace(halved, x));
  CHECK(c.peak_bytes == 8 * (24 + 24));
  CHECK(c.steps[1].result_bytes == 0);
}

TEST_CASE("cost: recurrent layers and attention") {
  nn::lstm lstm{{.in = 4, .hidden = 6}};
  const graph_cost c = cost(trace(lstm, zeros({3, 2, 4})));
  CHECK(c.macs == 3 * 2 * (4 * 6 * 4 + 4 * 6 * 6));
  const tensor q = zeros({2, 4, 5, 8});
  const auto f = [&](const tensor& x) { return scaled_dot_product_attention(x, x, x); };
  CHECK(cost(trace(f, q)).macs == 2 * (2 * 4 * 5 * 5 * 8));
}

TEST_CASE("show: one line per step, and DOT") {
  nn::linear layer{{.in = 3, .out = 2}};
  const graph g = trace([&](const tensor& x) { return relu(layer(x)); }, zeros({4, 3}),
                        {.parameters = named_parameters(layer)});
  CHECK(show(g) == "input input0 f32[4,3]\n"
                   "%3 = linear(input0, weight, bias) f32[4,2]\n"
                   "%4 = relu(%3) f32[4,2]\n"
                   "return %4\n");
  const std::string dot = to_dot(g);
  CHECK(dot.starts_with("digraph adze {"));
  CHECK(dot.find("s0 [label=\"linear\\nweight [2,3]\\nbias [2]\"]") != std::string::npos);
}

}  // namespace
}  // namespace adze
