#pragma once
// SPDX-License-Identifier: MIT
// Elements by integer indices: gather and index_select fetch, scatter and the adding forms store.
// Each is the gradient of another. Every index is checked before anything is written.
#include <adze/kernels/gather.hpp>
#include <adze/ops/dense.hpp>
#include <adze/ops/fwd.hpp>

namespace adze::detail::inline ADZE_ISA {

// The index as i64, row-major, each in [0, size).
template <class = void>
tensor checked_index(const tensor& index, index_t size, std::string_view op) {
  if (index.dtype() != i64 && index.dtype() != i32) {
    const std::string_view hint =
        index.dtype() == bool8 ? "; masked_select, or nonzero(mask)" : std::string_view();
    raise<dtype_error>(op, ": the index must be i64 or i32; got ", index, hint);
  }
  const tensor at = dense_as(index, i64);
  const index_t* p = at.data_as<index_t>();
  for (index_t i = 0, n = at.numel(); i < n; ++i) {
    if (p[i] < 0 || p[i] >= size) {
      raise<value_error>(op, ": index ", p[i], " is out of range for an axis of size ", size,
                         "; at element ", i, " of ", index);
    }
  }
  return at;
}

// A 0-d tensor counts as one of one axis.
inline shape with_axis(const shape& s) { return s.rank() == 0 ? shape{1} : s; }

// How `index` (checked) reaches into x along the axis, where `other` has the index's shape.
inline kernels::indexed indexed_by(const tensor& x, index_t axis, const tensor& index,
                                   const tensor& other) {
  return {.sizes = with_axis(index.shape()),
          .axis = axis,
          .at = index.data_as<index_t>(),
          .index_strides = index.strides(),
          .strides = x.strides(),
          .other_strides = other.strides()};
}

// An index of one axis, repeated along all others of `sizes` without a copy.
inline tensor index_along(const tensor& index, index_t axis, const shape& sizes) {
  dims d{};
  d[static_cast<std::size_t>(axis)] = index.rank() == 0 ? 0 : index.strides()[0];
  return alias(index, sizes, d);
}

// Sizes of the slices of x that an index of one axis names.
template <class = void>
shape slices_of(const shape& x, index_t axis, const shape& index, std::string_view op) {
  if (index.rank() > 1) raise<shape_error>(op, ": the index must have one axis; got ", index);
  return x.with(resolve_axis(axis, x.rank(), op), index.numel());
}

// x with `source`, of the index's shape, in the places named by an index that was checked.
template <class = void>
tensor stored_at(const tensor& x, index_t axis, const tensor& index, const tensor& source) {
  tensor y = dense_copy(x);
  kernels::scatter(indexed_by(y, axis, index, source), size_of(x.dtype()), source.data(), y.data());
  return y;
}
// The same of one number, without a tensor of the index's shape.
template <class = void>
tensor filled_at(const tensor& x, index_t axis, const tensor& index, double value) {
  return stored_at(x, axis, index, alias(filled({}, x.dtype(), value), index.shape(), dims{}));
}

template <class = void>
void scatter_add_into(tensor& y, index_t axis, const tensor& index, const tensor& source,
                      std::string_view op) {
  const kernels::indexed g = indexed_by(y, axis, index, source);
  using sums = types<float, double, std::int8_t, std::uint8_t, std::int32_t, std::int64_t>;
  dispatch(sums{}, y.dtype(), op,
           [&]<class T>() { kernels::scatter_add<T>(g, source.data_as<T>(), y.data_as<T>()); });
}

// x + source at the indices; 16-bit floats are added in f32 and rounded once.
template <class = void>
tensor added_at(const tensor& x, index_t axis, const tensor& index, const tensor& source,
                std::string_view op) {
  const bool narrow = is_floating(x.dtype()) && size_of(x.dtype()) == 2;
  const dtype type = narrow ? f32 : x.dtype();
  tensor y = dense_as(x, type);
  if (y.impl_or_null() == x.impl_or_null()) y = dense_copy(x);
  scatter_add_into(y, axis, index, source.dtype() == type ? source : dense_as(source, type), op);
  return dense_as(y, x.dtype());
}

// Sizes of an index that goes with x along an axis: equal rank, no larger elsewhere.
inline void check_index_shape(const shape& x, index_t axis, const shape& index,
                              std::string_view op) {
  bool fits = x.rank() == index.rank();
  for (index_t i = 0; fits && i < x.rank(); ++i) fits = i == axis || index[i] <= x[i];
  if (!fits) {
    raise<shape_error>(op, ": the index must have the axes of x and be no larger but on axis ",
                       axis, "; x ", x, ", index ", index);
  }
}
inline void check_source(const tensor& x, const shape& index, const tensor& source,
                         std::string_view op) {
  if (source.shape() != index || source.dtype() != x.dtype()) {
    raise<shape_error>(op, ": the source must be ", x.dtype(), index, "; got ", source);
  }
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class = void> struct gather_op {
  index_t axis = 0;
  static constexpr std::string_view name = "gather";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::input(1), values::nothing);
  static constexpr value_set keeps = values::input(1);

  shape result(const shape&, const shape& index) const { return index; }
  tensor forward(const tensor& x, const tensor& index) const {
    const shape from = detail::with_axis(x.shape());
    const index_t a = resolve_axis(axis, from.rank(), name);
    detail::check_index_shape(from, a, detail::with_axis(index.shape()), name);
    const tensor at = detail::checked_index(index, from[a], name);
    tensor y = empty(index.shape(), x.dtype());
    kernels::gather(detail::indexed_by(x, a, at, y), size_of(x.dtype()), x.data(), y.data());
    return y;
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    return {scatter_add(detail::zeros_of(c.in_shape(0), g.dtype()), axis, c.in(1), g), tensor()};
  }
};

template <bool adds> struct scatter_any {
  index_t axis = 0;
  static constexpr std::string_view name = adds ? "scatter_add" : "scatter";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads =
      gradient_reads(adds ? values::nothing : values::input(1), values::nothing, values::input(1));
  static constexpr value_set keeps = values::input(1);

  shape result(const shape& x, const shape&, const shape&) const { return x; }
  tensor forward(const tensor& x, const tensor& index, const tensor& source) const {
    const shape to = detail::with_axis(x.shape());
    const index_t a = resolve_axis(axis, to.rank(), name);
    detail::check_index_shape(to, a, detail::with_axis(index.shape()), name);
    detail::check_source(x, index.shape(), source, name);
    const tensor at = detail::checked_index(index, to[a], name);
    return adds ? detail::added_at(x, a, at, source, name) : detail::stored_at(x, a, at, source);
  }
  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const {
    std::array<tensor, 3> d;
    if (c.wants(0) && adds) d[0] = g;
    if (c.wants(0) && !adds) d[0] = scatter(g, axis, c.in(1), 0.0);
    if (c.wants(2)) d[2] = gather(g, axis, c.in(1));
    return d;
  }
};

template <class = void> struct index_select_op {
  index_t axis = 0;
  static constexpr std::string_view name = "index_select";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::input(1), values::nothing);
  static constexpr value_set keeps = values::input(1);

