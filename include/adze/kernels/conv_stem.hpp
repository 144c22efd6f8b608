#pragma once
// SPDX-License-Identifier: MIT
// Convolutions of one channel to a few, the first layer of small networks: vectors run along a row
// of pixels, since a vector of outputs would be half empty. Each output is the same chain of fma as
// in tiles of windows: the same bits.
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels::inline ADZE_ISA {

inline constexpr int stem_outs = 6;
// On 16 registers of 8 lanes; wider tiles would wait for the latency of fma.
template <class T, class A> inline constexpr bool has_stem_tiles = sizeof(T) == 4 && A::bytes == 32;
template <class T, class A> inline constexpr index_t stem_pixels = 2 * simd::pack<T, A>::size;

// Whether rows of this correlation fill these tiles: pixels adjacent in its window, results dense.
template <class T, class A>
bool has_stem_rows(const correlation<T>& p, image<T> out, index_t groups, index_t outs) {
  return groups == 1 && p.channels == 1 && p.w.step == 1 && p.w_stride == 1 && outs <= stem_outs &&
         p.w.out >= stem_pixels<T, A> && out.c_stride == 1 && out.w_stride == outs &&
         p.w.place_step == 1;
}

// stem_pixels pixels from `window` on, times a panel of weights, to pixels x outs.
template <class T, class A>
[[gnu::noinline]] void stem_tile(const T* window, const index_t* taps, index_t count,
                                 const T* weights, index_t outs, T* to) {
  using P = simd::pack<T, A>;
  constexpr int vectors = 2;
  constexpr index_t lanes = P::size;
  P sum[stem_outs][vectors];
#pragma GCC unroll 6
  for (int o = 0; o < stem_outs; ++o)
    for (int v = 0; v < vectors; ++v) sum[o][v] = P(T(0));
  for (index_t t = 0; t < count; ++t, weights += tile_shape<T, A>::panel) {
    P pixels[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      pixels[v] = P::load(window + taps[t] + v * lanes);
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
#pragma GCC unroll 2
  for (int v = 0; v < vectors; ++v) {
    P square[P::width];
#pragma GCC unroll 8
    for (int i = 0; i < int(lanes); ++i)
      square[i] = i < stem_outs ? sum[i % stem_outs][v] : P(T(0));
    transpose(square);
    // The next pixels cover the lanes that one has too many; the last ones keep within the tile.
#pragma GCC unroll 8
    for (int i = 0; i < int(lanes); ++i, to += outs) {
      const bool inside = (vectors * lanes - v * lanes - i) * outs >= lanes;
      inside ? square[i].store(to) : square[i].store_partial(to, outs);
    }
  }
}

// Rows of outputs, pixels in order, of a window that is open. The last tile of a row begins where
// it still fits: some pixels are computed twice.
template <class T, class A>
void stem_rows(const correlation<T>& p, const T* window, const index_t* starts,
               const index_t* places, index_t pixels, const index_t* taps, const T* weights,
               index_t outs, T* out, const epilogue<T>& finish) {
  for (index_t row = 0; row < pixels; row += p.w.out) {
    for (index_t x = 0; x < p.w.out; x += stem_pixels<T, A>) {
      const index_t i = row + std::min(x, p.w.out - stem_pixels<T, A>);
      stem_tile<T, A>(window + starts[i], taps, p.h.taps * p.w.taps, weights, outs,
                      out + places[i]);
    }
    finish_rows<T, A>(finish, {out + places[row], p.w.out, outs, outs, 1}, 0, outs);
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
