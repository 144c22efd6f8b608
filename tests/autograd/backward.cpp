// SPDX-License-Identifier: MIT
// backward() and grad() as a user calls them: roots, seeds, retaining, hooks, errors; and how the
// gradients of one value that is used many times add up.
#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/ops/activation.hpp>

#include "helpers.hpp"

namespace adze {
namespace {

// Three windows on one storage; the gradients of the parts overlap in time, not in place.
struct thirds_op {
  static constexpr std::string_view name = "thirds";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  std::array<tensor, 3> forward(const tensor& x) const {
    const index_t n = x.size(0) / 3;
    return {alias(x, {n}, {1}, 0), alias(x, {n}, {1}, n), alias(x, {n}, {1}, 2 * n)};
  }
  tensor backward(backward_context& c, tensor_list g) const {
    tensor d = detail::zeros_of(c.in_shape(0), c.in_type(0));
    for (std::size_t k = 0; k < 3; ++k) {
      if (!g[k].defined()) continue;
      const index_t n = c.out_shape(k)[0];
      tensor part = alias(d, {n}, {1}, static_cast<index_t>(k) * n);
      detail::add_into(part, g[k]);
    }
    return d;
  }
};
struct throws_op {
  static constexpr std::string_view name = "throws";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  tensor forward(const tensor& x) const { return x * 1.0; }
  tensor backward(backward_context&, const tensor& g) const {
    if (armed) raise<value_error>("throws: on purpose");
    return g;
  }
  static inline bool armed = true;
};

using list = std::vector<double>;

}  // namespace

TEST_CASE("gradients accumulate in leaves; set_grad clears and replaces") {
  const no_leaks guard;
  tensor x = leaf({1, 2, 3});
  CHECK_FALSE(x.grad().defined());
  backward(sum(x * x));
  CHECK(elements(x.grad()) == list{2, 4, 6});
  const tensor held = x.grad();
  backward(sum(x * 10.0));
  CHECK(elements(x.grad()) == list{12, 14, 16});
  CHECK(elements(held) == list{2, 4, 6});  // somebody held it: it was not changed under him
  CHECK_FALSE(x.grad().requires_grad());
  x.set_grad(tensor());
  CHECK_FALSE(x.grad().defined());
  x.set_grad(tensor_f64{1, 1, 1});
  backward(sum(x));
  CHECK(elements(x.grad()) == list{2, 2, 2});
}

TEST_CASE("set_grad takes a gradient without its graph: no cycle") {
  const no_leaks guard;
  tensor x = leaf({1, 2, 3});
  const tensor g = grad(sum(x * x * x), x, {.create_graph = true});
  x.set_grad(g);
  CHECK_FALSE(x.grad().requires_grad());
  CHECK(elements(x.grad()) == list{3, 12, 27});
  x.set_grad(x);
  CHECK_FALSE(x.grad().requires_grad());
  tensor y = leaf({1, 1, 1});
  x.set_grad(y * x);
  y.set_grad(x * y);
  CHECK(elements(grad(sum(g), x)) == list{6, 12, 18});
}

TEST_CASE("x * x, x + x, x - x: one tensor on both sides") {
  const no_leaks guard;
  const tensor x = leaf({3, -2});
  CHECK(elements(grad(sum(x * x), x)) == list{6, -4});
  CHECK(elements(grad(sum(x + x), x)) == list{2, 2});
  CHECK(elements(grad(sum(x - x), x)) == list{0, 0});
  CHECK(elements(grad(sum(x / x), x)) == list{0, 0});
  const tensor y = x + x;  // the gradient of y goes to both sides of this add
  CHECK(elements(grad(sum(y * y + y), x)) == list{26, -14});
}

TEST_CASE("a gradient that is shared or expanded is never added to in place") {
  const no_leaks guard;
  const tensor x = leaf({1, 2, 3}), w = leaf({5, 6, 7});
  // add hands one tensor to x and w; then x gets more.
  const tensor y = x + w;
  const auto g = grad(std::vector{sum(y * 3.0) + sum(x)}, std::vector{x, w, y});
  CHECK(elements(g[0]) == list{4, 4, 4});
  CHECK(elements(g[1]) == list{3, 3, 3});
  CHECK(elements(g[2]) == list{3, 3, 3});
  // sum gives an expanded gradient (stride 0) first, then more arrives.
  const tensor z = x * 1.0;
  CHECK(elements(grad(sum(z) + sum(z * z) + sum(z), x)) == list{4, 6, 8});
  // The caller's seed is the root's gradient and must stay as it was.
  const tensor seed = tensor_f64{1, 10, 100};
  const auto with_seed = grad(std::vector{x, x * 2.0}, std::vector{x}, {.gradients = {seed, seed}});
  CHECK(elements(with_seed[0]) == list{3, 30, 300});
  CHECK(elements(seed) == list{1, 10, 100});
  backward(x, {.gradient = seed});
  backward(x, {.gradient = seed});
  CHECK(elements(x.grad()) == list{2, 20, 200});
  CHECK(elements(seed) == list{1, 10, 100});
}

TEST_CASE("several results of one op, used unevenly") {
  const no_leaks guard;
  const tensor x = leaf({1, 2, 3, 4, 5, 6});
  const auto part = record(thirds_op{}, x);
  const tensor y = sum(part[0] * part[2]) + sum(part[2]) + sum(part[2] * 2.0);
  CHECK(elements(grad(y, x)) == list{5, 6, 0, 0, 4, 5});
  CHECK(elements(grad(sum(record(thirds_op{}, x)[1]), x)) == list{0, 0, 1, 1, 0, 0});
}

TEST_CASE("one leaf used a hundred thousand times") {
  const no_leaks guard;
  const tensor x = leaf({1, 2, 3});
  const int n = 100000;
  SUBCASE("in a chain of sums") {
    tensor y = x;
    for (int i = 1; i < n; ++i) y = y + x;
    backward(sum(y));
    CHECK(elements(x.grad()) == list(3, n));
  }
  SUBCASE("side by side") {
    std::vector<tensor> roots;
    for (int i = 0; i < n; ++i) roots.push_back(sum(x));
    backward(tensor_list(roots));
    CHECK(elements(x.grad()) == list(3, n));
  }
  SUBCASE("by way of one shared value") {
    const tensor shared = x * 2.0;
    tensor y = shared * 1.0;
    for (int i = 1; i < n; ++i) y = y + shared;
    CHECK(elements(grad(sum(y), x)) == list(3, 2.0 * n));
  }
}

TEST_CASE("newest first, also where paths differ in length") {
  const no_leaks guard;
  const tensor x = leaf({0.3, 0.7});
  // The short path must wait for the long one before it goes on through `a`.
  const auto f = [](const std::vector<tensor>& v) {
    const tensor a = exp(v[0]);
    tensor b = a;
    for (int i = 0; i < 6; ++i) b = tanh(b) + a * 0.1;
    return a * b + v[0];
  };
  CHECK(gradcheck(f, {x}));
  CHECK(gradgradcheck(f, {x}));
  int calls = 0;
  const tensor a = exp(x);
  add_hook(a, [&](const tensor&) {
    ++calls;
    return tensor();
  });
  backward(sum(a * tanh(tanh(a)) + a));
  CHECK(calls == 1);  // with the whole gradient at once
}

TEST_CASE("broadcast inputs get gradients of their own shape") {
  const no_leaks guard;
  const shape shapes[] = {{2, 3}, {3}, {1, 3}, {2, 1}, {1, 1}, {}, {4, 2, 3}, {1}};
  for (const shape& a : shapes) {
    for (const shape& b : shapes) {
      CAPTURE(to_text(a));
      CAPTURE(to_text(b));
      const auto f = [](const std::vector<tensor>& v) { return v[0] * v[1] + v[1]; };
      const std::vector<tensor> x{varied_leaf(a), varied_leaf(b, 1)};
      CHECK(gradcheck(f, x));
      CHECK(gradgradcheck(f, x));
    }
  }
}

TEST_CASE("several roots, with and without gradients") {
  const no_leaks guard;
  const tensor x = leaf({1, 2}), w = leaf({3, 4});
  const std::vector<tensor> roots{sum(x * w), x * 2.0, sum(w)};
  CHECK(says(thrown<shape_error>([&] { backward(tensor_list(roots)); }),
             "backward: needs a single element or a gradient; got f64[2]; take sum(x) or pass"));
  CHECK_FALSE(w.grad().defined());
  backward(tensor_list(roots), std::vector<tensor>{tensor(), tensor_f64{10, 20}, tensor()});
  CHECK(elements(x.grad()) == list{23, 44});
  CHECK(elements(w.grad()) == list{2, 3});
  // As many gradients as roots, or none; both list forms say so alike.
  const std::vector<tensor> some{tensor(), tensor_f64{1, 1}}, many(4);
  const std::string text = ": needs one gradient per root, or none; got ";
  CHECK(thrown<value_error>([&] { backward(tensor_list(roots), some); }) ==
        "backward" + text + "2 gradients for 3 roots");
  CHECK(thrown<value_error>([&] { backward(tensor_list(roots), many); }) ==
        "backward" + text + "4 gradients for 3 roots");
  CHECK(thrown<value_error>([&] { return grad(roots, std::vector{x}, {.gradients = some}); }) ==
        "grad" + text + "2 gradients for 3 roots");
  CHECK(thrown<value_error>([&] { return grad(sum(x), x, {.gradients = many}); }) ==
        "grad" + text + "4 gradients for 1 roots");
  CHECK(elements(x.grad()) == list{23, 44});
  // The same root twice counts twice.
  const tensor y = sum(x * x);
  const std::vector<tensor> twice{y, y};
  CHECK(elements(grad(twice, std::vector{x})[0]) == list{4, 8});
}

TEST_CASE("what backward refuses, in one sentence") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  CHECK(thrown<state_error>([&] { backward(tensor_f64{1}); }) ==
        "backward: f64[1] does not require grad; set_requires_grad() on a leaf and compute it "
        "outside no_grad");
  CHECK(thrown<shape_error>([&] { backward(x * 2.0); }) ==
        "backward: needs a single element or a gradient; got f64[2]; take sum(x) or pass "
        ".gradient");
  CHECK(thrown<shape_error>([&] {
          backward(x * 2.0, {.gradient = tensor_f64{1, 2, 3}});
        }) == "backward: the gradient must look like the root; root f64[2], gradient f64[3]");
  CHECK(says(thrown<shape_error>([&] {
               backward(x * 2.0, {.gradient = tensor_f32{1, 2}});
             }),
             "gradient f32[2]"));
  CHECK(thrown<state_error>([&] { backward(tensor()); }) != "nothing thrown");
  const tensor plain = tensor_f64{1, 2};
  CHECK(thrown<state_error>([&] { return grad(sum(x), plain); }) ==
        "grad: input 0 (f64[2]) does not require grad; call set_requires_grad() before using it");
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("a graph runs once, unless it is retained or had nothing to keep") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  const tensor y = sum(exp(x));
  backward(y, {.retain_graph = true});
  backward(y);
  CHECK(x.grad().as<double>()(0) == 2 * std::exp(1.0));
  CHECK(thrown<state_error>([&] { backward(y); }) ==
        "backward: the graph of exp was freed by an earlier run; pass retain_graph = true there");
  const tensor z = sum(x + x);
  backward(z);
  backward(z);  // a sum keeps nothing
  const tensor w = sum(exp(x));
  static_cast<void>(grad(w, x, {.retain_graph = true}));
  static_cast<void>(grad(w, x));
  CHECK(says(thrown<state_error>([&] { return grad(w, x); }), "was freed"));
}

