#pragma once
// SPDX-License-Identifier: MIT
// Elementary functions of float packs: kernels of our own, without branches on the usual path,
// within 2.5 ulp (tests/simd/math.cpp asserts the figure of each). Infinities, NaN and signed zeros
// follow <cmath>; results below the smallest normal number are rounded, not flushed. A lane's
// result never depends on its neighbours. Coefficients are weighted minimax fits made for these
// intervals.
#include <cmath>
#include <cstdint>
#include <limits>

#include <adze/simd/math_parts.hpp>

namespace adze::simd::inline ADZE_ISA {

namespace detail {

// e^r for |r| <= ln(2) / 2.
template <class V> V exp_of_rest(V r) {
  const V q = polynomial(
      r, {0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558f2p-5f, 0x1.123a2p-7f, 0x1.6a23cep-10f});
  return fma(r * r, q, r) + 1.0;
}
// (e^(scale r) - 1) / scale, as exact for small r; scale: 1 or 2.
template <int scale = 1, class V> V expm1_of_rest(V r) {
  constexpr float by = scale, by2 = by * by, by3 = by * by2;
  const V q = polynomial(r, {0.5f * by, 0x1.555554p-3f * by2, 0x1.5554bp-5f * by3,
                             0x1.11118ap-7f * by2 * by2, 0x1.6d723ep-10f * by2 * by3,
                             0x1.a032c2p-13f * by3 * by3});
  return fma(r * r, q, r);
}

}  // namespace detail

// e^x.
template <class A> [[gnu::always_inline]] inline pack<float, A> exp(pack<float, A> x) {
  using V = pack<float, A>;
  // Beyond these ends the result is infinity or zero anyway; NaN passes.
  const V inside = less_of(V(88.8), greater_of(V(-104), x));
  const auto [whole, r] = detail::split_exponent<detail::scale_bias>(inside);
  return detail::scaled(detail::exp_of_rest(r), whole);
}

// e^x for x <= 0, what softmax and its kin ask for: one power of two fits all of their range.
template <class A> [[gnu::always_inline]] inline pack<float, A> exp_nonpositive(pack<float, A> x) {
  using V = pack<float, A>;
  constexpr int up = 64,
                bias = detail::scales_lanes<V> ? detail::scale_bias : detail::power_bias + up;
  const auto [whole, r] = detail::split_exponent<bias>(greater_of(V(-104), x));
  const V y = detail::exp_of_rest(r);
  if constexpr (detail::scales_lanes<V>)
    return detail::scaled(y, whole);
  else
    return y * detail::power_of_two(whole) * 0x1p-64;
}

// e^x - 1.
template <class A> [[gnu::always_inline]] inline pack<float, A> expm1(pack<float, A> x) {
  using V = pack<float, A>;
  constexpr int bias = detail::power_bias - 1;  // half of 2^n, for n = 128
  const auto [whole, r] = detail::split_exponent<bias>(less_of(V(88.8), greater_of(V(-20), x)));
  const V s = detail::power_of_two(whole);
  const V y = 2.0 * fma(s, detail::expm1_of_rest(r), s - 0.5);
  return copysign(y, x);
}

namespace detail {

// log(m 2^k), natural or to the base two, from f = m - 1 in [-0.3, 0.42]. That of a power of two
// is k exactly in base two, where log2(e) is taken in two parts.
template <bool two, class V> V log_of_split(V f, V k) {
  const V z = f * f;
  const V p = polynomial(f, {0x1.555548p-2f, -0x1.000006p-2f, 0x1.99a4b6p-3f, -0x1.555c4ep-3f,
                             0x1.233768p-3f, -0x1.fc2208p-4f, 0x1.e6f06ap-4f, -0x1.de3c16p-4f,
                             0x1.1457a8p-4f});
  if constexpr (two) {
    constexpr float first = 0x1.715476p+0f, second = 0x1.4ae0cp-26f;
    const V tail = fma(V(-0.5f), z, p * f * z);
    return fma(f, V(first), fma(tail, V(first), f * second)) + k;
  }
  const V tail = fma(V(-0.5f), z, fma(k, V(-2.12194440e-4f), p * f * z));
  return fma(k, V(0.693359375f), f + tail);
}

template <class V> auto is_normal_positive(V x) {
  return (x >= std::numeric_limits<float>::min()) & (x < std::numeric_limits<float>::infinity());
}

// log for packs that hold a zero, subnormal, negative, infinite or NaN lane.
template <bool two, class V> [[gnu::noinline, gnu::cold]] V log_of_any(V x) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const auto subnormal = x < std::numeric_limits<float>::min();
  const auto [m, k] = split_mantissa(V(where(subnormal, x * 0x1p23f, x)));
  const V y = log_of_split<two>(V(m - 1.0), V(k - where(subnormal, 23.0, V(0))));
  const V edge = where(x == 0.0, -infinity, V(std::numeric_limits<float>::quiet_NaN()));
  return where(x > 0.0, where(x < infinity, y, x), edge);
}

template <bool two, class V> [[gnu::always_inline]] inline V logarithm(V x) {
  if (any(!is_normal_positive(x))) return log_of_any<two>(x);
  const auto [m, k] = split_mantissa(x);
  return log_of_split<two>(V(m - 1.0), k);
}

}  // namespace detail

// Natural logarithm, and that to the base two.
template <class A> [[gnu::always_inline]] inline pack<float, A> log(pack<float, A> x) {
  return detail::logarithm<false>(x);
}
template <class A> [[gnu::always_inline]] inline pack<float, A> log2(pack<float, A> x) {
  return detail::logarithm<true>(x);
}

