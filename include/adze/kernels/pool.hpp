#pragma once
// SPDX-License-Identifier: MIT
// Max and average pooling of float and double, fixed windows and adaptive ones, forward and
// backward, on images with any strides; lanes run along channels where they are adjacent. Images,
// rows and channels are split among threads, never sums: the same bits for any number of them.
#include <limits>

#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels {

// The place y * w + x of a pixel in its image; images are smaller than 2^31 pixels.
using pixel_index = std::int32_t;

// The windows along one axis. Adaptive ones are floor(i in / out) to ceil((i + 1) in / out).
struct pool_axis {
  index_t in = 1, out = 1, kernel = 1, stride = 1, pad = 0, dilation = 1;
  bool adaptive = false;

  index_t start(index_t i) const { return i * stride - pad; }
  // The first position inside the image, and one past the last.
  index_t begin(index_t i) const {
    if (adaptive) return i * in / out;
    const index_t s = start(i);
    return s >= 0 ? s : s + (-s + dilation - 1) / dilation * dilation;
  }
  index_t end(index_t i) const {
    if (adaptive) return ((i + 1) * in + out - 1) / out;
    return std::min(start(i) + (kernel - 1) * dilation + 1, in);
  }
  index_t inside(index_t i) const { return std::max<index_t>(0, end(i) - begin(i)); }
  // With the padding, but not what lies beyond it.
  index_t with_padding(index_t i) const {
    return adaptive ? inside(i) : std::min(start(i) + kernel, in + pad) - start(i);
  }
};

struct pool_window {
  index_t kernel = 1, stride = 1, pad = 0, dilation = 1;
  bool ceil_mode = false;
};

// PyTorch's output size: floor, or ceiling without windows that begin in the right padding.
inline pool_axis fixed_axis(index_t in, const pool_window& w) {
  const index_t free = in + 2 * w.pad - w.dilation * (w.kernel - 1) - 1;
  index_t out = (free + (w.ceil_mode ? w.stride - 1 : 0)) / w.stride + 1;
  if (w.ceil_mode && (out - 1) * w.stride >= in + w.pad) --out;
  return {in, out, w.kernel, w.stride, w.pad, w.dilation, false};
}
inline pool_axis adaptive_axis(index_t in, index_t out) { return {in, out, 1, 1, 0, 1, true}; }

struct pool_shape {
  index_t n = 1, c = 1;
  pool_axis h{}, w{};
  bool count_include_pad = true;  // averages divide by the padded window
  index_t divisor = 0;            // or by this, when not 0

  index_t work() const { return n * c * h.out * w.out * h.kernel * w.kernel; }
  index_t divide_by(index_t y, index_t x) const {
    if (divisor != 0) return divisor;
    return count_include_pad ? h.with_padding(y) * w.with_padding(x) : h.inside(y) * w.inside(x);
  }
};

inline namespace ADZE_ISA {

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
          std::fill_n(row, s.w.in * gx.w_stride, T(0));
        else
          for (index_t x = 0; x < s.w.in; ++x, row += gx.w_stride) std::fill_n(row, c1 - c0, T(0));
      }
      for (index_t i = 0; i < s.h.out; ++i)
        for (index_t j = 0; j < s.w.out; ++j) f(table.at(n, i, j), c0, c1);
    }
  });
}

template <class P, class T> P load_some(const T* p, index_t n) {
  return n >= P::size ? P::load(p) : P::load_partial(p, n);
}
template <class P, class T> void store_some(P v, T* p, index_t n) {
  n >= P::size ? v.store(p) : v.store_partial(p, n);
}

