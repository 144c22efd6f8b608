// SPDX-License-Identifier: MIT
// The dense layer against matmul and addition: leading axes, strides, dtypes, the fused activation,
// what it saves, both derivatives, and no allocation in steady state.
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/backward.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/linear.hpp>

#include "checks.hpp"

namespace adze {
namespace {

using namespace test;

tensor twin(const tensor& x, const tensor& w, const tensor& b) {
  const tensor y = matmul(x, transpose(w));
  return b.defined() ? y + b : y;
}
index_t saved(const tensor& y) { return detail::owner_of(y)->saved_count; }

}  // namespace

TEST_CASE("values and gradients equal matmul and addition") {
  for (const dtype type : {f64, f32, f16, bf16}) {
    for (const shape& sizes : {shape{6}, shape{5, 6}, shape{2, 3, 6}, shape{0, 6}}) {
      for (const bool bias : {false, true}) {
        const auto run = [&](bool fused) {
          tensor x = smooth(sizes, type), w = smooth({4, 6}, type, 1.0, 0.7);
          tensor b = bias ? smooth({4}, type, 1.0, 0.1) : tensor();
          for (tensor* t : {&x, &w, &b}) {
            if (t->defined()) t->set_requires_grad();
          }
          const tensor y = fused ? linear(x, w, b) : twin(x, w, b);
          backward(sum(y * smooth(y.shape(), type, 1.0, 0.4)));
          return list{detach(y), x.grad(), w.grad(), bias ? b.grad() : x.grad()};
        };
        const list fused = run(true), separate = run(false);
        const double bound = type == f64 ? 1e-14 : type == f32 ? 2e-6 : type == f16 ? 6e-3 : 5e-2;
        for (std::size_t i = 0; i < 4; ++i) {
          CHECK(fused[i].dtype() == type);
          CHECK(distance(fused[i], separate[i]) < bound);
        }
      }
    }
  }
}

TEST_CASE("inputs, weights and gradients with any strides") {
  const tensor w = transpose(smooth({6, 4}, f64, 1.0, 0.7)), b = slice(smooth({8}), 0, {0, 8, 2});
  const std::vector<tensor> inputs{transpose(smooth({6, 5})), slice(smooth({5, 12}), 1, {0, 12, 2}),
                                   transpose(smooth({3, 2, 6}), 0, 1),
                                   expand(smooth({1, 6}), {5, 6}), expand(smooth({5, 1}), {5, 6})};
  for (const tensor& x : inputs) CHECK(distance(linear(x, w, b), twin(x, w, b)) < 1e-14);
  for (const tensor& g : {expand(full({}, 2.0, f64), {5, 4}), transpose(smooth({4, 5})),
                          expand(smooth({4}), {5, 4})}) {
    const tensor x = leaf({5, 6}), weight = leaf({4, 6}, 1.0, 0.7), bias = leaf({4});
    const list leaves{x, weight, bias};
    const tensor y = linear(x, weight, bias), z = twin(x, weight, bias);
    const auto d = grad(tensor_list(&y, 1), leaves, {.gradients = {g}});
    const auto e = grad(tensor_list(&z, 1), leaves, {.gradients = {g}});
    for (std::size_t i = 0; i < 3; ++i) CHECK(distance(d[i], e[i]) < 1e-14);
  }
}

TEST_CASE("gradients, twice; with the activation that a graph fuses") {
  check_gradients([](const list& x) { return square(linear(x[0], x[1], x[2])); },
                  {leaf({5, 4}), leaf({3, 4}, 1.0, 0.7), leaf({3}, 1.0, 0.1)});
  check_gradients([](const list& x) { return square(linear(x[0], x[1])); },
                  {leaf({2, 5, 4}), leaf({3, 4}, 1.0, 0.7)});
  check_gradients([](const list& x) { return square(linear(x[0], x[1], x[2])); },
                  {leaf({4}), leaf({3, 4}, 1.0, 0.7), leaf({3}, 1.0, 0.1)});
  const auto fused = [](const list& x) {
    return record(linear_op<>{kernels::activation::relu}, x[0], x[1], x[2]);
  };
  const list x{leaf({5, 4}), leaf({3, 4}, 1.0, 0.7), leaf({3}, 1.0, 0.1)};
  CHECK(distance(fused(x), relu(linear(x[0], x[1], x[2]))) == 0.0);
  check_gradients([&](const list& v) { return square(fused(v)); }, x);
}

TEST_CASE("only what a wanted gradient reads is saved") {
  const tensor x = leaf({5, 4}), w = leaf({3, 4}), b = leaf({3}), plain = smooth({5, 4});
  CHECK(saved(linear(x, w, b)) == 2);
  CHECK(saved(linear(x, detach(w), b)) == 1);
  CHECK(saved(linear(plain, w, b)) == 1);
  CHECK(saved(linear(plain, detach(w), b)) == 0);
}

TEST_CASE("each gradient alone equals the one among all") {
  for (std::uint32_t wanted = 1; wanted < 8; ++wanted) {
    list in{smooth({5, 4}), smooth({3, 4}, f64, 1.0, 0.7), smooth({3}, f64, 1.0, 0.1)};
    list all{leaf({5, 4}), leaf({3, 4}, 1.0, 0.7), leaf({3}, 1.0, 0.1)};
    for (std::size_t i = 0; i < 3; ++i) {
      if ((wanted >> i & 1) != 0) in[i].set_requires_grad();
    }
    backward(sum(square(linear(in[0], in[1], in[2]))));
    backward(sum(square(linear(all[0], all[1], all[2]))));
    for (std::size_t i = 0; i < 3; ++i) {
      if ((wanted >> i & 1) == 0) continue;
      REQUIRE(in[i].grad().defined());
      CHECK(distance(in[i].grad(), all[i].grad()) == 0.0);
    }
  }
}

TEST_CASE("a step in steady state asks the system for nothing") {
  tensor w = smooth({8, 16}, f32), b = smooth({8}, f32);
  w.set_requires_grad();
  b.set_requires_grad();
  const tensor x = smooth({4, 16}, f32);
  const auto step = [&] {
    backward(sum(relu(linear(x, w, b))));
    w.set_grad({});
    b.set_grad({});
  };
  for (int i = 0; i < 3; ++i) step();
  const index_t before = memory().system_allocations;
  for (int i = 0; i < 100; ++i) step();
  CHECK(memory().system_allocations == before);
}

TEST_CASE("shapes that do not fit are named") {
  const tensor x = zeros({5, 4}), w = zeros({3, 4});
  CHECK(message_of([&] {
          return linear(x, zeros({4, 3}));
        }) ==
        "linear: the last axis of x must be the weight's 3; x [5,4], weight [4,3]; did you mean "
        "transpose(weight)?");
  CHECK_THROWS_AS(linear(x, zeros({4})), shape_error);
  CHECK_THROWS_AS(linear(zeros({}), w), shape_error);
  CHECK_THROWS_AS(linear(x, w, zeros({4})), shape_error);
  CHECK_THROWS_AS(linear(x, w, zeros({1, 3})), shape_error);
  CHECK_THROWS_AS(linear(zeros({5, 4}, i32), zeros({3, 4}, i32)), dtype_error);
}

}  // namespace adze
