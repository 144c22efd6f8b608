#pragma once
// SPDX-License-Identifier: MIT
// What register tiles need beyond lanes: keeping a pack in its register, sums and transposes of
// several packs at once. The first overloads are portable; the last ones are the overrides.
#include <type_traits>
#include <utility>

#include <adze/fwd.hpp>
#include <adze/simd/arch.hpp>
#include <adze/simd/pack.hpp>

namespace adze::simd::inline ADZE_ISA {

// Emits nothing, but the compiler can neither re-load v as a memory operand of every use nor move
// it to another register: g++ otherwise spills the accumulators of a tile (6x16: 80 -> 89 GFLOP/s).
template <class T, class A> [[gnu::always_inline]] inline void pin(pack<T, A>& x) {
#if defined(__x86_64__)
  if constexpr (pack<T, A>::size > 1)
    asm("" : "+v"(x.v.data));
  else
    asm("" : "+x"(x.v));
#else
  static_cast<void>(x);
#endif
}

// The same for a number: what is computed from it is not shared with what was computed before.
[[gnu::always_inline]] inline void pin(index_t& x) { asm("" : "+r"(x)); }

// f(0), f(1), ... f(n - 1) with constants: arrays of packs that are indexed by them are registers
// from the start, where a loop to be unrolled depends on what else g++ finds in the function.
// Write f as [&](auto i) __attribute__((always_inline)) { ... }.
template <int n, class F> [[gnu::always_inline]] inline void unroll(F f) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, i>{}), ...);
  }
  (std::make_integer_sequence<int, n>{});
}

// A pack whose lanes have the same sum, of a width that lane_sums is fast for.
template <class T, class A> [[gnu::always_inline]] inline pack<T, A> folded(pack<T, A> x) {
  return x;
}

// out[i] = sum of the lanes of v[i], for i in [0, pack::size).
template <class T, class A> [[gnu::noinline]] void lane_sums(const pack<T, A>* v, T* out) {
  for (index_t i = 0; i < pack<T, A>::size; ++i) out[i] = reduce_add(v[i]);
}

// The square of packs v, transposed in place.
template <class T, class A> [[gnu::always_inline]] inline void transpose(pack<T, A>* v) {
  constexpr index_t size = pack<T, A>::size;
  constexpr std::size_t width = pack<T, A>::width;
  T in[width][width], out[width][width];
  for (index_t i = 0; i < size; ++i) v[i].store(in[i]);
  for (index_t i = 0; i < size; ++i)
    for (index_t j = 0; j < size; ++j) out[i][j] = in[j][i];
  for (index_t i = 0; i < size; ++i) v[i] = pack<T, A>::load(out[i]);
}

// Four neighbours in each of as many rows as a pack has lanes, rows `step` apart, as four columns.
template <class T, class A>
[[gnu::always_inline]] inline void load_columns(const T* from, index_t step, pack<T, A>* to) {
  constexpr std::size_t width = pack<T, A>::width;
  T columns[4][width];
  for (index_t i = 0; i < pack<T, A>::size; ++i)
    for (index_t j = 0; j < 4; ++j) columns[j][i] = from[i * step + j];
  for (index_t j = 0; j < 4; ++j) to[j] = pack<T, A>::load(columns[j]);
}

#if defined(XSIMD_VERSION_MAJOR) && XSIMD_WITH_FMA3_AVX2

// Pairs of packs fold into one by two shuffles and an addition: seven folds for eight packs.
[[gnu::always_inline]] inline void lane_sums(const pack<float, avx2>* v, float* out) {
  const auto pair = [](__m256 a, __m256 b) {
    return _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
  };
  const auto quad = [](__m256 a, __m256 b) {
    return _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
  };
  const __m256 a = quad(pair(v[0].v.data, v[1].v.data), pair(v[2].v.data, v[3].v.data));
  const __m256 b = quad(pair(v[4].v.data, v[5].v.data), pair(v[6].v.data, v[7].v.data));
  _mm256_storeu_ps(
      out, _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31)));
}
[[gnu::always_inline]] inline void lane_sums(const pack<double, avx2>* v, double* out) {
  const auto pair = [](__m256d a, __m256d b) {
    return _mm256_add_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
  };
  const __m256d a = pair(v[0].v.data, v[1].v.data), b = pair(v[2].v.data, v[3].v.data);
  _mm256_storeu_pd(
      out, _mm256_add_pd(_mm256_permute2f128_pd(a, b, 0x20), _mm256_permute2f128_pd(a, b, 0x31)));
}

