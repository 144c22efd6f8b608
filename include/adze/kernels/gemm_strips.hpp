#pragma once
// SPDX-License-Identifier: MIT
// Strips of tiles: a few rows of the left operand times all columns of a block of the right one,
// whole panels and what they leave.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <adze/kernels/epilogue.hpp>
#include <adze/kernels/gemm_plain.hpp>
#include <adze/kernels/gemm_tile.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Rows of a strip. Where 32 registers hold them, eight read the right operand less often; twelve
// pointers to rows no longer fit.
template <class T, class A>
inline constexpr int strip_rows = A::bytes == 64 && sizeof(T) == 4 ? 8 : tile_shape<T, A>::rows;

// The functions for 1, 2, ... rows. Edges have one for several numbers of rows. Double, which
// checks gradients, has one for all: time to compile counts more there.
template <class T, class A> struct strip_functions {
  static constexpr int most = strip_rows<T, A>;
  static constexpr int at_most(int rows, int step) {
    return sizeof(T) == 4 ? std::min((rows + step - 1) / step * step, most) : most;
  }
  using whole_function = void(const strips<T>&, const index_t*, index_t row, index_t n);
  using edge_function = void(const strips<T>&, const index_t*, index_t row, index_t n, const T* b,
                             index_t column);
  whole_function* whole;
  edge_function *edge, *wide_edge;

  static constexpr bool masked = A::bytes == 64 && sizeof(T) == 4;
  template <int rows> static constexpr strip_functions of() {
    auto* whole = kernels::strip<T, A, at_most(rows, 1)>;
    if constexpr (masked) {
      return {whole, masked_edge<T, A, at_most(rows, 2), 1>,
              masked_edge<T, A, at_most(rows, 4), 2>};
    } else {
      return {whole, kernels::edge<T, A, at_most(rows, 2)>, nullptr};
    }
  }
  template <int... rows> static constexpr auto table(std::integer_sequence<int, rows...>) {
    return std::array<strip_functions, most>{of<rows + 1>()...};
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
  // Divided once, if at all: a strip of shallow tiles takes no longer than a division.
  index_t size = count == 1 ? rows : rows / count, longer = rows - size * count;

  constexpr strip_range operator[](index_t i) const {
    return {i * size + std::min(i, longer), size + (i < longer)};
  }
};

// What whole panels leave of n rows.
template <class T, class A>
void run_edges(const strips<T>& s, const index_t* offsets, index_t row, index_t n) {
  using functions = strip_functions<T, A>;
  constexpr index_t panel = tile_shape<T, A>::panel, lanes = simd::pack<T, A>::size;
  static constexpr auto table = functions::table();
  const auto& run = table[static_cast<std::size_t>(n - 1)];
  const index_t panels = s.cols / panel;
  const T* b = s.b + panels * s.b_panel;
  index_t j = panels * panel;
  if (functions::masked && s.cols - j > lanes) return run.wide_edge(s, offsets, row, n, b, j);
  for (; j < s.cols; j += lanes, b += lanes) run.edge(s, offsets, row, n, b, j);
}

// Strips [first, last) of the strip_count(rows).
template <class T, class A>
[[gnu::noinline]] void run_strips(const strips<T>& s, index_t first, index_t last) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  static constexpr auto table = strip_functions<T, A>::table();
  const strip_split<T, A> split{s.rows};
  if constexpr (plain_tiles<T, A>::exist) {
    const index_t begin = split[first].begin;
    if (plain_tiles<T, A>::fit(s)) return plain_rows<T, A>(s, begin, split[last].begin - begin);
  }
  const index_t* const offsets = s.a_cols ? s.a_cols : regular_offsets(s.depth, s.a_col_step);
  for (index_t i = first; i < last; ++i) {
    const auto [begin, n] = split[i];
    if (s.cols >= panel) table[static_cast<std::size_t>(n - 1)].whole(s, offsets, begin, n);
    if (s.cols % panel != 0) run_edges<T, A>(s, offsets, begin, n);
    for (index_t r = 0; s.finish && r < n; ++r)
      apply<T, A>(*s.finish, s.row(begin + r), s.first_row + begin + r, s.first_column, s.cols);
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
