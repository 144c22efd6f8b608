#pragma once
// SPDX-License-Identifier: MIT
// Recurrent layers, stacked and in one or both directions: nn::lstm net{{.in = 16, .hidden = 64,
// .layers = 2}}; auto [y, h, c] = net(x); Names and first values are PyTorch's.
#include <adze/autograd/axes.hpp>
#include <adze/nn/linear.hpp>
#include <adze/ops/dropout.hpp>
#include <adze/ops/gru.hpp>
#include <adze/ops/lstm.hpp>
#include <adze/ops/rnn.hpp>

namespace adze::nn {

struct recurrent_options {
  index_t in = 0, hidden = 0;
  index_t layers = 1;
  bool bias = true;
  bool bidirectional = false;  // outputs and states of the second direction follow the first's
  bool batch_first = false;    // x and outputs [b, t, c] instead of [t, b, c]; states stay
  double dropout = 0.0;        // of the outputs between layers, in training
  rnn_activation activation = rnn_activation::tanh;  // nn::rnn only
  dtype type = f32;
};

struct recurrent_cell_options {
  index_t in = 0, hidden = 0;
  bool bias = true;
  dtype type = f32;
};

// Outputs of all steps [t, b, directions * hidden]; last states [layers * directions, b, hidden].
struct recurrent_result {
  tensor output, h;
};
struct lstm_result {
  tensor output, h, c;
};
struct lstm_state {
  tensor h{}, c{};  // zeros when undefined
};

}  // namespace adze::nn

namespace adze::detail::inline ADZE_ISA {

template <class = void>
rnn_weights new_recurrent_weights(index_t gates, const nn::recurrent_cell_options& o) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(o.hidden));
  const auto make = [&](const shape& sizes) {
    tensor x = new_parameter(sizes, o.type);
    return nn::init::uniform_(x, -bound, bound);
  };
  rnn_weights w;
  w.input = make({gates * o.hidden, o.in});
  w.hidden = make({gates * o.hidden, o.hidden});
  if (o.bias) w.input_bias = make({gates * o.hidden}), w.hidden_bias = make({gates * o.hidden});
  return w;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::nn::inline ADZE_ISA {

// Zeros [b, hidden] for x [t, b, c]: a step, not a constant, so that a graph takes batches of other
// sizes than its trace's.
template <class = void> struct zero_state_op {
  index_t hidden = 0;
  static constexpr std::string_view name = "zero_state";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr value_set nondifferentiable = values::output(0);
  tensor forward(const tensor& x) const { return zeros({x.size(1), hidden}, x.dtype()); }
  tensor backward(backward_context&, const tensor&) const { return {}; }
  void couple(axis_ties& t) const { t.same(t.output(0, 0), t.input(0, 1)); }
};

// What the three layers share: weights by layer and direction, and the walk over them.
class recurrent_layer {
 public:
  recurrent_options options{};
  std::vector<rnn_weights> weights{};  // layer 0, layer 0 reversed, layer 1, ...
  bool training = true;

  void visit(auto&& f) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const std::string of = text("l", i / directions(), reversed(i) ? "_reverse" : "");
      f("weight_ih_" + of, weights[i].input);
      f("weight_hh_" + of, weights[i].hidden);
      f("bias_ih_" + of, weights[i].input_bias);
      f("bias_hh_" + of, weights[i].hidden_bias);
    }
    f("training", training);
  }

 protected:
  template <class = void>
  recurrent_layer(std::string_view name, index_t gates, const recurrent_options& o)
      : options(o), name_(name) {
    detail::check_layer_size(name, "in", o.in);
    detail::check_layer_size(name, "hidden", o.hidden);
    detail::check_layer_size(name, "layers", o.layers);
    detail::check_probability(name, o.dropout);
    const index_t count = static_cast<index_t>(directions());
    for (index_t i = 0; i < o.layers * count; ++i) {
      const index_t in = i < count ? o.in : count * o.hidden;
      weights.push_back(detail::new_recurrent_weights(gates, {in, o.hidden, o.bias, o.type}));
    }
  }

  // cell(x, states, weights) runs one layer in one direction. Returns the outputs, then the last
  // states of every kind.
  template <std::size_t N, class Cell>
  std::array<tensor, N + 1> run(const tensor& x, const std::array<tensor, N>& first,
                                Cell cell) const {
    check(x, first);
    tensor y = options.batch_first ? transpose(x, 0, 1) : x;
    std::array<std::vector<tensor>, N> last;
    for (std::size_t i = 0; i < weights.size(); i += directions()) {
      std::vector<tensor> outputs;
      for (std::size_t k = i; k < i + directions(); ++k) {
        std::array<tensor, N> states;
        for (std::size_t s = 0; s < N; ++s) {
          states[s] = first[s].defined() ? select(first[s], 0, static_cast<index_t>(k))
                                         : record(zero_state_op<>{options.hidden}, y);
        }
        const std::array<tensor, N + 1> r =
            cell(reversed(k) ? flip(y, {0}) : y, states, weights[k]);
        outputs.push_back(reversed(k) ? flip(r[0], {0}) : r[0]);
        for (std::size_t s = 0; s < N; ++s) last[s].push_back(r[s + 1]);
      }
      y = outputs.size() == 1 ? outputs[0] : concat(outputs, 2);
      if (i + directions() < weights.size()) y = adze::dropout(y, options.dropout, training);
    }
    std::array<tensor, N + 1> result{options.batch_first ? transpose(y, 0, 1) : y};
    for (std::size_t s = 0; s < N; ++s) result[s + 1] = stack(last[s]);
    return result;
  }

 private:
  std::size_t directions() const { return options.bidirectional ? 2 : 1; }
  bool reversed(std::size_t i) const { return i % directions() == 1; }

  template <std::size_t N> void check(const tensor& x, const std::array<tensor, N>& first) const {
    if (x.rank() != 3 || x.size(2) != options.in) {
      raise<shape_error>(name_, ": takes ", options.batch_first ? "[b, t, " : "[t, b, ", options.in,
                         "]; got ", x);
    }
    const shape states{static_cast<index_t>(weights.size()), x.size(options.batch_first ? 0 : 1),
                       options.hidden};
    for (const tensor& s : first) {
      if (s.defined() && s.shape() != states) {
        raise<shape_error>(name_, ": states must be ", states, "; got ", s);
      }
    }
  }

  std::string_view name_;
};

