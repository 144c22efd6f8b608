#pragma once
// SPDX-License-Identifier: MIT
// Depthwise convolutions of 3 x 3 with stride 1 or 2 on channels-last images as they stand. Lanes
// run along channels, and one vector of channels goes through all rows before the next one does:
// three rows of it stay in the L1 cache. A tile of neighbouring outputs shares its inputs in
// registers; sums run over taps in order. The last vector begins early enough to be whole.
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels::inline ADZE_ISA {

// One row of results, for one vector of channels: the rows that it reads, at column 0, and three
// taps, a vector each, for each of them.
template <class T> struct depthwise_line {
  registers<const T*, 3> in, weight;
  index_t rows = 0, step = 0, width = 0;  // columns of the image are `step` apart
  const T* zeros = nullptr;               // what the columns of the padding hold

  template <bool inside> [[gnu::always_inline]] const T* column(const T* row, index_t x) const {
    if constexpr (inside) return row + x * step;
    return static_cast<std::size_t>(x) < static_cast<std::size_t>(width) ? row + x * step : zeros;
  }
};

// Where a tile of neighbouring outputs, results or their gradients, stands, and the columns of the
// three rows that it reads: steps apart, where the padding has at most the first and the last of
// them, which then are left out, ...
template <class T, class Out> struct depthwise_steps {
  registers<const T*, 3> rows;
  Out* outs;
  index_t x_step, out_step;
  bool first, last;

  const T* x(int r, int k) const { return rows[r] + k * x_step; }
  Out* out(int k) const { return outs + k * out_step; }
};
// ... or anywhere.
template <class T, class Out> struct depthwise_places {
  registers<registers<const T*, 15>, 3> columns;
  registers<Out*, 7> outs;
  static constexpr bool first = true, last = true;

  const T* x(int r, int k) const { return columns[r][k]; }
  Out* out(int k) const { return outs[k]; }
};

// f(places) for the outputs from column i on of row `all`, counted through all images. Columns of
// the padding are zeros, missing outputs `nowhere`: both as long as the channels.
template <int stride, int outs, class T, class Out, class F>
void depthwise3_at(const conv_shape& s, image<const T> x, image<Out> y, index_t all, index_t i,
                   const T* zeros, Out* nowhere, F f) {
  constexpr int columns = stride * (outs - 1) + 3;
  const index_t n = all / s.out_h(), row = all % s.out_h(), out_w = s.out_w();
  const index_t top = row * stride - s.pad_h, left = i * stride - s.pad_w;
  Out* const out = y.at(n, row, i);
  if (i + outs <= out_w && top >= 0 && top + 3 <= s.h && left >= -1 && left + columns <= s.w + 1) {
    const T* const from = x.at(n, top, left);
    return f(depthwise_steps<T, Out>{{from, from + x.h_stride, from + 2 * x.h_stride},
                                     out,
                                     x.w_stride,
                                     y.w_stride,
                                     left >= 0,
                                     left + columns <= s.w});
  }
  depthwise_places<T, Out> p;
  for (int k = 0; k < outs; ++k) p.outs[k] = i + k < out_w ? out + k * y.w_stride : nowhere;
  for (int r = 0; r < 3; ++r)
    for (int k = 0; k < columns; ++k) {
      const bool inside = top + r >= 0 && top + r < s.h && left + k >= 0 && left + k < s.w;
      p.columns[r][k] = inside ? x.at(n, top + r, left + k) : zeros;
    }
  f(p);
}

// The results of a tile; weights as [vector][tap][lane]. Sums have names: g++ stores arrays that
// live in a loop.
template <class T, class A, int stride, int outs, class Places>
[[gnu::noinline]] void depthwise3_tile(const Places& at, index_t channels, const T* weight) {
  using P = simd::pack<T, A>;
  constexpr int columns = stride * (outs - 1) + 3;
  for (index_t q = 0; q < channels; q += P::size) {
    const index_t c = std::min(q, channels - P::size);
    P s0(T(0)), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0;
    const auto sum = [&](auto k) __attribute__((always_inline))->P& {
      constexpr int i = k;
      if constexpr (i == 0)
        return s0;
      else if constexpr (i == 1)
        return s1;
      else if constexpr (i == 2)
        return s2;
      else if constexpr (i == 3)
        return s3;
      else if constexpr (i == 4)
        return s4;
      else if constexpr (i == 5)
        return s5;
      else
        return s6;
    };
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r, weight += 3 * P::size) {
      P w0 = P::load(weight), w1 = P::load(weight + P::size), w2 = P::load(weight + 2 * P::size);
      pin(w0), pin(w1), pin(w2);
      simd::unroll<columns>([&](auto k) __attribute__((always_inline)) {
        if ((k == 0 && !at.first) || (k == columns - 1 && !at.last)) return;
        P x = P::load(at.x(r, k) + c);
        pin(x);
        simd::unroll<3>([&](auto j) __attribute__((always_inline)) {
          constexpr int away = k - j;
          if constexpr (away >= 0 && away % stride == 0 && away / stride < outs) {
            P& s = sum(std::integral_constant<int, away / stride>{});
            s = fma(j == 0 ? w0 : j == 1 ? w1 : w2, x, s);
            pin(s);
          }
        });
      });
    }
    simd::unroll<outs>([&](auto k) __attribute__((always_inline)) { sum(k).store(at.out(k) + c); });
  }
}

