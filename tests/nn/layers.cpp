// SPDX-License-Identifier: MIT
// Layers: PyTorch's names, shapes, first values and results; modes; whole models.
#include <doctest/doctest.h>

#include <adze/autograd/checkpoint.hpp>
#include <adze/nn/activation.hpp>
#include <adze/nn/any_layer.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/dropout.hpp>
#include <adze/nn/embedding.hpp>
#include <adze/nn/norm.hpp>
#include <adze/nn/pool.hpp>
#include <adze/nn/sequential.hpp>
#include <adze/nn/state_dict.hpp>

#include "../ops/checks.hpp"

namespace adze::layers_test {
namespace {

using namespace test;

// "name shape dtype" of every entry of the state, one a line.
template <module M> std::string listing(const M& model) {
  std::string s;
  for (const auto& [name, x] : state_dict(model)) s += text(name, " ", x, "\n");
  return s;
}

double largest(const tensor& x) {
  double most = 0;
  for (const double v : numbers(x)) most = std::max(most, std::abs(v));
  return most;
}

struct small_net {
  nn::conv2d conv{{.in = 1, .out = 4, .kernel = 3, .padding = 1, .bias = false}};
  nn::batch_norm2d bn{{.channels = 4}};
  nn::dropout drop{{.p = 0.25}};
  nn::linear head{{.in = 4 * 5 * 5, .out = 3}};

