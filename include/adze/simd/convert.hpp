#pragma once
// SPDX-License-Identifier: MIT
// Conversions between element types: one value, and dense arrays. All are defined for every input
// and give the same bits on every instruction set; 16-bit floats are rounded once.
#include <cstddef>
#include <limits>
#include <type_traits>

#include <adze/core/bfloat16.hpp>
#include <adze/core/float16.hpp>
#include <adze/fwd.hpp>
#include <adze/simd/arch.hpp>
#include <adze/simd/avx2.hpp>
#include <adze/simd/avx512.hpp>

namespace adze::simd::inline ADZE_ISA {

namespace detail {
template <class T>
inline constexpr bool is_16_bit_float = std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>;
}  // namespace detail

// x as a To. Floats become integers by truncation; they saturate, and NaN becomes 0. Integers wrap.
// As a bool, everything but zero is true (NaN too).
template <class To, class From> constexpr To convert_to(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (detail::is_16_bit_float<From>) {
    return convert_to<To>(static_cast<float>(x));
  } else if constexpr (detail::is_16_bit_float<To>) {
    return To(x);
  } else if constexpr (std::is_same_v<To, bool>) {
    return x != From{0};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr To low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
    if (x != x) return To{0};
    if (x <= static_cast<From>(low)) return low;
    return x >= static_cast<From>(high) ? high : static_cast<To>(x);  // high may round up to 2^n
  } else {
    return static_cast<To>(x);
  }
}

namespace detail {

#if defined(ADZE_AVX512)
inline constexpr index_t code_lanes = 16;
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
inline constexpr index_t code_lanes = 8;
#else
inline constexpr index_t code_lanes = 1;
template <class Code> void widen(const Code* from, float* to) { *to = static_cast<float>(*from); }
template <class Code> void narrow(const float* from, Code* to) { *to = Code(*from); }
#endif

// f(in, out) for groups of code_lanes elements. The last group overlaps the one before, which is
// then done twice; fewer elements than a group go by way of a copy.
template <class From, class To, class F> void by_groups(const From* in, To* out, index_t n, F f) {
  index_t i = 0;
  for (; i + code_lanes <= n; i += code_lanes) f(in + i, out + i);
  if (i == n) return;
  if (i > 0) return f(in + n - code_lanes, out + n - code_lanes);
  constexpr auto lanes = static_cast<std::size_t>(code_lanes);
  From from[lanes] = {};
  To to[lanes];
  for (index_t j = 0; j < n; ++j) from[j] = in[j];
  f(from, to);
  for (index_t j = 0; j < n; ++j) out[j] = to[j];
}

}  // namespace detail

// out[i] = convert_to<To>(in[i]) for i < n. The arrays must not overlap.
template <class From, class To> void convert(const From* in, To* out, index_t n) {
  if constexpr (detail::is_16_bit_float<From> && std::is_same_v<To, float>) {
    detail::by_groups(in, out, n, [](const From* from, float* to) { detail::widen(from, to); });
  } else if constexpr (std::is_same_v<From, float> && detail::is_16_bit_float<To>) {
    detail::by_groups(in, out, n, [](const float* from, To* to) { detail::narrow(from, to); });
  } else {
    for (index_t i = 0; i < n; ++i) out[i] = convert_to<To>(in[i]);
  }
}

// A pack of floats from as many elements; compilers keep the array in registers.
template <class P, class T> P load_as(const T* from) {
  if constexpr (std::is_same_v<T, typename P::value_type>) {
    return P::load(from);
  } else {
    float each[static_cast<std::size_t>(P::size)];
#if defined(ADZE_AVX512)
    if constexpr (P::size == 8)  // half of a group
      detail::widen_eight(from, each);
    else
#endif
      convert<T, float>(from, each, P::size);
    return P::load(each);
  }
}
// Lanes from n on are zero.
template <class P, class T> P load_partial_as(const T* from, index_t n) {
  if constexpr (std::is_same_v<T, typename P::value_type>) {
    return P::load_partial(from, n);
  } else {
    float each[static_cast<std::size_t>(P::size)] = {};
    for (index_t i = 0; i < n; ++i) each[i] = static_cast<float>(from[i]);
    return P::load(each);
  }
}

}  // namespace adze::simd::inline ADZE_ISA
