#pragma once
// SPDX-License-Identifier: MIT
// The register tile of every product: rows of the left operand times a panel of the right one.
// Left elements are found through one pointer per row and one offset per depth step, so a matrix
// with any strides and the windows of a convolution are the same thing; gemm_plain.hpp has tiles of
// rows at a step. Each output is one chain of fma in depth order, whatever the tile: how rows and
// columns are split never changes a bit.
#include <algorithm>

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
  static constexpr index_t depth_block = 384;
  static constexpr index_t column_block = 2048 / index_t(sizeof(T));
};
template <class T> struct tile_shape<T, simd::odd> {
  static constexpr int rows = 3, vectors = 5;
  static constexpr index_t panel = 5, depth_block = 7, column_block = 10;
};
// How many rows of the right operand are asked for ahead of their use.
inline constexpr int b_ahead = 16;

// out(i, j) = alpha * sum over k of a(i, k) * b(k, j), added to out when `accumulate`.
template <class T> struct strips {
  index_t rows = 0, cols = 0, depth = 0;
  // a(i, k) = a[a_row(i) + a_col(k)]: each of both from a table, or by steps where there is none.
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
  const epilogue<T>* finish = nullptr;      // null until the last block of the depth
  index_t first_row = 0, first_column = 0;  // of this block in the whole result, for the epilogue

  const T* left(index_t i) const { return a + (a_rows ? a_rows[i] : i * a_row_step); }
  T* row(index_t i) const { return c + (c_rows ? c_rows[i] : i * c_row_step); }
};

// Rows of a by a pointer each and a table of offsets: any strides, and windows of images.
template <class T, int rows> struct tabled_rows {
  registers<const T*, rows> row;
  const index_t* offsets;

  template <class At>
  tabled_rows(const strips<T>& s, const index_t* table, At at) : offsets(table) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) row[r] = s.left(at(r));
  }
  [[gnu::always_inline]] T at(int r, index_t k) const { return row[r][offsets[k]]; }
  [[gnu::always_inline]] void advance(index_t n) { offsets += n; }
};

// Columns [column, column + panel) of the result in registers; row r of the tile is row at(r).
template <class T, class A, int rows, class At>
[[gnu::always_inline]] inline void tile(const strips<T>& s, tabled_rows<T, rows> a, At at,
                                        const T* b, index_t column) {
  using P = simd::pack<T, A>;
  constexpr int vectors = tile_shape<T, A>::vectors;
  registers<registers<P, vectors>, rows> sum;
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[r][v] = P(T(0));
  }
  // Two steps a turn: the loop's own instructions take issue slots from the products where two
  // threads share a core. With more rows g++ would move sums between registers.
  constexpr index_t unrolled = sizeof(T) == 4 && rows <= 8 ? 2 : 1;
  const index_t b_step = s.b_step;
  [[maybe_unused]] const T* soon = b + b_ahead * b_step;
  const auto step = [&](const T* right_row, index_t q) __attribute__((always_inline)) {
    registers<P, vectors> right;
    simd::unroll<vectors>([&](auto v) __attribute__((always_inline)) {
      right[v] = P::load(right_row + v * P::size);
      pin(right[v]);
      if constexpr (A::bytes == 64) __builtin_prefetch(soon + v * P::size);
    });
    if constexpr (A::bytes == 64) {  // panels come from the L2 cache
      soon += b_step;
      asm("" : "+r"(soon));  // one register for all its prefetches
    }
    simd::unroll<rows>([&](auto r) __attribute__((always_inline)) {
      const P left(a.at(r, q));
      simd::unroll<vectors>([&](auto v) __attribute__((always_inline)) {
        sum[r][v] = fma(left, right[v], sum[r][v]);
        if constexpr (A::bytes == 16) pin(sum[r][v]);  // g++ would keep some in memory
      });
    });
  };
  index_t k = s.depth;
  for (; k >= unrolled; k -= unrolled, a.advance(unrolled))
#pragma GCC unroll 8
    for (index_t q = 0; q < unrolled; ++q, b += b_step) step(b, q);
  if (k > 0) step(b, 0);
  const P alpha(s.alpha);
  registers<T*, rows> out;  // not before: registers are short in the loop
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) out[r] = s.row(at(r)) + column;
  if (s.accumulate) {  // asked once, not once for each vector
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v)
        sum[r][v] = fma(alpha, sum[r][v], P::load(out[r] + v * P::size));
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sum[r][v] = alpha * sum[r][v];
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[r][v].store(out[r] + v * P::size);
}

