#pragma once
// SPDX-License-Identifier: MIT
// What xsimd does not offer on AVX2: partial loads and stores, and the F16C conversions.
// Empty in builds for anything else; pack.hpp and convert.hpp are the users.
#include <adze/simd/arch.hpp>

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#  include <cstdint>

#  include <immintrin.h>

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
inline void store_first(__m256 v, float* p, index_t n) {
  _mm256_maskstore_ps(p, first_lanes(n, 0.0f), v);
}
inline void store_first(__m256d v, double* p, index_t n) {
  _mm256_maskstore_pd(p, first_lanes(n, 0.0), v);
}

// Eight binary16 codes and eight floats; rounding to nearest even.
inline void widen_half(const std::uint16_t* from, float* to) {
  const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  _mm256_storeu_ps(to, _mm256_cvtph_ps(codes));
}
inline void narrow_half(const float* from, std::uint16_t* to) {
  const __m128i codes = _mm256_cvtps_ph(_mm256_loadu_ps(from), _MM_FROUND_TO_NEAREST_INT);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), codes);
}

}  // namespace adze::simd::inline ADZE_ISA
#endif
