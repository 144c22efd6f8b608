#pragma once
// SPDX-License-Identifier: MIT
// Gated recurrent units over a whole sequence as one op; built like rnn.hpp.
#include <adze/ops/recurrence.hpp>

namespace adze::inline ADZE_ISA {

template <class = void> struct gru_op {
  tensor gates{};  // [t, b, 3h] in the dtype of x: r, z, n after their activations
  tensor sums{};   // [t, b, 3h]: over the state, of which n is needed

  static constexpr std::string_view name = "gru";
  static constexpr numeric precision = numeric::low;
  static constexpr auto reads =
      gradient_reads(detail::six, detail::six, detail::six, detail::six, detail::six, detail::six);

  std::array<tensor, 2> forward(const tensor& x, const tensor& h, const tensor& w, const tensor& u,
                                const tensor& b, const tensor& a) {
    detail::check_recurrent(name, 3, {x, h, w, u, b, a});
    tensor states =
        x.dtype() == f64 ? run<double>({x, h, w, u, b, a}) : run<float>({x, h, w, u, b, a});
    detail::keep_in(x.dtype(), {&states, &gates, &sums});
    return {states, detail::last_step(states)};
  }
  std::array<tensor, 6> backward(backward_context& c, tensor_list g) const {
    return c.out_type() == f64 ? slopes<double>(c, g) : slopes<float>(c, g);
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
  template <class T> tensor run(const detail::recurrent_inputs& in) {
    const detail::recurrence<T> r(in);
    gates = r.input_sums(false);
    sums = r.make(r.steps, r.width);
    tensor states = r.make(r.steps, r.hidden);
    for (index_t t = 0; t < r.steps; ++t) {
      const T* state = r.before(states, t);
      r.state_sums(state, r.at(sums, t));
      kernels::gru_cell(r.at(gates, t), static_cast<const T*>(r.at(sums, t)), state,
                        r.at(states, t), r.cell());
    }
    return states;
  }
  template <class T> std::array<tensor, 6> slopes(const backward_context& c, tensor_list g) const {
    const tensor in[] = {c.in(0), c.in(1), c.in(2), c.in(3), c.in(4), c.in(5)};
    const detail::recurrence<T> r({in[0], in[1], in[2], in[3], in[4], in[5]});
    const tensor outputs = detail::output_slopes(g[0]);
    const tensor states = c.out(0);
    detail::step_reader<T> gate(gates), sum(sums), before(states);
    tensor d = detail::gradient_or_zero(g[1], r.h.shape(), dtype_of<T>);
    tensor input_slope = r.make(r.steps, r.width), hidden_slope = r.make(r.steps, r.width);
    for (index_t t = r.steps - 1; t >= 0; --t) {
      detail::add_step<T>(outputs, t, d);
      const T* state = t == 0 ? r.h.template data_as<T>() : before.at(t - 1);
      kernels::gru_cell_slope(gate.at(t), sum.at(t), state, d.data_as<T>(), r.at(input_slope, t),
                              r.at(hidden_slope, t), r.cell());
      r.state_slope(r.at(hidden_slope, t), d.data_as<T>(), T(1));
    }
    std::array<tensor, 6> all;
    all[1] = d;
    detail::weight_slopes<T>(c, r, {input_slope, hidden_slope, states}, 2, all.data());
    return detail::in_input_types(c, std::move(all));
  }
};

// Gated recurrent unit (Cho et al. 2014, in cuDNN's form): gates r, z, n in this order in weights
// [3h, c] and [3h, h], with the bias of the state inside the reset:
//   n = tanh(W_n x + b_n + r (U_n h + a_n)),  h_t = (1 - z) n + z h_{t-1}.
// Otherwise like rnn.
template <class> std::array<tensor, 2> gru(const tensor& x, const tensor& h, const rnn_weights& w) {
  return record(gru_op<>{}, x, h, w.input, w.hidden, w.input_bias, w.hidden_bias);
}
// One step of it: x [b, c] gives the next h; x [c] and h [h] are a batch of one without its axis.
template <class> tensor gru_cell(const tensor& x, const tensor& h, const rnn_weights& w) {
  if (x.rank() == 1) return squeeze(gru_cell(unsqueeze(x, 0), unsqueeze(h, 0), w), 0);
  detail::check_recurrent("gru_cell", 3, {x, h, w.input, w.hidden, w.input_bias, w.hidden_bias},
                          true);
  return gru(unsqueeze(x, 0), h, w)[1];
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/activation.hpp>
#include <adze/ops/concat.hpp>
#include <adze/ops/linear.hpp>
#include <adze/ops/slice.hpp>
