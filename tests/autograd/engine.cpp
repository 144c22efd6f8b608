// SPDX-License-Identifier: MIT
// The engine under load: deep graphs on a small stack, threads, nodes freed elsewhere, anomaly
// mode, memory in steady state.
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include <pthread.h>

#include <doctest/doctest.h>

#include <adze/ops/activation.hpp>

#include "helpers.hpp"

namespace adze {
namespace {

// Runs f on a thread with a stack of 256 KiB: enough for any run that does not recurse over the
// graph. What f throws comes out here.
template <class F> void on_small_stack(F f) {
  struct call {
    F* f;
    std::exception_ptr failure{};
  } c{&f};
  pthread_attr_t attributes;
  REQUIRE(pthread_attr_init(&attributes) == 0);
  REQUIRE(pthread_attr_setstacksize(&attributes, 256 * 1024) == 0);
  pthread_t thread{};
  const auto body = [](void* p) -> void* {
    auto* self = static_cast<call*>(p);
    try {
      (*self->f)();
    } catch (...) {
      self->failure = std::current_exception();
    }
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, body, &c) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  if (c.failure) std::rethrow_exception(c.failure);
}

constexpr int deep = 1000000;

struct nan_gradient_op {
  static constexpr std::string_view name = "nan_gradient";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  tensor forward(const tensor& x) const { return x * 2.0; }
  tensor backward(backward_context&, const tensor& g) const {
    return g * std::numeric_limits<double>::quiet_NaN();
  }
};

}  // namespace

TEST_CASE("a chain of a million ops: built, run back and destroyed on 256 KiB of stack") {
  const no_leaks guard;
  on_small_stack([] {
    const tensor x = leaf({1, 2});
    tensor y = x;
    for (int i = 0; i < deep; ++i) y = y + 1.0;
    backward(sum(y));
    CHECK(elements(x.grad()) == std::vector<double>{1, 1});
    CHECK(elements(y) == std::vector<double>{deep + 1, deep + 2});
  });
  trim();
}

TEST_CASE("a million saved results: destroyed without a run, and captured in the middle") {
  const no_leaks guard;
  on_small_stack([] {
    const tensor x = leaf({0.5});
    tensor y = x, middle;
    for (int i = 0; i < deep; ++i) {
      y = tanh(y);
      if (i == deep / 2) middle = y;
    }
    const tensor g = grad(sum(y), middle);
    CHECK(g.item() > 0);
    CHECK(g.item() < 1);
  });
  trim();
}

TEST_CASE("gradients of gradients through a long chain") {
  const no_leaks guard;
  on_small_stack([] {
    const tensor x = leaf({0.5});
    tensor y = x;
    for (int i = 0; i < 20000; ++i) y = sin(y);
    const tensor g = grad(sum(y), x, {.create_graph = true});
    const tensor h = grad(sum(g), x);
    CHECK(h.defined());
    CHECK(h.item() < 0);
  });
}

TEST_CASE("a graph may be freed in another thread, or run there") {
  const no_leaks guard;
  tensor x = leaf({1, 2});
  tensor y = sum(exp(tanh(x) * x));
  std::thread([y = std::move(y)]() mutable { y = tensor(); }).join();
  tensor z = sum(exp(x));
  std::thread([&] { backward(z); }).join();
  CHECK(elements(x.grad()) == elements(exp(x)));
  z = tensor();
  std::thread([x = std::move(x)] { CHECK(x.requires_grad()); }).join();
}

TEST_CASE("graphs of several threads share constants") {
  const no_leaks guard;
  const tensor shared = varied({64});
  const auto train = [&](int kind) {
    const tensor w = varied_leaf({64}, kind);
    for (int i = 0; i < 200; ++i) {
      w.impl_or_null();
      backward(sum(tanh(w * shared) * shared));
    }
    return elements(w.grad());
  };
  std::vector<std::future<std::vector<double>>> running;
  for (int kind = 0; kind < 4; ++kind) {
    running.push_back(std::async(std::launch::async, train, kind));
  }
  for (int kind = 0; kind < 4; ++kind) {
    CHECK(running[static_cast<std::size_t>(kind)].get() == train(kind));
  }
}

TEST_CASE("two simultaneous runs that reach the same leaf: the second throws, the first is right") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  std::promise<void> inside, finish;
  const tensor a = x * 2.0, slow = sum(a);
  add_hook(a, [&](const tensor&) {
    inside.set_value();
    finish.get_future().wait();
    return tensor();
  });
  std::thread first([&] { backward(slow); });
  inside.get_future().wait();
  const std::string text =
      "backward: another thread runs back to the same leaf (f64[2]); run one after the other, or "
      "give each thread its own leaves";
  CHECK(thrown<state_error>([&] { backward(sum(x * 3.0)); }) == text);
  CHECK(thrown<state_error>([&] { static_cast<void>(grad(sum(x * 3.0), x)); }) == text);
  finish.set_value();
  first.join();
  CHECK(elements(x.grad()) == std::vector<double>{2, 2});
  backward(sum(x * 3.0));  // the leaf is free again
  CHECK(elements(x.grad()) == std::vector<double>{5, 5});
}

