#pragma once
// SPDX-License-Identifier: MIT
// Recurrent layers over a whole sequence as one op each: rnn, lstm and gru with PyTorch's gates
// and formulas, activations kept, gradients through time in one fused pass. `composed` is the same
// step by step in public ops. Stacking, directions and parameters are in nn/rnn.hpp.
#include <adze/ops/recurrence.hpp>

namespace adze::detail::inline ADZE_ISA {

inline constexpr value_set six = {0x3f}, seven = {0x7f};  // the first inputs

// What all gradients of a layer are made from.
template <class T>
void weight_slopes(const backward_context& c, const recurrence<T>& r,
                   const typename recurrence<T>::slopes& s, std::size_t first, tensor* d) {
  if (c.wants(0)) d[0] = r.x_slope(s);
  if (c.wants(first)) d[first] = r.input_weight_slope(s);
  if (c.wants(first + 1)) d[first + 1] = r.hidden_weight_slope(s);
  if (c.wants(first + 2)) d[first + 2] = r.bias_slope(s.input);
  if (c.wants(first + 3)) d[first + 3] = r.bias_slope(s.hidden);
}
template <std::size_t N>
std::array<tensor, N> in_input_types(const backward_context& c, std::array<tensor, N> d) {
  for (std::size_t j = 0; j < N; ++j) {
    if (d[j].defined()) d[j] = c.wants(j) ? dense_as(d[j], c.in_type(j)) : tensor();
  }
  return d;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

struct rnn_op {
  rnn_activation activation = rnn_activation::tanh;
  tensor states{};  // [t, b, h] in the computing type

  static constexpr std::string_view name = "rnn";
  static constexpr numeric precision = numeric::low;
  static constexpr auto reads =
      gradient_reads(detail::six, detail::six, detail::six, detail::six, detail::six, detail::six);

  std::array<tensor, 2> forward(const tensor& x, const tensor& h, const tensor& w, const tensor& u,
                                const tensor& b, const tensor& a) {
    detail::check_recurrent(name, 1, {x, h, w, u, b, a});
    x.dtype() == f64 ? run<double>({x, h, w, u, b, a}) : run<float>({x, h, w, u, b, a});
    return {detail::dense_as(states, x.dtype()),
            detail::dense_as(detail::last_step(states), x.dtype())};
  }
  std::array<tensor, 6> backward(backward_context& c, tensor_list g) const {
    return states.dtype() == f64 ? slopes<double>(c, g) : slopes<float>(c, g);
  }
  std::array<tensor, 2> composed(const tensor& x, const tensor& h, const tensor& w, const tensor& u,
                                 const tensor& b, const tensor& a) const {
    std::vector<tensor> y;
    tensor state = h;
    for (index_t t = 0; t < x.size(0); ++t) {
      const tensor sums = linear(select(x, 0, t), w, b) + linear(state, u, a);
      state = activation == rnn_activation::tanh ? tanh(sums) : relu(sums);
      y.push_back(state);
    }
    return {stack(y), state};
  }

 private:
  template <class T> void run(const detail::recurrent_inputs& in) {
    const detail::recurrence<T> r(in);
    states = r.input_sums(true);
    for (index_t t = 0; t < r.steps; ++t) {
      T* y = r.at(states, t);
      r.add_state_sums(r.before(states, t), y);
      activation == rnn_activation::tanh
          ? kernels::rnn_cell<T, kernels::activation_tanh<T>>(y, r.cell())
          : kernels::rnn_cell<T, kernels::activation_relu<T>>(y, r.cell());
    }
  }
  template <class T> std::array<tensor, 6> slopes(const backward_context& c, tensor_list g) const {
    const tensor in[] = {c.in(0), c.in(1), c.in(2), c.in(3), c.in(4), c.in(5)};
    const detail::recurrence<T> r({in[0], in[1], in[2], in[3], in[4], in[5]});
    const tensor outputs = g[0].defined() ? detail::dense_as(g[0], dtype_of<T>) : tensor();
    tensor d = detail::gradient_or_zero(g[1], r.h.shape(), dtype_of<T>);
    tensor slope = r.make(r.steps, r.width);
    for (index_t t = r.steps - 1; t >= 0; --t) {
      detail::add_step<T>(outputs, t, d);
      activation == rnn_activation::tanh
          ? kernels::rnn_cell_slope<T, kernels::activation_tanh<T>>(
                r.at(states, t), d.template data_as<T>(), r.at(slope, t), r.cell())
          : kernels::rnn_cell_slope<T, kernels::activation_relu<T>>(
                r.at(states, t), d.template data_as<T>(), r.at(slope, t), r.cell());
      r.state_slope(r.at(slope, t), d.template data_as<T>(), T(0));
    }
    std::array<tensor, 6> all;
    all[1] = d;
    detail::weight_slopes<T>(c, r, {slope, slope, states}, 2, all.data());
    return detail::in_input_types(c, std::move(all));
  }
};

struct lstm_op {
  tensor states{}, cells{};  // [t, b, h] in the computing type
  tensor gates{};            // [t, b, 4h]: i, f, g, o after their activations

  static constexpr std::string_view name = "lstm";
  static constexpr numeric precision = numeric::low;
  static constexpr auto reads =
      gradient_reads(detail::seven, detail::seven, detail::seven, detail::seven, detail::seven,
                     detail::seven, detail::seven);

  std::array<tensor, 3> forward(const tensor& x, const tensor& h, const tensor& cell,
                                const tensor& w, const tensor& u, const tensor& b,
                                const tensor& a) {
    detail::check_recurrent(name, 4, {x, h, w, u, b, a});
    if (cell.shape() != h.shape()) {
      raise<shape_error>(name, ": the states h and c must have one shape; got ", h, " and ", cell);
    }
    x.dtype() == f64 ? run<double>({x, h, w, u, b, a}, cell) : run<float>({x, h, w, u, b, a}, cell);
    return {detail::dense_as(states, x.dtype()),
            detail::dense_as(detail::last_step(states), x.dtype()),
            detail::dense_as(detail::last_step(cells), x.dtype())};
  }
  std::array<tensor, 7> backward(backward_context& c, tensor_list g) const {
    return states.dtype() == f64 ? slopes<double>(c, g) : slopes<float>(c, g);
  }
  std::array<tensor, 3> composed(const tensor& x, const tensor& h, const tensor& cell,
                                 const tensor& w, const tensor& u, const tensor& b,
                                 const tensor& a) const {
    std::vector<tensor> y;
    tensor state = h, c = cell;
    for (index_t t = 0; t < x.size(0); ++t) {
      const auto s = split(linear(select(x, 0, t), w, b) + linear(state, u, a), h.size(1), 1);
      c = sigmoid(s[1]) * c + sigmoid(s[0]) * tanh(s[2]);
      state = sigmoid(s[3]) * tanh(c);
      y.push_back(state);
    }
    return {stack(y), state, c};
  }

 private:
  template <class T> void run(const detail::recurrent_inputs& in, const tensor& cell) {
    const detail::recurrence<T> r(in);
    const tensor first = detail::dense_as(cell, dtype_of<T>);
    gates = r.input_sums(true);
    states = r.make(r.steps, r.hidden);
    cells = r.make(r.steps, r.hidden);
    for (index_t t = 0; t < r.steps; ++t) {
      T* sums = r.at(gates, t);
      r.add_state_sums(r.before(states, t), sums);
      const T* c_before = t == 0 ? first.data_as<T>() : r.at(cells, t - 1);
      kernels::lstm_cell(sums, c_before, r.at(cells, t), r.at(states, t), r.cell());
    }
  }
  template <class T> std::array<tensor, 7> slopes(const backward_context& c, tensor_list g) const {
    const tensor in[] = {c.in(0), c.in(1), c.in(3), c.in(4), c.in(5), c.in(6)};
    const detail::recurrence<T> r({in[0], in[1], in[2], in[3], in[4], in[5]});
    const tensor first = detail::dense_as(c.in(2), dtype_of<T>);
    const tensor outputs = g[0].defined() ? detail::dense_as(g[0], dtype_of<T>) : tensor();
    tensor d = detail::gradient_or_zero(g[1], r.h.shape(), dtype_of<T>);
    tensor dc = detail::gradient_or_zero(g[2], r.h.shape(), dtype_of<T>);
    tensor slope = r.make(r.steps, r.width);
    for (index_t t = r.steps - 1; t >= 0; --t) {
      detail::add_step<T>(outputs, t, d);
      const T* c_before = t == 0 ? first.data_as<T>() : r.at(cells, t - 1);
      kernels::lstm_cell_slope(r.at(gates, t), c_before, r.at(cells, t), d.data_as<T>(),
                               dc.data_as<T>(), r.at(slope, t), r.cell());
      r.state_slope(r.at(slope, t), d.data_as<T>(), T(0));
    }
    std::array<tensor, 7> all;
    all[1] = d;
    all[2] = dc;
    detail::weight_slopes<T>(c, r, {slope, slope, states}, 3, all.data());
    return detail::in_input_types(c, std::move(all));
  }
};

struct gru_op {
  tensor states{};  // [t, b, h] in the computing type
  tensor gates{};   // [t, b, 3h]: r, z, n after their activations
  tensor sums{};    // [t, b, 3h]: over the state, of which n is needed

  static constexpr std::string_view name = "gru";
  static constexpr numeric precision = numeric::low;
  static constexpr auto reads = rnn_op::reads;

  std::array<tensor, 2> forward(const tensor& x, const tensor& h, const tensor& w, const tensor& u,
                                const tensor& b, const tensor& a) {
    detail::check_recurrent(name, 3, {x, h, w, u, b, a});
    x.dtype() == f64 ? run<double>({x, h, w, u, b, a}) : run<float>({x, h, w, u, b, a});
    return {detail::dense_as(states, x.dtype()),
            detail::dense_as(detail::last_step(states), x.dtype())};
  }
  std::array<tensor, 6> backward(backward_context& c, tensor_list g) const {
    return states.dtype() == f64 ? slopes<double>(c, g) : slopes<float>(c, g);
  }
  std::array<tensor, 2> composed(const tensor& x, const tensor& h, const tensor& w, const tensor& u,
                                 const tensor& b, const tensor& a) const {
    std::vector<tensor> y;
    tensor state = h;
    for (index_t t = 0; t < x.size(0); ++t) {
      const auto i = split(linear(select(x, 0, t), w, b), h.size(1), 1);
      const auto s = split(linear(state, u, a), h.size(1), 1);
      const tensor keep = sigmoid(i[1] + s[1]);
      const tensor fresh = tanh(i[2] + sigmoid(i[0] + s[0]) * s[2]);
      state = (1.0 - keep) * fresh + keep * state;
      y.push_back(state);
    }
    return {stack(y), state};
  }

 private:
  template <class T> void run(const detail::recurrent_inputs& in) {
    const detail::recurrence<T> r(in);
    gates = r.input_sums(false);
    sums = r.make(r.steps, r.width);
    states = r.make(r.steps, r.hidden);
    for (index_t t = 0; t < r.steps; ++t) {
      const T* state = r.before(states, t);
      r.state_sums(state, r.at(sums, t));
      kernels::gru_cell(r.at(gates, t), static_cast<const T*>(r.at(sums, t)), state,
                        r.at(states, t), r.cell());
    }
  }
  template <class T> std::array<tensor, 6> slopes(const backward_context& c, tensor_list g) const {
    const tensor in[] = {c.in(0), c.in(1), c.in(2), c.in(3), c.in(4), c.in(5)};
    const detail::recurrence<T> r({in[0], in[1], in[2], in[3], in[4], in[5]});
    const tensor outputs = g[0].defined() ? detail::dense_as(g[0], dtype_of<T>) : tensor();
    tensor d = detail::gradient_or_zero(g[1], r.h.shape(), dtype_of<T>);
    tensor input_slope = r.make(r.steps, r.width), hidden_slope = r.make(r.steps, r.width);
    for (index_t t = r.steps - 1; t >= 0; --t) {
      detail::add_step<T>(outputs, t, d);
      kernels::gru_cell_slope(r.at(gates, t), r.at(sums, t), r.before(states, t), d.data_as<T>(),
                              r.at(input_slope, t), r.at(hidden_slope, t), r.cell());
      r.state_slope(r.at(hidden_slope, t), d.data_as<T>(), T(1));
    }
    std::array<tensor, 6> all;
    all[1] = d;
    detail::weight_slopes<T>(c, r, {input_slope, hidden_slope, states}, 2, all.data());
    return detail::in_input_types(c, std::move(all));
  }
};

// h_t = f(W x_t + b + U h_{t-1} + a) over x [t, b, c] from h [b, h]; W [h, c], U [h, h]; f tanh or
// relu. Returns all h_t [t, b, h] and the last one. Gradients: x, h, weights and biases (Werbos
// 1990). Floats; 16-bit ones are computed in f32. Errors: shape_error, also for t = 0.
inline std::array<tensor, 2> rnn(const tensor& x, const tensor& h, const rnn_weights& w,
                                 rnn_activation activation) {
  return record(rnn_op{activation}, x, h, w.input, w.hidden, w.input_bias, w.hidden_bias);
}

// Long short-term memory (Hochreiter and Schmidhuber 1997, with forget gates): gates i, f, g, o in
// this order in weights [4h, c] and [4h, h], sigmoid for i, f, o and tanh for g;
//   c_t = f c_{t-1} + i g,  h_t = o tanh(c_t).
// Returns all h_t [t, b, h], the last h and the last c. Otherwise like rnn.
inline std::array<tensor, 3> lstm(const tensor& x, const tensor& h, const tensor& c,
                                  const rnn_weights& w) {
  return record(lstm_op{}, x, h, c, w.input, w.hidden, w.input_bias, w.hidden_bias);
}

// Gated recurrent unit (Cho et al. 2014, in cuDNN's form): gates r, z, n in this order in weights
// [3h, c] and [3h, h], with the bias of the state inside the reset:
//   n = tanh(W_n x + b_n + r (U_n h + a_n)),  h_t = (1 - z) n + z h_{t-1}.
// Otherwise like rnn.
inline std::array<tensor, 2> gru(const tensor& x, const tensor& h, const rnn_weights& w) {
  return record(gru_op{}, x, h, w.input, w.hidden, w.input_bias, w.hidden_bias);
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/activation.hpp>
#include <adze/ops/concat.hpp>
#include <adze/ops/linear.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/slice.hpp>
