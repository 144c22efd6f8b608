#pragma once
// SPDX-License-Identifier: MIT
// Max and average pooling of float and double, fixed windows and adaptive ones, forward and
// backward, on images with any strides; lanes run along channels where they are adjacent. Images,
// rows and channels are split among threads, never sums: the same bits for any number of them.
#include <limits>

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
template <class P, class T> void store_some(P v, T* p, index_t n) {
  n >= P::size ? v.store(p) : v.store_partial(p, n);
}

// The maxima of a row of windows and, where `at` has memory, their positions; channels are
// adjacent. A function of its own: among more loops g++ moves every pointer to a vector register
// and back.
template <class T, class A>
[[gnu::noinline]] void max_of_row(const pool_table& table, const pool_shape& s, index_t n,
                                  index_t i, const image<const T>& x, const image<T>& y,
                                  const image<pixel_index>& at) {
  using P = simd::pack<T, A>;
  const P lowest(-std::numeric_limits<T>::infinity()), next(static_cast<T>(table.x_step));
  const index_t h_step = table.y_step * x.h_stride, w_step = table.x_step * x.w_stride;
  for (index_t j = 0; j < s.w.out; ++j) {
    const pool_span p = table.at(n, i, j);
    const T* const from = x.at(n, 0, 0);
    T* const to = y.at(n, i, j);
    pixel_index* const place = at.data ? at.at(n, i, j) : nullptr;
    for (index_t c = 0; c < s.c; c += P::size) {
      const index_t count = std::min(P::size, s.c - c);
      P best = lowest, best_at(p.empty() ? T(-1) : static_cast<T>(p.y0 * s.w.in + p.x0));
      index_t row = c + p.y0 * x.h_stride + p.x0 * x.w_stride;
      for (index_t k = p.y0; k < p.y1; k += p.y_step, row += h_step) {
        P here(static_cast<T>(k * s.w.in + p.x0));
        index_t pixel = row;
        for (index_t q = p.x0; q < p.x1; q += p.x_step, pixel += w_step, here = here + next) {
          const P v = load_some<P>(from + pixel, count);
          best_at = where(v == v, where(v > best, here, best_at), here);
          best = where(v == v, greater_of(v, best), v);
        }
      }
      store_some(best, to + c, count);
      if (!place) continue;
      T positions[P::width];
      pixel_index whole[P::width];  // of all lanes: one conversion, not one for each channel
      best_at.store(positions);
      for (std::size_t q = 0; q < P::width; ++q) whole[q] = static_cast<pixel_index>(positions[q]);
      if (at.c_stride == 1 && count == P::size)
        std::copy_n(whole, P::width, place + c);
      else
        for (index_t q = 0; q < count; ++q) place[(c + q) * at.c_stride] = whole[q];
    }
  }
}

// Maximum of each window, NaN first of all; -infinity where a window has no pixel. Where `at` has
// memory it gets the position y * w + x of the maximum in the input: the first of equal ones, the
// last NaN (as in PyTorch), -1 for none.
template <class T, class A = simd::row_tag<T>>
void max_pool(const pool_shape& s, std::type_identity_t<image<const T>> x, image<T> y,
              image<pixel_index> at) {
  const bool exact = s.h.in * s.w.in < index_t(1) << 24;  // lanes hold positions as T
  if (simd::pack<T, A>::size > 1 && x.c_stride == 1 && y.c_stride == 1 && exact) {
    const pool_table table(s);
    return split_work(s.n * s.h.out, s.work(), [&](index_t first, index_t last) {
      for (index_t k = first; k < last; ++k)
        max_of_row<T, A>(table, s, k / s.h.out, k % s.h.out, x, y, at);
    });
  }
  each_output(s, false, [&](const pool_span& p, index_t c, index_t) {
    T best = -std::numeric_limits<T>::infinity();
    index_t best_at = p.empty() ? -1 : p.y0 * s.w.in + p.x0;
    const T* const from = x.at(p.n, 0, 0) + c * x.c_stride;
    each_pixel(p, x, from, [&](const T* pixel, index_t row, index_t column) {
      const bool take = *pixel > best || *pixel != *pixel;
      best = take ? *pixel : best;
      best_at = take ? row * s.w.in + column : best_at;
    });
    y.at(p.n, p.i, p.j)[c * y.c_stride] = best;
    if (at.data) at.at(p.n, p.i, p.j)[c * at.c_stride] = static_cast<pixel_index>(best_at);
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

}  // namespace adze::kernels::inline ADZE_ISA