// log(1 + x).
template <class A> [[gnu::always_inline]] inline pack<float, A> log1p(pack<float, A> x) {
  using V = pack<float, A>;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const V u = x + 1.0;
  const V lost = where(x > 1.0, 1.0 - (u - x), x - (u - 1.0));  // what the sum rounded away
  const V y = log(u);
  return copysign(where((u > 0.0) & (u < infinity), y + lost / u, y), x);
}

// Hyperbolic tangent, from e^(2|x|) - 1, so that it is exact in relative terms around zero.
template <class A> [[gnu::always_inline]] inline pack<float, A> tanh(pack<float, A> x) {
  using V = pack<float, A>;
  constexpr int bias = detail::power_bias + 1;
  const auto [whole, r] = detail::split_exponent<bias, 2>(less_of(V(10), abs(x)));
  const V twice = detail::power_of_two(whole);
  const V e = fma(twice, detail::expm1_of_rest<2>(r), fma(twice, V(0.5f), V(-1)));
  return copysign(e / (e + 2.0), x);
}

// 1 / (1 + e^-x), by e^-|x|, which neither overflows nor loses the small end.
template <class A> [[gnu::always_inline]] inline pack<float, A> sigmoid(pack<float, A> x) {
  using V = pack<float, A>;
  const V e = exp_nonpositive(-abs(x));
  return where(x < 0.0, e, V(1)) / (1.0 + e);
}

// Error function: odd polynomial up to 0.93, one minus an exponential beyond.
template <class A> [[gnu::always_inline]] inline pack<float, A> erf(pack<float, A> x) {
  using V = pack<float, A>;
  const V size = abs(x), z = x * x;
  const V low =
      detail::polynomial(z, {0x1.06eba8p-3f, -0x1.812742p-2f, 0x1.ce2e0ap-4f, -0x1.b80e92p-6f,
                             0x1.54c7f8p-8f, -0x1.aa3f4ap-11f, 0x1.5cd5p-14f});
  const V t = less_of(V(3.95), size);
  const V g =
      detail::polynomial(t, {-0x1.20ef1cp+0f, -0x1.45328ep-1f, -0x1.b3257p-4f, 0x1.85514ep-6f,
                             -0x1.dd6c9ap-9f, 0x1.527beap-12f, -0x1.78dbe2p-17f});
  const auto [whole, r] = detail::split_exponent<detail::power_bias>(V(g * t));  // -17.5 to 0
  const V high = 1.0 - detail::exp_of_rest(r) * detail::power_of_two(whole);
  return where(size < 0.93, fma(x, low, x), copysign(high, x));
}

// (1 + erf(x / sqrt(2))) / 2, the normal distribution function, within 2^-23: exactly 0 and 1
// beyond 5.6. The upper tail is half of 2^(t g(t)); 1.6e-8 of it is the error of g.
template <class A> [[gnu::always_inline]] inline pack<float, A> normal_cdf(pack<float, A> x) {
  using V = pack<float, A>;
  const V t = less_of(V(5.586), abs(x));
  const V g = detail::polynomial(t, {-0x1.26aed4p+0f, -0x1.d63aacp-2f, -0x1.ae0c7p-5f,
                                     0x1.cee81ap-8f, -0x1.1f209ep-13f, -0x1.8678e6p-13f,
                                     0x1.4a58f6p-15f, -0x1.7c8812p-19f});
  constexpr float offset = detail::to_whole + detail::power_bias - 1;  // half of 2^n
  const V power = g * t, whole = power + offset;                       // -25.4 to 0
  const V r = (power - (whole - offset)) * 0x1.62e43p-1f;
  const V half = detail::power_of_two(whole);
  return copysign(fma(-half, detail::exp_of_rest(r), V(0.5)), x) + 0.5;
}

namespace detail {

// sin(x + quarter * pi / 2) for |x| <= 8192: the remainder of x by pi / 2 in four exact steps, then
// the polynomial that belongs to the quadrant.
template <class V> V sine(V x, std::uint32_t quarter) {
  using word = typename V::word;
  const V whole = fma(x, V(0x1.45f306p-1f), V(to_whole));
  const V n = to_whole - whole;
  V r = fma(n, V(0x1.92p+0f), x);
  r = fma(n, V(0x1.fb4p-12f), r);
  r = fma(n, V(0x1.444p-24f), r);
  r = fma(n, V(0x1.68c234p-39f), r);
  const V z = r * r;
  const V s = fma(r * z, polynomial(z, {-0x1.555546p-3f, 0x1.11073p-7f, -0x1.994062p-13f}), r);
  const V c = fma(z * z, polynomial(z, {0x1.55554ap-5f, -0x1.6c0c28p-10f, 0x1.99e86ap-16f}),
                  fma(V(-0.5f), z, V(1)));
  const word quadrant = bits(whole) + word(quarter);
  const auto odd = V::from_bits(left<29>(quadrant & word(1))) > V(0);  // any number with few bits
  return V::from_bits(bits(V(where(odd, c, s))) ^ left<30>(quadrant & word(2)));
}

}  // namespace detail

// Sine; of lanes beyond 8192 by the C library.
template <class A> [[gnu::always_inline]] inline pack<float, A> sin(pack<float, A> x) {
  const auto large = abs(x) > 8192.0;
  const pack<float, A> y = where(x == 0.0, x, detail::sine(x, 0));
  if (!any(large)) return y;
  return where(large, detail::each_lane(x, [](float v) { return std::sin(v); }), y);
}

// Cosine; of lanes beyond 8192 by the C library.
template <class A> [[gnu::always_inline]] inline pack<float, A> cos(pack<float, A> x) {
  const auto large = abs(x) > 8192.0;
  const pack<float, A> y = detail::sine(x, 1);
  if (!any(large)) return y;
  return where(large, detail::each_lane(x, [](float v) { return std::cos(v); }), y);
}

}  // namespace adze::simd::inline ADZE_ISA