TEST_CASE("grad() of leaves, results and unused tensors touches no leaf") {
  const no_leaks guard;
  const tensor x = leaf({1, 2}), unused = leaf({5}), w = leaf({3, 4});
  const tensor a = x * w, b = exp(a * 0.1), y = sum(b * b);
  const auto g = grad(std::vector{y}, std::vector{x, a, b, unused, y});
  const list eb = elements(b), ew = elements(w), ea = elements(a);
  for (std::size_t i = 0; i < 2; ++i) {
    const double db = 2 * std::exp(0.1 * ea[i]), da = db * 0.1 * std::exp(0.1 * ea[i]);
    CHECK(elements(g[2])[i] == doctest::Approx(db).epsilon(1e-14));
    CHECK(elements(g[1])[i] == doctest::Approx(da).epsilon(1e-14));
    CHECK(elements(g[0])[i] == doctest::Approx(da * ew[i]).epsilon(1e-14));
  }
  CHECK_FALSE(g[3].defined());
  CHECK(g[4].item() == 1);
  CHECK_FALSE(x.grad().defined());
  CHECK_FALSE(w.grad().defined());
  for (const tensor& d : g) CHECK_FALSE(d.requires_grad());
}

TEST_CASE("grad() goes no further than the oldest tensor asked for") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  throws_op::armed = true;
  const tensor early = record(throws_op{}, x), a = early * 3.0, y = sum(a * a);
  CHECK(elements(grad(y, a, {.retain_graph = true})) == list{6, 12});
  CHECK(elements(grad(y, early, {.retain_graph = true})) == list{18, 36});
  CHECK(thrown<value_error>([&] { return grad(y, x, {.retain_graph = true}); }) ==
        "throws: on purpose");
  // Another branch, as old but not asked for, is not computed either.
  const tensor other = record(throws_op{}, leaf({1, 2}));
  CHECK(elements(grad(sum(other * x), x)) == list{1, 2});
}

