#pragma once
// SPDX-License-Identifier: MIT
// Depthwise correlations: each channel by itself, lanes along channels. Windows and tables come
// from conv_plan.hpp; weights are [tap][channel] here. Sums run over taps (or pixels) in order.
#include <adze/kernels/conv_plan.hpp>

namespace adze::kernels::inline ADZE_ISA {

// out[places[i] + c] = sum over t of window[pixels[i] + taps[t] + c] * weight[t * channels + c].
template <class T> struct depthwise_problem {
  const T* window = nullptr;
  const index_t *pixels = nullptr, *taps = nullptr, *places = nullptr;
  index_t count = 0, tap_count = 0, channels = 0;
};

// All lanes, or the first `width` of them.
template <bool partial, class P, class T>
[[gnu::always_inline]] inline void load_lanes(P& to, const T* from, index_t width) {
  if constexpr (partial)
    to = P::load_partial(from, width);
  else
    to = P::load(from);
}
template <bool partial, class P, class T>
[[gnu::always_inline]] inline void store_lanes(P from, T* to, index_t width) {
  if constexpr (partial)
    from.store_partial(to, width);
  else
    from.store(to);
}

// Four pixels and vectors of channels of which the last has `width` lanes.
template <class T, class A, int vectors, bool partial>
[[gnu::always_inline]] inline void depthwise_tile(const depthwise_problem<T>& p, const T* const* in,
                                                  T* const* out, const T* weight, index_t channel,
                                                  index_t width) {
  using P = simd::pack<T, A>;
  P a0(T(0)), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  weight += channel;
  for (index_t t = 0; t < p.tap_count; ++t, weight += p.channels) {
    const index_t offset = p.taps[t] + channel;
    // One vector of channels: its sums at four pixels.
    const auto add = [&](index_t v, P & s0, P & s1, P & s2, P & s3) __attribute__((always_inline)) {
      P w;
      load_lanes<partial>(w, weight + v, width);
      pin(w);
      const auto one = [&](P & s, const T* from) __attribute__((always_inline)) {
        P x;
        load_lanes<partial>(x, from + offset + v, width);
        s = fma(w, x, s);
        pin(s);
      };
      one(s0, in[0]), one(s1, in[1]), one(s2, in[2]), one(s3, in[3]);
    };
    add(0, a0, a1, a2, a3);
    if constexpr (vectors == 2) add(P::size, b0, b1, b2, b3);
  }
  const auto keep = [&](index_t v, P s0, P s1, P s2, P s3) __attribute__((always_inline)) {
    store_lanes<partial>(s0, out[0] + channel + v, width);
    store_lanes<partial>(s1, out[1] + channel + v, width);
    store_lanes<partial>(s2, out[2] + channel + v, width);
    store_lanes<partial>(s3, out[3] + channel + v, width);
  };
  keep(0, a0, a1, a2, a3);
  if constexpr (vectors == 2) keep(P::size, b0, b1, b2, b3);
}

// All channels of four pixels from `pixel` on. Missing ones repeat the last one, and store the
// same again: no branch around the registers, which g++ would then keep in memory.
template <class T, class A>
[[gnu::noinline]] void depthwise_pixels(const depthwise_problem<T>& p, const T* weight, T* out,
                                        index_t pixel) {
  constexpr index_t lanes = simd::pack<T, A>::size;
  const T* in[4];
  T* to[4];
  for (index_t i = 0; i < 4; ++i) {
    const index_t at = std::min(pixel + i, p.count - 1);
    in[i] = p.window + p.pixels[at];
    to[i] = out + p.places[at];
  }
  index_t c = 0;
  for (; c + 2 * lanes <= p.channels; c += 2 * lanes)
    depthwise_tile<T, A, 2, false>(p, in, to, weight, c, lanes);
  for (; c < p.channels; c += lanes)
    depthwise_tile<T, A, 1, true>(p, in, to, weight, c, std::min(lanes, p.channels - c));
}

template <class T, class A>
void depthwise_outputs(const depthwise_problem<T>& p, const T* weight, T* out) {
  for (index_t i = 0; i < p.count; i += 4) depthwise_pixels<T, A>(p, weight, out, i);
}

// Five taps (repeated ones are not stored) of the weight's gradient, summed over the pixels:
// sum[t * channels + c] += window[pixels[i] + taps[t] + c] * gradient[places[i] + c].
template <class T, class A, int vectors, bool partial>
[[gnu::noinline]] void depthwise_weight_tile(const depthwise_problem<T>& p, const T* gradient,
                                             T* sums, index_t tap, index_t channel, index_t width) {
  using P = simd::pack<T, A>;
  constexpr int most = 5;
  const index_t height = std::min<index_t>(most, p.tap_count - tap);
  registers<const T*, most> in;
  registers<registers<P, vectors>, most> sum;
  for (int t = 0; t < most; ++t)
    in[t] = p.window + p.taps[tap + std::min<index_t>(t, height - 1)] + channel;
#pragma GCC unroll 8
  for (int t = 0; t < most; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[t][v] = P(T(0));
  gradient += channel;
  for (index_t i = 0; i < p.count; ++i) {
    const index_t offset = p.pixels[i];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      P g;
      load_lanes<partial>(g, gradient + p.places[i] + v * P::size, width);
      pin(g);
#pragma GCC unroll 8
      for (int t = 0; t < most; ++t) {
        P x;
        load_lanes<partial>(x, in[t] + offset + v * P::size, width);
        sum[t][v] = fma(g, x, sum[t][v]);
        pin(sum[t][v]);
      }
    }
  }
  registers<T*, most> out;
  for (int t = 0; t < most; ++t)
    out[t] = sums + (tap + std::min<index_t>(t, height - 1)) * p.channels + channel;
#pragma GCC unroll 8
  for (int t = 0; t < most; ++t)  // all loads, then all stores: repeated taps add only once
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      P old;
      load_lanes<partial>(old, out[t] + v * P::size, width);
      sum[t][v] = old + sum[t][v];
    }
#pragma GCC unroll 8
  for (int t = 0; t < most; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store_lanes<partial>(sum[t][v], out[t] + v * P::size, width);
}

template <class T, class A>
void depthwise_weights(const depthwise_problem<T>& p, const T* gradient, T* sums) {
  constexpr index_t lanes = simd::pack<T, A>::size;
  index_t c = 0;
  for (; c < p.channels; c += lanes) {
    const bool two = c + 2 * lanes <= p.channels;
    for (index_t t = 0; t < p.tap_count; t += 5) {
      if (two)
        depthwise_weight_tile<T, A, 2, false>(p, gradient, sums, t, c, lanes);
      else
        depthwise_weight_tile<T, A, 1, true>(p, gradient, sums, t, c,
                                             std::min(lanes, p.channels - c));
    }
    if (two) c += lanes;
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
