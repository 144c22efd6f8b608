#pragma once
// SPDX-License-Identifier: MIT
// Max pooling of float and double, forward with the places of the maxima, and backward.
#include <limits>

#include <adze/kernels/pool.hpp>

namespace adze::kernels::inline ADZE_ISA {

// The better of two maxima and its place; `v` comes later in its window.
template <class P>
[[gnu::always_inline]] inline void keep_maximum(P& best, P& best_at, P v, P here) {
  best_at = where(v == v, where(v > best, here, best_at), here);
  best = where(v == v, greater_of(v, best), v);
}

// The first n < 2 * most elements, by parts of constant size: the compiler makes a loop of few
// turns one slow instruction that copies bytes.
template <std::size_t most, class T> void copy_first(const T* from, index_t n, T* to) {
  if (n & index_t(most)) {
    std::copy_n(from, most, to);
    from += most, to += most;
  }
  if constexpr (most > 1) copy_first<most / 2>(from, n, to);
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
  const T* const end = image_end(s, x, n);
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
        for (index_t q = p.x0; q < p.x1; q += p.x_step, pixel += w_step, here = here + next)
          keep_maximum(best, best_at, load_inside<P>(from + pixel, count, end), here);
      }
      store_some(best, to + c, count);
      if (!place) continue;
      T positions[P::width];
      pixel_index whole[P::width];  // of all lanes: one conversion, not one for each channel
      best_at.store(positions);
      for (std::size_t q = 0; q < P::width; ++q) whole[q] = static_cast<pixel_index>(positions[q]);
      if (at.c_stride == 1)
        copy_first<P::width>(whole, count, place + c);
      else
        for (index_t q = 0; q < count; ++q) place[(c + q) * at.c_stride] = whole[q];
    }
  }
}

// Whether few channels of neighbouring pixels fill a vector better than those of one pixel, in rows
// that stay in cache and all of whose windows are whole.
template <class T, class A> bool dense_windows(const pool_shape& s, index_t w_stride) {
  const pool_axis& w = s.w;
  return w_stride == s.c && w.stride * s.c <= simd::pack<T, A>::size && !w.adaptive && w.pad == 0 &&
         w.dilation == 1 && w.start(w.out - 1) + w.kernel <= w.in && w.in * s.c <= index_t(1) << 13;
}

// The same as max_of_row for dense_windows: the maxima of windows at every pixel, of which those
// that are asked for are kept. `columns` holds the column of each element of a row.
template <class T, class A>
[[gnu::noinline]] void max_of_dense_row(const pool_table& table, const pool_shape& s, index_t n,
                                        index_t i, const image<const T>& x, const image<T>& y,
                                        const image<pixel_index>& at, const T* columns) {
  using P = simd::pack<T, A>;
  const index_t step = s.w.stride * s.c, size = (s.w.out - 1) * step + s.c;
  const pool_span p = table.at(n, i, 0);
  const T* const end = image_end(s, x, n);
  T* const best = scratch<T, scratch_use::pixels>(2 * (size + P::size));
  T* const places = best + size + P::size;
  for (index_t e = 0; e < size; e += P::size) {
    const index_t count = size - e;
    const P column = P::load(columns + e);
    P most(-std::numeric_limits<T>::infinity());
    P place = p.empty() ? P(T(-1)) : column + P(static_cast<T>(p.y0 * s.w.in));
    for (index_t row = p.y0; row < p.y1; row += p.y_step) {
      const T* pixel = x.at(n, row, 0) + e;
      P here = column + P(static_cast<T>(row * s.w.in));
      for (index_t q = 0; q < s.w.kernel; ++q, pixel += s.c, here = here + P(T(1)))
        keep_maximum(most, place, load_inside<P>(pixel, count, end), here);
    }
    most.store(best + e), place.store(places + e);
  }
  for (index_t j = 0, e = 0; j < s.w.out; ++j, e += step) {
    store_some(P::load(best + e), y.at(n, i, j), s.c);
    if (!at.data) continue;
    pixel_index* const to = at.at(n, i, j);
    for (index_t c = 0; c < s.c; ++c) to[c * at.c_stride] = static_cast<pixel_index>(places[e + c]);
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
    const bool dense = dense_windows<T, A>(s, x.w_stride);
    return split_work(s.n * s.h.out, s.work(), [&](index_t first, index_t last) {
      const index_t size = dense ? s.w.in * s.c : 0;
      T* const columns = scratch<T, scratch_use::window>(size + simd::pack<T, A>::size);
      for (index_t k = 0; k < size; ++k) columns[k] = static_cast<T>(k / s.c);
      for (index_t k = first; k < last; ++k)
        if (dense) {
          max_of_dense_row<T, A>(table, s, k / s.h.out, k % s.h.out, x, y, at, columns);
        } else {
          max_of_row<T, A>(table, s, k / s.h.out, k % s.h.out, x, y, at);
        }
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

}  // namespace adze::kernels::inline ADZE_ISA
