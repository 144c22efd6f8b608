#pragma once
// SPDX-License-Identifier: MIT
// What optimizers, clipping and averages ask of tensors before kernels/optim.hpp walks over their
// memory: gradients, orders of elements, states.
#include <adze/autograd/accumulate.hpp>
#include <adze/kernels/optim.hpp>
#include <adze/tensor/layout.hpp>

namespace adze::optim::detail::inline ADZE_ISA {

inline const tensor& gradient_of(const tensor& p) {
  static const tensor none;
  auto* owner = static_cast<adze::detail::node*>(p.impl().owner);
  return owner != nullptr && owner->leaf ? adze::detail::leaf_of(owner).gradient : none;
}

// Elements of both lie in the same order without gaps, so that they can be walked as one row.
inline bool same_order(const tensor& a, const tensor& b) {
  if (a.is_contiguous() && b.is_contiguous()) return true;
  if (!is_dense(a) || !is_dense(b)) return false;
  for (index_t i = 0; i < a.rank(); ++i) {
    const auto axis = static_cast<std::size_t>(i);
    if (a.shape()[i] > 1 && a.strides()[axis] != b.strides()[axis]) return false;
  }
  return true;
}

// y = x, element by element, whatever the layouts and dtypes.
inline void copy_values(tensor& y, const tensor& x) {
  kernels::copy(y.shape(), adze::detail::operand_of(y), adze::detail::operand_of(x));
}

// No atomic addition: whoever changes the same tensor at the same time has a race anyway.
inline void changed_in_place(const tensor& x) {
  std::atomic<std::uint32_t>& version = x.impl().store->version;
  version.store(version.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// States are kept in double for double parameters, else in float.
inline dtype state_type(const tensor& p) { return p.dtype() == f64 ? f64 : f32; }

inline tensor filled_state(const tensor& p, double value) {
  tensor s = empty_like(p, state_type(p));
  kernels::copy(s.shape(), adze::detail::operand_of(s), {&value, f64, {}});
  return s;
}

}  // namespace adze::optim::detail::inline ADZE_ISA
