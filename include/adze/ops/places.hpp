#pragma once
// SPDX-License-Identifier: MIT
// What is stored at places named by integers: one number, a diagonal. Sizes are those of the call,
// so that a graph runs other batches.
#include <adze/ops/gather.hpp>

namespace adze::detail::inline ADZE_ISA {

// Places on the diagonal of a row-major [rows, columns], shifted by some columns.
template <class = void> tensor diagonal_places(index_t rows, index_t columns, index_t diagonal) {
  diagonal = std::clamp(diagonal, -rows, columns);  // beyond these there are none
  const index_t row = std::max<index_t>(0, -diagonal), column = std::max<index_t>(0, diagonal);
  const index_t count = std::max<index_t>(0, std::min(rows - row, columns - column));
  tensor at = empty({count}, i64);
  for (index_t i = 0; i < count; ++i) {
    at.data_as<index_t>()[i] = (row + i) * columns + column + i;
  }
  return at;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class = void> struct scatter_fill_op {
  index_t axis = 0;
  double value = 0.0;
  static constexpr std::string_view name = "scatter_fill";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::input(1), values::nothing);
  static constexpr value_set keeps = values::input(1);

  shape result(const shape& x, const shape&) const { return x; }
  tensor forward(const tensor& x, const tensor& index) const {
    const shape to = detail::with_axis(x.shape());
    const index_t a = resolve_axis(axis, to.rank(), "scatter");
    detail::check_index_shape(to, a, detail::with_axis(index.shape()), "scatter");
    return detail::filled_at(x, a, detail::checked_index(index, to[a], "scatter"), value);
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    return {scatter(g, axis, c.in(1), 0.0), tensor()};
  }
};

template <class = void> struct index_fill_op {
  index_t axis = 0;
  double value = 0.0;
  static constexpr std::string_view name = "index_fill";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::input(1), values::nothing);
  static constexpr value_set keeps = values::input(1);

  shape result(const shape& x, const shape&) const { return x; }
  tensor forward(const tensor& x, const tensor& index) const {
    const shape part = detail::slices_of(x.shape(), axis, index.shape(), name);
    const index_t a = resolve_axis(axis, x.rank(), name);
    const tensor at = detail::checked_index(index, x.shape()[a], name);
    return detail::filled_at(x, a, detail::index_along(at, a, part), value);
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    return {index_fill(g, axis, c.in(1), 0.0), tensor()};
  }
};

// One number at the places named, as scatter. Gradient: g with zeros there.
template <class> tensor scatter(const tensor& x, index_t axis, const tensor& index, double value) {
  return record(scatter_fill_op<>{axis, detail::stored_scalar_of("scatter", x.dtype(), value)}, x,
                index);
}
// x with one number in the slices of an axis named by an index of one axis. Gradient: g with zeros
// there.
template <class>
tensor index_fill(const tensor& x, index_t axis, const tensor& index, double value) {
  return record(index_fill_op<>{axis, detail::stored_scalar_of("index_fill", x.dtype(), value)}, x,
                index);
}
// A vector as the diagonal of a square of zeros, or the diagonal of a matrix as a vector; shifted
// by `diagonal` columns. A copy. Gradient: the other of g. Throws shape_error for other ranks, and
// for squares beyond any memory.
template <class> tensor diag(const tensor& x, index_t diagonal) {
  if (x.rank() == 1) {
    constexpr index_t far = index_t{1} << 30;
    if (diagonal < -far || diagonal > far) {
      raise<shape_error>("diag: no memory holds that square; got diagonal ", diagonal, " for ", x);
    }
    const index_t n = x.numel() + std::abs(diagonal);
    const tensor at = detail::diagonal_places(n, n, diagonal);
    return reshape(scatter(detail::zeros_of({shape{n, n}.numel()}, x.dtype()), 0, at, x), {n, n});
  }
  if (x.rank() != 2) raise<shape_error>("diag: needs one or two axes; got ", x);
  const index_t rows = x.size(0), columns = x.size(1);
  return index_select(reshape(x, {rows * columns}), 0,
                      detail::diagonal_places(rows, columns, diagonal));
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/layout.hpp>
