// SPDX-License-Identifier: MIT
// Transformer blocks against their formula in public ops, and a small language model: shapes,
// causality, learning by heart, generation.
#include <doctest/doctest.h>

#include <adze/nn/state_dict.hpp>
#include <adze/nn/transformer.hpp>
#include <adze/ops/cross_entropy.hpp>

#include "../ops/checks.hpp"

namespace adze::transformer_test {
namespace {

using namespace test;

template <module M> std::string listing(const M& model) {
  std::string s;
  for (const auto& [name, x] : state_dict(model)) s += text(name, " ", x, "\n");
  return s;
}

tensor tokens(std::initializer_list<std::int64_t> values) {
  return unsqueeze(tensor_i64(values), 0);
}

}  // namespace

TEST_CASE("a transformer block has the names of PyTorch's TransformerEncoderLayer") {
  CHECK(listing(nn::transformer_block{{.embed = 4, .heads = 2, .feed_forward = 6}}) ==
        "self_attn.in_proj_weight f32[12,4]\nself_attn.in_proj_bias f32[12]\n"
        "self_attn.out_proj.weight f32[4,4]\nself_attn.out_proj.bias f32[4]\n"
        "linear1.weight f32[6,4]\nlinear1.bias f32[6]\nlinear2.weight f32[4,6]\n"
        "linear2.bias f32[4]\nnorm1.weight f32[4]\nnorm1.bias f32[4]\nnorm2.weight f32[4]\n"
        "norm2.bias f32[4]\n");
  CHECK(nn::transformer_block{{.embed = 4, .heads = 2}}.linear1.weight.shape() == shape{16, 4});
}

TEST_CASE("a transformer block equals its formula, with norms before and after") {
  for (const bool first : {false, true}) {
    for (const auto activation : {nn::block_activation::relu, nn::block_activation::gelu}) {
      for (const bool causal : {false, true}) {
        manual_seed(1);
        nn::transformer_block b{{.embed = 4,
                                 .heads = 2,
                                 .feed_forward = 6,
                                 .activation = activation,
                                 .norm_first = first,
                                 .causal = causal,
                                 .type = f64}};
        eval(b);
        for (tensor* x : {&b.norm1.weight, &b.norm2.weight, &b.norm1.bias}) nn::init::normal_(*x);
        const tensor x = random({2, 5, 4}), mask = random({5, 5});
        const auto feed = [&](const tensor& v) {
          const tensor h = linear(v, b.linear1.weight, b.linear1.bias);
          return linear(activation == nn::block_activation::relu ? relu(h) : gelu(h),
                        b.linear2.weight, b.linear2.bias);
        };
        const auto attend = [&](const tensor& v) {
          return b.self_attn(v, {.mask = mask, .causal = causal});
        };
        tensor y;
        if (first) {
          y = x + attend(layer_norm(x, 1, b.norm1.weight, b.norm1.bias));
          y = y + feed(layer_norm(y, 1, b.norm2.weight, b.norm2.bias));
        } else {
          y = layer_norm(x + attend(x), 1, b.norm1.weight, b.norm1.bias);
          y = layer_norm(y + feed(y), 1, b.norm2.weight, b.norm2.bias);
        }
        CHECK(distance(b(x, mask), y) < 1e-13);
      }
    }
  }
}

TEST_CASE("dropout of a block acts in training only") {
  nn::transformer_block b{{.embed = 4, .heads = 2, .dropout = 0.3}};
  const tensor x = random({2, 5, 4}, f32);
  CHECK(distance(b(x), b(x)) > 0);
  eval(b);
  CHECK(distance(b(x), b(x)) == 0);
}

TEST_CASE("gradients through a block") {
  manual_seed(3);
  const nn::transformer_block b{{.embed = 4,
                                 .heads = 2,
                                 .feed_forward = 5,
                                 .dropout = 0.0,
                                 .activation = nn::block_activation::gelu,
                                 .norm_first = true,
                                 .causal = true,
                                 .type = f64}};
  list in = parameters(b);
  in.push_back(random_leaf({2, 3, 4}));
  const std::size_t n = in.size();
  const auto f = [&](const list& v) { return square(b(v[n - 1])); };
  CHECK_MESSAGE(gradcheck(f, in).ok, gradcheck(f, in).where);
}

TEST_CASE("a language model looks back only, and up to its context") {
  manual_seed(4);
  const nn::gpt net{{.vocabulary = 7, .context = 6, .embed = 8, .heads = 2, .layers = 2}};
  const tensor a = net(tokens({1, 2, 3, 4, 5})), b = net(tokens({1, 2, 3, 0, 0}));
  CHECK(a.shape() == shape{1, 5, 7});
  const auto start = [](const tensor& y) { return slice(y, 1, {.stop = 3}); };
  CHECK(distance(start(a), start(b)) == 0);
  CHECK(distance(a, b) > 0);
  CHECK_THROWS_WITH_AS(net(tokens({1, 2, 3, 4, 5, 6, 0})),
                       "nn::gpt: takes tokens [b, t] with t <= 6; got i64[1,7]", shape_error);
  CHECK_THROWS_AS(net(tokens({7})), value_error);
}

TEST_CASE("a tied head is the token embedding, in states and gradients") {
  manual_seed(5);
  const nn::gpt net{{.vocabulary = 5,
                     .context = 4,
                     .embed = 4,
                     .heads = 1,
                     .layers = 1,
                     .tied = true,
                     .type = f64}};
  CHECK(listing(net).find("head") == std::string::npos);
  const tensor in = tokens({0, 1, 2, 3}), out = tensor_i64{1, 2, 3, 4};
  const auto f = [&](const list&) { return cross_entropy(select(net(in), 0, 0), out); };
  CHECK_MESSAGE(gradcheck(f, {net.token.weight}).ok, gradcheck(f, {net.token.weight}).where);
}

TEST_CASE("a language model learns a sequence by heart and continues it") {
  manual_seed(6);
  nn::gpt net{{.vocabulary = 6, .context = 8, .embed = 16, .heads = 2, .layers = 2}};
  const tensor in = tokens({0, 1, 2, 3, 4, 5, 0, 1}), out = tensor_i64{1, 2, 3, 4, 5, 0, 1, 2};
  double loss = 0;
  for (int step = 0; step < 120; ++step) {
    zero_grad(net);
    const tensor y = cross_entropy(select(net(in), 0, 0), out);
    loss = y.item();
    backward(y);
    const no_grad guard;
    for (tensor& p : parameters(net)) {
      const auto g = numbers(p.grad());
      for (std::size_t i = 0; i < g.size(); ++i) {
        p.data_as<float>()[i] -= static_cast<float>(0.5 * g[i]);
      }
    }
  }
  CHECK(loss < 0.05);
  eval(net);
  const tensor start = tensor_i64{0, 1, 2};
  const std::vector<double> known{0, 1, 2, 3, 4, 5, 0, 1};
  CHECK(numbers(nn::generate(net, start, {.count = 5, .temperature = 0.0})) == known);
  CHECK(numbers(nn::generate(net, start, {.count = 5, .temperature = 9.0, .top_k = 1})) == known);
  const auto draw = [&] {
    manual_seed(7);
    return numbers(nn::generate(net, start, {.count = 20, .temperature = 9.0}));
  };
  const auto drawn = draw();
  CHECK(drawn.size() == 23);  // longer than the context
  CHECK(draw() == drawn);
  CHECK(drawn != numbers(nn::generate(net, start, {.count = 20, .temperature = 0.0})));
  generator own(7);
  const auto state = default_generator().state();
  CHECK(numbers(nn::generate(net, start, {.count = 20, .temperature = 9.0}, own)) == drawn);
  CHECK(default_generator().state() == state);
  CHECK_THROWS_AS(nn::generate(net, in, {.count = 1}), value_error);
}

}  // namespace adze::transformer_test