TEST_CASE("a refused run leaves the gradients of the running one where they are") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  std::promise<void> inside, finish;
  // When the hook is called the slot of x holds 3 of its 5, that of `shared` all of its 2.
  const tensor shared = x * 1.0;
  const tensor slow = sum(shared * 2.0) + sum(x * 3.0);
  bool first_call = true;
  add_hook(shared, [&](const tensor&) {
    if (!std::exchange(first_call, false)) return tensor();
    inside.set_value();
    finish.get_future().wait();
    return tensor();
  });
  std::vector<double> got;
  std::thread first([&] { got = elements(grad(slow, x)); });
  inside.get_future().wait();
  for (const tensor& other : {x, shared}) {
    CHECK(says(thrown<state_error>([&] { backward(sum(other * 7.0)); }), "to the same leaf"));
    CHECK(says(thrown<state_error>([&] { return grad(sum(other * 7.0), x); }), "to the same leaf"));
  }
  finish.set_value();
  first.join();
  CHECK(got == std::vector<double>{5, 5});
  backward(sum(shared * 7.0));
  CHECK(elements(x.grad()) == std::vector<double>{7, 7});
}

TEST_CASE("the state of a thread is its own") {
  const no_grad here;
  bool there = false;
  std::thread([&] { there = grad_enabled(); }).join();
  CHECK(there);
}

TEST_CASE("anomaly mode names the op that made the first NaN, forward or backward") {
  const no_leaks guard;
  const tensor x = leaf({-1, 2});
  {
    const detect_anomaly look;
    CHECK(thrown<numeric_error>([&] { return exp(log(x)); }) ==
          "log: forward made the first NaN, in result 0 (f64[2]); its inputs had none");
    const tensor y = record(nan_gradient_op{}, x * 3.0);
    CHECK(thrown<numeric_error>([&] { backward(sum(exp(y))); }) ==
          "nan_gradient: backward made the first NaN, in the gradient of input 0 (f64[2]); its "
          "inputs had none");
    CHECK_FALSE(x.grad().defined());
    // What was NaN before is not laid at the door of the op that meets it.
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const tensor bad = tensor_f64{1, nan};
    CHECK(thrown<numeric_error>([&] { return x * bad; }) ==
          "mul: forward gives NaN, in result 0 (f64[2]); input 1 (f64[2]) had one already");
    CHECK(thrown<numeric_error>([&] { backward(x * 3.0, {.gradient = bad}); }) ==
          "mul_scalar: backward gives NaN, in the gradient of input 0 (f64[2]); the gradient of "
          "result 0 had one already");
    const tensor z = x * 2.0;
    add_hook(z, [&](const tensor&) { return bad; });
    CHECK(says(thrown<numeric_error>([&] { backward(sum(z)); }), "of result 0 had one already"));
    tensor from_outside;
    {
      detail::state.anomaly = false;
      from_outside = sum(x * bad);
      detail::state.anomaly = true;
    }
    CHECK(says(thrown<numeric_error>([&] { backward(from_outside); }),
               "mul: backward gives NaN, in the gradient of input 0 (f64[2]); a value saved for it "
               "(f64[2]) had one already"));
    CHECK(detail::state.anomaly);
    CHECK_FALSE(x.grad().defined());
    const tensor views = transpose(reshape(x, {1, 2}));  // strided values are looked at, too
    CHECK(elements(views * 1.0) == std::vector<double>{-1, 2});
    for (const dtype t : {f32, f16, bf16}) {
      CAPTURE(name_of(t));
      CHECK(says(thrown<numeric_error>([&] { return log(cast(x, t)); }),
                 "log: forward made the first"));
    }
  }
  CHECK(elements(exp(log(x)))[1] == doctest::Approx(2));
  CHECK(std::isnan(elements(log(x))[0]));
}

TEST_CASE("a training loop in steady state asks the system for no memory and leaves no node") {
  const no_leaks guard;
  tensor w = varied_leaf({16, 8});
  const tensor x = varied({32, 16, 1}, 1);
  const auto step = [&] {
    const tensor y = tanh(sum(x * w, {1}));
    backward(sum(y * y));
    w.set_grad(tensor());
  };
  for (int i = 0; i < 20; ++i) step();
  const index_t before = memory().system_allocations, live = memory().live_bytes;
  const index_t nodes = live_nodes();
  for (int i = 0; i < 500; ++i) step();
  CHECK(memory().system_allocations == before);
  CHECK(memory().live_bytes == live);
  CHECK(live_nodes() == nodes);
}

}  // namespace adze
