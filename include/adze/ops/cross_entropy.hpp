#pragma once
// SPDX-License-Identifier: MIT
// Cross-entropy from logits, fused for class indices. Definitions, reductions and edge cases are
// PyTorch's. From log-probabilities it is in nll_loss.hpp, other losses are in loss.hpp.
#include <adze/kernels/cross_entropy.hpp>
#include <adze/ops/dense.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::detail::inline ADZE_ISA {

// The axis of the classes: 1, or 0 where there is no batch.
inline index_t class_axis(const tensor& x) { return x.rank() == 1 ? 0 : 1; }

// x [n, c, ...] as dense rows [n, ..., c].
template <class = void> tensor class_rows(const tensor& x, dtype type) {
  if (x.rank() <= 2) return dense_as(x, type);
  shape sizes = x.shape().erased(1);
  sizes = sizes.inserted(sizes.rank(), x.shape()[1]);
  dims strides{};
  strides[0] = x.strides()[0];
  for (index_t i = 2; i < x.rank(); ++i) {
    strides[static_cast<std::size_t>(i - 1)] = x.strides()[static_cast<std::size_t>(i)];
  }
  strides[static_cast<std::size_t>(x.rank() - 1)] = x.strides()[1];
  return dense_as(alias(x, sizes, strides), type);
}
// Rows [n, ..., c] as [n, c, ...] over the same memory.
inline tensor from_class_rows(const tensor& rows, const shape& sizes) {
  if (sizes.rank() <= 2) return rows;
  dims strides{};
  strides[0] = rows.strides()[0];
  strides[1] = 1;
  for (index_t i = 2; i < sizes.rank(); ++i) {
    strides[static_cast<std::size_t>(i)] = rows.strides()[static_cast<std::size_t>(i - 1)];
  }
  return alias(rows, sizes, strides);
}

// Shapes, dtypes and the range of class indices; returns them dense.
template <class = void>
tensor checked_classes(std::string_view op, const tensor& x, const tensor& target,
                       const tensor& weight, index_t ignore_index) {
  if (x.rank() == 0) raise<shape_error>(op, ": needs an axis of classes; got ", x);
  const index_t axis = class_axis(x), classes = x.shape()[axis];
  if (!is_integral(target.dtype())) {
    raise<dtype_error>(op, ": class indices must be integers; got ", target,
                       "; probabilities must have the shape of the logits ", x.shape());
  }
  if (target.shape() != x.shape().erased(axis)) {
    raise<shape_error>(op, ": the target must have the shape of the input without axis ", axis,
                       "; input ", x, ", target ", target);
  }
  if (weight.defined() && weight.shape() != shape{classes}) {
    raise<shape_error>(op, ": needs one weight per class; input ", x, ", weight ", weight);
  }
  const tensor t = dense_as(target, i64);
  const std::int64_t* p = t.data_as<std::int64_t>();
  for (index_t i = 0; i < t.numel(); ++i) {
    if ((p[i] < 0 || p[i] >= classes) && p[i] != ignore_index) {
      raise<value_error>(op, ": class ", p[i], " at position ", i, " is outside 0..", classes - 1,
                         "; input ", x, "; ignore_index is ", ignore_index);
    }
  }
  return t;
}

inline void check_class_weight(std::string_view op, const tensor& weight) {
  if (!weight.requires_grad()) return;
  raise<state_error>(op, ": the weight has no gradient; got ", weight,
                     " that requires grad; detach it");
}

template <class = void> tensor reduce_loss(const tensor& loss, reduction reduce) {
  if (reduce == reduction::none) return loss;
  return reduce == reduction::sum ? sum(loss) : mean(loss);
}

// The number that `mean` divides a sum over class indices by: the weights of those that count.
template <class = void>
double total_weight(const tensor& classes, const tensor& weight, index_t ignore_index) {
  const tensor w = weight.defined() ? dense_as(weight, f64) : tensor();
  const std::int64_t* t = classes.data_as<std::int64_t>();
  double total = 0;
  for (index_t i = 0; i < classes.numel(); ++i) {
    if (t[i] != ignore_index) total += w.defined() ? w.data_as<double>()[t[i]] : 1.0;
  }
  return total;
}

