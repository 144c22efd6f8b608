#pragma once
// SPDX-License-Identifier: MIT
// LSTM and GRU with both matrices in s8, biases and gates in floats; inputs are quantized by their
// range in each call, the state anew at each step.
#include <adze/ops/gru.hpp>
#include <adze/ops/lstm.hpp>
#include <adze/quant/dynamic_linear.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

struct recurrent_weights {
  std::shared_ptr<const detail::packed_codes> input{}, hidden{};
  tensor input_bias{}, hidden_bias{};
  index_t bytes() const { return input->codes.bytes() + hidden->codes.bytes(); }
};

// Codes and scales of both matrices, both biases; `gates` rows of each matrix for each state.
template <class = void>
recurrent_weights pack_recurrent(std::string_view op, index_t gates, tensor_list c, bool reduced) {
  check_dynamic_weight(op, c[0], c[1], c[4]);
  check_dynamic_weight(op, c[2], c[3], c[5]);
  const index_t width = gates * c[2].size(1);
  if (c[0].size(0) != width || c[2].size(0) != width) {
    raise<shape_error>(op, ": needs weights [", gates, " h, i] and [", gates, " h, h]; got ", c[0],
                       " and ", c[2]);
  }
  recurrent_weights w;
  w.input = std::make_shared<const packed_codes>(adze::detail::dense_as(c[0], i8), c[1], reduced);
  w.hidden = std::make_shared<const packed_codes>(adze::detail::dense_as(c[2], i8), c[3], reduced);
  if (c[4].defined()) w.input_bias = adze::detail::plain_copy(c[4], f32);
  if (c[5].defined()) w.hidden_bias = adze::detail::plain_copy(c[5], f32);
  return w;
}

// Sums over the inputs of all steps at once, then each step's state by itself.
template <class = void> class dynamic_recurrence {
 public:
  dynamic_recurrence(std::string_view op, const tensor& x, const tensor& h,
                     const recurrent_weights& w)
      : w_(w) {
    for (const tensor* t : {&x, &h}) adze::detail::floating_compute_type(op, *t);
    if (x.rank() != 3 || h.rank() != 2 || x.size(1) != h.size(0) ||
        x.size(2) != w.input->codes.rows() || h.size(1) != w.hidden->codes.rows()) {
      raise<shape_error>(op, ": x [t, b, ", w.input->codes.rows(), "] and h [b, ",
                         w.hidden->codes.rows(), "] belong to the weights; got ", x, " and ", h);
    }
    if (x.size(0) == 0) raise<shape_error>(op, ": needs at least one step; got x ", x);
    x_ = adze::detail::dense_as(x, f32), h_ = adze::detail::dense_as(h, f32);
    steps = x.size(0), batch = x.size(1), hidden = h.size(1), width = w.input->codes.cols();
    states = empty({steps, batch, hidden}, f32);
    gates = empty({steps, batch, width}, f32);
    dynamic_rows(dense_matrix(x_.data_as<float>(), steps * batch, x.size(2)), *w.input,
                 w.input_bias, dense_matrix(gates.data_as<float>(), steps * batch, width),
                 kernels::activation::none, false);
  }
  float* gates_at(index_t t) { return gates.data_as<float>() + t * batch * width; }
  float* state_at(index_t t) { return states.data_as<float>() + t * batch * hidden; }
  const float* before(index_t t) { return t == 0 ? h_.data_as<float>() : state_at(t - 1); }
  // Sums over the state before step t, in `to` [batch, width].
  void state_sums(index_t t, tensor& to) {
    dynamic_rows(dense_matrix(before(t), batch, hidden), *w_.hidden, w_.hidden_bias,
                 dense_matrix(to.data_as<float>(), batch, width), kernels::activation::none, false);
  }
  kernels::cell_sizes cell() const { return {batch, hidden}; }

  index_t steps = 0, batch = 0, hidden = 0, width = 0;
  tensor states, gates;

 private:
  const recurrent_weights& w_;
  tensor x_, h_;
};

