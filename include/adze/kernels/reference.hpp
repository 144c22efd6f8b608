#pragma once
// SPDX-License-Identifier: MIT
// The slow twins of the kernels: the definitions, as plain loops in a wider type. For tests and
// for benchmarks, which prove a kernel before they time it; nothing else includes this.
#include <cmath>
#include <type_traits>
#include <vector>

#include <adze/core/view.hpp>
#include <adze/kernels/conv_plan.hpp>
#include <adze/simd/arch.hpp>

namespace adze::kernels::reference::inline ADZE_ISA {

template <class T> using wide = std::conditional_t<sizeof(T) == 4, double, long double>;

// c = alpha a b + beta c, and in `size` the same sum of absolute values, the measure of its error.
template <class T>
void gemm(matrix<const T> a, matrix<const T> b, matrix<wide<T>> c, matrix<wide<T>> size,
          wide<T> alpha = 1, wide<T> beta = 0) {
  std::vector<wide<T>> right;  // rows of b, contiguous, since sums run along them
  right.reserve(static_cast<std::size_t>(b.rows * b.cols));
  for (index_t k = 0; k < b.rows; ++k)
    for (index_t j = 0; j < b.cols; ++j) right.push_back(wide<T>(b(k, j)));
  for (index_t i = 0; i < c.rows; ++i) {
    for (index_t j = 0; j < c.cols; ++j) {
      c(i, j) = beta == 0 ? 0 : beta * c(i, j);
      size(i, j) = std::abs(c(i, j));
    }
    for (index_t k = 0; k < a.cols && alpha != 0; ++k) {
      const wide<T> left = alpha * wide<T>(a(i, k));
      const wide<T>* const row = right.data() + k * b.cols;
      for (index_t j = 0; j < c.cols; ++j) {
        const wide<T> x = left * row[j];
        c(i, j) += x;
        size(i, j) += std::abs(x);
      }
    }
  }
}

// Calls f(y index, x index, weight index) for every product of a convolution, in dense NCHW
// indices: y += x w is the forward pass, gx += gy w and gw += gy x are the gradients.
template <class F> void each_conv_product(const conv_shape& s, F f) {
  const index_t cg = s.c / s.groups, og = s.o / s.groups, oh = s.out_h(), ow = s.out_w();
  for (index_t n = 0; n < s.n; ++n)
    for (index_t o = 0; o < s.o; ++o)
      for (index_t y = 0; y < oh; ++y)
        for (index_t x = 0; x < ow; ++x)
          for (index_t c = 0; c < cg; ++c)
            for (index_t i = 0; i < s.kh; ++i)
              for (index_t j = 0; j < s.kw; ++j) {
                const index_t iy = y * s.stride_h - s.pad_h + i * s.dil_h;
                const index_t ix = x * s.stride_w - s.pad_w + j * s.dil_w;
                if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) continue;
                f(((n * s.o + o) * oh + y) * ow + x,
                  ((n * s.c + o / og * cg + c) * s.h + iy) * s.w + ix,
                  ((o * cg + c) * s.kh + i) * s.kw + j);
              }
}

}  // namespace adze::kernels::reference::inline ADZE_ISA
