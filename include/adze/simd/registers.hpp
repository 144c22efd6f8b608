#pragma once
// SPDX-License-Identifier: MIT
// What packs are made of: xsimd's registers, or one lane where there are none for a type, and the
// one-lane twins of their functions. The only header that includes xsimd.
#include <cmath>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include <adze/simd/arch.hpp>

#if __has_include(<xsimd/xsimd.hpp>)
#  pragma GCC diagnostic push
#  pragma GCC diagnostic ignored "-Wconversion"
#  pragma GCC diagnostic ignored "-Wsign-conversion"
#  pragma GCC diagnostic ignored "-Wshadow"
#  pragma GCC diagnostic ignored "-Wpedantic"
#  pragma GCC diagnostic ignored "-Wunused-parameter"
#  pragma GCC diagnostic ignored "-Wdeprecated"
#  include <xsimd/xsimd.hpp>
#  pragma GCC diagnostic pop
#endif

namespace adze::simd::inline ADZE_ISA {
namespace detail {

// What a pack and a mask are made of: one lane, unless there is a register for T on A.
template <class T, class A> struct lanes {
  using type = T;
  using mask = bool;
};

#ifdef XSIMD_VERSION_MAJOR
template <class T, class Arch> struct register_lanes {
  using type = xsimd::batch<T, Arch>;
  using mask = typename type::batch_bool_type;
};
#  if XSIMD_WITH_SSE2
template <class T> struct lanes<T, sse2> : register_lanes<T, xsimd::sse2> {};
#  endif
#  if XSIMD_WITH_FMA3_AVX2
template <class T> struct lanes<T, avx2> : register_lanes<T, xsimd::fma3<xsimd::avx2>> {};
#  endif
#  if defined(ADZE_AVX512)
template <class T> struct lanes<T, avx512> : register_lanes<T, xsimd::avx512f> {};
#  endif
#  if XSIMD_WITH_NEON64
template <class T> struct lanes<T, neon> : register_lanes<T, xsimd::neon64> {};
#  endif
#endif

template <class T, class A> using lanes_of = typename lanes<T, A>::type;
template <class T>
using word_of =
    std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;  // as unsigned as the lane

// The one-lane twins of what xsimd has for batches; unqualified calls choose by argument.
template <std::floating_point T> T select(bool m, T a, T b) { return m ? a : b; }
template <std::floating_point T> T fma(T a, T b, T c) { return a * b + c; }
template <std::floating_point T> T sqrt(T a) { return std::sqrt(a); }
template <std::floating_point T> T nearbyint(T a) { return std::nearbyint(a); }
inline bool any(bool m) { return m; }

// Memory to lanes and back.
template <class V, class T> V load_lanes(const T* p) {
  if constexpr (std::is_arithmetic_v<V>)
    return *p;
  else
    return V::load_unaligned(p);
}
template <class V, class T> void store_lanes(V v, T* p) {
  if constexpr (std::is_arithmetic_v<V>)
    *p = v;
  else
    v.store_unaligned(p);
}

}  // namespace detail

// How rows travel. Streamed, by AVX2's and AVX-512's packs: results go past the caches, for a store
// into a line that is not there reads it first, a third of the traffic where nothing stays in any
// cache; and operands are asked for ahead, which processors forget to do between such stores (tanh
// of 64 MiB: 15 to 6.5 ms).
enum class flow : bool { cached, streamed };
// Streamed stores of this thread become visible before those after this.
inline void finish_streamed() {
#if defined(__SSE2__)
  __builtin_ia32_sfence();
#endif
}

}  // namespace adze::simd::inline ADZE_ISA
