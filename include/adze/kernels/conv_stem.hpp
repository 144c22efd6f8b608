#pragma once
// SPDX-License-Identifier: MIT
// Convolutions of one channel to a few, the first layer of small networks, and the gradient of
// their weight: vectors run along a row of pixels, since a vector of outputs would be half empty.
// Each output is the same chain of fma as in tiles of windows: the same bits. Gradients are summed
// in lanes, whose order depends on sizes alone.
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels::inline ADZE_ISA {

inline constexpr int stem_outs = 6;
template <class T, class A> inline constexpr bool has_stem_tiles = sizeof(T) == 4 && A::bytes >= 32;

// Whether rows of this correlation fill these tiles: pixels adjacent in its window.
template <class T, class A>
bool has_stem_rows(const correlation<T>& p, index_t groups, index_t outs) {
  return groups == 1 && p.channels == 1 && p.w.step == 1 && p.w_stride == 1 && outs <= stem_outs &&
         p.w.out >= simd::pack<T, A>::size;
}
// ... and its results, which are stored as they come.
template <class T> bool has_stem_places(const correlation<T>& p, image<T> out, index_t outs) {
  return out.c_stride == 1 && out.w_stride == outs && p.w.place_step == 1;
}

// Two vectors of pixels, each from windows[v] on, times a panel of weights, then bias and
// activation of an epilogue that has no more, to pixels x outs at to[v].
template <class T, class A>
[[gnu::noinline]] void stem_tile(const T* const* windows, const index_t* taps, index_t count,
                                 const T* weights, index_t outs, T* const* to,
                                 const epilogue<T>& finish) {
  using P = simd::pack<T, A>;
  using S = simd::pack<T, simd::pack_tag<A>>;  // has a transpose in registers
  constexpr int vectors = 2, lanes = int(P::size), side = int(S::size);
  const registers<const T*, vectors> window{windows[0], windows[1]};
  P sum[stem_outs][vectors];
#pragma GCC unroll 6
  for (int o = 0; o < stem_outs; ++o)
    for (int v = 0; v < vectors; ++v) sum[o][v] = P(T(0));
  for (index_t t = 0; t < count; ++t, weights += tile_shape<T, A>::panel) {
    P pixels[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      pixels[v] = P::load(window[v] + taps[t]);
      pin(pixels[v]);
    }
#pragma GCC unroll 6
    for (int o = 0; o < stem_outs; ++o) {
      const P weight(weights[o]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        sum[o][v] = fma(pixels[v], weight, sum[o][v]);
        pin(sum[o][v]);
      }
    }
  }
  if (finish.bias) {
#pragma GCC unroll 6
    for (int o = 0; o < stem_outs; ++o)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v)
        sum[o][v] = sum[o][v] + P(finish.bias[std::min<index_t>(o, outs - 1)]);
  }
  if (finish.activate == activation::relu) {
#pragma GCC unroll 6
    for (int o = 0; o < stem_outs; ++o)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[o][v] = rectified(sum[o][v]);
  }
#pragma GCC unroll 2
  for (int v = 0; v < vectors; ++v) {
    alignas(64) registers<registers<T, lanes>, stem_outs> rows;
#pragma GCC unroll 6
    for (int o = 0; o < stem_outs; ++o) sum[o][v].store(rows[o]);
    T* out = to[v];
    for (int first = 0; first < lanes; first += side) {
      registers<S, side> square;
#pragma GCC unroll 8
      for (int i = 0; i < side; ++i)
        square[i] = i < stem_outs ? S::load(rows[i % stem_outs] + first) : S(T(0));
      transpose(square);
      // The next pixels cover the lanes that one has too many; the last ones keep within the
      // vector.
#pragma GCC unroll 8
      for (int i = 0; i < side; ++i, out += outs) {
        const bool inside = (lanes - first - i) * outs >= side;
        inside ? square[i].store(out) : square[i].store_partial(out, outs);
      }
    }
  }
}

// Rows of outputs, pixels in order, of a window that is open, in pairs of vectors. The last vector
// of a row begins where it still fits, and the last pair may have one vector twice: some pixels are
// computed twice.
template <class T, class A>
void stem_rows(const correlation<T>& p, const T* window, const index_t* starts,
               const index_t* places, index_t pixels, const index_t* taps, const T* weights,
               index_t outs, T* out, const epilogue<T>& finish) {
  constexpr index_t lanes = simd::pack<T, A>::size;
  const bool after = finish.residual || finish.row_bias;
  const epilogue<T> in_tile = after ? epilogue<T>{} : finish;
  for (index_t row = 0, x = 0; row < pixels;) {
    registers<const T*, 2> from;
    registers<T*, 2> to;
    for (int v = 0; v < 2; ++v) {
      if (row == pixels) {
        from[v] = from[0], to[v] = to[0];
        break;
      }
      const index_t at = std::min(x, p.w.out - lanes);
      from[v] = window + starts[row] + at, to[v] = out + places[row] + at * outs;
      x += lanes;
      if (x >= p.w.out) x = 0, row += p.w.out;
    }
    stem_tile<T, A>(from, taps, p.h.taps * p.w.taps, weights, outs, to, in_tile);
  }
  if (!after) return;
  for (index_t row = 0; row < pixels; row += p.w.out)
    finish_rows<T, A>(finish, {out + places[row], p.w.out, outs, outs, 1}, 0, outs);
}