[[gnu::always_inline]] inline void transpose(pack<float, avx2>* v) {
  __m256 a[8], b[8];
#  pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = _mm256_unpacklo_ps(v[2 * i].v.data, v[2 * i + 1].v.data);
    a[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i].v.data, v[2 * i + 1].v.data);
  }
#  pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
#  pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i].v = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
    v[i + 4].v = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
  }
}
[[gnu::always_inline]] inline void transpose(pack<double, avx2>* v) {
  const __m256d a = _mm256_unpacklo_pd(v[0].v.data, v[1].v.data);
  const __m256d b = _mm256_unpackhi_pd(v[0].v.data, v[1].v.data);
  const __m256d c = _mm256_unpacklo_pd(v[2].v.data, v[3].v.data);
  const __m256d d = _mm256_unpackhi_pd(v[2].v.data, v[3].v.data);
  v[0].v = _mm256_permute2f128_pd(a, c, 0x20);
  v[1].v = _mm256_permute2f128_pd(b, d, 0x20);
  v[2].v = _mm256_permute2f128_pd(a, c, 0x31);
  v[3].v = _mm256_permute2f128_pd(b, d, 0x31);
}

#endif

#if defined(XSIMD_VERSION_MAJOR) && defined(ADZE_AVX512)
[[gnu::always_inline]] inline pack<float, avx2> folded(pack<float, avx512> x) {
  const __m512 v = x.v.data;  // g++ 12 warns of what the intrinsics for halves leave undefined
  pack<float, avx2> sum;
  sum.v = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
          __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  return sum;
}

// Quarters of packs come right from memory, which leaves eight shuffles.
[[gnu::always_inline]] inline void load_columns(const float* from, index_t step,
                                                pack<float, avx512>* to) {
  __m512 rows[4];
#  pragma GCC unroll 4
  for (int i = 0; i < 4; ++i, from += step) {
    const auto at = [&](int q) { return _mm_loadu_ps(from + 4 * q * step); };
    __m512 v = _mm512_maskz_broadcast_f32x4(0xffff, at(0));
    v = _mm512_mask_broadcast_f32x4(v, 0x00f0, at(1));
    v = _mm512_mask_broadcast_f32x4(v, 0x0f00, at(2));
    rows[i] = _mm512_mask_broadcast_f32x4(v, 0xf000, at(3));
  }
  const auto doubles = [](__m512 a) { return _mm512_castps_pd(a); };
  const __m512d a = doubles(_mm512_maskz_unpacklo_ps(0xffff, rows[0], rows[1]));
  const __m512d b = doubles(_mm512_maskz_unpackhi_ps(0xffff, rows[0], rows[1]));
  const __m512d c = doubles(_mm512_maskz_unpacklo_ps(0xffff, rows[2], rows[3]));
  const __m512d d = doubles(_mm512_maskz_unpackhi_ps(0xffff, rows[2], rows[3]));
  to[0].v = _mm512_castpd_ps(_mm512_maskz_unpacklo_pd(0xff, a, c));
  to[1].v = _mm512_castpd_ps(_mm512_maskz_unpackhi_pd(0xff, a, c));
  to[2].v = _mm512_castpd_ps(_mm512_maskz_unpacklo_pd(0xff, b, d));
  to[3].v = _mm512_castpd_ps(_mm512_maskz_unpackhi_pd(0xff, b, d));
}
#endif

}  // namespace adze::simd::inline ADZE_ISA