// Maximum of each window, NaN first of all; -infinity where a window has no pixel. Where `at` has
// memory it gets the position y * w + x of the maximum in the input: the first of equal ones, the
// last NaN (as in PyTorch), -1 for none.
template <class T, class A = simd::row_tag<T>>
void max_pool(const pool_shape& s, std::type_identity_t<image<const T>> x, image<T> y,
              image<pixel_index> at) {
  using P = simd::pack<T, A>;
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  const bool exact = s.h.in * s.w.in < index_t(1) << 24;  // lanes hold positions as T
  const bool lanes = P::size > 1 && x.c_stride == 1 && y.c_stride == 1 && exact;
  each_output(s, lanes, [&](const pool_span& p, index_t c0, index_t c1) {
    const index_t first = p.empty() ? -1 : p.y0 * s.w.in + p.x0;
    const T* from = x.at(p.n, 0, 0);
    T* to = y.at(p.n, p.i, p.j);
    pixel_index* place = at.data ? at.at(p.n, p.i, p.j) : nullptr;
    for (index_t c = c0; lanes && c < c1; c += P::size) {
      const index_t count = std::min(P::size, c1 - c);
      P best(lowest), where_best(static_cast<T>(first));
      each_pixel(p, x, from + c, [&](const T* pixel, index_t row, index_t column) {
        const P v = load_some<P>(pixel, count);
        const P here(static_cast<T>(row * s.w.in + column));
        where_best = where(v == v, where(v > best, here, where_best), here);
        best = where(v == v, greater_of(v, best), v);
      });
      store_some(best, to + c, count);
      if (!place) continue;
      T positions[P::width];
      pixel_index whole[P::width];  // of all lanes: one conversion, not one for each channel
      where_best.store(positions);
      for (std::size_t q = 0; q < P::width; ++q) whole[q] = static_cast<pixel_index>(positions[q]);
      for (index_t q = 0; q < count; ++q) place[(c + q) * at.c_stride] = whole[q];
    }
    for (index_t c = c0; !lanes && c < c1; ++c) {
      T best = lowest;
      index_t where_best = first;
      each_pixel(p, x, from + c * x.c_stride, [&](const T* pixel, index_t row, index_t column) {
        const bool take = *pixel > best || *pixel != *pixel;
        best = take ? *pixel : best;
        where_best = take ? row * s.w.in + column : where_best;
      });
      to[c * y.c_stride] = best;
      if (place) place[c * at.c_stride] = static_cast<pixel_index>(where_best);
    }
  });
}

// gx = 0, then gy of each window added where its maximum was.
template <class T>
void max_pool_backward(const pool_shape& s, std::type_identity_t<image<const T>> gy,
                       image<const pixel_index> at, std::type_identity_t<image<T>> gx) {
  const bool dense = gx.h_stride == s.w.in * gx.w_stride;
  each_scatter(s, gx, gx.c_stride == 1, [&](const pool_span& p, index_t c0, index_t c1) {
    const T* from = gy.at(p.n, p.i, p.j);
    const pixel_index* place = at.at(p.n, p.i, p.j);
    T* to = gx.at(p.n, 0, 0);
    for (index_t c = c0; c < c1; ++c) {
      const index_t k = place[c * at.c_stride];
      if (k < 0) continue;
      const index_t pixel =
          dense ? k * gx.w_stride : k / s.w.in * gx.h_stride + k % s.w.in * gx.w_stride;
      to[pixel + c * gx.c_stride] += from[c * gy.c_stride];
    }
  });
}

// Mean of each window: the sum of its pixels over s.divide_by.
template <class T, class A = simd::row_tag<T>>
void avg_pool(const pool_shape& s, std::type_identity_t<image<const T>> x, image<T> y) {
  using P = simd::pack<T, A>;
  const bool lanes = P::size > 1 && x.c_stride == 1 && y.c_stride == 1;
  each_output(s, lanes, [&](const pool_span& p, index_t c0, index_t c1) {
    const T* from = x.at(p.n, 0, 0);
    T* to = y.at(p.n, p.i, p.j);
    const T divisor = static_cast<T>(s.divide_by(p.i, p.j));
    for (index_t c = c0; lanes && c < c1; c += P::size) {
      const index_t count = std::min(P::size, c1 - c);
      P sum(T(0));
      each_pixel(p, x, from + c,
                 [&](const T* pixel, index_t, index_t) { sum = sum + load_some<P>(pixel, count); });
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

}  // namespace ADZE_ISA
}  // namespace adze::kernels
