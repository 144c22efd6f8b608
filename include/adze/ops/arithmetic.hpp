#pragma once
// SPDX-License-Identifier: MIT
// Arithmetic of two tensors, with broadcasting, and of a tensor with a scalar. Each op is a functor
// of a few lines. NaN propagates through maximum, minimum and clamp.
#include <adze/ops/map.hpp>

namespace adze::inline ADZE_ISA {

namespace functors {

using values::input;
using values::nothing;
using values::output;

struct add_f {
  static constexpr std::string_view name = "add";
  static constexpr auto reads = gradient_reads(nothing, nothing);
  template <class V> V f(const V& a, const V& b) const { return a + b; }
  std::int64_t whole(std::int64_t a, std::int64_t b) const {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context&, const tensor& g) const {
    return {g, g};
  }
};
struct sub_f {
  static constexpr std::string_view name = "sub";
  static constexpr auto reads = gradient_reads(nothing, nothing);
  template <class V> V f(const V& a, const V& b) const { return a - b; }
  std::int64_t whole(std::int64_t a, std::int64_t b) const {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
  }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context& c, const tensor& g) const {
    return {g, c.wants(1) ? -g : tensor()};
  }
};
struct mul_f {
  static constexpr std::string_view name = "mul";
  static constexpr auto reads = gradient_reads(input(1), input(0));
  template <class V> V f(const V& a, const V& b) const { return a * b; }
  std::int64_t whole(std::int64_t a, std::int64_t b) const {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
  }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context& c, const tensor& g) const {
    return {c.wants(0) ? g * c.in(1) : tensor(), c.wants(1) ? g * c.in(0) : tensor()};
  }
};
struct div_f {
  static constexpr std::string_view name = "div";
  static constexpr auto reads = gradient_reads(input(1), input(1) | output(0));
  template <class V> V f(const V& a, const V& b) const { return a / b; }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context& c, const tensor& g) const {
    const tensor d = g / c.in(1);
    return {d, c.wants(1) ? -(d * c.out(0)) : tensor()};
  }
};
struct pow_f {  // a^0 is 1 everywhere and 0^b is 0 around any b > 0: slope 0, not 0 times infinity
  static constexpr std::string_view name = "pow";
  static constexpr auto reads =
      gradient_reads(input(0) | input(1), input(0) | input(1) | output(0));
  template <class V> V f(const V& a, const V& b) const { return pow(a, b); }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context& c, const tensor& g) const {
    const tensor a = c.in(0), b = c.in(1);
    return {c.wants(0) ? g * where(b == 0.0, 0.0, b * pow(a, b - 1.0)) : tensor(),
            c.wants(1) ? g * where(a == 0.0 && b >= 0.0, 0.0, c.out(0) * log(a)) : tensor()};
  }
};
struct maximum_f {  // equal values share the gradient
  static constexpr std::string_view name = "maximum";
  static constexpr auto reads = gradient_reads(input(0) | input(1), input(0) | input(1));
  template <class V> V f(const V& a, const V& b) const { return maximum(a, b); }
  std::int64_t whole(std::int64_t a, std::int64_t b) const { return a > b ? a : b; }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context& c, const tensor& g) const {
    const tensor tie = where(c.in(0) == c.in(1), g * 0.5, g);
    return {where(c.in(0) < c.in(1), 0.0, tie), where(c.in(1) < c.in(0), 0.0, tie)};
  }
};
struct minimum_f {
  static constexpr std::string_view name = "minimum";
  static constexpr auto reads = gradient_reads(input(0) | input(1), input(0) | input(1));
  template <class V> V f(const V& a, const V& b) const { return minimum(a, b); }
  std::int64_t whole(std::int64_t a, std::int64_t b) const { return a < b ? a : b; }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context& c, const tensor& g) const {
    const tensor tie = where(c.in(0) == c.in(1), g * 0.5, g);
    return {where(c.in(0) > c.in(1), 0.0, tie), where(c.in(1) > c.in(0), 0.0, tie)};
  }
};
struct lerp_f {  // from the nearer end as in PyTorch, so that weight 1 gives b exactly
  static constexpr std::string_view name = "lerp";
  static constexpr auto reads = gradient_reads(nothing, nothing);
  double weight = 0.5;
  template <class V> V f(const V& a, const V& b) const {
    return weight < 0.5 ? V(a + (b - a) * weight) : V(b - (b - a) * (1.0 - weight));
  }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context& c, const tensor& g) const {
    return {c.wants(0) ? g * (1.0 - weight) : tensor(), c.wants(1) ? g * weight : tensor()};
  }
};

