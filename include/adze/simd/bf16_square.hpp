#pragma once
// SPDX-License-Identifier: MIT
// Products of bf16 as processors multiply them, added to a square of sums in memory: blocks of both
// operands by AMX, or pairs of the depth in registers, where there is AVX512_BF16 alone. Both take
// subnormal inputs, products' sums and results for zero, whatever the caller's control word says;
// roundings are to nearest even, NaN and infinities as usual.
#include <algorithm>
#include <cstddef>
#include <cstring>

#include <adze/fwd.hpp>
#include <adze/simd/amx.hpp>
#include <adze/simd/bf16_pairs.hpp>
#include <adze/simd/tile.hpp>

namespace adze::simd::inline ADZE_ISA {

// Lines of a strip (rows of the left operand) and of a panel (columns of the right one), and the
// bytes of their blocks for each 32 of the depth: those of lines 0 to 15, then of 16 to 31.
inline constexpr index_t bf16_lines = 32, bf16_step = 2 * block_bytes;

// The left operand of a strip: its rows, and how far it is to those of the next 32 of the depth.
struct bf16_left {
  const std::byte* data = nullptr;
  index_t row_bytes = 64, step_bytes = bf16_step;
  index_t rows = 0, blocks = 0;     // of the depth
  const std::byte* rest = nullptr;  // one more, packed
};

#if defined(ADZE_AMX)

inline constexpr bool multiplies_bf16 = true;
// Blocks of the depth whose strip stays in the L1 cache while panels pass.
inline constexpr index_t bf16_near_blocks = 8;
// Whether this process may multiply so.
inline bool bf16_allowed() { return amx_allowed(); }

// What a thread holds while it multiplies strips.
using bf16_state = amx_blocks;
inline void begin_strip(bf16_state& state, index_t rows) {
  state.resize(std::min(rows, block_lines), std::max<index_t>(rows - block_lines, 0), block_lines);
}

template <bool two, bool wide>
[[gnu::noinline]] void add_bf16_square(const bf16_left& a, const std::byte* b, index_t first,
                                       index_t last, bool rest, float* sums, bool accumulate) {
  using square = amx_square<two, wide>;
  if (accumulate)
    square::load(sums, bf16_lines, block_lines);
  else
    square::zero();
  const auto add = [&](const std::byte* upper, index_t row_bytes) __attribute__((always_inline)) {
    square::template add<amx_numbers::bf16>(upper, upper + block_lines * row_bytes, row_bytes, b,
                                            64, block_bytes);
    b += bf16_step;
  };
  b += first * bf16_step;
  const index_t row_bytes = a.row_bytes, step = a.step_bytes;
  for (index_t k = first; k < last; ++k) add(a.data + k * step, row_bytes);
  if (rest) add(a.rest, 64);
  square::store(sums, bf16_lines, block_lines);
}

// Sums of 32 x 32 += blocks [first, last) of the depth, and the rest. Each sum is one chain over
// the blocks; in a block, products of even and of odd places are two chains of fma, added to each
// other and then to the sum.
[[gnu::noinline]] inline void add_bf16(const bf16_left& a, const std::byte* b, index_t cols,
                                       index_t first, index_t last, bool rest, float* sums,
                                       bool accumulate) {
  const bool two = a.rows > block_lines, wide = cols > block_lines;
  const auto add = two    ? wide ? add_bf16_square<true, true> : add_bf16_square<true, false>
                      : wide ? add_bf16_square<false, true>
                          : add_bf16_square<false, false>;
  add(a, b, first, last, rest, sums, accumulate);
}

#elif defined(ADZE_AVX512_BF16)

inline constexpr bool multiplies_bf16 = true;
inline constexpr index_t bf16_near_blocks = 32;  // eight rows at a time share the L1 cache
inline bool bf16_allowed() { return true; }

struct bf16_state {};
inline void begin_strip(bf16_state&, index_t) {}

// Some rows, each where its pointer says and `step` bytes further for the next block.
template <int rows, int packs>
[[gnu::always_inline]] inline void add_bf16_blocks(__m512 (&sum)[rows][packs],
                                                   const std::byte* const (&a)[rows], index_t step,
                                                   const std::byte* b, index_t blocks) {
  index_t at = 0;
  for (; blocks > 0; --blocks, b += bf16_step, at += step - 64)
    for (index_t pair = 0; pair < 16; ++pair, at += 4) {
      __m512bh right[packs];
      unroll<packs>([&](auto v) __attribute__((always_inline)) {
        __m512i pairs = _mm512_load_si512(b + pair * 64 + v * block_bytes);
        asm("" : "+v"(pairs));  // not a memory operand of every use
        right[v] = std::bit_cast<__m512bh>(pairs);
      });
      unroll<rows>([&](auto r) __attribute__((always_inline)) {
        int pair_of_row;
        std::memcpy(&pair_of_row, a[r] + at, sizeof pair_of_row);
        const auto left = std::bit_cast<__m512bh>(_mm512_set1_epi32(pair_of_row));
        unroll<packs>([&](auto v) __attribute__((always_inline)) {
          sum[r][v] = _mm512_dpbf16_ps(sum[r][v], left, right[v]);
        });
      });
    }
}

// Rows from `row` on; those beyond the last one repeat it. Eight by two packs, or four by two, wait
// for no product; one function each, as for tiles of f32.
template <int rows, int packs>
[[gnu::noinline]] void add_bf16_rows(const bf16_left& a, index_t row, const std::byte* b,
                                     index_t first, index_t last, bool rest, float* sums,
                                     bool accumulate) {
  __m512 sum[rows][packs];
  unroll<rows * packs>([&](auto i) __attribute__((always_inline)) {
    constexpr int r = i / packs, v = i % packs;
    sum[r][v] =
        accumulate ? _mm512_loadu_ps(sums + r * bf16_lines + v * block_lines) : _mm512_setzero_ps();
  });
  const std::byte* from[rows];
  unroll<rows>([&](auto r) __attribute__((always_inline)) {
    from[r] = a.data + std::min<index_t>(row + r, a.rows - 1) * a.row_bytes + first * a.step_bytes;
  });
  add_bf16_blocks(sum, from, a.step_bytes, b + first * bf16_step, last - first);
  if (rest) {
    unroll<rows>([&](auto r) __attribute__((always_inline)) { from[r] = a.rest + (row + r) * 64; });
    add_bf16_blocks(sum, from, 0, b + last * bf16_step, 1);
  }
  unroll<rows * packs>([&](auto i) __attribute__((always_inline)) {
    constexpr int r = i / packs, v = i % packs;
    _mm512_storeu_ps(sums + r * bf16_lines + v * block_lines, sum[r][v]);
  });
}

// Sums of 32 x 32 += blocks [first, last) of the depth, and the rest. Each sum is one chain of fma
// over the depth, where the odd place of a pair comes before the even one.
[[gnu::noinline]] inline void add_bf16(const bf16_left& a, const std::byte* b, index_t cols,
                                       index_t first, index_t last, bool rest, float* sums,
                                       bool accumulate) {
  const bool wide = cols > block_lines;
  for (index_t row = 0; row < a.rows; row += 8, sums += 8 * bf16_lines) {
    const bool few = a.rows - row <= 4;
    const auto add = few    ? wide ? add_bf16_rows<4, 2> : add_bf16_rows<4, 1>
                        : wide ? add_bf16_rows<8, 2>
                            : add_bf16_rows<8, 1>;
    add(a, row, b, first, last, rest, sums, accumulate);
  }
}

#else
inline constexpr bool multiplies_bf16 = false;
inline constexpr index_t bf16_near_blocks = 1;
inline bool bf16_allowed() { return false; }
struct bf16_state {};
inline void begin_strip(bf16_state&, index_t) {}
// Never called.
void add_bf16(const bf16_left& a, const std::byte* b, index_t cols, index_t first, index_t last,
              bool rest, float* sums, bool accumulate);
#endif

}  // namespace adze::simd::inline ADZE_ISA
