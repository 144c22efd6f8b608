#pragma once
// SPDX-License-Identifier: MIT
// Max and average pooling of float and double, fixed windows and adaptive ones, forward and
// backward, on images with any strides. Lanes run along channels where they are adjacent. Pixels
// of a window are visited in row order, images and channels are split, never sums: the same bits
// for any thread count.
#include <limits>

#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels {

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

// Output size by PyTorch's rule: floor, or ceiling without windows that begin in the right padding.
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

// f(y, x) for the pixels of window (i, j), in row order.
template <class F>
[[gnu::always_inline]] inline void each_pixel(const pool_shape& s, index_t i, index_t j, F f) {
  for (index_t y = s.h.begin(i); y < s.h.end(i); y += s.h.dilation)
    for (index_t x = s.w.begin(j); x < s.w.end(j); x += s.w.dilation) f(y, x);
}

// f(image, row, column) of the outputs; rows are split among threads.
template <class F> void each_output(const pool_shape& s, F f) {
  split_work(s.n * s.h.out, s.work(), [&](index_t first, index_t last) {
    for (index_t row = first; row < last; ++row)
      for (index_t j = 0; j < s.w.out; ++j) f(row / s.h.out, row % s.h.out, j);
  });
}

// f(image, first channel, last channel), images and blocks of channels split among threads; gx
// there is zero.
template <class T, class F> void each_plane(const pool_shape& s, image<T> gx, F f) {
  constexpr index_t block = 32;
  const index_t blocks = (s.c + block - 1) / block;
  split_work(s.n * blocks, s.work(), [&](index_t first, index_t last) {
    for (index_t i = first; i < last; ++i) {
      const index_t n = i / blocks, c0 = i % blocks * block, c1 = std::min(c0 + block, s.c);
      for (index_t y = 0; y < s.h.in; ++y)
        for (index_t x = 0; x < s.w.in; ++x)
          for (index_t c = c0; c < c1; ++c) gx.at(n, y, x)[c * gx.c_stride] = T(0);
      f(n, c0, c1);
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
// memory it gets the position y * w + x of the maximum in the input, the first of equal ones, the
// last NaN (as in PyTorch), -1 for none; its strides are in elements, like those of y.
template <class T, class A = simd::native>
void max_pool(const pool_shape& s, std::type_identity_t<image<const T>> x, image<T> y,
              image<index_t> at) {
  using P = simd::pack<T, A>;
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  // Lanes hold positions as T: exactly, in images of less than 2^24 pixels.
  const bool lanes = x.c_stride == 1 && y.c_stride == 1 && s.h.in * s.w.in < index_t(1) << 24;
  each_output(s, [&](index_t n, index_t i, index_t j) {
    const T* from = x.at(n, 0, 0);
    T* to = y.at(n, i, j);
    index_t* place = at.data ? at.at(n, i, j) : nullptr;
    const bool any = s.h.inside(i) > 0 && s.w.inside(j) > 0;
    const index_t first = any ? s.h.begin(i) * s.w.in + s.w.begin(j) : -1;
    for (index_t c = 0; lanes && c < s.c; c += P::size) {
      const index_t count = s.c - c;
      P best(lowest), where_best(static_cast<T>(first));
      each_pixel(s, i, j, [&](index_t row, index_t column) {
        const P v = load_some<P>(from + row * x.h_stride + column * x.w_stride + c, count);
        const auto take = (v > best) | (v != v);
        best = where(take, v, best);
        where_best = where(take, P(static_cast<T>(row * s.w.in + column)), where_best);
      });
      store_some(best, to + c, count);
      if (!place) continue;
      T positions[P::width];
      where_best.store(positions);
      for (index_t q = 0; q < std::min(P::size, count); ++q)
        place[(c + q) * at.c_stride] = static_cast<index_t>(positions[q]);
    }
    for (index_t c = 0; !lanes && c < s.c; ++c) {
      T best = lowest;
      index_t where_best = first;
      each_pixel(s, i, j, [&](index_t row, index_t column) {
        const T v = from[row * x.h_stride + column * x.w_stride + c * x.c_stride];
        if (v > best || v != v) best = v, where_best = row * s.w.in + column;
      });
      to[c * y.c_stride] = best;
      if (place) place[c * at.c_stride] = where_best;
    }
  });
}

// gx = 0, then gy of each window added where its maximum was.
template <class T>
void max_pool_backward(const pool_shape& s, std::type_identity_t<image<const T>> gy,
                       image<const index_t> at, std::type_identity_t<image<T>> gx) {
  each_plane(s, gx, [&](index_t n, index_t c0, index_t c1) {
    for (index_t i = 0; i < s.h.out; ++i)
      for (index_t j = 0; j < s.w.out; ++j) {
        const T* from = gy.at(n, i, j);
        const index_t* place = at.at(n, i, j);
        for (index_t c = c0; c < c1; ++c) {
          const index_t p = place[c * at.c_stride];
          if (p < 0) continue;
          gx.at(n, p / s.w.in, p % s.w.in)[c * gx.c_stride] += from[c * gy.c_stride];
        }
      }
  });
}

// Mean of each window: the sum of its pixels over s.divide_by.
template <class T, class A = simd::native>
void avg_pool(const pool_shape& s, std::type_identity_t<image<const T>> x, image<T> y) {
  using P = simd::pack<T, A>;
  const bool lanes = x.c_stride == 1 && y.c_stride == 1;
  each_output(s, [&](index_t n, index_t i, index_t j) {
    const T* from = x.at(n, 0, 0);
    T* to = y.at(n, i, j);
    const T divisor = static_cast<T>(s.divide_by(i, j));
    for (index_t c = 0; lanes && c < s.c; c += P::size) {
      P sum(T(0));
      each_pixel(s, i, j, [&](index_t row, index_t column) {
        sum = sum + load_some<P>(from + row * x.h_stride + column * x.w_stride + c, s.c - c);
      });
      store_some(sum / P(divisor), to + c, s.c - c);
    }
    for (index_t c = 0; !lanes && c < s.c; ++c) {
      T sum = 0;
      each_pixel(s, i, j, [&](index_t row, index_t column) {
        sum += from[row * x.h_stride + column * x.w_stride + c * x.c_stride];
      });
      to[c * y.c_stride] = sum / divisor;
    }
  });
}

// gx = 0, then gy / s.divide_by added to every pixel of the window.
template <class T, class A = simd::native>
void avg_pool_backward(const pool_shape& s, std::type_identity_t<image<const T>> gy, image<T> gx) {
  using P = simd::pack<T, A>;
  const bool lanes = gx.c_stride == 1 && gy.c_stride == 1;
  each_plane(s, gx, [&](index_t n, index_t c0, index_t c1) {
    for (index_t i = 0; i < s.h.out; ++i)
      for (index_t j = 0; j < s.w.out; ++j) {
        const T* from = gy.at(n, i, j);
        const T divisor = static_cast<T>(s.divide_by(i, j));
        for (index_t c = c0; lanes && c < c1; c += P::size) {
          const P g = load_some<P>(from + c, c1 - c) / P(divisor);
          each_pixel(s, i, j, [&](index_t row, index_t column) {
            T* to = gx.at(n, row, column) + c;
            store_some(load_some<P>(to, c1 - c) + g, to, c1 - c);
          });
        }
        for (index_t c = c0; !lanes && c < c1; ++c) {
          const T g = from[c * gy.c_stride] / divisor;
          each_pixel(s, i, j, [&](index_t row, index_t column) {
            gx.at(n, row, column)[c * gx.c_stride] += g;
          });
        }
      }
  });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
