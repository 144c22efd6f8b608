// SPDX-License-Identifier: MIT
// Modules without layers: the walk, the readers, and loading all or nothing.
#include <doctest/doctest.h>

#include <map>
#include <memory>

#include <adze/nn/find.hpp>
#include <adze/nn/state_dict.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::module_test {
namespace {

tensor filled(const shape& sizes, double first, dtype type = f32) {
  tensor_f64 x(sizes);
  for (double& e : x) e = first++;
  return detail::plain_copy(x, type);
}
std::vector<double> values_of(const tensor& x) {
  return tensor_f64(detail::plain_copy(x, f64)).to_vector();
}

struct dense {
  tensor weight, bias;
  tensor mean;
  bool training = true;
  dense() = default;
  dense(index_t in, index_t out, double first) : weight(filled({out, in}, first)) {
    weight.set_requires_grad();
    bias = filled({out}, first + 100);
    bias.set_requires_grad();
    mean = filled({out}, first + 200);
  }
  tensor operator()(const tensor& x) const { return x; }
  void visit(auto&& f) {
    f("weight", weight);
    f("bias", bias);
    f("mean", nn::buffer{mean});
    f("training", training);
  }
};

struct network {
  dense first{2, 3, 0};
  std::vector<dense> blocks;
  std::optional<dense> head;
  std::array<dense, 2> pair{dense(1, 1, 7), dense(1, 1, 8)};
  struct {
    tensor operator()(const tensor& x) const { return x; }
  } activation;
  void visit(auto&& f) {
    f("first", first);
    f("blocks", blocks);
    f("head", head);
    f("pair", pair);
    f("activation", activation);
  }
};

struct tied {
  tensor in = filled({2, 2}, 1), out = in;
  tied() { in.set_requires_grad(); }
  void visit(auto&& f) {
    f("in", in);
    f("out", out);
  }
};

struct doubled {
  tensor a = filled({1}, 0), b = filled({1}, 1);
  void visit(auto&& f) {
    f("x", a);
    f("x", b);
  }
};

network sample() {
  network m;
  m.blocks.push_back(dense(3, 3, 20));
  m.blocks.push_back(dense(3, 3, 40));
  m.blocks[1].bias = {};
  return m;
}

std::vector<std::string> names_of(const named_tensors& list) {
  std::vector<std::string> names;
  for (const auto& [name, x] : list) names.push_back(name);
  return names;
}

template <class F> std::string message_of(F f) {
  try {
    f();
  } catch (const error& e) {
    return e.what();
  }
  return "no error";
}

struct scaled {  // options alone
  static constexpr bool stateless = true;
  double factor = 2.0;
  tensor operator()(const tensor& x) const { return x; }
};
tensor unchanged(const tensor& x) { return x; }

struct contained {
  std::unique_ptr<dense> owned = std::make_unique<dense>(1, 1, 0), none;
  std::map<std::string, dense> heads{{"right", dense(1, 2, 20)}, {"left", dense(1, 1, 10)}};
  scaled scale;
  tensor (*function)(const tensor&) = unchanged;
  void visit(auto&& f) {
    f("owned", owned);
    f("none", none);
    f("heads", heads);
    f("scale", scale);
    f("function", function);
  }
};

static_assert(stateless_layer<scaled> && !stateless_layer<dense>);
static_assert(stateless_layer<decltype([](const tensor& x) { return x; })>);
static_assert(module<network> && module<const dense> && !module<tensor> && !module<int>);

}  // namespace

