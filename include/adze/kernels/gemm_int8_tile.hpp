#pragma once
// SPDX-License-Identifier: MIT
// The register tile of integer products, and strips of tiles: a few rows of codes, steps of 32 bits
// of them repeated in all lanes, times a panel of weights. The sums go to a buffer that stays in
// the L1 cache; or are finished in registers; what becomes of them is gemm_int8_finish.hpp's
// business.
#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include <adze/kernels/gemm_int8_finish.hpp>
#include <adze/kernels/gemm_int8_pack.hpp>
#include <adze/kernels/gemm_strips.hpp>
#include <adze/simd/amx.hpp>
#include <adze/simd/codes.hpp>
#include <adze/simd/dot.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Whether such products have strips by AMX, gemm_int8_amx.hpp, and the rows of a block and a strip.
template <class A, integer_layout layout>
inline constexpr bool amx_strips =
    simd::has_amx&& layout == integer_layout::quads&& integer_panel<A> == 32;
inline constexpr index_t amx_rows = 16, amx_strip_rows = 2 * amx_rows;

// The most rows of any strip.
template <class A, integer_layout layout>
inline constexpr index_t most_strip_rows = amx_strips<A, layout>
                                               ? amx_strip_rows
                                               : std::max(integer_tile_shape<A, layout>::rows,
                                                          integer_tile_shape<A, layout>::thin_rows);

// Whole panels finished in registers, as sums, floats or bytes of codes: of the strip's first row
// and column, which has place `first` in the terms.
struct finished_output {
  const column_terms* terms = nullptr;
  index_t first = 0, stride = 0;
  std::int32_t* whole = nullptr;  // sums, or
  float* real = nullptr;          // at least `least`, or
  std::uint8_t* codes = nullptr;
  float least = 0, inverse = 1;
  simd::code_steps steps{};

  finished_output() = default;
  finished_output(const integer_finish& f, const column_terms& columns, index_t row_stride)
      : terms(&columns), stride(row_stride), least(least_result(f)), inverse(f.inverse),
        steps(steps_of(f)) {}
  template <class Out> void place(Out* to) {
    if constexpr (std::is_same_v<Out, std::int32_t>) whole = to;
    if constexpr (std::is_same_v<Out, float>) real = to;
    if constexpr (simd::code<Out>) codes = reinterpret_cast<std::uint8_t*>(to);
  }
  void advance(index_t rows) {
    if (whole) whole += rows * stride;
    if (real) real += rows * stride;
    if (codes) codes += rows * stride;
  }
};

// Products of a few rows with a run of panels, over some steps of the depth. Rows are runs of
// steps, one after the other or wherever the offsets say: the rows of pixels of a window.
struct integer_strip {
  const std::byte* left = nullptr;        // of the first row
  index_t left_stride = 0;                // bytes between rows
  const index_t* run_offsets = &one_run;  // of each run, in bytes
  index_t runs = 1;
  index_t steps = 0;                         // whole ones in a run, in the memory of the rows
  const std::uint32_t* last_step = nullptr;  // of each row, where the row's memory ends inside it
  const std::byte* panels = nullptr;         // of the first step
  index_t panel_bytes = 0;                   // between panels
  index_t count = 0;                         // panels
  std::int32_t* sums = nullptr;              // [row][column]
  index_t sums_stride = 0;
  const std::int32_t* start = nullptr;        // of each column, instead of the sums that are there
  const finished_output* finished = nullptr;  // instead of the sums, with the last steps

  index_t rows = 0;
  // Of AMX: the rows of the first block, and where those of the second begin.
  index_t first_rows = 0;
  const std::byte* second = nullptr;
  simd::amx_blocks* blocks = nullptr;

  static constexpr index_t one_run = 0;
};

// Pinned where there are 32 registers; with 16 of them g++ copies each pinned sum once more.
template <integer_layout layout, class I>
[[gnu::always_inline]] inline void add_product(I& sum, I a, I b) {
  sum = layout == integer_layout::quads ? dot_bytes(sum, a, b) : dot_words(sum, a, b);
  if constexpr (I::size == 16) pin(sum);
}

