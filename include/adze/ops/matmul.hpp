#pragma once
// SPDX-License-Identifier: MIT
// Matrix products of tensors: vectors, matrices and batches of them, broadcast like PyTorch's.
// Transposes and other strides go to the kernel as they are; 16-bit floats are multiplied in f32.
#include <adze/kernels/gemm_narrow.hpp>
#include <adze/ops/dense.hpp>
#include <adze/ops/fwd.hpp>
#include <adze/tensor/index.hpp>

namespace adze::detail::inline ADZE_ISA {

// x in the type that products are computed in, with its strides where it has that type already.
template <class = void> tensor as_computed(const tensor& x, dtype type) {
  return x.dtype() == type ? x : dense_as(x, type);
}
// y itself or, for a result in a narrower type, rounded to it.
template <class = void> tensor as_result(tensor y, dtype type) {
  return y.dtype() == type ? y : dense_as(y, type);
}

// The last two axes of x as a matrix.
template <class T> matrix<const T> matrix_of(const tensor& x) {
  const index_t r = x.rank();
  return {x.data_as<T>(), x.shape()[r - 2], x.shape()[r - 1],
          x.strides()[static_cast<std::size_t>(r - 2)],
          x.strides()[static_cast<std::size_t>(r - 1)]};
}

// The same, whatever floating dtype it is kept in.
[[gnu::noinline]] inline kernels::stored_matrix stored_matrix_of(const tensor& x) {
  const auto r = static_cast<std::size_t>(x.rank());
  return {x.impl().data,           x.dtype(),          x.shape()[x.rank() - 2],
          x.shape()[x.rank() - 1], x.strides()[r - 2], x.strides()[r - 1]};
}
// A new y, all its elements, row after row.
inline kernels::stored_matrix rows_of_result(const tensor& y, index_t rows, index_t cols) {
  return {y.impl().data, y.dtype(), rows, cols, cols, 1};
}

// What a product adds to its result, in the result's type.
struct product_terms {
  const void* bias = nullptr;
  kernels::activation act = kernels::activation::none;
  const void* residual = nullptr;
};
using batch_axes = std::span<const kernels::batch_axis>;

template <class T>
void multiply_as(const kernels::stored_matrix& a, const kernels::stored_matrix& b,
                 const kernels::stored_matrix& c, const product_terms& terms) {
  const auto typed = [](const kernels::stored_matrix& x) -> matrix<T> {
    return {static_cast<T*>(x.data), x.rows, x.cols, x.row_stride, x.col_stride};
  };
  kernels::gemm<T>(typed(a), typed(b), typed(c),
                   {.bias = static_cast<const T*>(terms.bias),
                    .activate = terms.act,
                    .residual = static_cast<const T*>(terms.residual)});
}
// c = a b for three matrices of f32 or of f64: what ops call, so that none of them is compiled for
// both types.
template <class = void>
void multiply(const kernels::stored_matrix& a, const kernels::stored_matrix& b,
              const kernels::stored_matrix& c, const product_terms& terms = {}) {
  if (c.type == f64) return multiply_as<double>(a, b, c, terms);
  multiply_as<float>(a, b, c, terms);
}

// The same for the last two axes of a new c, for every index of the axes if there are any.
template <class T> void multiply_as(const tensor& a, const tensor& b, tensor& c, batch_axes axes) {
  const index_t r = c.rank();
  const matrix<T> to = dense_matrix(c.data_as<T>(), c.shape()[r - 2], c.shape()[r - 1]);
  if (axes.empty()) return kernels::gemm<T>(matrix_of<T>(a), matrix_of<T>(b), to);
  kernels::gemm_batched<T>(axes, matrix_of<T>(a), matrix_of<T>(b), to);
}
template <class = void>
void multiply(const tensor& a, const tensor& b, tensor& c, batch_axes axes = {}) {
  if (c.dtype() == f64) return multiply_as<double>(a, b, c, axes);
  multiply_as<float>(a, b, c, axes);
}

// c = a b for the last two axes, over the broadcast batch axes of c.
template <class = void> void multiply_batch(const tensor& a, const tensor& b, tensor& c) {
  const index_t batch_rank = c.rank() - 2;
  if (batch_rank == 0) return multiply(a, b, c);
  std::array<kernels::batch_axis, static_cast<std::size_t>(max_rank)> axes;
  const auto step = [&](const tensor& x, index_t i) -> index_t {
    const index_t at = i - (c.rank() - x.rank());
    return at < 0 || x.shape()[at] == 1 ? 0 : x.strides()[static_cast<std::size_t>(at)];
  };
  for (index_t i = 0; i < batch_rank; ++i) {
    axes[static_cast<std::size_t>(i)] = {c.shape()[i], step(a, i), step(b, i), step(c, i)};
  }
  multiply(a, b, c, batch_axes(axes.data(), static_cast<std::size_t>(batch_rank)));
}

// x as a batch of matrices: a vector on the left is a row, on the right a column.
template <class = void> tensor as_rows(const tensor& x) {
  return x.rank() == 1 ? unsqueeze(x, 0) : x;
}
template <class = void> tensor as_columns(const tensor& x) {
  return x.rank() == 1 ? unsqueeze(x, 1) : x;
}

// All axes but the last as one.
inline shape rows_shape(const shape& x) {
  index_t rows = 1;
  for (index_t i = 0; i + 1 < x.rank(); ++i) rows *= x[i];
  return {rows, x.back()};
}
template <class = void> tensor flat_rows(const tensor& x) {
  return x.rank() == 2 ? x : reshape(x, rows_shape(x.shape()));
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class = void> struct matmul_op {
  static constexpr std::string_view name = "matmul";
  static constexpr numeric precision = numeric::low;
  static constexpr bool broadcasts = true;
  static constexpr auto reads = gradient_reads(values::input(1), values::input(0));
  static constexpr std::string_view axes = "...mk,...kn->...mn";

  shape result(const shape& a, const shape& b) const {
    if (a.rank() == 0 || b.rank() == 0) {
      raise<shape_error>("matmul: takes vectors, matrices and batches of matrices; a ", a, ", b ",
                         b, "; mul(a, b) multiplies by a scalar");
    }
    const index_t inner = b.rank() == 1 ? b[0] : b[b.rank() - 2];
    if (a.back() != inner) {
      const bool transposed = a.back() == b.back() && b.rank() > 1;
      raise<shape_error>("matmul: inner sizes differ (", a.back(), " vs ", inner, "); a ", a,
                         ", b ", b,
                         transposed ? "; did you mean transpose(b)?" : "; a is m x k and b k x n");
    }
    index_list left, right, to;
    for (index_t i = 0; i + 2 < a.rank(); ++i) left.push_back(a[i]);
    for (index_t i = 0; i + 2 < b.rank(); ++i) right.push_back(b[i]);
    to = broadcast(shape(std::span(left.begin(), left.end())),
                   shape(std::span(right.begin(), right.end())), name);
    if (a.rank() > 1) to.push_back(a[a.rank() - 2]);
    if (b.rank() > 1) to.push_back(b.back());
    return shape(std::span(to.begin(), to.end()));
  }
  tensor forward(const tensor& a, const tensor& b) const {
    const shape to = result(a.shape(), b.shape());
    const dtype type = detail::result_type(a, b);
    const dtype compute = detail::floating_compute_type(name, is_floating(a.dtype()) ? b : a);
    if (size_of(type) == 2 && b.rank() == 2 && a.rank() > 1) {
      if (const auto strides = detail::view_strides(a, detail::rows_shape(a.shape()))) {
        return narrow(alias(a, detail::rows_shape(a.shape()), *strides), b, to, type);
      }
    }
    const tensor left = detail::as_rows(detail::as_computed(a, compute));
    const tensor right = detail::as_columns(detail::as_computed(b, compute));
    tensor y = empty(to, compute);
    if (right.rank() == 2 && left.rank() > 2) {  // one product of all rows
      const shape rows = detail::rows_shape(left.shape());
      if (const auto strides = detail::view_strides(left, rows)) {
        tensor flat = alias(y, {rows[0], right.size(1)}, {right.size(1), 1});
        detail::multiply(alias(left, rows, *strides), right, flat);
        return detail::as_result(y, type);
      }
    }
    tensor full = y;  // with the axes that vectors do not have
    if (a.rank() == 1) full = unsqueeze(full, b.rank() == 1 ? 0 : -2);
    if (b.rank() == 1) full = unsqueeze(full, -1);
    detail::multiply_batch(left, right, full);
    return detail::as_result(y, type);
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    tensor full = g;
    const index_t rank_a = c.wants(1) ? c.in(0).rank() : c.in_shape(0).rank();
    const index_t rank_b = c.wants(0) ? c.in(1).rank() : c.in_shape(1).rank();
    if (rank_a == 1) full = unsqueeze(full, rank_b == 1 ? 0 : -2);
    if (rank_b == 1) full = unsqueeze(full, -1);
    std::array<tensor, 2> d;
    // What has axes to spare is summed by the engine.
    if (c.wants(0)) d[0] = matmul(full, transpose(detail::as_columns(c.in(1))));
    if (c.wants(1)) {
      const tensor a = detail::as_rows(c.in(0));
      d[1] = rank_b <= 2 ? matmul(transpose(detail::flat_rows(a)), detail::flat_rows(full))
                         : matmul(transpose(a), full);
      if (rank_b == 1) d[1] = squeeze(d[1], -1);
    }
    return d;
  }

 private:
  // One product of all rows in 16 bits.
  static tensor narrow(const tensor& a, const tensor& b, const shape& to, dtype type) {
    tensor y = empty(to, type);
    const index_t rows = a.shape()[0], cols = b.shape()[1];
    kernels::gemm_narrow(detail::stored_matrix_of(a), detail::stored_matrix_of(b),
                         detail::stored_matrix_of(alias(y, {rows, cols}, {cols, 1})));
    return y;
  }
};

// Matrix product over the last axis of a and the last but one of b: y = a b. A vector is a row on
// the left and a column on the right, and its axis is missing in y; leading axes are batches and
// broadcast. Gradients: da = g b^T, db = a^T g, summed over broadcast axes. Floats; 16-bit ones
// are multiplied and summed in f32. Throws shape_error when the inner sizes differ.
template <class> tensor matmul(const tensor& a, const tensor& b) {
  return record(matmul_op<>{}, a, b);
}

// a_i b_j of two vectors.
template <class> tensor outer(const tensor& a, const tensor& b) {
  if (a.rank() != 1 || b.rank() != 1) {
    raise<shape_error>("outer: takes two vectors; got ", a, " and ", b);
  }
  return unsqueeze(a, 1) * b;
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/layout.hpp>
