#pragma once
// SPDX-License-Identifier: MIT
// Losses between an input and its target; cross-entropy and those with a margin have headers of
// their own. Definitions, reductions and edge cases are PyTorch's, with one
// difference: input and target must have the same shape, as a silent broadcast of [n,1] with [n]
// has cost too many people their results. Most are compositions of public ops.
#include <adze/kernels/squared_error.hpp>
#include <adze/ops/cross_entropy.hpp>

namespace adze::detail::inline ADZE_ISA {

inline void check_same_shape(std::string_view op, const tensor& x, const tensor& target) {
  if (x.shape() == target.shape()) return;
  raise<shape_error>(
      op, ": input and target must have the same shape; input ", x, ", target ", target,
      x.numel() == target.numel() ? "; reshape one of them" : "; expand one of them");
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class = void> struct mse_loss_op {
  bool average = true;  // else the sum
  static constexpr std::string_view name = "mse_loss";
  static constexpr numeric precision = numeric::wide;
  static constexpr value_set both = values::input(0) | values::input(1);
  static constexpr auto reads = gradient_reads(both, both);

  shape result(const shape&, const shape&) const { return {}; }
  tensor forward(const tensor& x, const tensor& target) const {
    detail::check_same_shape(name, x, target);
    const dtype type = detail::floating_compute_type(name, x);
    const dtype other = detail::floating_compute_type(name, target);
    if (other != type) {
      raise<dtype_error>(name, ": input and target differ in dtype; got ", x, " and ", target);
    }
    const tensor a = detail::dense_as(x, type), b = detail::dense_as(target, type);
    tensor partial = empty({kernels::error_blocks(x.numel())}, f64), y = empty({}, x.dtype());
    double* sums = partial.data_as<double>();
    double total =
        type == f32
            ? kernels::squared_error(a.data_as<float>(), b.data_as<float>(), x.numel(), sums)
            : kernels::squared_error(a.data_as<double>(), b.data_as<double>(), x.numel(), sums);
    if (average) total /= static_cast<double>(x.numel());
    kernels::copy({}, detail::operand_of(y), {&total, f64, {}});
    return y;
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0), t = c.in(1);
    const double factor = average ? 2.0 / static_cast<double>(x.numel()) : 2.0;
    const tensor d = c.create() ? (x - t) * (g * factor) : slope(x, t, g.item<double>() * factor);
    return {d, c.wants(1) ? -d : tensor()};
  }

 private:
  static tensor slope(const tensor& x, const tensor& target, double factor) {
    const dtype type = x.dtype() == f64 ? f64 : f32;
    const tensor a = detail::dense_as(x, type), b = detail::dense_as(target, type);
    tensor d = empty(x.shape(), type);
    if (type == f32) {
      kernels::scaled_difference(a.data_as<float>(), b.data_as<float>(), static_cast<float>(factor),
                                 d.data_as<float>(), x.numel());
    } else {
      kernels::scaled_difference(a.data_as<double>(), b.data_as<double>(), factor,
                                 d.data_as<double>(), x.numel());
    }
    return detail::dense_as(d, x.dtype());
  }
};

namespace functors {

struct binary_cross_entropy_f {  // logarithms no smaller than -100
  static constexpr std::string_view name = "binary_cross_entropy";
  static constexpr auto reads =
      gradient_reads(values::input(0) | values::input(1), values::input(0));
  template <class V> V f(const V& p, const V& t) const {
    return (t - 1.0) * maximum(log1p(-p), -100.0) - t * maximum(log(p), -100.0);
  }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context& c, const tensor& g) const {
    const tensor p = c.in(0);
    return {c.wants(0) ? slope(p, c.in(1), g) : tensor(),
            c.wants(1) ? g * (maximum(log1p(-p), -100.0) - maximum(log(p), -100.0)) : tensor()};
  }

 private:
  // In f16 1e-12 is 0 and its reciprocal infinite: computed in f32 and held to what f16 holds.
  template <class = void> static tensor slope(const tensor& p, const tensor& t, const tensor& g) {
    const bool half = p.dtype() == f16;
    const tensor wide = half ? cast(p, f32) : p;
    const tensor s = (wide - t) / maximum(wide * (1.0 - wide), 1e-12);
    return half ? cast(g * clamp(s, -65504.0, 65504.0), f16) : g * s;
  }
};

// |x| (1 - t) where x > 0, else |x| t, and log(1 + e^-|x|); 0 times infinity is 0.
struct bce_with_logits_f {
  static constexpr std::string_view name = "binary_cross_entropy_with_logits";
  static constexpr auto reads =
      gradient_reads(values::input(0) | values::input(1), values::input(0));
  template <class V> V f(const V& x, const V& t) const {
    const V share = where(x > 0.0, 1.0 - t, t);
    return where(share == 0.0, 0.0, abs(x) * share) + log1p(exp(-abs(x)));
  }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context& c, const tensor& g) const {
    return {c.wants(0) ? g * (sigmoid(c.in(0)) - c.in(1)) : tensor(),
            c.wants(1) ? -(g * c.in(0)) : tensor()};
  }
};

}  // namespace functors

template <class = void> struct binary_cross_entropy_op : binary<functors::binary_cross_entropy_f> {
  static constexpr numeric precision = numeric::wide;
};
template <class = void> struct bce_with_logits_op : binary<functors::bce_with_logits_f> {
  static constexpr numeric precision = numeric::wide;
};