// The input's gradient with stride 2: `count` columns q of the output's gradient, from `left` + 1
// on, and the one before them make inputs 2q and 2q + 1, of which those of [low, high) exist.
template <class T, class A, int count>
[[gnu::noinline]] void depthwise3_spread(const depthwise_line<T>& l, index_t left, index_t low,
                                         index_t high, T* out, index_t step) {
  using P = simd::pack<T, A>;
  registers<P, 2 * count> sum;
#pragma GCC unroll 8
  for (int k = 0; k < 2 * count; ++k) sum[k] = P(T(0));
  const index_t rows = l.rows;
  for (index_t r = 0; r < rows; ++r) {
    registers<P, 3> w;
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
      w[j] = P::load(l.weight[r] + j * P::size);
      pin(w[j]);
    }
#pragma GCC unroll 8
    for (int q = 0; q <= count; ++q) {
      P v = P::load(l.template column<false>(l.in[r], left + q));
      pin(v);
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) {
        const int k = 2 * q - 2 + j;
        if (k < 0 || k >= 2 * count) continue;
        sum[k] = fma(w[j], v, sum[k]);
        pin(sum[k]);
      }
    }
  }
  alignas(64) T nowhere[P::width];
#pragma GCC unroll 8
  for (int k = 0; k < 2 * count; ++k) sum[k].store(k >= low && k < high ? out + k * step : nowhere);
}

// Adds the products of a tile's gradients and inputs to the sums of taps, [vector][tap][lane].
// Sums have names: g++ stores arrays that live in a loop.
template <class T, class A, int stride, class Places>
[[gnu::noinline]] void depthwise3_weight_tile(const Places& at, index_t channels, T* sums) {
  using P = simd::pack<T, A>;
  constexpr int outs = 7, columns = stride * (outs - 1) + 3;
  for (index_t q = 0; q < channels; q += P::size, sums += 9 * P::size) {
    const index_t c = std::min(q, channels - P::size);
    const auto sum = [&](int i) __attribute__((always_inline)) {
      return P::load(sums + i * P::size);
    };
    P s0 = sum(0), s1 = sum(1), s2 = sum(2), s3 = sum(3), s4 = sum(4), s5 = sum(5), s6 = sum(6);
    P s7 = sum(7), s8 = sum(8), g0(T(0)), g1 = g0, g2 = g0;
    const auto add = [](P & s, P g, P x) __attribute__((always_inline)) {
      s = fma(g, x, s);
      pin(s);
    };
    const auto row = [&](P & a, P & b, P & d, auto r, auto k) __attribute__((always_inline)) {
      constexpr int i = k;
      P x = P::load(at.x(r, k) + c);
      pin(x);
      if constexpr (i % stride == 0 && i / stride < outs) add(a, g0, x);
      if constexpr (stride == 1 && i > 0 && i <= outs) add(b, g1, x);
      if constexpr (stride == 2 && i % 2 == 1) add(b, g0, x);
      if constexpr (i % stride == 0 && i > 1) add(d, stride == 1 ? g2 : g1, x);
    };
    simd::unroll<columns>([&](auto k) __attribute__((always_inline)) {
      if constexpr (k % stride == 0) {
        g2 = g1, g1 = g0;
        if constexpr (k / stride < outs) {
          g0 = P::load(at.out(k / stride) + c);
          pin(g0);
        }
      }
      if ((k == 0 && !at.first) || (k == columns - 1 && !at.last)) return;
      row(s0, s1, s2, std::integral_constant<int, 0>{}, k);
      row(s3, s4, s5, std::integral_constant<int, 1>{}, k);
      row(s6, s7, s8, std::integral_constant<int, 2>{}, k);
    });
    const auto keep = [&](int i, P s) __attribute__((always_inline)) {
      s.store(sums + i * P::size);
    };
    keep(0, s0), keep(1, s1), keep(2, s2), keep(3, s3), keep(4, s4), keep(5, s5), keep(6, s6);
    keep(7, s7), keep(8, s8);
  }
}

