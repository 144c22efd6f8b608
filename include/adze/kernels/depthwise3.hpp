#pragma once
// SPDX-License-Identifier: MIT
// Depthwise convolutions of 3 x 3 with stride 1 or 2 on channels-last images as they stand. Lanes
// run along channels, and a tile of neighbouring outputs goes through all channels, in the order of
// memory: one vector of channels along all pixels would use half of each cache line and a few sets
// of the L1 cache. A tile shares its inputs in registers; sums run over taps in order. The last
// vector begins early enough to be whole.
#include <adze/kernels/depthwise3_places.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels::inline ADZE_ISA {

// The results of a tile; weights as [vector][tap][lane]. Sums have names: g++ stores arrays that
// live in a loop. Columns are listed: a lambda for each, made by an index, took ten times as long
// to compile.
template <class T, class A, int stride, int outs, class Places>
[[gnu::noinline]] void depthwise3_tile(const Places& at, index_t channels, const T* weight) {
  static_assert(outs == 4 || outs == 7);
  using P = simd::pack<T, A>;
  constexpr P* none = nullptr;
  for (index_t q = 0; q < channels; q += P::size) {
    const index_t c = std::min(q, channels - P::size);
    P s0(T(0)), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0;
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r, weight += 3 * P::size) {
      P w0 = P::load(weight), w1 = P::load(weight + P::size), w2 = P::load(weight + 2 * P::size);
      pin(w0), pin(w1), pin(w2);
      const auto row = at.row(r);
      const auto add = [](P * s, P w, P x) __attribute__((always_inline)) {
        if (s == nullptr) return;
        *s = fma(w, x, *s);
        pin(*s);
      };
      // Column k, and the sums in which it meets taps 0, 1 and 2.
      const auto column = [&](int k, P* a, P* b, P* d) __attribute__((always_inline)) {
        P x = P::load(row[k] + c);
        pin(x);
        add(a, w0, x), add(b, w1, x), add(d, w2, x);
      };
      if (at.first) column(0, &s0, none, none);
      if constexpr (stride == 1) {
        column(1, &s1, &s0, none), column(2, &s2, &s1, &s0), column(3, &s3, &s2, &s1);
        if constexpr (outs == 4) {
          column(4, none, &s3, &s2);
          if (at.last) column(5, none, none, &s3);
        } else {
          column(4, &s4, &s3, &s2), column(5, &s5, &s4, &s3), column(6, &s6, &s5, &s4);
          column(7, none, &s6, &s5);
          if (at.last) column(8, none, none, &s6);
        }
      } else {
        const auto two = [&](int k, P* a, P* d) __attribute__((always_inline)) {
          column(k, a, none, d), column(k + 1, none, a, none);
        };
        column(1, none, &s0, none), two(2, &s1, &s0), two(4, &s2, &s1), two(6, &s3, &s2);
        if constexpr (outs == 4) {
          if (at.last) column(8, none, none, &s3);
        } else {
          two(8, &s4, &s3), two(10, &s5, &s4), two(12, &s6, &s5);
          if (at.last) column(14, none, none, &s6);
        }
      }
    }
    const auto keep = [&](int k, P s) __attribute__((always_inline)) { s.store(at.out(k) + c); };
    keep(0, s0), keep(1, s1), keep(2, s2), keep(3, s3);
    if constexpr (outs == 7) keep(4, s4), keep(5, s5), keep(6, s6);
  }
}