// With a scalar. Integer tensors take whole numbers only (scalar_of checks), and stay integers.
struct scalar_functor {
  static constexpr numeric precision = numeric::any;
  double b = 0.0;
  std::int64_t n() const { return static_cast<std::int64_t>(b); }
};
struct add_scalar_f : scalar_functor {
  static constexpr std::string_view name = "add_scalar";
  static constexpr auto reads = nothing;
  template <class V> V f(const V& x) const { return x + b; }
  template <class V> double df(const V&, const V&) const { return 1.0; }
  std::int64_t whole(std::int64_t x) const { return add_f().whole(x, n()); }
};
struct mul_scalar_f : scalar_functor {
  static constexpr std::string_view name = "mul_scalar";
  static constexpr auto reads = nothing;
  template <class V> V f(const V& x) const { return x * b; }
  template <class V> double df(const V&, const V&) const { return b; }
  std::int64_t whole(std::int64_t x) const { return mul_f().whole(x, n()); }
};
struct div_scalar_f : scalar_functor {
  static constexpr std::string_view name = "div_scalar";
  static constexpr auto reads = nothing;
  template <class V> V f(const V& x) const { return x / b; }
  template <class V> double df(const V&, const V&) const { return 1.0 / b; }
};
struct from_scalar_f : scalar_functor {  // b - x
  static constexpr std::string_view name = "from_scalar";
  static constexpr auto reads = nothing;
  template <class V> V f(const V& x) const { return b - x; }
  template <class V> double df(const V&, const V&) const { return -1.0; }
  std::int64_t whole(std::int64_t x) const { return sub_f().whole(n(), x); }
};
struct scalar_div_f : scalar_functor {  // b / x
  static constexpr std::string_view name = "scalar_div";
  static constexpr auto reads = input(0) | output(0);
  template <class V> V f(const V& x) const { return b / x; }
  template <class V> V df(const V& x, const V& y) const { return -(y / x); }
};
struct pow_scalar_f : scalar_functor {
  static constexpr std::string_view name = "pow_scalar";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = input(0);
  template <class V> V f(const V& x) const { return pow(x, b); }
  template <class V> V df(const V& x, const V&) const {
    return b == 0.0 ? V(step(x) * 0.0) : V(pow(x, b - 1.0) * b);  // never 0 times infinity
  }
};
struct maximum_scalar_f : scalar_functor {
  static constexpr std::string_view name = "maximum_scalar";
  static constexpr auto reads = input(0);
  template <class V> V f(const V& x) const { return maximum(x, b); }
  template <class V> V df(const V& x, const V&) const {
    return (step(x - b) - step(b - x) + 1.0) * 0.5;  // 1, 0 and, where equal, 1/2
  }
  std::int64_t whole(std::int64_t x) const {
    return std::max(x, simd::convert_to<std::int64_t>(b));
  }
};
struct minimum_scalar_f : scalar_functor {
  static constexpr std::string_view name = "minimum_scalar";
  static constexpr auto reads = input(0);
  template <class V> V f(const V& x) const { return minimum(x, b); }
  template <class V> V df(const V& x, const V&) const {
    return (step(b - x) - step(x - b) + 1.0) * 0.5;
  }
  std::int64_t whole(std::int64_t x) const {
    return std::min(x, simd::convert_to<std::int64_t>(b));
  }
};
struct clamp_f {  // the gradient passes on the closed interval
  static constexpr std::string_view name = "clamp";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = input(0);
  double low = 0.0, high = 0.0;
  template <class V> V f(const V& x) const { return minimum(maximum(x, low), high); }
  template <class V> V df(const V& x, const V&) const {
    return (1.0 - step(low - x)) * (1.0 - step(x - high));
  }
  std::int64_t whole(std::int64_t x) const {  // an infinite bound becomes the last number
    const auto first = simd::convert_to<std::int64_t>(low);
    return std::min(std::max(x, first), simd::convert_to<std::int64_t>(high));
  }
};

}  // namespace functors

}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {
// A scalar for a change in place, where a mask cannot become numbers.
template <class = void> double number_of(std::string_view op, const tensor& y, double b) {
  if (y.dtype() == bool8) {
    raise<dtype_error>(op, ": bool8 is not a number; got ", y, "; cast(y, i32) counts");
  }
  return scalar_of(op, y, b);
}
// What bounds x: of integers a whole number or an infinite one; beyond the dtype's range its end.
template <class = void> double bound_of(std::string_view op, const tensor& x, double b) {
  if (is_floating(x.dtype())) return b;
  if (x.dtype() == bool8 || b != std::floor(b)) static_cast<void>(number_of(op, x, b));
  if (x.dtype() == i64) return b;  // the functors take the end
  const auto [first, last] = whole_range_of(x.dtype());
  return std::clamp(b, first, last);
}
inline void check_subtract(std::string_view name, const tensor& a, const tensor& b) {
  if (a.dtype() != bool8 || b.dtype() != bool8) return;
  raise<dtype_error>(name, ": bool8 is not a number; got ", a, " and ", b,
                     "; a != b says where they differ, cast(x, i32) counts");
}
}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// a + b, a - b, a * b, a / b: broadcast, PyTorch's promotion; integers wrap, and do not divide;
// bool8 counts as i64 next to a scalar, and does not subtract.
template <class> tensor add(const tensor& a, const tensor& b) {
  return record(binary<functors::add_f>{}, a, b);
}
template <class> tensor sub(const tensor& a, const tensor& b) {
  detail::check_subtract("sub", a, b);
  return record(binary<functors::sub_f>{}, a, b);
}
template <class> tensor mul(const tensor& a, const tensor& b) {
  return record(binary<functors::mul_f>{}, a, b);
}
template <class> tensor div(const tensor& a, const tensor& b) {
  return record(binary<functors::div_f>{}, a, b);
}
template <class> tensor pow(const tensor& a, const tensor& b) {
  return record(binary<functors::pow_f>{}, a, b);
}
// The larger, the smaller; NaN wins. Equal values share the gradient, as in PyTorch.
template <class> tensor maximum(const tensor& a, const tensor& b) {
  return record(binary<functors::maximum_f>{}, a, b);
}
template <class> tensor minimum(const tensor& a, const tensor& b) {
  return record(binary<functors::minimum_f>{}, a, b);
}

