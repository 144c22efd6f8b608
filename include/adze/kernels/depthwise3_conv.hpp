#pragma once
// SPDX-License-Identifier: MIT
// The three directions of depthwise convolutions of 3 x 3, over rows that threads share.
#include <adze/kernels/depthwise3.hpp>
#include <adze/kernels/depthwise3_weight.hpp>
#include <adze/kernels/taps.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Weights [c, 1, 3, 3] as [vector][tap][lane], and zeros for all channels behind them; taps in
// reverse order when `flipped`.
template <class T, class A>
const T* depthwise3_taps(const T* weight, index_t channels, bool flipped, const T*& zeros) {
  constexpr index_t lanes = simd::pack<T, A>::size;
  const index_t vectors = (channels + lanes - 1) / lanes;
  T* const by_tap = scratch<T, scratch_use::panels>(9 * vectors * lanes + channels);
  T* to = by_tap;
  for (index_t v = 0; v < vectors; ++v, to += 9 * lanes) {
    turn_taps<T, A, false>(weight + 9 * std::min(v * lanes, channels - lanes), to);
    for (index_t t = 0; t < 4 && flipped; ++t)
      std::swap_ranges(to + t * lanes, to + (t + 1) * lanes, to + (8 - t) * lanes);
  }
  fill_zeros(to, channels);
  zeros = to;
  return by_tap;
}

// f(first, channels) for blocks of channels that the caller goes through all rows with: three rows
// of a block, where images are narrow, stay in the L1 cache for the next row of outputs. Machines
// without AVX-512 compute no faster than the L2 cache delivers.
template <class T, class A, class F> void depthwise3_blocks(const conv_shape& s, F f) {
  constexpr index_t lanes = simd::pack<T, A>::size, cache = index_t(32) << 10;
  const index_t pixels = 3 * (s.w + 2) + s.out_w();
  const index_t fit = cache / (pixels * index_t(sizeof(T))) / lanes * lanes;
  const index_t block = A::bytes == 64 && fit >= 6 * lanes ? fit : s.c;
  for (index_t first = 0, n = 0; first < s.c; first += n) {
    n = s.c - first;
    if (n >= block + lanes) n = block;  // no block is smaller than a vector
    f(first, n);
  }
}
template <class T> image<T> channels_from(image<T> x, index_t first) {
  x.data += first;
  return x;
}

// y = x * weight [c, 1, 3, 3], whose taps are read backwards when `flipped`.
template <class T, class A>
void depthwise3_forward(const conv_shape& s, image<const T> x, const T* weight, bool flipped,
                        image<T> y, const epilogue<T>& finish) {
  const T* zeros = nullptr;
  const T* const by_tap = depthwise3_taps<T, A>(weight, s.c, flipped, zeros);
  const index_t out_h = s.out_h(), out_w = s.out_w();
  using tiles = depthwise3_tiles<T, T, const T>;
  const auto of = [&]<int stride, int outs>() -> tiles {
    tiles made{stride, outs, nullptr, depthwise3_tile<T, A, stride, outs, depthwise_places<T, T>>,
               nullptr};
    if constexpr (tiles_by_walks<A> && stride == 1 && outs == 4)
      made.walks = depthwise3_pair<T, A>;
    else if constexpr (tiles_by_steps<A>)
      made.steps = depthwise3_tile<T, A, stride, outs, depthwise_steps<T, T>>;
    return made;
  };
  const bool pairs = tiles_by_walks<A> && s.stride_h == 1 && out_w % 4 == 0;
  const bool seven = out_w % 7 == 0 && !pairs;
  const tiles tile =
      s.stride_h == 1 ? (seven ? of.template operator()<1, 7>() : of.template operator()<1, 4>())
                      : (seven ? of.template operator()<2, 7>() : of.template operator()<2, 4>());
  const index_t rows = s.n * out_h;
  split_work((rows + 1) / 2, s.work(), [&](index_t pair, index_t end) {
    const index_t first = 2 * pair, last = std::min(2 * end, rows);
    T* const nowhere = scratch<T, scratch_use::window>(s.c);
    depthwise3_blocks<T, A>(s, [&](index_t c, index_t channels) {
      conv_shape part = s;
      part.c = channels;
      const auto from = channels_from(x, c);
      const auto to = channels_from(y, c);
      depthwise3_rows(tile, part, from, to, first, last, zeros, nowhere, by_tap + 9 * c);
    });
    for (index_t all = first; all < last; ++all)
      finish_rows<T, A>(finish, {y.at(all / out_h, all % out_h, 0), out_w, s.c, y.w_stride, 1}, 0,
                        s.c);
  });
}

