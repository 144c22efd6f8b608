#pragma once
// SPDX-License-Identifier: MIT
// What reductions fold with: functors of `start<T>()`, `take(x, center)` and `join(a, b)`, generic
// in lanes, and their loops. `whole` says that int64 is supported too.
#include <limits>

#include <adze/core/view.hpp>
#include <adze/kernels/reduce.hpp>
#include <adze/simd/math.hpp>

namespace adze::kernels::folds::inline ADZE_ISA {

struct sum {
  static constexpr bool whole = true;
  template <class T> static T start() { return T(0); }
  template <class V> V take(const V& x, const V&) const { return x; }
  template <class V> V join(const V& a, const V& b) const {
    if constexpr (std::is_integral_v<V>) {  // wraps
      return static_cast<V>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
    } else {
      return a + b;
    }
  }
};

struct product {
  static constexpr bool whole = true;
  template <class T> static T start() { return T(1); }
  template <class V> V take(const V& x, const V&) const { return x; }
  template <class V> V join(const V& a, const V& b) const {
    if constexpr (std::is_integral_v<V>) {
      return static_cast<V>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
    } else {
      return a * b;
    }
  }
};

struct largest {  // NaN wins
  static constexpr bool whole = true;
  template <class T> static T start() {
    return std::is_integral_v<T> ? std::numeric_limits<T>::min()
                                 : -std::numeric_limits<T>::infinity();
  }
  template <class V> V take(const V& x, const V&) const { return x; }
  template <class V> V join(const V& a, const V& b) const {
    if constexpr (std::is_integral_v<V>) {
      return a > b ? a : b;
    } else {
      return maximum(a, b);
    }
  }
};

struct smallest {
  static constexpr bool whole = true;
  template <class T> static T start() {
    return std::is_integral_v<T> ? std::numeric_limits<T>::max()
                                 : std::numeric_limits<T>::infinity();
  }
  template <class V> V take(const V& x, const V&) const { return x; }
  template <class V> V join(const V& a, const V& b) const {
    if constexpr (std::is_integral_v<V>) {
      return a < b ? a : b;
    } else {
      return minimum(a, b);
    }
  }
};

struct floating_sum {
  static constexpr bool whole = false;
  template <class T> static T start() { return T(0); }
  template <class V> V join(const V& a, const V& b) const { return a + b; }
};
struct distance : floating_sum {  // x - center
  template <class V> V take(const V& x, const V& center) const { return x - center; }
};
struct square_distance : floating_sum {  // (x - center)^2
  template <class V> V take(const V& x, const V& center) const {
    const V d = x - center;
    return d * d;
  }
};
struct exp_distance : floating_sum {  // exp(x - center)
  template <class V> V take(const V& x, const V& center) const { return exp(x - center); }
};
struct magnitude : floating_sum {  // |x|
  template <class V> V take(const V& x, const V&) const { return abs(x); }
};
struct magnitude_power : floating_sum {  // |x|^p
  double p = 2.0;
  template <class V> V take(const V& x, const V&) const { return pow(abs(x), p); }
};
struct nonzero : floating_sum {
  template <class V> V take(const V& x, const V&) const {
    return where(x != V(0.0), V(1.0), V(0.0));
  }
};
struct largest_magnitude : largest {
  static constexpr bool whole = false;
  template <class T> static T start() { return T(0); }
  template <class V> V take(const V& x, const V&) const { return abs(x); }
};

// A function: a variable would be made wherever it is mentioned.
template <class F> const reduce_loops& loops() {
  static constexpr reduce_loops all = loops_of<F>::make();
  return all;
}

// out[j] = sum of column j, for the small sums of small steps: no plan, no threads.
template <class T> void sum_columns(matrix<const T> x, T* out) {
  const sum f;
  for (index_t j = 0; j < x.cols; j += reduce_width) {
    const index_t width = std::min(reduce_width, x.cols - j);
    double slots[reduce_width] = {};
    detail::column_fold<sum, T>(&f, x.data + j, x.row_stride, x.rows, width, nullptr, slots);
    for (index_t i = 0; i < width; ++i) out[j + i] = static_cast<T>(slots[i]);
  }
}

}  // namespace adze::kernels::folds::inline ADZE_ISA
