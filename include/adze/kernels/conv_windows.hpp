#pragma once
// SPDX-License-Identifier: MIT
// Convolutions as products of window matrices, image by image. This is double's way: the precision
// of checks and small studies, for which the direct kernels are not compiled a second time. Splits
// depend on sizes alone.
#include <adze/kernels/conv_weight.hpp>

namespace adze::kernels::inline ADZE_ISA {

// f(inside, offset of the input pixel) for every tap of output (y, x); outside is padding.
template <class F>
void each_window_tap(const conv_shape& s, index_t y, index_t x, index_t h_stride, index_t w_stride,
                     F f) {
  for (index_t i = 0; i < s.kh; ++i)
    for (index_t j = 0; j < s.kw; ++j) {
      const index_t row = y * s.stride_h - s.pad_h + i * s.dil_h;
      const index_t column = x * s.stride_w - s.pad_w + j * s.dil_w;
      const bool inside = row >= 0 && row < s.h && column >= 0 && column < s.w;
      f(inside, row * h_stride + column * w_stride);
    }
}

// The windows of an image of `channels` channels: rows (y, x), columns (tap, channel).
template <class T>
void gather_windows(const conv_shape& s, image<const T> x, index_t n, index_t first,
                    index_t channels, T* to) {
  const T* from = x.at(n, 0, 0) + first * x.c_stride;
  for (index_t row = 0; row < s.out_h(); ++row)
    for (index_t column = 0; column < s.out_w(); ++column)
      each_window_tap(s, row, column, x.h_stride, x.w_stride, [&](bool inside, index_t offset) {
        for (index_t c = 0; c < channels; ++c)
          *to++ = inside ? from[offset + c * x.c_stride] : T(0);
      });
}

// Its transpose: windows added to the pixels that they came from. c_stride is 1.
template <class T>
void scatter_windows(const conv_shape& s, const T* from, index_t first, index_t channels,
                     image<T> x, index_t n) {
  T* to = x.at(n, 0, 0) + first;
  for (index_t row = 0; row < s.out_h(); ++row)
    for (index_t column = 0; column < s.out_w(); ++column)
      each_window_tap(s, row, column, x.h_stride, x.w_stride, [&](bool inside, index_t offset) {
        for (index_t c = 0; inside && c < channels; ++c) to[offset + c] += from[c];
        from += channels;
      });
}

// Weights [o, channel, tap] as [o, tap, channel], or back.
template <class T>
void swap_taps(const T* from, index_t outs, index_t rows, index_t columns, T* to) {
  for (index_t o = 0; o < outs; ++o, from += rows * columns)
    for (index_t j = 0; j < columns; ++j)
      for (index_t i = 0; i < rows; ++i) *to++ = from[i * columns + j];
}

// Sizes of one group's product.
struct window_product {
  index_t channels, outs, area, depth, pixels;
  explicit window_product(const conv_shape& s)
      : channels(s.c / s.groups), outs(s.o / s.groups), area(s.kh * s.kw), depth(area * channels),
        pixels(s.out_h() * s.out_w()) {}
};

template <class T, class A>
void window_forward(const conv_shape& s, image<const T> x, const T* weight, image<T> y,
                    const epilogue<T>& finish) {
  const window_product p(s);
  T* const by_tap = scratch<T, scratch_use::partial>(s.o * p.depth);
  swap_taps(weight, s.o, p.channels, p.area, by_tap);
  split_chunks(s.n, 1, s.work(), [&](index_t n, index_t) {
    T* windows = scratch<T, scratch_use::window>(p.pixels * p.depth);
    for (index_t g = 0; g < s.groups; ++g) {
      gather_windows(s, x, n, g * p.channels, p.channels, windows);
      const matrix<const T> w{by_tap + g * p.outs * p.depth, p.depth, p.outs, 1, p.depth};
      for (index_t row = 0; row < s.out_h(); ++row)
        gemm<T, A>({windows + row * s.out_w() * p.depth, s.out_w(), p.depth, p.depth, 1}, w,
                   {y.at(n, row, 0) + g * p.outs, s.out_w(), p.outs, y.w_stride, 1});
    }
    if (finish.empty()) return;
    for (index_t i = 0; i < p.pixels; ++i)
      apply<T, A>(finish, y.at(n, i / s.out_w(), i % s.out_w()), 0, 0, s.o);
  });
}

template <class T, class A>
void window_backward_data(const conv_shape& s, image<const T> gy, const T* weight, image<T> gx,
                          const epilogue<T>& finish) {
  const window_product p(s);
  const auto rows = forward_correlation<T>(s, image<const T>{});
  T* const by_tap = scratch<T, scratch_use::partial>(s.o * p.depth);
  swap_taps(weight, s.o, p.channels, p.area, by_tap);
  split_chunks(s.n, 1, s.work(), [&](index_t n, index_t) {
    T* windows = scratch<T, scratch_use::window>(p.pixels * p.depth);
    for (index_t i = 0; i < s.h * s.w; ++i) fill_zeros(gx.at(n, i / s.w, i % s.w), s.c);
    index_t step = 0;
    const T* gradient = gradient_rows(rows, gy, s.o, n * s.out_h(), (n + 1) * s.out_h(), step);
    for (index_t g = 0; g < s.groups; ++g) {
      gemm<T, A>({gradient + g * p.outs, p.pixels, p.outs, step, 1},
                 {by_tap + g * p.outs * p.depth, p.outs, p.depth, p.depth, 1},
                 {windows, p.pixels, p.depth, p.depth, 1});
      scatter_windows(s, windows, g * p.channels, p.channels, gx, n);
    }
    if (finish.empty()) return;
    for (index_t i = 0; i < s.h * s.w; ++i)
      apply<T, A>(finish, gx.at(n, i / s.w, i % s.w), 0, 0, s.c);
  });
}

// Images are summed in at most 16 parts, which are added in order.
template <class T, class A>
void window_backward_weight(const conv_shape& s, image<const T> x, image<const T> gy, T* gw) {
  const window_product p(s);
  const auto rows = forward_correlation<T>(s, image<const T>{});
  const index_t size = s.o * p.depth, wanted = std::clamp<index_t>(s.n, 1, 16);
  const index_t part = (s.n + wanted - 1) / wanted, parts = part == 0 ? 0 : (s.n + part - 1) / part;
  T* const sums = scratch<T, scratch_use::partial>((parts + 1) * size);
  fill_zeros(sums, (parts + 1) * size);
  split_chunks(s.n, std::max<index_t>(part, 1), s.work(), [&](index_t begin, index_t end) {
    T* sum = sums + begin / part * size;
    T* windows = scratch<T, scratch_use::window>(p.pixels * p.depth);
    for (index_t n = begin; n < end; ++n) {
      index_t step = 0;
      const T* gradient = gradient_rows(rows, gy, s.o, n * s.out_h(), (n + 1) * s.out_h(), step);
      for (index_t g = 0; g < s.groups; ++g) {
        gather_windows(s, x, n, g * p.channels, p.channels, windows);
        gemm<T, A>({gradient + g * p.outs, p.outs, p.pixels, 1, step},
                   {windows, p.pixels, p.depth, p.depth, 1},
                   {sum + g * p.outs * p.depth, p.outs, p.depth, p.depth, 1}, {.beta = T(1)});
      }
    }
  });
  for (index_t i = 1; i < parts; ++i)
    for (index_t k = 0; k < size; ++k) sums[k] += sums[i * size + k];
  swap_taps(sums, s.o, p.area, p.channels, gw);
}

}  // namespace adze::kernels::inline ADZE_ISA
