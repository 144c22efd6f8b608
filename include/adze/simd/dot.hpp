#pragma once
// SPDX-License-Identifier: MIT
// integers<A>: as many s32 lanes as pack<float, A> has, and the dot products that add to them: four
// bytes or two words of each lane in one step. Sums are modulo 2^32 everywhere, so a result that
// fits in s32 is exact whatever happened on the way. The last part is the overrides.
#include <array>
#include <cstdint>
#include <cstring>

#include <adze/fwd.hpp>
#include <adze/simd/arch.hpp>
#include <adze/simd/pack.hpp>
#include <adze/simd/tile.hpp>

namespace adze::simd::inline ADZE_ISA {

template <class A = native> struct integers {
  static constexpr index_t size = pack<float, A>::size;
  static constexpr std::size_t width = pack<float, A>::width;
  // Whether dot_bytes takes every u8 and s8. If not, a of at most 127 or b in [-64, 63].
  static constexpr bool bytes_exact = true;

  std::array<std::uint32_t, width> v;

  static integers all(std::int32_t x) {
    integers made;
    made.v.fill(static_cast<std::uint32_t>(x));
    return made;
  }
  // Any memory of the size of the lanes.
  static integers load(const void* p) {
    integers made;
    std::memcpy(made.v.data(), p, sizeof made.v);
    return made;
  }
  // Lanes from n on are zero.
  static integers load_partial(const std::int32_t* p, index_t n) {
    integers made = all(0);
    std::memcpy(made.v.data(), p, static_cast<std::size_t>(n) * sizeof *p);
    return made;
  }
  // The four bytes at p in every lane.
  static integers repeat(const void* p) {
    std::int32_t x;
    std::memcpy(&x, p, sizeof x);
    return all(x);
  }
  void store(std::int32_t* p) const { std::memcpy(p, v.data(), sizeof v); }
  void store_partial(std::int32_t* p, index_t n) const {
    std::memcpy(p, v.data(), static_cast<std::size_t>(n) * sizeof *p);
  }

  friend integers operator+(integers a, integers b) {
    for (std::size_t i = 0; i < width; ++i) a.v[i] += b.v[i];
    return a;
  }
  friend integers operator-(integers a, integers b) {
    for (std::size_t i = 0; i < width; ++i) a.v[i] -= b.v[i];
    return a;
  }
  friend integers operator*(integers a, integers b) {
    for (std::size_t i = 0; i < width; ++i) a.v[i] *= b.v[i];
    return a;
  }
  friend pack<float, A> to_float(integers a) {
    float all[width];
    for (std::size_t i = 0; i < width; ++i)
      all[i] = static_cast<float>(static_cast<std::int32_t>(a.v[i]));
    return pack<float, A>::load(all);
  }
  friend void pin(integers&) {}
  // The low and the high four bits of each byte, as bytes.
  friend integers low_nibbles(integers a) {
    for (std::uint32_t& x : a.v) x &= 0x0f0f0f0fu;
    return a;
  }
  friend integers high_nibbles(integers a) {
    for (std::uint32_t& x : a.v) x = x >> 4 & 0x0f0f0f0fu;
    return a;
  }

  // sum + a0 b0 + a1 b1 + a2 b2 + a3 b3 of each lane: bytes, a unsigned, b signed.
  friend integers dot_bytes(integers sum, integers a, integers b) {
    for (std::size_t i = 0; i < width; ++i) {
      std::uint8_t x[4];
      std::int8_t y[4];
      std::memcpy(x, &a.v[i], 4), std::memcpy(y, &b.v[i], 4);
      for (int q = 0; q < 4; ++q) sum.v[i] += static_cast<std::uint32_t>(x[q] * y[q]);
    }
    return sum;
  }
  // sum + a0 b0 + a1 b1 of each lane: signed words.
  friend integers dot_words(integers sum, integers a, integers b) {
    for (std::size_t i = 0; i < width; ++i) {
      std::int16_t x[2], y[2];
      std::memcpy(x, &a.v[i], 4), std::memcpy(y, &b.v[i], 4);
      for (int q = 0; q < 2; ++q) sum.v[i] += static_cast<std::uint32_t>(x[q] * y[q]);
    }
    return sum;
  }
};

// The tag whose integers the register tiles of A are made of: the widest there is.
template <class A> struct integer_tiles_of { using type = A; };
template <class A> using integer_tile_tag = typename integer_tiles_of<A>::type;

#if defined(XSIMD_VERSION_MAJOR) && XSIMD_WITH_FMA3_AVX2

template <> struct integers<avx2> {
  static constexpr index_t size = 8;
#  if (defined(ADZE_AVX512) && defined(__AVX512VNNI__)) || defined(__AVXVNNI__)
  static constexpr bool bytes_exact = true;
#  else
  static constexpr bool bytes_exact = false;
#  endif

  __m256i v;

  static integers all(std::int32_t x) { return {_mm256_set1_epi32(x)}; }
  static integers load(const void* p) {
    return {_mm256_loadu_si256(static_cast<const __m256i*>(p))};
  }
  static integers load_partial(const std::int32_t* p, index_t n) {
    return {_mm256_maskload_epi32(p, first_lanes(n, 0.0f))};
  }
  static integers repeat(const void* p) {
    std::int32_t x;
    std::memcpy(&x, p, sizeof x);
    return all(x);
  }
  void store(std::int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  void store_partial(std::int32_t* p, index_t n) const {
    store_first(_mm256_castsi256_ps(v), reinterpret_cast<float*>(p), n);
  }

  friend integers operator+(integers a, integers b) { return {_mm256_add_epi32(a.v, b.v)}; }
  friend integers operator-(integers a, integers b) { return {_mm256_sub_epi32(a.v, b.v)}; }
  friend integers operator*(integers a, integers b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
  friend pack<float, avx2> to_float(integers a) {
    return pack<float, avx2>(pack<float, avx2>::lane_type(_mm256_cvtepi32_ps(a.v)));
  }
  [[gnu::always_inline]] friend inline void pin(integers& a) { asm("" : "+v"(a.v)); }
  friend integers low_nibbles(integers a) { return {_mm256_and_si256(a.v, _mm256_set1_epi8(15))}; }
  friend integers high_nibbles(integers a) {
    return {_mm256_and_si256(_mm256_srli_epi32(a.v, 4), _mm256_set1_epi8(15))};
  }

  [[gnu::always_inline]] friend inline integers dot_bytes(integers sum, integers a, integers b) {
#  if defined(ADZE_AVX512) && defined(__AVX512VNNI__)
    return {_mm256_dpbusd_epi32(sum.v, a.v, b.v)};
#  elif defined(__AVXVNNI__)
    return {_mm256_dpbusd_avx_epi32(sum.v, a.v, b.v)};
#  else
    const __m256i pairs = _mm256_maddubs_epi16(a.v, b.v);
    return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
#  endif
  }
  [[gnu::always_inline]] friend inline integers dot_words(integers sum, integers a, integers b) {
#  if defined(ADZE_AVX512) && defined(__AVX512VNNI__)
    return {_mm256_dpwssd_epi32(sum.v, a.v, b.v)};
#  elif defined(__AVXVNNI__)
    return {_mm256_dpwssd_avx_epi32(sum.v, a.v, b.v)};
#  else
    return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(a.v, b.v))};
#  endif
  }
};

#  if defined(ADZE_AVX512)

template <> struct integer_tiles_of<avx2> { using type = avx512; };

// What tiles need of registers of 64 bytes.
template <> struct integers<avx512> {
  static constexpr index_t size = 16;
  static constexpr bool bytes_exact = integers<avx2>::bytes_exact;

  __m512i v;

  static integers all(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
  static integers load(const void* p) { return {_mm512_loadu_si512(p)}; }
  static integers repeat(const void* p) {
    std::int32_t x;
    std::memcpy(&x, p, sizeof x);
    return all(x);
  }
  void store(std::int32_t* p) const { _mm512_storeu_si512(p, v); }
  void store_partial(std::int32_t* p, index_t n) const {
    _mm512_mask_storeu_epi32(p, static_cast<__mmask16>((1u << n) - 1), v);
  }

  friend integers operator+(integers a, integers b) { return {_mm512_add_epi32(a.v, b.v)}; }
  friend pack<float, avx512> to_float(integers a) {
    using words = int __attribute__((vector_size(64)));  // g++ 12 warns about its own intrinsic
    const auto x = __builtin_convertvector(reinterpret_cast<words>(a.v), __m512);
    return pack<float, avx512>(pack<float, avx512>::lane_type(x));
  }
  [[gnu::always_inline]] friend inline void pin(integers& a) { asm("" : "+v"(a.v)); }
  friend integers low_nibbles(integers a) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(15))}; }
  friend integers high_nibbles(integers a) {
    using words = unsigned __attribute__((vector_size(64)));  // as in to_float
    const auto shifted = reinterpret_cast<__m512i>(reinterpret_cast<words>(a.v) >> 4);
    return {_mm512_and_si512(shifted, _mm512_set1_epi8(15))};
  }

  [[gnu::always_inline]] friend inline integers dot_bytes(integers sum, integers a, integers b) {
#    if defined(__AVX512VNNI__)
    return {_mm512_dpbusd_epi32(sum.v, a.v, b.v)};
#    else
    const __m512i pairs = _mm512_maddubs_epi16(a.v, b.v);
    return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
#    endif
  }
  [[gnu::always_inline]] friend inline integers dot_words(integers sum, integers a, integers b) {
#    if defined(__AVX512VNNI__)
    return {_mm512_dpwssd_epi32(sum.v, a.v, b.v)};
#    else
    return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(a.v, b.v))};
#    endif
  }
};

#  endif
#endif

}  // namespace adze::simd::inline ADZE_ISA

#include <adze/simd/sse2.hpp>