  shape result(const shape& x, const shape& index) const {
    return detail::slices_of(x, axis, index, name);
  }
  tensor forward(const tensor& x, const tensor& index) const {
    const shape to = result(x.shape(), index.shape());
    const index_t a = resolve_axis(axis, x.rank(), name);
    const tensor at = detail::checked_index(index, x.shape()[a], name);
    tensor y = empty(to, x.dtype());
    kernels::gather(detail::indexed_by(x, a, detail::index_along(at, a, to), y), size_of(x.dtype()),
                    x.data(), y.data());
    return y;
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    return {index_add(detail::zeros_of(c.in_shape(0), g.dtype()), axis, c.in(1), g), tensor()};
  }
};

template <bool adds> struct index_any {
  index_t axis = 0;
  static constexpr std::string_view name = adds ? "index_add" : "index_copy";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads =
      gradient_reads(adds ? values::nothing : values::input(1), values::nothing, values::input(1));
  static constexpr value_set keeps = values::input(1);

  shape result(const shape& x, const shape&, const shape&) const { return x; }
  tensor forward(const tensor& x, const tensor& index, const tensor& source) const {
    const shape part = detail::slices_of(x.shape(), axis, index.shape(), name);
    const index_t a = resolve_axis(axis, x.rank(), name);
    detail::check_source(x, part, source, name);
    const tensor at =
        detail::index_along(detail::checked_index(index, x.shape()[a], name), a, part);
    return adds ? detail::added_at(x, a, at, source, name) : detail::stored_at(x, a, at, source);
  }
  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const {
    std::array<tensor, 3> d;
    if (c.wants(0)) d[0] = adds ? g : index_fill(g, axis, c.in(1), 0.0);
    if (c.wants(2)) d[2] = index_select(g, axis, c.in(1));
    return d;
  }
};