// The whole panels of n <= rows rows; rows beyond n repeat the last one. One function per number of
// rows: g++ spills the sums when they share one.
template <class T, class A, int rows>
[[gnu::noinline]] void strip(const strips<T>& s, const index_t* offsets, index_t row, index_t n) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  const auto at = [&](int r) { return row + (sizeof(T) == 4 ? r : std::min<index_t>(r, n - 1)); };
  const tabled_rows<T, rows> a(s, offsets, at);
  const T* b = s.b;
  for (index_t j = 0; j + panel <= s.cols; j += panel, b += s.b_panel)
    tile<T, A, rows>(s, a, at, b, j);
}

// n <= rows rows of what is left of a panel: up to a vector of columns.
template <class T, class A, int rows>
[[gnu::noinline]] void edge(const strips<T>& s, const index_t* offsets, index_t row, index_t n,
                            const T* b, index_t column) {
  using P = simd::pack<T, A>;
  const index_t width = std::min(s.cols - column, P::size);
  registers<const T*, rows> a;
  registers<P, rows> sum;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    a[r] = s.left(row + std::min<index_t>(r, n - 1));
    sum[r] = P(T(0));
  }
  const index_t depth = s.depth, b_step = s.b_step;
  for (index_t k = 0; k < depth; ++k, b += b_step) {
    const index_t offset = offsets[k];
    P right = P::load_partial(b, width);
    pin(right);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      sum[r] = fma(P(a[r][offset]), right, sum[r]);
      pin(sum[r]);
    }
  }
  registers<T, rows* int(P::size)> sums;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) sum[r].store(sums + r * P::size);
  const P alpha(s.alpha);
  for (index_t r = 0; r < n; ++r) {
    T* const out = s.row(row + r) + column;
    const P x = P::load(sums + r * P::size);
    const P y = s.accumulate ? fma(alpha, x, P::load_partial(out, width)) : alpha * x;
    y.store_partial(out, width);
  }
}

// The same where partial stores are one instruction: `vectors` vectors of columns, the last one in
// part, which never leave their registers.
template <class T, class A, int rows, int vectors>
[[gnu::noinline]] void masked_edge(const strips<T>& s, const index_t* offsets, index_t row,
                                   index_t n, const T* b, index_t column) {
  using P = simd::pack<T, A>;
  const auto at = [&](int r) { return row + std::min<index_t>(r, n - 1); };
  tabled_rows<T, rows> a(s, offsets, at);
  const index_t width = s.cols - column - (vectors - 1) * P::size, b_step = s.b_step;
  const auto load = [&](const T* from, auto v) __attribute__((always_inline)) {
    from += v * P::size;
    return v + 1 < vectors ? P::load(from) : P::load_partial(from, width);
  };
  registers<registers<P, vectors>, rows> sum;
  simd::unroll<rows>([&](auto r) __attribute__((always_inline)) {
    simd::unroll<vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = P(T(0)); });
  });
  for (index_t k = s.depth; k > 0; --k, b += b_step, a.advance(1)) {
    registers<P, vectors> right;
    simd::unroll<vectors>([&](auto v) __attribute__((always_inline)) {
      right[v] = load(b, v);
      pin(right[v]);
    });
    simd::unroll<rows>([&](auto r) __attribute__((always_inline)) {
      const P left(a.at(r, 0));
      simd::unroll<vectors>([&](auto v) __attribute__((always_inline)) {
        sum[r][v] = fma(left, right[v], sum[r][v]);
        pin(sum[r][v]);
      });
    });
  }
  // All results are read before the first is written: rows may be repeated.
  const P alpha(s.alpha);
  registers<T*, rows> out;
  simd::unroll<rows>([&](auto r) __attribute__((always_inline)) {
    out[r] = s.row(at(r)) + column;
    simd::unroll<vectors>([&](auto v) __attribute__((always_inline)) {
      sum[r][v] = s.accumulate ? fma(alpha, sum[r][v], load(out[r], v)) : alpha * sum[r][v];
    });
  });
  simd::unroll<rows>([&](auto r) __attribute__((always_inline)) {
    simd::unroll<vectors>([&](auto v) __attribute__((always_inline)) {
      T* const to = out[r] + v * P::size;
      v + 1 < vectors ? sum[r][v].store(to) : sum[r][v].store_partial(to, width);
    });
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