template <class> tensor add(const tensor& a, double b) {
  if (a.dtype() == bool8) return add(cast(a, i64), b);  // as in PyTorch: true + 1 is 2
  return record(unary<functors::add_scalar_f>{{{detail::scalar_of("add", a, b)}}}, a);
}
template <class> tensor mul(const tensor& a, double b) {
  if (a.dtype() == bool8) return mul(cast(a, i64), b);
  return record(unary<functors::mul_scalar_f>{{{detail::scalar_of("mul", a, b)}}}, a);
}
template <class> tensor pow(const tensor& a, double b) {
  return record(unary<functors::pow_scalar_f>{{{b}}}, a);
}
// A number beyond the range of integers is its end, as in clamp.
template <class> tensor maximum(const tensor& a, double b) {
  if (a.dtype() == bool8) return maximum(cast(a, i64), b);
  return record(unary<functors::maximum_scalar_f>{{{detail::bound_of("maximum", a, b)}}}, a);
}
template <class> tensor minimum(const tensor& a, double b) {
  if (a.dtype() == bool8) return minimum(cast(a, i64), b);
  return record(unary<functors::minimum_scalar_f>{{{detail::bound_of("minimum", a, b)}}}, a);
}
// min(max(x, low), high); the gradient is that of x inside the closed interval, else 0. Integers
// keep their dtype and take bounds that are whole or infinite, else dtype_error; one beyond the
// dtype's range is its end.
template <class> tensor clamp(const tensor& x, double low, double high) {
  if (x.dtype() == bool8) return clamp(cast(x, i64), low, high);
  return record(unary<functors::clamp_f>{detail::bound_of("clamp", x, low),
                                         detail::bound_of("clamp", x, high)},
                x);
}
// One bound alone: max(x, low), min(x, high); the gradient is that of x where it stays, bound
// included.
template <class> tensor clamp_min(const tensor& x, double low) {
  return clamp(x, low, std::numeric_limits<double>::infinity());
}
template <class> tensor clamp_max(const tensor& x, double high) {
  return clamp(x, -std::numeric_limits<double>::infinity(), high);
}
// a + weight (b - a), in one pass, rounded once; weight 1 gives b exactly. Floats.
template <class> tensor lerp(const tensor& a, const tensor& b, double weight) {
  return record(binary<functors::lerp_f>{{weight}}, a, b);
}

template <class> tensor operator+(const tensor& a, const tensor& b) { return add(a, b); }
template <class> tensor operator-(const tensor& a, const tensor& b) { return sub(a, b); }
template <class> tensor operator*(const tensor& a, const tensor& b) { return mul(a, b); }
template <class> tensor operator/(const tensor& a, const tensor& b) { return div(a, b); }
template <class> tensor operator+(const tensor& a, double b) { return add(a, b); }
template <class> tensor operator-(const tensor& a, double b) { return add(a, -b); }
template <class> tensor operator*(const tensor& a, double b) { return mul(a, b); }
template <class> tensor operator/(const tensor& a, double b) {
  return record(unary<functors::div_scalar_f>{{{b}}}, a);
}
template <class> tensor operator+(double a, const tensor& b) { return add(b, a); }
template <class> tensor operator-(double a, const tensor& b) {
  if (b.dtype() == bool8) return a - cast(b, i64);
  return record(unary<functors::from_scalar_f>{{{detail::scalar_of("sub", b, a)}}}, b);
}
template <class> tensor operator*(double a, const tensor& b) { return mul(b, a); }
template <class> tensor operator/(double a, const tensor& b) {
  return record(unary<functors::scalar_div_f>{{{a}}}, b);
}
template <class> tensor operator-(const tensor& x) { return neg(x); }

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/compare.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/reduce.hpp>
