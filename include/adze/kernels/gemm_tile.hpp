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
#include <vector>

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
  static constexpr index_t depth_block = A::bytes == 64 ? 256 : 384;
  static constexpr index_t column_block = 2048 / index_t(sizeof(T));
};
template <class T> struct tile_shape<T, simd::odd> {
  static constexpr int rows = 3, vectors = 5;
  static constexpr index_t panel = 5, depth_block = 7, column_block = 10;
};

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

// Columns [column, column + panel) of the result in registers; row r of the tile is row at(r).
template <class T, class A, int rows, class At>
[[gnu::always_inline]] inline void tile(const strips<T>& s, const T* const* a_rows, At at,
                                        const T* b, index_t column) {
  using P = simd::pack<T, A>;
  constexpr int vectors = tile_shape<T, A>::vectors;
  registers<const T*, rows> a;
  registers<registers<P, vectors>, rows> sum;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    a[r] = a_rows[r];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[r][v] = P(T(0));
  }
  // Two steps a turn: the loop's own instructions take issue slots from the products where two
  // threads share a core.
  constexpr index_t unrolled = sizeof(T) == 4 ? 2 : 1;
  const index_t depth = s.depth, b_step = s.b_step;
  const index_t* offsets = s.a_cols;
  const auto step = [&](const T* right_row, index_t offset) __attribute__((always_inline)) {
    registers<P, vectors> right;
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      right[v] = P::load(right_row + v * P::size);
      pin(right[v]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const P left(a[r][offset]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        sum[r][v] = fma(left, right[v], sum[r][v]);
        if constexpr (A::bytes == 16) pin(sum[r][v]);  // g++ would keep some in memory
      }
    }
  };
  index_t k = 0;
  for (; k + unrolled <= depth; k += unrolled)
#pragma GCC unroll 8
    for (index_t q = 0; q < unrolled; ++q, b += b_step) step(b, offsets[k + q]);
  if (k < depth) step(b, offsets[k]);
  const P alpha(s.alpha);
  registers<T*, rows> out;  // not before: registers are short in the loop
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) out[r] = s.row(at(r)) + column;
  if (s.accumulate) {  // asked once, not once for each vector
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v)
        sum[r][v] = fma(alpha, sum[r][v], P::load(out[r] + v * P::size));
  } else {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sum[r][v] = alpha * sum[r][v];
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[r][v].store(out[r] + v * P::size);
}

// The whole panels of n <= rows rows; rows beyond n repeat the last one. One function per number of
// rows: g++ spills the sums when they share one.
template <class T, class A, int rows>
[[gnu::noinline]] void strip(const strips<T>& s, index_t row, index_t n) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  const auto at = [&](int r) { return row + (sizeof(T) == 4 ? r : std::min<index_t>(r, n - 1)); };
  registers<const T*, rows> a;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) a[r] = s.left(at(r));
  const T* b = s.b;
  for (index_t j = 0; j + panel <= s.cols; j += panel, b += s.b_panel)
    tile<T, A, rows>(s, a, at, b, j);
}

// n <= rows rows of what is left of a panel: up to a vector of columns.
template <class T, class A, int rows>
[[gnu::noinline]] void edge(const strips<T>& s, index_t row, index_t n, const T* b, index_t column,
                            index_t width) {
  using P = simd::pack<T, A>;
  registers<const T*, rows> a;
  registers<P, rows> sum;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    a[r] = s.left(row + std::min<index_t>(r, n - 1));
    sum[r] = P(T(0));
  }
  const index_t depth = s.depth, b_step = s.b_step;
  const index_t* offsets = s.a_cols;
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

// Rows of a strip. Where 32 registers hold them, eight read the right operand less often; twelve
// pointers to rows no longer fit.
template <class T, class A>
inline constexpr int strip_rows = A::bytes == 64 && sizeof(T) == 4 ? 8 : tile_shape<T, A>::rows;

// The functions for 1, 2, ... rows. Edges have one for two numbers of rows. Double, which checks
// gradients, has one for all: time to compile counts more there.
template <class T, class A> struct strip_functions {
  static constexpr int most = strip_rows<T, A>;
  static constexpr int at_most(int rows, int step) {
    return sizeof(T) == 4 ? std::min((rows + step - 1) / step * step, most) : most;
  }
  void (*whole)(const strips<T>&, index_t row, index_t n);
  void (*edge)(const strips<T>&, index_t row, index_t n, const T* b, index_t column, index_t width);

  template <int... rows> static constexpr auto table(std::integer_sequence<int, rows...>) {
    return std::array<strip_functions, most>{strip_functions{
        kernels::strip<T, A, at_most(rows + 1, 1)>, kernels::edge<T, A, at_most(rows + 1, 2)>}...};
  }
  static constexpr auto table() { return table(std::make_integer_sequence<int, most>{}); }
};

template <class T, class A> constexpr index_t strip_count(index_t rows) {
  constexpr index_t most = strip_rows<T, A>;
  return (rows + most - 1) / most;
}

// The table of k * step for k < depth, which this thread keeps until it asks for another.
inline const index_t* regular_offsets(index_t depth, index_t step) {
  thread_local const index_t* known = nullptr;
  thread_local index_t known_depth = -1, known_step = 0;
  if (depth <= known_depth && step == known_step) return known;
  thread_local std::vector<index_t> table;
  table.resize(static_cast<std::size_t>(std::max<index_t>({depth, known_depth, 1})));
  for (std::size_t k = 0; k < table.size(); ++k) table[k] = static_cast<index_t>(k) * step;
  known = table.data(), known_depth = static_cast<index_t>(table.size()), known_step = step;
  return known;
}

// Strip i of so many rows. Sizes differ by one row at most: 16 rows are 6 + 5 + 5 or 8 + 8, never
// 6 + 6 + 4, as tiles of few rows wait for the latency of fma.
struct strip_range {
  index_t begin, count;
};
template <class T, class A> struct strip_split {
  index_t rows, count = std::max<index_t>(strip_count<T, A>(rows), 1);
  // Divided once: a strip of shallow tiles takes no longer than a division.
  index_t size = rows / count, longer = rows % count;

  constexpr strip_range operator[](index_t i) const {
    return {i * size + std::min(i, longer), size + (i < longer)};
  }
};

// Strips [first, last) of the strip_count(rows).
template <class T, class A>
[[gnu::noinline]] void run_strips(const strips<T>& s, index_t first, index_t last) {
  constexpr index_t panel = tile_shape<T, A>::panel, lanes = simd::pack<T, A>::size;
  static constexpr auto table = strip_functions<T, A>::table();
  if (s.a_cols == nullptr) {
    strips<T> tabled = s;
    tabled.a_cols = regular_offsets(s.depth, s.a_col_step);
    return run_strips<T, A>(tabled, first, last);
  }
  const index_t panels = s.cols / panel;
  const strip_split<T, A> split{s.rows};
  for (index_t i = first; i < last; ++i) {
    const auto [begin, n] = split[i];
    const auto& run = table[static_cast<std::size_t>(n - 1)];
    if (panels > 0) run.whole(s, begin, n);
    const T* b = s.b + panels * s.b_panel;
    for (index_t j = panels * panel; j < s.cols; j += lanes, b += lanes)
      run.edge(s, begin, n, b, j, std::min(lanes, s.cols - j));
    if (s.finish)
      for (index_t r = 0; r < n; ++r)
        apply<T, A>(*s.finish, s.row(begin + r), s.first_row + begin + r, s.first_column, s.cols);
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