template <class I, int rows, int vectors, class Sums>
[[gnu::always_inline]] inline void finish_tile(const Sums& sum, const finished_output& f,
                                               index_t column) {
  using P = decltype(to_float(I()));
  const index_t stride = f.stride;
  const auto each = [&](auto* out, auto store) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const index_t at = f.first + column + v * I::size;
      const P scale = P::load(f.terms->scale + at), bias = P::load(f.terms->bias + at);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) store(out + r * stride + v * I::size, sum[r][v], scale, bias);
    }
  };
  if (f.whole)
    return each(
        f.whole + column,
        [](std::int32_t * out, I t, P, P) __attribute__((always_inline)) { t.store(out); });
  if (f.codes) {
    const P inverse(f.inverse);
    const simd::code_steps steps = f.steps;
    constexpr int joined = simd::joined_code_rows<P, vectors>;
    P scales[static_cast<std::size_t>(vectors)];  // before stores, which g++ takes to change them
    for (int v = 0; v < vectors; ++v)
      scales[v] = P::load(f.terms->scale + f.first + column + v * I::size);
    const auto real = [&](int r, int v) __attribute__((always_inline)) {
      return to_float(sum[r][v]) * scales[v] * inverse;
    };
    const auto store = [&](int r, auto n) __attribute__((always_inline)) {
      P some[n()][vectors];
      for (int i = 0; i < n(); ++i)
        for (int v = 0; v < vectors; ++v) some[i][v] = real(r + i, v);
      store_code_rows(some, steps, f.codes + column + r * stride, stride);
    };
    int r = 0;
    if constexpr (joined > 0)
#pragma GCC unroll 8
      for (; r + joined <= rows; r += joined) store(r, std::integral_constant<int, joined>());
    if constexpr (joined == 2 && rows % 2 == 1)
      store(r, std::integral_constant<int, 1>());
    else
#pragma GCC unroll 16
      for (; r < rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v)
          store_code_bytes(real(r, v), steps, f.codes + column + r * stride + v * I::size);
    return;
  }
  const P least(f.least);
  each(
      f.real + column, [&](float* out, I t, P scale, P bias) __attribute__((always_inline)) {
        greater_of(least, fma(to_float(t), scale, bias)).store(out);
      });
}

// The first `vectors` registers of one panel. Few rows take turns in several sets of sums, as a
// product waits for the one before.
template <class A, integer_layout layout, int rows, int vectors>
[[gnu::always_inline]] inline void integer_tile(const integer_strip& s, const std::byte* b,
                                                index_t column) {
  using I = typename integer_tile_shape<A, layout>::lanes;
  constexpr int turns = rows * vectors <= 2 ? 4 : rows * vectors <= 6 ? 2 : 1;
  // The distance that benchmarks/gemm_int8 chose: 1 % where weights come from the L2 cache.
  constexpr index_t step_bytes = integer_panel<A> * 4, ahead = 1024;
  registers<registers<registers<I, vectors>, rows>, turns> sum;
  std::int32_t* const out = s.sums + column;
  const index_t out_stride = s.sums_stride;
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    const I start = s.start ? I::load(s.start + column + v * I::size) : I::all(0);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      sum[0][r][v] = start;
#pragma GCC unroll 4
      for (int t = 1; t < turns; ++t) sum[t][r][v] = I::all(0);
    }
  }
  const auto add = [&](auto& into, const auto& codes) __attribute__((always_inline)) {
    registers<I, vectors> right;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      right[v] = I::load(b + v * I::size * 4);
      pin(right[v]);
    }
    if constexpr (turns == 1)
      for (index_t q = 0; q < step_bytes; q += 64) __builtin_prefetch(b + ahead + q);
    b += step_bytes;
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const I a = I::repeat(codes(r));
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) add_product<layout>(into[r][v], a, right[v]);
    }
  };
  // One pointer for three rows: x86 adds a stride or twice a stride to it for nothing.
  const index_t stride = s.left_stride;
  registers<const std::byte*, (rows + 2) / 3> left;
  const auto step = [&](auto& into) __attribute__((always_inline)) {
    add(into, [&](int r) { return left[r / 3] + r % 3 * stride; });
#pragma GCC unroll 16
    for (int r = 0; r < rows; r += 3) left[r / 3] += 4;
  };
  for (index_t run = 0; run < s.runs; ++run) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; r += 3) left[r / 3] = s.left + s.run_offsets[run] + r * stride;
    index_t k = s.steps;
    for (; k >= turns; k -= turns) {
#pragma GCC unroll 4
      for (int t = 0; t < turns; ++t) step(sum[t]);
    }
    if constexpr (turns > 1)
      for (; k > 0; --k) step(sum[0]);
  }
  if (s.last_step) add(sum[0], [&](int r) { return s.last_step + r; });
#pragma GCC unroll 4
  for (int t = 1; t < turns; ++t)
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[0][r][v] = sum[0][r][v] + sum[t][r][v];
  if (!s.start) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        sum[0][r][v] = sum[0][r][v] + I::load(out + r * out_stride + v * I::size);
  }
  if (s.finished) return finish_tile<I, rows, vectors>(sum[0], *s.finished, column);
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[0][r][v].store(out + r * out_stride + v * I::size);
}

// One function per row count: g++ keeps the sums in memory when they share one.
template <class A, integer_layout layout, int rows, int vectors>
[[gnu::noinline]] void run_integer_strip(const integer_strip& s) {
  for (index_t p = 0; p < s.count; ++p)
    integer_tile<A, layout, rows, vectors>(s, s.panels + p * s.panel_bytes, p * integer_panel<A>);
}

// The function for each number of rows, from 1 on.
template <class A, integer_layout layout, int vectors> constexpr auto integer_strip_table() {
  using function = void (*)(const integer_strip&);
  using shape = integer_tile_shape<A, layout>;
  return []<int... rows>(std::integer_sequence<int, rows...>) {
    return std::array<function, sizeof...(rows)>{
        run_integer_strip<A, layout, rows + 1, vectors>...};
  }
  (std::make_integer_sequence < int, vectors == 1 ? shape::thin_rows : shape::rows > {});
}

}  // namespace adze::kernels::inline ADZE_ISA
