// SPDX-License-Identifier: MIT
// Regions, policies and the cache of casts. What comes out for every op: tests/amp/op_table.cpp.
#include <stdexcept>
#include <thread>

#include <doctest/doctest.h>

#include <adze/amp/autocast.hpp>
#include <adze/autograd/checkpoint.hpp>
#include <adze/ops/cross_entropy.hpp>
#include <adze/ops/inplace.hpp>
#include <adze/ops/linear.hpp>
#include <adze/ops/loss.hpp>
#include <adze/ops/norm.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/ops/softmax.hpp>

#include "autograd/helpers.hpp"

namespace adze {
namespace {

tensor drawn(const shape& sizes, int kind = 0, dtype type = f32) {
  return cast(varied(sizes, kind), type);
}
tensor parameter(const shape& sizes, int kind = 0) {
  return drawn(sizes, kind).set_requires_grad();
}
std::size_t cached() { return amp::detail::thread_cache().size(); }
std::size_t casts() { return amp::detail::thread_cache().casts(); }

// A dense layer with parameters in f32.
struct layer {
  tensor w = parameter({4, 4}, 1), b = parameter({4}, 2);
  tensor operator()(const tensor& x) const { return linear(x, w, b); }
};

}  // namespace

TEST_CASE("autocast: classes run in the dtypes of the policy, and only inside of the region") {
  const tensor x = drawn({5, 4}), narrow = drawn({5, 4}, 1, bf16);
  const layer f;
  const tensor index = tensor_i64{0, 1, 2, 0, 1};
  const auto results = [&] {
    return std::vector<dtype>{f(x).dtype(),         softmax(narrow).dtype(),
                              sum(narrow).dtype(),  cross_entropy(narrow, index).dtype(),
                              (narrow + x).dtype(), relu(narrow).dtype(),
                              relu(x).dtype(),      mse_loss(narrow, narrow).dtype()};
  };
  const std::vector<dtype> plain{f32, bf16, bf16, bf16, f32, bf16, f32, bf16};
  CHECK(results() == plain);
  {
    const amp::autocast guard(amp::bf16());
    CHECK(results() == std::vector<dtype>{bf16, bf16, bf16, f32, f32, bf16, f32, f32});
    CHECK(layer_norm(narrow, 1, parameter({4}), parameter({4})).dtype() == bf16);
  }
  {
    const amp::autocast guard(amp::fp16());
    CHECK(results() == std::vector<dtype>{f16, f32, f32, f32, f32, bf16, f32, f32});
    CHECK(layer_norm(narrow, 1, parameter({4}), parameter({4})).dtype() == f32);
  }
  CHECK(results() == plain);
  CHECK(cached() == 0);
}

TEST_CASE("autocast: regions nest, switch off, end by exceptions, and belong to one thread") {
  const tensor x = drawn({5, 4});
  const layer f;
  CHECK_FALSE(amp::autocast_enabled());
  const amp::autocast outer(amp::fp16());
  CHECK(f(x).dtype() == f16);
  {
    const amp::autocast inner(amp::bf16());
    CHECK(f(x).dtype() == bf16);
    {
      const amp::autocast off(amp::bf16(), {.enabled = false});
      CHECK_FALSE(amp::autocast_enabled());
      CHECK(f(x).dtype() == f32);
      const amp::autocast again(amp::fp16());
      CHECK(f(x).dtype() == f16);
    }
    CHECK(f(x).dtype() == bf16);
  }
  CHECK(f(x).dtype() == f16);
  try {
    const amp::autocast inner(amp::bf16());
    CHECK(f(x).dtype() == bf16);
    throw std::runtime_error("on purpose");
  } catch (const std::runtime_error&) {
    CHECK(f(x).dtype() == f16);
  }
  CHECK(thrown<shape_error>([&] { f(drawn({5, 3})); }) != "nothing thrown");
  CHECK(f(x).dtype() == f16);  // an op that fails leaves the rule in place
  dtype elsewhere = i8;
  std::thread([&] { elsewhere = f(x).dtype(); }).join();
  CHECK(elsewhere == f32);
}

TEST_CASE("autocast: f64 and integers are never cast, nor what an op keeps") {
  const layer f;
  for (const amp::policy& p : {amp::bf16(), amp::fp16()}) {
    const amp::autocast guard(p);
    const tensor w = drawn({3, 4}, 1, f64), x = drawn({5, 4}, 0, f64);
    CHECK(linear(x, w).dtype() == f64);
    CHECK(f(x).dtype() == f64);  // f32 parameters are promoted, f64 is not narrowed
    CHECK(softmax(x).dtype() == f64);
    CHECK(mse_loss(x, drawn({5, 4})).dtype() == f64);
    CHECK(elements(linear(x, w)) == elements(matmul(x, transpose(w))));
    const tensor n = tensor_i64{1, 2, 3};
    CHECK((n + n).dtype() == i64);
    CHECK(sum(n).dtype() == i64);
  }
}

TEST_CASE("autocast: a policy is edited by class and by op type") {
  const tensor x = drawn({5, 4});
  const layer f;
  amp::policy p = amp::bf16();
  p.set(numeric::wide, amp::action::low).set<linear_op<>>(amp::action::wide);
  p.set<mse_loss_op<>>(amp::action::refuse);
  {
    const amp::autocast guard(p);
    CHECK(f(x).dtype() == f32);
    CHECK(matmul(x, transpose(x)).dtype() == bf16);
    CHECK(softmax(x).dtype() == bf16);
    CHECK(cross_entropy(x, tensor_i64{0, 1, 2, 0, 1}).dtype() == f32);  // set apart by bf16()
    CHECK(
        says(thrown<dtype_error>([&] { return mse_loss(x, x); }), "mse_loss: not under autocast"));
  }
  p.set<linear_op<>>(amp::action::any);
  const amp::autocast guard(p);
  CHECK(f(x).dtype() == f32);
  CHECK(says(thrown<dtype_error>([] { amp::policy{f32}; }), "must be f16 or bf16; got f32"));
  const amp::autocast narrow(amp::fp16());
  CHECK(says(thrown<dtype_error>([&] { return binary_cross_entropy(sigmoid(x), x); }),
             "takes logits"));
  CHECK(binary_cross_entropy_with_logits(x, x).dtype() == f32);
}

TEST_CASE("autocast: the backward pass runs in the dtypes of the forward, parameters get f32") {
  const tensor x = drawn({6, 4}, 5);
  for (const amp::policy& p : {amp::bf16(), amp::fp16()}) {
    const layer first, second;
    std::vector<dtype> seen;
    tensor loss;
    {
      const amp::autocast guard(p);
      tensor h = relu(first(x));
      add_hook(h, [&](const tensor& g) {
        seen.push_back(g.dtype());
        return tensor();
      });
      loss = mse_loss(second(h), drawn({6, 4}, 9));
    }
    CHECK(loss.dtype() == f32);
    backward(loss);
    CHECK(seen == std::vector<dtype>{p.low()});
    // The same by hand: every cast is written down.
    const layer a, b;
    const auto narrow = [&](const tensor& t) { return cast(t, p.low()); };
    const tensor h = relu(linear(narrow(x), narrow(a.w), narrow(a.b)));
    const tensor y = linear(h, narrow(b.w), narrow(b.b));
    backward(mse_loss(cast(y, f32), drawn({6, 4}, 9)));
    const std::pair<tensor, tensor> pairs[] = {
        {first.w, a.w}, {first.b, a.b}, {second.w, b.w}, {second.b, b.b}};
    for (const auto& [got, want] : pairs) {
      CHECK(got.grad().dtype() == f32);
      CHECK(elements(got.grad()) == elements(want.grad()));
    }
  }
}

TEST_CASE("autocast: changes in place keep the dtype of what they change") {
  const amp::autocast guard(amp::bf16());
  tensor y = drawn({3, 4}, 1), narrow = drawn({3, 4}, 1, bf16);
  add_(y, drawn({3, 4}, 2, bf16));
  CHECK(y.dtype() == f32);
  mul_(narrow, 2.0);
  CHECK(narrow.dtype() == bf16);
}

// The cache ----------------------------------------------------------------------------------

TEST_CASE("autocast: a leaf is cast once in a region, and let go of at its end") {
  const tensor x = drawn({5, 4});
  const index_t nodes = live_nodes();
  {
    const layer f;
    {
      const amp::autocast guard(amp::bf16());
      tensor h = x;
      for (int i = 0; i < 5; ++i) h = relu(f(h));
      CHECK(casts() == 2);
      {
        const amp::autocast inner(amp::bf16());  // shares what the outermost region keeps
        h = f(h);
        CHECK(casts() == 2);
        const amp::autocast other(amp::fp16());
        h = f(h);
        CHECK(casts() == 4);
      }
      CHECK(cached() == 4);
      backward(sum(h));
    }
    CHECK(cached() == 0);
    const amp::autocast guard(amp::bf16(), {.cache = false});
    f(x);
    CHECK(cached() == 0);
  }
  CHECK(live_nodes() == nodes);
  const amp::autocast guard(amp::bf16());
  static_cast<void>(matmul(drawn({2, 2}), drawn({2, 2})));
  CHECK(cached() == 0);  // plain values are not leaves
  std::vector<tensor> many;
  for (int i = 0; i < 100; ++i) many.push_back(parameter({2, 2}, i));
  for (int pass = 0; pass < 2; ++pass) {
    for (int i = 0; i < 100; ++i) {
      const tensor& w = many[static_cast<std::size_t>(i)];
      CHECK(elements(matmul(drawn({2, 2}), w)) ==
            elements(matmul(drawn({2, 2}), drawn({2, 2}, i, bf16))));
    }
  }
  CHECK(cached() == 100);
  CHECK(casts() == 100);
}

TEST_CASE("autocast: the leaves that a checkpoint makes for its second run are not kept") {
  const tensor x = parameter({64, 4});
  const layer f;
  const amp::autocast guard(amp::bf16());
  const auto body = [&](const std::vector<tensor>& in) { return relu(f(in[0])); };
  const tensor start = x * 2.0;
  backward(sum(checkpoint(body, {start})));
  CHECK(cached() == 4);  // weight and bias, first without gradients and then with them
  layer frozen;
  frozen.w.set_requires_grad(false);
  const std::size_t before = casts();
  frozen(frozen(start));
  CHECK(casts() == before + 2);  // a frozen weight is kept
}

TEST_CASE("autocast: a pass under no_grad leaves no parameter without a gradient (105211)") {
  const layer f, g;
  const tensor x = drawn({5, 4});
  tensor y;
  {
    const amp::autocast guard(amp::fp16());
    {
      const no_grad plain;
      CHECK_FALSE(g(relu(f(x))).requires_grad());
    }
    y = sum(g(relu(f(x))));
  }
  backward(y);
  for (const tensor& p : {f.w, f.b, g.w, g.b}) CHECK(p.grad().defined());
}

TEST_CASE("autocast: no_grad in a region does not cut the graph after it, nor before it (112583)") {
  const layer f;
  const tensor x = drawn({5, 4});
  const amp::autocast guard(amp::bf16());
  const tensor before = f(x);
  CHECK(before.requires_grad());
  {
    const no_grad plain;
    CHECK_FALSE(f(x).requires_grad());
    const enable_grad again;
    CHECK(f(x).requires_grad());
  }
  CHECK(f(x).requires_grad());
  CHECK(casts() == 4);  // two modes, two parameters
  CHECK(elements(f(x)) == elements(before));
}

TEST_CASE("autocast: gradients switched on for the last of several passes only (65766)") {
  const layer f;
  tensor h = drawn({5, 4});
  {
    const amp::autocast guard(amp::bf16());
    for (int i = 0; i < 4; ++i) {
      const enable_grad mode(i == 3);
      h = f(h);
    }
  }
  backward(sum(h));
  CHECK(f.w.grad().defined());
  CHECK(f.b.grad().defined());
}

TEST_CASE("autocast: casts made where gradients are attached later (113685), by a checkpoint") {
  const tensor x = drawn({5, 4});
  const layer plain, again;
  const auto run = [&](const layer& f, bool checkpointed) {
    tensor loss;
    {
      const amp::autocast guard(amp::bf16());
      const auto body = [&](const std::vector<tensor>& in) { return f(relu(f(in[0]))); };
      const tensor start = f(x);
      loss = sum(f(checkpointed ? checkpoint(body, {start}) : body({start})));
    }
    // The region has ended: the second run needs its rule all the same.
    CHECK_FALSE(amp::autocast_enabled());
    backward(loss);
  };
  run(plain, false);
  run(again, true);
  CHECK(again.w.grad().dtype() == f32);
  // Two uses of the second run have a cast of their own: another order of rounded sums.
  const std::vector<double> got = elements(again.w.grad()), want = elements(plain.w.grad());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CHECK(got[i] == doctest::Approx(want[i]).epsilon(0.02));
  }
}

