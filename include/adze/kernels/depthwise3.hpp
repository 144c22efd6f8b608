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

// `count` neighbouring outputs, which read the columns from `left` on. A function of its own,
// without a branch or another loop around the sums: g++ would keep them in memory.
template <class T, class A, int stride, int count, bool inside>
[[gnu::noinline]] void depthwise3_tile(const depthwise_line<T>& l, index_t left, T* out,
                                       index_t step) {
  using P = simd::pack<T, A>;
  registers<P, count> sum;
#pragma GCC unroll 8
  for (int k = 0; k < count; ++k) sum[k] = P(T(0));
  const index_t rows = l.rows;
  for (index_t r = 0; r < rows; ++r) {
    registers<P, 3> w;
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
      w[j] = P::load(l.weight[r] + j * P::size);
      pin(w[j]);
    }
#pragma GCC unroll 16
    for (int q = 0; q < stride * (count - 1) + 3; ++q) {
      P v = P::load(l.template column<inside>(l.in[r], left + q));
      pin(v);
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) {
        if (q < j || (q - j) % stride != 0 || (q - j) / stride >= count) continue;
        sum[(q - j) / stride] = fma(w[j], v, sum[(q - j) / stride]);
        pin(sum[(q - j) / stride]);
      }
    }
  }
#pragma GCC unroll 8
  for (int k = 0; k < count; ++k) sum[k].store(out + k * step);
}

// n outputs in a row. The last tile begins early enough to be whole: some outputs are computed, to
// the same bits, twice.
template <class T, class A, int stride>
void depthwise3_run(const depthwise_line<T>& l, index_t left, index_t n, T* out, index_t step) {
  const auto run = [&](auto tile, auto edge, index_t count) {
    for (index_t i = 0; i < n; i += count) {
      const index_t at = std::min(i, n - count), first = left + at * stride;
      const bool inside = first >= 0 && first + stride * (count - 1) + 3 <= l.width;
      (inside ? tile : edge)(l, first, out + at * step, step);
    }
  };
  const auto by = [&](auto count) {
    run(depthwise3_tile<T, A, stride, count, true>, depthwise3_tile<T, A, stride, count, false>,
        count);
  };
  if (n % 7 == 0 && n % 4 != 0) return by(std::integral_constant<int, 7>{});
  if (n >= 4) return by(std::integral_constant<int, 4>{});
  by(std::integral_constant<int, 1>{});
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

// Adds the products of an output row's gradient g with the rows it read to the sums of their taps.
template <class T, class A, int stride, int rows>
[[gnu::noinline]] void depthwise3_weight_run(const depthwise_line<T>& l, index_t first,
                                             index_t left, index_t n, const T* g, index_t step,
                                             T* sums) {
  using P = simd::pack<T, A>;
  registers<registers<P, 3>, rows> sum;
#pragma GCC unroll 3
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) sum[r][j] = P::load(sums + (3 * r + j) * P::size);
  const auto add = [&](auto count) __attribute__((always_inline)) {
    constexpr int outs = decltype(count)::value;
    registers<P, outs> v;
    simd::unroll<outs>([&](auto i) __attribute__((always_inline)) {
      v[i] = P::load(g + i * step);
      pin(v[i]);
    });
    simd::unroll<rows>([&](auto r) __attribute__((always_inline)) {
      simd::unroll<stride*(outs - 1) + 3>([&](auto q) __attribute__((always_inline)) {
        const P lanes = P::load(l.template column<false>(l.in[first + r], left + q));
        simd::unroll<3>([&](auto j) __attribute__((always_inline)) {
          constexpr int away = decltype(q)::value - decltype(j)::value;
          if constexpr (away >= 0 && away % stride == 0 && away / stride < outs) {
            sum[r][j] = fma(v[away / stride], lanes, sum[r][j]);
            pin(sum[r][j]);
          }
        });
      });
    });
    left += outs * stride;
    g += outs * step;
  };
  index_t i = 0;
  for (; i + 4 <= n; i += 4) add(std::integral_constant<int, 4>{});
  for (; i < n; ++i) add(std::integral_constant<int, 1>{});
#pragma GCC unroll 3
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) sum[r][j].store(sums + (3 * r + j) * P::size);
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
