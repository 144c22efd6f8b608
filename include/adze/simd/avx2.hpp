#pragma once
// SPDX-License-Identifier: MIT
// What xsimd does not offer on AVX2: partial loads and stores, and the F16C conversions.
// Empty in builds for anything else; pack.hpp and convert.hpp are the users.
#include <adze/simd/arch.hpp>

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#  include <cstdint>

#  include <immintrin.h>

#  include <adze/core/bfloat16.hpp>
#  include <adze/core/float16.hpp>
#  include <adze/fwd.hpp>

namespace adze::simd::inline ADZE_ISA {

// All ones in the first n of the lanes of 4 or 8 bytes.
inline __m256i first_lanes(index_t n, float) {
  alignas(64) static constexpr std::int32_t edge[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(edge + (8 - n)));
}
inline __m256i first_lanes(index_t n, double) {
  alignas(64) static constexpr std::int64_t edge[8] = {-1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(edge + (4 - n)));
}

inline __m256 load_first(const float* p, index_t n) {
  return _mm256_maskload_ps(p, first_lanes(n, 0.0f));
}
inline __m256d load_first(const double* p, index_t n) {
  return _mm256_maskload_pd(p, first_lanes(n, 0.0));
}

// Of `by` in the first n lanes, of `v` in the others.
inline __m256 replace_first(__m256 v, __m256 by, index_t n) {
  return _mm256_blendv_ps(v, by, _mm256_castsi256_ps(first_lanes(n, 0.0f)));
}
inline __m256d replace_first(__m256d v, __m256d by, index_t n) {
  return _mm256_blendv_pd(v, by, _mm256_castsi256_pd(first_lanes(n, 0.0)));
}

// Past the caches; p is aligned to the register.
inline void stream_lanes(__m256 v, float* p) { _mm256_stream_ps(p, v); }
inline void stream_lanes(__m256d v, double* p) { _mm256_stream_pd(p, v); }

// The first n of all lanes. Parts of 4, 2 and 1 lanes: AMD's processors take 12 ns and more for a
// masked store of AVX2, which those of AVX-512 are not.
#  if defined(ADZE_AVX512)
inline void store_first(__m256 v, float* p, index_t n) {
  _mm256_mask_storeu_ps(p, static_cast<__mmask8>((1 << n) - 1), v);
}
inline void store_first(__m256d v, double* p, index_t n) {
  _mm256_mask_storeu_pd(p, static_cast<__mmask8>((1 << n) - 1), v);
}
#  else
inline void store_first(__m256 v, float* p, index_t n) {
  if (n == 8) return _mm256_storeu_ps(p, v);
  __m128 rest = _mm256_castps256_ps128(v);
  if (n & 4) {
    _mm_storeu_ps(p, rest);
    rest = _mm256_extractf128_ps(v, 1), p += 4;
  }
  if (n & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), rest);
    rest = _mm_movehl_ps(rest, rest), p += 2;
  }
  if (n & 1) _mm_storeu_si32(p, _mm_castps_si128(rest));  // p may hold integers
}
inline void store_first(__m256d v, double* p, index_t n) {
  if (n == 4) return _mm256_storeu_pd(p, v);
  __m128d rest = _mm256_castpd256_pd128(v);
  if (n & 2) {
    _mm_storeu_pd(p, rest);
    rest = _mm256_extractf128_pd(v, 1), p += 2;
  }
  if (n & 1) _mm_store_sd(p, rest);
}
#  endif

// One instruction for a > b ? a : b and a < b ? a : b: the second operand wins when one is NaN.
inline __m256 max_lanes(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
inline __m256d max_lanes(__m256d a, __m256d b) { return _mm256_max_pd(a, b); }
inline __m256 min_lanes(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
inline __m256d min_lanes(__m256d a, __m256d b) { return _mm256_min_pd(a, b); }

// Each lane changes places with the one `half` lanes away.
template <int half> __m256 exchanged(__m256 v) {
  if constexpr (half == 4) return _mm256_permute2f128_ps(v, v, 1);
  return _mm256_permute_ps(v, half == 2 ? 0x4e : 0xb1);
}
template <int half> __m256d exchanged(__m256d v) {
  if constexpr (half == 2) return _mm256_permute2f128_pd(v, v, 1);
  return _mm256_permute_pd(v, 0x5);
}
inline float first_lane(__m256 v) { return _mm256_cvtss_f32(v); }
inline double first_lane(__m256d v) { return _mm256_cvtsd_f64(v); }

namespace detail {

// Eight 16-bit codes to floats and back, to nearest even; the same bits as core/small_float.hpp.
inline void widen_eight(const float16* from, float* to) {
  const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  _mm256_storeu_ps(to, _mm256_cvtph_ps(codes));
}
inline void widen_eight(const bfloat16* from, float* to) {
  const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m256i words = _mm256_slli_epi32(_mm256_cvtepu16_epi32(codes), 16);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), words);
}
#  if !defined(ADZE_AVX512)
template <class Code> void widen(const Code* from, float* to) { widen_eight(from, to); }
inline void narrow(const float* from, float16* to) {
  const __m128i codes = _mm256_cvtps_ph(_mm256_loadu_ps(from), _MM_FROUND_TO_NEAREST_INT);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), codes);
}
inline void narrow(const float* from, bfloat16* to) {
  const __m256 x = _mm256_loadu_ps(from);
  const __m256i words = _mm256_castps_si256(x);
  const __m256i high = _mm256_srli_epi32(words, 16);
  const __m256i odd_bit = _mm256_and_si256(high, _mm256_set1_epi32(1));
  const __m256i half = _mm256_add_epi32(odd_bit, _mm256_set1_epi32(0x7fff));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(words, half), 16);
  const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i codes = _mm256_blendv_epi8(rounded, quiet, is_nan);
  const __m128i packed =
      _mm_packus_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
}
#  endif

}  // namespace detail
}  // namespace adze::simd::inline ADZE_ISA
#endif