TEST_CASE("partial gradients: the inputs vary on their own") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  const tensor a = x * 3.0, y = sum(a * x);
  const auto whole = grad(std::vector{y}, std::vector{a, x}, {.retain_graph = true});
  CHECK(elements(whole[0]) == list{1, 2});
  CHECK(elements(whole[1]) == list{6, 12});
  const auto part = grad(std::vector{y}, std::vector{a, x}, {.partial = true});
  CHECK(elements(part[0]) == list{1, 2});
  CHECK(elements(part[1]) == list{3, 6});
}

TEST_CASE("partial gradients: results beside one that is asked for go on") {
  const no_leaks guard;
  const tensor x = leaf({1, 2, 3, 4, 5, 6});
  const auto p = record(thirds_op{}, x * 3.0);
  const auto y = [&] { return sum(p[0] * 2.0) + sum(p[1] * 5.0); };
  const auto run = [&](std::vector<tensor> in) {
    return grad(std::vector{y()}, in, {.retain_graph = true, .partial = true});
  };
  const auto one = run({p[0], x});
  CHECK(elements(one[0]) == list{2, 2});
  CHECK(elements(one[1]) == list{0, 0, 15, 15, 0, 0});
  const auto both = run({p[0], x, p[1], p[0]});
  CHECK(elements(both[0]) == list{2, 2});
  CHECK_FALSE(both[1].defined());
  CHECK(elements(both[2]) == list{5, 5});
  CHECK(elements(both[3]) == list{2, 2});
  // One result of the op is made of another one.
  const auto q = record(thirds_op{}, x);
  const tensor a = sum(q[0] * q[1]);
  const auto d = grad(std::vector{a, sum(q[2])}, std::vector{q[1], x}, {.partial = true});
  CHECK(elements(d[0]) == list{1, 2});
  CHECK(elements(d[1]) == list{3, 4, 0, 0, 1, 1});
  // Nothing further back is asked for.
  const auto r = record(thirds_op{}, x);
  index_t calls = 0;
  add_hook(r[1], [&](const tensor&) { return ++calls, tensor(); });
  const tensor both_used = sum(r[0]) + sum(r[1]);
  CHECK(elements(grad(std::vector{both_used}, std::vector{r[0]}, {.partial = true})[0]) ==
        list{1, 1});
  CHECK(calls == 1);
  // A root that is asked for itself.
  CHECK(elements(grad(std::vector{p[1]}, std::vector{p[1]},
                      {.gradients = {tensor_f64{3, 4}}, .partial = true})[0]) == list{3, 4});
}

