#pragma once
// SPDX-License-Identifier: MIT
// Long short-term memory over a whole sequence as one op; built like rnn.hpp.
#include <adze/ops/recurrence.hpp>

namespace adze::detail::inline ADZE_ISA {

inline void check_states(std::string_view op, const tensor& h, const tensor& c) {
  if (h.shape() == c.shape()) return;
  raise<shape_error>(op, ": the states h and c must have one shape; got ", h, " and ", c);
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class = void> struct lstm_op {
  tensor cells{};  // [t, b, h] in the dtype of x
  tensor gates{};  // [t, b, 4h]: i, f, g, o after their activations

  static constexpr std::string_view name = "lstm";
  static constexpr numeric precision = numeric::low;
  static constexpr auto reads =
      gradient_reads(detail::seven, detail::seven, detail::seven, detail::seven, detail::seven,
                     detail::seven, detail::seven);

  std::array<tensor, 3> forward(const tensor& x, const tensor& h, const tensor& cell,
                                const tensor& w, const tensor& u, const tensor& b,
                                const tensor& a) {
    detail::check_recurrent(name, 4, {x, h, w, u, b, a});
    detail::check_states(name, h, cell);
    tensor states = x.dtype() == f64 ? run<double>({x, h, w, u, b, a}, cell)
                                     : run<float>({x, h, w, u, b, a}, cell);
    detail::keep_in(x.dtype(), {&states, &cells, &gates});
    return {states, detail::last_step(states), detail::last_step(cells)};
  }
  std::array<tensor, 7> backward(backward_context& c, tensor_list g) const {
    return c.out_type() == f64 ? slopes<double>(c, g) : slopes<float>(c, g);
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
  template <class T> tensor run(const detail::recurrent_inputs& in, const tensor& cell) {
    const detail::recurrence<T> r(in);
    const tensor first = detail::dense_as(cell, dtype_of<T>);
    gates = r.input_sums(true);
    tensor states = r.make(r.steps, r.hidden);
    cells = r.make(r.steps, r.hidden);
    for (index_t t = 0; t < r.steps; ++t) {
      T* sums = r.at(gates, t);
      r.add_state_sums(r.before(states, t), sums);
      const T* c_before = t == 0 ? first.data_as<T>() : r.at(cells, t - 1);
      kernels::lstm_cell(sums, c_before, r.at(cells, t), r.at(states, t), r.cell());
    }
    return states;
  }
  template <class T> std::array<tensor, 7> slopes(const backward_context& c, tensor_list g) const {
    const tensor in[] = {c.in(0), c.in(1), c.in(3), c.in(4), c.in(5), c.in(6)};
    const detail::recurrence<T> r({in[0], in[1], in[2], in[3], in[4], in[5]});
    const tensor first = detail::dense_as(c.in(2), dtype_of<T>);
    const tensor outputs = detail::output_slopes(g[0]);
    detail::step_reader<T> gate(gates), cell(cells), cell_before(cells);
    tensor d = detail::gradient_or_zero(g[1], r.h.shape(), dtype_of<T>);
    tensor dc = detail::gradient_or_zero(g[2], r.h.shape(), dtype_of<T>);
    tensor slope = r.make(r.steps, r.width);
    for (index_t t = r.steps - 1; t >= 0; --t) {
      detail::add_step<T>(outputs, t, d);
      const T* c_before = t == 0 ? first.data_as<T>() : cell_before.at(t - 1);
      kernels::lstm_cell_slope(gate.at(t), c_before, cell.at(t),
                               static_cast<const T*>(d.data_as<T>()), dc.data_as<T>(),
                               r.at(slope, t), r.cell());
      r.state_slope(r.at(slope, t), d.data_as<T>(), T(0));
    }
    std::array<tensor, 7> all;
    all[1] = d;
    all[2] = dc;
    detail::weight_slopes<T>(c, r, {slope, slope, c.out(0)}, 3, all.data());
    return detail::in_input_types(c, std::move(all));
  }
};

// Long short-term memory (Hochreiter and Schmidhuber 1997, with forget gates): gates i, f, g, o in
// this order in weights [4h, c] and [4h, h], sigmoid for i, f, o and tanh for g;
//   c_t = f c_{t-1} + i g,  h_t = o tanh(c_t).
// Returns all h_t [t, b, h], the last h and the last c. Otherwise like rnn.
template <class>
std::array<tensor, 3> lstm(const tensor& x, const tensor& h, const tensor& c,
                           const rnn_weights& w) {
  return record(lstm_op<>{}, x, h, c, w.input, w.hidden, w.input_bias, w.hidden_bias);
}
// One step of it: x [b, c] gives the next h and c; x [c] and states [h] are a batch of one without
// its axis.
template <class>
std::array<tensor, 2> lstm_cell(const tensor& x, const tensor& h, const tensor& c,
                                const rnn_weights& w) {
  if (x.rank() == 1) {
    const auto y = lstm_cell(unsqueeze(x, 0), unsqueeze(h, 0), unsqueeze(c, 0), w);
    return {squeeze(y[0], 0), squeeze(y[1], 0)};
  }
  detail::check_recurrent("lstm_cell", 4, {x, h, w.input, w.hidden, w.input_bias, w.hidden_bias},
                          true);
  detail::check_states("lstm_cell", h, c);
  auto y = lstm(unsqueeze(x, 0), h, c, w);
  return {std::move(y[1]), std::move(y[2])};
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/activation.hpp>
#include <adze/ops/concat.hpp>
#include <adze/ops/linear.hpp>
#include <adze/ops/slice.hpp>
