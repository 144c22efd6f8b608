// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <adze/core/poison.hpp>
#include <adze/optim/adagrad.hpp>
#include <adze/optim/adamw.hpp>
#include <adze/optim/decay_groups.hpp>
#include <adze/optim/lamb.hpp>
#include <adze/optim/rmsprop.hpp>
#include <adze/optim/sgd.hpp>
#include <adze/tensor/create.hpp>

#include "problem.hpp"

namespace adze::optim::testing {
namespace {

tensor leaf(const shape& sizes, double value, dtype type = f32) {
  return tensor_with(sizes, numbers(static_cast<std::size_t>(sizes.numel()), value), type)
      .set_requires_grad();
}

// f(optimizer type, options that use every state) for every optimizer.
template <class F> void each_optimizer(F f) {
  f.template operator()<sgd>({.lr = 0.05, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true});
  f.template operator()<adam>({.lr = 0.01, .weight_decay = 0.01, .amsgrad = true});
  f.template operator()<adamw>({.lr = 0.01});
  f.template operator()<rmsprop>({.lr = 0.001, .momentum = 0.9, .centered = true});
  f.template operator()<adagrad>({.lr = 0.05, .lr_decay = 0.01, .initial_accumulator_value = 0.1});
  f.template operator()<lamb>({.lr = 0.01});
}

struct layer {
  tensor weight = leaf({3, 2}, 1.0), bias = leaf({3}, 1.0), slope = leaf({}, 1.0);
  void visit(auto&& f) { f("weight", weight), f("bias", bias), f("slope", slope); }
};

void run(optimizer& o, int from, int to) {
  for (int t = from; t < to; ++t) {
    set_gradients(o.parameters(), t);
    o.step();
  }
}

bool all_same(const std::vector<tensor>& a, const std::vector<tensor>& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) same = same_bits(a[i], b[i]);
  return same;
}

TEST_CASE("optimizer: made for a model, it has the parameters of the model") {
  const layer model;
  adamw o(model, {.lr = 0.5});
  REQUIRE(o.parameters().size() == 3);
  CHECK(o.parameters()[2].impl_or_null() == model.slope.impl_or_null());
  CHECK(o.lr() == 0.5);
}

TEST_CASE("decay_groups: what has two axes or more is decayed, the rest is not") {
  const layer model;
  const auto [decayed, rest] = decay_groups(parameters(model));
  REQUIRE(decayed.size() == 1);
  REQUIRE(rest.size() == 2);
  adamw o(decayed, {.lr = 0.5, .weight_decay = 0.5});
  o.add_group(rest, {.lr = 0.5, .weight_decay = 0.0});
  for (tensor p : o.parameters()) p.set_grad(adze::zeros(p.shape()));
  o.step();
  CHECK(model.weight.as<float>()(0, 0) == 0.75f);
  CHECK(model.bias.as<float>()(0) == 1.0f);
  CHECK(model.slope.item() == 1.0);
}

TEST_CASE("optimizer: a step goes on where a saved state was taken, bit for bit") {
  each_optimizer([]<class O>(const typename O::options_type& options) {
    for (const dtype type : {f64, f32, bf16}) {
      O first(leaves(type), options);
      first.add_group({leaf({5}, 0.5, type)}, {.lr = 0.002});
      run(first, 1, 6);
      const saved_state saved = first.state_dict();
      std::vector<tensor> copies;
      for (const tensor& p : first.parameters()) {
        copies.push_back(adze::detail::dense_copy(p).set_requires_grad());
      }
      run(first, 6, 11);

      const std::vector<tensor> group(copies.begin(), copies.end() - 1);
      O second(group);
      second.add_group({copies.back()});
      second.load_state_dict(saved);
      CHECK(second.lr(0) == options.lr);
      CHECK(second.lr(1) == 0.002);
      run(second, 6, 11);
      CHECK(all_same(first.parameters(), second.parameters()));
      const saved_state a = first.state_dict(), b = second.state_dict();
      CHECK(a.numbers == b.numbers);
      REQUIRE(a.tensors.size() == b.tensors.size());
      for (std::size_t i = 0; i < a.tensors.size(); ++i) {
        CHECK(a.tensors[i].first == b.tensors[i].first);
        CHECK(same_bits(a.tensors[i].second, b.tensors[i].second));
      }
    }
  });
}

TEST_CASE("optimizer: names in a saved state are PyTorch's") {
  tensor first = leaf({2}, 1.0), second = leaf({3}, 1.0);
  adam o({first, second}, {.amsgrad = true});
  second.set_grad(tensor_with({3}, {1, 2, 3}, f32));
  o.step();
  const saved_state s = o.state_dict();
  REQUIRE(s.tensors.size() == 3);
  CHECK(s.tensors[0].first == "state.1.exp_avg");
  CHECK(s.tensors[1].first == "state.1.exp_avg_sq");
  CHECK(s.tensors[2].first == "state.1.max_exp_avg_sq");
  CHECK(s.numbers.front() == std::pair<std::string, double>("state.1.step", 1.0));
  CHECK(s.numbers[1] == std::pair<std::string, double>("param_groups.0.params", 2.0));
  CHECK(s.numbers[2] == std::pair<std::string, double>("param_groups.0.lr", 1e-3));
}

TEST_CASE("optimizer: a state that does not fit changes nothing") {
  const auto fresh = [] { return adam({leaf({2}, 1.0), leaf({3}, 1.0)}, {.lr = 0.5}); };
  adam o = fresh();
  run(o, 1, 3);
  const saved_state good = o.state_dict();
  const auto refuses = [&](const saved_state& s, const char* text) {
    adam target = fresh();
    run(target, 1, 2);
    const saved_state before = target.state_dict();
    CHECK_THROWS_WITH_AS(target.load_state_dict(s), text, value_error);
    const saved_state after = target.state_dict();
    CHECK(before.numbers == after.numbers);
    REQUIRE(before.tensors.size() == after.tensors.size());
    for (std::size_t i = 0; i < after.tensors.size(); ++i) {
      CHECK(same_bits(before.tensors[i].second, after.tensors[i].second));
    }
  };
  const auto number = [](saved_state& s, std::string_view name) -> double& {
    for (auto& [key, value] : s.numbers) {
      if (key == name) return value;
    }
    FAIL("no such number");
    return s.numbers[0].second;
  };

  saved_state s = good;
  number(s, "param_groups.0.lr") = -1.0;
  refuses(s, "adam: lr must be at least 0; got -1");
  s = good;
  number(s, "param_groups.0.params") = 3;
  refuses(s, "adam.load_state_dict: group 0 has 2 parameters, but 3 in the state");
  s = good;
  number(s, "state.1.step") = 1.5;
  refuses(s, "adam.load_state_dict: state.1.step must be a whole number from 0 on; got 1.5");
  s = good;
  s.tensors.back().second = tensor_with({4}, {1, 2, 3, 4}, f32);
  refuses(s, "adam.load_state_dict: state.1.exp_avg_sq must be f32[3]; got f32[4]");
  s = good;
  s.tensors.back().second = tensor_with({3}, {1, 2, 3}, f64);
  refuses(s, "adam.load_state_dict: state.1.exp_avg_sq must be f32[3]; got f64[3]");
  s = good;
  s.tensors.back().second = tensor();
  refuses(s, "adam.load_state_dict: state.1.exp_avg_sq must be f32[3]; got undefined");
  s = good;
  s.tensors.pop_back();
  refuses(s, "adam.load_state_dict: state.1.exp_avg_sq is missing; the state must come from the "
             "same kind and set-up");
  s = good;
  s.numbers.pop_back();
  refuses(s, "adam.load_state_dict: param_groups.0.maximize is missing; the state must come from "
             "the same kind and set-up");
  s = good;
  s.numbers.emplace_back("param_groups.1.lr", 1.0);
  refuses(s, "adam.load_state_dict: unexpected param_groups.1.lr; was it saved by another kind or "
             "set-up?");
  s = good;
  s.numbers.emplace_back("param_groups.0.lr", 1.0);
  refuses(s, "adam.load_state_dict: param_groups.0.lr appears twice");
}

TEST_CASE("optimizer: a state from before an option was turned on goes on as without a pause") {
  const auto check = []<class O>(const typename O::options_type& o, auto turn_on) {
    O whole(leaves(f32), o), paused(leaves(f32), o);
    run(whole, 0, 3), run(paused, 0, 3);
    turn_on(whole), turn_on(paused);
    paused.load_state_dict(paused.state_dict());
    run(whole, 3, 6), run(paused, 3, 6);
    CHECK(all_same(whole.parameters(), paused.parameters()));
  };
  check.template operator()<sgd>({.lr = 0.05}, [](sgd& o) { o.options().momentum = 0.9; });
  check.template operator()<adam>({.lr = 0.01}, [](adam& o) { o.options().amsgrad = true; });
  check.template operator()<rmsprop>(
      {.lr = 0.001}, [](rmsprop& o) { o.options().momentum = 0.9, o.options().centered = true; });
}

TEST_CASE("optimizer: threads change no bit") {
  const int before = threads();
  each_optimizer([]<class O>(const typename O::options_type& options) {
    for (const dtype type : {f32, f64, f16}) {
      std::vector<std::vector<tensor>> results;
      for (const int n : {1, 2, 3}) {
        set_threads(n);
        O o({leaf({70001}, 0.5, type), leaf({3}, 1.0, type), leaf({0}, 1.0, type),
             leaf({300, 301}, 0.25, type)},
            options);
        run(o, 1, 4);
        results.push_back(o.parameters());
      }
      CHECK(all_same(results[0], results[1]));
      CHECK(all_same(results[0], results[2]));
    }
  });
  set_threads(before);
}

TEST_CASE("optimizer: every element of large parameters changes once") {
  for (const dtype type : {f32, f64, f16}) {
    std::vector<tensor> all;
    for (const index_t n : {70001, 3, 0, 32768, 65537, 1}) all.push_back(leaf({n}, 1.0, type));
    sgd o(all, {.lr = 0.5});
    for (tensor p : all) p.set_grad(leaf(p.shape(), 1.0, type));
    o.step();
    for (const tensor& p : all) {
      CHECK(values_of(p) == numbers(static_cast<std::size_t>(p.numel()), 0.5));
    }
  }
}

TEST_CASE("optimizer: 16-bit parameters are changed in float and rounded once") {
  each_optimizer([]<class O>(const typename O::options_type& options) {
    for (const dtype type : {f16, bf16}) {
      const shape sizes{3, 211};
      O narrow({leaf(sizes, 0.75, type)}, options), wide({leaf(sizes, 0.75, f32)}, options);
      for (int t = 1; t <= 5; ++t) {
        tensor a = narrow.parameters()[0], b = wide.parameters()[0];
        const numbers g = gradient_at(values_of(a), 0, t);
        a.set_grad(tensor_with(sizes, g, type));
        b.set_grad(tensor_with(sizes, values_of(a.grad()), f32));
        narrow.step();
        wide.step();
        const tensor rounded = tensor_with(sizes, values_of(b), type);
        CHECK(same_bits(a, rounded));
        detail::copy_values(b, rounded);
      }
      for (const auto& [name, state] : narrow.state_dict().tensors) CHECK(state.dtype() == f32);
    }
  });
}

TEST_CASE("optimizer: layouts of parameter and gradient may differ, and have gaps") {
  const shape sizes{2, 3, 4, 5};
  numbers v;
  for (std::size_t i = 0; i < 120; ++i) v.push_back(wave(i, 1.0));
  const auto channels_last = [&](const numbers& x) {
    tensor y = empty_channels_last(sizes, f64);
    detail::copy_values(y, tensor_with(sizes, x));
    return y;
  };
  each_optimizer([&]<class O>(const typename O::options_type& options) {
    tensor whole = tensor_with({2, 3, 4, 8}, numbers(192, 7.0));
    tensor gaps = alias(whole, sizes, whole.strides());
    detail::copy_values(gaps, tensor_with(sizes, v));
    tensor p[4] = {tensor_with(sizes, v), channels_last(v), tensor_with(sizes, v), gaps};
    for (tensor& x : p) x.set_requires_grad();
    O o({p[0], p[1], p[2], p[3]}, options);
    for (int t = 1; t <= 5; ++t) {
      const numbers g = gradient_at(values_of(p[0]), 0, t);
      p[0].set_grad(tensor_with(sizes, g));
      p[1].set_grad(tensor_with(sizes, g));
      p[2].set_grad(channels_last(g));
      p[3].set_grad(channels_last(g));
      o.step();
    }
    for (int i = 1; i < 4; ++i) {
      const numbers a = values_of(p[0]), b = values_of(p[i]);
      for (std::size_t k = 0; k < a.size(); ++k) REQUIRE(b[k] == doctest::Approx(a[k]));
    }
    for (index_t i = 0; i < 192; ++i) {
      if (i % 8 >= 5) REQUIRE(whole.data_as<double>()[i] == 7.0);
    }
  });
}

TEST_CASE("optimizer: what has no gradient stays, and its steps are not counted") {
  each_optimizer([]<class O>(const typename O::options_type& options) {
    tensor a = leaf({4}, 1.0), b = leaf({4}, 1.0);
    O o({a, b}, options);
    a.set_grad(tensor_with({4}, {1, 1, 1, 1}, f32));
    const std::uint32_t version = a.version(), other = b.version();
    o.step();
    CHECK(a.version() == version + 1);
    CHECK(b.version() == other);
    CHECK(values_of(b) == numbers(4, 1.0));
    CHECK(values_of(a) != numbers(4, 1.0));
    a.set_grad({});
    b.set_grad(tensor_with({4}, {1, 1, 1, 1}, f32));
    o.step();
    CHECK(same_bits(a, b));
    CHECK(!a.grad().defined());
    CHECK(b.grad().defined());
    o.zero_grad();
    CHECK(!b.grad().defined());
    o.step();
    CHECK(same_bits(a, b));
  });
}

TEST_CASE("optimizer: each parameter counts its own steps") {
  each_optimizer([]<class O>(const typename O::options_type& options) {
    const tensor g = tensor_with({4}, {1, 2, 3, 4}, f32);
    tensor a = leaf({4}, 1.0), b = leaf({4}, 1.0);
    O o({a, b}, options);
    a.set_grad(g);
    o.step();
    const tensor once = adze::detail::dense_copy(a);
    b.set_grad(g);
    o.step();
    CHECK(same_bits(b, once));
    const tensor twice = adze::detail::dense_copy(a);
    a.set_grad({});
    o.step();
    CHECK(same_bits(b, twice));
  });
}

TEST_CASE("optimizer: steps in a row take no memory from the allocator") {
  each_optimizer([]<class O>(const typename O::options_type& options) {
    O o(leaves(f32), options);
    set_gradients(o.parameters(), 1);
    o.step();
    const memory_statistics before = adze::memory();
    for (int t = 0; t < 20; ++t) o.step();
    CHECK(adze::memory().system_allocations == before.system_allocations);
    CHECK(adze::memory().live_bytes == before.live_bytes);
  });
}

TEST_CASE("optimizer: a step that finds no memory has not begun") {
  if (adze::detail::poisons) return;  // the address sanitizer ends a program that asks for so much
  each_optimizer([]<class O>(const typename O::options_type& options) {
    const shape huge{index_t{1} << 45};  // one number, everywhere
    const tensor g = tensor_with({4}, {1, 2, 3, 4}, f32);
    tensor a = leaf({4}, 1.0), b = adze::alias(ones({1}), huge, {0}), once = leaf({4}, 1.0);
    b.set_requires_grad();
    O o({a, b}, options), other({once}, options);
    for (tensor* x : {&a, &once}) x->set_grad(g);
    b.set_grad(adze::alias(zeros({1}), huge, {0}));
    const auto version = a.version();
    CHECK_THROWS(o.step());
    CHECK(a.version() == version);
    b.set_grad({});
    for (int t = 0; t < 2; ++t) o.step(), other.step();
    CHECK(same_bits(a, once));
  });
}

TEST_CASE("optimizer: groups have options of their own") {
  const tensor a = leaf({2}, 1.0), b = leaf({2}, 1.0), c = leaf({2}, 1.0);
  sgd o({a, b}, {.lr = 0.5});
  o.add_group({c}, {.lr = 0.25, .weight_decay = 1.0});
  CHECK(o.group_count() == 2);
  CHECK(o.parameters(0).size() == 2);
  CHECK(o.parameters(1).size() == 1);
  CHECK(&o.parameters(1)[0].impl() == &c.impl());
  for (tensor p : o.parameters()) p.set_grad(tensor_with({2}, {1, 1}, f32));
  o.step();
  CHECK(values_of(b) == numbers{0.5, 0.5});
  CHECK(values_of(c) == numbers{0.5, 0.5});
  o.options(1).lr = 0.0;
  o.lr(0) = 0.25;
  o.step();
  CHECK(values_of(a) == numbers{0.25, 0.25});
  CHECK(values_of(c) == numbers{0.5, 0.5});
  CHECK_THROWS_WITH_AS(o.lr(2), "optimizer: there is no group 2; the optimizer has 2", value_error);
  CHECK_THROWS_AS(o.parameters(-1), value_error);
}

TEST_CASE("optimizer: parameters that cannot be optimized") {
  const tensor p = leaf({2}, 1.0);
  CHECK_THROWS_WITH_AS(sgd({}), "sgd: got an empty parameter list; pass parameters(model)",
                       value_error);
  CHECK_THROWS_WITH_AS(adam({p, tensor()}), "adam: parameter 1 is undefined", value_error);
  CHECK_THROWS_WITH_AS(adam({empty({2}, i32)}), "adam: parameter 0 must be floating; got i32[2]",
                       dtype_error);
  CHECK_THROWS_WITH_AS(sgd({p, leaf({1}, 1.0), p}),
                       "sgd: parameter 2 (f32[2]) is given twice; it would be changed twice in "
                       "each step",
                       value_error);
  sgd o({p});
  CHECK_THROWS_AS(o.add_group({leaf({1}, 1.0), p}), value_error);
  CHECK_THROWS_AS(o.add_group({leaf({1}, 1.0)}, {.lr = -1.0}), value_error);
  CHECK(o.group_count() == 1);
  CHECK(o.parameters().size() == 1);

  tensor result = tensor_with({2}, {1, 1}, f32);
  adze::detail::node* n = adze::detail::make_node(0, 1, 0, sizeof(adze::detail::leaf_data));
  n->leaf = true;  // so that it is taken apart as one
  ::new (n->op()) adze::detail::leaf_data;
  adze::detail::attach(result, n, 0);
  adze::detail::release(static_cast<adze::detail::node_head*>(n));
  n->leaf = false;
  CHECK_THROWS_WITH_AS(sgd({result}),
                       "sgd: parameter 0 (f32[2]) is not a leaf but the result of an op; pass the "
                       "leaf that it was computed from, or detach(x)",
                       state_error);
  n->leaf = true;
}

TEST_CASE(
    "optimizer: a step refuses a parameter that only the optimizer holds and nothing trains") {
  each_optimizer([]<class O>(const typename O::options_type& options) {
    tensor a = leaf({4}, 1.0), b = leaf({4}, 1.0);
    O o({a, b}, options);
    a.set_grad(tensor_with({4}, {1, 1, 1, 1}, f32));
    b = leaf({4}, 2.0);  // a model's member, bound to another tensor
    CHECK_THROWS_AS(o.step(), state_error);
    CHECK(values_of(a) == numbers(4, 1.0));
  });
  tensor w = leaf({2}, 1.0);
  sgd o({w});
  w = leaf({2}, 2.0);
  CHECK_THROWS_WITH_AS(o.step(),
                       "sgd.step: nothing but the optimizer holds parameter 0 (f32[2]), and it has "
                       "no gradient: the model was given another tensor; write into this one "
                       "(copy_ under no_grad), or make the optimizer of the new ones",
                       state_error);
}

TEST_CASE("optimizer: a parameter that never asked for gradients is left alone") {
  const tensor p = tensor_with({2}, {1, 1}, f32);
  adam o({p});
  o.step();
  o.zero_grad();
  CHECK(values_of(p) == numbers{1, 1});
}

}  // namespace
}  // namespace adze::optim::testing
