#pragma once
// SPDX-License-Identifier: MIT
// Products of few rows with a row-major matrix, each row of which is read once from memory, from
// end to end: `sweep_product`. gemm.hpp chooses.
#include <algorithm>

#include <adze/core/view.hpp>
#include <adze/kernels/gemm_tile.hpp>

namespace adze::kernels::inline ADZE_ISA {

// out[i * n + j] += sum over r < rows of a(i, r) * b(r, j), for i < lefts and j < n.
template <class T, class A, int lefts, int rows>
[[gnu::noinline]] void sweep_rows(const matrix<const T>& a, const T* b, index_t b_step, index_t n,
                                  T* out) {
  using P = simd::pack<T, A>;
  registers<registers<P, rows>, lefts> left;
#pragma GCC unroll 8
  for (int i = 0; i < lefts; ++i)
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) left[i][r] = P(a(i, r));
  index_t j = 0;
  for (; j + P::size <= n; j += P::size) {
    registers<P, lefts> sum;
#pragma GCC unroll 8
    for (int i = 0; i < lefts; ++i) sum[i] = P::load(out + i * n + j);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      P right = P::load(b + r * b_step + j);
      if constexpr (lefts > 1) pin(right);
#pragma GCC unroll 8
      for (int i = 0; i < lefts; ++i) sum[i] = fma(left[i][r], right, sum[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < lefts; ++i) sum[i].store(out + i * n + j);
  }
  for (; j < n; ++j)
    for (int i = 0; i < lefts; ++i) {
      P sum(out[i * n + j]);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) sum = fma(left[i][r], P(b[r * b_step + j]), sum);
      sum.store_partial(out + i * n + j, 1);
    }
}

// Rows [k, last) of b, so many together, for `lefts` rows of a together and for one that is left.
// Where it ends.
template <class T, class A, int lefts, int rows>
index_t sweep_groups(const matrix<const T>& a, const matrix<const T>& b, index_t k, index_t last,
                     index_t j, index_t n, T* out) {
  const auto left = [&](index_t i) {
    return matrix<const T>{&a(i, k), lefts, rows, a.row_stride, a.col_stride};
  };
  for (; k + rows <= last; k += rows) {
    index_t i = 0;
    for (; i + lefts <= a.rows; i += lefts)
      sweep_rows<T, A, lefts, rows>(left(i), &b(k, j), b.row_stride, n, out + i * n);
    if (i < a.rows) sweep_rows<T, A, 1, rows>(left(i), &b(k, j), b.row_stride, n, out + i * n);
  }
  return k;
}

// Rows that sweep_product is for.
inline constexpr index_t most_swept = 12;

// Columns [first, last) of c = alpha a b (+ c); b columns adjacent, a any strides. Every row of b
// is read once and from end to end, for two rows of a at a time.
template <class T, class A>
void sweep_product(matrix<const T> a, matrix<const T> b, matrix<T> c, T alpha, bool accumulate,
                   index_t first, index_t last) {
  constexpr index_t most = tile_shape<T, A>::depth_block, width = 1024;
  T sum[width * most_swept];
  for (index_t j = first; j < last; j += width) {
    const index_t n = std::min(width, last - j);
    for (index_t k0 = 0; k0 < b.rows; k0 += most) {
      const index_t k1 = std::min(k0 + most, b.rows);
      fill_zeros(sum, n * a.rows);
      const index_t k = a.rows == 1 ? sweep_groups<T, A, 1, 8>(a, b, k0, k1, j, n, sum)
                                    : sweep_groups<T, A, 2, 4>(a, b, k0, k1, j, n, sum);
      sweep_groups<T, A, 1, 1>(a, b, k, k1, j, n, sum);
      const bool add = accumulate || k0 > 0;
      for (index_t i = 0; i < a.rows; ++i) {
        T* out = c.data + i * c.row_stride + j;
        for (index_t q = 0; q < n; ++q) out[q] = alpha * sum[i * n + q] + (add ? out[q] : T(0));
      }
    }
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
