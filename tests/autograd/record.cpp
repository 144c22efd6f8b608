// SPDX-License-Identifier: MIT
// What record() keeps, refuses and casts: frozen inputs, stale values, mixed floats, a precision
// rule, an observer.
#include <doctest/doctest.h>

#include <adze/ops/activation.hpp>

#include "helpers.hpp"

namespace adze {
namespace {

// How many tensors the node of x keeps for its gradient.
index_t kept(const tensor& x) { return detail::owner_of(x)->saved_count; }

// A rule as autocast installs it: everything of class `low` in one dtype. Casts of leaves are kept
// for the time of the rule; the key holds the grad mode, or a cast made under no_grad would hide
// the leaf from its gradient.
struct test_rule : detail::precision_rule {
  dtype low = bf16;
  numeric which = numeric::promote;
  int casts = 0, hits = 0;
  struct entry {
    const void* leaf;
    std::uint32_t version;
    bool recorded;
    tensor value;
  };
  std::vector<entry> cache{};

  test_rule() {
    choose = [](const precision_rule& rule, const detail::op_info& op, const tensor* const*,
                std::size_t) -> answer {
      const auto& self = static_cast<const test_rule&>(rule);
      return {op.precision == self.which, self.low};
    };
    cast = [](precision_rule& rule, const tensor& x, dtype type) {
      auto& self = static_cast<test_rule&>(rule);
      for (const entry& e : self.cache) {
        if (e.leaf == x.impl_or_null() && e.version == x.version() &&
            e.recorded == grad_enabled()) {
          ++self.hits;
          return e.value;
        }
      }
      ++self.casts;
      const tensor y = adze::cast(x, type);
      if (x.is_leaf()) self.cache.push_back({x.impl_or_null(), x.version(), grad_enabled(), y});
      return y;
    };
  }
};
struct rule_guard {
  detail::precision_rule* before = detail::state.rule;
  explicit rule_guard(detail::precision_rule& rule) { detail::state.rule = &rule; }
  rule_guard(const rule_guard&) = delete;
  rule_guard& operator=(const rule_guard&) = delete;
  ~rule_guard() { detail::state.rule = before; }
};

}  // namespace

TEST_CASE("a leaf, a result and plain data") {
  const no_leaks guard;
  tensor x = tensor_f64{1, 2};
  CHECK(x.is_leaf());
  CHECK_FALSE(x.requires_grad());
  const tensor plain = x * 2.0;
  CHECK(plain.is_leaf());
  CHECK_FALSE(plain.requires_grad());
  x.set_requires_grad();
  const tensor copy = x, y = x * 2.0;
  CHECK(copy.requires_grad());  // copies share the record
  CHECK(y.requires_grad());
  CHECK_FALSE(y.is_leaf());
  CHECK_FALSE(detach(y).requires_grad());
  CHECK(elements(detach(y)) == std::vector<double>{2, 4});
  CHECK((plain + y).requires_grad());
  CHECK_FALSE(y.grad().defined());
  x.set_requires_grad(false);
  CHECK_FALSE((x * 2.0).requires_grad());
  CHECK(thrown<state_error>([&] { tensor(y).set_requires_grad(false); }) ==
        "set_requires_grad: only leaves can change; got a result of f64[2]; detach(x) makes a "
        "leaf");
  tensor whole = tensor_i64{1, 2};
  CHECK(thrown<dtype_error>([&] { whole.set_requires_grad(); }) ==
        "set_requires_grad: only floating tensors have gradients; got i64[2]");
  CHECK(thrown<state_error>([&] { tensor(y).set_grad(y); }) ==
        "set_grad: only a leaf that requires grad holds one; got f64[2]");
  CHECK(thrown<shape_error>([&] {
          x.set_grad(tensor_f64{1, 2, 3});
        }) == "set_grad: the gradient must look like the tensor; tensor f64[2], gradient f64[3]");
}

TEST_CASE("no_grad records nothing, enable_grad records inside it, both end with the scope") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  const index_t before = live_nodes();
  {
    const no_grad plain;
    CHECK_FALSE(grad_enabled());
    const tensor y = exp(x * x + 1.0);
    CHECK_FALSE(y.requires_grad());
    CHECK(live_nodes() == before);
    {
      const enable_grad again;
      CHECK((x * x).requires_grad());
      const enable_grad not_here(false);
      CHECK_FALSE((x * x).requires_grad());
    }
    CHECK_FALSE(grad_enabled());
  }
  CHECK(grad_enabled());
}

