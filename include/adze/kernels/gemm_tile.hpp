#pragma once
// SPDX-License-Identifier: MIT
// The register tile of every product, and strips of tiles: up to eight rows of the left operand
// times all columns of a block of the right one. Left elements are found through one pointer per
// row and one offset per depth step, so a matrix with any strides and the windows of a
// convolution are the same thing. Each output is one chain of fma in depth order, whatever the
// tile: how rows and columns are split never changes a bit.
#include <algorithm>
#include <array>
#include <utility>

#include <adze/fwd.hpp>
#include <adze/kernels/epilogue.hpp>
#include <adze/simd/pack.hpp>
#include <adze/simd/tile.hpp>

namespace adze::kernels::inline ADZE_ISA {

// An array with a signed size: loops over registers then stay free of casts.
template <class T, int n> using registers = T[static_cast<std::size_t>(n)];

// Rows and vectors of a tile, and the block of the right operand that stays in the L2 cache.
template <class T, class A> struct tile_shape {
  static constexpr int rows = 6, vectors = 2;
  static constexpr index_t panel = vectors * simd::pack<T, A>::size;
  static constexpr index_t depth_block = 256, column_block = 2048 / index_t(sizeof(T));
};
template <class T> struct tile_shape<T, simd::odd> {
  static constexpr int rows = 3, vectors = 5;
  static constexpr index_t panel = 5, depth_block = 7, column_block = 10;
};

// out(i, j) = alpha * sum over k of a(i, k) * b(k, j), added to out when `accumulate`.
template <class T> struct strips {
  index_t rows = 0, cols = 0, depth = 0;
  // a(i, k) = a[a_row(i) + a_col(k)]: steps, or both from tables when the strips are `indexed`.
  const T* a = nullptr;
  const index_t* a_rows = nullptr;
  index_t a_row_step = 0;
  const index_t* a_cols = nullptr;
  index_t a_col_step = 1;
  // Panels of tile_shape::panel columns; rows of a panel are b_step apart.
  const T* b = nullptr;
  index_t b_step = 0, b_panel = 0;
  // Rows of the result are contiguous, at a step, or from a table when there is one.
  T* c = nullptr;
  const index_t* c_rows = nullptr;
  index_t c_row_step = 0;
  T alpha = T(1);
  bool accumulate = false;
  const epilogue<T>* finish = nullptr;  // null until the last block of the depth
  index_t first_column = 0;             // of this block in the whole result, for the epilogue

  T* row(index_t i) const { return c + (c_rows ? c_rows[i] : i * c_row_step); }
};

// rows x (vectors * lanes) outputs in registers; `width` columns of them exist.
template <class T, class A, int rows, int vectors, bool partial, bool indexed>
[[gnu::always_inline]] inline void tile(const strips<T>& s, const T* const* a_rows, index_t row,
                                        const T* b, index_t column, index_t width) {
  using P = simd::pack<T, A>;
  constexpr index_t lanes = P::size, last = lanes * (vectors - 1);
  registers<const T*, rows> a;
  registers<registers<P, vectors>, rows> sum;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    a[r] = a_rows[r];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[r][v] = P(T(0));
  }
  const index_t depth = s.depth, b_step = s.b_step, a_step = s.a_col_step;
  const index_t* offsets = s.a_cols;
  index_t offset = 0;
  for (index_t k = 0; k < depth; ++k, b += b_step) {
    if constexpr (indexed) offset = offsets[k];
    registers<P, vectors> right;
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      right[v] = partial && v == vectors - 1 ? P::load_partial(b + last, width - last)
                                             : P::load(b + v * lanes);
      pin(right[v]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const P left(a[r][offset]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        sum[r][v] = fma(left, right[v], sum[r][v]);
        pin(sum[r][v]);
      }
    }
    if constexpr (!indexed) offset += a_step;
  }
  const P alpha(s.alpha);
  const bool cut = partial && width - last < lanes;
  const index_t rest = width - last;
  if (s.accumulate) {  // asked once, not once for each vector
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const T* out = s.row(row + r) + column;
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v, out += lanes)
        sum[r][v] =
            fma(alpha, sum[r][v],
                partial && v == vectors - 1 && cut ? P::load_partial(out, rest) : P::load(out));
    }
  } else {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sum[r][v] = alpha * sum[r][v];
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    T* out = s.row(row + r) + column;  // not before: registers are short in the loop
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v, out += lanes) {
      if (partial && v == vectors - 1 && cut) {
        sum[r][v].store_partial(out, rest);
      } else {
        sum[r][v].store(out);
      }
    }
  }
}

