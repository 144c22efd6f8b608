#pragma once
// SPDX-License-Identifier: MIT
// Depthwise convolutions of 3 x 3 with stride 1 or 2 on channels-last images as they stand. Lanes
// run along channels, and a tile of neighbouring outputs goes through all channels, in the order of
// memory: one vector of channels along all pixels would use half of each cache line and a few sets
// of the L1 cache. A tile shares its inputs in registers; sums run over taps in order. The last
// vector begins early enough to be whole.
#include <type_traits>

#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Where a tile of neighbouring outputs, results or their gradients, stands, and the columns of the
// three rows that it reads: steps apart, where the padding has at most the first and the last of
// them, which then are left out, ...
template <class T, class Out> struct depthwise_steps {
  registers<const T*, 3> rows;
  Out* outs;
  index_t x_step, out_step;
  bool first, last;

  const T* x(int r, int k) const { return rows[r] + k * x_step; }
  // One of the rows, with a step that g++ does not know to be that of the other two: it would keep
  // the offsets of all columns from row to row, most of them in memory.
  [[gnu::always_inline]] auto row(int r) const {
    struct columns {
      const T* from;
      index_t step;
      const T* operator[](int k) const { return from + k * step; }
    } all{rows[r], x_step};
    simd::pin(all.step);
    return all;
  }
  Out* out(int k) const { return outs + k * out_step; }
};
// ... or anywhere.
template <class T, class Out> struct depthwise_places {
  registers<registers<const T*, 16>, 3> columns;
  registers<Out*, 14> outs;
  static constexpr bool first = true, last = true;

  const T* x(int r, int k) const { return columns[r][k]; }
  const T* const* row(int r) const { return columns[r]; }
  Out* out(int k) const { return outs[k]; }
};

// Registers of 16 bytes take tiles of results by their places: beside so many products addresses
// cost little (0.96 to 1.04 of the time, 0.8 for the input's gradient with stride 2), and half of
// those tiles need not be compiled. Tiles of weights took 1.07 to 1.18 of it.
template <class A> inline constexpr bool tiles_by_steps = A::bytes != 16;

// A tile of one stride and number of outputs, for both of them, or with no `steps`. Data is weights
// or sums.
template <class T, class Out, class Data> struct depthwise3_tiles {
  index_t stride, outs;
  void (*steps)(const depthwise_steps<T, Out>& at, index_t channels, Data* data);
  void (*places)(const depthwise_places<T, Out>& at, index_t channels, Data* data);
};

// The tiles of row `all`, counted through all images, from column `begin` on. Columns of the
// padding are zeros, missing outputs `nowhere`: both as long as the channels. The last tile of
// results begins early enough to be whole: some outputs are computed, to the same bits, twice.
template <class T, class Out, class Data>
[[gnu::noinline]] void depthwise3_row(const depthwise3_tiles<T, Out, Data>& tile,
                                      const conv_shape& s, image<const T> x, image<Out> y,
                                      index_t all, index_t begin, const T* zeros, Out* nowhere,
                                      Data* data) {
  const index_t outs = tile.outs, columns = tile.stride * (outs - 1) + 3;
  const index_t out_w = s.out_w(), n = all / s.out_h(), row = all - n * s.out_h();
  const index_t top = row * tile.stride - s.pad_h;
  const bool rows = tile.steps && top >= 0 && top + 3 <= s.h;
  for (index_t at = begin; at < out_w; at += outs) {
    const index_t i = std::is_const_v<Out> ? at : std::max<index_t>(std::min(at, out_w - outs), 0);
    const index_t left = i * tile.stride - s.pad_w;
    Out* const out = y.at(n, row, i);
    if (rows && i + outs <= out_w && left >= -1 && left + columns <= s.w + 1) {
      const T* const from = x.at(n, top, left);
      tile.steps({{from, from + x.h_stride, from + 2 * x.h_stride},
                  out,
                  x.w_stride,
                  y.w_stride,
                  left >= 0,
                  left + columns <= s.w},
                 s.c, data);
      continue;
    }
    depthwise_places<T, Out> p;
    for (index_t k = 0; k < outs; ++k) p.outs[k] = i + k < out_w ? out + k * y.w_stride : nowhere;
    for (index_t r = 0; r < 3; ++r)
      for (index_t k = 0; k < columns; ++k) {
        const bool inside = top + r >= 0 && top + r < s.h && left + k >= 0 && left + k < s.w;
        p.columns[r][k] = inside ? x.at(n, top + r, left + k) : zeros;
      }
    tile.places(p, s.c, data);
  }
}

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
