#pragma once
// SPDX-License-Identifier: MIT
// The slow twins of the integer kernels: the definitions, one element after the other. For tests
// and for benchmarks; nothing else includes this.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include <adze/core/view.hpp>
#include <adze/kernels/quantize.hpp>

namespace adze::kernels::reference::inline ADZE_ISA {

template <class Code> Code quantize(float x, affine a, code_range codes) {
  const float inverse = 1 / a.scale, scaled = x * inverse;
  if (std::isnan(scaled)) return static_cast<Code>(a.zero);
  const double code = std::nearbyint(double(scaled)) + a.zero;
  return static_cast<Code>(std::clamp<double>(code, codes.low, codes.high));
}

template <class Code> float dequantize(Code code, affine a) {
  return static_cast<float>(static_cast<std::int32_t>(code) - a.zero) * a.scale;
}

// Sum over k of (a(i, k) - zero) b(k, j), modulo 2^32, by way of 64 bits.
template <class T, class W>
std::int32_t product(matrix<const T> a, matrix<const W> b, index_t i, index_t j,
                     std::int32_t zero = 0) {
  std::uint64_t sum = 0;
  for (index_t k = 0; k < a.cols; ++k)
    sum += static_cast<std::uint64_t>((std::int64_t(a(i, k)) - zero) * b(k, j));
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(sum));
}

}  // namespace adze::kernels::reference::inline ADZE_ISA
