#pragma once
// SPDX-License-Identifier: MIT
// What the kernels of batch norm share: sizes, the numbers by which each channel is normalised, and
// the gate of an activation behind the norm. Data are dense [outer, channels, inner]; inner = 1 are
// columns, which is how channels-last images are seen; else segments.
#include <limits>

#include <adze/core/view.hpp>
#include <adze/kernels/moments.hpp>

namespace adze::kernels {

struct batch_norm_sizes {
  index_t outer = 0, channels = 0, inner = 1;
  index_t count() const { return outer * inner; }  // elements of a channel
};

// An activation behind the norm, between 0 and `top`: gradients pass where the norm lies inside.
struct norm_gate {
  bool on = false;
  double top = std::numeric_limits<double>::infinity();
};

inline namespace ADZE_ISA {

// norm(x) = (x - mean) scale + shift, the mean as a high and a low part.
template <class T> struct norm_numbers {
  using pack = simd::pack<T>;
  pack high, low, scale, shift;
  pack deviation(pack x) const { return x - high - low; }
  pack norm(pack deviation) const { return fma(deviation, scale, shift); }
};
// Those of adjacent channels, from four rows of c numbers.
template <class T> struct numbers_by_column {
  const T* four;
  index_t c;
  template <class Lanes> norm_numbers<T> at(index_t j, Lanes lanes) const {
    return {lanes.load(four + j), lanes.load(four + c + j), lanes.load(four + 2 * c + j),
            lanes.load(four + 3 * c + j)};
  }
};
// Those of one channel.
template <class T> struct numbers_of_channel {
  const T* four;
  index_t c;
  template <class Lanes> norm_numbers<T> at(index_t, Lanes) const {
    using pack = simd::pack<T>;
    return {pack(four[0]), pack(four[c]), pack(four[2 * c]), pack(four[3 * c])};
  }
};

// g where the norm y lies inside.
template <class P> P passed(P g, P y, P top) {
  const P zero(0);
  return where(y > zero, where(y < top, g, zero), zero);
}

// Four rows of `channels` numbers of type T from doubles: mean (high, low) and two more.
template <class T>
void spread(index_t channels, const double* mean, const double* a, const double* b, T* out) {
  for (index_t c = 0; c < channels; ++c) {
    const split_mean<T> m(mean[c]);
    out[c] = m.high;
    out[channels + c] = m.low;
    out[2 * channels + c] = static_cast<T>(a[c]);
    out[3 * channels + c] = static_cast<T>(b[c]);
  }
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
