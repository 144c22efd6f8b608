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

// `height` of four pixels, and vectors of channels of which the last has `width` lanes.
template <class T, class A, int vectors, bool partial>
[[gnu::noinline]] void depthwise_tile(const depthwise_problem<T>& p, const T* weight, T* out,
                                      index_t pixel, index_t channel, index_t width) {
  using P = simd::pack<T, A>;
  const index_t height = std::min<index_t>(4, p.count - pixel);
  registers<const T*, 4> in;
  registers<registers<P, vectors>, 4> sum;
  for (int i = 0; i < 4; ++i)  // a loop of its own: with a branch, g++ keeps `sum` in memory
    in[i] = p.window + p.pixels[pixel + std::min<index_t>(i, height - 1)] + channel;
#pragma GCC unroll 8
  for (int i = 0; i < 4; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[i][v] = P(T(0));
  const auto load = [&](const T* from) {
    return partial ? P::load_partial(from, width) : P::load(from);
  };
  weight += channel;
  for (index_t t = 0; t < p.tap_count; ++t, weight += p.channels) {
    const index_t offset = p.taps[t];
    registers<P, vectors> w;
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      w[v] = load(weight + v * P::size);
      pin(w[v]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        sum[i][v] = fma(w[v], load(in[i] + offset + v * P::size), sum[i][v]);
        pin(sum[i][v]);
      }
    }
  }
  out += channel;
#pragma GCC unroll 8
  for (int i = 0; i < 4; ++i) {  // repeated pixels store what is there: no branch around registers
    T* to = out + p.places[pixel + std::min<index_t>(i, height - 1)];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      if constexpr (partial)
        sum[i][v].store_partial(to + v * P::size, width);
      else
        sum[i][v].store(to + v * P::size);
    }
  }
}

template <class T, class A>
void depthwise_outputs(const depthwise_problem<T>& p, const T* weight, T* out) {
  constexpr index_t lanes = simd::pack<T, A>::size;
  for (index_t i = 0; i < p.count; i += 4) {
    index_t c = 0;
    for (; c + 2 * lanes <= p.channels; c += 2 * lanes)
      depthwise_tile<T, A, 2, false>(p, weight, out, i, c, lanes);
    for (; c < p.channels; c += lanes)
      depthwise_tile<T, A, 1, true>(p, weight, out, i, c, std::min(lanes, p.channels - c));
  }
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
  const auto load = [&](const T* from) {
    return partial ? P::load_partial(from, width) : P::load(from);
  };
  gradient += channel;
  for (index_t i = 0; i < p.count; ++i) {
    const index_t offset = p.pixels[i];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      P g = load(gradient + p.places[i] + v * P::size);
      pin(g);
#pragma GCC unroll 8
      for (int t = 0; t < most; ++t) {
        sum[t][v] = fma(g, load(in[t] + offset + v * P::size), sum[t][v]);
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
    for (int v = 0; v < vectors; ++v) sum[t][v] = load(out[t] + v * P::size) + sum[t][v];
#pragma GCC unroll 8
  for (int t = 0; t < most; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      if constexpr (partial)
        sum[t][v].store_partial(out[t] + v * P::size, width);
      else
        sum[t][v].store(out[t] + v * P::size);
    }
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
