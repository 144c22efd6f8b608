#pragma once
// SPDX-License-Identifier: MIT
// Comparisons and logic: bool8 results, no gradient; and `where`, which chooses by them.
// Comparisons with NaN are false. Integers are compared exactly, with each other and with numbers.
#include <adze/ops/map.hpp>

namespace adze::inline ADZE_ISA {

namespace functors {

struct equal_f {
  static constexpr std::string_view name = "equal";
  template <class V> auto f(const V& a, const V& b) const { return a == b; }
};
struct not_equal_f {
  static constexpr std::string_view name = "not_equal";
  template <class V> auto f(const V& a, const V& b) const { return a != b; }
};
struct less_f {
  static constexpr std::string_view name = "less";
  template <class V> auto f(const V& a, const V& b) const { return a < b; }
};
struct less_equal_f {
  static constexpr std::string_view name = "less_equal";
  template <class V> auto f(const V& a, const V& b) const { return a <= b; }
};
struct and_f {
  static constexpr std::string_view name = "logical_and";
  template <class V> auto f(const V& a, const V& b) const { return (a != V(0)) & (b != V(0)); }
};
struct or_f {
  static constexpr std::string_view name = "logical_or";
  template <class V> auto f(const V& a, const V& b) const { return (a != V(0)) | (b != V(0)); }
};

}  // namespace functors

}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {

// 1 or 0 in the computing type; the driver stores it as bool8.
template <class F, class T>
void compare_rows(const void* functor, const void* const* in, void* out, index_t n, kernels::flow) {
  const F& f = *static_cast<const F*>(functor);
  const T* a = static_cast<const T*>(in[0]);
  const T* b = static_cast<const T*>(in[1]);
  T* y = static_cast<T*>(out);
  index_t i = 0;
  if constexpr (std::is_same_v<T, float>) {
    using pack = simd::pack<float>;
    for (; i + pack::size <= n; i += pack::size)
      where(f.f(pack::load(a + i), pack::load(b + i)), pack(1), pack(0)).store(y + i);
  }
  for (; i < n; ++i) y[i] = static_cast<T>(f.f(a[i], b[i]));
}

// Without branches: conditions are often as good as random.
template <class T>
void where_rows(const void*, const void* const* in, void* out, index_t n, kernels::flow) {
  const T* c = static_cast<const T*>(in[0]);
  const T* a = static_cast<const T*>(in[1]);
  const T* b = static_cast<const T*>(in[2]);
  T* y = static_cast<T*>(out);
  index_t i = 0;
  if constexpr (std::is_same_v<T, float>) {
    using pack = simd::pack<float>;
    for (; i + pack::size <= n; i += pack::size)
      where(pack::load(c + i) == pack(0), pack::load(b + i), pack::load(a + i)).store(y + i);
  }
  for (; i < n; ++i) y[i] = *(c[i] != T(0) ? a + i : b + i);
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class F> struct comparison {
  F f{};
  static constexpr std::string_view name = F::name;
  static constexpr numeric precision = numeric::promote;
  static constexpr auto reads = gradient_reads(values::nothing, values::nothing);
  static constexpr value_set nondifferentiable = values::output(0);
  static constexpr std::string_view axes = "...,...->...";
  static constexpr kernels::map_loops loops{detail::compare_rows<F, float>,
                                            detail::compare_rows<F, double>,
                                            detail::compare_rows<F, std::int64_t>};

  shape result(const shape& a, const shape& b) const { return broadcast(a, b, name); }
  tensor forward(const tensor& a, const tensor& b) const {
    return detail::map_tensors(name, loops, &f, {&a, &b}, detail::result_type(a, b), bool8);
  }
  std::array<tensor, 2> backward(backward_context&, const tensor&) const { return {}; }
};

// condition ? a : b, broadcast; the gradient goes to the chosen side.
template <class = void> struct where_op {
  static constexpr std::string_view name = "where";
  static constexpr numeric precision = numeric::promote;
  static constexpr bool broadcasts = true;
  static constexpr auto reads = gradient_reads(values::nothing, values::input(0), values::input(0));
  static constexpr std::string_view axes = "...,...,...->...";
  static constexpr kernels::map_loops loops{detail::where_rows<float>, detail::where_rows<double>,
                                            detail::where_rows<std::int64_t>};

  shape result(const shape& c, const shape& a, const shape& b) const {
    return broadcast(broadcast(a, b, name), c, name);
  }
  tensor forward(const tensor& c, const tensor& a, const tensor& b) const {
    if (c.dtype() != bool8) {
      raise<dtype_error>("where: the condition must be bool8; got ", c, "; compare it with 0");
    }
    const dtype type = detail::result_type(a, b);
    return detail::map_tensors(name, loops, nullptr, {&c, &a, &b}, type, type);
  }
  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const {
    return {tensor(), c.wants(1) ? where(c.in(0), g, 0.0) : tensor(),
            c.wants(2) ? where(c.in(0), 0.0, g) : tensor()};
  }
};

template <class> tensor operator==(const tensor& a, const tensor& b) {
  return record(comparison<functors::equal_f>{}, a, b);
}
template <class> tensor equal(const tensor& a, const tensor& b) { return a == b; }
template <class> tensor operator!=(const tensor& a, const tensor& b) {
  return record(comparison<functors::not_equal_f>{}, a, b);
}
template <class> tensor operator<(const tensor& a, const tensor& b) {
  return record(comparison<functors::less_f>{}, a, b);
}
template <class> tensor operator<=(const tensor& a, const tensor& b) {
  return record(comparison<functors::less_equal_f>{}, a, b);
}
template <class> tensor operator>(const tensor& a, const tensor& b) { return b < a; }
template <class> tensor operator>=(const tensor& a, const tensor& b) { return b <= a; }

// A scalar takes the type of floats. Next to integers it is an i64 where that holds it, else an
// f64: integers rounded to f64 stay on its side, but for 2^63, which the last ones become; it
// counts as infinite.
}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {
inline tensor comparand(const tensor& x, double b) {
  if (is_floating(x.dtype())) return filled({}, x.dtype(), b);
  const bool whole = b == std::floor(b) && b >= -0x1p63 && b < 0x1p63;
  return filled({}, whole ? i64 : f64, b == 0x1p63 ? std::numeric_limits<double>::infinity() : b);
}
}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {
template <class> tensor operator==(const tensor& a, double b) {
  return a == detail::comparand(a, b);
}
template <class> tensor operator!=(const tensor& a, double b) {
  return a != detail::comparand(a, b);
}
template <class> tensor operator<(const tensor& a, double b) { return a < detail::comparand(a, b); }
template <class> tensor operator<=(const tensor& a, double b) {
  return a <= detail::comparand(a, b);
}
template <class> tensor operator>(const tensor& a, double b) { return detail::comparand(a, b) < a; }
template <class> tensor operator>=(const tensor& a, double b) {
  return detail::comparand(a, b) <= a;
}

template <class> tensor operator!(const tensor& a) { return a == 0.0; }
template <class> tensor operator&&(const tensor& a, const tensor& b) {
  return record(comparison<functors::and_f>{}, a, b);
}
template <class> tensor operator||(const tensor& a, const tensor& b) {
  return record(comparison<functors::or_f>{}, a, b);
}
template <class> tensor isnan(const tensor& x) { return x != x; }
template <class> tensor isfinite(const tensor& x) {
  return is_floating(x.dtype()) ? x - x == 0.0 : x == x;
}
template <class> tensor isinf(const tensor& x) {
  const double infinity = std::numeric_limits<double>::infinity();
  return is_floating(x.dtype()) ? x == infinity || x == -infinity : x != x;
}

template <class> tensor where(const tensor& condition, const tensor& a, const tensor& b) {
  return record(where_op<>{}, condition, a, b);
}
// A number is stored in the dtype of the tensor, which must be able to hold it.
template <class> tensor where(const tensor& condition, const tensor& a, double b) {
  return where(condition, a, detail::one_number("where", a.dtype(), b));
}
template <class> tensor where(const tensor& condition, double a, const tensor& b) {
  return where(condition, detail::one_number("where", b.dtype(), a), b);
}
// Two numbers make f32, also where they are whole.
template <class> tensor where(const tensor& condition, double a, double b) {
  return where(condition, detail::filled({}, f32, a), b);
}

}  // namespace adze::inline ADZE_ISA
