// SPDX-License-Identifier: MIT
// Plans: the bits of the folded graph, one arena that is used again, no allocation in steady
// state, calls from several threads, a snapshot of the model.
#include <thread>

#include <doctest/doctest.h>

#include <adze/graph/cost.hpp>
#include <adze/graph/plan.hpp>
#include <adze/graph/trace.hpp>
#include <adze/nn/attention.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/embedding.hpp>
#include <adze/nn/norm.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/sequential.hpp>
#include <adze/nn/transformer.hpp>
#include <adze/ops/inplace.hpp>

#include "../ops/checks.hpp"

namespace adze::plan_test {
namespace {

using namespace test;

bool same_bits(const tensor& a, const tensor& b) { return detail::same_values(a, b); }

// A residual block of a network with statistics that differ from 0 and 1.
struct block {
  nn::conv2d one{{.in = 8, .out = 8, .kernel = 3, .padding = 1, .bias = false}};
  nn::batch_norm2d norm{{.channels = 8}};
  tensor operator()(const tensor& x) const { return relu(norm(one(x)) + x); }
  void visit(auto&& f) {
    f("one", one);
    f("norm", norm);
  }
};

TEST_CASE(
    "plan: the bits of the folded and fused graph, but for the order of a dense layer's sums") {
  manual_seed(1);
  nn::sequential images{nn::conv2d{{.in = 3, .out = 8, .kernel = 3, .padding = 1}}, block{},
                        block{},
                        [](const tensor& x) {
                          return max_pool2d(x, {.kernel = {2, 2}});
                        },
                        [](const tensor& x) { return flatten(x, 1); }};
  const nn::linear head{{.in = 8 * 4 * 4, .out = 5}};
  static_cast<void>(images(random({16, 3, 8, 8}, f32)));
  const tensor x = random({2, 3, 8, 8}, f32);
  eval(images);
  const graph g = trace([&](const tensor& t) { return head(images(t)); }, x);
  const graph small = fuse(fold(g)), before = fuse(fold(trace(images, x)));
  CHECK(small.steps.size() == 8);
  const plan p = compile(g, x), q = compile(trace(images, x), x);
  for (int i = 0; i < 3; ++i) {
    const tensor now = random({2, 3, 8, 8}, f32);
    const no_grad guard;
    CHECK(same_bits(q(now), before(now)));
    CHECK(distance(numbers(p(now)), numbers(small(now))) < 1e-6);
  }
  CHECK(p.arena_bytes() * 10 < p.unshared_bytes() * 6);
  CHECK(p(x).requires_grad() == false);
  CHECK(message_of([&] {
          p(random({1, 3, 8, 8}, f32));
        }) == "plan: input 0 must be f32[2,3,8,8], as compiled; got f32[1,3,8,8]; "
              "compile(graph, example) makes a plan for other sizes");
}

TEST_CASE("plan: compiled for another batch size than the trace's") {
  nn::sequential net{nn::linear{{.in = 6, .out = 4}}, nn::linear{{.in = 4, .out = 3}}};
  const graph g = trace(net, random({2, 6}, f32));
  const tensor x = random({7, 6}, f32);
  const no_grad guard;
  CHECK(same_bits(compile(g, x)(x), net(x)));
}

// A step that reads nothing.
struct ones_op {
  static constexpr std::string_view name = "ones";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  tensor forward(const tensor& absent) const {
    CHECK(!absent.defined());
    return full({3}, 1.0, f32);
  }
  tensor backward(backward_context&, const tensor&) const { return {}; }
};

TEST_CASE("plan: a step whose only input is absent") {
  const tensor x = random({3}, f32);
  const no_grad guard;
  const auto f = [](const tensor& t) { return t + record(ones_op{}, tensor()); };
  CHECK(same_bits(compile(trace(f, x), x)(x), f(x)));
}

TEST_CASE("plan: of a graph that was converted to another dtype") {
  manual_seed(5);
  const auto net_of = [] {
    return nn::sequential{nn::linear{{.in = 6, .out = 8}},
                          [](const tensor& x) { return relu(x) + 1.0; },
                          nn::linear{{.in = 8, .out = 3}}};
  };
  const tensor x = random({4, 6}, f32);
  for (const dtype type : {bf16, f16, f64}) {
    CAPTURE(name_of(type));
    auto net = net_of();
    graph g = trace(net, x);
    const graph_cost before = cost(g);
    const index_t weights = constant_bytes(g);
    to(g, type);
    const tensor now = cast(x, type);
    const no_grad guard;
    const plan p = compile(g, now);
    CHECK(p(now).dtype() == type);
    CHECK(distance(numbers(p(now)), numbers(g(now))) < (type == f64 ? 1e-12 : 0.05));
    CHECK(p.constant_bytes() * 4 == weights * size_of(type));
    CHECK(constant_bytes(g) * 4 == weights * size_of(type));
    const graph_cost after = cost(g);
    CHECK(after.parameter_bytes * 4 == before.parameter_bytes * size_of(type));
    CHECK(after.parameters == before.parameters);
    CHECK(cost(p.steps()).peak_bytes > 0);
  }
}

TEST_CASE("plan: sums of integers before a ReLU") {
  for (const dtype type : {i64, i32, i8, u8, bool8}) {
    CAPTURE(name_of(type));
    const tensor x = cast(tensor_i64{1, -2, 3, 100}, type),
                 y = cast(tensor_i64{-5, 1, 3, 100}, type);
    const auto f = [](const std::vector<tensor>& v) { return relu(v[0] + v[1]); };
    const graph g = trace(f, std::vector<tensor>{x, y});
    const no_grad guard;
    const tensor expected = f({x, y});
    CHECK(same_bits(fuse(g)(x, y), expected));
    CHECK(same_bits(compile(g, {x, y})(x, y), expected));
  }
}

TEST_CASE("plan: a snapshot of the model") {
  nn::linear layer{{.in = 3, .out = 2}};
  const tensor x = random({2, 3}, f32);
  const plan p = compile(trace(layer, x), x);
  const tensor before = p(x);
  {
    const no_grad guard;
    mul_(layer.weight, 2.0);
  }
  CHECK(same_bits(p(x), before));
}

TEST_CASE("plan: steady state asks the system for no memory, arenas are given back") {
  nn::sequential net{nn::linear{{.in = 64, .out = 128}}, nn::linear{{.in = 128, .out = 10}}};
  const tensor x = random({32, 64}, f32);
  const plan p = compile(trace(net, x), x);
  for (int i = 0; i < 4; ++i) static_cast<void>(p(x));
  const memory_statistics before = memory();
  for (int i = 0; i < 100; ++i) static_cast<void>(p(x));
  const memory_statistics after = memory();
  CHECK(after.system_allocations == before.system_allocations);
  CHECK(after.live_bytes == before.live_bytes);
}

TEST_CASE("plan: results outlive it, and calls from several threads agree") {
  nn::sequential net{nn::linear{{.in = 16, .out = 32}}, nn::linear{{.in = 32, .out = 4}}};
  tensor y;
  const tensor x = random({8, 16}, f32);
  const no_grad guard;
  {
    const plan p = compile(trace(net, x), x);
    y = p(x);
    std::vector<tensor> found(4);
    std::vector<std::thread> threads;
    for (tensor& to : found) {
      threads.emplace_back([&p, &x, &to] {
        for (int i = 0; i < 50; ++i) to = p(x);
      });
    }
    for (std::thread& t : threads) t.join();
    for (const tensor& f : found) CHECK(same_bits(f, y));
  }
  CHECK(same_bits(y, net(x)));
}

TEST_CASE("plan: recurrent networks, transformers, several inputs and outputs") {
  const no_grad guard;
  nn::lstm lstm{{.in = 5, .hidden = 7, .layers = 2}};
  const tensor x = random({4, 3, 5}, f32);
  const plan r = compile(trace(lstm, x), x);
  const nn::lstm_result y = lstm(x);
  for (int i = 0; i < 2; ++i) {
    const std::vector<tensor> z = r.run(list{x});
    CHECK(same_bits(z[0], y.output));
    CHECK(same_bits(z[2], y.c));
  }
  nn::gpt gpt({.vocabulary = 9, .context = 7, .embed = 12, .heads = 3, .layers = 2, .tied = true});
  eval(gpt);
  const tensor tokens = randint(0, 9, {2, 7});
  const graph traced = trace(gpt, tokens);
  const plan language = compile(traced, tokens);
  for (int i = 0; i < 2; ++i) {
    const tensor now = randint(0, 9, {2, 7});
    CHECK(same_bits(language(now), gpt(now)));
  }
  CHECK(language.constant_bytes() >= 4 * count_parameters(gpt));
  CHECK(cost(traced).parameters == count_parameters(gpt));
  nn::gru gru{{.in = 5, .hidden = 7, .bidirectional = true}};
  CHECK(same_bits(compile(trace(gru, x), x).run(list{x})[0], gru(x).output));
  const auto two = [](const tensor& a, const tensor& b) {
    return std::array<tensor, 3>{a + b, a, transpose(b)};
  };
  const tensor a = random({3, 4}), b = random({3, 4});
  const std::vector<tensor> z = compile(trace(two, {a, b}), {a, b}).run(list{a, b});
  CHECK(same_bits(z[1], a));
  CHECK(same_bits(z[2], transpose(b)));
  CHECK(&z[1].impl() != &a.impl());
}

TEST_CASE("arena: departures from the script take pool memory and stay right") {
  detail::arena_writer writer;
  const auto work = [](index_t second) {
    tensor a = zeros({64}), b = ones({second}), c = a + 1.0;
    a = {};
    const tensor d = full({64}, 3.0);
    return sum(b).item() + sum(c).item() + sum(d).item();
  };
  {
    const detail::use_storage_source from(&writer);
    CHECK(work(32) == 32 + 64 + 192);
  }
  const detail::arena_script script = writer.finish();
  detail::arena memory(script);
  for (const index_t n : {32, 32, 48, 32}) {
    memory.rewind();
    const detail::use_storage_source from(&memory);
    CHECK(work(n) == double(n) + 64 + 192);
  }
  CHECK(memory.live() == 0);
  memory.rewind();
  tensor kept;
  {
    const detail::use_storage_source from(&memory);
    kept = full({64}, 5.0);
  }
  memory.rewind();
  {
    const detail::use_storage_source from(&memory);
    CHECK(work(32) == 32 + 64 + 192);
  }
  CHECK(sum(kept).item() == 320.0);
  CHECK(memory.live() == 1);
}

TEST_CASE("arena: a run like the first one has all its storages there, overlapping ones too") {
  const auto work = [](const auto& look) {
    tensor a = zeros({64}), b = ones({64});  // alive together for the moment that b is made
    look(2);
    a = {};
    const tensor c = full({64}, 2.0), d = full({64}, 3.0);
    look(3);
    CHECK(sum(b).item() + sum(c).item() + sum(d).item() == 64 * 6);
  };
  detail::arena_writer writer;
  {
    const detail::use_storage_source from(&writer);
    work([](index_t) {});
  }
  const detail::arena_script script = writer.finish();
  detail::arena memory(script);
  for (int run = 0; run < 2; ++run) {
    memory.rewind();
    const detail::use_storage_source from(&memory);
    work([&](index_t alive) { CHECK(memory.live() == alive); });
  }
}

TEST_CASE("arena: what an earlier run still holds is not written over, wherever it stands") {
  const auto work = [](tensor* keep) {
    tensor a = full({64}, 1.0);
    a = {};
    const tensor b = full({64}, 2.0);  // in the place of a
    if (keep != nullptr) *keep = b;
    return sum(b).item();
  };
  detail::arena_writer writer;
  {
    const detail::use_storage_source from(&writer);
    work(nullptr);
  }
  const detail::arena_script script = writer.finish();
  detail::arena memory(script);
  tensor kept;
  for (tensor* keep : {&kept, static_cast<tensor*>(nullptr)}) {
    memory.rewind();
    const detail::use_storage_source from(&memory);
    CHECK(work(keep) == 128.0);
  }
  CHECK(sum(kept).item() == 128.0);
  CHECK(memory.live() == 1);
}

}  // namespace
}  // namespace adze::plan_test
