#pragma once
// SPDX-License-Identifier: MIT
// Norms of rows by their own statistics: layer, group, instance and root-mean-square norm, and
// normalize. Batch norm is in batch_norm.hpp. First gradients are kernels, further ones follow
// `composed`, the same in public ops.
#include <adze/kernels/norm.hpp>
#include <adze/ops/dense.hpp>

namespace adze::detail::inline ADZE_ISA {

template <class = void> tensor dense_or_none(const tensor& x, dtype type) {
  return x.defined() ? dense_as(x, type) : tensor();
}
template <class T> const T* data_or_null(const tensor& x) {
  return x.defined() ? x.data_as<T>() : nullptr;
}

// y, row-major in the computing type, as the op returns it: laid out like x, in the dtype of x.
template <class = void> tensor returned_like(const tensor& y, const tensor& x) {
  if (x.dtype() == y.dtype() && (x.is_contiguous() || !is_dense(x))) return y;
  tensor r = empty_like(x);
  kernels::copy(x.shape(), operand_of(r), operand_of(y));
  return r;
}

// What the row norms share: sizes, where the mean is taken off, and the statistics of the rows
// (mean and reciprocal deviation, f64), which the forward leaves for the gradient.
struct row_norm_call {
  kernels::row_norm_sizes sizes{};
  bool centered = true;
  double eps = 1e-5;
};

template <class T>
void row_norm_into(const tensor& x, const tensor& weight, const tensor& bias, tensor& y,
                   tensor& statistics, const row_norm_call& k) {
  kernels::row_norm<T>(x.data_as<T>(), data_or_null<T>(weight), data_or_null<T>(bias),
                       y.data_as<T>(), statistics.data_as<double>(), k.sizes, k.eps, k.centered);
}

template <class = void>
tensor row_norm_forward(std::string_view op, const tensor& x, const tensor& weight,
                        const tensor& bias, tensor& statistics, const row_norm_call& k) {
  const dtype type = floating_compute_type(op, x);
  const tensor in = dense_as(x, type);
  const tensor w = dense_or_none(weight, type), b = dense_or_none(bias, type);
  tensor y = empty(x.shape(), type);
  statistics = empty({k.sizes.rows, 2}, f64);
  (type == f64 ? row_norm_into<double> : row_norm_into<float>)(in, w, b, y, statistics, k);
  return returned_like(y, x);
}

struct row_norm_inputs {
  tensor g, x, weight, statistics;
};

template <class T>
std::array<tensor, 3> row_norm_slopes(const row_norm_inputs& in, const row_norm_call& k, bool dx,
                                      bool weights) {
  std::array<tensor, 3> d;
  kernels::row_norm_gradient<T> p{.g = in.g.data_as<T>(),
                                  .x = in.x.data_as<T>(),
                                  .weight = data_or_null<T>(in.weight),
                                  .statistics = in.statistics.data_as<double>()};
  if (dx) d[0] = empty(in.x.shape(), in.x.dtype()), p.dx = d[0].data_as<T>();
  tensor workspace;
  if (weights) {
    d[1] = empty({k.sizes.weights()}, f64), p.dweight = d[1].data_as<double>();
    d[2] = empty({k.sizes.weights()}, f64), p.dbias = d[2].data_as<double>();
    workspace = empty({kernels::row_norm_workspace(k.sizes)}, f64);
    p.workspace = workspace.data_as<double>();
  }
  kernels::row_norm_backward<T>(p, k.sizes, k.centered);
  return d;
}

// The f64 gradient of a weight as the engine wants it.
template <class = void> tensor weight_gradient(const tensor& d, const shape& sizes, dtype type) {
  return dense_as(alias(d, sizes, dense_strides(sizes)), type);
}

template <class = void>
std::array<tensor, 3> row_norm_backward(backward_context& c, const tensor& g, const tensor& x,
                                        const tensor& weight, const tensor& statistics,
                                        const row_norm_call& k) {
  const dtype type = x.dtype() == f64 ? f64 : f32;
  const bool bias = c.inputs() > 2 && c.wants(2), weights = c.wants(1) || bias;
  const row_norm_inputs in{dense_as(g, type), dense_as(x, type), dense_or_none(weight, type),
                           statistics};
  std::array<tensor, 3> d =
      (type == f64 ? row_norm_slopes<double> : row_norm_slopes<float>)(in, k, c.wants(0), weights);
  if (c.wants(0)) d[0] = returned_like(d[0], x);
  d[1] = c.wants(1) ? weight_gradient(d[1], c.in_shape(1), c.in_type(1)) : tensor();
  d[2] = bias ? weight_gradient(d[2], c.in_shape(2), c.in_type(2)) : tensor();
  return d;
}

// (x - mean) / sqrt(variance + eps) over the given axes, in public ops.
template <class = void>
tensor normalized(const tensor& x, const index_list& over, double eps, bool centered) {
  const tensor d = centered ? x - mean(x, over, true) : x;
  return d * rsqrt(mean(d * d, over, true) + eps);
}
template <class = void> tensor weighed(tensor y, const tensor& weight, const tensor& bias) {
  if (weight.defined()) y = y * weight;
  return bias.defined() ? y + bias : y;
}

inline double epsilon_of(dtype type) {
  return type == f64 ? 0x1p-52 : type == f16 ? 0x1p-10 : type == bf16 ? 0x1p-7 : 0x1p-23;
}

inline index_list last_axes(index_t rank, index_t count) {
  index_list over;
  for (index_t i = rank - count; i < rank; ++i) over.push_back(i);
  return over;
}

// The last `count` axes as rows; weights must have exactly their sizes.
inline kernels::row_norm_sizes last_axes_sizes(std::string_view op, const tensor& x, index_t count,
                                               const tensor& weight, const tensor& bias) {
  if (count < 1 || count > x.rank()) {
    raise<shape_error>(op, ": normalises over 1 to ", x.rank(), " last axes; got ", count, " for ",
                       x);
  }
  const shape sizes(std::span(x.shape().begin() + (x.rank() - count), x.shape().end()));
  for (const tensor* w : {&weight, &bias}) {
    if (w->defined() && w->shape() != sizes) {
      raise<shape_error>(op, ": weight and bias must have the sizes of the last axes ", sizes,
                         "; got ", *w, " for ", x);
    }
  }
  const index_t n = sizes.numel();
  return {.rows = n == 0 ? 0 : x.numel() / n, .channels = n};
}

inline void check_channels(std::string_view op, const tensor& x, const tensor& w) {
  if (w.defined() && (w.rank() != 1 || w.shape()[0] != x.shape()[1])) {
    raise<shape_error>(op, ": needs one value per channel, [", x.shape()[1], "]; got ", w, " for ",
                       x);
  }
}

// [c] as [1, c, 1, ...], to stand beside a tensor of this rank.
template <class = void> tensor by_channel(const tensor& w, index_t rank) {
  if (!w.defined()) return w;
  index_list sizes;
  for (index_t i = 0; i < rank; ++i) sizes.push_back(i == 1 ? w.numel() : 1);
  return reshape(w, sizes);
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class = void> struct layer_norm_op {
  index_t axes_count = 1;
  double eps = 1e-5;
  tensor statistics{};  // filled by forward
  static constexpr std::string_view name = "layer_norm";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads =
      gradient_reads(values::input(0) | values::input(1), values::input(0) | values::input(1),
                     values::input(0) | values::input(2));

  detail::row_norm_call call(const tensor& x, const tensor& w, const tensor& b) const {
    return {detail::last_axes_sizes(name, x, axes_count, w, b), true, eps};
  }
  shape result(const shape& x, const shape&, const shape&) const { return x; }
  tensor forward(const tensor& x, const tensor& w, const tensor& b) {
    return detail::row_norm_forward(name, x, w, b, statistics, call(x, w, b));
  }
  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0), w = c.wants(0) || c.wants(1) ? c.in(1) : tensor();
    return detail::row_norm_backward(c, g, x, w, statistics, call(x, w, {}));
  }
  tensor composed(const tensor& x, const tensor& w, const tensor& b) const {
    const index_list over = detail::last_axes(x.rank(), axes_count);
    return detail::weighed(detail::normalized(x, over, eps, true), w, b);
  }
};

