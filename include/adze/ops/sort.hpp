#pragma once
// SPDX-License-Identifier: MIT
// Values with their places: max, min, topk, sort, argmax. NaN counts as larger than every number,
// of equal values the first one comes first. Places are i64 and have no gradient.
#include <adze/kernels/order.hpp>
#include <adze/ops/gather.hpp>
#include <adze/tensor/index.hpp>

namespace adze::detail::inline ADZE_ISA {

inline index_t order_axis(const shape& x, index_t axis, std::string_view op) {
  return resolve_axis(axis, with_axis(x).rank(), op);
}

// The first `count` places along an axis, in order of the values.
template <class = void> tensor places_of(const tensor& x, const kernels::order_request& o) {
  const shape sizes = with_axis(x.shape());
  tensor at = empty(x.rank() == 0 ? x.shape() : sizes.with(o.axis, o.count), i64);
  kernels::order(sizes, operand_of(x), o, at.data_as<index_t>());
  return at;
}

// The place of the extreme, with the axis kept.
template <class = void>
tensor extreme_place(const tensor& x, index_t axis, bool largest, std::string_view op) {
  const index_t a = order_axis(x.shape(), axis, op);
  if (with_axis(x.shape())[a] == 0) {
    raise<value_error>(op, ": nothing to choose from on axis ", axis, "; got ", x);
  }
  const shape sizes = with_axis(x.shape());
  tensor at = empty(x.rank() == 0 ? x.shape() : sizes.with(a, 1), i64);
  kernels::extreme(sizes, operand_of(x), a, largest, at.data_as<index_t>());
  return at;
}

inline tensor without_kept(const tensor& x, index_t axis, bool keep, std::string_view op) {
  return keep || x.rank() == 0 ? x : without_axis(x, order_axis(x.shape(), axis, op));
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// max and min along an axis.
template <class = void> struct extreme_along_op {
  index_t axis = 0;
  bool keep = false;
  bool largest = true;
  static constexpr std::string_view name = "max";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::output(1));

  std::array<tensor, 2> forward(const tensor& x) const {
    const tensor at = detail::extreme_place(x, axis, largest, largest ? "max" : "min");
    const tensor y = gather(x, axis, at);
    return {detail::without_kept(y, axis, keep, name), detail::without_kept(at, axis, keep, name)};
  }
  tensor backward(backward_context& c, tensor_list g) const {
    if (!g[0].defined()) return {};
    tensor at = detach(c.out(1)), d = g[0];
    if (!keep && c.in_shape(0).rank() > 0) {
      const index_t a = detail::order_axis(c.in_shape(0), axis, name);
      at = unsqueeze(at, a);
      d = unsqueeze(d, a);
    }
    return scatter(detail::zeros_of(c.in_shape(0), d.dtype()), axis, at, d);
  }
};

template <class = void> struct arg_extreme_op {
  index_t axis = -1;
  bool keep = false;
  bool largest = true;
  static constexpr std::string_view name = "argmax";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  tensor forward(const tensor& x) const {
    const tensor at = detail::extreme_place(x, axis, largest, largest ? "argmax" : "argmin");
    return detail::without_kept(at, axis, keep, name);
  }
  tensor backward(backward_context&, const tensor&) const { return {}; }
};

// The first k in order; sort takes all (k = -1).
template <class = void> struct topk_op {
  index_t k = -1;
  index_t axis = -1;
  bool descending = true;
  static constexpr std::string_view name = "topk";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::output(1));

  std::array<tensor, 2> forward(const tensor& x) const {
    const index_t a = detail::order_axis(x.shape(), axis, k == -1 ? "sort" : name);
    const index_t n = detail::with_axis(x.shape())[a], count = k == -1 ? n : k;
    if (count < 0 || count > n) {
      raise<value_error>("topk: k must be 0 to ", n, " on axis ", axis, "; got ", k, " for ", x);
    }
    if (x.rank() == 0 && count == 0) raise<value_error>("topk: a 0-d tensor gives one; got k 0");
    const tensor at = detail::places_of(x, {a, count, descending});
    return {gather(x, axis, at), at};
  }
  tensor backward(backward_context& c, tensor_list g) const {
    if (!g[0].defined()) return {};
    return scatter(detail::zeros_of(c.in_shape(0), g[0].dtype()), axis, detach(c.out(1)), g[0]);
  }
};

// The largest (smallest) value along an axis and its place; the first of equals, the first NaN if
// there is one. Gradient: g at the place. Throws value_error for an empty axis.
template <class> std::array<tensor, 2> max(const tensor& x, index_t axis, bool keep) {
  return record(extreme_along_op<>{axis, keep, true}, x);
}
template <class> std::array<tensor, 2> min(const tensor& x, index_t axis, bool keep) {
  return record(extreme_along_op<>{axis, keep, false}, x);
}
// The place of the largest (smallest) value along an axis, as in max and min; the last axis unless
// named, where PyTorch would take all elements as one row: argmax(flatten(x)) does.
template <class> tensor argmax(const tensor& x, index_t axis, bool keep) {
  return record(arg_extreme_op<>{axis, keep, true}, x);
}
template <class> tensor argmin(const tensor& x, index_t axis, bool keep) {
  return record(arg_extreme_op<>{axis, keep, false}, x);
}
// The k largest (smallest) values along an axis, in order, and their places. Gradient: g at the
// places. Throws value_error unless 0 <= k <= size.
template <class>
std::array<tensor, 2> topk(const tensor& x, index_t k, index_t axis, bool largest) {
  if (k < 0) raise<value_error>("topk: k must not be negative; got ", k);
  return record(topk_op<>{k, axis, largest}, x);
}
// All values along an axis in order, and their places; stable. NaN is the largest: last when
// ascending, first when descending. Gradient: g at the places.
template <class> std::array<tensor, 2> sort(const tensor& x, index_t axis, bool descending) {
  return record(topk_op<>{-1, axis, descending}, x);
}

// The places of sort alone, i64.
template <class> tensor argsort(const tensor& x, index_t axis, bool descending) {
  return sort(detach(x), axis, descending)[1];
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call, and the rest of the family.
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/quantile.hpp>