  tensor operator()(const tensor& x) const { return head(drop(flatten(relu(bn(conv(x))), 1))); }
  void visit(auto&& f) {
    f("conv", conv);
    f("bn", bn);
    f("drop", drop);
    f("head", head);
  }
};

}  // namespace

TEST_CASE("states have PyTorch's names, order and shapes") {
  CHECK(listing(nn::linear{{.in = 4, .out = 3}}) == "weight f32[3,4]\nbias f32[3]\n");
  CHECK(listing(nn::linear{{.in = 4, .out = 3, .bias = false, .type = f64}}) ==
        "weight f64[3,4]\n");
  CHECK(listing(nn::conv2d{{.in = 6, .out = 4, .kernel = {3, 5}, .groups = 2}}) ==
        "weight f32[4,3,3,5]\nbias f32[4]\n");
  CHECK(listing(nn::conv1d{{.in = 6, .out = 4, .kernel = 5}}) ==
        "weight f32[4,6,5]\nbias f32[4]\n");
  CHECK(listing(nn::conv_transpose2d{{.in = 6, .out = 4, .kernel = 2, .groups = 2}}) ==
        "weight f32[6,2,2,2]\nbias f32[4]\n");
  CHECK(listing(nn::batch_norm2d{{.channels = 7}}) ==
        "weight f32[7]\nbias f32[7]\nrunning_mean f32[7]\nrunning_var f32[7]\n"
        "num_batches_tracked i64[]\n");
  CHECK(listing(nn::batch_norm1d{{.channels = 7, .affine = false, .track = false}}) == "");
  CHECK(listing(nn::layer_norm{{.sizes = {2, 3}}}) == "weight f32[2,3]\nbias f32[2,3]\n");
  CHECK(listing(nn::layer_norm{{.sizes = {3}, .bias = false}}) == "weight f32[3]\n");
  CHECK(listing(nn::rms_norm{{.sizes = {3}}}) == "weight f32[3]\n");
  CHECK(listing(nn::group_norm{{.groups = 2, .channels = 6}}) == "weight f32[6]\nbias f32[6]\n");
  CHECK(listing(nn::instance_norm2d{{.channels = 6}}) == "");
  CHECK(listing(nn::embedding{{.rows = 10, .width = 3}}) == "weight f32[10,3]\n");
  CHECK(listing(nn::prelu{}) == "weight f32[1]\n");
  CHECK(listing(nn::dropout{}) == "");
  CHECK(listing(small_net()) ==
        "conv.weight f32[4,1,3,3]\nbn.weight f32[4]\nbn.bias f32[4]\nbn.running_mean f32[4]\n"
        "bn.running_var f32[4]\nbn.num_batches_tracked i64[]\nhead.weight f32[3,100]\n"
        "head.bias f32[3]\n");
}

TEST_CASE("first values are PyTorch's, from the seed alone") {
  manual_seed(1);
  const nn::linear a{{.in = 100, .out = 50}};
  const nn::conv2d c{{.in = 4, .out = 50, .kernel = 5}};
  CHECK(largest(a.weight) < 0.1);
  CHECK(largest(a.weight) > 0.099);
  CHECK(largest(a.bias) < 0.1);
  CHECK(largest(a.bias) > 0.09);
  CHECK(largest(c.weight) < 0.1);
  CHECK(largest(c.weight) > 0.099);
  CHECK(largest(c.bias) > 0.09);
  CHECK(a.weight.requires_grad());
  manual_seed(1);
  CHECK(distance(nn::linear{{.in = 100, .out = 50}}.weight, a.weight) == 0.0);
  const nn::batch_norm2d bn{{.channels = 2}};
  CHECK(numbers(bn.weight) == std::vector<double>{1, 1});
  CHECK(numbers(bn.bias) == std::vector<double>{0, 0});
  CHECK(numbers(bn.running_var) == std::vector<double>{1, 1});
  CHECK_FALSE(bn.running_var.requires_grad());
  const nn::embedding e{{.rows = 5, .width = 2, .padding_index = 3}};
  CHECK(largest(select(e.weight, 0, 3)) == 0.0);
  CHECK(largest(select(e.weight, 0, 2)) > 0.0);
  const tensor first = nn::embedding{{.rows = 5, .width = 2, .padding_index = 0}}(tensor_i64{0, 1});
  CHECK(largest(select(first, 0, 0)) == 0.0);
  backward(sum(e(tensor_i64{3, 2})));
  CHECK(largest(select(e.weight.grad(), 0, 3)) == 0.0);
  CHECK(largest(select(e.weight.grad(), 0, 2)) == 1.0);
}

TEST_CASE("layers call their ops with their options") {
  const tensor x = random({2, 6, 8, 8}, f32);
  const nn::conv2d c{
      {.in = 6, .out = 4, .kernel = {3, 5}, .stride = {2, 1}, .padding = {1, 2}, .groups = 2}};
  CHECK(distance(c(x), conv2d(x, c.weight, c.bias,
                              {.stride = {2, 1}, .padding = {1, 2}, .groups = 2})) == 0.0);
  const nn::conv2d d{{.in = 6, .out = 4, .kernel = 3, .dilation = 2, .bias = false}};
  CHECK(d(x).shape() == shape{2, 4, 4, 4});
  const nn::conv1d line{{.in = 6, .out = 4, .kernel = 3, .stride = 2, .padding = 1}};
  CHECK(line(random({2, 6, 9}, f32)).shape() == shape{2, 4, 5});
  const nn::conv_transpose2d up{
      {.in = 6, .out = 3, .kernel = 3, .stride = 2, .padding = 1, .output_padding = 1}};
  CHECK(up(x).shape() == shape{2, 3, 16, 16});
  const nn::group_norm g{{.groups = 3, .channels = 6}};
  CHECK(distance(g(x), group_norm(x, 3)) == 0.0);
  const nn::layer_norm l{{.sizes = {8, 8}, .eps = 0.1}};
  CHECK(distance(l(x), layer_norm(x, 2, {}, {}, 0.1)) == 0.0);
  const nn::rms_norm r{{.sizes = {8}}};
  CHECK(distance(r(x), rms_norm(x, 1)) == 0.0);
  const nn::instance_norm2d i{{.channels = 6, .affine = true}};
  CHECK(distance(i(x), instance_norm(x)) == 0.0);
  const nn::group_norm wide{{.groups = 3, .channels = 6, .eps = 0.1}};
  CHECK(distance(wide(x), group_norm(x, 3, {}, {}, 0.1)) == 0.0);
  CHECK(distance(nn::rms_norm{{.sizes = {8}, .eps = 0.1}}(x), rms_norm(x, 1, {}, 0.1)) == 0.0);
  const nn::instance_norm2d own{{.channels = 6, .eps = 0.1}};
  CHECK(distance(own(x), instance_norm(x, {}, {}, 0.1)) == 0.0);
  const nn::embedding e{{.rows = 5, .width = 2}};
  CHECK(e(tensor_i64{{1, 4, 0}}).shape() == shape{1, 3, 2});
  CHECK(distance(nn::leaky_relu{.negative_slope = 0.5}(x), leaky_relu(x, 0.5)) == 0.0);
  CHECK(distance(nn::prelu{{.channels = 6}}(x), leaky_relu(x, 0.25)) == 0.0);
  CHECK(nn::flatten{}(x).shape() == shape{2, 384});
  CHECK(distance(nn::softmax{.axis = 1}(x), softmax(x, 1)) == 0.0);
}

TEST_CASE("norms without weights check the sizes they were made for") {
  const nn::layer_norm ln{{.sizes = {4, 8}, .affine = false}};
  const nn::rms_norm rn{{.sizes = {8}, .affine = false}};
  const tensor x = random({3, 4, 8}, f32);
  CHECK(distance(ln(x), layer_norm(x, 2)) == 0.0);
  CHECK(distance(rn(x), rms_norm(x, 1)) == 0.0);
  CHECK(message_of([&] {
          ln(random({4, 9}, f32));
        }) == "nn::layer_norm: the last axes must have the sizes [4,8]; got f32[4,9]");
  CHECK_THROWS_AS(ln(random({8}, f32)), shape_error);
  CHECK_THROWS_AS(rn(random({8, 4}, f32)), shape_error);
}

TEST_CASE("batch norm layers follow their mode") {
  const tensor x = random({5, 3, 2, 2}, f32);
  nn::batch_norm2d bn{{.channels = 3, .momentum = 0.5}};
  CHECK(distance(bn(x), batch_norm(x, {}, {}, {}, {}, {.training = true})) < 1e-6);
  static_cast<void>(bn(x));
  CHECK(bn.num_batches_tracked.item<index_t>() == 2);
  CHECK(distance(bn.running_mean, mean(x, {0, 2, 3}) * 0.75) < 1e-6);
  eval(bn);
  const tensor before = clone(bn.running_mean);
  CHECK(distance(bn(x), batch_norm(x, {}, {}, bn.running_mean, bn.running_var,
                                   {.training = false})) < 1e-6);
  CHECK(distance(bn.running_mean, before) == 0.0);
  CHECK(bn.num_batches_tracked.item<index_t>() == 2);
  bn.options.eps = 0.5;
  CHECK(distance(bn(x), batch_norm(x, {}, {}, bn.running_mean, bn.running_var,
                                   {.training = false, .eps = 0.5})) < 1e-6);
  nn::batch_norm1d untracked{{.channels = 3, .track = false}};
  eval(untracked);
  CHECK(distance(untracked(select(x, 3, 0)),
                 batch_norm(select(x, 3, 0), {}, {}, {}, {}, {.training = true})) < 1e-6);
}

TEST_CASE("a checkpoint counts its batch once") {
  nn::batch_norm1d bn{{.channels = 3, .type = f64}};
  tensor x = random_leaf({6, 3});
  const auto f = [&](const list& in) { return bn(in[0]) * bn(in[0]); };
  const tensor y = checkpoint(f, list{x});
  const std::vector<double> kept = numbers(bn.running_mean);
  backward(sum(y));
  CHECK(bn.num_batches_tracked.item<index_t>() == 2);
  CHECK(numbers(bn.running_mean) == kept);
  CHECK(x.grad().defined());
}

TEST_CASE("dropout is active in training only") {
  nn::dropout d{{.p = 0.5}};
  const tensor x = ones({1000});
  CHECK(distance(d(x), x) == 1.0);
  eval(d);
  CHECK(distance(d(x), x) == 0.0);
  nn::dropout2d channels{{.p = 1.0}};
  CHECK(distance(channels(ones({2, 3, 1, 1})), zeros({2, 3, 1, 1})) == 0.0);
  eval(channels);
  CHECK(distance(channels(ones({2, 3, 1, 1})), ones({2, 3, 1, 1})) == 0.0);
}

TEST_CASE("sequential: in braces, layers draw their weights from left to right") {
  manual_seed(3);
  const nn::linear first{{.in = 4, .out = 8}}, second{{.in = 8, .out = 2}};
  manual_seed(3);
  const nn::sequential net{nn::linear{{.in = 4, .out = 8}}, nn::linear{{.in = 8, .out = 2}}};
  CHECK(numbers(net.get<0>().weight) == numbers(first.weight));
  CHECK(numbers(net.get<1>().weight) == numbers(second.weight));
}

TEST_CASE("sequential: names are positions, lambdas are layers, parts can be changed") {
  nn::sequential net{nn::linear{{.in = 4, .out = 8, .type = f64}}, nn::tanh{},
                     nn::sequential{nn::linear{{.in = 8, .out = 2, .type = f64}}, nn::dropout{}},
                     [](const tensor& x) { return x * 2.0; }};
  CHECK(listing(net) == "0.weight f64[8,4]\n0.bias f64[8]\n2.0.weight f64[2,8]\n2.0.bias f64[2]\n");
  eval(net);
  CHECK_FALSE(net.get<2>().get<1>().training);
  const tensor x = random({3, 4});
  const nn::linear& first = net.get<0>();
  const nn::linear& second = net.get<2>().get<0>();
  CHECK(distance(net(x), second(tanh(first(x))) * 2.0) == 0.0);
  const auto& frozen = net;
  CHECK(distance(frozen(x), net(x)) == 0.0);
  CHECK(net.size() == 4);
  auto own = clone(net);
  nn::init::zeros_(net.get<0>().weight);
  CHECK(largest(own.get<0>().weight) > 0.0);
  backward(sum(square(own(x))));
  for (const tensor& p : parameters(own)) CHECK(p.grad().defined());
  zero_grad(own);
  for (const tensor& p : parameters(own)) CHECK_FALSE(p.grad().defined());
}

TEST_CASE("sequential_list: a loop's layers have sequential's names, modes, copies and values") {
  nn::sequential_list net;
  index_t in = 4;
  for (const index_t width : {8, 6}) {
    net.append(nn::linear{{.in = in, .out = width, .type = f64}}).append(nn::relu{});
    in = width;
  }
  net.append(nn::batch_norm1d{{.channels = 6, .type = f64}}).append(nn::dropout{});
  net.append(nn::sequential{nn::linear{{.in = 6, .out = 2, .bias = false, .type = f64}}});
  net.append([](const tensor& x) { return x * 2.0; });
  CHECK(listing(net) ==
        "0.weight f64[8,4]\n0.bias f64[8]\n2.weight f64[6,8]\n2.bias f64[6]\n4.weight f64[6]\n"
        "4.bias f64[6]\n4.running_mean f64[6]\n4.running_var f64[6]\n"
        "4.num_batches_tracked i64[]\n6.0.weight f64[2,6]\n");
  CHECK(net.size() == 8);
  CHECK(parameters(net).size() == 7);
  eval(net);
  CHECK_FALSE(net[4].as<nn::batch_norm1d>()->training);
  CHECK_FALSE(net[5].as<nn::dropout>()->training);
  CHECK(net[0].as<nn::relu>() == nullptr);

  const nn::sequential_list shared = net, own = clone(net);
  const tensor x = random({3, 4}), y = net(x);
  CHECK(distance(shared(x), y) == 0.0);
  CHECK(distance(own(x), y) == 0.0);
  backward(sum(square(y)));
  for (const tensor& p : parameters(net)) CHECK(p.grad().defined());
  for (const tensor& p : parameters(own)) CHECK_FALSE(p.grad().defined());
  nn::init::zeros_(net[0].as<nn::linear>()->weight);
  CHECK(largest(shared[0].as<nn::linear>()->weight) == 0.0);
  CHECK(largest(own[0].as<nn::linear>()->weight) > 0.0);
  load_state_dict(net, state_dict(own));
  CHECK(distance(net(x), y) == 0.0);
  CHECK(distance(nn::sequential_list{}(x), x) == 0.0);
}

TEST_CASE("layers without tensors may stand in visit, whatever options they have") {
  const nn::sequential net{nn::flatten{},
                           nn::relu{},
                           nn::leaky_relu{},
                           nn::elu{},
                           nn::celu{},
                           nn::gelu{},
                           nn::softplus{},
                           nn::hardtanh{},
                           nn::softmax{},
                           nn::log_softmax{},
                           nn::max_pool2d{},
                           nn::avg_pool2d{},
                           nn::max_pool1d{{}},
                           nn::avg_pool1d{{}},
                           nn::adaptive_avg_pool2d{},
                           nn::adaptive_max_pool2d{}};
  CHECK(state_dict(net).empty());
}

TEST_CASE("a whole model: gradients reach all parameters, states travel, 16 bits work") {
  manual_seed(3);
  small_net net;
  const tensor x = random({4, 1, 5, 5}, f32);
  backward(sum(square(net(x))));
  for (const auto& named : named_parameters(net)) {
    CAPTURE(named.first);
    REQUIRE(named.second.grad().defined());
    CHECK(largest(named.second.grad()) > 0.0);
  }
  CHECK(count_parameters(net) == 36 + 8 + 303);
  small_net other;
  load_state_dict(other, state_dict(net));
  eval(net), eval(other);
  const small_net& constant = other;
  CHECK(distance(net(x), constant(x)) == 0.0);
  to(other, bf16);
  const tensor y = other(cast(x, bf16));
  CHECK(y.dtype() == bf16);
  CHECK(distance(cast(y, f32), net(x)) < 0.05);
  CHECK(net(empty({0, 1, 5, 5})).shape() == shape{0, 3});
}

TEST_CASE("strict loading takes lists of old files, without counts of batches") {
  nn::batch_norm2d from{{.channels = 3}}, into{{.channels = 3}};
  static_cast<void>(from(randn({4, 3, 2, 2})));
  static_cast<void>(into(randn({4, 3, 2, 2})));
  named_tensors old = state_dict(from);
  old.pop_back();
  const load_report report = load_state_dict(into, old);
  CHECK(report.missing == std::vector<std::string>{"num_batches_tracked"});
  CHECK(distance(into.running_mean, from.running_mean) == 0.0);
  CHECK(into.num_batches_tracked.item() == 1);
  old.pop_back();
  CHECK_THROWS_AS(load_state_dict(into, old), value_error);
}

TEST_CASE("what layers refuse") {
  CHECK(message_of([] { nn::linear{{.out = 3}}; }) == "nn::linear: in must be at least 1; got 0");
  CHECK(message_of([] { nn::conv2d{{.in = 4, .out = 6, .groups = 4}}; }) ==
        "nn::conv2d: groups must divide in and out; got in 4, out 6, groups 4");
  CHECK_THROWS_AS((nn::conv2d{{.in = 4, .out = 6, .kernel = 0}}), value_error);
  CHECK_THROWS_AS((nn::batch_norm2d{{}}), value_error);
  CHECK_THROWS_AS((nn::batch_norm2d{{.channels = 2}}(ones({3, 2}))), shape_error);
  CHECK_THROWS_AS((nn::batch_norm1d{{.channels = 2}}(ones({3, 2, 1, 1}))), shape_error);
  CHECK_THROWS_AS((nn::layer_norm{{}}), value_error);
  CHECK_THROWS_AS((nn::group_norm{{.groups = 4, .channels = 6}}), value_error);
  CHECK_THROWS_AS((nn::instance_norm2d{{.channels = 6}}(ones({1, 5, 3, 3}))), shape_error);
  // Without weights there is nothing that an op could compare.
  const tensor other = ones({2, 6, 3, 3}), flat = ones({2, 6});
  const nn::batch_norm_layer_options bare{.channels = 4, .affine = false, .track = false};
  CHECK_THROWS_AS((nn::batch_norm1d{bare}(flat)), shape_error);
  CHECK_THROWS_AS((nn::batch_norm2d{bare}(other)), shape_error);
  CHECK_THROWS_AS((nn::batch_norm_act2d{bare}(other)), shape_error);
  CHECK_THROWS_AS((nn::group_norm{{.channels = 4, .affine = false}}(other)), shape_error);
  CHECK_THROWS_AS((nn::group_norm{{.channels = 4, .affine = false}}(ones({4}))), shape_error);
  CHECK_THROWS_AS((nn::dropout{{.p = 1.5}}), value_error);
  CHECK_THROWS_AS((nn::embedding{{.rows = 3, .width = 2, .padding_index = 3}}), value_error);
  CHECK(message_of([] {
          nn::linear{{.in = 3, .out = 3, .type = i8}};
        }).starts_with("set_requires_grad: only floating"));
}

}  // namespace adze::layers_test
