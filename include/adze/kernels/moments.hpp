#pragma once
// SPDX-License-Identifier: MIT
// Mean and squared deviations of rows, and rows scaled about a mean: what all norms are made of.
// Means are kept in double and subtracted as a high and a low part, deviations are summed about
// the mean: data far from zero keep their digits. Sums run in blocks of fixed size that are added
// in double, the same for any number of threads.
#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>

#include <adze/core/parallel.hpp>
#include <adze/kernels/lanes.hpp>

namespace adze::kernels {

// Of some values: how many, their mean, and the sum of squared deviations from it.
struct moments {
  double count = 0, mean = 0, squares = 0;
  double variance() const { return squares / count; }  // biased
};

// The moments of both sets together (Chan, Golub, LeVeque 1979).
inline moments merged(const moments& a, const moments& b) {
  if (a.count == 0) return b;
  const double count = a.count + b.count, difference = b.mean - a.mean;
  return {count, a.mean + difference * (b.count / count),
          a.squares + b.squares + difference * difference * (a.count * b.count / count)};
}

inline namespace ADZE_ISA {

inline constexpr index_t norm_block = 1024;   // elements summed in T before they go to double
inline constexpr index_t norm_chunk = 16384;  // elements a thread takes

// A mean as two numbers of type T: x - high is exact where x is near it.
template <class T> struct split_mean {
  T high, low;
  explicit split_mean(double m)
      : high(static_cast<T>(m)), low(static_cast<T>(m - static_cast<double>(high))) {}
};

// x - mean in every lane.
template <class T> simd::pack<T> deviation(simd::pack<T> x, split_mean<T> m) {
  if constexpr (std::is_same_v<T, double>) return x - simd::pack<T>(m.high);
  return x - simd::pack<T>(m.high) - simd::pack<T>(m.low);
}

// The sums of the K packs term(i, lanes) gives; lanes that do not exist must add zero.
template <class T, std::size_t K, class F> std::array<double, K> blocked_sums(index_t n, F term) {
  using pack = simd::pack<T>;
  constexpr index_t size = pack::size;
  std::array<double, K> total{};
  for (index_t begin = 0; begin < n; begin += norm_block) {
    const index_t end = std::min(n, begin + norm_block);
    std::array<pack, K> a, b, c, d;
    for (std::size_t k = 0; k < K; ++k) a[k] = b[k] = c[k] = d[k] = pack(0);
    const auto add = [&](std::array<pack, K>& to, index_t i, auto lanes) {
      const std::array<pack, K> t = term(i, lanes);
      for (std::size_t k = 0; k < K; ++k) to[k] += t[k];
    };
    index_t i = begin;
    for (; i + 4 * size <= end; i += 4 * size) {
      add(a, i, whole_lanes<T>{});
      add(b, i + size, whole_lanes<T>{});
      add(c, i + 2 * size, whole_lanes<T>{});
      add(d, i + 3 * size, whole_lanes<T>{});
    }
    for (; i + size <= end; i += size) add(a, i, whole_lanes<T>{});
    if constexpr (size > 1)
      if (i < end) add(b, i, first_lanes<T>{end - i});
    for (std::size_t k = 0; k < K; ++k) {
      total[k] += static_cast<double>(reduce_add((a[k] + b[k]) + (c[k] + d[k])));
    }
  }
  return total;
}

template <class T> moments row_moments(const T* x, index_t n) {
  using pack = simd::pack<T>;
  if (n == 0) return {};
  const double first = static_cast<double>(x[0]), count = static_cast<double>(n);
  const double sum = blocked_sums<T, 1>(n, [&](index_t i, auto lanes) {
    return std::array<pack, 1>{lanes.load(x + i, first) - pack(first)};
  })[0];
  const double mean = first + sum / count;
  const T near = static_cast<T>(mean);
  const double square = blocked_sums<T, 1>(n, [&](index_t i, auto lanes) {
    const pack d = lanes.load(x + i, static_cast<double>(near)) - pack(near);
    return std::array<pack, 1>{d * d};
  })[0];
  const double off = static_cast<double>(near) - mean;
  const double squares = square - count * off * off;
  return {count, mean, squares < 0 ? 0 : squares};  // NaN stays
}

template <class T> double row_mean_square(const T* x, index_t n) {
  using pack = simd::pack<T>;
  const double sum = blocked_sums<T, 1>(n, [&](index_t i, auto lanes) {
    const pack v = lanes.load(x + i);
    return std::array<pack, 1>{v * v};
  })[0];
  return sum / static_cast<double>(n);
}

// y = (x - mean) scale + shift with the same numbers for all elements.
template <class T>
void scale_row(const T* x, T* y, index_t n, split_mean<T> mean, double scale, double shift) {
  using pack = simd::pack<T>;
  const pack a(scale), b(shift);
  over_packs<T>(n, [&](index_t i, auto lanes) {
    lanes.store(fma(deviation<T>(lanes.load(x + i), mean), a, b), y + i);
  });
}

// y = (x - mean) scale weight + bias with a weight and a bias for each element, or none (null).
template <class T>
void weigh_row(const T* x, T* y, index_t n, split_mean<T> mean, double scale, const T* weight,
               const T* bias) {
  using pack = simd::pack<T>;
  const pack a(scale);
  over_packs<T>(n, [&](index_t i, auto lanes) {
    pack v = deviation<T>(lanes.load(x + i), mean) * a;
    if (weight != nullptr) v = v * lanes.load(weight + i);
    if (bias != nullptr) v = v + lanes.load(bias + i);
    lanes.store(v, y + i);
  });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
