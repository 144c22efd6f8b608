#pragma once
// SPDX-License-Identifier: MIT
// Eight-bit codes to float lanes and back. The last part is the overrides; all give the same codes.
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>

#include <adze/fwd.hpp>
#include <adze/simd/arch.hpp>
#include <adze/simd/pack.hpp>
#include <adze/simd/tile.hpp>

namespace adze::simd::inline ADZE_ISA {

template <class T>
concept code = std::same_as<T, std::uint8_t> || std::same_as<T, std::int8_t>;

// out[i] = round(x[i]) + zero for the lanes of four packs, half to even. The caller has brought
// them into the range of Code: nothing saturates here.
template <class A, code Code>
void store_codes(const pack<float, A>* x, std::int32_t zero, Code* out) {
  constexpr std::size_t width = pack<float, A>::width;
  for (std::size_t p = 0; p < 4; ++p) {
    float all[width];
    x[p].store(all);
    for (std::size_t i = 0; i < width; ++i)
      out[p * width + i] =
          static_cast<Code>(static_cast<std::int32_t>(std::nearbyint(all[i])) + zero);
  }
}

// Codes from `low` to `high`, counted from their zero point.
struct code_steps {
  std::int32_t low = 0, high = 255, zero = 0;
};
template <class A> pack<float, A> inside(pack<float, A> x, const code_steps& s) {
  using P = pack<float, A>;
  return less_of(greater_of(x, P(static_cast<float>(s.low))), P(static_cast<float>(s.high)));
}

// out[i] = the code of round(x[i]) steps for one pack, as bytes, which are those of either kind of
// codes.
template <class A> void store_code_bytes(pack<float, A> x, const code_steps& s, std::uint8_t* out) {
  float all[pack<float, A>::width];
  inside(x, s).store(all);
  for (std::size_t i = 0; i < pack<float, A>::width; ++i)
    out[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(std::nearbyint(all[i])) + s.zero);
}

// Rows of so many packs that store_code_rows takes together, faster than one pack at a time; 0
// where there is none.
template <class P, int vectors> inline constexpr int joined_code_rows = 0;

// The codes at p as floats, one for each lane.
template <class A, code Code> void load_codes(const Code* p, pack<float, A>& x) {
  constexpr std::size_t width = pack<float, A>::width;
  float all[width];
  for (std::size_t i = 0; i < width; ++i) all[i] = static_cast<float>(p[i]);
  x = pack<float, A>::load(all);
}

#if defined(XSIMD_VERSION_MAJOR) && XSIMD_WITH_SSE2

template <code Code> void store_codes(const pack<float, sse2>* x, std::int32_t zero, Code* out) {
  const __m128i shift = _mm_set1_epi32(zero);
  const auto whole = [&](const pack<float, sse2>& lanes) {
    return _mm_add_epi32(_mm_cvtps_epi32(lanes.v), shift);
  };
  const __m128i low = _mm_packs_epi32(whole(x[0]), whole(x[1]));
  const __m128i high = _mm_packs_epi32(whole(x[2]), whole(x[3]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), std::same_as<Code, std::uint8_t>
                                                        ? _mm_packus_epi16(low, high)
                                                        : _mm_packs_epi16(low, high));
}

inline void store_code_bytes(pack<float, sse2> x, const code_steps& s, std::uint8_t* out) {
  const __m128i whole = _mm_add_epi32(_mm_cvtps_epi32(inside(x, s).v), _mm_set1_epi32(s.zero));
  const __m128i bytes = _mm_and_si128(whole, _mm_set1_epi32(255));
  const __m128i words = _mm_packs_epi32(bytes, bytes);
  const std::int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
  std::memcpy(out, &four, sizeof four);
}

#endif
#if defined(XSIMD_VERSION_MAJOR) && XSIMD_WITH_FMA3_AVX2

template <code Code> void store_codes(const pack<float, avx2>* x, std::int32_t zero, Code* out) {
  const __m256i shift = _mm256_set1_epi32(zero);
  const auto whole = [&](const pack<float, avx2>& lanes) {
    return _mm256_add_epi32(_mm256_cvtps_epi32(lanes.v.data), shift);
  };
  const __m256i low = _mm256_packs_epi32(whole(x[0]), whole(x[1]));
  const __m256i high = _mm256_packs_epi32(whole(x[2]), whole(x[3]));
  const __m256i bytes = std::same_as<Code, std::uint8_t> ? _mm256_packus_epi16(low, high)
                                                         : _mm256_packs_epi16(low, high);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packs work in halves
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permutevar8x32_epi32(bytes, order));
}

[[gnu::always_inline]] inline void store_code_bytes(pack<float, avx2> x, const code_steps& s,
                                                    std::uint8_t* out) {
  const __m256i whole =
      _mm256_add_epi32(_mm256_cvtps_epi32(inside(x, s).v.data), _mm256_set1_epi32(s.zero));
  const __m256i bytes = _mm256_and_si256(whole, _mm256_set1_epi32(255));
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packus_epi16(words, words));
}

template <> inline constexpr int joined_code_rows<pack<float, avx2>, 2> = 2;

