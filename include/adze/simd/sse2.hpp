#pragma once
// SPDX-License-Identifier: MIT
// integers<sse2>, an override of dot.hpp, which includes this. SSE2 multiplies words alone: bytes
// are taken apart, so products are made of words wherever there is a choice.
#include <cstdint>
#include <cstring>

#include <adze/fwd.hpp>
#include <adze/simd/arch.hpp>
#include <adze/simd/dot.hpp>
#include <adze/simd/pack.hpp>

#if defined(XSIMD_VERSION_MAJOR) && XSIMD_WITH_SSE2
#  include <emmintrin.h>

namespace adze::simd::inline ADZE_ISA {

template <> struct integers<sse2> {
  static constexpr index_t size = 4;
  static constexpr bool bytes_exact = false;  // they are, and slower than words

  __m128i v;

  static integers all(std::int32_t x) { return {_mm_set1_epi32(x)}; }
  static integers load(const void* p) { return {_mm_loadu_si128(static_cast<const __m128i*>(p))}; }
  static integers load_partial(const std::int32_t* p, index_t n) {
    std::int32_t some[4] = {};
    std::memcpy(some, p, static_cast<std::size_t>(n) * sizeof *p);
    return load(some);
  }
  static integers repeat(const void* p) {
    std::int32_t x;
    std::memcpy(&x, p, sizeof x);
    return all(x);
  }
  void store(std::int32_t* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v); }
  void store_partial(std::int32_t* p, index_t n) const {
    std::memcpy(p, &v, static_cast<std::size_t>(n) * sizeof *p);
  }

  friend integers operator+(integers a, integers b) { return {_mm_add_epi32(a.v, b.v)}; }
  friend integers operator-(integers a, integers b) { return {_mm_sub_epi32(a.v, b.v)}; }
  friend integers operator*(integers a, integers b) {
    const __m128i even = _mm_mul_epu32(a.v, b.v);
    const __m128i odd = _mm_mul_epu32(_mm_srli_epi64(a.v, 32), _mm_srli_epi64(b.v, 32));
    return {_mm_unpacklo_epi32(_mm_shuffle_epi32(even, 8), _mm_shuffle_epi32(odd, 8))};
  }
  friend pack<float, sse2> to_float(integers a) {
    return pack<float, sse2>(pack<float, sse2>::lane_type(_mm_cvtepi32_ps(a.v)));
  }
  [[gnu::always_inline]] friend inline void pin(integers& a) { asm("" : "+x"(a.v)); }
  friend integers low_nibbles(integers a) { return {_mm_and_si128(a.v, _mm_set1_epi8(15))}; }
  friend integers high_nibbles(integers a) {
    return {_mm_and_si128(_mm_srli_epi32(a.v, 4), _mm_set1_epi8(15))};
  }

  [[gnu::always_inline]] friend inline integers dot_bytes(integers sum, integers a, integers b) {
    const integers even{_mm_and_si128(a.v, _mm_set1_epi16(255))}, odd{_mm_srli_epi16(a.v, 8)};
    const integers even_b{_mm_srai_epi16(_mm_slli_epi16(b.v, 8), 8)}, odd_b{_mm_srai_epi16(b.v, 8)};
    return dot_words(dot_words(sum, even, even_b), odd, odd_b);
  }
  [[gnu::always_inline]] friend inline integers dot_words(integers sum, integers a, integers b) {
    return {_mm_add_epi32(sum.v, _mm_madd_epi16(a.v, b.v))};
  }
};

}  // namespace adze::simd::inline ADZE_ISA
#endif
