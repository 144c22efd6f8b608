#pragma once
// SPDX-License-Identifier: MIT
// The register tile of integer products, and strips of tiles: a few rows of codes, steps of 32 bits
// of them repeated in all lanes, times a panel of weights. The sums go to a buffer that stays in
// the L1 cache; what becomes of them is gemm_int8_finish.hpp's business.
#include <array>
#include <cstdint>
#include <utility>

#include <adze/kernels/gemm_int8_pack.hpp>
#include <adze/kernels/gemm_tile.hpp>
#include <adze/simd/dot.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Rows of a strip, and the steps of the depth for which a strip of codes and its tile's panel share
// the L1 cache.
template <class A, integer_layout layout>
inline constexpr int integer_rows =
    layout == integer_layout::quads ? simd::integers<A>::byte_rows : 6;
template <> inline constexpr int integer_rows<simd::odd, integer_layout::quads> = 3;
template <> inline constexpr int integer_rows<simd::odd, integer_layout::words> = 2;
template <class A> inline constexpr index_t integer_depth = 512;
template <> inline constexpr index_t integer_depth<simd::odd> = 3;

// Products of `rows` rows with a run of panels, over some steps of the depth.
struct integer_strip {
  const std::byte* const* left = nullptr;    // each row's steps; the last may be in `last_step`
  const std::uint32_t* last_step = nullptr;  // of each row, where the row's memory ends inside it
  const std::byte* panels = nullptr;         // of the first step
  index_t panel_bytes = 0;                   // between panels
  index_t steps = 0;                         // whole ones in the memory of the rows
  index_t count = 0;                         // panels
  std::int32_t* sums = nullptr;              // [row][column]
  index_t sums_stride = 0;
  bool accumulate = false;
};

template <class A, integer_layout layout>
[[gnu::always_inline]] inline void add_product(simd::integers<A>& sum, simd::integers<A> a,
                                               simd::integers<A> b) {
  sum = layout == integer_layout::quads ? dot_bytes(sum, a, b) : dot_words(sum, a, b);
  pin(sum);
}

// One panel. Few rows take turns in several sets of sums: a product waits for the one before.
template <class A, integer_layout layout, int rows>
[[gnu::always_inline]] inline void integer_tile(const integer_strip& s, const std::byte* b,
                                                std::int32_t* out) {
  using I = simd::integers<A>;
  constexpr int turns = rows == 1 ? 4 : rows <= 3 ? 2 : 1;
  constexpr index_t step_bytes = integer_panel<A> * 4, half = step_bytes / 2;
  registers<const std::byte*, rows> left;
  registers<registers<registers<I, 2>, rows>, turns> sum;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    left[r] = s.left[r];
#pragma GCC unroll 4
    for (int t = 0; t < turns; ++t) sum[t][r][0] = sum[t][r][1] = I::all(0);
  }
  const auto add = [&](auto& into, const auto& codes, const std::byte* weights)
      __attribute__((always_inline)) {
    I first = I::load(weights), second = I::load(weights + half);
    pin(first), pin(second);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const I a = I::repeat(codes(r));
      add_product<A, layout>(into[r][0], a, first);
      add_product<A, layout>(into[r][1], a, second);
    }
  };
  index_t k = 0;
  for (; k + turns <= s.steps; k += turns) {
#pragma GCC unroll 4
    for (int t = 0; t < turns; ++t, b += step_bytes)
      add(
          sum[t], [&](int r) { return left[r] + (k + t) * 4; }, b);
  }
  for (; k < s.steps; ++k, b += step_bytes)
    add(
        sum[0], [&](int r) { return left[r] + k * 4; }, b);
  if (s.last_step)
    add(
        sum[0], [&](int r) { return s.last_step + r; }, b);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      I all = sum[0][r][v];
#pragma GCC unroll 4
      for (int t = 1; t < turns; ++t) all = all + sum[t][r][v];
      std::int32_t* to = out + r * s.sums_stride + v * I::size;
      (s.accumulate ? all + I::load(to) : all).store(to);
    }
  }
}

// One function per row count: g++ keeps the sums in memory when they share one.
template <class A, integer_layout layout, int rows>
[[gnu::noinline]] void run_integer_strip(const integer_strip& s) {
  for (index_t p = 0; p < s.count; ++p)
    integer_tile<A, layout, rows>(s, s.panels + p * s.panel_bytes, s.sums + p * integer_panel<A>);
}

// The function for each number of rows, from 1 on.
template <class A, integer_layout layout> constexpr auto integer_strip_table() {
  using function = void (*)(const integer_strip&);
  return []<int... rows>(std::integer_sequence<int, rows...>) {
    return std::array<function, sizeof...(rows)>{run_integer_strip<A, layout, rows + 1>...};
  }
  (std::make_integer_sequence<int, integer_rows<A, layout>>{});
}

}  // namespace adze::kernels::inline ADZE_ISA
