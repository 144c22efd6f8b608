#pragma once
// SPDX-License-Identifier: MIT
// The plain recurrent layer over a whole sequence as one op: activations kept, gradients through
// time in one fused pass, `composed` the same step by step in public ops. lstm and gru are in
// headers of their own; stacks, directions and parameters in nn/rnn.hpp.
#include <adze/ops/recurrence.hpp>

namespace adze::inline ADZE_ISA {

template <class = void> struct rnn_op {
  rnn_activation activation = rnn_activation::tanh;

  static constexpr std::string_view name = "rnn";
  static constexpr numeric precision = numeric::low;
  static constexpr auto reads =
      gradient_reads(detail::six, detail::six, detail::six, detail::six, detail::six, detail::six);

  std::array<tensor, 2> forward(const tensor& x, const tensor& h, const tensor& w, const tensor& u,
                                const tensor& b, const tensor& a) const {
    detail::check_recurrent(name, 1, {x, h, w, u, b, a});
    tensor states =
        x.dtype() == f64 ? run<double>({x, h, w, u, b, a}) : run<float>({x, h, w, u, b, a});
    detail::keep_in(x.dtype(), {&states});
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
      const tensor sums = linear(select(x, 0, t), w, b) + linear(state, u, a);
      state = activation == rnn_activation::tanh ? tanh(sums) : relu(sums);
      y.push_back(state);
    }
    return {stack(y), state};
  }

 private:
  template <class T> tensor run(const detail::recurrent_inputs& in) const {
    const detail::recurrence<T> r(in);
    tensor states = r.input_sums(true);
    for (index_t t = 0; t < r.steps; ++t) {
      T* y = r.at(states, t);
      r.add_state_sums(r.before(states, t), y);
      activation == rnn_activation::tanh
          ? kernels::rnn_cell<T, kernels::activation_tanh<T>>(y, r.cell())
          : kernels::rnn_cell<T, kernels::activation_relu<T>>(y, r.cell());
    }
    return states;
  }
  template <class T> std::array<tensor, 6> slopes(const backward_context& c, tensor_list g) const {
    const tensor in[] = {c.in(0), c.in(1), c.in(2), c.in(3), c.in(4), c.in(5)};
    const detail::recurrence<T> r({in[0], in[1], in[2], in[3], in[4], in[5]});
    const tensor outputs = detail::output_slopes(g[0]);
    const tensor states = c.out(0);
    detail::step_reader<T> state(states);
    tensor d = detail::gradient_or_zero(g[1], r.h.shape(), dtype_of<T>);
    tensor slope = r.make(r.steps, r.width);
    for (index_t t = r.steps - 1; t >= 0; --t) {
      detail::add_step<T>(outputs, t, d);
      activation == rnn_activation::tanh
          ? kernels::rnn_cell_slope<T, kernels::activation_tanh<T>>(
                state.at(t), d.template data_as<T>(), r.at(slope, t), r.cell())
          : kernels::rnn_cell_slope<T, kernels::activation_relu<T>>(
                state.at(t), d.template data_as<T>(), r.at(slope, t), r.cell());
      r.state_slope(r.at(slope, t), d.template data_as<T>(), T(0));
    }
    std::array<tensor, 6> all;
    all[1] = d;
    detail::weight_slopes<T>(c, r, {slope, slope, states}, 2, all.data());
    return detail::in_input_types(c, std::move(all));
  }
};

// h_t = f(W x_t + b + U h_{t-1} + a) over x [t, b, c] from h [b, h]; W [h, c], U [h, h]; f tanh or
// relu. Returns all h_t [t, b, h] and the last one. Gradients: x, h, weights and biases (Werbos
// 1990). Floats; 16-bit ones are computed in f32. Errors: shape_error, also for t = 0.
template <class>
std::array<tensor, 2> rnn(const tensor& x, const tensor& h, const rnn_weights& w,
                          rnn_activation activation) {
  return record(rnn_op<>{activation}, x, h, w.input, w.hidden, w.input_bias, w.hidden_bias);
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/activation.hpp>
#include <adze/ops/concat.hpp>
#include <adze/ops/linear.hpp>
#include <adze/ops/slice.hpp>
