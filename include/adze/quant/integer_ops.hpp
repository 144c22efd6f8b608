#pragma once
// SPDX-License-Identifier: MIT
// The steps of a converted graph that move codes: in and out of floats, sums, tables, pooling.
// Codes are those that the simulation gives: see kernels/code_ops.hpp. Nothing here has a gradient.
#include <adze/graph/plan_steps.hpp>
#include <adze/kernels/code_ops.hpp>
#include <adze/ops/pool.hpp>
#include <adze/quant/affine.hpp>

namespace adze::quant {

// How one value of a converted graph is held: one scale, one zero point, codes of eight bits.
struct edge {
  float scale = 1;
  std::int32_t zero = 0;
  code_range codes{};

  kernels::affine affine() const { return {scale, zero}; }
  bool is_signed() const { return codes.low < 0; }
  dtype storage() const { return is_signed() ? i8 : u8; }
  bool operator==(const edge&) const = default;
};

}  // namespace adze::quant

namespace adze::quant::inline ADZE_ISA {

// An edge as a step holds it: scale and zero point in a tensor, so that they are saved and loaded
// with the graph. The codes are not data but structure: they are in its name, "x[0..255]".
struct held_edge {
  tensor numbers{};  // f32 [2]; undefined: scale 1, zero point 0
  code_range codes{};

  held_edge() = default;
  held_edge(const edge& e) : numbers(empty({2}, f32)), codes(e.codes) {
    numbers.data_as<float>()[0] = e.scale;
    numbers.data_as<float>()[1] = static_cast<float>(e.zero);
  }
  held_edge(float scale, std::int32_t zero, code_range c) : held_edge(edge{scale, zero, c}) {}

  operator edge() const {
    if (!numbers.defined()) return {1, 0, codes};
    const tensor n = adze::detail::dense_as(numbers, f32);
    return {n.data_as<float>()[0], static_cast<std::int32_t>(n.data_as<float>()[1]), codes};
  }
  void visit(std::string_view name, const state_visitor& f) {
    f(text(name, "[", codes.low, "..", codes.high, "]"), numbers);
  }
};

}  // namespace adze::quant::inline ADZE_ISA

