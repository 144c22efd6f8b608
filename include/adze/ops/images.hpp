#pragma once
// SPDX-License-Identifier: MIT
// Tensors [n, c, h, w] as the images of the kernels, which take any strides.
#include <adze/kernels/conv_plan.hpp>
#include <adze/ops/dense.hpp>

namespace adze::detail::inline ADZE_ISA {

// The strides of x, the elements as T: const ones of a const tensor.
template <class T> kernels::image<const T> image_of(const tensor& x) {
  const dims& d = x.strides();
  return {x.data_as<T>(), d[0], d[1], d[2], d[3]};
}
template <class T> kernels::image<T> image_of(tensor& x) {
  const dims& d = x.strides();
  return {x.data_as<T>(), d[0], d[1], d[2], d[3]};
}

// x in the computing type; any strides will do, so f32 and f64 are taken as they are.
template <class = void> tensor computed_as(const tensor& x, dtype type) {
  return x.dtype() == type ? x : dense_keeping(x, type);
}

// Fresh images, row-major where x is, else channels-last.
inline tensor empty_images(const shape& sizes, dtype type, const tensor& x) {
  return x.is_contiguous() && !is_channels_last(x) ? empty(sizes, type)
                                                   : empty_channels_last(sizes, type);
}

}  // namespace adze::detail::inline ADZE_ISA
