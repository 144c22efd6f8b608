#pragma once
// SPDX-License-Identifier: MIT
// What rnn, lstm and gru share: one product for the inputs of all steps, one small product per
// step for the state, and the gradients of weights, inputs and biases from the slopes of the
// gates' sums. Plain data only. The ops are in rnn.hpp.
#include <adze/kernels/gemm.hpp>
#include <adze/kernels/rnn_cell.hpp>
#include <adze/ops/dense.hpp>
#include <adze/tensor/index.hpp>

namespace adze::detail::inline ADZE_ISA {

// x [t, b, c], state [b, h], weights [gates * h, c] and [gates * h, h], biases [gates * h] or
// undefined, both.
struct recurrent_inputs {
  const tensor &x, &h, &input_weight, &hidden_weight, &input_bias, &hidden_bias;
};

// x may be one step [b, c]: what a cell checks in its own name before it calls the op.
template <class = void>
void check_recurrent(std::string_view op, index_t gates, const recurrent_inputs& in,
                     bool step = false) {
  static_cast<void>(floating_compute_type(op, in.x));
  const index_t axes = step ? 2 : 3;
  const bool ranks = in.x.rank() == axes && in.h.rank() == 2 && in.h.size(0) == in.x.size(-2);
  const index_t h = ranks ? in.h.size(1) : 0;
  if (!ranks || in.input_weight.shape() != shape{gates * h, in.x.size(-1)} ||
      in.hidden_weight.shape() != shape{gates * h, h}) {
    raise<shape_error>(op, ": needs x [", step ? "" : "t, ", "b, c], state [b, h] and weights [",
                       gates, " h, c] and [", gates, " h, h]; got x ", in.x, ", state ", in.h,
                       ", weights ", in.input_weight, " and ", in.hidden_weight);
  }
  if (!step && in.x.size(0) == 0) raise<shape_error>(op, ": needs at least one step; got x ", in.x);
  for (const tensor* b : {&in.input_bias, &in.hidden_bias}) {
    if (b->defined() != in.input_bias.defined() ||
        (b->defined() && b->shape() != shape{gates * h})) {
      raise<shape_error>(op, ": needs two biases [", gates * h, "] or none; got ", in.input_bias,
                         " and ", in.hidden_bias);
    }
  }
}

template <class T> class recurrence {
 public:
  tensor x, h, input_weight, hidden_weight, input_bias, hidden_bias;  // dense, in T
  index_t steps, batch, features, hidden, width;                      // width: gates * hidden

  explicit recurrence(const recurrent_inputs& in)
      : x(dense_as(in.x, dtype_of<T>)), h(dense_as(in.h, dtype_of<T>)),
        input_weight(dense_as(in.input_weight, dtype_of<T>)),
        hidden_weight(dense_as(in.hidden_weight, dtype_of<T>)), steps(x.size(0)), batch(x.size(1)),
        features(x.size(2)), hidden(h.size(1)), width(input_weight.size(0)) {
    if (in.input_bias.defined()) input_bias = dense_as(in.input_bias, dtype_of<T>);
    if (in.hidden_bias.defined()) hidden_bias = dense_as(in.hidden_bias, dtype_of<T>);
  }

  kernels::cell_sizes cell() const { return {batch, hidden}; }
  tensor make(index_t count, index_t columns) const {
    return empty({count, batch, columns}, dtype_of<T>);
  }
  // Step t of a [steps, batch, columns] tensor.
  static T* at(tensor& y, index_t t) { return y.data_as<T>() + t * y.size(1) * y.size(2); }
  static const T* at(const tensor& y, index_t t) {
    return y.data_as<T>() + t * y.size(1) * y.size(2);
  }
  // The state before step t.
  const T* before(const tensor& states, index_t t) const {
    return t == 0 ? h.data_as<T>() : at(states, t - 1);
  }

  // Sums of all gates over the inputs of all steps, [steps, batch, width]. With `both` the biases
  // of the state are in it too.
  tensor input_sums(bool both) const {
    tensor y = make(steps, width), bias = input_bias;
    if (both && bias.defined()) bias = bias + hidden_bias;
    kernels::gemm<T>(rows(x), weights(input_weight).transposed(),
                     dense_matrix(y.data_as<T>(), steps * batch, width),
                     {.bias = bias.defined() ? bias.data_as<T>() : nullptr});
    return y;
  }
  // sums [batch, width] = state W^T + bias, or added to what they hold.
  void add_state_sums(const T* state, T* sums) const {
    kernels::gemm<T>(dense_matrix(state, batch, hidden), weights(hidden_weight).transposed(),
                     dense_matrix(sums, batch, width), {.beta = T(1)});
  }
  void state_sums(const T* state, T* sums) const {
    kernels::gemm<T>(dense_matrix(state, batch, hidden), weights(hidden_weight).transposed(),
                     dense_matrix(sums, batch, width),
                     {.bias = hidden_bias.defined() ? hidden_bias.data_as<T>() : nullptr});
  }
  // The gradient of the state before a step from the slopes of its sums.
  void state_slope(const T* slope, T* d, T beta) const {
    kernels::gemm<T>(dense_matrix(slope, batch, width), weights(hidden_weight),
                     dense_matrix(d, batch, hidden), {.beta = beta});
  }

  // Gradients of x and of the four weights, from the slopes of the sums over inputs and states.
  struct slopes {
    const tensor &input, &hidden;  // [steps, batch, width]
    const tensor& states;          // [steps, batch, hidden], in any type
  };
  tensor x_slope(const slopes& s) const {
    tensor d = empty(x.shape(), dtype_of<T>);
    kernels::gemm<T>(rows(s.input), weights(input_weight),
                     dense_matrix(d.data_as<T>(), steps * batch, features));
    return d;
  }
  tensor input_weight_slope(const slopes& s) const {
    tensor d = empty(input_weight.shape(), dtype_of<T>);
    kernels::gemm<T>(rows(s.input).transposed(), rows(x),
                     dense_matrix(d.data_as<T>(), width, features));
    return d;
  }
  tensor hidden_weight_slope(const slopes& s) const {
    const tensor states = dense_as(s.states, dtype_of<T>);
    tensor d = empty(hidden_weight.shape(), dtype_of<T>);
    const matrix<T> to = dense_matrix(d.data_as<T>(), width, hidden);
    kernels::gemm<T>(dense_matrix(at(s.hidden, 0), batch, width).transposed(),
                     dense_matrix(h.data_as<T>(), batch, hidden), to);
    const index_t later = (steps - 1) * batch;
    kernels::gemm<T>(dense_matrix(at(s.hidden, 0) + batch * width, later, width).transposed(),
                     dense_matrix(at(states, 0), later, hidden), to, {.beta = T(1)});
    return d;
  }
  static tensor bias_slope(const tensor& slope) { return sum(slope, {0, 1}); }

 private:
  static matrix<const T> rows(const tensor& y) {
    return dense_matrix(y.data_as<T>(), y.size(0) * y.size(1), y.size(2));
  }
  static matrix<const T> weights(const tensor& w) {
    return dense_matrix(w.data_as<T>(), w.size(0), w.size(1));
  }
};

// Reads a [steps, batch, columns] tensor that was kept in any floating type, one step at a time.
template <class T> class step_reader {
 public:
  explicit step_reader(const tensor& y) : y_(y), count_(y.size(1) * y.size(2)) {
    if (y.dtype() != dtype_of<T>) wide_ = empty({count_}, dtype_of<T>);
  }
  // Valid until the next call.
  const T* at(index_t t) {
    if (!wide_.defined()) return y_.template data_as<T>() + t * count_;
    const std::byte* from = y_.impl().data + t * count_ * size_of(y_.dtype());
    kernels::load_row(y_.dtype(), from, 1, count_, wide_.template data_as<T>());
    return wide_.template data_as<T>();
  }

 private:
  tensor y_, wide_;
  index_t count_;
};

// What a pass forward keeps for the way back is in the dtype of the inputs.
inline void keep_in(dtype type, std::initializer_list<tensor*> kept) {
  for (tensor* y : kept) *y = dense_as(*y, type);
}

// The last step of [steps, batch, h] as a tensor of its own.
inline tensor last_step(const tensor& states) {
  return dense_copy(without_axis(states, 0, states.size(0) - 1));
}

// A gradient that may be missing, as a [b, h] buffer of its own in `type`.
template <class = void> tensor gradient_or_zero(const tensor& g, const shape& sizes, dtype type) {
  if (!g.defined()) return zeros_of(sizes, type);
  tensor y = empty(sizes, type);
  kernels::copy(sizes, operand_of(y), operand_of(g));
  return y;
}

// The gradient of all outputs, row-major, if there is one; and d += step t of it.
template <class = void> tensor output_slopes(const tensor& g) {
  return g.defined() ? dense_as(g, g.dtype()) : tensor();
}
template <class T> void add_step(const tensor& g, index_t t, tensor& d) {
  if (g.defined()) add_into(d, alias(g, d.shape(), dense_strides(d.shape()), t * d.numel()));
}

// What gradients read: the first inputs, and all states, which the caller gets as a result.
inline constexpr value_set six = value_set{0x3f} | values::output(0);
inline constexpr value_set seven = value_set{0x7f} | values::output(0);

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

// What the definitions above call.
#include <adze/ops/arithmetic.hpp>
#include <adze/ops/reduce.hpp>
