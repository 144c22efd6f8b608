#pragma once
// SPDX-License-Identifier: MIT
// The gradient of max_pool_backward: values at the pixels that max pooling chose.
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm.hpp>
#include <adze/kernels/pool_max.hpp>

namespace adze::kernels::inline ADZE_ISA {

// y [n, c, h, w] of images of `width` pixels a row; strides of all three in elements.
struct gather_shape {
  index_t n = 1, c = 1, h = 1, w = 1, width = 1;
};

// y = x at the pixel row * width + column that `at` holds, 0 where that is negative.
template <class T>
void pool_gather(const gather_shape& s, std::type_identity_t<image<const T>> x,
                 image<const pixel_index> at, std::type_identity_t<image<T>> y) {
  split_work(s.n * s.h, s.n * s.h * s.w * s.c, [&](index_t first, index_t last) {
    for (index_t k = first; k < last; ++k) {
      const index_t n = k / s.h, i = k % s.h;
      const T* from = x.at(n, 0, 0);
      for (index_t j = 0; j < s.w; ++j) {
        const pixel_index* place = at.at(n, i, j);
        T* to = y.at(n, i, j);
        for (index_t c = 0; c < s.c; ++c) {
          const index_t pixel = place[c * at.c_stride];
          const index_t offset =
              pixel / s.width * x.h_stride + pixel % s.width * x.w_stride + c * x.c_stride;
          to[c * y.c_stride] = pixel < 0 ? T(0) : from[offset];
        }
      }
    }
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