// Row `all` of gx from gy with stride 2, counted through all images. Pair p of columns, 2p + 1 and
// 2p + 2 of the padded image, comes from columns p and p + 1 of gy.
template <class T, class A>
void depthwise3_spread_row(const conv_shape& s, image<const T> gy, const T* weight, const T* zeros,
                           image<T> gx, index_t all, T* nowhere) {
  const index_t n = all / s.h, y = all % s.h, out_h = s.out_h(), out_w = s.out_w();
  const index_t low = std::max<index_t>(0, (y + s.pad_h - 1) / 2);
  const index_t high = std::min(out_h, (y + s.pad_h) / 2 + 1);
  const int rows = static_cast<int>(std::clamp<index_t>(high - low, 0, 2));
  registers<const T*, 2> taps, from;
  for (int r = 0; r < rows; ++r) {
    taps[r] = weight + 3 * (y + s.pad_h - 2 * (low + r)) * simd::pack<T, A>::size;
    from[r] = gy.at(n, low + r, 0);
  }
  const index_t begin = (s.pad_w + 1) / 2 - 1, end = (s.w + s.pad_w) / 2;
  for (index_t i = begin; i < end; i += 4) {
    const index_t pair = std::max(begin, std::min(i, end - 4)), column = 2 * pair + 1 - s.pad_w;
    T* const out = gx.at(n, y, column);
    if constexpr (tiles_by_steps<A>) {
      if (column >= 0 && column + 8 <= s.w && pair >= -1 && pair + 4 <= out_w) {
        depthwise_steps<T, T> p{{}, out, gy.w_stride, gx.w_stride, pair >= 0, pair + 5 <= out_w};
        for (int r = 0; r < rows; ++r) p.rows[r] = from[r] + pair * gy.w_stride;
        depthwise3_spread<T, A>(p, s.c, rows, taps);
        continue;
      }
    }
    depthwise_places<T, T> p;
    for (int k = 0; k < 8; ++k)
      p.outs[k] = column + k >= 0 && column + k < s.w ? out + k * gx.w_stride : nowhere;
    for (int r = 0; r < rows; ++r)
      for (int k = 0; k < 5; ++k) {
        const bool inside = pair + k >= 0 && pair + k < out_w;
        p.columns[r][k] = inside ? from[r] + (pair + k) * gy.w_stride : zeros;
      }
    depthwise3_spread<T, A>(p, s.c, rows, taps);
  }
}

// gx from gy with stride 2.
template <class T, class A>
void depthwise3_spread_rows(const conv_shape& s, image<const T> gy, const T* weight, image<T> gx,
                            const epilogue<T>& finish) {
  const T* zeros = nullptr;
  const T* const by_tap = depthwise3_taps<T, A>(weight, s.c, false, zeros);
  split_work(s.n * s.h, s.work(), [&](index_t first, index_t last) {
    T* const nowhere = scratch<T, scratch_use::window>(s.c);
    for (index_t all = first; all < last; ++all) {
      depthwise3_spread_row<T, A>(s, gy, by_tap, zeros, gx, all, nowhere);
      finish_rows<T, A>(finish, {gx.at(all / s.h, all % s.h, 0), s.w, s.c, gx.w_stride, 1}, 0, s.c);
    }
  });
}

