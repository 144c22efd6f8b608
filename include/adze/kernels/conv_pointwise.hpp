#pragma once
// SPDX-License-Identifier: MIT
// Convolutions of 1 x 1 with stride 1 are matrix products of pixels and weights as they stand.
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/conv_weight.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Whether all pixels are rows of one matrix, channels adjacent.
template <class T> bool has_pixel_rows(image<const T> x, index_t h, index_t w) {
  return x.c_stride == 1 && x.h_stride == w * x.w_stride && x.n_stride == h * x.h_stride;
}
template <class T> bool is_pointwise(const conv_shape& s, image<const T> x, image<const T> y) {
  return s.kh * s.kw == 1 && s.stride_h * s.stride_w == 1 && s.pad_h + s.pad_w == 0 &&
         s.groups == 1 && s.n * s.h * s.w * s.c * s.o > 0 && has_pixel_rows(x, s.h, s.w) &&
         has_pixel_rows(y, s.h, s.w);
}

template <class T> matrix<T> pixel_rows(const conv_shape& s, image<T> x, index_t channels) {
  return {x.data, s.n * s.h * s.w, channels, x.w_stride, 1};
}

// gw [o, c], pixels as the depth. They are summed in parts whose number depends on sizes alone;
// the side that fills the panels better is the one with the columns.
template <class T, class A>
void pointwise_weight(const conv_shape& s, image<const T> x, image<const T> gy, T* gw) {
  constexpr index_t panel = tile_shape<T, simd::tile_tag<A>>::panel;
  const index_t pixels = s.n * s.h * s.w, size = s.c * s.o;
  const index_t most = std::min((index_t(8) << 20) / (size * index_t(sizeof(T))), pixels / 1024);
  const index_t wanted = std::clamp<index_t>(std::min(most, s.work() / (4 * parallel_work)), 1, 16);
  const index_t part = (pixels + wanted - 1) / wanted, parts = (pixels + part - 1) / part;
  const auto full = [&](index_t n) { return (n + panel - 1) / panel * panel; };
  const bool turned = full(s.c) * s.o > full(s.o) * s.c;  // sums as [c, o]
  T* const sums = turned || parts > 1 ? scratch<T, scratch_use::partial>(parts * size) : gw;
  const auto left = pixel_rows(s, turned ? x : gy, turned ? s.c : s.o);
  const auto right = pixel_rows(s, turned ? gy : x, turned ? s.o : s.c);
  split_chunks(pixels, part, s.work(), [&](index_t first, index_t last) {
    matrix<const T> a = left, b = right;
    a.data += first * a.row_stride, b.data += first * b.row_stride;
    a.rows = b.rows = last - first;
    gemm<T, A>(a.transposed(), b, dense_matrix<T>(sums + first / part * size, a.cols, b.cols));
  });
  if (turned) return add_parts(sums, parts, 1, s.c, s.o, 1, gw);
  for (index_t k = 0; k < size && parts > 1; ++k) {
    T sum = sums[k];
    for (index_t i = 1; i < parts; ++i) sum += sums[i * size + k];
    gw[k] = sum;
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
