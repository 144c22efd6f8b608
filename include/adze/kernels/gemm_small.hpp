#pragma once
// SPDX-License-Identifier: MIT
// Products with few rows, where copying the right operand would cost more than it saves:
// `dot_product` for weights stored [out, in], `sweep_product` for few rows times a row-major
// matrix. Both read the right operand once, front to back.
#include <algorithm>

#include <adze/core/view.hpp>
#include <adze/kernels/gemm_tile.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Dot products of `depth` contiguous elements: out[r * cols + j] = a[r] . b[j]; out has room for a
// multiple of pack::size.
// No loop around this one in the same function: g++ would keep the sums in memory.
template <class T, class A, int rows, int cols>
[[gnu::noinline]] void dot_tile(const T* const* a, const T* const* b, index_t depth, T* out) {
  using P = simd::pack<T, A>;
  constexpr index_t lanes = P::size;
  registers<registers<P, cols>, rows> sum;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < cols; ++j) sum[r][j] = P(T(0));
  index_t k = 0;
  for (; k + lanes <= depth; k += lanes) {
    registers<P, rows> left;
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      left[r] = P::load(a[r] + k);
      pin(left[r]);
    }
#pragma GCC unroll 8
    for (int j = 0; j < cols; ++j) {
      P right = P::load(b[j] + k);
      pin(right);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        sum[r][j] = fma(left[r], right, sum[r][j]);
        pin(sum[r][j]);
      }
    }
  }
  if (const index_t n = depth - k; n > 0) {
    registers<P, rows> left;
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) left[r] = P::load_partial(a[r] + k, n);
#pragma GCC unroll 8
    for (int j = 0; j < cols; ++j) {
      const P right = P::load_partial(b[j] + k, n);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) sum[r][j] = fma(left[r], right, sum[r][j]);
    }
  }
  constexpr int lanes_now = int(lanes), all = (rows * cols + lanes_now - 1) / lanes_now * lanes_now;
  registers<P, all> flat;
#pragma GCC unroll 16
  for (int i = 0; i < all; ++i)
    flat[i] = i < rows * cols ? sum[i / cols % rows][i % cols] : P(T(0));
#pragma GCC unroll 16
  for (int i = 0; i < all; i += lanes_now) lane_sums(flat + i, out + i);
}

// `width` <= cols columns of c = alpha a b (+ c), tiles of rows x cols. Missing rows and columns
// repeat an existing one, and are not stored.
template <class T, class A, int rows, int cols>
void dot_columns(const matrix<const T>& a, const T* b, index_t b_step, T* c, index_t c_step,
                 index_t width, T alpha, bool accumulate) {
  registers<const T*, cols> right;
  for (index_t j = 0; j < cols; ++j) right[j] = b + std::min(j, width - 1) * b_step;
  for (index_t i = 0; i < a.rows; i += rows, c += rows * c_step) {
    const index_t height = std::min<index_t>(rows, a.rows - i);
    registers<const T*, rows> left;
    for (index_t r = 0; r < rows; ++r)
      left[r] = a.data + (i + std::min(r, height - 1)) * a.row_stride;
    registers<T, 16> out;
    dot_tile<T, A, rows, cols>(left, right, a.cols, out);
    for (index_t r = 0; r < height; ++r) {
      T* to = c + r * c_step;
      if (width == cols && !accumulate) {
#pragma GCC unroll 8
        for (int j = 0; j < cols; ++j) to[j] = alpha * out[r * cols + j];
      } else {
        for (index_t j = 0; j < width; ++j)
          to[j] = alpha * out[r * cols + j] + (accumulate ? to[j] : T(0));
      }
    }
  }
}

// Columns [first, last) of c = alpha a b (+ c); a rows contiguous, b columns contiguous. Sums of
// at most 256 terms per lane bound the error.
template <class T, class A>
void dot_product(matrix<const T> a, matrix<const T> b, matrix<T> c, T alpha, bool accumulate,
                 index_t first, index_t last) {
  constexpr index_t most = 256 * simd::pack<T, A>::size;
  const bool one = a.rows == 1;
  const index_t step = one ? 8 : 4;
  // Tiles of three rows, and of two where one row would be left.
  const index_t threes = (a.rows % 3 == 1 ? a.rows / 3 - 1 : a.rows / 3) * 3;
  for (index_t k = 0; k < b.rows; k += most) {
    const matrix<const T> left{a.data + k, a.rows, std::min(most, b.rows - k), a.row_stride, 1};
    const auto columns = [&](auto product, index_t row, index_t rows, index_t j) {
      auto part = left;
      part.data += row * a.row_stride;
      part.rows = rows;
      product(part, b.data + k + j * b.col_stride, b.col_stride, c.data + row * c.row_stride + j,
              c.row_stride, std::min(step, last - j), alpha, accumulate || k > 0);
    };
    for (index_t j = first; j < last; j += step) {
      if (one) {
        columns(dot_columns<T, A, 1, 8>, 0, 1, j);
        continue;
      }
      if (threes > 0) columns(dot_columns<T, A, 3, 4>, 0, threes, j);
      if (threes < a.rows) columns(dot_columns<T, A, 2, 4>, threes, a.rows - threes, j);
    }
  }
}

// out[0, n) += sum over r < rows of a[r] * row r of b.
template <class T, class A, int rows>
[[gnu::noinline]] void sweep_rows(const T* a, index_t a_step, const T* b, index_t b_step, index_t n,
                                  T* out) {
  using P = simd::pack<T, A>;
  registers<P, rows> left;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) left[r] = P(a[r * a_step]);
  index_t j = 0;
  for (; j + P::size <= n; j += P::size) {
    P sum = P::load(out + j);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) sum = fma(left[r], P::load(b + r * b_step + j), sum);
    sum.store(out + j);
  }
  for (; j < n; ++j) {
    P sum(out[j]);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) sum = fma(left[r], P(b[r * b_step + j]), sum);
    sum.store_partial(out + j, 1);
  }
}

// Columns [first, last) of c = alpha a b (+ c); b columns adjacent, a any strides.
template <class T, class A>
void sweep_product(matrix<const T> a, matrix<const T> b, matrix<T> c, T alpha, bool accumulate,
                   index_t first, index_t last) {
  constexpr index_t most = tile_shape<T, A>::depth_block, width = 1024;
  T sum[width];
  for (index_t j = first; j < last; j += width) {
    const index_t n = std::min(width, last - j);
    for (index_t k0 = 0; k0 < b.rows; k0 += most) {
      const index_t k1 = std::min(k0 + most, b.rows);
      for (index_t i = 0; i < a.rows; ++i) {
        std::fill_n(sum, n, T(0));
        index_t k = k0;
        for (; k + 8 <= k1; k += 8)
          sweep_rows<T, A, 8>(&a(i, k), a.col_stride, &b(k, j), b.row_stride, n, sum);
        for (; k < k1; ++k)
          sweep_rows<T, A, 1>(&a(i, k), a.col_stride, &b(k, j), b.row_stride, n, sum);
        T* out = c.data + i * c.row_stride + j;
        const bool add = accumulate || k0 > 0;
        for (index_t q = 0; q < n; ++q) out[q] = alpha * sum[q] + (add ? out[q] : T(0));
      }
    }
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
