#pragma once
// SPDX-License-Identifier: MIT
// The sum of squared differences in fixed blocks, so that the result does not depend on threads,
// and its gradient.
#include <adze/core/parallel.hpp>
#include <adze/kernels/lanes.hpp>

namespace adze::kernels::inline ADZE_ISA {

inline constexpr index_t error_block = 1024;  // summed in T, blocks in double
inline constexpr index_t error_chunk = 32;    // blocks a thread takes

constexpr index_t error_blocks(index_t n) { return (n + error_block - 1) / error_block; }

// sum (x - t)^2; `partial` has room for error_blocks(n) values.
template <class T>
[[gnu::noinline]] double squared_error(const T* x, const T* t, index_t n, double* partial) {
  using pack = simd::pack<T>;
  parallel_for(error_blocks(n), error_chunk, [&](index_t begin, index_t end) {
    for (index_t b = begin; b < end; ++b) {
      const index_t at = b * error_block, m = std::min(error_block, n - at);
      pack sum(0);
      over_packs<T>(m, [&](index_t i, auto lanes) {
        const pack d = lanes.load(x + at + i) - lanes.load(t + at + i);
        sum = fma(d, d, sum);
      });
      partial[b] = static_cast<double>(reduce_add(sum));
    }
  });
  double total = 0.0;
  for (index_t b = 0; b < error_blocks(n); ++b) total += partial[b];
  return total;
}

// d = factor (x - t).
template <class T>
[[gnu::noinline]] void scaled_difference(const T* x, const T* t, T factor, T* d, index_t n) {
  using pack = simd::pack<T>;
  parallel_for(n, error_chunk * error_block, [&](index_t begin, index_t end) {
    over_packs<T>(end - begin, [&](index_t i, auto lanes) {
      const index_t at = begin + i;
      lanes.store((lanes.load(x + at) - lanes.load(t + at)) * pack(factor), d + at);
    });
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
