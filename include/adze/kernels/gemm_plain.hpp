#pragma once
// SPDX-License-Identifier: MIT
// Tiles on a left operand with steps between rows and columns, where 32 registers hold twelve rows
// of two vectors and partial vectors are one instruction: whole panels and what is left of them by
// one function, which a small product enters at once.
#include <algorithm>
#include <array>
#include <utility>

#include <adze/kernels/gemm_tile.hpp>

namespace adze::kernels::inline ADZE_ISA {

// The depth of a row of tiles and where its sums go: a struct, so that none of it takes a register
// before the end of a tile.
template <class T> struct plain_results {
  index_t depth;
  T* c;
  index_t c_step, rows, cols, b_panel;
  T alpha;
  bool accumulate, scale;  // scale: alpha is not 1
};

// rows or rows - 1 rows, of which the last one may repeat the one before it, times columns in tiles
// of so many vectors, the last vector in part. Three rows share a pointer.
template <class T, class A, int rows, int vectors>
[[gnu::noinline]] void plain_tiles_of(const T* left, index_t a_step, index_t a_next, const T* right,
                                      index_t b_step, const plain_results<T>& to) {
  using P = simd::pack<T, A>;
  constexpr int groups = (rows + 1) / 3;
  constexpr index_t panel = vectors * P::size;
  simd::pin(a_next);  // g++ would write the loop twice, once for 1
  for (index_t j = 0; j < to.cols; j += panel, right += to.b_panel) {
    const T* b = right;
    const index_t width = std::min<index_t>(to.cols - j - (panel - P::size), P::size);
    registers<const T*, groups + 1> a;
#pragma GCC unroll 8
    for (int g = 0; g < groups; ++g) a[g] = left + 3 * g * a_step;
    a[groups] = left + (to.rows - 1) * a_step;
    const auto load = [&](const T* from, int v) __attribute__((always_inline)) {
      from += v * P::size;
      return v + 1 < vectors ? P::load(from) : P::load_partial(from, width);
    };
    registers<registers<P, vectors>, rows> sum;
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sum[r][v] = P(T(0));
    const auto step = [&](auto whole) __attribute__((always_inline)) {
      registers<P, vectors> of_b;
      simd::unroll<vectors>([&](auto v) __attribute__((always_inline)) {
        P next = whole ? P::load(b + v * P::size) : load(b, v);
        pin(next);
        of_b[v] = next;
        __builtin_prefetch(b + (b_ahead * 2 + v) * P::size);
      });
      simd::unroll<rows>([&](auto r) __attribute__((always_inline)) {
        const P of_a(r + 1 < rows ? a[r / 3][r % 3 * a_step] : *a[groups]);
        simd::unroll<vectors>([&](auto v) __attribute__((always_inline)) {
          sum[r][v] = fma(of_a, of_b[v], sum[r][v]);
        });
      });
      b += b_step;
#pragma GCC unroll 8
      for (int g = 0; g <= groups; ++g) a[g] += a_next;
    };
    // Results that are added to come from the L3 cache or memory: asked for before the products.
    if constexpr (rows >= 8 && vectors == 2)
      if (to.accumulate)
#pragma GCC unroll 1
        for (index_t r = 0; r < to.rows; ++r) {
          const T* const row = to.c + j + r * to.c_step;
          __builtin_prefetch(row, 1), __builtin_prefetch(row + P::size, 1);
        }
    index_t k = to.depth;
    if constexpr (rows >= 8 && vectors == 2)  // large products: masked loads take 1 % longer
      if (width == P::size)
        for (; k > 0; --k) step(std::true_type());
    for (; k > 0; --k) step(std::false_type());
    // All results are read before the first is written: the last row may be repeated.
    const P alpha(to.alpha);
    T* const first = to.c + j;
    T* row = first;
    const auto next = [&](int r) __attribute__((always_inline)) {
      row = r + 2 < rows ? row + to.c_step : first + (to.rows - 1) * to.c_step;
      asm("" : "+r"(row));  // one register for all rows
    };
    if (to.accumulate) {
#pragma GCC unroll 16
      for (int r = 0; r < rows; next(r++))
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sum[r][v] = fma(alpha, sum[r][v], load(row, v));
    } else if (to.scale) {
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sum[r][v] = alpha * sum[r][v];
    }
    row = first;
#pragma GCC unroll 16
    for (int r = 0; r < rows; next(r++)) {
      if (vectors > 1) sum[r][0].store(row);
      sum[r][vectors - 1].store_partial(row + (vectors - 1) * P::size, width);
    }
  }
}

// The tiles of one and of two vectors for 1, 2, ... rows.
template <class T, class A> struct plain_tiles {
  static constexpr bool exist = A::bytes == 64 && sizeof(T) == 4;
  // A large right operand as it stands is read ahead row by row, which these do not.
  static bool fit(const strips<T>& s) {
    return s.a_cols == nullptr && s.a_rows == nullptr && s.c_rows == nullptr &&
           (s.b_step == tile_shape<T, A>::panel || s.b_step * s.depth <= 1 << 14);
  }
  static constexpr int most = 12, most_single = 16, step = 2;
  using function = void(const T*, index_t, index_t, const T*, index_t, const plain_results<T>&);

  // By vectors, then by rows.
  template <int... i> static constexpr auto table(std::integer_sequence<int, i...>) {
    return std::array<std::array<function*, sizeof...(i)>, 2>{
        std::array{plain_tiles_of<T, A, step*(i + 1), 1>...},
        std::array{plain_tiles_of<T, A, std::min(step * (i + 1), most), 2>...}};
  }
  static constexpr auto table() {
    return table(std::make_integer_sequence<int, most_single / step>{});
  }
};

// Rows of the next strip when so many are left: as many as there are registers for, and the last
// two the same.
constexpr index_t next_strip(index_t left, index_t most) {
  return left <= most ? left : left >= 2 * most ? most : (left + 3) / 4 * 2;
}

// Rows [row, row + rows) of s, whose left rows and result rows are at a step, all columns.
template <class T, class A>
[[gnu::noinline]] void plain_rows(const strips<T>& s, index_t row, index_t rows) {
  using tiles = plain_tiles<T, A>;
  static constexpr auto table = tiles::table();
  constexpr index_t lanes = simd::pack<T, A>::size, panel = 2 * lanes;
  // Columns in tiles of two vectors: all but a last panel that fills one or less.
  const index_t over = s.cols % panel, twos = over > lanes ? s.cols : s.cols - over;
  const index_t most = s.cols <= lanes ? tiles::most_single : tiles::most;
  plain_results<T> to{s.depth, nullptr,      s.c_row_step,   0, 0, s.b_panel,
                      s.alpha, s.accumulate, s.alpha != T(1)};
  for (const index_t end = row + rows; row < end; row += to.rows) {
    T* const c = s.row(row);
    to.rows = next_strip(end - row, most);
    const auto of = static_cast<std::size_t>((to.rows - 1) / tiles::step);
    const auto run = [&](int vectors, index_t first, index_t cols) {
      if (cols <= 0) return;
      to.c = c + first, to.cols = cols;
      table[static_cast<std::size_t>(vectors - 1)][of](
          s.left(row), s.a_row_step, s.a_col_step, s.b + first / panel * s.b_panel, s.b_step, to);
    };
    run(2, 0, twos);
    run(1, twos, s.cols - twos);
    if (s.finish)
      apply_rows<T, A>(*s.finish, c, s.c_row_step, to.rows, s.first_row + row, s.first_column,
                       s.cols);
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