// The shares q, of the shape of x, for which the losses of class indices are sum_j q_j log p_j:
// -q_j = (1 - e) w_j [j = t] + e w_j / classes, 0 where t is ignored.
template <class = void>
tensor target_shares(const tensor& x, const tensor& classes, const tensor& weight,
                     index_t ignore_index, double smoothing) {
  const index_t n = x.shape()[class_axis(x)], rows = classes.numel();
  tensor q = zeros_of(classes.shape().inserted(classes.rank(), n), f64);
  const tensor w = weight.defined() ? dense_as(weight, f64) : tensor();
  const std::int64_t* t = classes.data_as<std::int64_t>();
  for (index_t i = 0; i < rows; ++i) {
    if (t[i] == ignore_index) continue;
    double* row = q.data_as<double>() + i * n;
    for (index_t j = 0; j < n; ++j) {
      const double share = smoothing / static_cast<double>(n) + (j == t[i] ? 1.0 - smoothing : 0.0);
      row[j] = -(w.defined() ? share * w.data_as<double>()[j] : share);
    }
  }
  return from_class_rows(dense_as(q, x.dtype()), x.shape());
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class = void> struct cross_entropy_op {
  index_t ignore_index = -100;
  double label_smoothing = 0.0;
  reduction reduce = reduction::mean;
  tensor statistics{};  // [2, rows]: shift and scale of each row's softmax
  double denominator = 1.0;

  static constexpr std::string_view name = "cross_entropy";
  static constexpr numeric precision = numeric::wide;
  static constexpr value_set all = values::input(0) | values::input(1) | values::input(2);
  static constexpr auto reads = gradient_reads(all, values::nothing, values::nothing);

  shape result(const shape&, const shape& target, const shape&) const {
    return reduce == reduction::none ? target : shape{};
  }

  tensor forward(const tensor& x, const tensor& target, const tensor& weight) {
    const dtype type = detail::floating_compute_type(name, x);
    const tensor t = detail::checked_classes(name, x, target, weight, ignore_index);
    return detail::dense_as(run(x, t, weight, type), x.dtype());
  }

  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0), t = detail::dense_as(c.in(1), i64);
    return {
        detail::from_class_rows(detail::dense_as(slope(x, t, c.in(2), g), x.dtype()), x.shape()),
        {},
        {}};
  }

  // The same from distributions, which are constants; ignored rows may hold anything. Its mean is
  // 0 where no row counts: only gradients are taken from here, and the NaN of forward has none.
  tensor composed(const tensor& x, const tensor& target, const tensor& weight) const {
    const tensor t = detail::dense_as(target, i64);
    const tensor q = detail::target_shares(x, t, weight, ignore_index, label_smoothing);
    const index_t axis = detail::class_axis(x);
    const tensor ignored = t == static_cast<double>(ignore_index);
    const tensor counted = where(unsqueeze(ignored, axis), 0.0, x);
    const tensor loss = sum(log_softmax(counted, axis) * q, {axis});
    if (reduce != reduction::mean) return detail::reduce_loss(loss, reduce);
    const bool none = detail::total_weight(t, {}, ignore_index) == 0.0;
    return sum(loss) * (none ? 1.0 : 1.0 / detail::total_weight(t, weight, ignore_index));
  }

 private:
  template <class T>
  kernels::cross_entropy_rows<T> rows_of(const tensor& logits, const tensor& target,
                                         const tensor& weight, tensor& stats) const {
    const index_t rows = target.numel();
    return {.rows = rows,
            .classes = logits.shape().back(),
            .logits = logits.data_as<T>(),
            .target = target.data_as<std::int64_t>(),
            .weight = weight.defined() ? weight.data_as<T>() : nullptr,
            .ignore_index = ignore_index,
            .smoothing = label_smoothing,
            .shift = stats.data_as<T>(),
            .scale = stats.data_as<T>() + rows};
  }

  // f.operator()<float>() or, where that is the type computed in, f.operator()<double>().
  template <class F> static void in_type(dtype type, F f) {
    type == f32 ? f.template operator()<float>() : f.template operator()<double>();
  }

  tensor run(const tensor& x, const tensor& target, const tensor& weight, dtype type) {
    const tensor logits = detail::class_rows(x, type);
    const tensor w = weight.defined() ? detail::dense_as(weight, type) : tensor();
    statistics = empty({2, target.numel()}, type);
    tensor loss = empty(target.shape(), type);
    double total = 0.0;
    in_type(type, [&]<class T>() {
      T* const losses = loss.data_as<T>();
      kernels::cross_entropy_losses(rows_of<T>(logits, target, w, statistics), losses);
      for (index_t i = 0; reduce != reduction::none && i < target.numel(); ++i) {
        total += static_cast<double>(losses[i]);
      }
    });
    if (reduce == reduction::none) return loss;
    if (reduce == reduction::mean) {
      denominator = detail::total_weight(target, weight, ignore_index);
    }
    tensor y = empty({}, type);
    in_type(type, [&]<class T>() { *y.data_as<T>() = static_cast<T>(total / denominator); });
    return y;
  }

  tensor slope(const tensor& x, const tensor& target, const tensor& weight, const tensor& g) const {
    tensor stats = statistics;
    const dtype type = stats.dtype();
    const tensor logits = detail::class_rows(x, type);
    const tensor w = weight.defined() ? detail::dense_as(weight, type) : tensor();
    tensor d = empty(logits.shape(), type);
    const bool own = reduce == reduction::none;  // a factor for each row
    const tensor each = own ? detail::dense_as(g, type) : tensor();
    const double shared = own ? 0.0 : g.item<double>() / denominator;
    in_type(type, [&]<class T>() {
      const T one = static_cast<T>(shared);
      kernels::cross_entropy_slopes(rows_of<T>(logits, target, w, stats),
                                    own ? each.data_as<T>() : &one, own ? 1 : 0, d.data_as<T>());
    });
    return d;
  }
};

