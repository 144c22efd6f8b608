#pragma once
// SPDX-License-Identifier: MIT
// What kernels on dense f32 and f64 memory need: their inputs as such, 16-bit floats widened. Plain
// data only, nothing is recorded.
#include <adze/autograd/accumulate.hpp>
#include <adze/ops/map.hpp>

namespace adze::detail::inline ADZE_ISA {

// f64 for f64, f32 for the other floats; throws for anything else.
template <class = void>
[[gnu::noinline]] dtype floating_compute_type(std::string_view op, const tensor& x) {
  if (!is_floating(x.dtype())) {
    raise<dtype_error>(op, ": takes floating tensors; got ", x, "; cast(x, f32) first");
  }
  return x.dtype() == f64 ? f64 : f32;
}

// x row-major in `type`: itself where it is that already, else a copy.
template <class = void> tensor dense_as(const tensor& x, dtype type) {
  if (x.dtype() == type && x.is_contiguous()) return x;
  tensor y = empty(x.shape(), type);
  kernels::copy(x.shape(), operand_of(y), operand_of(x));
  return y;
}

// The same, but any dense order of the axes is kept.
template <class = void> tensor dense_keeping(const tensor& x, dtype type) {
  if (x.dtype() == type && is_dense(x)) return x;
  tensor y = empty_like(x, type);
  kernels::copy(x.shape(), operand_of(y), operand_of(x));
  return y;
}

// x in `type` and in the layout of `like`, which is dense and has the same shape.
template <class = void> tensor dense_like(const tensor& x, const tensor& like, dtype type) {
  if (x.dtype() == type && x.strides() == like.strides()) return x;
  tensor y = empty_strided(like.shape(), like.strides(), type);
  kernels::copy(x.shape(), operand_of(y), operand_of(x));
  return y;
}

// What a layer adds to its result before the activation: of the result's sizes and type, f32 or
// f64; undefined for none. Where `spent`, nobody else reads it, and its memory may become the
// result's.
struct residual_input {
  tensor value{};
  bool spent = false;
};

// The gradient of what an op puts through relu, whose result is its output 0; in activation.hpp.
template <class = void> tensor relu_gradient(backward_context& c, const tensor& g);

}  // namespace adze::detail::inline ADZE_ISA
