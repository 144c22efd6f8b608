#pragma once
// SPDX-License-Identifier: MIT
// What the functions of math_f32.hpp are made of: polynomials, the exponent of a number in whole
// words, and powers of two from it. V: a float pack.
#include <bit>
#include <cstddef>
#include <cstdint>

#include <adze/simd/pack.hpp>

namespace adze::simd::inline ADZE_ISA::detail {

// f of each lane, one after the other.
template <class T, class A, class F> pack<T, A> each_lane(pack<T, A> x, F f) {
  T lane[pack<T, A>::width];
  x.store(lane);
  for (T& value : lane) value = f(value);
  return pack<T, A>::load(lane);
}
template <class T, class A, class F> pack<T, A> each_lane(pack<T, A> x, pack<T, A> y, F f) {
  T lane[pack<T, A>::width], other[pack<T, A>::width];
  x.store(lane);
  y.store(other);
  for (std::size_t i = 0; i < pack<T, A>::width; ++i) lane[i] = f(lane[i], other[i]);
  return pack<T, A>::load(lane);
}

template <std::size_t n, class V> V power(V x) {  // n a power of two
  if constexpr (n == 1)
    return x;
  else
    return power<n / 2>(x * x);
}
// c[first] + c[first + 1] x + ..., split near the middle (Estrin), which keeps the chain of
// multiply-adds short; lower where that needs one power of x less.
template <std::size_t first, std::size_t count, class V, std::size_t n>
V polynomial_part(V x, const float (&c)[n]) {
  if constexpr (count == 1) {
    return V(c[first]);
  } else {
    constexpr std::size_t middle = std::bit_ceil(count) / 2;
    constexpr std::size_t half = count > 3 && 2 * count <= 3 * middle ? middle / 2 : middle;
    return fma(polynomial_part<first + half, count - half>(x, c), power<half>(x),
               polynomial_part<first, half>(x, c));
  }
}
template <class V, std::size_t n> V polynomial(V x, const float (&c)[n]) {
  return polynomial_part<0, n>(x, c);
}

// Adding this rounds |x| < 2^22 to a whole number and leaves it in the low bits.
inline constexpr float to_whole = 0x1.8p23f;

// scale x = n ln 2 + scale r with |scale r| <= ln(2) / 2; `whole` is n + bias + to_whole. The first
// part of ln 2 has nine bits: its product with n is exact without a fused multiply-add too.
template <class V> struct power_of_two_split { V whole, r; };
template <int bias, int scale = 1, class V> power_of_two_split<V> split_exponent(V x) {
  constexpr float by = scale;
  const V whole = fma(x, V(by * 0x1.715476p+0f), V(to_whole + bias));
  const V n = whole - (to_whole + bias);
  return {whole, fma(n, V(2.12194440e-4f / by), fma(n, V(-0.693359375f / by), x))};
}
// Words moved by n bits.
template <int n, class W> W left(W w) {
  if constexpr (requires { shifted_left(w.data, n); })
    return W(shifted_left(w.data, n));
  else
    return w << n;
}
template <int n, class W> W right(W w) {
  if constexpr (requires { shifted_right(w.data, n); })
    return W(shifted_right(w.data, n));
  else
    return w >> n;
}

// 2^n from n + 127 + to_whole: the bias that its exponent has anyway.
inline constexpr int power_bias = 127;
template <class V> V power_of_two(V whole) { return V::from_bits(left<23>(bits(whole))); }

// y 2^n rounded once, for y near 1 and n = whole - bias - to_whole from -151 to 129.
inline constexpr int scale_bias = 2 * power_bias;
template <class V> inline constexpr bool scales_lanes = requires(V y) { scale_lanes(y.v, y.v); };
template <class V> V scaled(V y, V whole) {
  if constexpr (scales_lanes<V>) {
    return V(typename V::lane_type(scale_lanes(y.v, V(whole - (to_whole + scale_bias)).v)));
  } else {  // in two factors: the ends of the range would not fit in one
    const typename V::word n = bits(whole), half = right<1>(n);
    return y * V::from_bits(left<23>(half)) * V::from_bits(left<23>(n - half));
  }
}

// x = m 2^k with m in [sqrt(1/2), sqrt(2)), for normal x.
template <class V> struct mantissa_split { V m, k; };
template <class V> mantissa_split<V> split_mantissa(V x) {
  using word = typename V::word;
  constexpr std::uint32_t root_half = 0x3f3504f3, one = 0x3f800000;
  const word shifted = bits(x) + word(one - root_half);
  const V k = V::from_bits(right<23>(shifted) | word(0x4b000000)) - V(0x1p23f + 127);
  return {V::from_bits((shifted & word(0x007fffff)) + word(root_half)), k};
}

}  // namespace adze::simd::inline ADZE_ISA::detail
