#pragma once
// SPDX-License-Identifier: MIT
// Partial loads and stores, and the fma that xsimd 8 spells as two instructions, of the 64-byte
// packs that the register tiles of products use where the machine has AVX-512. Empty in builds for
// anything else; pack.hpp is the user.
#include <adze/simd/arch.hpp>

#if defined(__AVX512F__) && defined(__FMA__)
#  include <immintrin.h>

#  include <adze/fwd.hpp>

namespace adze::simd::inline ADZE_ISA {

// Ones for the first n lanes, n <= 16.
inline unsigned first_bits(index_t n) { return (1u << n) - 1u; }

inline __m512 load_first_wide(const float* p, index_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>(first_bits(n)), p);
}
inline __m512d load_first_wide(const double* p, index_t n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>(first_bits(n)), p);
}
inline void store_first(__m512 v, float* p, index_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(first_bits(n)), v);
}
inline void store_first(__m512d v, double* p, index_t n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(first_bits(n)), v);
}

inline __m512 fma_lanes(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
inline __m512d fma_lanes(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }

}  // namespace adze::simd::inline ADZE_ISA
#endif