// Rows of gradients, `step` apart, as planes of rows that are whole vectors, `width` in all. The
// last vector ends where the row does: its first columns, which the one before has too, are zeros.
template <class T, class A>
[[gnu::noinline]] void stem_planes(const T* from, index_t step, index_t rows, index_t pixels,
                                   index_t width, index_t outs, T* to) {
  using S = simd::pack<T, simd::pack_tag<A>>;
  constexpr index_t lanes = simd::pack<T, A>::size;
  constexpr int side = int(S::size);
  const index_t plane = rows * width;
  for (index_t r = 0; r < rows; ++r, from += pixels * step, to += width)
    for (index_t x = 0; x < width; x += side) {
      const index_t first = x - x % lanes, at = x - first + std::min(first, pixels - lanes);
      registers<S, side> square;
#pragma GCC unroll 8
      for (int i = 0; i < side; ++i)
        square[i] = at + i >= first ? S::load_partial(from + (at + i) * step, outs) : S(T(0));
      transpose(square);
#pragma GCC unroll 6
      for (int o = 0; o < stem_outs; ++o) square[o % side].store(to + o * plane + x);
    }
}

// The gradients of some taps and three outputs over rows of pixels, in lanes: sums of a tap are
// `step` apart.
template <class T, class A> inline constexpr int stem_taps = A::bytes == 64 ? 5 : 4;
template <class T, class A, int count>
[[gnu::noinline]] void stem_weight_tile(const correlation<T>& p, const T* window,
                                        const index_t* starts, index_t rows, const index_t* taps,
                                        const T* planes, index_t width, T* sums, index_t step) {
  using P = simd::pack<T, A>;
  constexpr int outs = 3;
  const index_t plane = rows * width, pixels = p.w.out, last = pixels - P::size;
  registers<registers<P, outs>, count> sum;
  const auto each_sum = [&](auto f) __attribute__((always_inline)) {
    simd::unroll<count * outs>([&](auto i) __attribute__((always_inline)) {
      constexpr int t = i / outs, o = i % outs;
      f(sum[t][o], sums + t * step + o * P::size);
    });
  };
  each_sum([](P& s, const T* from) { s = P::load(from); });
  for (index_t r = 0; r < rows; ++r, planes += width) {
    registers<const T*, count> x;
    simd::unroll<count>([&](auto t) __attribute__((always_inline)) {
      x[t] = window + starts[r * pixels] + taps[t];
    });
    for (index_t i = 0; i < width; i += P::size) {
      const index_t at = i < last ? i : last;  // by std::min g++ would keep sums in memory
      registers<P, outs> g;
      simd::unroll<outs>([&](auto o) __attribute__((always_inline)) {
        g[o] = P::load(planes + o * plane + i);
        pin(g[o]);
      });
      simd::unroll<count>([&](auto t) __attribute__((always_inline)) {
        P pixel = P::load(x[t] + at);
        pin(pixel);
        simd::unroll<outs>([&](auto o) __attribute__((always_inline)) {
          sum[t][o] = fma(pixel, g[o], sum[t][o]);
          pin(sum[t][o]);
        });
      });
    }
  }
  each_sum([](P s, T* to) { s.store(to); });
}

// sums[tap][out] (+)= the gradients of the weight over rows of outputs whose window is open: some
// rows at a time, whose planes stay in the L1 cache.
template <class T, class A>
void stem_weights(const correlation<T>& p, const T* window, const index_t* starts,
                  const T* gradient, index_t step, index_t pixels, const index_t* taps,
                  index_t outs, bool accumulate, T* sums) {
  constexpr index_t lanes = simd::pack<T, A>::size, most = stem_taps<T, A>;
  const index_t count = p.h.taps * p.w.taps, tap_step = stem_outs * lanes;
  const index_t passes = (count + most - 1) / most;  // through the pixels, with as many taps each
  const index_t width = (p.w.out + lanes - 1) / lanes * lanes, rows = pixels / p.w.out;
  const index_t band = std::clamp<index_t>((index_t(16) << 10) / (width * stem_outs * 4), 1, rows);
  T* const planes = scratch<T, scratch_use::panels>(stem_outs * (band * width + count * lanes));
  T* const in_lanes = planes + stem_outs * band * width;
  // What the next band reads is asked for meanwhile, as much before each tile.
  const index_t line = 64 / index_t(sizeof(T)), calls = passes * ((outs + 2) / 3);
  const index_t share = band * p.w.out * step / (line * calls) + 1;
  fill_zeros(in_lanes, count * tap_step);
  for (index_t r = 0; r < rows; r += band) {
    const index_t n = std::min(band, rows - r);
    const T* soon = gradient + (r + n) * p.w.out * step;
    stem_planes<T, A>(gradient + r * p.w.out * step, step, n, p.w.out, width, outs, planes);
    for (index_t o = 0; o < outs; o += 3)
      for (index_t pass = 0, t = 0; pass < passes; ++pass) {
        const index_t some = (count - t + passes - pass - 1) / (passes - pass);
        for (index_t i = 0; i < share; ++i, soon += line) __builtin_prefetch(soon);
        simd::unroll<int(most)>([&](auto before) {
          constexpr int size = before + 1;
          if (some == size)
            stem_weight_tile<T, A, size>(p, window, starts + r * p.w.out, n, taps + t,
                                         planes + o * n * width, width,
                                         in_lanes + t * tap_step + o * lanes, tap_step);
        });
        t += some;
      }
  }
  for (index_t t = 0; t < count; ++t)
    for (index_t o = 0; o < outs; ++o, ++sums) {
      const T sum = reduce_add(simd::pack<T, A>::load(in_lanes + (t * stem_outs + o) * lanes));
      *sums = accumulate ? *sums + sum : sum;
    }
}

}  // namespace adze::kernels::inline ADZE_ISA