TEST_CASE("names are dotted paths in the order of visit, absent parts are left out") {
  const network m = sample();
  CHECK(names_of(state_dict(m)) ==
        std::vector<std::string>{"first.weight", "first.bias", "first.mean", "blocks.0.weight",
                                 "blocks.0.bias", "blocks.0.mean", "blocks.1.weight",
                                 "blocks.1.mean", "pair.0.weight", "pair.0.bias", "pair.0.mean",
                                 "pair.1.weight", "pair.1.bias", "pair.1.mean"});
  CHECK(named_buffers(m).size() == 5);
  CHECK(named_buffers(m)[1].first == "blocks.0.mean");
  CHECK(named_parameters(m).size() == 9);
  CHECK(parameters(m).size() == 9);
  CHECK(buffers(m).size() == 5);
  CHECK(count_parameters(m) == 6 + 3 + 9 + 3 + 9 + 4);
  CHECK(parameters(m)[0].impl_or_null() == m.first.weight.impl_or_null());
}

TEST_CASE("a head that appears is found") {
  network m = sample();
  m.head = dense(3, 1, 60);
  CHECK(names_of(named_parameters(m))[5] == "head.weight");
}

TEST_CASE("pointers and maps of layers are named; a map's keys are names, in their order") {
  contained m;
  CHECK(names_of(named_parameters(m)) ==
        std::vector<std::string>{"owned.weight", "owned.bias", "heads.left.weight",
                                 "heads.left.bias", "heads.right.weight", "heads.right.bias"});
  eval(m);
  CHECK_FALSE(m.owned->training);
  CHECK_FALSE(m.heads.at("right").training);
}

TEST_CASE("a tensor is found by its name, and the nearest names are given where there is none") {
  const network m = sample();
  CHECK(find(m, "blocks.1.weight").impl_or_null() == m.blocks[1].weight.impl_or_null());
  CHECK(find(m, "first.mean").impl_or_null() == m.first.mean.impl_or_null());
  CHECK(message_of([&] { find(m, "block.1.bias"); }) ==
        "find: the model has no tensor block.1.bias; nearest: blocks.0.bias, blocks.1.mean, "
        "blocks.0.mean");
  CHECK(message_of([&] { find(m, ""); }).starts_with("find: the model has no tensor ; nearest: "));
}

TEST_CASE("train and eval reach every flag, also of a part") {
  network m = sample();
  eval(m);
  CHECK_FALSE(m.first.training);
  CHECK_FALSE(m.blocks[1].training);
  CHECK_FALSE(m.pair[1].training);
  train(m);
  CHECK(m.blocks[0].training);
  eval(m.blocks[0]);
  CHECK_FALSE(m.blocks[0].training);
  CHECK(m.first.training);
}

TEST_CASE("freezing, and forgetting gradients") {
  network m = sample();
  set_requires_grad(m, false);
  for (const tensor& p : parameters(m)) CHECK_FALSE(p.requires_grad());
  set_requires_grad(m);
  for (const tensor& p : parameters(m)) CHECK(p.requires_grad());
  CHECK_FALSE(m.first.mean.requires_grad());
  m.first.weight.set_grad(filled({3, 2}, 0));
  zero_grad(m);
  CHECK_FALSE(m.first.weight.grad().defined());
}

TEST_CASE("a copied struct shares, a clone does not; ties survive") {
  network m = sample();
  const network shared = m;
  network own = clone(m);
  m.first.weight.as<float>()(0, 0) = 9;
  CHECK(shared.first.weight.as<float>()(0, 0) == 9);
  CHECK(own.first.weight.as<float>()(0, 0) == 0);
  CHECK(own.first.weight.requires_grad());
  CHECK_FALSE(own.first.mean.requires_grad());
  CHECK(own.blocks[1].weight.impl_or_null() != m.blocks[1].weight.impl_or_null());

  const tied t = clone(tied());
  CHECK(t.in.impl_or_null() == t.out.impl_or_null());
  CHECK(parameters(t).size() == 1);
  CHECK(count_parameters(t) == 4);
  CHECK(state_dict(t).size() == 2);
}

