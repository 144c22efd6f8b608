#pragma once
// SPDX-License-Identifier: MIT
// Tensors to Eigen without a copy, and Eigen expressions to tensors with one. Not part of
// adze.hpp: only who includes this pays for Eigen.
#include <adze/kernels/linalg.hpp>
#include <adze/tensor/typed.hpp>

namespace adze {

namespace detail {
inline void need_two_axes(const tensor& x) {
  if (x.rank() == 2) return;
  raise<shape_error>("as_eigen: needs two axes; got ", x,
                     x.rank() > 2 ? std::string_view("; flatten(x, 1)") : "; reshape(x, {1, -1})");
}
}  // namespace detail

// A 2-d tensor as an Eigen map of its memory, whatever its strides. The tensor must outlive the
// map. Throws shape_error for other ranks.
template <class T> auto as_eigen(const tensor_of<T>& x) {
  detail::need_two_axes(x);
  return kernels::as_eigen(x.as_matrix());
}
template <class T> auto as_eigen(tensor_of<T>& x) {
  detail::need_two_axes(x);
  return kernels::as_eigen(x.as_matrix());
}

// The values of an Eigen matrix, vector or expression as a new 2-d row-major tensor.
template <class Derived> auto to_tensor(const Eigen::MatrixBase<Derived>& m) {
  tensor_of<typename Derived::Scalar> y(shape{m.rows(), m.cols()});
  as_eigen(y) = m;
  return y;
}

}  // namespace adze