TEST_CASE("a chosen gradient may be non-contiguous or expanded") {
  const no_leaks guard;
  const tensor x = varied_leaf({3, 4});
  const tensor y = exp(x);
  const tensor dense = varied({3, 4}, 5), strided = transpose(contiguous(transpose(dense)));
  CHECK_FALSE(strided.is_contiguous());
  const auto run = [&](const tensor& g) {
    return elements(grad(std::vector{exp(x) * x}, std::vector{x}, {.gradients = {g}})[0]);
  };
  CHECK(run(dense) == run(strided));
  const tensor ones = expand(detail::filled({}, f64, 1.0), {3, 4});
  CHECK(run(ones) == run(contiguous(ones)));
  backward(y, {.gradient = strided});
  CHECK(elements(x.grad()) == elements(y * dense));
  CHECK(x.grad().impl().store != strided.impl().store);
}

TEST_CASE("hooks: in order, on the summed gradient, may replace it, may be removed") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  const tensor a = x * 1.0;
  std::vector<int> order;
  add_hook(a, [&](const tensor& g) {
    order.push_back(1);
    CHECK(elements(g) == list{5, 5});
    return g * 2.0;
  });
  const index_t second = add_hook(a, [&](const tensor& g) {
    order.push_back(2);
    CHECK(elements(g) == list{10, 10});
    return tensor();  // looks only
  });
  add_hook(x, [&](const tensor& g) {
    order.push_back(3);
    return g * 10.0;
  });
  const auto run = [&] { backward(sum(a * 2.0) + sum(a * 3.0)); };
  run();
  CHECK(order == std::vector{1, 2, 3});
  CHECK(elements(x.grad()) == list{100, 100});
  remove_hook(a, second);
  remove_hook(a, second);
  order.clear();
  run();
  CHECK(order == std::vector{1, 3});
  CHECK(elements(x.grad()) == list{200, 200});
  // A leaf's hook sees the sum over the run, once; also grad() passes through it.
  order.clear();
  CHECK(elements(grad(sum(x) + sum(x), x)) == list{20, 20});
  CHECK(order == std::vector{3});
  CHECK(thrown<state_error>([] { add_hook(tensor_f64{1}, [](const tensor& g) { return g; }); }) ==
        "add_hook: the tensor does not require grad; got f64[1]");
}

