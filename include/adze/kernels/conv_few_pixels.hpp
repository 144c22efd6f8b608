#pragma once
// SPDX-License-Identifier: MIT
// The input's gradient where outputs are few and weights many, such as 512 to 512 channels at 7x7
// pixels: to bring the weights into another order takes as long as to multiply them. Here the
// gradient times all weights, as they stand, is one product, whose rows are then added to the
// input pixels that they came from, in fixed order.
#include <adze/kernels/conv_windows.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Whether weights outweigh pixels so far (benchmarks/conv).
inline bool prefers_weights_as_they_stand(const conv_shape& s) {
  const index_t pixels = s.n * s.out_h() * s.out_w();
  return s.groups == 1 && s.kh * s.kw > 1 && pixels > 0 && pixels <= 128 &&
         pixels * 128 <= s.c * s.o;
}

template <class T, class A>
void few_pixels_gradient(const conv_shape& s, image<const T> gy, const T* weight, image<T> gx,
                         const epilogue<T>& finish) {
  const index_t area = s.kh * s.kw, width = s.c * area, rows = s.n * s.out_h();
  const index_t pixels = rows * s.out_w();
  index_t step = 0;
  const T* const gradient =
      gradient_rows(forward_correlation<T>(s, image<const T>{}), gy, s.o, 0, rows, step);
  T* const products = scratch<T, scratch_use::window>(pixels * width);  // of (channel, tap)
  gemm<T, A>({gradient, pixels, s.o, step, 1}, {weight, s.o, width, width, 1},
             dense_matrix(products, pixels, width));
  split_work(s.c, pixels * width * 8, [&](index_t first, index_t last) {
    for (index_t i = 0; i < s.n * s.h * s.w; ++i)
      fill_zeros(gx.at(i / s.w / s.h, i / s.w % s.h, i % s.w) + first, last - first);
    for (index_t i = 0; i < pixels; ++i) {
      const index_t row = i / s.out_w();
      T* const to = gx.at(row / s.out_h(), 0, 0);
      const T* from = products + i * width;
      each_window_tap(s, row % s.out_h(), i % s.out_w(), gx.h_stride, gx.w_stride,
                      [&](bool inside, index_t offset) {
                        for (index_t c = first; inside && c < last; ++c)
                          to[offset + c] += from[c * area];
                        ++from;
                      });
    }
  });
  if (finish.empty()) return;
  for (index_t i = 0; i < s.n * s.h * s.w; ++i)
    apply<T, A>(finish, gx.at(i / s.w / s.h, i / s.w % s.h, i % s.w), 0, 0, s.c);
}

}  // namespace adze::kernels::inline ADZE_ISA
