// SPDX-License-Identifier: MIT
// checkpoint(): the gradients of the plain call, for inputs and for what f captures, to any order,
// with the same random numbers; and the memory it is for.
#include <doctest/doctest.h>

#include <adze/autograd/checkpoint.hpp>
#include <adze/autograd/gradcheck.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/dropout.hpp>

#include "helpers.hpp"

namespace adze {
namespace {

using tensors = std::vector<tensor>;

struct noise_op {  // multiplies by random numbers of the default generator
  tensor factors{};
  static constexpr std::string_view name = "noise";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  tensor forward(const tensor& x) {
    factors = empty(x.shape(), f64);
    for (index_t i = 0; i < x.numel(); ++i) {
      factors.data_as<double>()[i] = default_generator().uniform();
    }
    return x * factors;
  }
  tensor backward(backward_context&, const tensor& g) const { return g * factors; }
};
struct counted_op {  // counts its runs outside a recomputation, as running statistics do
  static constexpr std::string_view name = "counted";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  tensor forward(const tensor& x) const {
    if (!detail::state.recomputing) ++updates;
    ++runs;
    return x * 2.0;
  }
  tensor backward(backward_context&, const tensor& g) const { return g * 2.0; }
  static inline int updates = 0, runs = 0;
};

}  // namespace

TEST_CASE("a checkpoint has the value and the gradients of the plain call, bit for bit") {
  const no_leaks guard;
  const tensor x = varied_leaf({3, 4}), w = varied_leaf({4}, 1), frozen = varied({4}, 2);
  const auto f = [&](const tensors& v) { return tanh(v[0] * w + frozen) * sigmoid(w); };
  const tensor plain = f({x}), kept = checkpoint(f, {x});
  CHECK(elements(plain) == elements(kept));
  const tensors expected = grad(tensors{sum(plain)}, tensors{x, w});
  const tensors got = grad(tensors{sum(kept)}, tensors{x, w});
  CHECK(elements(got[0]) == elements(expected[0]));
  CHECK(elements(got[1]) == elements(expected[1]));
  backward(sum(checkpoint(f, {x})));  // into .grad, captured parameters, too
  CHECK(elements(w.grad()) == elements(expected[1]));
  CHECK(elements(x.grad()) == elements(expected[0]));
}

TEST_CASE("gradient and gradient of the gradient of a checkpoint") {
  const no_leaks guard;
  const tensors x{varied_leaf({2, 3}), varied_leaf({3}, 1)};
  const auto f = [](const tensors& v) {
    const tensor y =
        checkpoint([](const tensors& u) { return tanh(u[0] * u[1]) * exp(u[1]); }, {v[0], v[1]});
    return y * y;
  };
  CHECK(gradcheck(f, x));
  CHECK(gradgradcheck(f, x));
  // Captured instead of passed.
  const auto captured = [](const tensors& v) {
    const tensor w = v[1];
    return checkpoint([w](const tensors& u) { return tanh(u[0] * w) * exp(w); }, {v[0]});
  };
  CHECK(gradcheck(captured, x));
  CHECK(gradgradcheck(captured, x));
}

TEST_CASE("a weight used inside and outside a checkpoint, and in nested ones") {
  const no_leaks guard;
  const tensors x{varied_leaf({2, 3}), varied_leaf({3}, 1)};
  const auto tied = [](const tensors& v) {
    const tensor w = v[1];
    const tensor inside = checkpoint([w](const tensors& u) { return tanh(u[0] * w); }, {v[0] * w});
    return inside * w + w;
  };
  CHECK(gradcheck(tied, x));
  CHECK(gradgradcheck(tied, x));
  backward(sum(tied(x)));
  const auto direct = [](const tensors& v) { return tanh(v[0] * v[1] * v[1]) * v[1] + v[1]; };
  const tensors expected = grad(tensors{sum(direct(x))}, x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto a = elements(x[i].grad()), b = elements(expected[i]);
    for (std::size_t k = 0; k < a.size(); ++k) CHECK(a[k] == doctest::Approx(b[k]).epsilon(1e-13));
  }
  const auto nested = [](const tensors& v) {
    const tensor w = v[1];
    return checkpoint(
        [w](const tensors& u) {
          return checkpoint([w](const tensors& t) { return sin(t[0]) * w; }, {u[0] * w}) + w * u[0];
        },
        {v[0]});
  };
  CHECK(gradcheck(nested, x));
  CHECK(gradgradcheck(nested, x));
}

TEST_CASE("inputs of a checkpoint that depend on each other, repeat, or are captured as well") {
  const no_leaks guard;
  const tensors x{varied_leaf({2, 3}), varied_leaf({3}, 1)};
  const auto product = [](const tensors& u) { return tanh(u[0] * u[1]) + u[1]; };
  const auto dependent = [&](const tensors& v) {
    const tensor a = exp(v[1]);
    return checkpoint(product, {a * v[0], a});
  };
  CHECK(gradcheck(dependent, x));
  CHECK(gradgradcheck(dependent, x));
  const auto twice = [&](const tensors& v) { return checkpoint(product, {v[0], v[0]}) * v[1]; };
  CHECK(gradcheck(twice, x));
  CHECK(gradgradcheck(twice, x));
  const auto both = [](const tensors& v) {
    const tensor w = v[1], a = w * 2.0;
    return checkpoint([w, a](const tensors& u) { return u[0] * w + tanh(u[1] * a); }, {w, v[0]});
  };
  CHECK(gradcheck(both, x));
  CHECK(gradgradcheck(both, x));
}

TEST_CASE("the second run draws the same random numbers and moves the generator no further") {
  const no_leaks guard;
  const tensor x = varied_leaf({50});
  const auto f = [](const tensors& v) { return record(noise_op{}, tanh(v[0])); };
  manual_seed(3);
  const tensor plain = f({x});
  const random_state after = default_generator().state();
  const tensor expected = grad(sum(plain), x);
  manual_seed(3);
  const tensor y = checkpoint(f, {x});
  CHECK(elements(y) == elements(plain));
  CHECK(default_generator().state() == after);
  manual_seed(99);
  const random_state elsewhere = default_generator().state();
  CHECK(elements(grad(sum(y), x)) == elements(expected));
  CHECK(default_generator().state() == elsewhere);
}

TEST_CASE("dropout drops the same elements in both runs") {
  const no_leaks guard;
  const tensor x = varied_leaf({200}), w = varied_leaf({200}, 1);
  const auto f = [w](const tensors& v) { return dropout(tanh(v[0] * w), 0.3) * w; };
  manual_seed(5);
  const tensors expected = grad(tensors{sum(f({x}))}, tensors{x, w});
  manual_seed(5);
  const tensor y = sum(checkpoint(f, {x}));
  manual_seed(6);
  const tensors got = grad(tensors{y}, tensors{x, w});
  CHECK(elements(got[0]) == elements(expected[0]));
  CHECK(elements(got[1]) == elements(expected[1]));
}

TEST_CASE("statistics are updated once") {
  const no_leaks guard;
  const tensor x = varied_leaf({3});
  counted_op::updates = counted_op::runs = 0;
  const tensor y =
      checkpoint([](const tensors& v) { return exp(record(counted_op{}, v[0])); }, {x});
  backward(sum(y));
  CHECK(counted_op::runs == 2);
  CHECK(counted_op::updates == 1);
  CHECK_FALSE(detail::state.recomputing);
}

TEST_CASE("unwanted, unused and missing inputs of a checkpoint") {
  const no_leaks guard;
  const tensor x = varied_leaf({3}), unused = varied_leaf({3}, 1), plain = varied({3}, 2);
  const auto f = [](const tensors& v) { return v[0] * v[2] * 2.0; };
  const tensors g = grad(tensors{sum(checkpoint(f, {x, unused, plain}))}, tensors{x, unused});
  CHECK(elements(g[0]) == elements(plain * 2.0));
  if (g[1].defined()) CHECK(elements(g[1]) == std::vector<double>(3, 0.0));
  // Nothing wants a gradient: nothing is recorded.
  CHECK_FALSE(checkpoint(f, {plain, plain, plain}).requires_grad());
  const no_grad off;
  CHECK_FALSE(checkpoint(f, {x, unused, plain}).requires_grad());
}

TEST_CASE("an error in the first or the second run leaves no trace") {
  const no_leaks guard;
  const tensor x = varied_leaf({3});
  bool fail = true;
  const auto f = [&](const tensors& v) {
    if (fail) raise<value_error>("on purpose");
    return exp(v[0]);
  };
  CHECK(thrown<value_error>([&] { checkpoint(f, {x}); }) == "on purpose");
  CHECK(grad_enabled());
  CHECK(detail::state.watch == nullptr);
  fail = false;
  const tensor y = sum(checkpoint(f, {x}));
  fail = true;
  const random_state before = default_generator().state();
  CHECK(thrown<value_error>([&] { backward(y, {.retain_graph = true}); }) == "on purpose");
  CHECK(default_generator().state() == before);
  CHECK(grad_enabled());
  CHECK_FALSE(detail::state.recomputing);
  CHECK_FALSE(x.grad().defined());
  fail = false;
  backward(y);
  CHECK(elements(x.grad()) == elements(exp(x)));
}

TEST_CASE("a checkpoint keeps its inputs only") {
  const no_leaks guard;
  const tensor x = varied_leaf({1000});
  const auto f = [](const tensors& v) {
    tensor y = v[0];
    for (int i = 0; i < 20; ++i) y = tanh(y);
    return y;
  };
  const index_t before = memory().live_bytes;
  const tensor plain = f({x});
  const index_t full = memory().live_bytes - before;
  const tensor kept = checkpoint(f, {x});
  const index_t little = memory().live_bytes - before - full;
  CHECK(full > 20 * 8000);
  CHECK(little < 3 * 8000);
  const tensor a = grad(sum(plain), x), b = grad(sum(kept), x);
  CHECK(elements(a) == elements(b));
}

TEST_CASE("a chain of checkpoints") {
  const no_leaks guard;
  const tensor w = varied_leaf({4}), x = varied_leaf({4}, 1);
  const auto run = [&](bool keep) {
    tensor y = x;
    for (int i = 0; i < 30; ++i) {
      const auto block = [&w](const tensors& v) { return tanh(v[0] * w + v[0]); };
      y = keep ? checkpoint(block, {y}) : block({y});
    }
    return grad(tensors{sum(y)}, tensors{x, w});
  };
  const tensors a = run(true), b = run(false);
  CHECK(elements(a[0]) == elements(b[0]));
  const auto ea = elements(a[1]), eb = elements(b[1]);
  for (std::size_t i = 0; i < ea.size(); ++i) CHECK(ea[i] == doctest::Approx(eb[i]).epsilon(1e-13));
}

}  // namespace adze