template <class = void> struct rms_norm_op {
  index_t axes_count = 1;
  double eps = 1e-6;
  tensor statistics{};  // filled by forward
  static constexpr std::string_view name = "rms_norm";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads =
      gradient_reads(values::input(0) | values::input(1), values::input(0) | values::input(1));

  detail::row_norm_call call(const tensor& x, const tensor& w) const {
    return {detail::last_axes_sizes(name, x, axes_count, w, {}), false, eps};
  }
  shape result(const shape& x, const shape&) const { return x; }
  tensor forward(const tensor& x, const tensor& w) {
    return detail::row_norm_forward(name, x, w, {}, statistics, call(x, w));
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0), w = c.in(1);
    auto d = detail::row_norm_backward(c, g, x, w, statistics, call(x, w));
    return {d[0], d[1]};
  }
  tensor composed(const tensor& x, const tensor& w) const {
    const index_list over = detail::last_axes(x.rank(), axes_count);
    return detail::weighed(detail::normalized(x, over, eps, false), w, {});
  }
};

// Group norm; with as many groups as channels it is instance norm.
template <class = void> struct group_norm_op {
  index_t groups = 1;
  double eps = 1e-5;
  tensor statistics{};  // filled by forward
  static constexpr std::string_view name = "group_norm";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = layer_norm_op<>::reads;

  detail::row_norm_call call(const shape& x) const {
    const index_t channels = x[1] / groups;
    index_t inner = 1;
    for (index_t i = 2; i < x.rank(); ++i) inner *= x[i];
    return {{.rows = inner == 0 ? 0 : x[0] * groups,
             .channels = channels,
             .inner = inner,
             .groups = groups},
            true,
            eps};
  }
  shape result(const shape& x, const shape&, const shape&) const { return x; }
  tensor forward(const tensor& x, const tensor& w, const tensor& b) {
    if (x.rank() < 2 || groups < 1 || x.shape()[1] % groups != 0) {
      raise<shape_error>("group_norm: the channels (axis 1) must divide into ", groups,
                         " groups; got ", x);
    }
    detail::check_channels(name, x, w);
    detail::check_channels(name, x, b);
    return detail::row_norm_forward(name, x, w, b, statistics, call(x.shape()));
  }
  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0), w = c.wants(0) || c.wants(1) ? c.in(1) : tensor();
    return detail::row_norm_backward(c, g, x, w, statistics, call(x.shape()));
  }
  tensor composed(const tensor& x, const tensor& w, const tensor& b) const {
    const tensor rows = reshape(x, {x.shape()[0], groups, -1});
    const tensor y = reshape(detail::normalized(rows, {-1}, eps, true), x.shape());
    return detail::weighed(y, detail::by_channel(w, x.rank()), detail::by_channel(b, x.rank()));
  }
};