// (x - target)^2. Gradient 2 (x - target), of the mean divided by the number of elements; an empty
// mean is NaN. x and target: one shape, floating. Errors: shape_error, dtype_error.
template <class> tensor mse_loss(const tensor& x, const tensor& target, reduction reduce) {
  if (reduce != reduction::none) {
    return record(mse_loss_op<>{reduce == reduction::mean}, x, target);
  }
  detail::check_same_shape("mse_loss", x, target);
  return square(x - target);
}

// |x - target|; slope 0 where they are equal.
template <class> tensor l1_loss(const tensor& x, const tensor& target, reduction reduce) {
  detail::check_same_shape("l1_loss", x, target);
  return detail::reduce_loss(abs(x - target), reduce);
}

// d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2. beta = 0 is the l1 loss.
template <class>
tensor smooth_l1_loss(const tensor& x, const tensor& target, double beta, reduction reduce) {
  detail::check_same_shape("smooth_l1_loss", x, target);
  if (!(beta >= 0.0)) raise<value_error>("smooth_l1_loss: beta must be >= 0; got ", beta);
  if (beta == 0.0) return l1_loss(x, target, reduce);
  const tensor d = abs(x - target), near = d < beta;
  const tensor squares = square(where(near, d, 0.0));  // of the near alone: infinity has a slope
  return detail::reduce_loss(where(near, squares * (0.5 / beta), d - 0.5 * beta), reduce);
}

// d^2 / 2 where d = |x - target| <= delta, else delta (d - delta / 2).
template <class>
tensor huber_loss(const tensor& x, const tensor& target, double delta, reduction reduce) {
  detail::check_same_shape("huber_loss", x, target);
  if (!(delta > 0.0)) raise<value_error>("huber_loss: delta must be > 0; got ", delta);
  const tensor d = abs(x - target), near = d <= delta;
  const tensor squares = square(where(near, d, 0.0));  // as in smooth_l1_loss
  return detail::reduce_loss(where(near, squares * 0.5, (d - 0.5 * delta) * delta), reduce);
}

// -w (t log p + (1 - t) log(1 - p)) for probabilities p; logarithms stop at -100, and the gradient
// w (p - t) / max(p (1 - p), 1e-12) stays finite: the quotient ends at 65504 in f16. The mean is
// over all elements, whatever w.
// Errors: value_error for p outside 0..1 (NaN included).
template <class>
tensor binary_cross_entropy(const tensor& p, const tensor& target, const bce_options& o) {
  detail::check_same_shape("binary_cross_entropy", p, target);
  if (o.positive_weight.defined()) {
    raise<value_error>("binary_cross_entropy: positive_weight needs logits; got ",
                       o.positive_weight, "; binary_cross_entropy_with_logits takes it");
  }
  {
    const no_grad guard;
    if (!all((p >= 0.0) && (p <= 1.0)).item<bool>()) {
      raise<value_error>("binary_cross_entropy: probabilities must be in 0..1; got ", p,
                         " with others; binary_cross_entropy_with_logits takes any number");
    }
  }
  tensor loss = record(binary_cross_entropy_op<>{}, p, target);
  if (o.weight.defined()) loss = loss * o.weight;
  return detail::reduce_loss(loss, o.reduce);
}

// -w (v t log s + (1 - t) log(1 - s)) with s = sigmoid(x) and v = positive_weight (1 by default,
// broadcast), from log(1 + e^-|x|), so that no logit overflows. Infinite logits give their limits,
// 0 or infinity. Gradient for v = 1: w (s - t).
template <class>
tensor binary_cross_entropy_with_logits(const tensor& x, const tensor& target,
                                        const bce_options& o) {
  detail::check_same_shape("binary_cross_entropy_with_logits", x, target);
  tensor loss;
  if (o.positive_weight.defined()) {
    // A part without a share does not see its infinity, which 0 would make NaN.
    const double most = x.dtype() == f16 ? 65504.0 : 3e38;
    const tensor share = o.positive_weight * target, rest = 1.0 - target;
    const tensor z = where(where(x > 0.0, rest, share) == 0.0, clamp(x, -most, most), x);
    loss = -(share * log_sigmoid(z) + rest * log_sigmoid(-z));
  } else {
    loss = record(bce_with_logits_op<>{}, x, target);
  }
  if (o.weight.defined()) loss = loss * o.weight;
  return detail::reduce_loss(loss, o.reduce);
}

// t (log t - x) for log-probabilities x, 0 with gradient 0 where t is 0, whatever x; e^t (t - x)
// with log_target. `batch_mean` divides the sum by the size of axis 0, which is the definition;
// `mean` divides by all elements.
template <class> tensor kl_div(const tensor& log_p, const tensor& target, const kl_options& o) {
  detail::check_same_shape("kl_div", log_p, target);
  if (o.batch_mean && o.reduce != reduction::mean) {
    raise<value_error>("kl_div: batch_mean is a reduction of its own; got another in `reduce` too");
  }
  tensor loss;
  if (o.log_target) {
    loss = exp(target) * (target - log_p);
  } else {
    const tensor zero = target == 0.0;
    loss = target * (log(where(zero, 1.0, target)) - where(zero, 0.0, log_p));
  }
  if (!o.batch_mean) return detail::reduce_loss(loss, o.reduce);
  if (log_p.rank() == 0) raise<shape_error>("kl_div: batch_mean needs a batch axis; got ", log_p);
  if (log_p.rank() == 1) return mean(loss);  // by ops, so that a graph divides by its own batch
  axes rest;
  for (index_t i = 1; i < log_p.rank(); ++i) rest.push_back(i);
  return mean(sum(loss, rest));
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/activation.hpp>
#include <adze/ops/compare.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/reduce.hpp>