template <class = void> struct one_hot_op {
  index_t classes = 1;
  static constexpr std::string_view name = "one_hot";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& index) const { return index.inserted(index.rank(), classes); }
  tensor forward(const tensor& index) const {
    const tensor at = detail::checked_index(index, classes, name);
    tensor y = detail::zeros_of(result(index.shape()), i64);
    for (index_t i = 0; i < at.numel(); ++i) {
      y.data_as<index_t>()[i * classes + at.data_as<index_t>()[i]] = 1;
    }
    return y;
  }
  tensor backward(backward_context&, const tensor&) const { return {}; }
};

// y[..., i, ...] = x[..., index[..., i, ...], ...] along an axis; y has the index's shape.
// Gradient: scatter_add of g. The index is i64 or i32. Throws value_error for an index out of
// range.
template <class> tensor gather(const tensor& x, index_t axis, const tensor& index) {
  return record(gather_op<>{axis}, x, index);
}
// x with source[..., i, ...] stored at index[..., i, ...] along an axis; of equal places the last
// one stays. The source has the index's shape. Gradients: g with zeros there; gather of g.
template <class>
tensor scatter(const tensor& x, index_t axis, const tensor& index, const tensor& source) {
  return record(scatter_any<false>{axis}, x, index, source);
}
// The same with the source added, in order. Gradients: g; gather of g.
template <class>
tensor scatter_add(const tensor& x, index_t axis, const tensor& index, const tensor& source) {
  return record(scatter_any<true>{axis}, x, index, source);
}
// Slices of an axis, named by an index of one axis. Gradient: index_add of g into zeros.
template <class> tensor index_select(const tensor& x, index_t axis, const tensor& index) {
  return record(index_select_op<>{axis}, x, index);
}
// x with the slices of `source` added at the places named. Gradients: g; index_select of g.
template <class>
tensor index_add(const tensor& x, index_t axis, const tensor& index, const tensor& source) {
  return record(index_any<true>{axis}, x, index, source);
}
// The same with the slices stored; of equal places the last one stays. Gradients: g with zeros
// there; index_select of g.
template <class>
tensor index_copy(const tensor& x, index_t axis, const tensor& index, const tensor& source) {
  return record(index_any<false>{axis}, x, index, source);
}
// x with `value` where the mask holds; the mask broadcasts to x. Gradient: g where it does not.
template <class> tensor masked_fill(const tensor& x, const tensor& mask, double value) {
  if (broadcast(x.shape(), mask.shape(), "masked_fill") != x.shape()) {
    raise<shape_error>("masked_fill: the mask must broadcast to x; x ", x, ", mask ", mask);
  }
  if (mask.dtype() != bool8) {
    raise<dtype_error>("masked_fill: the mask must be bool8; got ", mask, "; compare it with 0");
  }
  return where(mask, detail::one_number("masked_fill", x.dtype(), value), x);
}
// 1 at each index and 0 elsewhere, along a new last axis; i64. Throws value_error for an index that
// is not in [0, classes).
template <class> tensor one_hot(const tensor& index, index_t classes) {
  return record(one_hot_op<>{classes}, index);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call, and the rest of the family.
#include <adze/ops/compare.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/places.hpp>
