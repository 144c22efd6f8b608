#pragma once
// SPDX-License-Identifier: MIT
// Windows of pooling, fixed and adaptive, on images with any strides, and their averages, forward
// and backward; pool_max.hpp has the maxima. Lanes run along channels where they are adjacent.
// Images, rows and channels are split among threads, never sums: the same bits for any number.
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm.hpp>
#include <adze/kernels/pool_shape.hpp>

namespace adze::kernels::inline ADZE_ISA {

// The pixels of the window of output (n, i, j).
struct pool_span {
  index_t n, i, j, y0, y1, x0, x1, y_step, x_step;
  bool empty() const { return y0 >= y1 || x0 >= x1; }
};

// begin and end of the windows of both axes, computed once per call.
struct pool_table {
  index_t *y, *x;
  index_t y_step, x_step;

  explicit pool_table(const pool_shape& s)
      : y(scratch<index_t, scratch_use::taps>(2 * (s.h.out + s.w.out))), x(y + 2 * s.h.out),
        y_step(s.h.dilation), x_step(s.w.dilation) {
    for (index_t i = 0; i < s.h.out; ++i) y[2 * i] = s.h.begin(i), y[2 * i + 1] = s.h.end(i);
    for (index_t j = 0; j < s.w.out; ++j) x[2 * j] = s.w.begin(j), x[2 * j + 1] = s.w.end(j);
  }
  pool_span at(index_t n, index_t i, index_t j) const {
    return {n, i, j, y[2 * i], y[2 * i + 1], x[2 * j], x[2 * j + 1], y_step, x_step};
  }
};

// f(pointer, y, x) for the pixels of a window in row order; `from` is the first pixel of the image.
template <class T, class F>
[[gnu::always_inline]] inline void each_pixel(const pool_span& p, const image<T>& x, T* from, F f) {
  for (index_t row = p.y0; row < p.y1; row += p.y_step)
    for (index_t column = p.x0; column < p.x1; column += p.x_step)
      f(from + row * x.h_stride + column * x.w_stride, row, column);
}

// f(window, first channel, last channel) for all outputs: all channels of a window when they are
// adjacent, otherwise all windows of a channel.
template <class F> void each_output(const pool_shape& s, bool adjacent, F f) {
  const index_t parts = adjacent ? s.h.out : s.c;
  const pool_table table(s);
  split_work(s.n * parts, s.work(), [&](index_t first, index_t last) {
    for (index_t k = first; k < last; ++k) {
      const index_t n = k / parts, part = k % parts;
      for (index_t i = adjacent ? part : 0; i < (adjacent ? part + 1 : s.h.out); ++i)
        for (index_t j = 0; j < s.w.out; ++j)
          f(table.at(n, i, j), adjacent ? 0 : part, adjacent ? s.c : part + 1);
    }
  });
}

// The same for sums into gx, which begins as zero: blocks of channels are split, never windows.
template <class T, class F>
void each_scatter(const pool_shape& s, image<T> gx, bool adjacent, F f) {
  const index_t block = adjacent ? 64 : 1, blocks = (s.c + block - 1) / block;
  const pool_table table(s);
  split_work(s.n * blocks, s.work(), [&](index_t first, index_t last) {
    for (index_t k = first; k < last; ++k) {
      const index_t n = k / blocks, c0 = k % blocks * block, c1 = std::min(c0 + block, s.c);
      for (index_t y = 0; y < s.h.in; ++y) {
        T* row = gx.at(n, y, 0) + c0 * gx.c_stride;
        if (gx.w_stride == c1 - c0)
          fill_zeros(row, s.w.in * gx.w_stride);
        else
          for (index_t x = 0; x < s.w.in; ++x, row += gx.w_stride) fill_zeros(row, c1 - c0);
      }
      for (index_t i = 0; i < s.h.out; ++i)
        for (index_t j = 0; j < s.w.out; ++j) f(table.at(n, i, j), c0, c1);
    }
  });
}

template <class P, class T> P load_some(const T* p, index_t n) {
  return n >= P::size ? P::load(p) : P::load_partial(p, n);
}
// The same with anything in the other lanes, of memory that may be read up to `end`: loads of some
// lanes alone do not start AMD's prefetchers (6 channels at 28 x 28 pixels: 3 times as long).
template <class P, class T> P load_inside(const T* p, index_t n, const T* end) {
  return end - p >= P::size ? P::load(p) : load_some<P>(p, n);
}
// Where the last pixel of an image ends, channels adjacent.
template <class T> const T* image_end(const pool_shape& s, const image<const T>& x, index_t n) {
  return x.at(n, s.h.in - 1, s.w.in - 1) + s.c;
}
template <class P, class T> void store_some(P v, T* p, index_t n) {
  n >= P::size ? v.store(p) : v.store_partial(p, n);
}

// Mean of each window: the sum of its pixels over s.divide_by.
template <class T, class A = simd::row_tag<T>>
void avg_pool(const pool_shape& s, std::type_identity_t<image<const T>> x, image<T> y) {
  using P = simd::pack<T, A>;
  const bool lanes = P::size > 1 && x.c_stride == 1 && y.c_stride == 1;
  each_output(s, lanes, [&](const pool_span& p, index_t c0, index_t c1) {
    const T *from = x.at(p.n, 0, 0), *end = image_end(s, x, p.n);
    T* to = y.at(p.n, p.i, p.j);
    const T divisor = static_cast<T>(s.divide_by(p.i, p.j));
    for (index_t c = c0; lanes && c < c1; c += P::size) {
      const index_t count = std::min(P::size, c1 - c);
      P sum(T(0));
      each_pixel(p, x, from + c, [&](const T* pixel, index_t, index_t) {
        sum = sum + load_inside<P>(pixel, count, end);
      });
      store_some(sum / P(divisor), to + c, count);
    }
    for (index_t c = c0; !lanes && c < c1; ++c) {
      T sum = 0;
      each_pixel(p, x, from + c * x.c_stride, [&](const T* q, index_t, index_t) { sum += *q; });
      to[c * y.c_stride] = sum / divisor;
    }
  });
}

// gx = 0, then gy / s.divide_by added to every pixel of the window.
template <class T, class A = simd::row_tag<T>>
void avg_pool_backward(const pool_shape& s, std::type_identity_t<image<const T>> gy, image<T> gx) {
  using P = simd::pack<T, A>;
  const bool lanes = P::size > 1 && gx.c_stride == 1 && gy.c_stride == 1;
  each_scatter(s, gx, gx.c_stride == 1, [&](const pool_span& p, index_t c0, index_t c1) {
    const T* from = gy.at(p.n, p.i, p.j);
    T* to = gx.at(p.n, 0, 0);
    const T divisor = static_cast<T>(s.divide_by(p.i, p.j));
    for (index_t c = c0; lanes && c < c1; c += P::size) {
      const index_t count = std::min(P::size, c1 - c);
      const P g = load_some<P>(from + c, count) / P(divisor);
      each_pixel(p, gx, to + c, [&](T* pixel, index_t, index_t) {
        store_some(load_some<P>(pixel, count) + g, pixel, count);
      });
    }
    for (index_t c = c0; !lanes && c < c1; ++c) {
      const T g = from[c * gy.c_stride] / divisor;
      each_pixel(p, gx, to + c * gx.c_stride, [&](T* pixel, index_t, index_t) { *pixel += g; });
    }
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