// Four results of each of two rows: rows share inputs and weights, and sums run in the same order.
template <class T, class A>
[[gnu::noinline]] void depthwise3_pair(const depthwise_walks<T, T>& at, index_t channels,
                                       const T* weight) {
  using P = simd::pack<T, A>;
  constexpr P* none = nullptr;
  for (index_t q = 0; q < channels; q += P::size, weight += 9 * P::size) {
    const index_t c = std::min(q, channels - P::size);
    P s0(T(0)), s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
    P v0 = s0, v1 = s0, v2 = s0, w0 = s0, w1 = s0, w2 = s0;
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      v0 = w0, v1 = w1, v2 = w2;  // the taps of the second row are those of the row above
      if (r < 3) {
        const T* const from = weight + 3 * r * P::size;
        w0 = P::load(from), w1 = P::load(from + P::size), w2 = P::load(from + 2 * P::size);
        pin(w0), pin(w1), pin(w2);
      }
      depthwise_walk<T> row{at.rows[r] + c, at.steps[r]};
      const auto add = [](P * s, P w, P x) __attribute__((always_inline)) {
        if (s == nullptr) return;
        *s = fma(w, x, *s);
        pin(*s);
      };
      // The sums in which a column meets taps 0, 1 and 2, of the first and of the second row.
      const auto column = [&](P * a, P * b, P * d, P * e, P * f, P * g)
          __attribute__((always_inline)) {
        P x = P::load(row(0));
        pin(x);
        if (r < 3) add(a, w0, x), add(b, w1, x), add(d, w2, x);
        if (r > 0) add(e, v0, x), add(f, v1, x), add(g, v2, x);
      };
      if (at.first) column(&s0, none, none, &t0, none, none);
      column(&s1, &s0, none, &t1, &t0, none);
      column(&s2, &s1, &s0, &t2, &t1, &t0);
      column(&s3, &s2, &s1, &t3, &t2, &t1);
      column(none, &s3, &s2, none, &t3, &t2);
      if (at.last) column(none, none, &s3, none, none, &t3);
    }
    const auto keep = [&](int k, P s, P t) __attribute__((always_inline)) {
      s.store(at.outs[0] + k * at.out_step + c), t.store(at.outs[1] + k * at.out_step + c);
    };
    keep(0, s0, t0), keep(1, s1, t1), keep(2, s2, t2), keep(3, s3, t3);
  }
}

// The input's gradient with stride 2: columns k and k + 1 of the output's gradient make inputs
// 2k and 2k + 1 of the tile. Row r of them has the taps from `taps[r]` on.
template <class T, class A, class Places>
[[gnu::noinline]] void depthwise3_spread(const Places& at, index_t channels, int rows,
                                         const T* const* taps) {
  using P = simd::pack<T, A>;
  constexpr int pairs = 4;
  index_t offset = 0;
  for (index_t q = 0; q < channels; q += P::size, offset += 9 * P::size) {
    const index_t c = std::min(q, channels - P::size);
    P s0(T(0)), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    const auto add = [](P & s, P w, P x) __attribute__((always_inline)) {
      s = fma(w, x, s);
      pin(s);
    };
    for (int r = 0; r < rows; ++r) {
      const T* const w = taps[r] + offset;
      P w0 = P::load(w), w1 = P::load(w + P::size), w2 = P::load(w + 2 * P::size);
      pin(w0), pin(w1), pin(w2);
      const auto column = [&](int k, P& before, P& first, P& second)
          __attribute__((always_inline)) {
        P x = P::load(at.x(r, k) + c);
        pin(x);
        if (k > 0) add(before, w0, x);
        if (k == pairs) return;
        add(first, w1, x);
        add(second, w2, x);
      };
      if (at.first) column(0, s0, s0, s1);
      column(1, s1, s2, s3);
      column(2, s3, s4, s5);
      column(3, s5, s6, s7);
      if (at.last) column(4, s7, s7, s7);
    }
    const auto keep = [&](int k, P s) __attribute__((always_inline)) { s.store(at.out(k) + c); };
    keep(0, s0), keep(1, s1), keep(2, s2), keep(3, s3), keep(4, s4), keep(5, s5), keep(6, s6);
    keep(7, s7);
  }
}

// Whether these kernels take a problem whose input is x.
template <class T, class A> bool has_depthwise3(const conv_shape& s, image<const T> x) {
  return s.kh == 3 && s.kw == 3 && s.dil_h == 1 && s.dil_w == 1 && s.stride_h == s.stride_w &&
         s.stride_h <= 2 && x.c_stride == 1 && s.c >= simd::pack<T, A>::size;
}

}  // namespace adze::kernels::inline ADZE_ISA
