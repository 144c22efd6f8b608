#pragma once
// SPDX-License-Identifier: MIT
// Four rows of codes side by side: lane i holds the i-th code of each row as a quad of unsigned
// bytes, so that one step adds the products of four rows. The last part is the overrides.
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <adze/fwd.hpp>
#include <adze/simd/arch.hpp>
#include <adze/simd/codes.hpp>
#include <adze/simd/dot.hpp>

namespace adze::simd::inline ADZE_ISA {

// Codes that one load_quads reads of each row.
template <class A> inline constexpr index_t quad_block = 4 * integers<A>::size;

// Registers that hold the weights of one register of quads and are exact for all codes: where no
// instruction multiplies bytes exactly they are words, those of rows 0 and 2 before those of rows 1
// and 3. One of bytes is exact, and faster, for codes of seven bits where seven_bit_quads says so.
template <class A> inline constexpr int quad_parts = integers<A>::bytes_exact ? 1 : 2;
template <class A> inline constexpr bool seven_bit_quads = false;
#if defined(XSIMD_VERSION_MAJOR) && XSIMD_WITH_FMA3_AVX2
template <> inline constexpr bool seven_bit_quads<avx2> = !integers<avx2>::bytes_exact;
#endif

// Signed codes move up by 128.
template <code Code> std::uint8_t quad_byte(Code x) {
  return static_cast<std::uint8_t>(std::is_signed_v<Code> ? x + 128 : x);
}

// quads[v], lane i = codes v * size + i of rows[0..3], each from column `at` on.
template <class A, code Code>
void load_quads(const Code* const* rows, index_t at, integers<A>* quads) {
  for (index_t i = 0; i < quad_block<A>; ++i) {
    std::uint32_t quad = 0;
    for (int r = 0; r < 4; ++r) quad |= std::uint32_t(quad_byte(rows[r][at + i])) << 8 * r;
    quads[i / integers<A>::size].v[static_cast<std::size_t>(i % integers<A>::size)] = quad;
  }
}

// sum + the products of a register of quads with the weights at w, of that many parts.
template <int parts, class A>
[[gnu::always_inline]] inline integers<A> add_quads(integers<A> sum, integers<A> quads,
                                                    const std::byte* w) {
  if constexpr (parts == 1)
    return dot_bytes(sum, quads, integers<A>::load(w));
  else
    return add_quad_words(sum, quads, w);
}

#if defined(XSIMD_VERSION_MAJOR) && XSIMD_WITH_SSE2

template <code Code>
[[gnu::always_inline]] inline void load_quads(const Code* const* rows, index_t at,
                                              integers<sse2>* quads) {
  const auto row = [&](int r) {
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + at));
    return std::is_signed_v<Code> ? _mm_xor_si128(codes, _mm_set1_epi8(-128)) : codes;
  };
  const __m128i a = row(0), b = row(1), c = row(2), d = row(3);
  const __m128i ab_low = _mm_unpacklo_epi8(a, b), ab_high = _mm_unpackhi_epi8(a, b);
  const __m128i cd_low = _mm_unpacklo_epi8(c, d), cd_high = _mm_unpackhi_epi8(c, d);
  quads[0].v = _mm_unpacklo_epi16(ab_low, cd_low);
  quads[1].v = _mm_unpackhi_epi16(ab_low, cd_low);
  quads[2].v = _mm_unpacklo_epi16(ab_high, cd_high);
  quads[3].v = _mm_unpackhi_epi16(ab_high, cd_high);
}

[[gnu::always_inline]] inline integers<sse2> add_quad_words(integers<sse2> sum,
                                                            integers<sse2> quads,
                                                            const std::byte* w) {
  using I = integers<sse2>;
  const I even{_mm_and_si128(quads.v, _mm_set1_epi16(255))};
  const I odd{_mm_srli_epi16(quads.v, 8)};
  return dot_words(dot_words(sum, even, I::load(w)), odd, I::load(w + I::size * 4));
}

#endif
#if defined(XSIMD_VERSION_MAJOR) && XSIMD_WITH_FMA3_AVX2

template <code Code>
[[gnu::always_inline]] inline void load_quads(const Code* const* rows, index_t at,
                                              integers<avx2>* quads) {
  const auto row = [&](int r) {
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[r] + at));
    return std::is_signed_v<Code> ? _mm256_xor_si256(codes, _mm256_set1_epi8(-128)) : codes;
  };
  const __m256i a = row(0), b = row(1), c = row(2), d = row(3);
  const __m256i ab_low = _mm256_unpacklo_epi8(a, b), ab_high = _mm256_unpackhi_epi8(a, b);
  const __m256i cd_low = _mm256_unpacklo_epi8(c, d), cd_high = _mm256_unpackhi_epi8(c, d);
  const __m256i q0 = _mm256_unpacklo_epi16(ab_low, cd_low);  // codes 0-3 and 16-19
  const __m256i q1 = _mm256_unpackhi_epi16(ab_low, cd_low);
  const __m256i q2 = _mm256_unpacklo_epi16(ab_high, cd_high);
  const __m256i q3 = _mm256_unpackhi_epi16(ab_high, cd_high);
  quads[0].v = _mm256_permute2x128_si256(q0, q1, 0x20);
  quads[1].v = _mm256_permute2x128_si256(q2, q3, 0x20);
  quads[2].v = _mm256_permute2x128_si256(q0, q1, 0x31);
  quads[3].v = _mm256_permute2x128_si256(q2, q3, 0x31);
}

[[gnu::always_inline]] inline integers<avx2> add_quad_words(integers<avx2> sum,
                                                            integers<avx2> quads,
                                                            const std::byte* w) {
  using I = integers<avx2>;
  const I even{_mm256_and_si256(quads.v, _mm256_set1_epi16(255))};
  const I odd{_mm256_srli_epi16(quads.v, 8)};
  return dot_words(dot_words(sum, even, I::load(w)), odd, I::load(w + I::size * 4));
}

#endif

}  // namespace adze::simd::inline ADZE_ISA