namespace adze::quant::detail::inline ADZE_ISA {

inline void check_codes(std::string_view op, const tensor& q, const edge& e) {
  if (q.dtype() != e.storage()) {
    raise<dtype_error>(op, ": takes ", e.storage(), " codes; got ", q);
  }
}
// f with the C++ type of the codes.
template <class F> void with_code_type(const edge& e, F f) {
  if (e.is_signed()) {
    f.template operator()<std::int8_t>();
  } else {
    f.template operator()<std::uint8_t>();
  }
}
inline kernels::code_result result_of(const edge& y, bool relu = false) {
  return {y.affine(), y.codes, relu};
}
// The code of one number.
inline std::int32_t code_of(float x, const edge& e) {
  using P = simd::pack<float, simd::scalar>;
  float code[1];
  kernels::code_lanes<P>(P(e.scale), P(static_cast<float>(e.zero)), e.codes).code(P(x)).store(code);
  return static_cast<std::int32_t>(code[0]);
}
// The value of every code of x, put through f and into a code of y: u8 [256], by byte.
template <class F> tensor table_of(const edge& x, const edge& y, F f) {
  tensor table = empty({256}, u8);
  for (int byte = 0; byte < 256; ++byte) {
    const int code = x.is_signed() ? static_cast<std::int8_t>(byte) : byte;
    table.data_as<std::uint8_t>()[byte] =
        static_cast<std::uint8_t>(code_of(f(static_cast<float>(code - x.zero) * x.scale), y));
  }
  return table;
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// Floats to codes.
template <class = void> struct quantize_op {
  held_edge to{};
  static constexpr std::string_view name = "quantize";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const {
    adze::detail::floating_compute_type(name, x);
    const tensor from = adze::detail::dense_keeping(x, f32);
    const edge e = to;
    tensor q = empty_like(from, e.storage());
    detail::with_code_type(
        e, [&]<class Code>() { detail::quantize_whole<Code>(from, q, e.affine(), e.codes); });
    return q;
  }
  void visit(const state_visitor& f) { to.visit("to", f); }
  tensor backward(backward_context&, const tensor&) const { return {}; }
};

// Codes to f32.
template <class = void> struct dequantize_op {
  held_edge from{};
  static constexpr std::string_view name = "dequantize";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const {
    const edge e = from;
    detail::check_codes(name, x, e);
    const tensor q = adze::detail::dense_keeping(x, x.dtype());
    tensor y = empty_like(q, f32);
    detail::with_code_type(e,
                           [&]<class Code>() { detail::dequantize_whole<Code>(q, y, e.affine()); });
    return y;
  }
  void visit(const state_visitor& f) { from.visit("from", f); }
  tensor backward(backward_context&, const tensor&) const { return {}; }
};

// a + b, then relu where asked for. Shapes must be equal.
template <class = void> struct integer_add_op {
  held_edge a{}, b{}, y{};
  bool relu = false;
  static constexpr std::string_view name = "integer_add";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing, values::nothing);
  shape result(const shape& x, const shape& other) const {
    if (x != other) raise<shape_error>(name, ": shapes must be equal; got ", x, " and ", other);
    return x;
  }
  tensor forward(const tensor& first, const tensor& second) const {
    static_cast<void>(result(first.shape(), second.shape()));
    const edge left = a, right = b, made = y;
    detail::check_codes(name, first, left);
    detail::check_codes(name, second, right);
    const tensor p = adze::detail::dense_keeping(first, first.dtype());
    const tensor q = adze::detail::dense_like(second, p, second.dtype());
    tensor to = empty_like(p, made.storage());
    detail::with_code_type(made, [&]<class Code>() {
      kernels::add_codes<Code>({p.data(), left.is_signed(), left.affine()},
                               {q.data(), right.is_signed(), right.affine()},
                               to.template data_as<Code>(), to.numel(),
                               detail::result_of(made, relu));
    });
    return to;
  }
  void visit(const state_visitor& f) { a.visit("a", f), b.visit("b", f), y.visit("y", f); }
  std::array<tensor, 2> backward(backward_context&, const tensor&) const { return {}; }
};

// Any function of one value, as what each code becomes: sigmoid, tanh, gelu, relu, or a change of
// scale (before a concat).
template <class = void> struct table_op {
  held_edge x{}, y{};
  tensor table{};  // u8 [256]
  static constexpr std::string_view name = "table";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  shape result(const shape& sizes) const { return sizes; }
  tensor forward(const tensor& codes) const {
    detail::check_codes(name, codes, x);
    const tensor q = adze::detail::dense_keeping(codes, codes.dtype());
    tensor to = empty_like(q, edge(y).storage());
    std::array<std::uint8_t, 256> bytes{};
    std::memcpy(bytes.data(), table.data(), bytes.size());
    kernels::map_bytes(static_cast<const std::uint8_t*>(q.data()),
                       static_cast<std::uint8_t*>(to.data()), q.numel(), bytes);
    return to;
  }
  void visit(const state_visitor& f) { x.visit("x", f), y.visit("y", f), f("table", table); }
  tensor backward(backward_context&, const tensor&) const { return {}; }

  // A table that changes no code is no step of a plan.
  std::unique_ptr<adze::detail::prepared_step> prepare(tensor_list) const {
    const edge e = x;
    bool same = e.storage() == edge(y).storage();
    const auto* to = table.data_as<std::uint8_t>();
    for (int c = e.codes.low; c <= e.codes.high; ++c) same = same && to[c & 255] == (c & 255);
    return same ? adze::detail::make_step([](const tensor* const* in) { return *in[0]; }) : nullptr;
  }
};

// The largest code of each window; the parameters stay.
template <class = void> struct integer_max_pool2d_op {
  held_edge x{};
  pool_geometry geometry{};
  static constexpr std::string_view name = "integer_max_pool2d";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  shape result(const shape& sizes) const {
    return adze::detail::pooled_shape(name, sizes, geometry);
  }
  tensor forward(const tensor& q) const {
    const shape to = result(q.shape());
    detail::check_codes(name, q, x);
    tensor y = adze::detail::empty_images(to, q.dtype(), q);
    detail::with_code_type(x, [&]<class Code>() {
      kernels::max_pool_codes<Code>(
          adze::detail::pool_shape_of(geometry, q.shape()), adze::detail::image_of<Code>(q),
          adze::detail::image_of<Code>(y), static_cast<Code>(x.codes.low));
    });
    return y;
  }
  void visit(const state_visitor& f) { x.visit("x", f); }
  tensor backward(backward_context&, const tensor&) const { return {}; }
};

// The mean of each window as a code of y; adaptive to 1 x 1 it is the mean of an image.
template <class = void> struct integer_avg_pool2d_op {
  held_edge x{}, y{};
  pool_geometry geometry{};
  static constexpr std::string_view name = "integer_avg_pool2d";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  shape result(const shape& sizes) const {
    return adze::detail::pooled_shape(name, sizes, geometry);
  }
  tensor forward(const tensor& q) const {
    const shape to = result(q.shape());
    const edge in = x, made = y;
    detail::check_codes(name, q, in);
    if (made.storage() != q.dtype()) {
      raise<dtype_error>(name, ": keeps the dtype of its codes; got ", q, " for ", made.storage());
    }
    tensor r = adze::detail::empty_images(to, q.dtype(), q);
    detail::with_code_type(in, [&]<class Code>() {
      kernels::avg_pool_codes<Code>(adze::detail::pool_shape_of(geometry, q.shape()),
                                    adze::detail::image_of<Code>(q), in.affine(),
                                    adze::detail::image_of<Code>(r), detail::result_of(made));
    });
    return r;
  }
  void visit(const state_visitor& f) { x.visit("x", f), y.visit("y", f); }
  tensor backward(backward_context&, const tensor&) const { return {}; }
};

}  // namespace adze::quant::inline ADZE_ISA
