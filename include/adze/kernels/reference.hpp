#pragma once
// SPDX-License-Identifier: MIT
// The slow twins of the kernels: the definitions, as plain loops in a wider type. For tests and
// for benchmarks, which prove a kernel before they time it; nothing else includes this.
#include <cmath>
#include <type_traits>

#include <adze/core/view.hpp>
#include <adze/simd/arch.hpp>

namespace adze::kernels::reference::inline ADZE_ISA {

template <class T> using wide = std::conditional_t<sizeof(T) == 4, double, long double>;

// c = alpha a b + beta c, and in `size` the same sum of absolute values, the measure of its error.
template <class T>
void gemm(matrix<const T> a, matrix<const T> b, matrix<wide<T>> c, matrix<wide<T>> size,
          wide<T> alpha = 1, wide<T> beta = 0) {
  for (index_t i = 0; i < c.rows; ++i) {
    for (index_t j = 0; j < c.cols; ++j) {
      wide<T> sum = 0, absolute = 0;
      for (index_t k = 0; k < a.cols && alpha != 0; ++k) {
        const wide<T> x = wide<T>(a(i, k)) * wide<T>(b(k, j));
        sum += x;
        absolute += std::abs(x);
      }
      const wide<T> old = beta == 0 ? 0 : beta * c(i, j);
      c(i, j) = alpha * sum + old;
      size(i, j) = std::abs(alpha) * absolute + std::abs(old);
    }
  }
}

}  // namespace adze::kernels::reference::inline ADZE_ISA
