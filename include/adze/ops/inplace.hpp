#pragma once
// SPDX-License-Identifier: MIT
// Changes in place. Without gradients the memory of y is written and its version raised. While
// gradients are recorded, the value is computed out of place, written into the memory of y, and the
// handle y is rebound to it: older handles and views of the same memory throw when they are used.
#include <adze/ops/activation.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>

namespace adze::detail::inline ADZE_ISA {

inline bool wants_gradient(const tensor& x) { return grad_enabled() && x.requires_grad(); }

// What may not be changed at all.
template <class = void> void check_writable(std::string_view op, const tensor& y) {
  const tensor_impl& p = y.impl();
  const bool leaf = p.owner != nullptr && p.owner->leaf && !p.owner->frozen;
  if (grad_enabled() && (leaf || p.store->leaves.load(std::memory_order_relaxed) != 0)) {
    raise<state_error>(op, ": ", y, " is, or shares memory with, a leaf that requires grad; ",
                       "change it under no_grad");
  }
  if (p.owner != nullptr && !p.owner->leaf && p.stamp != y.version()) {
    raise<state_error>(op, ": ", y,
                       " was changed in place through another handle or view after it ",
                       "was computed (version ", p.stamp, ", now ", y.version(),
                       "); use the changed handle, or clone() before the change");
  }
  if (overlaps_itself(y)) {
    raise<value_error>(op, ": elements of ", y, " share memory (an expanded axis); clone() it");
  }
}

struct byte_range {
  const std::byte* first = nullptr;
  const std::byte* last = nullptr;
};
inline byte_range range_of(const tensor& x) {
  index_t low = 0, high = 1;
  for (index_t i = 0; i < x.rank(); ++i) {
    const index_t reach = (x.shape()[i] - 1) * x.strides()[static_cast<std::size_t>(i)];
    (reach < 0 ? low : high) += reach;
  }
  const auto* at = static_cast<const std::byte*>(x.data());
  return {at + low * size_of(x.dtype()), at + high * size_of(x.dtype())};
}
// Some memory of x may be written through y, other than element by element.
inline bool overlaps(const tensor& y, const tensor& x) {
  if (y.impl().store != x.impl().store || y.numel() == 0 || x.numel() == 0) return false;
  const byte_range a = range_of(y), b = range_of(x);
  if (a.last <= b.first || b.last <= a.first) return false;
  return !(y.data() == x.data() && y.dtype() == x.dtype() &&
           broadcast_strides(x, y.shape()) == y.strides());
}

template <class = void> void check_operand(std::string_view op, const tensor& y, const tensor& x) {
  if (broadcast(y.shape(), x.shape(), op) != y.shape()) {
    raise<shape_error>(op, ": x must broadcast to y; y ", y, ", x ", x);
  }
  if (kind_of(x.dtype()) > kind_of(y.dtype())) {
    raise<dtype_error>(op, ": ", x.dtype(), " cannot be stored in ", y, "; cast(x, ", y.dtype(),
                       ") first");
  }
  const bool same_block = y.data() == x.data() && y.numel() == x.numel();  // in another order
  if (overlaps(y, x) && !same_block && is_dense(x) && is_dense(y)) {
    raise<value_error>(op, ": y and x overlap in part; y ", y, ", x ", x, "; clone(x) first");
  }
}

// What a call that records nothing reads must not have lost a gradient, see record.hpp.
inline void check_constant(std::string_view op, std::size_t i, const tensor& x) {
  if (grad_enabled() && is_overwritten(x.impl())) raise_overwritten(op, i, x);
}

// After the memory of y was written by a call that records nothing.
inline void mark_changed(tensor& y) {
  tensor_impl& p = y.impl();
  p.stamp = p.store->version.fetch_add(1, std::memory_order_relaxed) + 1;
}

// What a new node has saved of memory that is about to change: it gets a copy of its own.
inline void keep_saved(const tensor& value, const tensor& y) {
  if (value.impl().owner == nullptr) return;
  node* n = owner_of(value);
  for (std::uint32_t i = 0; i < n->saved_count; ++i) {
    saved_tensor& s = n->saved()[i];
    if (!s.value.defined() || s.value.impl().store != y.impl().store) continue;
    tensor copy = dense_copy(s.value);
    if (node_head* owner = s.value.impl().owner; owner != nullptr) {
      attach(copy, static_cast<node*>(owner), s.value.impl().output);
    }
    s = {copy, copy.version()};
  }
}

// The handle y becomes `value`, a fresh result of its shape, in the memory of y.
template <class = void> tensor& rebind(tensor& y, tensor value) {
  keep_saved(value, y);
  if (value.dtype() != y.dtype()) value = cast(value, y.dtype());
  kernels::copy(y.shape(), operand_of(y), operand_of(value));
  const tensor_impl& from = y.impl();  // keeps its stamp: other handles on it are stale now
  tensor_impl& to = value.impl();
  retain(from.store);
  release(std::exchange(to.store, from.store));
  to.data = from.data;
  to.strides = from.strides;
  to.stamp = from.store->version.fetch_add(1, std::memory_order_relaxed) + 1;
  if (to.owner != nullptr) to.store->recorded.store(to.stamp, std::memory_order_relaxed);
  if (observer* watch = state.watch; watch != nullptr && watch->moved != nullptr) {
    watch->moved(*watch, value);
  }
  y = std::move(value);
  return y;
}

// y = loops(y) or loops(y, x) in the memory of y; x is copied where writing would change it.
template <class = void>
tensor& map_in_place(std::string_view name, const kernels::map_loops& loops, const void* functor,
                     tensor& y, const tensor* x) {
  const dtype compute = compute_type(x != nullptr ? result_type(y, *x) : y.dtype());
  if (loops.of(compute) == nullptr) {
    raise<dtype_error>(name, ": takes floating tensors; got ", y, "; cast(y, f32) first");
  }
  const tensor copy = x != nullptr && overlaps(y, *x) ? dense_copy(*x) : tensor();
  kernels::operand all[] = {operand_of(y), operand_of(y), {}};
  if (x != nullptr) all[2] = operand_of(copy.defined() ? copy : *x, y.shape());
  kernels::map(loops, functor, compute, y.shape(), all, x != nullptr ? 3 : 2);
  mark_changed(y);
  return y;
}

// y = op(y), where the op is a functor's.
template <class Op> tensor& apply_in_place(std::string_view name, const Op& op, tensor& y) {
  check_writable(name, y);
  if (state.watch == nullptr && !wants_gradient(y)) {
    check_constant(name, 0, y);
    return map_in_place(name, op.loops, &op.f, y, nullptr);
  }
  return rebind(y, record(op, y));
}
// y = op(y, x).
template <class Op>
tensor& apply_in_place(std::string_view name, const Op& op, tensor& y, const tensor& x) {
  check_writable(name, y);
  check_operand(name, y, x);
  if (state.watch == nullptr && !wants_gradient(y) && !wants_gradient(x)) {
    check_constant(name, 0, y);
    check_constant(name, 1, x);
    return map_in_place(name, op.loops, &op.f, y, &x);
  }
  return rebind(y, record(op, y, x));
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// A constant of the shape of x. No gradient.
template <class = void> struct fill_op {
  double value = 0.0;
  static constexpr std::string_view name = "fill";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr value_set nondifferentiable = values::output(0);
  static constexpr std::string_view axes = "...->...";

  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const { return detail::filled(x.shape(), x.dtype(), value); }
  tensor backward(backward_context&, const tensor&) const { return {}; }
};

// y = y + x, and so on. x broadcasts to y and is cast to its dtype, but not from floats to
// integers. While recording, gradients are those of the op out of place. Throw state_error for a
// leaf that requires grad under grad mode, value_error when elements of y share memory or x is a
// part of y, shape_error and dtype_error.
template <class> tensor& add_(tensor& y, const tensor& x) {
  return detail::apply_in_place("add_", binary<functors::add_f>{}, y, x);
}
template <class> tensor& sub_(tensor& y, const tensor& x) {
  detail::check_subtract("sub_", y, x);
  return detail::apply_in_place("sub_", binary<functors::sub_f>{}, y, x);
}
template <class> tensor& mul_(tensor& y, const tensor& x) {
  return detail::apply_in_place("mul_", binary<functors::mul_f>{}, y, x);
}
template <class> tensor& div_(tensor& y, const tensor& x) {
  return detail::apply_in_place("div_", binary<functors::div_f>{}, y, x);
}
template <class> tensor& add_(tensor& y, double x) {
  return detail::apply_in_place(
      "add_", unary<functors::add_scalar_f>{{{detail::number_of("add_", y, x)}}}, y);
}
template <class> tensor& sub_(tensor& y, double x) {
  return detail::apply_in_place(
      "sub_", unary<functors::add_scalar_f>{{{-detail::number_of("sub_", y, x)}}}, y);
}
template <class> tensor& mul_(tensor& y, double x) {
  return detail::apply_in_place(
      "mul_", unary<functors::mul_scalar_f>{{{detail::number_of("mul_", y, x)}}}, y);
}
template <class> tensor& div_(tensor& y, double x) {
  return detail::apply_in_place("div_", unary<functors::div_scalar_f>{{{x}}}, y);
}
// y = min(max(y, low), high).
template <class> tensor& clamp_(tensor& y, double low, double high) {
  return detail::apply_in_place("clamp_",
                                unary<functors::clamp_f>{detail::bound_of("clamp_", y, low),
                                                         detail::bound_of("clamp_", y, high)},
                                y);
}
// y = max(y, 0).
template <class> tensor& relu_(tensor& y) {
  return detail::apply_in_place("relu_", unary<functors::relu_f>{}, y);
}
// y = x, broadcast and cast; what y was gets no gradient, x gets that of y.
template <class> tensor& copy_(tensor& y, const tensor& x) {
  detail::check_writable("copy_", y);
  if (broadcast(y.shape(), x.shape(), "copy_") != y.shape()) {
    raise<shape_error>("copy_: x must broadcast to y; y ", y, ", x ", x);
  }
  if (detail::state.watch != nullptr && x.shape() != y.shape()) {  // by y's sizes of the run
    return detail::rebind(y, where(detail::filled({}, bool8, 1), cast(x, y.dtype()), detach(y)));
  }
  if (detail::state.watch != nullptr || detail::wants_gradient(x) || detail::wants_gradient(y)) {
    const tensor from = cast(x, y.dtype());
    return detail::rebind(y, clone(x.shape() == y.shape() ? from : expand(from, y.shape())));
  }
  detail::check_constant("copy_", 1, x);
  const tensor from = detail::overlaps(y, x) ? detail::dense_copy(x) : x;
  kernels::copy(y.shape(), detail::operand_of(y), detail::operand_of(from, y.shape()));
  detail::mark_changed(y);
  return y;
}
// y = value everywhere. No gradient.
template <class> tensor& fill_(tensor& y, double value) {
  detail::check_writable("fill_", y);
  static_cast<void>(detail::stored_scalar_of("fill_", y.dtype(), value));
  if (detail::state.watch != nullptr || detail::wants_gradient(y)) {
    return detail::rebind(y, record(fill_op<>{value}, y));
  }
  kernels::copy(y.shape(), detail::operand_of(y), {&value, f64, {}});
  detail::mark_changed(y);
  return y;
}
template <class> tensor& zero_(tensor& y) { return fill_(y, 0.0); }

}  // namespace adze::inline ADZE_ISA

// The rest of the family.
#include <adze/ops/assign.hpp>
