#pragma once
// SPDX-License-Identifier: MIT
// The input's gradient of convolutions whose maps shrink, such as 5x5 from 12x12 to 8x8 pixels: as
// a correlation they would multiply mostly padding. Here each image's gradient times all weights
// is one product, from whose rows each input pixel then sums what it gets, in the order of outputs.
#include <adze/kernels/conv_weight.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Whether the correlation would do half as much again as the convolution did, or would fill a few
// lanes of its tiles: the gradient of a first layer's input (benchmarks/conv).
inline bool prefers_scatter(const conv_shape& s) {
  const index_t outputs = s.out_h() * s.out_w() * s.stride_h * s.stride_w;
  return s.groups == 1 && s.n > 0 && outputs > 0 && s.o <= 256 && s.kh * s.kw > 1 &&
         (s.c <= 4 || 2 * s.h * s.w >= 3 * outputs);
}

// What one input gets along an axis: products of `count` outputs, `out` and ones behind it at equal
// distances, with `tap` and ones before it.
struct tap_run {
  index_t out = 0, tap = 0, count = 0;
};
// For input a of a backward_axis, among outputs [first, last).
inline tap_run taps_of(const correlation_axis& axis, index_t a, index_t first, index_t last) {
  const index_t step = -axis.shift_step, top = a + axis.shift;  // top - t * step reads tap t
  if (axis.taps == 0 || top < first) return {};
  const index_t high = std::min(axis.taps - 1, (top - first) / step);
  const index_t low = top < last ? 0 : (top - last) / step + 1;
  return {top - high * step, axis.tap + high * axis.tap_step, std::max<index_t>(high - low + 1, 0)};
}

// One image's gradient from products(tap, channel), `pixel` apart for each of them, of rows [first,
// last) of its outputs, after those of [0, first). Sums stay in registers: adding products to
// memory one by one would wait for the stores of the pixel before, which overlap what is loaded.
template <class T, class A>
[[gnu::noinline]] void gather_rows(const conv_shape& s, const T* products, image<T> gx, index_t n,
                                   index_t first, index_t last, index_t pixel,
                                   const tap_run* columns) {
  using P = simd::pack<T, A>;
  const index_t row = s.out_w() * pixel;
  const index_t q_h = s.stride_h / std::gcd(s.stride_h, s.dil_h);
  const index_t q_w = s.stride_w / std::gcd(s.stride_w, s.dil_w);
  const index_t down = q_h * s.dil_h / s.stride_h * row - q_h * s.kw * s.c;
  const index_t right = q_w * s.dil_w / s.stride_w * pixel - q_w * s.c;
  // Rows before reach(k) get something from outputs [0, k), rows behind it do not.
  const auto reach = [&](index_t k) {
    const index_t end = (k - 1) * s.stride_h - s.pad_h + s.dil_h * (s.kh - 1) + 1;
    return k == 0 ? 0 : k == s.out_h() ? s.h : std::clamp<index_t>(end, 0, s.h);
  };
  const index_t old = reach(first), end = reach(last);
  for (index_t y = std::clamp<index_t>(first * s.stride_h - s.pad_h, 0, old); y < end; ++y) {
    const bool more = y < old;
    const auto axis =
        backward_axis(s.h, s.out_h(), s.kh, s.stride_h, s.pad_h, s.dil_h, y % s.stride_h);
    const tap_run r = taps_of(axis, y / s.stride_h, first, last);
    const T* const top = products + (r.out - first) * row + r.tap * s.kw * s.c;
    for (index_t x = 0; x < s.w; ++x) {
      const tap_run c = columns[x];
      T* const to = gx.at(n, y, x);
      const auto sum = [&](const T* at, P all, auto load) __attribute__((always_inline)) {
        for (index_t i = 0; i < r.count; ++i, at += down) {
          const T* next = at;
          for (index_t j = 0; j < c.count; ++j, next += right) all = all + load(next);
        }
        return all;
      };
      const T* from = top + c.out * pixel + c.tap * s.c;
      index_t v = 0;
      for (; v + P::size <= s.c; v += P::size)
        sum(from + v, more ? P::load(to + v) : P(T(0)), [](const T* p) {
          return P::load(p);
        }).store(to + v);
      if (const index_t rest = s.c - v; rest > 0)
        sum(from + v, more ? P::load_partial(to + v, rest) : P(T(0)), [rest](const T* p) {
          return P::load_partial(p, rest);
        }).store_partial(to + v, rest);
    }
  }
}

template <class T, class A>
void scatter_gradient(const conv_shape& s, image<const T> gy, const T* weight, image<T> gx,
                      const epilogue<T>& finish) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  const index_t area = s.kh * s.kw, width = area * s.c;
  const index_t whole = (width + panel - 1) / panel * panel;
  // Two edges cost more than a tile that computes zeros, one does not; masked ones are tiles.
  const bool fill = !strip_functions<T, A>::masked && width % panel > panel / 2;
  const index_t wide = fill ? whole : width;  // of the products of a pixel
  const auto p = forward_correlation<T>(s, image<const T>{});
  T* panels = scratch<T, scratch_use::panels>(whole * s.o);
  for (index_t q = 0; q < width; q += panel) {  // weights as o x (tap, channel)
    T* to = panels + q * s.o;
    for (index_t o = 0; o < s.o; ++o)
      for (index_t k = q; k < q + panel; ++k)
        *to++ = k < width ? weight[(o * s.c + k % s.c) * area + k / s.c] : T(0);
  }
  tap_run* const columns = scratch<tap_run, scratch_use::taps>(s.w);
  for (index_t x = 0; x < s.w; ++x) {
    const auto axis =
        backward_axis(s.w, s.out_w(), s.kw, s.stride_w, s.pad_w, s.dil_w, x % s.stride_w);
    columns[x] = taps_of(axis, x / s.stride_w, 0, s.out_w());
  }
  // Rows of outputs whose products stay in the L2 cache.
  const index_t most = (index_t(512) << 10) / index_t(sizeof(T)) / (s.out_w() * wide);
  const index_t band = balanced_block(s.out_h(), std::max<index_t>(most, 1), 1);
  split_chunks(s.n, 1, s.work(), [&](index_t n, index_t) {
    T* products = scratch<T, scratch_use::window>(band * s.out_w() * wide);
    for (index_t y = 0; y < s.out_h(); y += band) {
      const index_t last = std::min(y + band, s.out_h());
      strips<T> t;
      t.rows = (last - y) * s.out_w(), t.cols = wide, t.depth = s.o;
      t.a = gradient_rows(p, gy, s.o, n * s.out_h() + y, n * s.out_h() + last, t.a_row_step);
      t.b = panels, t.b_step = panel, t.b_panel = panel * s.o;
      t.c = products, t.c_row_step = wide;
      split_work(strip_count<T, A>(t.rows), t.rows * wide * s.o,  // of one image alone
                 [&](index_t i0, index_t i1) { run_strips<T, A>(t, i0, i1); });
      gather_rows<T, A>(s, products, gx, n, y, last, wide, columns);
    }
    if (!finish.empty())
      for (index_t y = 0; y < s.h; ++y)
        for (index_t x = 0; x < s.w; ++x) apply<T, A>(finish, gx.at(n, y, x), 0, 0, s.c);
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