// The last columns, fewer than a panel, in as few vectors as hold them.
template <class T, class A, int rows, int vectors, bool indexed>
[[gnu::always_inline]] inline void tail(const strips<T>& s, const T* const* a, index_t row,
                                        const T* b, index_t column, index_t width) {
  if constexpr (vectors > 1)
    if (width <= (vectors - 1) * simd::pack<T, A>::size)
      return tail<T, A, rows, vectors - 1, indexed>(s, a, row, b, column, width);
  tile<T, A, rows, vectors, true, indexed>(s, a, row, b, column, width);
}

// One function per row count: g++ spills the sums when they share one.
template <class T, class A, int rows, bool indexed>
[[gnu::noinline]] void strip(const strips<T>& s, index_t row) {
  registers<const T*, rows> a;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
    a[r] = s.a + (indexed ? s.a_rows[row + r] : (row + r) * s.a_row_step);
  constexpr index_t panel = tile_shape<T, A>::panel;
  constexpr int vectors = tile_shape<T, A>::vectors;
  const T* b = s.b;
  index_t j = 0;
  for (; j + panel <= s.cols; j += panel, b += s.b_panel)
    tile<T, A, rows, vectors, false, indexed>(s, a, row, b, j, panel);
  if (j < s.cols) tail<T, A, rows, vectors, indexed>(s, a, row, b, j, s.cols - j);
}

template <class T, class A, bool indexed, int... rows>
constexpr auto strip_table(std::integer_sequence<int, rows...>) {
  using function = void (*)(const strips<T>&, index_t);
  return std::array<function, sizeof...(rows)>{strip<T, A, rows + 1, indexed>...};
}

// Rows of a strip. Where 32 registers hold them, eight read the right operand less often; twelve
// pointers to rows no longer fit. Tables of rows and double keep six, for the time to compile.
template <class T, class A, bool indexed>
inline constexpr int strip_rows = A::bytes == 64 && sizeof(T) == 4 && !indexed
                                      ? 8
                                      : tile_shape<T, A>::rows;

template <class T, class A, bool indexed = false> constexpr index_t strip_count(index_t rows) {
  constexpr index_t most = strip_rows<T, A, indexed>;
  return (rows + most - 1) / most;
}

// Strips [first, last) of the strip_count(rows), whose sizes differ by one row at most: 16 rows
// are 6 + 5 + 5 or 8 + 8, never 6 + 6 + 4, as tiles of few rows wait for the latency of fma.
// `indexed` strips read a through the tables.
template <class T, class A, bool indexed>
[[gnu::noinline]] void run_strips(const strips<T>& s, index_t first, index_t last) {
  static constexpr auto table =
      strip_table<T, A, indexed>(std::make_integer_sequence<int, strip_rows<T, A, indexed>>{});
  const index_t count = strip_count<T, A, indexed>(s.rows), size = s.rows / count,
                longer = s.rows % count;
  for (index_t i = first; i < last; ++i) {
    const index_t begin = i * size + std::min(i, longer), n = size + (i < longer);
    table[static_cast<std::size_t>(n - 1)](s, begin);
    if (s.finish)
      for (index_t r = 0; r < n; ++r)
        apply<T, A>(*s.finish, s.row(begin + r), begin + r, s.first_column, s.cols);
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
