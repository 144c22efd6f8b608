#pragma once
// SPDX-License-Identifier: MIT
// Size of what lies along axes: norm, logsumexp, cumsum. Two passes where one would overflow
// (logsumexp). Spread is in variance.hpp.
#include <adze/ops/dense.hpp>
#include <adze/ops/reduce.hpp>

namespace adze::inline ADZE_ISA {

template <class = void> struct norm_op {
  index_list over{};
  double p = 2.0;
  bool keep = false;
  static constexpr std::string_view name = "norm";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = gradient_reads(values::input(0) | values::output(0));

  shape result(const shape& x) const { return sum_op<>{over, keep}.result(x); }
  tensor forward(const tensor& x) const {
    detail::need_floating(x, name);
    const std::uint32_t folded = detail::folded_axes(x.shape(), over, name);
    const auto fold = [&](const kernels::reduce_loops& loops, const void* functor,
                          kernels::finish_slots finish) {
      return detail::fold(x, folded, result(x.shape()),
                          {.loops = &loops,
                           .functor = functor,
                           .finish = finish,
                           .finish_data = &p,
                           .result = x.dtype()});
    };
    namespace folds = kernels::folds;
    if (p == 2.0) return fold(folds::loops<folds::square_distance>(), nullptr, root);
    if (p == 1.0) return fold(folds::loops<folds::magnitude>(), nullptr, nullptr);
    if (p == 0.0) return fold(folds::loops<folds::nonzero>(), nullptr, nullptr);
    if (p == std::numeric_limits<double>::infinity()) {
      return fold(folds::loops<folds::largest_magnitude>(), nullptr, nullptr);
    }
    if (!(p > 0.0)) raise<value_error>("norm: p must be >= 0; got ", p);
    folds::magnitude_power f;
    f.p = p;
    return fold(folds::loops<folds::magnitude_power>(), &f, power_root);
  }
  tensor backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0);
    if (p == 0.0) return detail::zeros_of(x.shape(), g.dtype());
    const tensor d = detail::spread(g, over, keep, x.shape(), name);
    if (p == 1.0) return d * sign(x);
    const tensor y = detail::spread(c.out(0), over, keep, x.shape(), name);
    if (p == std::numeric_limits<double>::infinity()) {  // the largest share it
      return detail::shared_among(d * sign(x), abs(x) == y, over);
    }
    // 0 has no direction: gradient 0, and, next to infinity, also the gradient's own.
    const double none = p == 2.0 ? std::numeric_limits<double>::infinity() : 1.0;
    const tensor safe = where(y == 0.0, none, y);
    if (p == 2.0) return d * (x / safe);
    const tensor ratio = abs(x) / safe;
    return d * sign(x) *
           (p < 2.0 ? where(x == 0.0, 0.0, pow(where(x == 0.0, 1.0, ratio), p - 1.0))
                    : pow(ratio, p - 1.0));
  }

 private:
  static void root(const void*, double* acc, const double*, index_t n) {
    for (index_t i = 0; i < n; ++i) acc[i] = std::sqrt(acc[i]);
  }
  static void power_root(const void* p, double* acc, const double*, index_t n) {
    for (index_t i = 0; i < n; ++i) acc[i] = std::pow(acc[i], 1.0 / *static_cast<const double*>(p));
  }
};

template <class = void> struct logsumexp_op {
  index_list over{};
  bool keep = false;
  static constexpr std::string_view name = "logsumexp";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = gradient_reads(values::input(0) | values::output(0));

  shape result(const shape& x) const { return sum_op<>{over, keep}.result(x); }
  tensor forward(const tensor& x) const {
    detail::need_floating(x, name);
    namespace folds = kernels::folds;
    const std::uint32_t folded = detail::folded_axes(x.shape(), over, name);
    tensor center = detail::f64_fold(x, folded, {.loops = &folds::loops<folds::largest>()});
    for (index_t i = 0; i < center.numel(); ++i) {  // inf - inf would be NaN
      double& c = center.data_as<double>()[i];
      if (!std::isfinite(c)) c = 0.0;
    }
    return detail::fold(x, folded, result(x.shape()),
                        {.loops = &folds::loops<folds::exp_distance>(),
                         .finish = logarithm,
                         .result = x.dtype(),
                         .center = &center});
  }
  tensor backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0);
    const tensor y = detail::spread(c.out(0), over, keep, x.shape(), name);
    return detail::spread(g, over, keep, x.shape(), name) * exp(x - y);
  }

 private:
  static void logarithm(const void*, double* acc, const double* centers, index_t n) {
    for (index_t i = 0; i < n; ++i) acc[i] = std::log(acc[i]) + centers[i];
  }
};

template <class = void> struct cumsum_op {
  index_t axis = 0;
  bool reverse = false;  // from the last element on: the gradient
  static constexpr std::string_view name = "cumsum";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const {
    const dtype type = is_floating(x.dtype()) ? x.dtype() : i64;
    const shape sizes = x.rank() == 0 ? shape{1} : x.shape();
    const index_t a = resolve_axis(axis, sizes.rank(), name), n = sizes[a];
    tensor y = detail::dense_as(x, is_floating(type) ? f64 : i64);
    if (y.impl_or_null() == x.impl_or_null()) y = detail::dense_copy(x);
    index_t inner = 1;
    for (index_t i = a + 1; i < x.rank(); ++i) inner *= x.shape()[i];
    if (is_floating(type)) {
      run(y.data_as<double>(), n, inner, y.numel());
    } else {
      run(y.data_as<std::int64_t>(), n, inner, y.numel());
    }
    return detail::dense_as(y, type);
  }
  tensor backward(backward_context&, const tensor& g) const {
    return record(cumsum_op<>{axis, !reverse}, g);
  }

 private:
  // In double, so that long sums of f32 keep their digits.
  template <class T> void run(T* y, index_t n, index_t inner, index_t all) const {
    for (index_t outer = 0; outer < all; outer += n * inner) {
      for (index_t i = 1; i < n; ++i) {
        T* to = y + outer + (reverse ? n - 1 - i : i) * inner;
        const T* from = reverse ? to + inner : to - inner;
        for (index_t k = 0; k < inner; ++k) to[k] += from[k];
      }
    }
  }
};

// (sum |x|^p)^(1/p); the largest |x| for p = infinity, the number of nonzeros for p = 0. Gradient:
// sign(x) (|x| / y)^(p - 1) g, and 0 where y = 0. Floats. Throws value_error for p < 0.
template <class> tensor norm(const tensor& x, double p, const axes& over, bool keep) {
  return record(norm_op<>{over, p, keep}, x);
}
// log sum exp(x), without overflow: the largest x is taken out first. Gradient: exp(x - y) g.
template <class> tensor logsumexp(const tensor& x, const axes& over, bool keep) {
  return record(logsumexp_op<>{over, keep}, x);
}
// Running sums along an axis: y_i = x_0 + ... + x_i, carried in double. Gradient: running sums of g
// from the end. Floats keep their dtype, integers and bool give i64.
template <class> tensor cumsum(const tensor& x, index_t axis) {
  return record(cumsum_op<>{axis}, x);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/compare.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