TEST_CASE("hooks: an id that is in use is not given again") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  const auto times = [&](double by) {
    return add_hook(x, [by](const tensor& g) { return g * by; });
  };
  const index_t first = times(2), second = times(3);
  remove_hook(x, first);
  times(5);
  remove_hook(x, second);
  CHECK(elements(grad(sum(x), x)) == list{5, 5});
}

TEST_CASE("hooks: one that removes itself or another skips nobody") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  std::vector<int> order;
  index_t first = 0, third = 0;
  const auto note = [&](int which) {
    return add_hook(x, [&order, which](const tensor& g) {
      order.push_back(which);
      return g;
    });
  };
  first = add_hook(x, [&](const tensor& g) {
    order.push_back(1);
    remove_hook(x, first);
    remove_hook(x, third);
    note(5);  // called from the next run on
    return g * 2.0;
  });
  note(2);
  third = note(3);
  note(4);
  CHECK(elements(grad(sum(x), x)) == list{2, 2});
  CHECK(order == std::vector{1, 2, 4});
  order.clear();
  CHECK(elements(grad(sum(x), x)) == list{1, 1});
  CHECK(order == std::vector{2, 4, 5});
}

TEST_CASE("hooks: an id is never given again") {
  const tensor x = leaf({1, 2});
  const auto twice = [](const tensor& g) { return g * 2.0; };
  const index_t first = add_hook(x, twice);
  remove_hook(x, first);
  const index_t second = add_hook(x, twice);
  remove_hook(x, first);
  CHECK(second != first);
  CHECK(elements(grad(sum(x), x)) == list{2, 2});
}

TEST_CASE("a hook that returns another shape is refused") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  add_hook(x, [](const tensor& g) { return sum(g); });
  CHECK(thrown<shape_error>([&] { backward(sum(x)); }) ==
        "hook: must return a gradient like the one it got; got f64[2], returned f64[]");
}

TEST_CASE("hooks of several results go to the right one") {
  const no_leaks guard;
  const tensor x = leaf({1, 2, 3});
  const auto part = record(thirds_op{}, x);
  add_hook(part[1], [](const tensor& g) { return g * 7.0; });
  CHECK(elements(grad(sum(part[0]) + sum(part[1]) + sum(part[2]), x)) == list{1, 7, 1});
}

