#pragma once
// SPDX-License-Identifier: MIT
// Nine taps for each channel, as the weights of 3 x 3 convolutions have them, turned around.
#include <adze/kernels/gemm_tile.hpp>

namespace adze::kernels::inline ADZE_ISA {

// The taps of one vector of channels, [lane][tap], as [tap][lane], or the other way round: squares
// of packs that have a transpose in registers, and the ninth tap.
template <class T, class A, bool back> void turn_taps(const T* from, T* to) {
  using P = simd::pack<T, simd::pack_tag<A>>;
  constexpr index_t lanes = simd::pack<T, A>::size, part = P::size;
  for (index_t q = 0; q < lanes; q += part) {
    const auto at = [q](bool by_tap, index_t t, index_t i) {
      return by_tap ? t * lanes + q + i : 9 * (q + i) + t;
    };
    index_t t = 0;
    for (; t + part <= 9; t += part) {
      P v[P::width];
      for (index_t i = 0; i < part; ++i)
        v[i] = P::load(from + (back ? at(true, t + i, 0) : at(false, t, i)));
      transpose(v);
      for (index_t i = 0; i < part; ++i)
        v[i].store(to + (back ? at(false, t, i) : at(true, t + i, 0)));
    }
    for (; t < 9; ++t)
      for (index_t i = 0; i < part; ++i) to[at(!back, t, i)] = from[at(back, t, i)];
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