// Two packs of a row, or of each of two rows, as the bytes of store_code_bytes. What is too low for
// 32, 16 or 8 bits becomes the lowest number each time, so that nothing else needs to look at it.
template <int rows>
[[gnu::always_inline]] inline void store_code_rows(const pack<float, avx2> (&x)[rows][2],
                                                   const code_steps& s, std::uint8_t* out,
                                                   index_t stride) {
  static_assert(rows == 1 || rows == 2);
  const pack<float, avx2> high(static_cast<float>(s.high));
  const __m256i low = _mm256_set1_epi16(static_cast<std::int16_t>(s.low));
  const auto words = [&](const pack<float, avx2>(&row)[2]) __attribute__((always_inline)) {
    const __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(less_of(high, row[0]).v.data),
                                            _mm256_cvtps_epi32(less_of(high, row[1]).v.data));
    return _mm256_subs_epi16(both, low);
  };
  const __m256i first = words(x[0]), second = rows == 2 ? words(x[rows - 1]) : first;
  const __m256i bytes = _mm256_add_epi8(_mm256_packus_epi16(first, second),
                                        _mm256_set1_epi8(static_cast<char>(s.low + s.zero)));
  // packs work in halves: four codes of each pack
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i sorted = _mm256_permutevar8x32_epi32(bytes, order);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(sorted));
  if constexpr (rows == 2) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + stride), _mm256_extracti128_si256(sorted, 1));
  }
}

template <code Code> void load_codes(const Code* p, pack<float, avx2>& x) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  const __m256i whole =
      std::same_as<Code, std::uint8_t> ? _mm256_cvtepu8_epi32(bytes) : _mm256_cvtepi8_epi32(bytes);
  x = pack<float, avx2>(pack<float, avx2>::lane_type(_mm256_cvtepi32_ps(whole)));
}

#  if defined(ADZE_AVX512)

// Loads and conversions by masks: g++ 12 warns of what the forms without one leave undefined.
template <code Code> void load_codes(const Code* p, pack<float, avx512>& x) {
  constexpr __mmask16 all = 0xffff;
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m512i whole = std::same_as<Code, std::uint8_t> ? _mm512_maskz_cvtepu8_epi32(all, bytes)
                                                         : _mm512_maskz_cvtepi8_epi32(all, bytes);
  x = pack<float, avx512>(pack<float, avx512>::lane_type(_mm512_maskz_cvtepi32_ps(all, whole)));
}

template <code Code> void store_codes(const pack<float, avx512>* x, std::int32_t zero, Code* out) {
  constexpr __mmask16 all = 0xffff;
  const __m128i shift = _mm_set1_epi8(static_cast<char>(zero));
  for (std::size_t p = 0; p < 4; ++p) {
    const __m512i whole = _mm512_maskz_cvtps_epi32(all, x[p].v);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16 * p),
                     _mm_add_epi8(_mm512_maskz_cvtepi32_epi8(all, whole), shift));
  }
}

// What is too low becomes the lowest number, if it is too low for 32 bits: an instruction for words
// may raise it, which does not wait for those for floats as two would.
[[gnu::always_inline]] inline void store_code_bytes(pack<float, avx512> x, const code_steps& s,
                                                    std::uint8_t* out) {
  constexpr __mmask16 all = 0xffff;
  const pack<float, avx512> below = less_of(pack<float, avx512>(static_cast<float>(s.high)), x);
  const __m512i whole =
      _mm512_maskz_max_epi32(all, _mm512_maskz_cvtps_epi32(all, below.v), _mm512_set1_epi32(s.low));
  const __m128i zero = _mm_set1_epi8(static_cast<char>(s.zero));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                   _mm_add_epi8(_mm512_maskz_cvtepi32_epi8(all, whole), zero));
}

template <> inline constexpr int joined_code_rows<pack<float, avx512>, 2> = 2;
template <> inline constexpr int joined_code_rows<pack<float, avx512>, 1> = 4;

// The bytes of four packs one after the other, as those of two packs above.
[[gnu::always_inline]] inline __m512i joined_codes(const pack<float, avx512>* a,
                                                   const pack<float, avx512>* b,
                                                   const pack<float, avx512>* c,
                                                   const pack<float, avx512>* d,
                                                   const code_steps& s) {
  constexpr __mmask16 all = 0xffff;
  const pack<float, avx512> high(static_cast<float>(s.high));
  const __m512i low = _mm512_set1_epi16(static_cast<std::int16_t>(s.low));
  const auto words = [&](const auto* x, const auto* y) __attribute__((always_inline)) {
    const __m512i first = _mm512_maskz_cvtps_epi32(all, less_of(high, *x).v);
    const __m512i second = _mm512_maskz_cvtps_epi32(all, less_of(high, *y).v);
    return _mm512_subs_epi16(_mm512_packs_epi32(first, second), low);
  };
  const __m512i bytes = _mm512_add_epi8(_mm512_packus_epi16(words(a, b), words(c, d)),
                                        _mm512_set1_epi8(static_cast<char>(s.low + s.zero)));
  // packs work in quarters: four codes of each pack
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_maskz_permutexvar_epi32(all, order, bytes);
}
template <int rows>
[[gnu::always_inline]] inline void store_code_rows(const pack<float, avx512> (&x)[rows][2],
                                                   const code_steps& s, std::uint8_t* out,
                                                   index_t stride) {
  const __m512i codes = joined_codes(x[0], x[0] + 1, x[rows - 1], x[rows - 1] + 1, s);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                      _mm512_maskz_extracti64x4_epi64(0xff, codes, 0));
  if constexpr (rows == 2) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + stride),
                        _mm512_maskz_extracti64x4_epi64(0xff, codes, 1));
  }
}
[[gnu::always_inline]] inline void store_code_rows(const pack<float, avx512> (&x)[4][1],
                                                   const code_steps& s, std::uint8_t* out,
                                                   index_t stride) {
  const __m512i codes = joined_codes(x[0], x[1], x[2], x[3], s);
  unroll<4>([&](auto r) __attribute__((always_inline)) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + r() * stride),
                     _mm512_maskz_extracti32x4_epi32(0xff, codes, decltype(r)::value));
  });
}

#  endif
#endif

}  // namespace adze::simd::inline ADZE_ISA
