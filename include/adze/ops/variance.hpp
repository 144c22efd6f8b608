#pragma once
// SPDX-License-Identifier: MIT
// Spread of what lies along axes: var and std_dev, in two passes about a center, as one would
// cancel.
#include <adze/ops/dense.hpp>
#include <adze/ops/reduce.hpp>

namespace adze::detail::inline ADZE_ISA {

// The first element that goes into each result, in f64; something must go in.
template <class = void> tensor first_folded(const tensor& x, std::uint32_t folded) {
  return dense_as(alias(x, folded_shape(x.shape(), folded, true), x.strides()), f64);
}

// What the passes of a variance finish with. Sums run about a center in the computing type: the
// first element, then the mean, rounded; so that data far from zero keep their digits.
struct variance_finish {
  double count, divisor;
  bool narrow;  // computed in f32
  bool root;

  static void mean(const void* data, double* acc, const double* centers, index_t n) {
    const auto& f = *static_cast<const variance_finish*>(data);
    for (index_t i = 0; i < n; ++i) acc[i] = centers[i] + acc[i] / f.count;
  }
  static void variance(const void* data, double* acc, const double* means, index_t n) {
    const auto& f = *static_cast<const variance_finish*>(data);
    for (index_t i = 0; i < n; ++i) {
      const double off = f.narrow ? means[i] - static_cast<float>(means[i]) : 0.0;
      if (std::isfinite(off)) acc[i] -= f.count * off * off;
      acc[i] = (acc[i] < 0 ? 0.0 : acc[i]) / f.divisor;  // NaN stays
      if (f.root) acc[i] = std::sqrt(acc[i]);
    }
  }
};

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// The variance or its root, which is taken before the result is rounded: the variance of f16 may
// lie beyond its range where the root does not. So may that of f32 beyond f32, in which its squares
// are summed: where results say so, all is computed again in f64.
template <bool root> struct spread_op {
  index_list over{};
  double correction = 1.0;
  bool keep = false;
  static constexpr std::string_view name = root ? "std_dev" : "var";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads =
      gradient_reads(root ? values::input(0) | values::output(0) : values::input(0));

  // What the squares are divided by: 0 or less gives NaN or infinity, as in PyTorch.
  double divisor(const shape& x) const {
    const index_t n = detail::folded_count(x, detail::folded_axes(x, over, name));
    return std::max(0.0, static_cast<double>(n) - correction);
  }
  shape result(const shape& x) const { return sum_op<>{over, keep}.result(x); }
  tensor forward(const tensor& x) const {
    detail::need_floating(x, name);
    const tensor y = passes(x, x.dtype());
    const bool small = x.dtype() == f64 || x.dtype() == f16;  // whose squares the sums can hold
    return small || in_range(y) ? y : passes(detail::dense_as(x, f64), x.dtype());
  }
  tensor backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0);
    const tensor d = detail::spread(g, over, keep, x.shape(), name);
    if constexpr (root) {
      const tensor y = detail::spread(c.out(0), over, keep, x.shape(), name), none = y == 0.0;
      const tensor away = (x - mean(x, over, true)) / where(none, 1.0, y);  // by size 1
      return where(none, 0.0, away * d * (1.0 / divisor(x.shape())));
    } else {
      return (x - mean(x, over, true)) * (2.0 / divisor(x.shape())) * d;
    }
  }

 private:
  // No square was too large for f32, nor, before a root, so small that its digits are lost.
  static bool in_range(const tensor& y) {
    const tensor v = detail::dense_as(y, f64);
    const double* p = v.data_as<double>();
    return std::all_of(p, p + v.numel(),
                       [](double s) { return std::isfinite(s) && (!root || s > 0x1p-50); });
  }
  tensor passes(const tensor& x, dtype type) const {
    const std::uint32_t folded = detail::folded_axes(x.shape(), over, name);
    using finish = detail::variance_finish;
    const finish f{static_cast<double>(detail::folded_count(x.shape(), folded)), divisor(x.shape()),
                   x.dtype() != f64, root};
    if (f.count == 0) return detail::filled(result(x.shape()), type, 0.0 / f.divisor);
    const tensor first = detail::first_folded(x, folded);
    const tensor mean =
        detail::f64_fold(x, folded,
                         {.loops = &kernels::folds::loops<kernels::folds::distance>(),
                          .finish = finish::mean,
                          .finish_data = &f,
                          .center = &first});
    return detail::fold(x, folded, result(x.shape()),
                        {.loops = &kernels::folds::loops<kernels::folds::square_distance>(),
                         .finish = finish::variance,
                         .finish_data = &f,
                         .result = type,
                         .center = &mean});
  }
};

template <class = void> using var_op = spread_op<false>;
template <class = void> using std_dev_op = spread_op<true>;

// Variance over the given axes (all when none are given): sum_i (x_i - mean)^2 / (n - correction),
// in two passes. Gradient: 2 (x - mean) g / (n - correction). Floats.
template <class> tensor var(const tensor& x, const axes& over, double correction, bool keep) {
  return record(var_op<>{over, correction, keep}, x);
}
// sqrt(var(x)). Gradient: (x - mean) / ((n - correction) y) g, and 0 where y = 0.
template <class> tensor std_dev(const tensor& x, const axes& over, double correction, bool keep) {
  return record(std_dev_op<>{over, correction, keep}, x);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/compare.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
