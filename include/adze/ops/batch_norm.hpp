#pragma once
// SPDX-License-Identifier: MIT
// Batch norm: two ops, one that takes the statistics of the batch and updates the running ones,
// and one that uses the running ones. Row-major and channels-last x are read as they stand.
#include <adze/ops/batch_norm_parts.hpp>
#include <adze/ops/norm.hpp>

namespace adze::detail::inline ADZE_ISA {

inline index_list but_channels(index_t rank) {
  index_list over{0};
  for (index_t i = 2; i < rank; ++i) over.push_back(i);
  return over;
}

template <class = void>
void check_batch_norm(const tensor& x, std::initializer_list<const tensor*> by_channel) {
  floating_compute_type("batch_norm", x);
  if (x.rank() < 2) {
    raise<shape_error>("batch_norm: takes [n, c] or [n, c, ...]; got ", x);
  }
  for (const tensor* w : by_channel) check_channels("batch_norm", x, *w);
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// Training: statistics of the batch.
template <class = void> struct batch_norm_op {
  double momentum = 0.1;
  double eps = 1e-5;
  detail::batch_norm_saved saved{};
  static constexpr std::string_view name = "batch_norm";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads =
      gradient_reads(values::input(0) | values::input(1), values::input(0) | values::input(1),
                     values::input(0) | values::input(2), values::nothing, values::nothing);
  static constexpr value_set keeps = values::input(3) | values::input(4);
  static constexpr value_set writes = values::input(3) | values::input(4);
  static constexpr std::string_view axes = "nc...,c,c,c,c->nc...";

  shape result(const shape& x, const shape&, const shape&, const shape&, const shape&) const {
    return x;
  }
  tensor forward(const tensor& x, const tensor& w, const tensor& b, const tensor& running_mean,
                 const tensor& running_var) {
    detail::check_batch_norm(x, {&w, &b, &running_mean, &running_var});
    const tensor in = detail::batch_norm_input(x);
    saved = detail::batch_statistics(in, eps, {running_mean, running_var, momentum});
    saved.numbers = detail::batch_norm_numbers(in, saved, w, b);
    return detail::batch_norm_apply(in, saved.numbers);
  }
  std::array<tensor, 5> backward(backward_context& c, const tensor& g) const {
    return detail::batch_norm_backward(c, g, saved, true);
  }
  tensor composed(const tensor& x, const tensor& w, const tensor& b, const tensor&,
                  const tensor&) const {
    return detail::weighed(detail::normalized(x, detail::but_channels(x.rank()), eps, true),
                           detail::by_channel(w, x.rank()), detail::by_channel(b, x.rank()));
  }
};

// Evaluation: running statistics, which are constants. Nothing is updated.
template <class = void> struct batch_norm_eval_op {
  double eps = 1e-5;
  detail::batch_norm_saved saved{};
  static constexpr std::string_view name = "batch_norm_eval";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads =
      gradient_reads(values::input(1), values::input(0) | values::input(1), values::input(2),
                     values::nothing, values::nothing);
  static constexpr value_set keeps = values::input(3) | values::input(4);
  static constexpr std::string_view axes = "nc...,c,c,c,c->nc...";

  shape result(const shape& x, const shape&, const shape&, const shape&, const shape&) const {
    return x;
  }
  tensor forward(const tensor& x, const tensor& w, const tensor& b, const tensor& running_mean,
                 const tensor& running_var) {
    detail::check_batch_norm(x, {&w, &b, &running_mean, &running_var});
    saved = {detail::f64_copy(running_mean), detail::f64_copy(running_var)};
    double* v = saved.rstd.data_as<double>();
    for (index_t i = 0; i < saved.rstd.numel(); ++i) v[i] = 1 / std::sqrt(v[i] + eps);
    const tensor in = detail::batch_norm_input(x);
    saved.numbers = detail::batch_norm_numbers(in, saved, w, b);
    return detail::batch_norm_apply(in, saved.numbers);
  }
  std::array<tensor, 5> backward(backward_context& c, const tensor& g) const {
    if (!c.create()) return detail::batch_norm_backward(c, g, saved, false);
    const index_t rank = g.rank();
    const tensor scale = detail::by_channel(cast(saved.rstd, g.dtype()), rank);
    const tensor mean = detail::by_channel(cast(saved.mean, g.dtype()), rank);
    std::array<tensor, 5> d;
    if (c.wants(0)) d[0] = detail::weighed(g * scale, detail::by_channel(c.in(1), rank), {});
    if (c.wants(1)) d[1] = sum(g * (c.in(0) - mean) * scale, detail::but_channels(rank));
    if (c.wants(2)) d[2] = sum(g, detail::but_channels(rank));
    return d;
  }
};

// y = (x - mean) / sqrt(variance + eps) weight + bias by channel (axis 1) of [n, c, ...]
// (Ioffe, Szegedy 2015). Training takes mean and biased variance of the batch and updates the
// running ones: running = (1 - momentum) running + momentum now, with the unbiased variance; not
// for an empty batch, nor when a checkpoint recomputes. Otherwise the running ones are used. All of
// weight, bias and, in training, the running statistics may be undefined. Gradient as for
// layer_norm; in evaluation that of a scale and a shift. Row-major or channels-last, any floating
// dtype, 16-bit ones computed in f32. Throws shape_error, also in training with a single value per
// channel; then also for running statistics that are integers (dtype_error) or share memory
// (value_error).
template <class>
tensor batch_norm(const tensor& x, const tensor& weight, const tensor& bias,
                  const tensor& running_mean, const tensor& running_var,
                  const batch_norm_options& o) {
  if (o.training) {
    return record(batch_norm_op<>{o.momentum, o.eps}, x, weight, bias, running_mean, running_var);
  }
  if (!running_mean.defined() || !running_var.defined()) {
    raise<value_error>("batch_norm: evaluation needs running_mean and running_var; got ",
                       running_mean, " and ", running_var, "; training = true uses the batch's");
  }
  return record(batch_norm_eval_op<>{o.eps}, x, weight, bias, running_mean, running_var);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/reduce.hpp>
