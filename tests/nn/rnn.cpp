// SPDX-License-Identifier: MIT
// Recurrent layers: PyTorch's names, and stacks and directions put together by hand from the ops,
// which have tests of their own.
#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/state_dict.hpp>

#include "../ops/numbers.hpp"

namespace adze {
namespace {

using namespace test;

template <module M> std::string listing(const M& model) {
  std::string s;
  for (const auto& [name, x] : state_dict(model)) s += text(name, " ", x, "\n");
  return s;
}

// One layer in one direction: outputs and last states.
std::array<tensor, 3> one(const nn::lstm& net, std::size_t i, const tensor& x, const tensor& h,
                          const tensor& c, bool reversed) {
  auto r = lstm(reversed ? flip(x, {0}) : x, h, c, net.weights[i]);
  if (reversed) r[0] = flip(r[0], {0});
  return r;
}

}  // namespace

TEST_CASE("recurrent layers have PyTorch's names, order and shapes") {
  CHECK(listing(nn::rnn{{.in = 4, .hidden = 3}}) ==
        "weight_ih_l0 f32[3,4]\nweight_hh_l0 f32[3,3]\nbias_ih_l0 f32[3]\nbias_hh_l0 f32[3]\n");
  CHECK(listing(nn::gru{{.in = 4, .hidden = 3, .bias = false, .type = f64}}) ==
        "weight_ih_l0 f64[9,4]\nweight_hh_l0 f64[9,3]\n");
  CHECK(listing(
            nn::lstm{{.in = 4, .hidden = 3, .layers = 2, .bias = false, .bidirectional = true}}) ==
        "weight_ih_l0 f32[12,4]\nweight_hh_l0 f32[12,3]\nweight_ih_l0_reverse f32[12,4]\n"
        "weight_hh_l0_reverse f32[12,3]\nweight_ih_l1 f32[12,6]\nweight_hh_l1 f32[12,3]\n"
        "weight_ih_l1_reverse f32[12,6]\nweight_hh_l1_reverse f32[12,3]\n");
}

TEST_CASE("first values are uniform within 1 / sqrt(hidden)") {
  manual_seed(1);
  const nn::gru net{{.in = 50, .hidden = 100}};
  double least = 1, most = -1;
  for (const double v : numbers(net.weights[0].hidden)) {
    least = std::min(least, v);
    most = std::max(most, v);
  }
  CHECK(most <= 0.1);
  CHECK(most > 0.0995);
  CHECK(least >= -0.1);
  CHECK(least < -0.0995);
}

TEST_CASE("a stack in both directions equals its layers put together by hand") {
  manual_seed(2);
  const nn::lstm net{{.in = 4, .hidden = 3, .layers = 2, .bidirectional = true, .type = f64}};
  const tensor x = smooth({5, 2, 4}), h = smooth({4, 2, 3}, f64, 0.8), c = smooth({4, 2, 3});
  const auto state = [](const tensor& s, index_t i) { return select(s, 0, i); };
  tensor y = x;
  std::vector<tensor> last_h, last_c;
  for (std::size_t layer = 0; layer < 2; ++layer) {
    std::vector<tensor> outputs;
    for (std::size_t k = 2 * layer; k < 2 * layer + 2; ++k) {
      const auto i = static_cast<index_t>(k);
      const auto r = one(net, k, y, state(h, i), state(c, i), k % 2 == 1);
      outputs.push_back(r[0]);
      last_h.push_back(r[1]);
      last_c.push_back(r[2]);
    }
    y = concat(outputs, 2);
  }
  const auto [output, h_end, c_end] = net(x, {h, c});
  CHECK(distance(output, y) == 0.0);
  CHECK(distance(h_end, stack(last_h)) == 0.0);
  CHECK(distance(c_end, stack(last_c)) == 0.0);
  // The last state of the second direction is its output at the first step.
  CHECK(distance(slice(select(output, 0, 0), 1, {3, 6}), select(h_end, 0, 3)) == 0.0);
}

TEST_CASE("batch first exchanges two axes; missing states are zeros") {
  manual_seed(3);
  nn::gru net{{.in = 4, .hidden = 3, .type = f64}};
  const tensor x = smooth({5, 2, 4});
  const auto [y, h] = net(x);
  CHECK(distance(y, gru(x, zeros({2, 3}, f64), net.weights[0])[0]) == 0.0);
  CHECK(distance(net(x, zeros({1, 2, 3}, f64)).output, y) == 0.0);
  net.options.batch_first = true;
  const auto turned = net(transpose(x, 0, 1));
  CHECK(distance(transpose(turned.output, 0, 1), y) == 0.0);
  CHECK(turned.h.shape() == shape{1, 2, 3});
}

TEST_CASE("dropout acts between layers, in training only") {
  manual_seed(4);
  nn::rnn net{{.in = 4, .hidden = 20, .layers = 2, .dropout = 0.5}};
  const tensor x = smooth({5, 2, 4}, f32);
  CHECK(distance(net(x).output, net(x).output) > 0.0);
  eval(net);
  CHECK(distance(net(x).output, net(x).output) == 0.0);
  nn::rnn single{{.in = 4, .hidden = 20, .dropout = 0.5}};
  CHECK(distance(single(x).output, single(x).output) == 0.0);
  nn::rnn relu_net{{.in = 4, .hidden = 20, .activation = rnn_activation::relu}};
  for (const double v : numbers(relu_net(x).output)) CHECK(v >= 0.0);
}

TEST_CASE("one layer in both directions: no dropout; states keep their axes under batch_first") {
  manual_seed(6);
  nn::gru net{{.in = 4, .hidden = 3, .bidirectional = true, .dropout = 0.5, .type = f64}};
  const tensor x = smooth({5, 2, 4}), h = smooth({2, 2, 3});
  const auto [y, last] = net(x, h);
  CHECK(distance(net(x, h).output, y) == 0.0);
  net.options.batch_first = true;
  const auto turned = net(transpose(x, 0, 1), h);
  CHECK(distance(transpose(turned.output, 0, 1), y) == 0.0);
  CHECK(distance(turned.h, last) == 0.0);
}

TEST_CASE("gradients through a stack in both directions") {
  manual_seed(5);
  const nn::gru net{{.in = 3, .hidden = 2, .layers = 2, .bidirectional = true, .type = f64}};
  std::vector<tensor> in = parameters(net);
  in.push_back(leaf({3, 2, 3}));
  const auto f = [&](const std::vector<tensor>& v) {
    const auto r = net(v[in.size() - 1]);
    return sum(square(r.output)) + sum(r.h);
  };
  CHECK_MESSAGE(gradcheck(f, in).ok, gradcheck(f, in).where);
}

TEST_CASE("cells are single steps of the layers, with PyTorch's names") {
  manual_seed(8);
  const nn::lstm_cell step{{.in = 4, .hidden = 3, .type = f64}};
  CHECK(listing(step) ==
        "weight_ih f64[12,4]\nweight_hh f64[12,3]\nbias_ih f64[12]\nbias_hh f64[12]\n");
  const nn::gru_cell gated{{.in = 4, .hidden = 3, .bias = false, .type = f64}};
  CHECK(listing(gated) == "weight_ih f64[9,4]\nweight_hh f64[9,3]\n");
  const tensor x = smooth({5, 2, 4}), zero = smooth({2, 3}) * 0.0;
  const auto all = lstm(x, zero, zero, step.weights);
  const tensor states = gru(x, zero, gated.weights)[0];
  nn::lstm_state s;
  tensor h;
  for (index_t t = 0; t < 5; ++t) {
    s = step(select(x, 0, t), s);
    h = gated(select(x, 0, t), h);
    CHECK(distance(s.h, select(all[0], 0, t)) < 1e-14);
    CHECK(distance(h, select(states, 0, t)) < 1e-14);
  }
  CHECK(distance(s.c, all[2]) < 1e-14);
  // One row without a batch.
  const tensor row = select(select(x, 0, 0), 0, 1);
  CHECK(distance(step(row).h, select(select(all[0], 0, 0), 0, 1)) < 1e-14);
  CHECK(distance(gated(row), select(select(states, 0, 0), 0, 1)) < 1e-14);
  CHECK(step(row).c.shape() == shape{3});
  std::vector<tensor> in = parameters(step);
  in.push_back(leaf({2, 4}));
  const auto f = [&](const std::vector<tensor>& v) {
    const nn::lstm_state one = step(v[4], step(v[4]));
    return sum(square(one.h)) + sum(one.c);
  };
  CHECK_MESSAGE(gradcheck(f, in).ok, gradcheck(f, in).where);
  CHECK_THROWS_AS(step(zeros({2, 5}, f64)), shape_error);
  CHECK_THROWS_AS(gated(zeros({2, 4}, f64), zeros({3, 3}, f64)), shape_error);
  CHECK_THROWS_AS((nn::gru_cell{{.in = 4}}), value_error);
}

TEST_CASE("recurrent layers say what does not fit") {
  CHECK_THROWS_WITH_AS((nn::lstm{{.hidden = 3}}), "nn::lstm: in must be at least 1; got 0",
                       value_error);
  const nn::rnn net{{.in = 4, .hidden = 3}};
  CHECK_THROWS_WITH_AS(net(zeros({5, 2, 3})), "nn::rnn: takes [t, b, 4]; got f32[5,2,3]",
                       shape_error);
  CHECK_THROWS_WITH_AS(net(zeros({5, 2, 4}), zeros({2, 3})),
                       "nn::rnn: states must be [1,2,3]; got f32[2,3]", shape_error);
}

}  // namespace adze
