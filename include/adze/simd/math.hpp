#pragma once
// SPDX-License-Identifier: MIT
// Elementary functions of packs, floats and doubles: exp, expm1, log, log2, log1p, tanh, sigmoid,
// erf, sin, cos, pow, rsqrt. Float packs have kernels in math_f32.hpp; doubles, which are there to
// check gradients, ask the C library lane by lane.
#include <cmath>
#include <concepts>
#include <limits>

#include <adze/simd/math_f32.hpp>

namespace adze::simd::inline ADZE_ISA {

// x^y, through double for floats.
template <class A> pack<float, A> pow(pack<float, A> x, pack<float, A> y) {
  return detail::each_lane(x, y, [](float a, float b) {
    return static_cast<float>(std::pow(static_cast<double>(a), static_cast<double>(b)));
  });
}

// The same functions of doubles.
template <class A> pack<double, A> exp(pack<double, A> x) {
  return detail::each_lane(x, [](double v) { return std::exp(v); });
}
template <class A> pack<double, A> exp_nonpositive(pack<double, A> x) { return exp(x); }
template <class A> pack<double, A> expm1(pack<double, A> x) {
  return detail::each_lane(x, [](double v) { return std::expm1(v); });
}
template <class A> pack<double, A> log(pack<double, A> x) {
  return detail::each_lane(x, [](double v) { return std::log(v); });
}
template <class A> pack<double, A> log2(pack<double, A> x) {
  return detail::each_lane(x, [](double v) { return std::log2(v); });
}
template <class A> pack<double, A> log1p(pack<double, A> x) {
  return detail::each_lane(x, [](double v) { return std::log1p(v); });
}
template <class A> pack<double, A> tanh(pack<double, A> x) {
  return detail::each_lane(x, [](double v) { return std::tanh(v); });
}
template <class A> pack<double, A> sigmoid(pack<double, A> x) {
  const pack<double, A> e = exp(-abs(x));
  return where(x < 0.0, e, 1.0) / (1.0 + e);
}
template <class A> pack<double, A> erf(pack<double, A> x) {
  return detail::each_lane(x, [](double v) { return std::erf(v); });
}
template <class A> pack<double, A> normal_cdf(pack<double, A> x) {
  return (erf(x * 0.70710678118654752) + 1.0) * 0.5;
}
template <class A> pack<double, A> sin(pack<double, A> x) {
  return detail::each_lane(x, [](double v) { return std::sin(v); });
}
template <class A> pack<double, A> cos(pack<double, A> x) {
  return detail::each_lane(x, [](double v) { return std::cos(v); });
}
template <class A> pack<double, A> pow(pack<double, A> x, pack<double, A> y) {
  return detail::each_lane(x, y, [](double a, double b) { return std::pow(a, b); });
}

// x^p for one exponent: products and roots where they are exact enough, the general form elsewhere.
template <class T, class A> pack<T, A> pow(pack<T, A> x, double p) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  if (p == 0.0) return 1;
  if (p == 1.0) return x;
  if (p == 2.0) return x * x;
  if (p == 3.0) return x * x * x;
  if (p == -1.0) return 1.0 / x;
  if (p == 0.5) return where(x == -infinity, infinity, sqrt(x + 0.0));  // + 0 turns -0 to +0
  return detail::each_lane(
      x, [p](T v) { return static_cast<T>(std::pow(static_cast<double>(v), p)); });
}

// 1 / sqrt(x); never the estimate of the hardware.
template <class T, class A> pack<T, A> rsqrt(pack<T, A> x) { return 1.0 / sqrt(x); }

// One number is a pack of one lane.
template <std::floating_point T> T exp(T x) { return exp(pack<T, scalar>(x)).v; }
template <std::floating_point T> T expm1(T x) { return expm1(pack<T, scalar>(x)).v; }
template <std::floating_point T> T log(T x) { return log(pack<T, scalar>(x)).v; }
template <std::floating_point T> T log2(T x) { return log2(pack<T, scalar>(x)).v; }
template <std::floating_point T> T log1p(T x) { return log1p(pack<T, scalar>(x)).v; }
template <std::floating_point T> T tanh(T x) { return tanh(pack<T, scalar>(x)).v; }
template <std::floating_point T> T sigmoid(T x) { return sigmoid(pack<T, scalar>(x)).v; }
template <std::floating_point T> T erf(T x) { return erf(pack<T, scalar>(x)).v; }
template <std::floating_point T> T normal_cdf(T x) { return normal_cdf(pack<T, scalar>(x)).v; }
template <std::floating_point T> T sin(T x) { return sin(pack<T, scalar>(x)).v; }
template <std::floating_point T> T cos(T x) { return cos(pack<T, scalar>(x)).v; }
template <std::floating_point T> T pow(T x, double p) { return pow(pack<T, scalar>(x), p).v; }
template <std::floating_point T> T rsqrt(T x) { return rsqrt(pack<T, scalar>(x)).v; }

}  // namespace adze::simd::inline ADZE_ISA
