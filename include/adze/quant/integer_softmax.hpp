#pragma once
// SPDX-License-Identifier: MIT
// Softmax of codes: a table of e^(-scale k) for every distance k from the largest code, sums in
// integers, one division for each result. What runs and what simulates it are the same function.
#include <adze/ops/softmax.hpp>
#include <adze/quant/integer_ops.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

// e^(-scale k) in steps of 2^-30: 2^33 of them add up in 64 bits.
inline std::array<std::uint32_t, 256> decay_table(float scale) {
  std::array<std::uint32_t, 256> t{};
  for (int k = 0; k < 256; ++k) {
    t[static_cast<std::size_t>(k)] = static_cast<std::uint32_t>(
        std::nearbyint(0x1p30 * std::exp(-static_cast<double>(scale) * k)));
  }
  return t;
}

template <class Code>
void softmax_codes_row(const Code* x, float* y, index_t n, index_t step,
                       const std::array<std::uint32_t, 256>& decay) {
  Code most = x[0];
  for (index_t i = 1; i < n; ++i) most = std::max(most, x[i * step]);
  const auto part = [&](index_t i) { return decay[static_cast<std::size_t>(most - x[i * step])]; };
  std::uint64_t sum = 0;
  for (index_t i = 0; i < n; ++i) sum += part(i);
  for (index_t i = 0; i < n; ++i) {
    y[i * step] = static_cast<float>(static_cast<double>(part(i)) / static_cast<double>(sum));
  }
}

// Codes in any dense layout to f32 in the same.
template <class = void> tensor softmax_of_codes(const tensor& q, const edge& x, index_t axis) {
  const index_t a = resolve_axis(axis, std::max<index_t>(1, q.rank()), "softmax");
  const tensor in = adze::detail::dense_keeping(q, q.dtype());
  tensor y = empty_like(in, f32);
  const kernels::softmax_sizes s = adze::detail::softmax_sizes_of(in, a);
  const auto decay = decay_table(x.scale);
  if (s.n == 0) return y;
  with_code_type(x, [&]<class Code>() {
    parallel_for(s.outer * s.inner, std::max<index_t>(1, 4096 / s.n), [&](index_t i0, index_t i1) {
      for (index_t i = i0; i < i1; ++i) {
        const index_t at = i / s.inner * s.n * s.inner + i % s.inner;
        softmax_codes_row(in.data_as<Code>() + at, y.data_as<float>() + at, s.n, s.inner, decay);
      }
    });
  });
  return y;
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

template <class = void> struct integer_softmax_op {
  held_edge x{}, y{};
  index_t axis = -1;
  static constexpr std::string_view name = "integer_softmax";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  shape result(const shape& sizes) const { return sizes; }
  tensor forward(const tensor& q) const {
    detail::check_codes(name, q, x);
    return quantize(detail::softmax_of_codes(q, x, axis),
                    make_parameters(edge(y).affine(), y.codes));
  }
  tensor backward(backward_context&, const tensor&) const { return {}; }
  void visit(const state_visitor& f) { x.visit("x", f), y.visit("y", f); }
};

// The same on the values of codes: softmax in a simulation. Gradient: softmax's.
template <class = void> struct softmax_of_codes_op {
  held_edge x{};
  index_t axis = -1;
  static constexpr std::string_view name = "softmax_of_codes";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::output(0));
  shape result(const shape& sizes) const { return sizes; }
  tensor forward(const tensor& values) const {
    const edge e = x;
    return detail::softmax_of_codes(quantize(values, make_parameters(e.affine(), e.codes)), e,
                                    axis);
  }
  tensor backward(backward_context& c, const tensor& g) const {
    const tensor y = c.out(0);
    return y * (g - sum(g * y, {axis}, true));
  }
  void visit(const state_visitor& f) { x.visit("x", f); }
};

}  // namespace adze::quant::inline ADZE_ISA
