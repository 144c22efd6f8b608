#pragma once
// SPDX-License-Identifier: MIT
// What is stored at places named by integers, of the ops in gather.hpp: one number, slices, a
// diagonal.
#include <adze/ops/gather.hpp>

namespace adze::detail::inline ADZE_ISA {

// An index of one axis as scatter wants it: repeated along all axes of x but its own.
template <class = void>
tensor index_across(const tensor& x, index_t axis, const tensor& index, std::string_view op) {
  if (index.rank() > 1) raise<shape_error>(op, ": the index must have one axis; got ", index);
  const index_t a = resolve_axis(axis, x.rank(), op);
  index_list sizes;
  for (index_t i = 0; i < x.rank(); ++i) sizes.push_back(i == a ? index.numel() : 1);
  return expand(reshape(index, sizes), x.shape().with(a, index.numel()));
}

// Places on the diagonal of a row-major [rows, columns], shifted by some columns.
template <class = void> tensor diagonal_places(index_t rows, index_t columns, index_t diagonal) {
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

// One number at the places named, as scatter. Gradient: g with zeros there.
template <class> tensor scatter(const tensor& x, index_t axis, const tensor& index, double value) {
  const tensor one = detail::filled({}, x.dtype(), detail::scalar_of("scatter", x, value));
  return scatter(x, axis, index, expand(one, index.shape()));
}
// x with one number in the slices of an axis named by an index of one axis. Gradient: g with zeros
// there.
template <class>
tensor index_fill(const tensor& x, index_t axis, const tensor& index, double value) {
  return scatter(x, axis, detail::index_across(x, axis, index, "index_fill"), value);
}
// x with the slices of `source` in the places named; of equal places the last one stays. Gradients:
// g with zeros there; index_select of g.
template <class>
tensor index_copy(const tensor& x, index_t axis, const tensor& index, const tensor& source) {
  return scatter(x, axis, detail::index_across(x, axis, index, "index_copy"), source);
}
// A vector as the diagonal of a square of zeros, or the diagonal of a matrix as a vector; shifted
// by `diagonal` columns. A copy. Gradient: the other of g. Throws shape_error for other ranks.
template <class> tensor diag(const tensor& x, index_t diagonal) {
  if (x.rank() == 1) {
    const index_t n = x.numel() + std::abs(diagonal);
    const tensor at = detail::diagonal_places(n, n, diagonal);
    return reshape(scatter(detail::zeros_of({n * n}, x.dtype()), 0, at, x), {n, n});
  }
  if (x.rank() != 2) raise<shape_error>("diag: needs one or two axes; got ", x);
  const index_t rows = x.size(0), columns = x.size(1);
  return index_select(reshape(x, {rows * columns}), 0,
                      detail::diagonal_places(rows, columns, diagonal));
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/layout.hpp>