TEST_CASE("the grad mode is restored when an exception passes") {
  const auto fail = [] {
    const no_grad plain;
    raise<value_error>("on purpose");
  };
  CHECK(thrown(fail) == "on purpose");
  CHECK(grad_enabled());
  const no_grad outer;
  CHECK(thrown([] {
          const enable_grad inner;
          raise<value_error>("inside");
        }) == "inside");
  CHECK_FALSE(grad_enabled());
}

TEST_CASE("an op that throws leaves no node and no mode behind") {
  const no_leaks guard;
  const tensor x = leaf({1, 2}), y = leaf({1, 2, 3});
  const index_t before = live_nodes();
  CHECK(thrown<shape_error>([&] { return x + y; }) != "nothing thrown");
  CHECK(live_nodes() == before);
  CHECK(grad_enabled());
}

TEST_CASE("only what a wanted gradient reads is kept") {
  const no_leaks guard;
  const tensor x = leaf({1, 2}), w = leaf({3, 4}), frozen = tensor_f64{5, 6};
  CHECK(kept(x + w) == 0);
  CHECK(kept(x * w) == 2);
  CHECK(kept(x * frozen) == 1);  // the factor, not the activation
  CHECK(kept(frozen * x) == 1);
  CHECK(kept(x * x) == 2);
  CHECK(kept(exp(x)) == 1);
  CHECK(kept(relu(x)) == 1);
  CHECK(kept(x / frozen) == 1);
  CHECK(kept(frozen / x) == 2);  // the divisor and the result
  CHECK(kept(x * 3.0) == 0);
  CHECK(kept(sum(x)) == 0);
  CHECK(kept(transpose(reshape(x, {1, 2}))) == 0);
  tensor later = tensor_f64{7, 8};
  later.set_requires_grad();
  later.set_requires_grad(false);
  CHECK(kept(x * later) == 1);
}

TEST_CASE("a frozen weight keeps no activation alive") {
  const no_leaks guard;
  const tensor x = leaf({1, 2}), weight = tensor_f64{3, 4};
  tensor y;
  index_t alive = 0;
  {
    const tensor activation = exp(x);
    y = activation * weight;
    alive = activation.impl().refs.load();
  }
  CHECK(alive == 1);  // the node of the product does not hold it
  CHECK(elements(grad(sum(y), x)) == elements(exp(x) * weight));
}

TEST_CASE("a value saved for a gradient and changed afterwards is named, with both versions") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  const tensor y = exp(x), z = y * y;
  y.impl().store->version.fetch_add(2);
  CHECK(thrown<state_error>([&] { backward(sum(z)); }) ==
        "mul: a value saved for its gradient (f64[2]) was changed in place (version 0, now 2); "
        "clone() it before the change");
  CHECK_FALSE(x.grad().defined());
  for (const int changed : {0, 1}) {  // every saved value is looked at
    const tensor factors[] = {x * 1.0, x * 1.0}, product = factors[0] * factors[1];
    factors[changed].impl().store->version.fetch_add(1);
    CHECK(says(thrown<state_error>([&] { backward(sum(product)); }), "mul: a value saved"));
  }
  // Nothing was saved: a later change is harmless.
  const tensor a = exp(x), b = a + a;
  a.impl().store->version.fetch_add(1);
  CHECK(thrown([&] { backward(sum(b), {.retain_graph = true}); }).substr(0, 4) == "exp:");
}

TEST_CASE("a stale value is refused as an input, a view of it too") {
  const no_leaks guard;
  const tensor x = leaf({1, 2, 3, 4});
  const tensor y = x * 2.0, view = reshape(y, {2, 2});
  y.impl().store->version.fetch_add(1);
  CHECK(thrown<state_error>([&] { return y + 1.0; }) ==
        "add_scalar: input 0 (f64[4]) was changed in place through another handle or view after "
        "it was computed (version 0, now 1); use the changed handle, or clone() before the change");
  CHECK(says(thrown<state_error>([&] { return transpose(view); }),
             "transpose: input 0 (f64[2,2]) was"));
  {
    const no_grad plain;  // the numbers themselves may be used
    CHECK(elements(view + 1.0) == std::vector<double>{3, 5, 7, 9});
  }
}