// Whether these kernels take a problem whose input is x.
template <class T, class A> bool has_depthwise3(const conv_shape& s, image<const T> x) {
  return s.kh == 3 && s.kw == 3 && s.dil_h == 1 && s.dil_w == 1 && s.stride_h == s.stride_w &&
         s.stride_h <= 2 && x.c_stride == 1 && s.c >= simd::pack<T, A>::size;
}

// The rows [first, last) that one row of results reads: the first by row `tap` of the taps, the
// others by rows `step` further each.
struct depthwise_reach {
  index_t first, last, tap, step;
};
inline depthwise_reach window_reach(index_t at, index_t stride, index_t pad, index_t size) {
  const index_t start = at * stride - pad, first = std::clamp<index_t>(-start, 0, 3);
  return {start + first, start + std::clamp<index_t>(size - start, first, 3), first, 1};
}
// Of the gradient with stride 2: row y reads row a by tap row y + pad - 2 a.
inline depthwise_reach spread_reach(index_t y, index_t pad, index_t size) {
  const index_t first = std::max<index_t>(0, (y + pad - 1) / 2);
  return {first, std::max(first, std::min(size, (y + pad) / 2 + 1)), y + pad - 2 * first, -2};
}

// f(line, image, row, column, count, channel) for rows [begin, end) of `out_h` x `out_w` results,
// counted through all images, one vector of channels at a time: in strips of columns whose rows
// stay in the L1 cache. weight: [vector][tap][lane]; images x are h x w.
template <class T, class A, class Reach, class F>
void depthwise3_sweep(image<const T> x, index_t w, index_t channels, const T* weight,
                      const T* zeros, index_t out_h, index_t out_w, index_t begin, index_t end,
                      Reach reach, F f) {
  constexpr index_t lanes = simd::pack<T, A>::size;
  if (begin >= end || out_w == 0) return;
  const index_t strip = balanced_block(out_w, 56, 4);
  for (index_t q = 0; q < channels; q += lanes, weight += 9 * lanes) {
    const index_t c = std::min(q, channels - lanes);
    for (index_t i = 0; i < out_w; i += strip)
      for (index_t all = begin, n = begin / out_h, row = begin % out_h; all < end; ++all, ++row) {
        if (row == out_h) row = 0, ++n;
        const depthwise_reach to = reach(row);
        depthwise_line<T> line;
        line.rows = to.last - to.first, line.step = x.w_stride, line.width = w, line.zeros = zeros;
        for (index_t r = 0; r < line.rows; ++r) {
          line.in[r] = x.at(n, to.first + r, 0) + c;
          line.weight[r] = weight + 3 * (to.tap + r * to.step) * lanes;
        }
        f(line, n, row, i, std::min(strip, out_w - i), c);
      }
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
