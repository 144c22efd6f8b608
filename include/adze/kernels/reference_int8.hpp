#pragma once
// SPDX-License-Identifier: MIT
// The slow twins of the integer kernels: the definitions, one element after the other. For tests
// and for benchmarks; nothing else includes this.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include <adze/core/view.hpp>
#include <adze/kernels/conv_plan.hpp>
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

// One output pixel of a convolution of codes, modulo 2^32: w [o, c / groups, kh, kw]; what lies
// outside of the image is the zero point.
template <class Code>
std::int32_t convolution(const conv_shape& s, image<const Code> x, const std::int8_t* w,
                         std::int32_t zero, index_t n, index_t o, index_t i, index_t j) {
  const index_t in = s.c / s.groups, first = o / (s.o / s.groups) * in;
  std::uint32_t sum = 0;
  for (index_t c = 0; c < in; ++c)
    for (index_t a = 0; a < s.kh; ++a)
      for (index_t b = 0; b < s.kw; ++b) {
        const index_t y = i * s.stride_h - s.pad_h + a * s.dil_h;
        const index_t column = j * s.stride_w - s.pad_w + b * s.dil_w;
        if (y < 0 || y >= s.h || column < 0 || column >= s.w) continue;
        const std::int32_t code = x.at(n, y, column)[(first + c) * x.c_stride];
        sum += static_cast<std::uint32_t>((code - zero) * w[((o * in + c) * s.kh + a) * s.kw + b]);
      }
  return static_cast<std::int32_t>(sum);
}

}  // namespace adze::kernels::reference::inline ADZE_ISA
