#pragma once
// SPDX-License-Identifier: MIT
// The gradient of a depthwise 3 x 3 weight, by tiles of outputs that go through all channels or,
// where a vector is a whole cache line, by one vector of channels that goes through all pixels: the
// sums of its nine taps never leave their registers and three rows of it stay in the L1 cache.
#include <adze/kernels/depthwise3_places.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Adds the products of a tile's gradients and inputs to the sums of taps, [vector][tap][lane].
// Every column has a load of its own, at which the processor learns to read ahead along channels,
// and pairs of rows load what they share once. Sums have names: g++ stores arrays that live in a
// loop.
template <class T, class A, int stride, int outs, class Places>
[[gnu::noinline]] void depthwise3_weight_tile(const Places& at, index_t channels, T* sums) {
  using P = simd::pack<T, A>;
  constexpr bool walks = std::is_same_v<Places, depthwise_walks<T, const T>>,
                 pair = walks && stride == 1;
  constexpr int columns = stride * (outs - 1) + 3;
  for (index_t q = 0; q < channels; q += P::size, sums += 9 * P::size) {
    const index_t c = std::min(q, channels - P::size);
    const auto sum = [&](int i) __attribute__((always_inline)) {
      return P::load(sums + i * P::size);
    };
    P s0 = sum(0), s1 = sum(1), s2 = sum(2), s3 = sum(3), s4 = sum(4), s5 = sum(5), s6 = sum(6);
    P s7 = sum(7), s8 = sum(8);
    // Column k of a row of inputs or gradients; those of walks are asked for one after another.
    const auto inputs = [&](int r) __attribute__((always_inline)) {
      if constexpr (walks)
        return depthwise_walk<T>{at.rows[r] + c, at.steps[r]};
      else
        return [&at, c, r ](int k) __attribute__((always_inline)) { return at.x(r, k) + c; };
    };
    const auto gradients = [&](int r) __attribute__((always_inline)) {
      if constexpr (walks)
        return depthwise_walk<T>{at.outs[r] + c, at.out_step};
      else
        return [&at, c ](int k) __attribute__((always_inline)) { return at.out(k) + c; };
    };
    const auto load = [](auto& from, int k) __attribute__((always_inline)) {
      P v = P::load(from(k));
      pin(v);
      return v;
    };
    const auto add = [](P & s, P g, P x) __attribute__((always_inline)) {
      s = fma(g, x, s);
      pin(s);
    };
    auto x0 = inputs(0), x1 = inputs(1), x2 = inputs(2), x3 = inputs(3);
    auto g_at = gradients(0), h_at = gradients(1);
    P g0(T(0)), g1 = g0, g2 = g0, h0 = g0, h1 = g0, h2 = g0;
#pragma GCC unroll 16
    for (int k = 0; k < columns; ++k) {
      if (k % stride == 0) {
        g2 = g1, g1 = g0, h2 = h1, h1 = h0;
        if (k / stride < outs) {
          g0 = load(g_at, k / stride);
          if constexpr (pair) h0 = load(h_at, k / stride);
        }
      }
      if ((k == 0 && !at.first) || (k == columns - 1 && !at.last)) continue;
      const auto row = [&](P x, P u0, P u1, P u2, P & a, P & b, P & d)
          __attribute__((always_inline)) {
        if (k % stride == 0 && k / stride < outs) add(a, u0, x);
        if (stride == 1 && k > 0 && k <= outs) add(b, u1, x);
        if (stride == 2 && k % 2 == 1) add(b, u0, x);
        if (k % stride == 0 && k > 1) add(d, stride == 1 ? u2 : u1, x);
      };
      row(load(x0, k), g0, g1, g2, s0, s1, s2);
      P x = load(x1, k);
      row(x, g0, g1, g2, s3, s4, s5);
      if constexpr (pair) row(x, h0, h1, h2, s0, s1, s2);
      x = load(x2, k);
      row(x, g0, g1, g2, s6, s7, s8);
      if constexpr (pair) {
        row(x, h0, h1, h2, s3, s4, s5);
        row(load(x3, k), h0, h1, h2, s6, s7, s8);
      }
    }
    const auto keep = [&](int i, P s) __attribute__((always_inline)) {
      s.store(sums + i * P::size);
    };
    keep(0, s0), keep(1, s1), keep(2, s2), keep(3, s3), keep(4, s4), keep(5, s5), keep(6, s6);
    keep(7, s7), keep(8, s8);
  }
}

