#pragma once
// SPDX-License-Identifier: MIT
// Elementary functions of one tensor, element by element. Each op is a functor of a few lines: f,
// and its slope df from the input x or the result y.
#include <adze/ops/map.hpp>

namespace adze::inline ADZE_ISA {

namespace functors {

struct neg_f {
  static constexpr std::string_view name = "neg";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::nothing;
  template <class V> V f(const V& x) const { return -x; }
  template <class V> double df(const V&, const V&) const { return -1.0; }
  std::int64_t whole(std::int64_t x) const {
    return static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(x));
  }
};
struct abs_f {
  static constexpr std::string_view name = "abs";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return abs(x); }
  template <class V> V df(const V& x, const V&) const { return sign(x); }
  std::int64_t whole(std::int64_t x) const {
    return x < 0 ? static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(x)) : x;
  }
};
struct sign_f {  // -1, 0 or 1; its gradient is zero
  static constexpr std::string_view name = "sign";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::nothing;
  template <class V> V f(const V& x) const { return sign(x); }
  template <class V> double df(const V&, const V&) const { return 0.0; }
  std::int64_t whole(std::int64_t x) const { return (x > 0) - (x < 0); }
};
struct step_f {  // 1 where x > 0, else 0
  static constexpr std::string_view name = "step";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::nothing;
  template <class V> V f(const V& x) const { return step(x); }
  template <class V> double df(const V&, const V&) const { return 0.0; }
};
struct floor_f {
  static constexpr std::string_view name = "floor";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::nothing;
  template <class V> V f(const V& x) const { return floor(x); }
  template <class V> double df(const V&, const V&) const { return 0.0; }
};
struct ceil_f {
  static constexpr std::string_view name = "ceil";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::nothing;
  template <class V> V f(const V& x) const { return -floor(-x); }
  template <class V> double df(const V&, const V&) const { return 0.0; }
};
struct round_f {  // half to even
  static constexpr std::string_view name = "round";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::nothing;
  template <class V> V f(const V& x) const { return round(x); }
  template <class V> double df(const V&, const V&) const { return 0.0; }
};
struct square_f {
  static constexpr std::string_view name = "square";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return x * x; }
  template <class V> V df(const V& x, const V&) const { return x * 2.0; }
  std::int64_t whole(std::int64_t x) const {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(x));
  }
};
struct sqrt_f {
  static constexpr std::string_view name = "sqrt";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::output(0);
  template <class V> V f(const V& x) const { return sqrt(x); }
  template <class V> V df(const V&, const V& y) const { return 0.5 / y; }
};
struct rsqrt_f {
  static constexpr std::string_view name = "rsqrt";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = values::output(0);
  template <class V> V f(const V& x) const { return 1.0 / sqrt(x); }
  template <class V> V df(const V&, const V& y) const { return y * y * y * -0.5; }
};
struct reciprocal_f {
  static constexpr std::string_view name = "reciprocal";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = values::output(0);
  template <class V> V f(const V& x) const { return 1.0 / x; }
  template <class V> V df(const V&, const V& y) const { return -(y * y); }
};
struct exp_f {
  static constexpr std::string_view name = "exp";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = values::output(0);
  template <class V> V f(const V& x) const { return exp(x); }
  template <class V> V df(const V&, const V& y) const { return y; }
};
struct expm1_f {
  static constexpr std::string_view name = "expm1";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = values::output(0);
  template <class V> V f(const V& x) const { return expm1(x); }
  template <class V> V df(const V&, const V& y) const { return y + 1.0; }
};
struct log_f {
  static constexpr std::string_view name = "log";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return log(x); }
  template <class V> V df(const V& x, const V&) const { return 1.0 / x; }
};
struct log2_f {
  static constexpr std::string_view name = "log2";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return log2(x); }
  template <class V> V df(const V& x, const V&) const { return 1.4426950408889634 / x; }  // 1/ln 2
};
struct log1p_f {
  static constexpr std::string_view name = "log1p";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return log1p(x); }
  template <class V> V df(const V& x, const V&) const { return 1.0 / (x + 1.0); }
};
struct sin_f {
  static constexpr std::string_view name = "sin";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return sin(x); }
  template <class V> V df(const V& x, const V&) const { return cos(x); }
};
struct cos_f {
  static constexpr std::string_view name = "cos";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return cos(x); }
  template <class V> V df(const V& x, const V&) const { return -sin(x); }
};
struct erf_f {
  static constexpr std::string_view name = "erf";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return erf(x); }
  template <class V> V df(const V& x, const V&) const {
    return exp(-(x * x)) * 1.1283791670955126;  // 2 / sqrt(pi)
  }
};

}  // namespace functors

template <class> tensor neg(const tensor& x) {
  if (x.dtype() == bool8) {
    raise<dtype_error>("neg: bool8 is not a number; got ", x,
                       "; !x is the opposite, cast(x, i32) counts");
  }
  return record(unary<functors::neg_f>{}, x);
}
template <class> tensor abs(const tensor& x) { return record(unary<functors::abs_f>{}, x); }
// -1, 0 or 1; NaN stays NaN (0 in PyTorch), and with it the gradient of abs.
template <class> tensor sign(const tensor& x) { return record(unary<functors::sign_f>{}, x); }
template <class> tensor step(const tensor& x) { return record(unary<functors::step_f>{}, x); }
template <class> tensor floor(const tensor& x) { return record(unary<functors::floor_f>{}, x); }
template <class> tensor ceil(const tensor& x) { return record(unary<functors::ceil_f>{}, x); }
template <class> tensor round(const tensor& x) { return record(unary<functors::round_f>{}, x); }
template <class> tensor square(const tensor& x) { return record(unary<functors::square_f>{}, x); }
template <class> tensor sqrt(const tensor& x) { return record(unary<functors::sqrt_f>{}, x); }
template <class> tensor rsqrt(const tensor& x) { return record(unary<functors::rsqrt_f>{}, x); }
template <class> tensor reciprocal(const tensor& x) {
  return record(unary<functors::reciprocal_f>{}, x);
}
template <class> tensor exp(const tensor& x) { return record(unary<functors::exp_f>{}, x); }
template <class> tensor expm1(const tensor& x) { return record(unary<functors::expm1_f>{}, x); }
template <class> tensor log(const tensor& x) { return record(unary<functors::log_f>{}, x); }
// Of a power of two exactly its exponent.
template <class> tensor log2(const tensor& x) { return record(unary<functors::log2_f>{}, x); }
template <class> tensor log1p(const tensor& x) { return record(unary<functors::log1p_f>{}, x); }
template <class> tensor sin(const tensor& x) { return record(unary<functors::sin_f>{}, x); }
template <class> tensor cos(const tensor& x) { return record(unary<functors::cos_f>{}, x); }
template <class> tensor erf(const tensor& x) { return record(unary<functors::erf_f>{}, x); }

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/arithmetic.hpp>
