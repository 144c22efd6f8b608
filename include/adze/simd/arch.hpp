#pragma once
// SPDX-License-Identifier: MIT
// The instruction sets as tags, `native` (the best one this translation unit is built for), and
// ADZE_ISA, the inline namespace of everything whose code depends on it: two translation units
// built with different flags then hold different functions and can be linked together.
// Other headers of simd/ read the compiler's macros only for what these names tell apart.

#if defined(__FAST_MATH__) && !defined(ADZE_ALLOW_FAST_MATH)
#  error "adze: -ffast-math removes NaN tests and changes results; build without it"
#endif

// AVX-512 as processors have it: all bodies behind this macro use the same instructions.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__FMA__)
#  define ADZE_AVX512 1
#endif

#if defined(ADZE_AVX512) && defined(__AVX512VNNI__)
// clang 14 spells the macros of AMX in its own way
#  if (defined(__AMX_INT8__) || defined(__AMXINT8__)) &&                                           \
      (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__linux__)
#    define ADZE_ISA isa_amx  // as avx512_vnni, and products of whole blocks of a matrix
#    define ADZE_AMX 1
#  elif defined(__AVX512BF16__)
#    define ADZE_ISA isa_avx512_bf16  // as avx512_vnni, and products of pairs of bf16
#    define ADZE_AVX512_BF16 1
#  else
#    define ADZE_ISA isa_avx512_vnni  // as avx512, other integer products
#  endif
#elif defined(ADZE_AVX512)
#  define ADZE_ISA isa_avx512
#elif defined(__AVXVNNI__) && defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#  define ADZE_ISA isa_avx2_vnni
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#  define ADZE_ISA isa_avx2
#elif defined(__SSE2__)
#  define ADZE_ISA isa_sse2
#elif defined(__ARM_NEON)
#  define ADZE_ISA isa_neon
#else
#  define ADZE_ISA isa_scalar
#endif

namespace adze::simd {

struct scalar {  // one lane, no intrinsics: the portable twin of every other tag
  static constexpr int bytes = 0;
};
struct odd {  // test only: one lane and absurd tiles, so that every edge is exercised
  static constexpr int bytes = 0;
};
struct sse2 {
  static constexpr int bytes = 16;
};
struct avx2 {  // with FMA and F16C
  static constexpr int bytes = 32;
};
struct avx512 {  // register tiles, and what runs along rows; see below
  static constexpr int bytes = 64;
};
struct neon {
  static constexpr int bytes = 16;
};

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
using native = avx2;
#elif defined(__SSE2__)
using native = sse2;
#elif defined(__ARM_NEON)
using native = neon;
#else
using native = scalar;
#endif

inline namespace ADZE_ISA {

// The tag whose packs the register tiles of A are made of, and those that run along rows
// (pack.hpp): the widest there is.
template <class A> struct tiles_of { using type = A; };
#if defined(ADZE_AVX512)
template <> struct tiles_of<avx2> { using type = avx512; };
#endif
template <class A> using tile_tag = typename tiles_of<A>::type;

// The tag of what gains nothing from the widest packs, given theirs: `native`'s.
template <class A> struct packs_of { using type = A; };
template <> struct packs_of<avx512> { using type = avx2; };
template <class A> using pack_tag = typename packs_of<A>::type;

}  // namespace ADZE_ISA
}  // namespace adze::simd
