// rnn, lstm and gru against loops over time and units in double, their composed twins, and
// differences; optional biases, one step, 16-bit floats, threads.
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/ops/gru.hpp>
#include <adze/ops/inplace.hpp>
#include <adze/ops/lstm.hpp>
#include <adze/ops/rnn.hpp>

#include "numbers.hpp"

namespace adze::rnn_test {
namespace {

using namespace test;

struct problem {
  index_t t, b, c, h, gates;
  tensor x, state, cell;
  rnn_weights w;

  problem(index_t steps, index_t batch, index_t features, index_t hidden, index_t gate_count,
          bool bias = true)
      : t(steps), b(batch), c(features), h(hidden), gates(gate_count), x(leaf({t, b, c}, 1.0, 0.1)),
        state(leaf({b, h}, 0.8, 0.2)),
        cell(leaf({b, h}, 0.9, 0.5)), w{leaf({gates * h, c}, 0.7, 0.3),
                                        leaf({gates * h, h}, 0.6, 0.4),
                                        {},
                                        {}} {
    if (bias) {
      w.input_bias = leaf({gates * h}, 0.3, 0.6);
      w.hidden_bias = leaf({gates * h}, 0.3, 0.7);
    }
  }
  std::vector<tensor> all(bool with_cell) const {
    std::vector<tensor> v{x, state, w.input, w.hidden};
    if (with_cell) v.push_back(cell);
    if (w.input_bias.defined()) v.insert(v.end(), {w.input_bias, w.hidden_bias});
    return v;
  }
};

double sigma(double x) { return 1 / (1 + std::exp(-x)); }

// The sums of the gates of sample i at step s: over the input and over the state.
struct sums {
  std::vector<double> input, hidden;
};
sums gate_sums(const problem& p, index_t s, index_t i, const std::vector<double>& state) {
  const auto x = numbers(p.x), w = numbers(p.w.input), u = numbers(p.w.hidden);
  sums r;
  for (index_t k = 0; k < p.gates * p.h; ++k) {
    const bool bias = p.w.input_bias.defined();
    double a = bias ? numbers(p.w.input_bias)[static_cast<std::size_t>(k)] : 0;
    double d = bias ? numbers(p.w.hidden_bias)[static_cast<std::size_t>(k)] : 0;
    for (index_t j = 0; j < p.c; ++j) {
      a += w[static_cast<std::size_t>(k * p.c + j)] *
           x[static_cast<std::size_t>((s * p.b + i) * p.c + j)];
    }
    for (index_t j = 0; j < p.h; ++j) {
      d += u[static_cast<std::size_t>(k * p.h + j)] * state[static_cast<std::size_t>(i * p.h + j)];
    }
    r.input.push_back(a);
    r.hidden.push_back(d);
  }
  return r;
}

// Outputs [t, b, h] by the formulas; step(sums, unit, state before, cell) gives the new state.
template <class F> std::vector<double> naive(const problem& p, F step) {
  std::vector<double> state = numbers(p.state), cell = numbers(p.cell), outputs;
  for (index_t s = 0; s < p.t; ++s) {
    std::vector<double> next = state;
    for (index_t i = 0; i < p.b; ++i) {
      const sums g = gate_sums(p, s, i, state);
      for (index_t k = 0; k < p.h; ++k) {
        const auto at = static_cast<std::size_t>(i * p.h + k);
        next[at] = step(g, static_cast<std::size_t>(k), state[at], cell[at]);
      }
    }
    state = next;
    outputs.insert(outputs.end(), state.begin(), state.end());
  }
  outputs.insert(outputs.end(), cell.begin(), cell.end());
  return outputs;
}

std::vector<double> joined(std::vector<double> a, const std::vector<double>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
std::vector<double> last(const std::vector<double>& outputs, const problem& p) {
  return {outputs.end() - static_cast<index_t>(p.b * p.h), outputs.end()};
}

// A smooth number from all results, so that every gradient is seen.
template <std::size_t N> tensor mixed(const std::array<tensor, N>& y) {
  tensor total = sum(y[0] * smooth(y[0].shape(), f64, 1.0, 0.9));
  for (std::size_t k = 1; k < N; ++k) {
    total = total + sum(square(y[k]) * smooth(y[k].shape(), f64, 1.0, static_cast<double>(k)));
  }
  return total;
}

// The biases follow the others; gradgradcheck adds one input of its own.
rnn_weights weights_of(const std::vector<tensor>& in, std::size_t first) {
  rnn_weights w{in[2], in[3], {}, {}};
  if (in.size() > first + 1) w.input_bias = in[first], w.hidden_bias = in[first + 1];
  return w;
}

template <class F> void check_gradients(const problem& p, bool cell, F f) {
  const auto in = p.all(cell);
  const gradcheck_result first = gradcheck(f, in), second = gradgradcheck(f, in);
  CHECK_MESSAGE(first.ok, first.where);
  CHECK_MESSAGE(second.ok, second.where);
}

}  // namespace

TEST_CASE("rnn equals its formula, with tanh and relu, with and without biases") {
  for (const bool bias : {true, false}) {
    for (const auto activation : {rnn_activation::tanh, rnn_activation::relu}) {
      const problem p(5, 3, 4, 9, 1, bias);
      const auto expected = naive(p, [&](const sums& g, std::size_t k, double, double) {
        const double s = g.input[k] + g.hidden[k];
        return activation == rnn_activation::tanh ? std::tanh(s) : std::max(s, 0.0);
      });
      const auto [y, h] = rnn(p.x, p.state, p.w, activation);
      CHECK(distance(joined(numbers(y), numbers(p.cell)), expected) < 1e-12);
      CHECK(numbers(h) == last(numbers(y), p));
    }
  }
}

TEST_CASE("lstm equals its formula") {
  for (const bool bias : {true, false}) {
    const problem p(4, 2, 3, 9, 4, bias);
    const auto expected = naive(p, [&](const sums& g, std::size_t k, double, double& c) {
      const auto n = static_cast<std::size_t>(p.h);
      const auto gate = [&](std::size_t q) { return g.input[q * n + k] + g.hidden[q * n + k]; };
      c = sigma(gate(1)) * c + sigma(gate(0)) * std::tanh(gate(2));
      return sigma(gate(3)) * std::tanh(c);
    });
    const auto [y, h, c] = lstm(p.x, p.state, p.cell, p.w);
    CHECK(distance(joined(numbers(y), numbers(c)), expected) < 1e-12);
    CHECK(numbers(h) == last(numbers(y), p));
  }
}

TEST_CASE("gru equals its formula, the bias of the state inside the reset") {
  for (const bool bias : {true, false}) {
    const problem p(4, 2, 3, 9, 3, bias);
    const auto expected = naive(p, [&](const sums& g, std::size_t k, double before, double) {
      const auto n = static_cast<std::size_t>(p.h);
      const double r = sigma(g.input[k] + g.hidden[k]), z = sigma(g.input[n + k] + g.hidden[n + k]);
      const double fresh = std::tanh(g.input[2 * n + k] + r * g.hidden[2 * n + k]);
      return (1 - z) * fresh + z * before;
    });
    const auto [y, h] = gru(p.x, p.state, p.w);
    CHECK(distance(joined(numbers(y), numbers(p.cell)), expected) < 1e-12);
    CHECK(numbers(h) == last(numbers(y), p));
  }
}

TEST_CASE("gradients through time, of all results to all inputs, twice") {
  for (const bool bias : {true, false}) {
    for (const index_t steps : {1, 3}) {
      check_gradients(problem(steps, 2, 3, 2, 1, bias), false, [](const std::vector<tensor>& in) {
        return mixed(rnn(in[0], in[1], weights_of(in, 4)));
      });
      check_gradients(problem(steps, 2, 3, 2, 4, bias), true, [](const std::vector<tensor>& in) {
        return mixed(lstm(in[0], in[1], in[4], weights_of(in, 5)));
      });
      check_gradients(problem(steps, 2, 3, 2, 3, bias), false, [](const std::vector<tensor>& in) {
        return mixed(gru(in[0], in[1], weights_of(in, 4)));
      });
    }
  }
}

TEST_CASE("gradients where only the last state is used, and where weights are frozen") {
  const problem p(3, 2, 3, 4, 4);
  check_gradients(p, true, [](const std::vector<tensor>& in) {
    return sum(square(lstm(in[0], in[1], in[4], weights_of(in, 5))[2]));
  });
  problem frozen(3, 2, 3, 4, 3);
  frozen.w.hidden.set_requires_grad(false);
  frozen.w.input_bias.set_requires_grad(false);
  check_gradients(frozen, false, [](const std::vector<tensor>& in) {
    return sum(square(gru(in[0], in[1], weights_of(in, 4))[1]));
  });
  const auto inner = [](const std::vector<tensor>& in) {
    return sum(square(rnn(in[0], in[1], weights_of(in, 4), rnn_activation::relu)[0]));
  };
  const problem relu(3, 2, 3, 4, 1);
  CHECK(gradcheck(inner, relu.all(false)).ok);
}

TEST_CASE("a result changed in place is noticed by the gradients that read it") {
  const problem three(3, 2, 3, 4, 3), four(3, 2, 3, 4, 4), one(3, 2, 3, 4, 1);
  const auto check = [](std::string_view name, auto call) {
    CAPTURE(name);
    auto y = call();
    tensor total = mixed(y);
    {
      const no_grad guard;
      mul_(y[0], 0.0);
    }
    CHECK_THROWS_WITH_AS(backward(total), doctest::Contains("a value saved for its gradient"),
                         state_error);
    // While recording, the change has a place of its own in the graph; the old value is gone.
    y = call();
    total = sum(y[1]);
    mul_(y[0], 0.5);
    CHECK_THROWS_AS(backward(total), state_error);
    // The last step is a tensor of its own, which no gradient reads.
    y = call();
    total = sum(y[0]);
    mul_(y[1], 0.5);
    CHECK_NOTHROW(backward(total));
  };
  const auto in = four.all(true);
  check("lstm", [&] { return lstm(in[0], in[1], in[4], weights_of(in, 5)); });
  const auto of_gru = three.all(false), of_rnn = one.all(false);
  check("gru", [&] { return gru(of_gru[0], of_gru[1], weights_of(of_gru, 4)); });
  check("rnn",
        [&] { return rnn(of_rnn[0], of_rnn[1], weights_of(of_rnn, 4), rnn_activation::tanh); });
}

TEST_CASE("a sequence read through a transposed view is the same sequence") {
  const problem p(4, 3, 5, 6, 3);
  const tensor turned = transpose(contiguous(transpose(detach(p.x), 0, 1)), 0, 1);
  CHECK(numbers(gru(turned, p.state, p.w)[0]) == numbers(gru(p.x, p.state, p.w)[0]));
}

TEST_CASE("16-bit sequences are computed in f32 and rounded once") {
  const problem p(3, 2, 4, 5, 4);
  for (const dtype type : {f16, bf16}) {
    const auto low = [&](const tensor& x) { return cast(detach(x), type); };
    tensor x = low(p.x);
    x.set_requires_grad();
    const rnn_weights w{low(p.w.input), low(p.w.hidden), low(p.w.input_bias), low(p.w.hidden_bias)};
    const auto wide = [&](const tensor& v) { return cast(low(v), f32); };
    const rnn_weights w32{wide(p.w.input), wide(p.w.hidden), wide(p.w.input_bias),
                          wide(p.w.hidden_bias)};
    const auto y = lstm(x, low(p.state), low(p.cell), w);
    const auto y32 = lstm(wide(p.x), wide(p.state), wide(p.cell), w32);
    CHECK(numbers(y[0]) == numbers(cast(y32[0], type)));
    backward(sum(y[0]));
    CHECK(x.grad().dtype() == type);
  }
}

TEST_CASE("cells take one step, with or without a batch, and speak in their own name") {
  const problem four(1, 3, 4, 5, 4), three(1, 3, 4, 5, 3);
  const tensor x = select(four.x, 0, 0);
  const auto whole = lstm_cell(x, four.state, four.cell, four.w);
  CHECK(distance(whole[0], lstm(four.x, four.state, four.cell, four.w)[1]) == 0.0);
  const auto row = [](const tensor& t) { return select(t, 0, 1); };
  const auto one = lstm_cell(row(x), row(four.state), row(four.cell), four.w);
  CHECK(distance(one[0], row(whole[0])) < 1e-14);
  CHECK(distance(one[1], row(whole[1])) < 1e-14);
  const tensor y = select(three.x, 0, 0);
  CHECK(distance(gru_cell(row(y), row(three.state), three.w),
                 row(gru_cell(y, three.state, three.w))) < 1e-14);
  CHECK_THROWS_WITH_AS(gru_cell(four.x, four.state, four.w),
                       "gru_cell: needs x [b, c], state [b, h] and weights [3 h, c] and [3 h, h]; "
                       "got x f64[1,3,4], state f64[3,5], weights f64[20,4] and f64[20,5]",
                       shape_error);
  CHECK_THROWS_WITH_AS(lstm_cell(x, four.state, x, four.w),
                       "lstm_cell: the states h and c must have one shape; got f64[3,5] and "
                       "f64[3,4]",
                       shape_error);
}

TEST_CASE("recurrent layers say what does not fit") {
  const problem p(2, 3, 4, 5, 4);
  CHECK_THROWS_WITH_AS(gru(p.x, p.state, p.w),
                       "gru: needs x [t, b, c], state [b, h] and weights [3 h, c] and [3 h, h]; "
                       "got x f64[2,3,4], state f64[3,5], weights f64[20,4] and f64[20,5]",
                       shape_error);
  CHECK_THROWS_WITH_AS(lstm(slice(p.x, 0, {.stop = 0}), p.state, p.cell, p.w),
                       "lstm: needs at least one step; got x f64[0,3,4]", shape_error);
  CHECK_THROWS_WITH_AS(lstm(p.x, p.state, p.x, p.w),
                       "lstm: the states h and c must have one shape; got f64[3,5] and f64[2,3,4]",
                       shape_error);
  const rnn_weights one{p.w.input, p.w.hidden, p.w.input_bias, {}};
  CHECK_THROWS_WITH_AS(lstm(p.x, p.state, p.cell, one),
                       "lstm: needs two biases [20] or none; got f64[20] and undefined",
                       shape_error);
}

}  // namespace adze::rnn_test