// y = (x - mean) / sqrt(variance + eps) weight + bias, mean and biased variance over the last
// `axes_count` axes (Ba, Kiros, Hinton 2016). weight and bias, either or both, have the sizes of
// these axes. Gradient with h the normalised x and v = g weight:
// (v - mean(v) - h mean(v h)) / sqrt(variance + eps); sums of g h and g. Any floating dtype, 16-bit
// ones are computed in f32. Throws shape_error.
template <class>
tensor layer_norm(const tensor& x, index_t axes_count, const tensor& weight, const tensor& bias,
                  double eps) {
  return record(layer_norm_op<>{axes_count, eps}, x, weight, bias);
}

// y = x / sqrt(mean(x^2) + eps) weight over the last `axes_count` axes (Zhang, Sennrich 2019).
// Without an eps it is that of x's dtype, as in PyTorch: 2^-23 for f32, 2^-7 for bf16.
// Gradient (v - h mean(v h)) / sqrt(..) in the terms of layer_norm; otherwise the same.
template <class>
tensor rms_norm(const tensor& x, index_t axes_count, const tensor& weight,
                std::optional<double> eps) {
  return record(rms_norm_op<>{axes_count, eps.value_or(detail::epsilon_of(x.dtype()))}, x, weight);
}

// layer_norm over each of `groups` equal parts of the channels (axis 1) with all their pixels;
// weight and bias by channel (Wu, He 2018). x [n, c, ...]. Throws shape_error where groups do not
// divide the channels.
template <class>
tensor group_norm(const tensor& x, index_t groups, const tensor& weight, const tensor& bias,
                  double eps) {
  return record(group_norm_op<>{groups, eps}, x, weight, bias);
}

// Every channel of every image by itself: group_norm with one channel a group. x [n, c, ...] with
// more than one pixel.
template <class>
tensor instance_norm(const tensor& x, const tensor& weight, const tensor& bias, double eps) {
  if (x.rank() < 3 || (x.numel() > 0 && x.numel() == x.shape()[0] * x.shape()[1])) {
    raise<shape_error>("instance_norm: takes [n, c, ...] with more than one value per channel and ",
                       "image; got ", x);
  }
  return group_norm(x, std::max<index_t>(1, x.shape()[1]), weight, bias, eps);
}

// x / max(|x|_p, eps) along an axis; f16 is computed in f32, as an eps of 1e-12 is 0 in it.
template <class> tensor normalize(const tensor& x, double p, index_t axis, double eps) {
  const bool half = x.dtype() == f16;
  const tensor wide = half ? cast(x, f32) : x;
  const tensor y = wide / maximum(norm(wide, p, {axis}, true), eps);
  return half && detail::state.rule == nullptr ? cast(y, f16) : y;  // a rule wants it wide
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call, and the rest of the family.
#include <adze/ops/batch_norm.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/ops/statistics.hpp>
