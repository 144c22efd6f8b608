#pragma once
// SPDX-License-Identifier: MIT
// Changes in place at chosen places, by operators, and of views that have no name. What a change
// in place is stands in inplace.hpp.
#include <adze/ops/inplace.hpp>

namespace adze::detail::inline ADZE_ISA {

// y = value(y), a fresh result, in the memory of y.
template <class F> tensor& assign(std::string_view name, tensor& y, F value_of) {
  check_writable(name, y);
  tensor value = value_of();
  if (state.watch != nullptr || wants_gradient(value)) return rebind(y, std::move(value));
  kernels::copy(y.shape(), operand_of(y), operand_of(value));
  mark_changed(y);
  return y;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// masked_fill, index_fill and index_copy in the memory of y, with their gradients. Throw what add_
// throws.
template <class> tensor& masked_fill_(tensor& y, const tensor& mask, double value) {
  return detail::assign("masked_fill_", y, [&] { return masked_fill(y, mask, value); });
}
template <class> tensor& index_fill_(tensor& y, index_t axis, const tensor& index, double value) {
  return detail::assign("index_fill_", y, [&] { return index_fill(y, axis, index, value); });
}
template <class>
tensor& index_copy_(tensor& y, index_t axis, const tensor& index, const tensor& source) {
  return detail::assign("index_copy_", y, [&] { return index_copy(y, axis, index, source); });
}

// In place, as in PyTorch: y += x is add_(y, x), which other handles on y see (or, while gradients
// are recorded, are told of). y = y + x makes a new tensor.
template <class> tensor& operator+=(tensor& y, const tensor& x) { return add_(y, x); }
template <class> tensor& operator+=(tensor& y, double x) { return add_(y, x); }
template <class> tensor& operator-=(tensor& y, const tensor& x) { return sub_(y, x); }
template <class> tensor& operator-=(tensor& y, double x) { return sub_(y, x); }
template <class> tensor& operator*=(tensor& y, const tensor& x) { return mul_(y, x); }
template <class> tensor& operator*=(tensor& y, double x) { return mul_(y, x); }
template <class> tensor& operator/=(tensor& y, const tensor& x) { return div_(y, x); }
template <class> tensor& operator/=(tensor& y, double x) { return div_(y, x); }

// What has no name: select(w, 0, 3), or the gradient of a leaf. Returned as the handle that it is
// now, which may be dropped.
template <class> tensor add_(tensor&& y, const tensor& x) { return std::move(add_(y, x)); }
template <class> tensor add_(tensor&& y, double x) { return std::move(add_(y, x)); }
template <class> tensor sub_(tensor&& y, const tensor& x) { return std::move(sub_(y, x)); }
template <class> tensor sub_(tensor&& y, double x) { return std::move(sub_(y, x)); }
template <class> tensor mul_(tensor&& y, const tensor& x) { return std::move(mul_(y, x)); }
template <class> tensor mul_(tensor&& y, double x) { return std::move(mul_(y, x)); }
template <class> tensor div_(tensor&& y, const tensor& x) { return std::move(div_(y, x)); }
template <class> tensor div_(tensor&& y, double x) { return std::move(div_(y, x)); }
template <class> tensor copy_(tensor&& y, const tensor& x) { return std::move(copy_(y, x)); }
template <class> tensor fill_(tensor&& y, double value) { return std::move(fill_(y, value)); }
template <class> tensor zero_(tensor&& y) { return std::move(zero_(y)); }
template <class> tensor clamp_(tensor&& y, double low, double high) {
  return std::move(clamp_(y, low, high));
}
template <class> tensor relu_(tensor&& y) { return std::move(relu_(y)); }
template <class> tensor masked_fill_(tensor&& y, const tensor& mask, double value) {
  return std::move(masked_fill_(y, mask, value));
}
template <class> tensor index_fill_(tensor&& y, index_t axis, const tensor& index, double value) {
  return std::move(index_fill_(y, axis, index, value));
}
template <class>
tensor index_copy_(tensor&& y, index_t axis, const tensor& index, const tensor& source) {
  return std::move(index_copy_(y, axis, index, source));
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/gather.hpp>
