// SPDX-License-Identifier: MIT
// What a small training step costs, and how much of it is the engine: whole steps of small models,
// allocations per step, and the price of recording one op and running it backward beside its
// kernel. Medians over rounds; run it on a quiet machine: taskset -c 1 train_step
#include <adze/adze.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

namespace {
std::atomic<long> allocations{0};  // of the whole program, by any operator new
}
// Never inlined: the compiler would then pair our free with its own new, and warn.
[[gnu::noinline]] void* operator new(std::size_t n) {
  ++allocations;
  if (void* p = std::malloc(n)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a,
                                     const std::nothrow_t&) noexcept {
  ++allocations;
  return std::aligned_alloc(static_cast<std::size_t>(a), n);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }

namespace {

using namespace adze;

double now_ns() {
  const auto t = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::nano>(t).count();
}

// Nanoseconds of one call of f: the median of the rounds, each of `calls` calls.
template <class F> double median_ns(int calls, F f, int rounds = 41) {
  std::vector<double> times;
  f();
  for (int r = 0; r < rounds; ++r) {
    const double start = now_ns();
    for (int i = 0; i < calls; ++i) f();
    times.push_back((now_ns() - start) / calls);
  }
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return times[static_cast<std::size_t>(rounds / 2)];
}

struct mlp {
  nn::linear fc1, fc2;
  mlp(index_t in, index_t hidden, index_t out)
      : fc1{{.in = in, .out = hidden}}, fc2{{.in = hidden, .out = out}} {}
  tensor operator()(const tensor& x) const { return fc2(relu(fc1(x))); }
  void visit(auto&& f) {
    f("fc1", fc1);
    f("fc2", fc2);
  }
};

// One row: a model with one hidden layer, SGD with momentum.
void time_mlp(report::table& t, index_t batch, index_t in, index_t hidden, index_t out) {
  mlp model(in, hidden, out);
  optim::sgd opt(parameters(model), {.lr = 1e-3, .momentum = 0.9});
  const tensor x = randn({batch, in}), y = randint(0, out, {batch});
  const auto step = [&] {
    opt.zero_grad();
    const tensor loss = cross_entropy(model(x), y);
    backward(loss);
    opt.step();
  };
  for (int i = 0; i < 100; ++i) step();
  const long before = allocations.load();
  for (int i = 0; i < 1000; ++i) step();
  const long during = allocations.load() - before;
  const double us =
      median_ns(std::max(1, static_cast<int>(4e6 / (1.0 + median_ns(20, step)))), step) / 1e3;
  t.add(text("MLP ", in, "-", hidden, "-", out, ", batch ", batch), us, during);
}

// A chain of one op on 4 floats: what recording and running backward cost per op, less what the
// same forward and gradient cost when called on plain data.
template <class Op, class Plain>
void time_op(report::table& t, const char* name, Op op, Plain plain) {
  constexpr int length = 100;
  const tensor x = ones({4}).set_requires_grad();
  const tensor g = ones({4});
  tensor leaf = x;
  const double whole = median_ns(20, [&] {
    tensor y = leaf;
    for (int i = 0; i < length; ++i) y = op(y);
    backward(y, {.gradient = g});
    leaf.set_grad({});
  });
  const tensor data = ones({4});
  const double kernels = median_ns(20, [&] {
    const no_grad guard;
    for (int i = 0; i < length; ++i) plain(data);
  });
  t.add(name, whole / length, kernels / length, (whole - kernels) / length);
}

}  // namespace

int main() {
  set_threads(1);
  manual_seed(1);
  report::table steps({"training step, SGD with momentum", "us", "allocations in 1000 steps"});
  time_mlp(steps, 16, 64, 32, 10);
  time_mlp(steps, 64, 784, 128, 10);
  std::fputs(steps.text().c_str(), stdout);
  std::puts("");

  report::table ops(
      {"one op on 4 floats, ns", "recorded, forward and backward", "kernels alone", "engine"});
  const tensor k = full({4}, 0.999);
  const auto map = [](auto& loops, const void* f, std::initializer_list<const tensor*> x) {
    return detail::map_tensors("plain", loops, f, x, f32, f32);
  };
  const binary<functors::mul_f> mul_op{};
  const unary<functors::relu_f> relu_op{};
  const unary<functors::tanh_f> tanh_op{};
  time_op(
      ops, "add", [&](const tensor& y) { return y + k; },
      [&](const tensor& y) {
        map(binary<functors::add_f>::loops, nullptr, {&y, &k});
      });
  time_op(
      ops, "mul", [&](const tensor& y) { return y * k; },
      [&](const tensor& y) {
        map(mul_op.loops, &mul_op.f, {&y, &k});
        map(mul_op.loops, &mul_op.f, {&y, &k});
      });
  time_op(
      ops, "relu", [&](const tensor& y) { return relu(y); },
      [&](const tensor& y) {
        map(relu_op.loops, &relu_op.f, {&y});
        map(relu_op.slopes, &relu_op.f, {&y, &y, &y});
      });
  time_op(
      ops, "tanh", [&](const tensor& y) { return tanh(y); },
      [&](const tensor& y) {
        map(tanh_op.loops, &tanh_op.f, {&y});
        map(tanh_op.slopes, &tanh_op.f, {&y, &y, &y});
      });
  std::fputs(ops.text().c_str(), stdout);
}
