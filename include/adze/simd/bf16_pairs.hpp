#pragma once
// SPDX-License-Identifier: MIT
// Blocks of bf16 as processors multiply them: 16 lines of an operand (rows of the left one, columns
// of the right one) times 16 pairs of the depth, a pair in 32 bits. Left blocks hold a line in 64
// bytes, right ones the same pair of all lines. Missing lines and depth are zeros, never read.
#include <bit>
#include <cstdint>

#include <adze/fwd.hpp>
#include <adze/simd/arch.hpp>

#if defined(ADZE_AMX) || defined(ADZE_AVX512_BF16)
#  include <immintrin.h>
#endif

namespace adze::simd::inline ADZE_ISA {

inline constexpr index_t block_lines = 16, block_depth = 32, block_bytes = 1024;

// One block of a line's elements next to each other, lines a step apart; up to 16 lines and 32
// elements.
template <bool right>
void pack_lines(const std::uint16_t* from, index_t step, index_t lines, index_t depth, void* to);
// The same of lines next to each other, a line's elements a step apart.
template <bool right>
void pack_depth(const std::uint16_t* from, index_t step, index_t lines, index_t depth, void* to);

#if defined(ADZE_AMX) || defined(ADZE_AVX512_BF16)

namespace detail {

using pair_lanes [[gnu::vector_size(64)]] = std::uint32_t;

template <int... lanes>
[[gnu::always_inline]] inline pair_lanes shuffled(pair_lanes x, pair_lanes y) {
  return __builtin_shufflevector(x, y, lanes...);
}

// The square of 32-bit lanes v, transposed in place: within quads of lanes, then the quads.
[[gnu::always_inline]] inline void transpose_pairs(pair_lanes* v) {
  pair_lanes t[16];
#  pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    const pair_lanes a = v[i], b = v[i + 1];
    t[i] = shuffled<0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29>(a, b);
    t[i + 1] = shuffled<2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31>(a, b);
  }
#  pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const int from = i / 2 * 4 + i % 2, to = i / 2 * 4 + i % 2 * 2;
    const pair_lanes a = t[from], b = t[from + 2];
    v[to] = shuffled<0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29>(a, b);
    v[to + 1] = shuffled<2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31>(a, b);
  }
#  pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {  // halves of rows i and i + 4 of eight
    const int from = i / 4 * 8 + i % 4;
    const pair_lanes a = v[from], b = v[from + 4];
    t[from] = shuffled<0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23>(a, b);
    t[from + 4] = shuffled<8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31>(a, b);
  }
#  pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {  // quads of them
    const pair_lanes a = t[i], b = t[i + 8];
    const int to = i / 4 * 8 + i % 4;
    v[to] = shuffled<0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27>(a, b);
    v[to + 4] = shuffled<4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31>(a, b);
  }
}

[[gnu::always_inline]] inline void store_block(pair_lanes* v, bool turned, void* to) {
  if (turned) transpose_pairs(v);
#  pragma GCC unroll 16
  for (int i = 0; i < 16; ++i)
    _mm512_store_si512(static_cast<std::byte*>(to) + 64 * i, std::bit_cast<__m512i>(v[i]));
}

}  // namespace detail

template <bool right>
[[gnu::noinline]] void pack_lines(const std::uint16_t* from, index_t step, index_t lines,
                                  index_t depth, void* to) {
  const auto exist = static_cast<__mmask32>((std::uint64_t{1} << depth) - 1);
  detail::pair_lanes v[16];
#  pragma GCC unroll 16
  for (index_t i = 0; i < 16; ++i)
    v[i] = i < lines
               ? std::bit_cast<detail::pair_lanes>(_mm512_maskz_loadu_epi16(exist, from + i * step))
               : detail::pair_lanes{};
  detail::store_block(v, right, to);
}

template <bool right>
[[gnu::noinline]] void pack_depth(const std::uint16_t* from, index_t step, index_t lines,
                                  index_t depth, void* to) {
  const auto exist = static_cast<__mmask16>((1u << lines) - 1);
  detail::pair_lanes v[16];
  const auto load = [&](index_t k) __attribute__((always_inline)) {
    if (k >= depth) return detail::pair_lanes{};
    const __m256i codes = _mm256_maskz_loadu_epi16(exist, from + k * step);
    return std::bit_cast<detail::pair_lanes>(_mm512_maskz_cvtepu16_epi32(0xffff, codes));
  };
#  pragma GCC unroll 16
  for (index_t i = 0; i < 16; ++i) v[i] = load(2 * i) | load(2 * i + 1) << 16;
  detail::store_block(v, !right, to);
}

#endif

}  // namespace adze::simd::inline ADZE_ISA
