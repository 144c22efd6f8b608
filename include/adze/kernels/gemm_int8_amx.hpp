#pragma once
// SPDX-License-Identifier: MIT
// Strips of integer products by AMX, where the machine has it: two blocks of up to 16 rows of codes
// times panels of weights, 16 steps of the depth in one instruction. Rows and panels are those of
// gemm_int8_tile.hpp, read where they lie, and so is what becomes of the sums.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include <adze/kernels/gemm_int8_tile.hpp>
#include <adze/simd/amx.hpp>

namespace adze::kernels::inline ADZE_ISA {

// The steps of a run in blocks of one size: without a rest where runs follow each other, as the
// steps behind a run are another one's.
template <class = void> index_t amx_block_steps(index_t steps, bool one_run) {
  constexpr index_t most = 16;
  if (one_run) {
    const index_t blocks = (steps + most - 1) / most;
    return (steps + blocks - 1) / blocks;
  }
  index_t size = most;
  while (steps % size != 0) --size;
  return size;
}

// Whether a product is faster by AMX than by register tiles (measured at 1 to 8 rows by 32 to 1024
// columns by 64 to 1024): configuring and emptying its registers costs about 0.1 us, and blocks
// take their time whatever their depth.
template <class Left> bool amx_pays(const Left& a, index_t depth, index_t steps) {
  const index_t rows = a.count();
  return rows >= 3 && std::min(rows, amx_strip_rows) * depth >= 768 &&
         amx_block_steps<>(a.run_steps_of(steps), a.one_run()) >= 3;
}

// The steps of each row behind its whole blocks, filled up with zeros.
struct amx_rest {
  index_t steps = 0;
  alignas(64) std::byte rows[amx_strip_rows * 64];

  amx_rest(const integer_strip& s, index_t whole)
      : steps(s.steps - whole + (s.last_step != nullptr)) {
    if (steps == 0) return;
    std::memset(rows, 0, sizeof rows);
    const auto bytes = static_cast<std::size_t>((s.steps - whole) * 4);
    for (index_t r = 0; r < s.rows; ++r) {
      const std::byte* const from = r < s.first_rows
                                        ? s.left + r * s.left_stride
                                        : s.second + (r - s.first_rows) * s.left_stride;
      std::memcpy(rows + r * 64, from + s.run_offsets[0] + whole * 4, bytes);
      if (s.last_step) std::memcpy(rows + r * 64 + bytes, &s.last_step[r], 4);
    }
  }
};

// Adds the products with one panel to the square of sums.
template <class A, class Square>
[[gnu::always_inline]] inline void amx_add_panel(const integer_strip& s, const std::byte* b,
                                                 index_t size, const amx_rest& rest) {
  constexpr index_t step_bytes = integer_panel<A> * 4;
  const auto add = [&](const std::byte* upper, const std::byte* lower, index_t stride)
      __attribute__((always_inline)) {
    Square::template add<simd::amx_numbers::bytes>(upper, lower, stride, b, step_bytes, 64);
    b += size * step_bytes;
  };
  const index_t stride = s.left_stride, blocks = s.steps / size, down = s.second - s.left;
  for (index_t run = 0; run < s.runs; ++run) {
    const std::byte* left = s.left + s.run_offsets[run];
    for (index_t k = 0; k < blocks; ++k, left += size * 4) add(left, left + down, stride);
  }
  if (rest.steps > 0) add(rest.rows, rest.rows + s.first_rows * 64, 64);
}

// rows x vectors sums from memory, and the starts of their columns.
template <class I, int rows, int vectors>
[[gnu::always_inline]] inline void finish_amx_rows(const std::int32_t* sums, index_t stride,
                                                   const std::int32_t* start,
                                                   const finished_output& f, index_t column) {
  registers<registers<I, vectors>, rows> sum;
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    const I first = start ? I::load(start + v * I::size) : I::all(0);
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) sum[r][v] = I::load(sums + r * stride + v * I::size) + first;
  }
  finish_tile<I, rows, vectors>(sum, f, column);
}

template <class A, bool two, int vectors>
[[gnu::noinline]] void run_amx_strip(const integer_strip& s) {
  using I = typename integer_tile_shape<A, integer_layout::quads>::lanes;
  using square = simd::amx_square<two, vectors == 2>;
  const index_t size = amx_block_steps<>(s.steps + (s.last_step != nullptr), s.runs == 1);
  s.blocks->resize(s.first_rows, s.rows - s.first_rows, size);
  const amx_rest rest(s, s.steps / size * size);
  alignas(64) std::int32_t hot[amx_strip_rows * 32];
  for (index_t p = 0; p < s.count; ++p) {
    const index_t column = p * integer_panel<A>;
    std::int32_t* const sums = s.sums + column;
    const std::int32_t* const start = s.start ? s.start + column : nullptr;
    if (start)
      square::zero();
    else
      square::load(sums, s.sums_stride, s.first_rows);
    amx_add_panel<A, square>(s, s.panels + p * s.panel_bytes, size, rest);
    const index_t stride = s.finished ? 32 : s.sums_stride;
    std::int32_t* const to = s.finished ? hot : sums;
    square::store(to, stride, s.first_rows);
    if (s.finished) {
      finished_output f = *s.finished;
      index_t r = 0;
      for (; r + 4 <= s.rows; r += 4, f.advance(4))
        finish_amx_rows<I, 4, vectors>(hot + r * 32, 32, start, f, column);
      for (; r < s.rows; ++r, f.advance(1))
        finish_amx_rows<I, 1, vectors>(hot + r * 32, 32, start, f, column);
    } else if (start) {
      for (index_t r = 0; r < s.rows; ++r)
        for (int v = 0; v < vectors; ++v) {
          std::int32_t* const at = sums + r * stride + v * I::size;
          (I::load(at) + I::load(start + v * I::size)).store(at);
        }
    }
  }
}

// The function for a strip, whose sums fill one register of columns or two.
template <class A> auto amx_strip(const integer_strip& s, bool thin) {
  if (s.rows > s.first_rows) return thin ? run_amx_strip<A, true, 1> : run_amx_strip<A, true, 2>;
  return thin ? run_amx_strip<A, false, 1> : run_amx_strip<A, false, 2>;
}

}  // namespace adze::kernels::inline ADZE_ISA