template <class = void>
std::array<tensor, 3> dynamic_lstm(const tensor& x, const tensor& h, const tensor& c,
                                   const recurrent_weights& w) {
  constexpr std::string_view op = "dynamic_lstm";
  adze::detail::floating_compute_type(op, c);
  if (c.shape() != h.shape()) {
    raise<shape_error>(op, ": the states h and c must have one shape; got ", h, " and ", c);
  }
  dynamic_recurrence<> r(op, x, h, w);
  tensor sums = empty({r.batch, r.width}, f32);
  tensor before = adze::detail::dense_copy(adze::detail::dense_as(c, f32)), cell = empty(c.shape());
  for (index_t t = 0; t < r.steps; ++t) {
    r.state_sums(t, sums);
    float* gates = r.gates_at(t);
    for (index_t i = 0; i < sums.numel(); ++i) gates[i] += sums.data_as<float>()[i];
    kernels::lstm_cell<float>(gates, before.data_as<float>(), cell.data_as<float>(), r.state_at(t),
                              r.cell());
    std::swap(before, cell);
  }
  return {adze::detail::dense_as(r.states, x.dtype()),
          adze::detail::dense_as(adze::detail::last_step(r.states), x.dtype()),
          adze::detail::dense_as(before, x.dtype())};
}

template <class = void>
std::array<tensor, 2> dynamic_gru(const tensor& x, const tensor& h, const recurrent_weights& w) {
  dynamic_recurrence<> r("dynamic_gru", x, h, w);
  tensor sums = empty({r.batch, r.width}, f32);
  for (index_t t = 0; t < r.steps; ++t) {
    r.state_sums(t, sums);
    kernels::gru_cell<float>(r.gates_at(t), sums.template data_as<float>(), r.before(t),
                             r.state_at(t), r.cell());
  }
  return {adze::detail::dense_as(r.states, x.dtype()),
          adze::detail::dense_as(adze::detail::last_step(r.states), x.dtype())};
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// Inputs: x [t, b, i], h and c [b, hidden], codes and scales of both matrices, then both biases,
// f32 or undefined. Results as lstm's.
template <class = void> struct dynamic_lstm_op {
  bool reduced = false;
  static constexpr std::string_view name = "dynamic_lstm";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set none = values::nothing;
  static constexpr auto reads =
      gradient_reads(none, none, none, none, none, none, none, none, none);
  static constexpr value_set nondifferentiable =
      values::output(0) | values::output(1) | values::output(2);

  std::array<tensor, 3> forward(const tensor& x, const tensor& h, const tensor& c, const tensor& w,
                                const tensor& ws, const tensor& u, const tensor& us,
                                const tensor& b, const tensor& a) const {
    const tensor all[] = {w, ws, u, us, b, a};
    return detail::dynamic_lstm(x, h, c, detail::pack_recurrent(name, 4, all, reduced));
  }
  std::vector<tensor> backward(backward_context&, tensor_list) const {
    return std::vector<tensor>(9);
  }
  std::unique_ptr<adze::detail::prepared_step> prepare(tensor_list constants) const {
    for (std::size_t i = 3; i < 7; ++i) {
      if (!constants[i].defined()) return nullptr;
    }
    const detail::recurrent_weights w =
        detail::pack_recurrent(name, 4, constants.subspan(3), reduced);
    return adze::detail::make_step(
        [w](const tensor* const* in) { return detail::dynamic_lstm(*in[0], *in[1], *in[2], w); },
        {0x3fu << 3}, w.bytes());
  }
};

// The same without c; results as gru's.
template <class = void> struct dynamic_gru_op {
  bool reduced = false;
  static constexpr std::string_view name = "dynamic_gru";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set none = values::nothing;
  static constexpr auto reads = gradient_reads(none, none, none, none, none, none, none, none);
  static constexpr value_set nondifferentiable = values::output(0) | values::output(1);

  std::array<tensor, 2> forward(const tensor& x, const tensor& h, const tensor& w, const tensor& ws,
                                const tensor& u, const tensor& us, const tensor& b,
                                const tensor& a) const {
    const tensor all[] = {w, ws, u, us, b, a};
    return detail::dynamic_gru(x, h, detail::pack_recurrent(name, 3, all, reduced));
  }
  std::vector<tensor> backward(backward_context&, tensor_list) const {
    return std::vector<tensor>(8);
  }
  std::unique_ptr<adze::detail::prepared_step> prepare(tensor_list constants) const {
    for (std::size_t i = 2; i < 6; ++i) {
      if (!constants[i].defined()) return nullptr;
    }
    const detail::recurrent_weights w =
        detail::pack_recurrent(name, 3, constants.subspan(2), reduced);
    return adze::detail::make_step(
        [w](const tensor* const* in) { return detail::dynamic_gru(*in[0], *in[1], w); },
        {0x3fu << 2}, w.bytes());
  }
};

}  // namespace adze::quant::inline ADZE_ISA
