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

// The layout in which results for x are made: row-major where x is, else channels-last.
[[gnu::noinline]] inline bool prefers_rows(const tensor& x) {
  return x.is_contiguous() && !is_channels_last(x);
}
inline tensor empty_images(const shape& sizes, dtype type, const tensor& x) {
  return prefers_rows(x) ? empty(sizes, type) : empty_channels_last(sizes, type);
}

// Images first .. first + n, as a view.
[[gnu::noinline]] inline tensor images_at(const tensor& x, index_t first, index_t n) {
  return alias(x, x.shape().with(0, n), x.strides(), first * x.strides()[0]);
}

// How many images are worked on at a time where they are widened to f32: 256 KiB of them.
inline index_t images_at_once(const shape& x, const shape& y) {
  const index_t each = (x.numel() + y.numel()) / std::max<index_t>(1, x[0]);
  return std::max<index_t>(1, (index_t{1} << 16) / std::max<index_t>(1, each));
}

// f(x, y, first) for images of x and their results y [n, ...], which it fills, in f32 or f64.
// 16-bit images are widened, computed and rounded some at a time, so that no wide copy of all of
// them is ever held.
using image_step = void (*)(const void* f, const tensor& x, tensor& y, index_t first);
template <class = void>
tensor run_over_images(const tensor& x, const shape& sizes, bool rows, const void* f,
                       image_step step_of) {
  const auto fresh = [rows](const shape& s, dtype type) {
    return rows ? empty(s, type) : empty_channels_last(s, type);
  };
  tensor y = fresh(sizes, x.dtype());
  if (size_of(x.dtype()) > 2) {
    step_of(f, x, y, 0);
    return y;
  }
  const index_t step = images_at_once(x.shape(), sizes);
  for (index_t first = 0; first < sizes[0]; first += step) {
    const index_t n = std::min(step, sizes[0] - first);
    tensor part = fresh(sizes.with(0, n), f32);
    step_of(f, dense_keeping(images_at(x, first, n), f32), part, first);
    kernels::copy(part.shape(), operand_of(images_at(y, first, n)), operand_of(part));
  }
  return y;
}
template <class F> tensor over_images(const tensor& x, const shape& sizes, bool rows, const F& f) {
  return run_over_images(x, sizes, rows, &f,
                         [](const void* g, const tensor& in, tensor& y, index_t first) {
                           (*static_cast<const F*>(g))(in, y, first);
                         });
}

}  // namespace adze::detail::inline ADZE_ISA