// h_t = tanh or relu of W x_t + b + U h_{t-1} + a.
struct rnn : recurrent_layer {
  template <class = void>
  explicit rnn(const recurrent_options& o) : recurrent_layer("nn::rnn", 1, o) {}
  // h: first states [layers * directions, b, hidden]; zeros when undefined.
  template <class = void> recurrent_result operator()(const tensor& x, const tensor& h = {}) const {
    auto r = run<1>(x, {h}, [this](const tensor& in, const auto& s, const rnn_weights& w) {
      return adze::rnn(in, s[0], w, options.activation);
    });
    return {std::move(r[0]), std::move(r[1])};
  }
};

// Gates i, f, g, o; see adze::lstm.
struct lstm : recurrent_layer {
  template <class = void>
  explicit lstm(const recurrent_options& o) : recurrent_layer("nn::lstm", 4, o) {}
  template <class = void>
  lstm_result operator()(const tensor& x, const lstm_state& first = {}) const {
    auto r =
        run<2>(x, {first.h, first.c}, [](const tensor& in, const auto& s, const rnn_weights& w) {
          return adze::lstm(in, s[0], s[1], w);
        });
    return {std::move(r[0]), std::move(r[1]), std::move(r[2])};
  }
};

// Gates r, z, n; see adze::gru.
struct gru : recurrent_layer {
  template <class = void>
  explicit gru(const recurrent_options& o) : recurrent_layer("nn::gru", 3, o) {}
  template <class = void> recurrent_result operator()(const tensor& x, const tensor& h = {}) const {
    auto r = run<1>(x, {h}, [](const tensor& in, const auto& s, const rnn_weights& w) {
      return adze::gru(in, s[0], w);
    });
    return {std::move(r[0]), std::move(r[1])};
  }
};

// One step of one layer: what lstm_cell and gru_cell share.
struct recurrent_cell {
  recurrent_cell_options options{};
  rnn_weights weights{};

  template <class = void>
  recurrent_cell(std::string_view name, index_t gates, const recurrent_cell_options& o)
      : options(o) {
    detail::check_layer_size(name, "in", o.in);
    detail::check_layer_size(name, "hidden", o.hidden);
    weights = detail::new_recurrent_weights(gates, o);
  }
  void visit(auto&& f) {
    f("weight_ih", weights.input);
    f("weight_hh", weights.hidden);
    f("bias_ih", weights.input_bias);
    f("bias_hh", weights.hidden_bias);
  }

 protected:
  template <class = void> tensor state_or_zeros(const tensor& state, const tensor& x) const {
    if (state.defined()) return state;
    if (x.rank() == 1) return squeeze(state_or_zeros(state, unsqueeze(x, 0)), 0);
    return record(zero_state_op<>{options.hidden}, unsqueeze(x, 0));
  }
};

// x [b, in], or [in], and the state before (zeros when undefined) give the state after, whose h is
// the output.
struct lstm_cell : recurrent_cell {
  template <class = void>
  explicit lstm_cell(const recurrent_cell_options& o) : recurrent_cell("nn::lstm_cell", 4, o) {}
  template <class = void>
  lstm_state operator()(const tensor& x, const lstm_state& before = {}) const {
    auto r = adze::lstm_cell(x, state_or_zeros(before.h, x), state_or_zeros(before.c, x), weights);
    return {std::move(r[0]), std::move(r[1])};
  }
};

struct gru_cell : recurrent_cell {
  template <class = void>
  explicit gru_cell(const recurrent_cell_options& o) : recurrent_cell("nn::gru_cell", 3, o) {}
  template <class = void> tensor operator()(const tensor& x, const tensor& h = {}) const {
    return adze::gru_cell(x, state_or_zeros(h, x), weights);
  }
};

}  // namespace adze::nn::inline ADZE_ISA
