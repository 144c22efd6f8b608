#pragma once
// SPDX-License-Identifier: MIT
// softmax and log_softmax along any axis, with fused first gradients; gradients of gradients are
// written in public ops. Any dense layout is kept.
#include <adze/kernels/softmax.hpp>
#include <adze/ops/dense.hpp>

namespace adze::detail::inline ADZE_ISA {

// Where the axis lies in the memory of a dense x.
inline kernels::softmax_sizes softmax_sizes_of(const tensor& x, index_t axis) {
  if (x.rank() == 0) return {1, 1, 1};
  if (x.numel() == 0) return {0, 1, 1};  // its strides may be 0
  const index_t n = x.size(axis), inner = n == 1 ? 1 : x.stride(axis);
  return {x.numel() / (n * inner), n, inner};
}

template <bool logarithm>
tensor softmax_forward(std::string_view op, const tensor& x, index_t axis) {
  const dtype type = floating_compute_type(op, x);
  const index_t a = resolve_axis(axis, std::max<index_t>(1, x.rank()), op);
  const tensor in = dense_keeping(x, type);
  tensor y = empty_like(in, type);
  const kernels::softmax_sizes s = softmax_sizes_of(in, a);
  if (type == f32) {
    kernels::softmax<float, logarithm>(in.data_as<float>(), y.data_as<float>(), s);
  } else {
    kernels::softmax<double, logarithm>(in.data_as<double>(), y.data_as<double>(), s);
  }
  return dense_keeping(y, x.dtype());
}

template <bool logarithm>
tensor softmax_backward(const tensor& result, const tensor& gradient, index_t axis) {
  const dtype type = result.dtype() == f64 ? f64 : f32;
  const tensor y = dense_keeping(result, type), g = dense_like(gradient, y, type);
  tensor d = empty_like(y, type);
  const kernels::softmax_sizes s = softmax_sizes_of(y, axis);
  if (type == f32) {
    kernels::softmax_slope<float, logarithm>(y.data_as<float>(), g.data_as<float>(),
                                             d.data_as<float>(), s);
  } else {
    kernels::softmax_slope<double, logarithm>(y.data_as<double>(), g.data_as<double>(),
                                              d.data_as<double>(), s);
  }
  return dense_keeping(d, result.dtype());
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class = void> struct softmax_op {
  index_t axis = -1;
  static constexpr std::string_view name = "softmax";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = gradient_reads(values::output(0));

  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const { return detail::softmax_forward<false>(name, x, axis); }
  tensor backward(backward_context& c, const tensor& g) const {
    const tensor y = c.out(0);
    if (!c.create()) return detail::softmax_backward<false>(y, g, axis);
    return y.rank() == 0 ? y * (g - g * y) : y * (g - sum(g * y, {axis}, true));
  }
};

template <class = void> struct log_softmax_op {
  index_t axis = -1;
  static constexpr std::string_view name = "log_softmax";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = gradient_reads(values::output(0));

  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const { return detail::softmax_forward<true>(name, x, axis); }
  tensor backward(backward_context& c, const tensor& g) const {
    const tensor y = c.out(0);
    if (!c.create()) return detail::softmax_backward<true>(y, g, axis);
    // Added with its sign turned: the same bits, and programs without a difference compile none.
    return g + exp(y) * ((y.rank() == 0 ? g : sum(g, {axis}, true)) * -1.0);
  }
};

// y_i = e^(x_i - m) / sum_j e^(x_j - m) along the axis, m the largest x.
// Gradient y (g - sum(g y)). Any floating dtype, 16-bit ones are computed in f32. A row of nothing
// but -infinity gives NaN. Errors: dtype_error for integers, shape_error for the axis.
template <class> tensor softmax(const tensor& x, index_t axis) {
  return record(softmax_op<>{axis}, x);
}

// y_i = x_i - log sum_j e^(x_j), computed from shifted values; gradient g - e^y sum(g). Otherwise
// like softmax.
template <class> tensor log_softmax(const tensor& x, index_t axis) {
  return record(log_softmax_op<>{axis}, x);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/pointwise.hpp>
#include <adze/ops/reduce.hpp>
