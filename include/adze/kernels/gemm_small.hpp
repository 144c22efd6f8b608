#pragma once
// SPDX-License-Identifier: MIT
// Products with few rows, where copying the right operand would cost more than it saves:
// `dot_product` for weights stored [out, in], which it reads once from memory, front to back.
// `thin_product` is for few columns; gemm_sweep.hpp has few rows times a row-major matrix.
#include <algorithm>
#include <array>
#include <utility>

#include <adze/core/view.hpp>
#include <adze/kernels/gemm_strips.hpp>
#include <adze/simd/bf16_dot.hpp>
#include <adze/simd/convert.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Results with at most this many columns have paths of their own: they would fill few lanes.
inline constexpr index_t thin_columns = 12;

// Rows and columns of a tile of dot products, the rows up to which they beat packed panels, and
// their packs. With 32 registers four rows share a pass over the right operand; with packs as long
// as a cache line, rows that are a power of two apart do not evict each other's lines half read.
template <class T, class A> struct dot_shape {
  static constexpr int rows = 3, cols = 4;
  static constexpr index_t most_rows = 16;
  using tag = A;
};
template <class A>
requires(simd::tile_tag<A>::bytes == 64) struct dot_shape<float, A> {
  static constexpr int rows = 4, cols = 5;
  static constexpr index_t most_rows = 48;
  using tag = simd::tile_tag<A>;
};

// Dot products of `depth` contiguous elements: out[r * cols + j] = a[r] . b[j]; out has room for a
// multiple of pack::size. b may be in 16 bits where T is float; both are multiplied as bf16 where
// a is.
// No loop around this one in the same function: g++ would keep the sums in memory.
template <class T, class A, int rows, int cols, class B, class L>
[[gnu::noinline]] void dot_tile(const L* const* a, const B* const* b, index_t depth, T* out) {
  using P = simd::pack<T, A>;
  using factors = std::conditional_t<std::is_same_v<L, T>, P, simd::bf16_pairs>;
  constexpr index_t lanes = factors::size;
  registers<registers<P, cols>, rows> sum;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < cols; ++j) sum[r][j] = P(T(0));
  index_t k = 0;
  for (; k + lanes <= depth; k += lanes) {
    registers<factors, rows> left;
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      left[r] = factors::load(a[r] + k);
      pin(left[r]);
    }
#pragma GCC unroll 8
    for (int j = 0; j < cols; ++j) {
      factors right = simd::load_as<factors>(b[j] + k);
      pin(right);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) sum[r][j] = fma(left[r], right, sum[r][j]);
    }
  }
  if (const index_t n = depth - k; n > 0) {
    registers<factors, rows> left;
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) left[r] = factors::load_partial(a[r] + k, n);
#pragma GCC unroll 8
    for (int j = 0; j < cols; ++j) {
      const factors right = simd::load_partial_as<factors>(b[j] + k, n);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) sum[r][j] = fma(left[r], right, sum[r][j]);
    }
  }
  using F = decltype(simd::folded(sum[0][0]));
  constexpr int step = int(F::size), all = (rows * cols + step - 1) / step * step;
  registers<F, all> flat;
#pragma GCC unroll 32
  for (int i = 0; i < all; ++i)
    flat[i] = i < rows * cols ? simd::folded(sum[i / cols % rows][i % cols]) : F(T(0));
#pragma GCC unroll 16
  for (int i = 0; i < all; i += step) lane_sums(flat + i, out + i);
}

