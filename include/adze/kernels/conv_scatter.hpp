#pragma once
// SPDX-License-Identifier: MIT
// The input's gradient of convolutions whose maps shrink, such as 5x5 from 12x12 to 8x8 pixels: as
// a correlation they would multiply mostly padding. Here each image's gradient times all weights
// is one product, whose rows are then added to the input pixels they came from, in fixed order.
#include <adze/kernels/conv_weight.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Whether the correlation would do half as much again as the convolution did, or would fill a few
// lanes of its tiles: the gradient of a first layer's input (benchmarks/conv).
inline bool prefers_scatter(const conv_shape& s) {
  const index_t outputs = s.out_h() * s.out_w() * s.stride_h * s.stride_w;
  return s.groups == 1 && s.n > 0 && s.o <= 256 && s.kh * s.kw > 1 &&
         (s.c <= 4 || 2 * s.h * s.w >= 3 * outputs);
}

// to[0, n) += from[0, n)
template <class T, class A> inline void add_run(const T* from, index_t n, T* to) {
  using P = simd::pack<T, A>;
  index_t i = 0;
  for (; i + P::size <= n; i += P::size) (P::load(to + i) + P::load(from + i)).store(to + i);
  if (const index_t rest = n - i; rest > 0)
    (P::load_partial(to + i, rest) + P::load_partial(from + i, rest)).store_partial(to + i, rest);
}

// products(pixel, tap, channel) of rows [first, last) of one image's outputs, added to where they
// belong: a row of taps at once where their inputs are neighbours in memory.
template <class T, class A>
[[gnu::noinline]] void scatter_rows(const conv_shape& s, const T* products, image<T> gx, index_t n,
                                    index_t first, index_t last) {
  const bool adjacent = s.dil_w == 1 && gx.w_stride == s.c;
  for (index_t y = first; y < last; ++y)
    for (index_t x = 0; x < s.out_w(); ++x)
      for (index_t i = 0; i < s.kh; ++i, products += s.kw * s.c) {
        const index_t row = y * s.stride_h - s.pad_h + i * s.dil_h;
        if (row < 0 || row >= s.h) continue;
        const index_t left = x * s.stride_w - s.pad_w;
        if (adjacent) {
          const index_t begin = std::max<index_t>(0, -left), end = std::min(s.kw, s.w - left);
          if (begin < end)
            add_run<T, A>(products + begin * s.c, (end - begin) * s.c, gx.at(n, row, left + begin));
          continue;
        }
        for (index_t j = 0; j < s.kw; ++j)
          if (const index_t column = left + j * s.dil_w; column >= 0 && column < s.w)
            add_run<T, A>(products + j * s.c, s.c, gx.at(n, row, column));
      }
}

template <class T, class A>
void scatter_gradient(const conv_shape& s, image<const T> gy, const T* weight, image<T> gx,
                      const epilogue<T>& finish) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  const index_t area = s.kh * s.kw, width = area * s.c;
  const auto p = forward_correlation<T>(s, image<const T>{});
  T* panels = scratch<T, scratch_use::panels>((width + panel - 1) / panel * panel * s.o);
  for (index_t q = 0; q < width; q += panel) {  // weights as o x (tap, channel)
    T* to = panels + q * s.o;
    for (index_t o = 0; o < s.o; ++o)
      for (index_t k = q; k < q + panel; ++k)
        *to++ = k < width ? weight[(o * s.c + k % s.c) * area + k / s.c] : T(0);
  }
  // Rows of outputs whose products stay in the L2 cache.
  const index_t most = (index_t(512) << 10) / index_t(sizeof(T)) / (s.out_w() * width);
  const index_t band = balanced_block(s.out_h(), std::max<index_t>(most, 1), 1);
  split_chunks(s.n, 1, s.work(), [&](index_t n, index_t) {
    T* products = scratch<T, scratch_use::window>(band * s.out_w() * width);
    for (index_t y = 0; y < s.h; ++y)
      for (index_t x = 0; x < s.w; ++x) fill_zeros(gx.at(n, y, x), s.c);
    for (index_t y = 0; y < s.out_h(); y += band) {
      const index_t last = std::min(y + band, s.out_h());
      strips<T> t;
      t.rows = (last - y) * s.out_w(), t.cols = width, t.depth = s.o;
      t.a = gradient_rows(p, gy, s.o, n * s.out_h() + y, n * s.out_h() + last, t.a_row_step);
      t.b = panels, t.b_step = panel, t.b_panel = panel * s.o;
      t.c = products, t.c_row_step = width;
      split_work(strip_count<T, A>(t.rows), t.rows * width * s.o,  // of one image alone
                 [&](index_t i0, index_t i1) { run_strips<T, A>(t, i0, i1); });
      scatter_rows<T, A>(s, products, gx, n, y, last);
    }
    if (!finish.empty())
      for (index_t y = 0; y < s.h; ++y)
        for (index_t x = 0; x < s.w; ++x) apply<T, A>(finish, gx.at(n, y, x), 0, 0, s.c);
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
