#pragma once
// SPDX-License-Identifier: MIT
// What the 64-byte packs of tiles and rows need beside xsimd 8 where the machine has AVX-512:
// partial and streamed loads and stores, an fma in one instruction, roots, shifts and exchanges of
// lanes, and conversions of 16 floats. Empty in builds for anything else; pack.hpp and convert.hpp
// are the users.
#include <adze/simd/arch.hpp>

#if defined(ADZE_AVX512)
#  include <immintrin.h>

#  include <adze/core/bfloat16.hpp>
#  include <adze/core/float16.hpp>
#  include <adze/fwd.hpp>

namespace adze::simd::inline ADZE_ISA {

// y 2^n for whole n, rounded once, in one instruction.
inline __m256 scale_lanes(__m256 y, __m256 n) { return _mm256_scalef_ps(y, n); }
inline __m512 scale_lanes(__m512 y, __m512 n) { return _mm512_maskz_scalef_ps(0xffff, y, n); }

// Ones for the first n lanes, n <= 16.
inline unsigned first_bits(index_t n) { return (1u << n) - 1u; }

inline __m512 load_first_wide(const float* p, index_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>(first_bits(n)), p);
}
inline __m512d load_first_wide(const double* p, index_t n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>(first_bits(n)), p);
}
inline __m512 replace_first(__m512 v, __m512 by, index_t n) {
  return _mm512_mask_mov_ps(v, static_cast<__mmask16>(first_bits(n)), by);
}
inline __m512d replace_first(__m512d v, __m512d by, index_t n) {
  return _mm512_mask_mov_pd(v, static_cast<__mmask8>(first_bits(n)), by);
}
inline void store_first(__m512 v, float* p, index_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(first_bits(n)), v);
}
inline void store_first(__m512d v, double* p, index_t n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(first_bits(n)), v);
}

inline void stream_lanes(__m512 v, float* p) { _mm512_stream_ps(p, v); }
inline void stream_lanes(__m512d v, double* p) { _mm512_stream_pd(p, v); }

inline __m512 fma_lanes(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
inline __m512d fma_lanes(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }

// As in avx2.hpp, and what xsimd 8 spells in a way that g++ 12 warns of; lanes by a mask, see
// below.
inline __m512 sqrt_lanes(__m512 a) { return _mm512_maskz_sqrt_ps(0xffff, a); }
inline __m512d sqrt_lanes(__m512d a) { return _mm512_maskz_sqrt_pd(0xff, a); }
inline __m512 round_lanes(__m512 a) { return _mm512_maskz_roundscale_ps(0xffff, a, 4); }
inline __m512d round_lanes(__m512d a) { return _mm512_maskz_roundscale_pd(0xff, a, 4); }
inline __m512i shifted_left(__m512i a, int n) {
  return _mm512_maskz_slli_epi32(0xffff, a, static_cast<unsigned>(n));
}
inline __m512i shifted_right(__m512i a, int n) {
  return _mm512_maskz_srli_epi32(0xffff, a, static_cast<unsigned>(n));
}
inline __m512 max_lanes(__m512 a, __m512 b) { return _mm512_maskz_max_ps(0xffff, a, b); }
inline __m512d max_lanes(__m512d a, __m512d b) { return _mm512_maskz_max_pd(0xff, a, b); }
inline __m512 min_lanes(__m512 a, __m512 b) { return _mm512_maskz_min_ps(0xffff, a, b); }
inline __m512d min_lanes(__m512d a, __m512d b) { return _mm512_maskz_min_pd(0xff, a, b); }

template <int half> __m512 exchanged(__m512 v) {
  if constexpr (half >= 4) return _mm512_maskz_shuffle_f32x4(0xffff, v, v, half == 8 ? 0x4e : 0xb1);
  return _mm512_maskz_permute_ps(0xffff, v, half == 2 ? 0x4e : 0xb1);
}
template <int half> __m512d exchanged(__m512d v) {
  if constexpr (half >= 2) return _mm512_maskz_shuffle_f64x2(0xff, v, v, half == 4 ? 0x4e : 0xb1);
  return _mm512_maskz_permute_pd(0xff, v, 0x55);
}
inline float first_lane(__m512 v) { return _mm512_cvtss_f32(v); }
inline double first_lane(__m512d v) { return _mm512_cvtsd_f64(v); }

namespace detail {

// As in avx2.hpp, for 16 at a time. Not vcvtneps2bf16, which takes subnormal numbers for zero. All
// lanes by a mask: g++ 12 warns of what the forms without one leave undefined.
inline constexpr __mmask16 all_16 = 0xffff;
inline __m256i codes_at(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
inline void widen(const float16* from, float* to) {
  _mm512_storeu_ps(to, _mm512_maskz_cvtph_ps(all_16, codes_at(from)));
}
inline void narrow(const float* from, float16* to) {
  const __m512 x = _mm512_loadu_ps(from);
  const __m256i codes = _mm512_maskz_cvtps_ph(all_16, x, _MM_FROUND_TO_NEAREST_INT);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), codes);
}
inline void widen(const bfloat16* from, float* to) {
  const __m512i codes = _mm512_maskz_cvtepu16_epi32(all_16, codes_at(from));
  _mm512_storeu_si512(to, _mm512_maskz_slli_epi32(all_16, codes, 16));
}
inline void narrow(const float* from, bfloat16* to) {
  const __m512 x = _mm512_loadu_ps(from);
  const __m512i words = _mm512_castps_si512(x), high = _mm512_maskz_srli_epi32(all_16, words, 16);
  const __m512i odd_bit = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i half = _mm512_add_epi32(odd_bit, _mm512_set1_epi32(0x7fff));
  const __m512i sum = _mm512_add_epi32(words, half);
  const __m512i rounded = _mm512_maskz_srli_epi32(all_16, sum, 16);
  const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  const __m512i codes = _mm512_mask_or_epi32(rounded, is_nan, high, _mm512_set1_epi32(0x40));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_maskz_cvtepi32_epi16(all_16, codes));
}

}  // namespace detail
}  // namespace adze::simd::inline ADZE_ISA
#endif
