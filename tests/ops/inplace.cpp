// SPDX-License-Identifier: MIT
// Changes in place: values, gradients equal to the op out of place, and what must throw: leaves,
// stale handles and views, saved values, shared memory.
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/backward.hpp>
#include <adze/autograd/checkpoint.hpp>
#include <adze/graph/trace.hpp>
#include <adze/ops/inplace.hpp>

#include "checks.hpp"

namespace adze {
namespace {

using namespace test;

tensor some_places(const shape& sizes) { return smooth(sizes) > 0.0; }
tensor two_columns(const tensor& y) { return slice(y, -1, {0, 2}) * 3.0; }

// One op in place and out of place.
struct pattern {
  std::string name;
  std::function<void(tensor& y, const tensor& x)> in_place;
  std::function<tensor(const tensor& y, const tensor& x)> out_of_place;
};

const std::vector<pattern>& patterns() {
  using T = const tensor&;
  static const std::vector<pattern> all{
      {"add_", [](tensor& y, T x) { add_(y, x); }, [](T y, T x) { return y + x; }},
      {"add_ number", [](tensor& y, T) { add_(y, 1.5); }, [](T y, T) { return y + 1.5; }},
      {"sub_", [](tensor& y, T x) { sub_(y, x); }, [](T y, T x) { return y - x; }},
      {"mul_", [](tensor& y, T x) { mul_(y, x); }, [](T y, T x) { return y * x; }},
      {"mul_ number", [](tensor& y, T) { mul_(y, -0.5); }, [](T y, T) { return y * -0.5; }},
      {"div_", [](tensor& y, T x) { div_(y, x); }, [](T y, T x) { return y / x; }},
      {"sub_ number", [](tensor& y, T) { sub_(y, 1.5); }, [](T y, T) { return y - 1.5; }},
      {"div_ number", [](tensor& y, T) { div_(y, -0.5); }, [](T y, T) { return y / -0.5; }},
      {"+=", [](tensor& y, T x) { y += x; }, [](T y, T x) { return y + x; }},
      {"-=", [](tensor& y, T x) { y -= x; }, [](T y, T x) { return y - x; }},
      {"*=", [](tensor& y, T x) { y *= x; }, [](T y, T x) { return y * x; }},
      {"/=", [](tensor& y, T x) { y /= x; }, [](T y, T x) { return y / x; }},
      {"+= number", [](tensor& y, T) { y += 2.0; }, [](T y, T) { return y + 2.0; }},
      {"-= number", [](tensor& y, T) { y -= 2.0; }, [](T y, T) { return y - 2.0; }},
      {"*= number", [](tensor& y, T) { y *= 2.0; }, [](T y, T) { return y * 2.0; }},
      {"/= number", [](tensor& y, T) { y /= 2.0; }, [](T y, T) { return y / 2.0; }},
      {"masked_fill_", [](tensor& y, T) { masked_fill_(y, some_places(y.shape()), 0.25); },
       [](T y, T) { return masked_fill(y, some_places(y.shape()), 0.25); }},
      {"index_fill_", [](tensor& y, T) { index_fill_(y, -1, tensor_i64{0}, 0.25); },
       [](T y, T) { return index_fill(y, -1, tensor_i64{0}, 0.25); }},
      {"index_copy_",
       [](tensor& y, T) {
         index_copy_(y, -1, tensor_i64{1, 0}, two_columns(y));
       },
       [](T y, T) {
         return index_copy(y, -1, tensor_i64{1, 0}, two_columns(y));
       }},
      {"copy_", [](tensor& y, T x) { copy_(y, x); }, [](T y, T x) { return y * 0.0 + x; }},
      {"fill_", [](tensor& y, T) { fill_(y, 2.5); }, [](T y, T) { return y * 0.0 + 2.5; }},
      {"zero_", [](tensor& y, T) { zero_(y); }, [](T y, T) { return y * 0.0; }},
      {"clamp_", [](tensor& y, T) { clamp_(y, -0.4, 0.6); },
       [](T y, T) { return clamp(y, -0.4, 0.6); }},
      {"relu_", [](tensor& y, T) { relu_(y); }, [](T y, T) { return relu(y); }},
  };
  return all;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("in place gives the values and the gradients of the op out of place") {
  for (const pattern& p : patterns()) {
    CAPTURE(p.name);
    for (const shape& sizes : {shape{3, 4}, shape{4}, shape{}}) {  // of x: it broadcasts
      const auto run = [&](bool in_place) {
        tensor a = leaf({3, 4}, 1.0, 0.2), b = leaf(sizes, 1.0, 0.9);
        tensor y = a * 2.0;
        const tensor before = y;
        if (in_place) {
          p.in_place(y, b);
          CHECK(y.data() == before.data());
        } else {
          y = p.out_of_place(y, b);
        }
        const tensor loss = sum(square(y) + y * a);
        backward(loss);
        const tensor db = b.grad().defined() ? b.grad() : zeros(sizes, f64);
        return std::vector<tensor>{y, a.grad(), db};
      };
      const auto in = run(true), out = run(false);
      for (std::size_t i = 0; i < in.size(); ++i) CHECK(distance(in[i], out[i]) < 1e-14);
    }
  }
  CHECK(live_nodes() == 0);
}

TEST_CASE("leaves that require grad, and views of them, change only under no_grad") {
  for (const pattern& p : patterns()) {
    CAPTURE(p.name);
    const tensor x = smooth({2, 3}, f64, 1.0, 0.9);
    tensor a = leaf({2, 3}), view = reshape(a, {3, 2}), cut = detach(a);
    const tensor old = clone(cut);
    CHECK_THROWS_AS(p.in_place(a, x), state_error);
    CHECK_THROWS_AS(p.in_place(view, reshape(x, {3, 2})), state_error);
    CHECK_THROWS_AS(p.in_place(cut, x), state_error);
    CHECK(distance(cut, old) == 0.0);
    CHECK(a.version() == 0);
    {
      const no_grad guard;
      p.in_place(a, x);
    }
    CHECK(distance(detach(a), p.out_of_place(old, x)) < 1e-15);
    CHECK(a.is_leaf());
    CHECK(a.requires_grad());
    CHECK(a.version() == 1);
  }
  tensor frozen = leaf({2});
  frozen.set_requires_grad(false);
  add_(frozen, 1.0);  // wants no gradient at present
  CHECK(frozen.version() == 1);
}

TEST_CASE("memory is closed to changes only while a leaf that requires grad lives in it") {
  tensor x = smooth({2, 3}, f64, 1.0, 0.9), view = reshape(x, {3, 2});
  const auto closed = [](tensor t) {
    return contains(message_of([&] { mul_(t, 1.0); }), "shares memory with, a leaf that requires");
  };
  x.set_requires_grad();
  CHECK(closed(x));
  CHECK(closed(view));
  x.set_requires_grad(false);
  CHECK_FALSE(closed(x));
  CHECK_FALSE(closed(view));
  {
    tensor other = reshape(view, {6});
    other.set_requires_grad().set_requires_grad();
    x.set_requires_grad();
    other.set_requires_grad(false);
    CHECK(closed(view));
    CHECK(closed(other));
    other.set_requires_grad();
    x.set_requires_grad(false);
    CHECK(closed(view));
    CHECK(closed(x));
  }
  CHECK_FALSE(closed(view));
  // Leaves in one memory count one by one.
  std::vector<tensor> several;
  for (int i = 0; i < 3; ++i) several.push_back(alias(x).set_requires_grad());
  while (!several.empty()) {
    CHECK(closed(view));
    several.pop_back();
  }
  CHECK_FALSE(closed(view));
}

TEST_CASE("what a run gave a leaf of its own stays changeable") {
  const tensor x = leaf({3});
  tensor v = smooth({3}, f64, 1.0, 0.9);
  const tensor before = clone(v);
  const tensor g = grad(x * x, x, {.gradients = {v}, .create_graph = true});
  CHECK(distance(g, detach(x) * before * 2.0) < 1e-15);
  mul_(v, 0.5);  // the caller's tensor, which was no leaf
  CHECK(distance(v, before * 0.5) == 0.0);
  // The inputs of a checkpoint are leaves in its second run only.
  tensor a = x * 2.0;
  backward(sum(checkpoint([](const std::vector<tensor>& in) { return exp(in[0]); }, {a})));
  add_(a, 1.0);
  CHECK(distance(a, detach(x) * 2.0 + 1.0) < 1e-15);
}

TEST_CASE("older copies and views throw on use after a change") {
  for (const pattern& p : patterns()) {
    CAPTURE(p.name);
    const tensor a = leaf({2, 3}), x = leaf({2, 3}, 1.0, 0.9);
    tensor y = a * 2.0;
    const tensor copy = y, view = slice(y, 0, {0, 1}), turned = transpose(y);
    p.in_place(y, x);
    for (const tensor* stale : {&copy, &view, &turned}) {
      CHECK(contains(message_of([&] { return sum(*stale); }), "through another handle or view"));
    }
    CHECK(sum(slice(y, 0, {0, 1})).numel() == 1);  // a new view of the changed handle
  }
}

TEST_CASE("values saved for a gradient throw in backward when they were changed") {
  for (const pattern& p : patterns()) {
    CAPTURE(p.name);
    const tensor a = leaf({2, 3}), x = leaf({2, 3}, 1.0, 0.9);
    tensor y = a * 2.0;
    const tensor saved = sum(square(y));  // reads y
    p.in_place(y, x);
    CHECK(contains(message_of([&] { backward(saved); }), "square: a value saved"));
    tensor z = a * 2.0;
    const tensor unsaved = sum(z * 3.0);  // reads nothing of z
    p.in_place(z, x);
    backward(unsaved);
    CHECK(a.grad().as<double>()(0, 0) == 6.0);
  }
}

TEST_CASE("a change through a view of a result is legal; the base must be taken again") {
  for (const pattern& p : patterns()) {
    CAPTURE(p.name);
    const tensor a = leaf({2, 3}), x = leaf({3}, 1.0, 0.9);
    const tensor y = a * 2.0, old = clone(detach(y));
    tensor row = select(y, 0, 1);
    p.in_place(row, x);
    CHECK(row.data() == y.data_as<double>() + 3);
    CHECK_THROWS_AS(sum(y), state_error);
    CHECK(distance(detach(row), p.out_of_place(select(old, 0, 1), detach(x))) < 1e-15);
  }
}

TEST_CASE("a constant into which a value with a gradient was written throws on use") {
  const tensor w = leaf({2, 3});
  const auto rows_into = [&](tensor& out) {
    for (index_t t = 0; t < 2; ++t) {
      tensor row = select(out, 0, t);
      copy_(row, select(w, 0, t) * 2.0);
    }
  };
  tensor out = zeros({2, 3}, f64);
  CHECK(message_of([&] { rows_into(out); }) ==
        "select: input 0 (f64[2,3]) is a constant, but a value with a gradient was written into "
        "its memory through another handle or view (version 0, now 1); use the changed handle, or "
        "put the parts together with stack() or concat(), or detach() what is written");
  for (const pattern& p : patterns()) {
    if (p.name != "mul_" && p.name != "add_" && p.name != "copy_" && p.name != "div_") continue;
    CAPTURE(p.name);
    tensor all = ones({2, 3}, f64);
    tensor copy = all, row = select(all, 0, 1), other = select(all, 0, 0),
           plain = ones({2, 3}, f64);
    const tensor x = select(w, 0, 0);
    p.in_place(row, x);
    CHECK(row.requires_grad());
    const auto lost = [&](auto f) { return contains(message_of(f), "is a constant, but a value"); };
    CHECK(lost([&] { return sum(all); }));
    CHECK(lost([&] { return all * w; }));
    CHECK(lost([&] { add_(copy, 1.0); }));
    CHECK(lost([&] { add_(copy, w); }));
    CHECK(lost([&] { add_(other, 1.0); }));
    CHECK(lost([&] { add_(plain, all); }));
    CHECK(lost([&] { copy_(plain, all); }));
    {
      const no_grad guard;  // the values may be read
      CHECK(distance(select(all, 0, 1), p.out_of_place(ones({3}, f64), x)) == 0.0);
    }
    // The handle that was changed goes on, and what is made from it by hand is a constant again.
    CHECK(sum(row).requires_grad());
    CHECK_FALSE(sum(detach(row)).requires_grad());
    backward(sum(row * 2.0));
    // Written over as a whole it is a constant, too.
    fill_(all, 3.0);
    CHECK(sum(all).item() == 18.0);
  }
  // What carries no gradient is written as before, and read through the base.
  tensor log = zeros({2, 3}, f64);
  for (index_t t = 0; t < 2; ++t) {
    tensor row = select(log, 0, t);
    copy_(row, detach(select(w, 0, t)));
  }
  CHECK(distance(log, detach(w)) == 0.0);
  CHECK((log * w).requires_grad());
  // A leaf that is frozen at present is a constant as well.
  tensor frozen = leaf({2, 3});
  frozen.set_requires_grad(false);
  tensor part = select(frozen, 0, 0);
  add_(part, select(w, 0, 0));
  CHECK_THROWS_AS(sum(frozen), state_error);
}

TEST_CASE(
    "under no_grad a result changes and stays usable; an older copy of it is the same handle") {
  for (const pattern& p : patterns()) {
    CAPTURE(p.name);
    const tensor a = leaf({2, 3});
    tensor y = a * 2.0;
    const tensor copy = y, view = slice(y, 0, {0, 1});
    {
      const no_grad guard;
      p.in_place(y, smooth({2, 3}, f64, 1.0, 0.9));
    }
    backward(sum(copy));
    CHECK(a.grad().as<double>()(1, 1) == 2.0);
    CHECK_THROWS_AS(sum(view), state_error);
    const no_grad guard;
    tensor stale = view;
    CHECK_THROWS_AS(add_(stale, 1.0), state_error);
  }
}

TEST_CASE("the old value that the gradient of a change reads is kept aside") {
  const tensor a = leaf({3}), b = leaf({3}, 1.0, 0.9);
  for (const bool create : {false, true}) {
    tensor y = a * 2.0;
    mul_(y, b);  // d/db reads the old y
    mul_(y, y);  // reads itself twice
    div_(y, b);
    const std::vector<tensor> leaves{a, b};
    const auto g = grad(std::vector<tensor>{sum(y)}, leaves, {.create_graph = create});
    const tensor da = a * b * 8.0, db = a * a * 4.0;
    CHECK(distance(g[0], da) < 1e-14);
    CHECK(distance(g[1], db) < 1e-14);
    if (create) CHECK(distance(grad(sum(g[1]), a), a * 8.0) < 1e-13);
  }
}

TEST_CASE("plain tensors of every dtype and layout") {
  for (const dtype type : {f32, f64, f16, bf16, i8, u8, i32, i64}) {
    CAPTURE(name_of(type));
    tensor y = cast(arange(24), type);
    y = transpose(reshape(y, {4, 6}));
    const tensor expected = cast(y, f64) * 2.0 + cast(tensor_i64{1, 2, 3, 4}, f64);
    mul_(y, 2.0);
    add_(y, cast(tensor_i64{1, 2, 3, 4}, type));
    CHECK(distance(y, expected) == 0.0);
    CHECK(y.version() == 2);
    sub_(y, y);
    CHECK(distance(y, expected * 0.0) == 0.0);
    fill_(y, 3.0);
    CHECK(distance(y, expected * 0.0 + 3.0) == 0.0);
  }
  tensor none = zeros({0, 3});
  add_(none, ones({3}));
  CHECK(none.numel() == 0);
}

TEST_CASE("dtypes: x is cast to y, but floats do not go into integers") {
  tensor y = cast(tensor_f32{1, 2}, f16);
  add_(y, tensor_f32{0.25f, 0.5f});
  CHECK(y.dtype() == f16);
  CHECK(numbers(y) == std::vector<double>{1.25, 2.5});
  const tensor x = leaf({2});
  mul_(y, x);  // recorded: computed in f64, rounded to f16
  CHECK(y.dtype() == f16);
  backward(sum(cast(y, f64)));
  CHECK(distance(x.grad(), tensor_f64{1.25, 2.5}) < 1e-15);
  tensor whole = tensor_i32{1, 2};
  CHECK(message_of([&] {
          add_(whole, tensor_f32{1, 1});
        }) == "add_: f32 cannot be stored in i32[2]; cast(x, i32) first");
  CHECK_THROWS_AS(mul_(whole, 0.5), dtype_error);
  CHECK_THROWS_AS(fill_(whole, 0.5), dtype_error);
  CHECK_THROWS_AS(div_(whole, tensor_i32{1, 1}), dtype_error);
  CHECK(numbers(whole) == std::vector<double>{1, 2});
  CHECK(whole.version() == 0);
}

TEST_CASE("shapes and shared memory") {
  tensor y = zeros({2, 3});
  CHECK_THROWS_AS(add_(y, ones({4, 2, 3})), shape_error);
  CHECK_THROWS_AS(copy_(y, ones({2, 1, 3})), shape_error);
  CHECK_THROWS_AS(add_(y, ones({2})), shape_error);
  tensor wide = expand(ones({3}), {2, 3});
  CHECK_THROWS_AS(add_(wide, 1.0), value_error);
  CHECK_THROWS_AS(zero_(wide), value_error);

  const tensor all = arange(6.0);
  tensor low = slice(all, 0, {0, 4}), high = slice(all, 0, {2, 6});
  CHECK_THROWS_AS(add_(low, high), value_error);
  CHECK(all.version() == 0);
  tensor left = slice(all, 0, {0, 3});
  add_(left, slice(all, 0, {3, 6}));  // no common element
  CHECK(numbers(all) == std::vector<double>{3, 5, 7, 3, 4, 5});

  tensor square_of = cast(reshape(arange(4), {2, 2}), f32);
  add_(square_of, transpose(square_of));  // the same elements in another order: read before written
  CHECK(numbers(square_of) == std::vector<double>{0, 3, 3, 6});
  tensor rows = cast(reshape(arange(4), {2, 2}), f32);
  copy_(rows, transpose(rows));
  CHECK(numbers(rows) == std::vector<double>{0, 2, 1, 3});
}

TEST_CASE("masks do not subtract in place either, nor become numbers") {
  tensor mask = cast(ones({3}), bool8);
  CHECK(message_of([&] { add_(mask, 1.0); }) ==
        "add_: bool8 is not a number; got bool8[3]; cast(y, i32) counts");
  CHECK_THROWS_AS(sub_(mask, 1.0), dtype_error);
  CHECK_THROWS_AS(mul_(mask, 2.0), dtype_error);
  CHECK_THROWS_AS(clamp_(mask, 0.0, 1.0), dtype_error);
  CHECK(all(mask).item<bool>());
  CHECK(message_of([&] { sub_(mask, mask); }).starts_with("sub_: bool8 is not a number"));
}

TEST_CASE("a view without a name can be changed, and comes back") {
  tensor w = zeros({4, 2}), filled = ones({4, 2});
  fill_(select(w, 0, 3), 2.0);
  copy_(select(w, 0, 0), tensor_f32{5, 6});
  add_(select(w, 0, 1), 1.0), add_(select(w, 0, 1), tensor_f32{1, 2});
  sub_(select(w, 1, 1), 0.5), sub_(select(w, 1, 1), ones({4}));
  mul_(slice(w, 0, {2, 4}), 3.0), mul_(slice(w, 0, {2, 4}), filled = full({2, 2}, 2.0));
  CHECK(numbers(w) == std::vector<double>{5, 4.5, 2, 1.5, 0, -9, 12, 3});
  div_(select(w, 0, 3), 4.0), div_(select(w, 0, 3), tensor_f32{1, 2});
  clamp_(select(w, 0, 2), -1.0, 1.0);
  zero_(select(w, 0, 0));
  masked_fill_(select(w, 0, 1), tensor_bool8{true, false}, 7.0);
  CHECK(numbers(w) == std::vector<double>{0, 0, 7, 1.5, 0, -1, 3, 0.375});
  CHECK(numbers(fill_(select(w, 0, 3), 2.0)) == std::vector<double>{2, 2});
  relu_(select(w, 0, 2));
  index_fill_(select(w, 0, 0), 0, tensor_i64{1}, 4.0);
  index_copy_(select(w, 0, 3), 0, tensor_i64{0}, tensor_f32{9});
  CHECK(numbers(w) == std::vector<double>{0, 4, 7, 1.5, 0, 0, 9, 2});

  tensor x = leaf({2}), state = zeros({3, 2}, f64);
  copy_(select(state, 0, 1), x);  // what is recorded belongs to the handle that came back
  CHECK(contains(message_of([&] { return sum(state); }), "is a constant, but a value"));
}

TEST_CASE("operators with = change in place; names for the same memory see it") {
  tensor x = tensor_f64{1, 2}, same = x, i = tensor_i32{4, -6};
  x += 1.0, x *= x, x -= tensor_f64{4, 4}, x /= 2.0;
  CHECK(numbers(same) == std::vector<double>{0, 2.5});
  i -= 1.0, i *= 2.0, i += i;
  CHECK(numbers(i) == std::vector<double>{12, -28});
  CHECK_THROWS_AS(i /= 2.0, dtype_error);
  CHECK_THROWS_AS(sub_(i, 0.5), dtype_error);
  const auto fill = [](const tensor& in) {
    tensor y = in;
    return fill_(y, 300);
  };
  const tensor bytes = tensor_u8{1};
  CHECK(message_of([&] { return fill(bytes); }) == "fill_: u8 holds 0 to 255; got 300");
  CHECK_THROWS_AS(trace(fill, {bytes}), value_error);
  CHECK_THROWS_AS(masked_fill_(i, tensor_bool8{true, false}, 0.5), dtype_error);
  tensor w = leaf({2});
  CHECK(
      message_of([&] {
        masked_fill_(w, tensor_bool8{true, false}, 0.5);
      }).starts_with("masked_fill_: f64[2] is, or shares memory with, a leaf that requires grad"));
}

TEST_CASE("a graph copies into batches of other sizes than the example's") {
  const tensor few = smooth({2, 3}), x = smooth({4, 3}), row = smooth({3}, f64, 1.0, 0.8);
  const auto spread = [](const tensor& in, const tensor& r) {
    tensor y = in * 2.0;
    copy_(y, r);
    return y * in;
  };
  const auto whole = [](const tensor& in) {
    tensor y = in * 2.0;
    copy_(y, in);
    return y;
  };
  CHECK(distance(trace(spread, {few, row})(x, row), spread(x, row)) == 0.0);
  CHECK(distance(trace(whole, {few})(x), x) == 0.0);
}

}  // namespace adze