TEST_CASE("autocast: one cast serves no other grad mode, in either order (158232, 165068)") {
  const layer f;
  const tensor x = drawn({5, 4});
  const amp::autocast guard(amp::bf16());
  const auto in_mode = [&](bool on) {
    const enable_grad mode(on);
    CHECK(f(x).requires_grad() == on);
  };
  for (const bool on : {false, true, false, true, true, false}) in_mode(on);
  CHECK(casts() == 4);
  // A frozen parameter that thaws, and one that freezes.
  tensor w = f.w, b = f.b;
  w.set_requires_grad(false);
  CHECK(f(x).requires_grad());
  b.set_requires_grad(false);
  CHECK_FALSE(f(x).requires_grad());
  w.set_requires_grad(true);
  backward(sum(f(x)));
  CHECK(w.grad().defined());
  CHECK_FALSE(b.grad().defined());
}

TEST_CASE("autocast: a leaf that is changed in the region is cast again") {
  const layer f;
  const tensor x = drawn({5, 4});
  const amp::autocast guard(amp::bf16());
  const std::vector<double> before = elements(f(x));
  {
    const no_grad plain;
    tensor w = f.w;
    mul_(w, 2.0);
  }
  const std::vector<double> after = elements(f(x));
  CHECK(casts() == 3);
  CHECK(cached() == 2);  // in the place of the old one
  CHECK(after != before);
  const tensor want = linear(cast(x, bf16), cast(f.w, bf16), cast(f.b, bf16));
  CHECK(after == elements(want));
}

TEST_CASE("autocast: a cast that is shared by two losses serves both backward passes") {
  const layer f;
  const tensor x = drawn({5, 4});
  {
    const amp::autocast guard(amp::bf16());
    backward(sum(f(x)));
    const std::vector<double> once = elements(f.w.grad());
    backward(sum(f(x)));
    const std::vector<double> twice = elements(f.w.grad());
    for (std::size_t i = 0; i < once.size(); ++i) CHECK(twice[i] == 2 * once[i]);
  }
}

}  // namespace adze
