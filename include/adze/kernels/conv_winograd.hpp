#pragma once
// SPDX-License-Identifier: MIT
// Convolutions of 3 x 3 with stride 1 by Winograd's minimal filtering, F(m x m, 3 x 3), m = 2 or 4:
// images and weights are transformed, multiplied plane by plane (16 or 36 matrix products), and the
// products are transformed back: 2.25 or 4 times fewer multiplications. Rounding grows with m: the
// error is within 1e-5 (m = 2) and 5e-5 (m = 4) of the largest output. Lavin & Gray 2016.
#include <atomic>

#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels {

inline constinit std::atomic<bool> winograd_allowed{true};

inline namespace ADZE_ISA {

// The three transforms of one line: input b = B^T d, weight u = G g, output y = A^T v.
template <int m> struct winograd_lines;

template <> struct winograd_lines<2> {
  template <class P> static void input(const P* d, P* b) {
    b[0] = d[0] - d[2];
    b[1] = d[1] + d[2];
    b[2] = d[2] - d[1];
    b[3] = d[1] - d[3];
  }
  template <class P> static void weight(const P* g, P* u) {
    const P half(0.5f), sum = half * (g[0] + g[2]), odd = half * g[1];
    u[0] = g[0];
    u[1] = sum + odd;
    u[2] = sum - odd;
    u[3] = g[2];
  }
  template <class P> static void output(const P* v, P* y) {
    y[0] = v[0] + v[1] + v[2];
    y[1] = v[1] - v[2] - v[3];
  }
};

template <> struct winograd_lines<4> {
  template <class P> static void input(const P* d, P* b) {
    const P two(2.0f), four(4.0f), five(5.0f);
    b[0] = fma(four, d[0], d[4]) - five * d[2];
    const P even = d[4] - four * d[2], odd = d[3] - four * d[1];
    b[1] = even + odd;
    b[2] = even - odd;
    const P near = d[4] - d[2], far = two * (d[3] - d[1]);
    b[3] = near + far;
    b[4] = near - far;
    b[5] = fma(four, d[1], d[5]) - five * d[3];
  }
  template <class P> static void weight(const P* g, P* u) {
    const P sixth(1.0f / 6), small(1.0f / 24), twelfth(1.0f / 12);
    u[0] = P(0.25f) * g[0];
    const P sum = sixth * (g[0] + g[2]), odd = sixth * g[1];
    u[1] = P(0.0f) - sum - odd;
    u[2] = odd - sum;
    const P wide = fma(small, g[0], sixth * g[2]), mid = twelfth * g[1];
    u[3] = wide + mid;
    u[4] = wide - mid;
    u[5] = g[2];
  }
  template <class P> static void output(const P* v, P* y) {
    const P two(2.0f), four(4.0f), eight(8.0f);
    const P near = v[1] + v[2], near_odd = v[1] - v[2];
    const P far = v[3] + v[4], far_odd = v[3] - v[4];
    y[0] = v[0] + near + far;
    y[1] = fma(two, far_odd, near_odd);
    y[2] = fma(four, far, near);
    y[3] = fma(eight, far_odd, near_odd) + v[5];
  }
};

// The columns, then the rows of a square of `from` x `from` packs become `to` x `to`.
template <int from, int to, class P, class F>
[[gnu::always_inline]] inline void transform_square(const P* in, P* out, F f) {
  P middle[from * to];
#pragma GCC unroll 6
  for (int j = 0; j < from; ++j) {
    P line[from], done[to];
#pragma GCC unroll 6
    for (int i = 0; i < from; ++i) line[i] = in[i * from + j];
    f(line, done);
#pragma GCC unroll 6
    for (int i = 0; i < to; ++i) middle[i * from + j] = done[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < to; ++i) f(middle + i * from, out + i * to);
}

// Weights of one correlation: tap t of (input k, output o) at data[k * k_step + o * o_step + t],
// the taps in reverse order when `flipped`.
template <class T> struct winograd_weights {
  const T* data = nullptr;
  index_t k_step = 0, o_step = 0;
  bool flipped = false;
};

// Sizes and memory of one call. Planes of U: panels of depth `in`, as the strips of tiles read
// them.
template <class T, class A, int m> struct winograd_plan {
  static constexpr int side = m + 2, planes = side * side;
  static constexpr index_t lanes = simd::pack<T, A>::size, panel = tile_shape<T, A>::panel;

  index_t in, outs, h, w, out_h, out_w, pad_h, pad_w;

  index_t panels() const { return (outs + panel - 1) / panel; }
  index_t plane() const { return panels() * panel * in; }
  index_t tiles_down() const { return (out_h + m - 1) / m; }
  index_t tiles_across() const { return (out_w + m - 1) / m; }
  // Rows of the transformed images and products are a cache line apart from powers of two.
  index_t in_row() const { return in + 64 / index_t(sizeof(T)); }
  index_t out_row() const { return outs + 64 / index_t(sizeof(T)); }
  // Tiles whose images and products fit the L2 cache together, in whole strips.
  index_t block() const {
    const index_t bytes = planes * (in_row() + out_row()) * index_t(sizeof(T));
    return std::clamp<index_t>((index_t(768) << 10) / bytes / 6 * 6, 12, 96);
  }
};

template <class T, class A, int m>
void winograd_pack(const winograd_plan<T, A, m>& p, const winograd_weights<T>& w, index_t first,
                   index_t last, T* u) {
  using P = simd::pack<T, A>;
  using plan = winograd_plan<T, A, m>;
  alignas(64) T taps[9 * static_cast<std::size_t>(plan::panel)];
  for (index_t q = first; q < last; ++q)
    for (index_t k = 0; k < p.in; ++k) {
      const index_t cols = std::min(plan::panel, p.outs - q * plan::panel);
      const T* from = w.data + k * w.k_step + q * plan::panel * w.o_step;
      pack_panels<T, A>({from, 9, cols, 1, w.o_step}, taps);
      for (index_t v = 0; v < plan::panel; v += plan::lanes) {
        P g[9], all[plan::planes];
        for (int t = 0; t < 9; ++t)
          g[t] = P::load(taps + (w.flipped ? 8 - t : t) * plan::panel + v);
        transform_square<3, plan::side>(g, all, winograd_lines<m>::template weight<P>);
        T* to = u + (q * p.in + k) * plan::panel + v;
        for (int t = 0; t < plan::planes; ++t) all[t].store(to + t * p.plane());
      }
    }
}

// Tile `tile` of the images, all planes, to row `row` of each plane of v.
template <class T, class A, int m>
void winograd_input(const winograd_plan<T, A, m>& p, image<const T> x, index_t tile, const T* zeros,
                    T* v, index_t rows) {
  using P = simd::pack<T, A>;
  using plan = winograd_plan<T, A, m>;
  const index_t across = p.tiles_across(), n = tile / across / p.tiles_down();
  const index_t top = tile / across % p.tiles_down() * m - p.pad_h;
  const index_t left = tile % across * m - p.pad_w;
  const T* from[plan::planes];
  for (index_t i = 0; i < plan::side; ++i)
    for (index_t j = 0; j < plan::side; ++j) {
      const index_t row = top + i, column = left + j;
      const bool inside = row >= 0 && row < p.h && column >= 0 && column < p.w;
      from[i * plan::side + j] = inside ? x.at(n, row, column) : zeros;
    }
  const auto one = [&](index_t c, auto load, auto store) {
    P d[plan::planes], b[plan::planes];
    for (int t = 0; t < plan::planes; ++t) d[t] = load(from[t] + c);
    transform_square<plan::side, plan::side>(d, b, winograd_lines<m>::template input<P>);
    for (int t = 0; t < plan::planes; ++t) store(b[t], v + t * rows * p.in_row() + c);
  };
  index_t c = 0;
  for (; c + plan::lanes <= p.in; c += plan::lanes)
    one(
        c, [](const T* f) { return P::load(f); }, [](P b, T* to) { b.store(to); });
  if (const index_t rest = p.in - c; rest > 0)
    one(
        c, [rest](const T* f) { return P::load_partial(f, rest); },
        [rest](P b, T* to) { b.store_partial(to, rest); });
}

template <class T, class A, int m>
void winograd_output(const winograd_plan<T, A, m>& p, const T* products, index_t rows, index_t tile,
                     image<T> y, const epilogue<T>& finish) {
  using P = simd::pack<T, A>;
  using plan = winograd_plan<T, A, m>;
  const index_t across = p.tiles_across(), n = tile / across / p.tiles_down();
  const index_t top = tile / across % p.tiles_down() * m, left = tile % across * m;
  const index_t height = std::min<index_t>(m, p.out_h - top);
  const index_t width = std::min<index_t>(m, p.out_w - left);
  const auto one = [&](index_t o, auto load, auto store) {
    P v[plan::planes], out[m * m];
    for (int t = 0; t < plan::planes; ++t) v[t] = load(products + t * rows * p.out_row() + o);
    transform_square<plan::side, m>(v, out, winograd_lines<m>::template output<P>);
    for (index_t i = 0; i < height; ++i)
      for (index_t j = 0; j < width; ++j) store(out[i * m + j], y.at(n, top + i, left + j) + o);
  };
  index_t o = 0;
  for (; o + plan::lanes <= p.outs; o += plan::lanes)
    one(
        o, [](const T* f) { return P::load(f); }, [](P b, T* to) { b.store(to); });
  if (const index_t rest = p.outs - o; rest > 0)
    one(
        o, [rest](const T* f) { return P::load_partial(f, rest); },
        [rest](P b, T* to) { b.store_partial(to, rest); });
  if (finish.empty()) return;
  for (index_t i = 0; i < height; ++i)
    for (index_t j = 0; j < width; ++j)
      apply<T, A>(finish, y.at(n, top + i, left + j), 0, 0, p.outs);
}

// y = x * weights for `images` images; x and y with c_stride 1.
template <class T, class A, int m>
void winograd(const winograd_plan<T, A, m>& p, index_t images, image<const T> x,
              const winograd_weights<T>& w, image<T> y, const epilogue<T>& finish) {
  using plan = winograd_plan<T, A, m>;
  const index_t tiles = images * p.tiles_down() * p.tiles_across(), block = p.block();
  T* const u = scratch<T, scratch_use::panels>(plan::planes * p.plane() + p.in);
  T* const zeros = u + plan::planes * p.plane();
  std::fill_n(zeros, p.in, T(0));
  split_work(p.panels(), p.plane() * plan::planes * 8,
             [&](index_t first, index_t last) { winograd_pack(p, w, first, last, u); });
  const index_t work = tiles * plan::planes * p.in * p.outs;
  split_chunks(tiles, block, work, [&](index_t first, index_t last) {
    const index_t rows = last - first;
    T* const v = scratch<T, scratch_use::window>(rows * plan::planes * p.in_row());
    T* const products = scratch<T, scratch_use::partial>(rows * plan::planes * p.out_row());
    for (index_t i = first; i < last; ++i)
      winograd_input(p, x, i, zeros, v + (i - first) * p.in_row(), rows);
    strips<T> s;
    s.rows = rows, s.cols = p.outs, s.depth = p.in;
    s.a_row_step = p.in_row();
    s.b_step = plan::panel, s.b_panel = plan::panel * p.in;
    s.c_row_step = p.out_row();
    for (int t = 0; t < plan::planes; ++t) {
      s.a = v + t * rows * p.in_row();
      s.b = u + t * p.plane();
      s.c = products + t * rows * p.out_row();
      run_strips<T, A, false>(s, 0, strip_count<T, A>(rows));
    }
    for (index_t i = first; i < last; ++i)
      winograd_output(p, products + (i - first) * p.out_row(), rows, i, y, finish);
  });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