TEST_CASE("after an exception all slots are empty, modes restored, and the next run is right") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  const tensor a = x * 3.0, y = sum(a * a) + sum(a);
  bool armed = true;
  add_hook(a, [&](const tensor&) {
    if (armed) raise<value_error>("hook on purpose");
    return tensor();
  });
  CHECK(thrown<value_error>([&] { backward(y, {.retain_graph = true}); }) == "hook on purpose");
  CHECK(grad_enabled());
  CHECK(detail::state.depth == 0);
  for (const tensor& t : {x, a, y}) CHECK_FALSE(detail::owner_of(t)->slots()[0].gradient.defined());
  CHECK_FALSE(x.grad().defined());
  armed = false;
  backward(y);
  CHECK(elements(x.grad()) == list{21, 39});
  // The same when an op throws, and under create_graph.
  throws_op::armed = true;
  const tensor z = sum(exp(record(throws_op{}, x)));
  CHECK(thrown<value_error>([&] { return grad(z, x, {.create_graph = true}); }) ==
        "throws: on purpose");
  CHECK(grad_enabled());
  throws_op::armed = false;
  CHECK(elements(grad(z, x)) == elements(exp(x)));
}

TEST_CASE("a run inside a hook has its own slots") {
  const no_leaks guard;
  const tensor x = leaf({2, 3});
  const tensor a = x * x, y = sum(a * a);
  list inner;
  bool entered = false;
  add_hook(a, [&](const tensor&) {
    if (std::exchange(entered, true)) return tensor();  // the inner run comes by here, too
    CHECK_FALSE(grad_enabled());
    const enable_grad again;
    inner = elements(grad(sum(a * 5.0), x, {.retain_graph = true}));  // through the same nodes
    return tensor();
  });
  CHECK(elements(grad(y, x)) == list{32, 108});
  CHECK(inner == list{20, 30});
  // backward() inside backward(), into a leaf that both reach.
  const tensor w = leaf({1, 1}), b = w * 2.0;
  add_hook(b, [&](const tensor&) {
    const enable_grad again;
    backward(sum(w * 7.0));
    return tensor();
  });
  backward(sum(b) + sum(w));
  CHECK(elements(w.grad()) == list{10, 10});
  CHECK(detail::state.depth == 0);
}

TEST_CASE("a hook may drop the last handle on what is being run") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  tensor y = sum(exp(x * x));
  add_hook(y, [&](const tensor&) {
    y = tensor();
    return tensor();
  });
  backward(y);
  CHECK(elements(x.grad()) == elements(exp(x * x) * x * 2.0));
}

TEST_CASE("freezing and thawing between runs") {
  const no_leaks guard;
  tensor x = leaf({1, 2});
  const tensor w = leaf({3, 4});
  const tensor y = sum(x * w);
  x.set_requires_grad(false);
  backward(y, {.retain_graph = true});
  CHECK_FALSE(x.grad().defined());
  CHECK(elements(w.grad()) == list{1, 2});
  x.set_requires_grad(true);
  backward(y);
  CHECK(elements(x.grad()) == list{3, 4});
}

TEST_CASE("a gradient has the dtype of its leaf") {
  const no_leaks guard;
  for (const dtype t : {f32, f64, f16, bf16}) {
    CAPTURE(name_of(t));
    const tensor x = cast(tensor_f64{1, 2, 3}, t).set_requires_grad();
    backward(sum(x * x + x));
    backward(sum(x));
    CHECK(x.grad().dtype() == t);
    CHECK(elements(x.grad()) == list{4, 6, 8});
  }
  const tensor x = cast(tensor_f64{1, 2}, bf16).set_requires_grad();
  backward(sum(cast(x, f32) * 1.00390625));
  CHECK(x.grad().dtype() == bf16);
  CHECK(elements(x.grad()) == list(2, static_cast<float>(bfloat16(1.00390625f))));
}

TEST_CASE("roots and inputs in braces, and a vector of inputs for one root") {
  const tensor a = leaf({2.0}), b = leaf({3.0});
  backward({a * b, a * a});
  CHECK(elements(a.grad()) == std::vector{7.0});
  backward({a * b}, {tensor_f64{2.0}});
  CHECK(elements(b.grad()) == std::vector{6.0});
  const tensor loss = a * a * b;
  const auto both = grad(loss, {a, b}, {.retain_graph = true});
  CHECK(elements(both[0]) == std::vector{12.0});
  CHECK(elements(both[1]) == std::vector{4.0});
  const std::vector<tensor> leaves{a, b};
  CHECK(elements(grad(loss, leaves, {.retain_graph = true})[1]) == std::vector{4.0});
  CHECK(elements(grad({loss, b * 2.0}, {b})[0]) == std::vector{6.0});
}

}  // namespace adze
