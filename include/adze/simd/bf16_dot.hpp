#pragma once
// SPDX-License-Identifier: MIT
// 32 bf16 next to each other as pairs, for dot products along contiguous lines where there is
// AVX512_BF16. As in bf16_square.hpp: subnormal numbers are taken for zero.
#include <bit>

#include <adze/core/bfloat16.hpp>
#include <adze/fwd.hpp>
#include <adze/simd/pack.hpp>

namespace adze::simd::inline ADZE_ISA {

#if defined(XSIMD_VERSION_MAJOR) && defined(ADZE_AVX512_BF16)

struct bf16_pairs {
  using value_type = bfloat16;
  static constexpr index_t size = 32;
  static constexpr bool exist = true;

  __m512i v;

  static bf16_pairs load(const bfloat16* p) { return {_mm512_loadu_si512(p)}; }
  // Elements from n < 32 on are zero.
  static bf16_pairs load_partial(const bfloat16* p, index_t n) {
    return {_mm512_maskz_loadu_epi16((1u << n) - 1u, p)};
  }
  [[gnu::always_inline]] friend inline void pin(bf16_pairs& a) { asm("" : "+v"(a.v)); }
  // sum + a1 b1 + a0 b0 of each pair, rounded twice.
  [[gnu::always_inline]] friend inline pack<float, avx512> fma(bf16_pairs a, bf16_pairs b,
                                                               pack<float, avx512> sum) {
    const __m512 made =
        _mm512_dpbf16_ps(sum.v.data, std::bit_cast<__m512bh>(a.v), std::bit_cast<__m512bh>(b.v));
    return pack<float, avx512>(pack<float, avx512>::lane_type(made));
  }
};

#else
struct bf16_pairs {  // never used
  static constexpr bool exist = false;
};
#endif

}  // namespace adze::simd::inline ADZE_ISA