// Adds to sums [tap][lane] the products of gradients and inputs of output rows [first, last),
// counted through all images. Packs have names: g++ stores arrays that live in a loop.
template <class T, class A, int stride>
[[gnu::noinline]] void depthwise3_weight_lanes(const conv_shape& s, image<const T> x,
                                               image<const T> gy, index_t first, index_t last,
                                               const T* zeros, T* sums) {
  using P = simd::pack<T, A>;
  const auto sum = [&](int i) __attribute__((always_inline)) {
    return P::load(sums + i * P::size);
  };
  P s0 = sum(0), s1 = sum(1), s2 = sum(2), s3 = sum(3), s4 = sum(4), s5 = sum(5), s6 = sum(6);
  P s7 = sum(7), s8 = sum(8);
  const auto add = [](P & to, P g, P v) __attribute__((always_inline)) {
    to = fma(g, v, to);
    pin(to);
  };
  const auto next = [](const T*& from, index_t step) __attribute__((always_inline)) {
    P v = P::load(from);
    pin(v);
    from += step;
    return v;
  };
  // Outputs [begin, end) read no column right of the image and at most one left of it.
  const index_t out_h = s.out_h(), out_w = s.out_w();
  const index_t begin = s.pad_w <= 1 ? 0 : std::min((s.pad_w + stride - 1) / stride, out_w);
  const index_t fits = s.w + s.pad_w >= 3 ? (s.w + s.pad_w - 3) / stride + 1 : 0;
  const index_t end = std::clamp(fits, begin, out_w), left = begin * stride - s.pad_w;
  for (index_t n = first / out_h, y = first % out_h; first < last; ++first) {
    const index_t top = y * stride - s.pad_h;
    const auto row = [&](index_t r) { return top + r >= 0 && top + r < s.h; };
    // A row of the padding stands still on zeros.
    const auto at_row = [&](index_t r) { return row(r) ? x.at(n, top + r, 0) : zeros; };
    const index_t t0 = row(0) ? x.w_stride : 0, t1 = row(1) ? x.w_stride : 0;
    const index_t t2 = row(2) ? x.w_stride : 0;
    const T *const r0 = at_row(0), *const r1 = at_row(1), *const r2 = at_row(2);
    const T* g_at = gy.at(n, y, 0);
    const auto edge = [&](index_t at) __attribute__((always_inline)) {
      const P g = next(g_at, gy.w_stride);
      const auto column = [&](P & a, P & b, P & d) __attribute__((always_inline)) {
        if (at >= 0 && at < s.w) {
          add(a, g, P::load(r0 + at * t0));
          add(b, g, P::load(r1 + at * t1));
          add(d, g, P::load(r2 + at * t2));
        }
        ++at;
      };
      column(s0, s3, s6), column(s1, s4, s7), column(s2, s5, s8);
    };
    for (index_t i = 0; i < begin; ++i) edge(i * stride - s.pad_w);
    if (index_t i = begin; i < end) {
      const index_t from = std::max<index_t>(left, 0);
      const T *x0 = r0 + from * t0, *x1 = r1 + from * t1, *x2 = r2 + from * t2;
      P a0(T(0)), a1 = a0, a2 = a0, b0 = a0, b1 = a0, b2 = a0, c0 = a0, c1 = a0, c2 = a0;
      const auto column = [&](P & v0, P & v1, P & v2) __attribute__((always_inline)) {
        v0 = next(x0, t0), v1 = next(x1, t1), v2 = next(x2, t2);
      };
      // One output, the last one or two columns of which are new.
      const auto output = [&](P & p0, P & p1, P & p2, P & q0, P & q1, P & q2, P & z0, P & z1,
                              P & z2) __attribute__((always_inline)) {
        const P g = next(g_at, gy.w_stride);
        if (stride == 2) column(q0, q1, q2);
        column(z0, z1, z2);
        add(s0, g, p0), add(s3, g, p1), add(s6, g, p2), add(s1, g, q0), add(s4, g, q1);
        add(s7, g, q2), add(s2, g, z0), add(s5, g, z1), add(s8, g, z2);
      };
      if (left >= 0) column(a0, a1, a2);
      if constexpr (stride == 1) {
        column(b0, b1, b2);
        for (; i + 3 <= end; i += 3) {
          output(a0, a1, a2, b0, b1, b2, c0, c1, c2);
          output(b0, b1, b2, c0, c1, c2, a0, a1, a2);
          output(c0, c1, c2, a0, a1, a2, b0, b1, b2);
        }
      } else {
        for (; i + 2 <= end; i += 2) {
          output(a0, a1, a2, b0, b1, b2, c0, c1, c2);
          output(c0, c1, c2, b0, b1, b2, a0, a1, a2);
        }
      }
      if (i < end) output(a0, a1, a2, b0, b1, b2, c0, c1, c2), ++i;
      if (i < end) output(b0, b1, b2, c0, c1, c2, a0, a1, a2);
    }
    for (index_t i = end; i < out_w; ++i) edge(i * stride - s.pad_w);
    if (++y == out_h) y = 0, ++n;
  }
  const auto keep = [&](int i, P v) __attribute__((always_inline)) { v.store(sums + i * P::size); };
  keep(0, s0), keep(1, s1), keep(2, s2), keep(3, s3), keep(4, s4), keep(5, s5), keep(6, s6);
  keep(7, s7), keep(8, s8);
}

}  // namespace adze::kernels::inline ADZE_ISA