// Cross-entropy of logits [n, c] or [n, c, ...] (or [c]) with either class indices, integers of
// shape [n, ...], or probabilities of the shape of the logits. With p = softmax(logits) over c:
//   indices:       l_i = -(1 - e) w_t log p_t - e / c sum_j w_j log p_j; 0 where t = ignore_index
//   probabilities: l_i = -sum_j w_j q_j log p_j, q = (1 - e) target + e / c
// with e = label_smoothing and w = weight (1 by default). `mean` divides the sum by that of the
// weights of the targets that count (indices; NaN where none does) or by the number of rows
// (probabilities). Gradients: logits, and probabilities. f16 and bf16 are computed in f32.
// Errors: shape_error, dtype_error; value_error for a class outside 0..c-1 and for e outside 0..1;
// state_error for a weight that requires grad.
template <class>
tensor cross_entropy(const tensor& logits, const tensor& target, const cross_entropy_options& o) {
  if (!(o.label_smoothing >= 0.0 && o.label_smoothing <= 1.0)) {
    raise<value_error>("cross_entropy: label_smoothing must be in 0..1; got ", o.label_smoothing);
  }
  detail::check_class_weight("cross_entropy", o.weight);
  if (!is_floating(target.dtype())) {
    return record(cross_entropy_op<>{o.ignore_index, o.label_smoothing, o.reduce}, logits, target,
                  o.weight);
  }
  if (logits.rank() == 0 || target.shape() != logits.shape()) {
    raise<shape_error>("cross_entropy: probabilities must have the shape of the logits; logits ",
                       logits, ", target ", target, "; class indices are i64");
  }
  const index_t axis = detail::class_axis(logits), classes = logits.shape()[axis];
  tensor q = target;
  if (o.label_smoothing != 0) {
    q = q * (1.0 - o.label_smoothing) +
        detail::one_number("cross_entropy", q.dtype(),
                           o.label_smoothing / static_cast<double>(classes));
  }
  if (o.weight.defined()) {
    if (o.weight.shape() != shape{classes}) {
      raise<shape_error>("cross_entropy: needs one weight per class; logits ", logits, ", weight ",
                         o.weight);
    }
    shape wide;
    for (index_t i = 0; i < logits.rank(); ++i) wide = wide.inserted(i, i == axis ? classes : 1);
    q = q * reshape(o.weight, wide);
  }
  // Times -1: a program compiles that for gradients, but an opposite for nothing else.
  const tensor loss = sum(log_softmax(logits, axis) * q, {axis}) * -1.0;
  return detail::reduce_loss(loss, o.reduce);
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/compare.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/ops/softmax.hpp>