TEST_CASE("to converts what is floating and keeps leaves leaves") {
  network m = sample();
  m.first.mean = filled({3}, 5, i64);
  m.blocks[0].weight.set_requires_grad(false);
  to(m, bf16);
  CHECK(m.first.weight.dtype() == bf16);
  CHECK(m.first.weight.requires_grad());
  CHECK_FALSE(m.blocks[0].weight.requires_grad());
  CHECK(m.blocks[1].mean.dtype() == bf16);
  CHECK(m.first.mean.dtype() == i64);
  CHECK(values_of(m.first.bias) == std::vector<double>{100, 101, 102});
  CHECK(message_of([&] { to(m, i8); }).starts_with("to: a model is converted to a floating"));
}

TEST_CASE("a state goes out and back in, converted and in place") {
  const network from = sample();
  network into = clone(from);
  for (tensor& p : parameters(into)) detail::overwrite(p, filled(p.shape(), -50));
  const tensor kept = into.first.weight;
  const std::uint32_t version = kept.version();
  named_tensors state = state_dict(from);
  for (auto& [name, x] : state) x = detail::plain_copy(x, f64);
  load_state_dict(into, state);
  for (std::size_t i = 0; i < state.size(); ++i) {
    CHECK(values_of(state_dict(into)[i].second) == values_of(state[i].second));
  }
  CHECK(into.first.weight.impl_or_null() == kept.impl_or_null());
  CHECK(kept.version() > version);
  CHECK(kept.requires_grad());
  CHECK_FALSE(state_dict(into)[0].second.requires_grad());
}

TEST_CASE("what does not fit is listed whole, and nothing is changed") {
  network m = sample();
  named_tensors state = state_dict(clone(m));
  detail::overwrite(state[0].second, filled({3, 2}, 70));
  state[1].first = "first.biass";
  state[3].second = filled({9}, 0);
  const std::string text = message_of([&] { load_state_dict(m, state); });
  CHECK(text == "load_state_dict: the list does not fit the model; missing first.bias; unexpected "
                "first.biass; blocks.0.weight is f32[3,3] in the model and f32[9] in the list; "
                "nothing was changed");
  CHECK(m.first.weight.as<float>()(0, 0) == 0);
  CHECK_THROWS_AS(load_state_dict(m, state, {.strict = false}), value_error);

  state[3].second = filled({3, 3}, 0);
  CHECK_THROWS_AS(load_state_dict(m, state), value_error);
  const load_report report = load_state_dict(m, state, {.strict = false});
  CHECK(report.missing == std::vector<std::string>{"first.bias"});
  CHECK(report.unexpected == std::vector<std::string>{"first.biass"});
  CHECK(m.first.weight.as<float>()(0, 0) == 70);
  CHECK(m.first.bias.as<float>()(0) == 100);
}

TEST_CASE("strict loading refuses what is only missing and what is only unexpected") {
  network m = sample();
  const named_tensors whole = state_dict(clone(m));
  named_tensors few = whole, many = whole;
  few.pop_back();
  many.emplace_back("more", filled({1}, 0));
  CHECK(message_of([&] { load_state_dict(m, few); }).find("missing pair.1.mean") < 100);
  CHECK(message_of([&] { load_state_dict(m, many); }).find("unexpected more") < 100);
  CHECK(load_state_dict(m, few, {.strict = false}).missing.size() == 1);
  CHECK(load_state_dict(m, many, {.strict = false}).unexpected.size() == 1);
}

TEST_CASE("values may come from the model itself, exchanged") {
  network m = sample();
  named_tensors state = state_dict(m);
  std::swap(state[3].second, state[6].second);  // the weights of the two blocks
  load_state_dict(m, state);
  CHECK(m.blocks[0].weight.as<float>()(0, 0) == 40);
  CHECK(m.blocks[1].weight.as<float>()(0, 0) == 20);
}

TEST_CASE("a name used twice is refused") {
  doubled d;
  CHECK(message_of([&] { state_dict(d); }) ==
        "state_dict: two tensors are named x; names must differ");
  tied t;
  named_tensors state = state_dict(t);
  state.push_back(state[0]);
  CHECK(message_of([&] { load_state_dict(t, state); }) ==
        "load_state_dict: two tensors are named in; names must differ");
}

}  // namespace adze::module_test