// `width` <= cols columns of c = alpha a b (+ c), a tile of rows x cols. Missing columns repeat an
// existing one, and are not stored.
template <class T, class A, int rows, int cols, class B, class L>
void dot_columns(const matrix<const L>& a, const B* b, index_t b_step, T* c, index_t c_step,
                 index_t width, T alpha, bool accumulate) {
  registers<const B*, cols> right;
  for (index_t j = 0; j < cols; ++j) right[j] = b + std::min(j, width - 1) * b_step;
  registers<const L*, rows> left;
  for (index_t r = 0; r < rows; ++r) left[r] = a.data + r * a.row_stride;
  registers<T, (rows * cols + 7) / 8 * 8> out;
  dot_tile<T, A, rows, cols, B, L>(left, right, a.cols, out);
  for (index_t r = 0; r < rows; ++r) {
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

template <class T, class A, int cols, class B, class L, int... rows>
constexpr auto dot_table(std::integer_sequence<int, rows...>) {
  using function =
      void (*)(const matrix<const L>&, const B*, index_t, T*, index_t, index_t, T, bool);
  return std::array<function, sizeof...(rows)>{dot_columns<T, A, rows + 2, cols, B, L>...};
}

// Columns [first, last) of c = alpha a b (+ c); a rows contiguous, b columns contiguous. Sums of
// at most 256 terms per lane bound the error. Tiles differ by one row at most.
template <class T, class A, class B = T, class L = T>
void dot_product(matrix<const L> a, matrix<const B> b, matrix<T> c, T alpha, bool accumulate,
                 index_t first, index_t last) {
  using shape = dot_shape<T, A>;
  using tag = typename shape::tag;
  static constexpr auto table =
      dot_table<T, tag, shape::cols, B, L>(std::make_integer_sequence<int, shape::rows - 1>{});
  constexpr index_t most = 256 * simd::pack<T, tag>::size;
  const bool one = a.rows == 1;
  const index_t step = one ? 8 : shape::cols;
  const index_t tiles = (a.rows + shape::rows - 1) / shape::rows;
  const index_t size = a.rows / tiles, longer = a.rows % tiles;
  for (index_t k = 0; k < b.rows; k += most) {
    const bool add = accumulate || k > 0;
    for (index_t j = first; j < last; j += step) {
      const B* right = b.data + k + j * b.col_stride;
      matrix<const L> left{a.data + k, a.rows, std::min(most, b.rows - k), a.row_stride, 1};
      T* to = c.data + j;
      const index_t width = std::min(step, last - j);
      if (one) {
        dot_columns<T, tag, 1, 8, B, L>(left, right, b.col_stride, to, c.row_stride, width, alpha,
                                        add);
        continue;
      }
      for (index_t i = 0; i < tiles; ++i) {
        left.rows = size + (i < longer);
        table[static_cast<std::size_t>(left.rows - 2)](left, right, b.col_stride, to, c.row_stride,
                                                       width, alpha, add);
        left.data += left.rows * a.row_stride;
        to += left.rows * c.row_stride;
      }
    }
  }
}

// c = alpha a b (+ c) with few columns and up to 256 rows, where the columns of a are contiguous:
// vectors run along them, so that no lane is idle, and the sums are transposed into c.
template <class T, class A>
void thin_product(const matrix<const T>& a, const matrix<const T>& b, const matrix<T>& c, T alpha,
                  bool accumulate) {
  constexpr index_t width = 256, block = tile_shape<T, A>::depth_block;
  T sums[static_cast<std::size_t>(thin_columns * width)];
  strips<T> s{.rows = c.cols, .a_row_step = b.col_stride, .a_col_step = b.row_stride};
  s.cols = c.rows;
  s.b_step = a.col_stride, s.b_panel = tile_shape<T, A>::panel;
  s.c = sums, s.c_row_step = width, s.alpha = alpha;
  for (index_t k = 0; k < b.rows; k += block) {
    s.depth = std::min(block, b.rows - k);
    s.a = b.data + k * b.row_stride;
    s.b = a.data + k * a.col_stride;
    s.accumulate = k > 0;
    run_strips<T, A>(s, 0, strip_count<T, A>(s.rows));
  }
  for (index_t r = 0; r < c.rows; ++r) {
    T* out = c.data + r * c.row_stride;
    for (index_t j = 0; j < c.cols; ++j)
      out[j] = sums[j * width + r] + (accumulate ? out[j] : T(0));
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