TEST_CASE("mixed floats are promoted, and each gradient comes back in its own type") {
  const no_leaks guard;
  const auto typed = [](dtype t) { return cast(tensor_f64{1, 2}, t).set_requires_grad(); };
  const dtype all[] = {f32, f64, f16, bf16};
  for (const dtype a : all) {
    for (const dtype b : all) {
      CAPTURE(name_of(a));
      CAPTURE(name_of(b));
      const tensor x = typed(a), y = typed(b);
      const tensor z = x * y;
      CHECK(z.dtype() == promote(a, b));
      backward(sum(z));
      CHECK(x.grad().dtype() == a);
      CHECK(y.grad().dtype() == b);
      CHECK(elements(x.grad()) == std::vector<double>{1, 2});
    }
  }
  // A 0-d tensor does not widen one with axes, of the same kind.
  const tensor narrow = typed(bf16);
  const tensor one = detail::filled({}, f32, 3.0).set_requires_grad();
  const tensor z = narrow * one;
  CHECK(z.dtype() == bf16);
  backward(sum(z));
  CHECK(one.grad().dtype() == f32);
  CHECK(one.grad().item() == 3);
  CHECK((tensor_i64{1, 2} * narrow).dtype() == bf16);
}

TEST_CASE("a precision rule casts by class; gradients come back in the leaf's type") {
  const no_leaks guard;
  tensor x = cast(tensor_f64{1.0, 1.01}, f32), w = cast(tensor_f64{2.0, 3.0}, f32);
  x.set_requires_grad();
  w.set_requires_grad();
  {
    test_rule rule;
    const rule_guard installed(rule);
    const tensor y = x * w;
    CHECK(y.dtype() == bf16);
    CHECK(rule.casts == 2);
    const tensor z = exp(x);  // another class
    CHECK(z.dtype() == f32);
    const tensor again = x * w;
    CHECK(rule.casts == 2);
    CHECK(rule.hits == 2);
    backward(sum(again));
    CHECK(w.grad().dtype() == f32);
    CHECK(w.grad().as<float>()(1) == static_cast<float>(bfloat16(1.01f)));
    CHECK(detail::state.rule == &rule);  // the run put it back
  }
  CHECK((x * w).dtype() == f32);
}

TEST_CASE("a cast made under no_grad does not serve a recorded call, nor one of an old version") {
  const no_leaks guard;
  const tensor x = cast(tensor_f64{1, 2}, f32), w = cast(tensor_f64{2, 3}, f32).set_requires_grad();
  test_rule rule;
  const rule_guard installed(rule);
  {
    const no_grad plain;
    CHECK_FALSE((x * w).requires_grad());
    CHECK(rule.casts == 2);
  }
  const tensor y = x * w;
  CHECK(y.requires_grad());
  CHECK(rule.casts == 4);
  backward(sum(y));
  CHECK(elements(w.grad()) == std::vector<double>{1, 2});
  w.impl().store->version.fetch_add(1);
  CHECK(elements(x * w) == std::vector<double>{2, 6});
  CHECK(rule.casts == 5);
}

TEST_CASE("an observer sees the calls as the user made them, results never being inputs") {
  const no_leaks guard;
  struct log : detail::observer {
    std::vector<std::string> lines{};
    std::vector<const void*> inputs{}, results{};
  } seen;
  seen.before = [](detail::observer& self, const detail::op_info& info, const void*,
                   const tensor* const* in, std::size_t n) {
    auto& s = static_cast<log&>(self);
    s.lines.push_back(std::string(info.name));
    for (std::size_t i = 0; i < n; ++i) s.inputs.push_back(in[i]->impl_or_null());
  };
  seen.after = [](detail::observer& self, const detail::op_info&, detail::results& out) {
    for (std::size_t k = 0; k < out.count; ++k) {
      static_cast<log&>(self).results.push_back(out[k].impl_or_null());
    }
  };
  const tensor x = cast(tensor_f64{1, 2}, f32).set_requires_grad(), y = tensor_f64{3, 4};
  {
    const detail::state_guard restore;
    detail::state.watch = &seen;
    const tensor z = contiguous(mul(x, y));  // a cast inside mul, an identity after it
    CHECK(detail::state.watch == &seen);
  }
  CHECK(seen.lines == std::vector<std::string>{"mul", "contiguous"});
  REQUIRE(seen.results.size() == 2);
  CHECK(seen.results[0] != seen.results[1]);
  CHECK(seen.inputs ==
        std::vector<const void*>{x.impl_or_null(), y.impl_or_null(), seen.results[0]});
  static_cast<void>(mul(x, y));
  CHECK(seen.lines.size() == 2);
}

}  // namespace adze
