#pragma once
// SPDX-License-Identifier: MIT
// The dense layer: one product with the bias, and an activation where a graph has fused one, added
// in the kernel. The gradients are two products and a sum over rows on plain data, and public ops
// when they are recorded themselves.
#include <adze/ops/matmul.hpp>
#include <adze/ops/reduce.hpp>

namespace adze::detail::inline ADZE_ISA {

// x as rows of features in `type`: a view where type and strides allow it.
template <class = void> tensor feature_rows(const tensor& x, dtype type) {
  tensor wide = as_computed(x, type);
  if (wide.rank() == 2) return wide;
  const shape rows = rows_shape(x.shape());
  if (const auto strides = view_strides(wide, rows)) return alias(wide, rows, *strides);
  return alias(dense_copy(wide), rows, dense_strides(rows));
}

// Sums over the rows of a matrix. The small ones of small steps skip the driver of reductions.
template <class = void> tensor column_sums(const tensor& x) {
  const shape to{x.shape()[1]};
  if (x.strides()[1] != 1 || x.numel() > kernels::map_chunk)
    return fold(x, 1, to, {.result = x.dtype()});
  tensor y = empty(to, x.dtype());
  x.dtype() == f64 ? kernels::folds::sum_columns(matrix_of<double>(x), y.data_as<double>())
                   : kernels::folds::sum_columns(matrix_of<float>(x), y.data_as<float>());
  return y;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class = void> struct linear_op {
  kernels::activation act = kernels::activation::none;
  static constexpr std::string_view name = "linear";
  static constexpr numeric precision = numeric::low;
  static constexpr std::string_view axes = "...i,oi,o->...o";

  auto reads() const {
    const bool masks = act != kernels::activation::none;
    const value_set y = masks ? values::output(0) : values::nothing;
    return gradient_reads(values::input(1) | y, values::input(0) | y, y);
  }
  shape result(const shape& x, const shape& w, const shape& b) const {
    check(x, w);
    if (b != shape{w[0]}) {
      raise<shape_error>("linear: the bias must be [", w[0], "] for a weight ", w, "; got ", b);
    }
    return x.with(x.rank() - 1, w[0]);
  }
  tensor forward(const tensor& x, const tensor& w, const tensor& b) const {
    return onto({}, x, w, b);
  }
  tensor onto(const detail::residual_input& residual, const tensor& x, const tensor& w,
              const tensor& b) const {
    check(x.shape(), w.shape());
    const dtype type = detail::result_type(x, w);
    const dtype compute = detail::floating_compute_type(name, is_floating(w.dtype()) ? x : w);
    const shape to = b.defined() ? result(x.shape(), w.shape(), b.shape())
                                 : x.shape().with(x.rank() - 1, w.shape()[0]);
    if (size_of(type) == 2 && x.dtype() == type) return narrow_product(x, w, b, to);
    tensor y = empty(to, compute);
    const tensor bias = b.defined() ? detail::dense_as(b, compute) : b;
    const tensor more =
        residual.value.defined() ? detail::dense_as(residual.value, compute) : tensor();
    const tensor rows = detail::feature_rows(x, compute), weight = detail::as_computed(w, compute);
    detail::multiply(detail::stored_matrix_of(rows), detail::stored_matrix_of(weight).transposed(),
                     detail::rows_of_result(y, rows.shape()[0], w.shape()[0]),
                     {.bias = bias.defined() ? bias.data() : nullptr,
                      .act = act,
                      .residual = more.defined() ? more.data() : nullptr});
    return detail::as_result(std::move(y), type);
  }
  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const {
    const tensor d = act == kernels::activation::relu ? detail::relu_gradient(c, g) : g;
    if (c.create()) return recorded(c, d);
    if (size_of(d.dtype()) == 2) return narrow(c, d);
    return plain(c, d);
  }

 private:
  static void check(const shape& x, const shape& w) {
    if (w.rank() != 2) {
      raise<shape_error>("linear: the weight must be [out, in]; got ", w);
    }
    if (x.rank() == 0 || x.back() != w[1]) {
      const bool transposed = x.rank() > 0 && x.back() == w[0];
      raise<shape_error>("linear: the last axis of x must be the weight's ", w[1], "; x ", x,
                         ", weight ", w, transposed ? "; did you mean transpose(weight)?" : "");
    }
  }

  tensor narrow_product(const tensor& x, const tensor& w, const tensor& b, const shape& to) const {
    const tensor rows = detail::feature_rows(x, x.dtype());
    const tensor bias = b.defined() ? detail::dense_as(b, f32) : b;
    const index_t n = rows.shape()[0], out = w.shape()[0];
    tensor y = empty(to, x.dtype());
    kernels::gemm_narrow(detail::stored_matrix_of(rows), detail::stored_matrix_of(w).transposed(),
                         detail::stored_matrix_of(alias(y, {n, out}, {out, 1})),
                         b.defined() ? bias.data_as<float>() : nullptr, act);
    return y;
  }

  // The gradients in 16 bits, summed in f32.
  static std::array<tensor, 3> narrow(backward_context& c, const tensor& g) {
    const dtype type = g.dtype();
    const tensor d = detail::feature_rows(g, type);
    const kernels::stored_matrix rows = detail::stored_matrix_of(d);
    std::array<tensor, 3> r;
    if (c.wants(0)) {
      const tensor w = detail::as_computed(c.in(1), type);
      const index_t in = w.shape()[1];
      r[0] = empty(c.in_shape(0), type);
      kernels::gemm_narrow(rows, detail::stored_matrix_of(w),
                           detail::stored_matrix_of(alias(r[0], {rows.rows, in}, {in, 1})));
    }
    if (c.wants(1)) {
      const tensor x = detail::feature_rows(c.in(0), type);
      r[1] = empty(c.in_shape(1), type);
      kernels::gemm_narrow(rows.transposed(), detail::stored_matrix_of(x),
                           detail::stored_matrix_of(r[1]));
    }
    if (c.wants(2)) r[2] = detail::fold(d, 1, {rows.cols}, {.result = type});
    return r;
  }

  static std::array<tensor, 3> recorded(backward_context& c, const tensor& g) {
    const tensor rows = detail::flat_rows(g);
    return {c.wants(0) ? matmul(g, c.in(1)) : tensor(),
            c.wants(1) ? matmul(transpose(rows), detail::flat_rows(c.in(0))) : tensor(),
            c.wants(2) ? sum(rows, {0}) : tensor()};
  }

  static std::array<tensor, 3> plain(backward_context& c, const tensor& g) {
    const dtype compute = g.dtype() == f64 ? f64 : f32;
    const tensor rows = detail::feature_rows(g, compute);
    const kernels::stored_matrix d = detail::stored_matrix_of(rows);
    std::array<tensor, 3> r;
    if (c.wants(0)) {
      const tensor w = detail::as_computed(c.in(1), compute);
      r[0] = empty(c.in_shape(0), compute);
      detail::multiply(d, detail::stored_matrix_of(w),
                       detail::rows_of_result(r[0], d.rows, w.shape()[1]));
    }
    if (c.wants(1)) {
      const tensor x = detail::feature_rows(c.in(0), compute);
      r[1] = empty(c.in_shape(1), compute);
      detail::multiply(d.transposed(), detail::stored_matrix_of(x),
                       detail::rows_of_result(r[1], d.cols, x.shape()[1]));
    }
    if (c.wants(2)) r[2] = detail::column_sums(rows);
    for (tensor& gradient : r) {
      if (gradient.defined()) gradient = detail::as_result(std::move(gradient), g.dtype());
    }
    return r;
  }
};

// y = x w^T + b over the last axis of x: x [..., in], weight [out, in], bias [out] or undefined.
// Gradients: dx = g w, dw = g^T x, db = g summed over all leading axes. Floats; 16-bit ones are
// computed in f32. Throws shape_error when sizes do not match.
template <class> tensor linear(const tensor& x, const tensor& weight, const tensor& bias) {
  return record(linear_op<>{}, x, weight, bias);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/activation.hpp>
#include <adze/ops/layout.hpp>