// gx from gy: with stride 1 the convolution of gy with the taps turned around.
template <class T, class A>
void depthwise3_data(const conv_shape& s, image<const T> gy, const T* weight, image<T> gx,
                     const epilogue<T>& finish) {
  if (s.stride_h == 2) return depthwise3_spread_rows<T, A>(s, gy, weight, gx, finish);
  conv_shape turned = s;
  turned.h = s.out_h(), turned.w = s.out_w();
  turned.pad_h = 2 - s.pad_h, turned.pad_w = 2 - s.pad_w;
  depthwise3_forward<T, A>(turned, gy, weight, true, gx, finish);
}

// Adds the products of output rows [first, last) to sums [vector][tap][lane].
template <class T, class A>
void depthwise3_weight_rows(const conv_shape& s, image<const T> x, image<const T> gy, index_t first,
                            index_t last, const T* zeros, T* sums) {
  using tiles = depthwise3_tiles<T, const T, T>;
  const auto of = [&]<int stride, int outs>() -> tiles {
    tiles made{stride, outs, nullptr,
               depthwise3_weight_tile<T, A, stride, outs, depthwise_places<T, const T>>, nullptr};
    if constexpr (tiles_by_walks<A>)
      made.walks = depthwise3_weight_tile<T, A, stride, outs, depthwise_walks<T, const T>>;
    else
      made.steps = depthwise3_weight_tile<T, A, stride, outs, depthwise_steps<T, const T>>;
    return made;
  };
  tiles tile = s.stride_h == 1 ? of.template operator()<1, 7>() : of.template operator()<2, 7>();
  if constexpr (A::bytes == 64) {
    // Long rows: sums are loaded and stored so seldom that a vector's way through memory, a line
    // of each pixel, is worth it.
    if (s.out_w() >= (s.stride_h == 1 ? 28 : 14)) {
      constexpr index_t lanes = simd::pack<T, A>::size;
      const auto rows =
          s.stride_h == 1 ? depthwise3_weight_lanes<T, A, 1> : depthwise3_weight_lanes<T, A, 2>;
      for (index_t v = 0; v < s.c; v += lanes) {
        const index_t c = std::min(v, s.c - lanes);
        rows(s, channels_from(x, c), channels_from(gy, c), first, last, zeros, sums + 9 * v);
      }
      return;
    }
    if (s.stride_h == 1 && s.out_w() % 14 == 0) tile = of.template operator()<1, 14>();
  }
  const auto block = [&](index_t c, index_t channels) {
    conv_shape some = s;
    some.c = channels;
    depthwise3_rows(tile, some, channels_from(x, c), channels_from(gy, c), first, last, zeros,
                    zeros, sums + 9 * c);
  };
  depthwise3_blocks<T, A>(s, block);
}

// gw [c, 1, 3, 3]. Rows of outputs are summed in at most 16 parts, which are added in order.
template <class T, class A>
void depthwise3_weight(const conv_shape& s, image<const T> x, image<const T> gy, T* gw) {
  constexpr index_t lanes = simd::pack<T, A>::size;
  const index_t rows = s.n * s.out_h(), wanted = std::clamp<index_t>(s.work() >> 18, 1, 16);
  const index_t least = (rows + wanted - 1) / wanted;
  const index_t part = std::max<index_t>(least + least % 2, 2);  // whole pairs
  const index_t parts = std::max<index_t>((rows + part - 1) / part, 1);
  const index_t size = (s.c + lanes - 1) / lanes * 9 * lanes;
  T* const sums = scratch<T, scratch_use::partial>(parts * size + s.c);
  fill_zeros(sums, parts * size + s.c);
  const T* const zeros = sums + parts * size;
  split_chunks(rows, part, s.work(), [&](index_t first, index_t last) {
    depthwise3_weight_rows<T, A>(s, x, gy, first, last, zeros, sums + first / part * size);
  });
  for (index_t i = 1; i < parts; ++i)
    for (index_t k = 0; k < size; ++k) sums[k] += sums[i * size + k];
  for (index_t v = 0; v < s.c; v += lanes)
    turn_taps<T, A, true>(sums + 9 * v, gw + 9 * std::min(v, s.c - lanes));
}

}  // namespace adze::kernels::inline ADZE_ISA
