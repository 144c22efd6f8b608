#pragma once
// SPDX-License-Identifier: MIT
// What the ops of batch norm share: operands as the kernels see them, statistics of a batch and the
// running ones, results and first gradients.
#include <adze/kernels/batch_norm.hpp>
#include <adze/ops/dense.hpp>

namespace adze::detail::inline ADZE_ISA {

// Dense x as the kernels see it: columns where channels are innermost, else segments.
template <class = void> tensor batch_norm_input(const tensor& x) {
  return x.is_contiguous() || is_channels_last(x) ? x : dense_as(x, x.dtype());
}
inline kernels::const_elements elements_of(const tensor& x) { return {x.data(), x.dtype()}; }
inline kernels::elements result_elements_of(tensor& x) { return {x.data(), x.dtype()}; }
inline kernels::batch_norm_sizes batch_norm_sizes_of(const tensor& x) {
  const index_t n = x.shape()[0], c = x.shape()[1];
  index_t pixels = 1;
  for (index_t i = 2; i < x.rank(); ++i) pixels *= x.shape()[i];
  if (!x.is_contiguous()) return {.outer = n * pixels, .channels = c};
  return {.outer = n, .channels = c, .inner = pixels};
}

// A vector of numbers in f64, whatever it is kept in; `value` where it is undefined.
template <class = void> tensor channel_values(const tensor& w, index_t channels, double value) {
  if (w.defined()) return dense_as(w, f64);
  tensor y = empty({channels}, f64);
  std::fill_n(y.data_as<double>(), channels, value);
  return y;
}

template <class = void> tensor f64_copy(const tensor& x) {
  tensor y = empty(x.shape(), f64);
  kernels::copy(x.shape(), operand_of(y), operand_of(x));
  return y;
}

// What forward leaves for the gradient.
struct batch_norm_saved {
  tensor mean{}, rstd{};  // f64 [c]
  tensor numbers{};       // [4, c], see batch_norm_numbers
};

// What kernels subtract, multiply and add by channel: [4, c] in the computing type.
template <class = void>
tensor batch_norm_numbers(const tensor& in, const batch_norm_saved& saved, const tensor& weight,
                          const tensor& bias) {
  const index_t c = in.shape()[1];
  tensor scale = f64_copy(saved.rstd);
  const tensor w = channel_values(weight, c, 1), b = channel_values(bias, c, 0);
  for (index_t i = 0; i < c; ++i) scale.data_as<double>()[i] *= w.data_as<double>()[i];
  tensor four = empty({4, c}, compute_type(in.dtype()));
  dispatch(float_types{}, four.dtype(), "batch_norm", [&]<class T>() {
    kernels::spread(c, saved.mean.data_as<double>(), scale.data_as<double>(), b.data_as<double>(),
                    four.data_as<T>());
  });
  return four;
}

// y = (x - mean) rstd weight + bias, finished, laid out like x, which is an input of the kernels.
template <class = void>
tensor batch_norm_apply(const tensor& in, const tensor& four,
                        const kernels::norm_finish& finish = {}) {
  tensor y = empty_like(in);
  dispatch(float_types{}, four.dtype(), "batch_norm", [&]<class T>() {
    kernels::batch_norm_apply<T>(elements_of(in), result_elements_of(y), batch_norm_sizes_of(in),
                                 four.data_as<T>(), finish);
  });
  return y;
}

// Sums of g and of g (x - mean) by channel, where g passes the gate: [2, c].
template <class = void>
tensor batch_norm_sums(const tensor& g, const tensor& x, const tensor& numbers,
                       const kernels::norm_gate& gate) {
  const kernels::batch_norm_sizes s = batch_norm_sizes_of(x);
  tensor sums = empty({2, s.channels}, f64);
  tensor workspace = empty({kernels::batch_norm_workspace(s)}, f64);
  const auto run = [&]<class T>() {
    double* sum = sums.data_as<double>();
    kernels::batch_norm_sums(elements_of(g), elements_of(x), s, numbers.data_as<T>(), gate, sum,
                             sum + s.channels, workspace.data_as<double>());
  };
  dispatch(float_types{}, compute_type(x.dtype()), "batch_norm", run);
  return sums;
}

// The gradients of x, weight and bias; in training the statistics are functions of x too. A gate
// is for training.
template <class = void>
std::array<tensor, 5> batch_norm_backward(backward_context& c, const tensor& gradient,
                                          const batch_norm_saved& saved, bool training,
                                          const kernels::norm_gate& gate = {}) {
  const bool sums_wanted = c.wants(1) || c.wants(2) || training;
  const bool reads_x = training || c.wants(1);
  const tensor original = reads_x ? c.in(0) : gradient;
  const tensor x = batch_norm_input(original), g = dense_like(gradient, x, x.dtype());
  const kernels::batch_norm_sizes s = batch_norm_sizes_of(x);
  const index_t n = s.channels;
  const double* rstd = saved.rstd.data_as<double>();
  const tensor sums = sums_wanted ? batch_norm_sums(g, x, saved.numbers, gate) : tensor();
  std::array<tensor, 5> d;
  if (c.wants(1)) {
    tensor w = empty({n}, f64);
    const double* product = sums.data_as<double>() + n;
    for (index_t i = 0; i < n; ++i) w.data_as<double>()[i] = product[i] * rstd[i];
    d[1] = dense_as(w, c.in_type(1));
  }
  if (c.wants(2)) d[2] = dense_as(alias(sums, {n}, {1}), c.in_type(2));
  if (!c.wants(0)) return d;
  const tensor w = channel_values(c.in(1), n, 1);
  tensor table = empty({3, n}, f64), three = empty({3 * n}, saved.numbers.dtype());
  tensor dx = empty_like(x);
  double *slope = table.data_as<double>(), *along = slope + n, *shift = along + n;
  const double count = static_cast<double>(s.count());
  for (index_t i = 0; i < n; ++i) {
    slope[i] = w.data_as<double>()[i] * rstd[i];
    if (!training) continue;
    const double* sum = sums.data_as<double>();
    along[i] = -slope[i] * rstd[i] * rstd[i] * sum[n + i] / count;
    shift[i] = -slope[i] * sum[i] / count;
  }
  const kernels::batch_norm_slopes k{slope, training ? along : nullptr, shift};
  dispatch(float_types{}, saved.numbers.dtype(), "batch_norm", [&]<class T>() {
    const kernels::batch_norm_gradient_data<T> data{
        elements_of(g), elements_of(x), result_elements_of(dx), gate, saved.numbers.data_as<T>()};
    kernels::batch_norm_input_gradient<T>(data, s, k, three.data_as<T>());
  });
  d[0] = dense_keeping(dx, c.in_type(0));
  return d;
}

// running = (1 - momentum) running + momentum now, in its own dtype.
template <class = void>
void update_running(const tensor& running, const double* now, double momentum) {
  if (!running.defined()) return;
  const tensor before = dense_as(running, f64);
  tensor after = empty(running.shape(), f64);
  for (index_t i = 0; i < running.numel(); ++i) {
    after.data_as<double>()[i] = (1 - momentum) * before.data_as<double>()[i] + momentum * now[i];
  }
  kernels::copy(running.shape(), operand_of(running), operand_of(after));
}

struct running_statistics {
  const tensor &mean, &var;
  double momentum;
};

// What could not take its updates, or would take those of another.
template <class = void> void check_running(const running_statistics& running) {
  const tensor &mean = running.mean, &var = running.var;
  for (const tensor* s : {&mean, &var}) {
    if (!s->defined()) continue;
    if (!is_floating(s->dtype())) {
      raise<dtype_error>("batch_norm: running statistics must be floating; got ", *s,
                         "; cast(x, f32) first");
    }
    if (overlaps_itself(*s)) {
      raise<value_error>("batch_norm: elements of the running statistics ", *s,
                         " share memory (an expanded axis); clone() it");
    }
  }
  if (!mean.defined() || !var.defined() || mean.impl().store != var.impl().store) return;
  const index_t step = std::max<index_t>(1, mean.strides()[0] * size_of(mean.dtype()));
  const index_t gap =
      static_cast<const std::byte*>(var.data()) - static_cast<const std::byte*>(mean.data());
  if (gap % step == 0 && std::abs(gap / step) < mean.numel()) {
    raise<value_error>("batch_norm: running_mean and running_var share memory; got ", mean, " and ",
                       var, "; clone() one");
  }
}

// Mean and reciprocal deviation of the batch, an input of the kernels; the running ones follow.
template <class = void>
batch_norm_saved batch_statistics(const tensor& in, double eps, const running_statistics& running) {
  const kernels::batch_norm_sizes s = batch_norm_sizes_of(in);
  if (s.count() == 1) {
    raise<shape_error>("batch_norm: training needs more than one value per channel; got ", in,
                       "; take a larger batch or eval() mode");
  }
  check_running(running);
  batch_norm_saved saved{empty({s.channels}, f64), empty({s.channels}, f64)};
  tensor var = empty({s.channels}, f64);
  tensor workspace = empty({kernels::batch_norm_workspace(s)}, f64);
  double *mean = saved.mean.data_as<double>(), *rstd = saved.rstd.data_as<double>();
  double* const squares = var.data_as<double>();
  dispatch(float_types{}, compute_type(in.dtype()), "batch_norm", [&]<class T>() {
    kernels::batch_norm_moments<T>(elements_of(in), s, mean, squares, workspace.data_as<double>());
  });
  const double count = static_cast<double>(s.count());
  for (index_t i = 0; i < s.channels; ++i) {
    rstd[i] = 1 / std::sqrt(squares[i] / std::max(count, 1.0) + eps);
    squares[i] /= count - 1;
  }
  if (!state.recomputing && s.count() > 1) {
    update_running(running.mean, mean, running.momentum);
    update_running(running.var, squares, running.momentum);
  }
  return saved;
}

}  // namespace adze::detail::inline ADZE_ISA
