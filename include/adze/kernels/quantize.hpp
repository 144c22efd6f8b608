#pragma once
// SPDX-License-Identifier: MIT
// Floats to 8-bit codes and back, and the parameters that a range of floats asks for:
//   code = clamp(round(x * (1 / scale)) + zero, low, high)     x ~ (code - zero) * scale
// The reciprocal is taken once, in f32; rounding is half to even, before the zero point is added.
// Infinities saturate, NaN becomes the zero point. Observers and their formulas live in quant/.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <adze/core/parallel.hpp>
#include <adze/core/view.hpp>
#include <adze/simd/codes.hpp>

namespace adze::kernels {

struct affine {
  float scale = 1;
  std::int32_t zero = 0;
};

// The codes in use, both ends included.
struct code_range {
  std::int32_t low = 0, high = 255;
};
inline constexpr code_range codes_u8{0, 255}, codes_u7{0, 127}, codes_s8{-128, 127},
    codes_s7{-64, 63};

struct extent {
  float low = 0, high = 0;
};

// The parameters of one range, computed when the data are there (FBGEMM's ChooseQuantizationParams,
// numerics of dynamic quantization): the range is extended to hold 0, scale = (high - low) / codes
// in double, 0.1 where that is 0 or has no reciprocal, 6.1e-5 at least; the zero point comes from
// the end of the range whose error is smaller, and is half to even.
inline affine dynamic_affine(extent x, code_range codes) {
  double low = std::min(x.low, 0.0f), high = std::max(x.high, 0.0f);
  const double steps = static_cast<double>(codes.high) - codes.low;
  auto scale = static_cast<float>((high - low) / steps);
  if (scale == 0 || std::isinf(1 / scale)) scale = 0.1f;
  if (constexpr float least = 6.1e-5f; scale < least) {
    const float old = scale;
    scale = least;
    if (low == 0) {
      high = least * steps;
    } else if (high == 0) {
      low = -least * steps;
    } else {
      low *= double(least) / old, high *= double(least) / old;
    }
  }
  const double s = scale;
  const double from_low = codes.low - low / s, from_high = codes.high - high / s;
  const double low_error = std::abs(codes.low) + std::abs(low / s);
  const double high_error = std::abs(codes.high) + std::abs(high / s);
  const double zero = low_error < high_error ? from_low : from_high;
  if (!(zero >= codes.low)) return {scale, codes.low};  // NaN too, of an infinite range
  if (zero > codes.high) return {scale, codes.high};
  return {scale, static_cast<std::int32_t>(std::nearbyint(zero))};
}

// Zero point 0 and the largest size at `most`: weights, where 127 and 63 are usual.
inline affine symmetric_affine(extent x, float most) {
  return {std::max(std::max(-x.low, x.high) / most, std::numeric_limits<float>::epsilon()), 0};
}

inline namespace ADZE_ISA {

// Elements that one task works on.
inline constexpr index_t codes_chunk = index_t(1) << 17;

// The smallest and the largest of n floats; NaN does not count. {0, 0} when there is none.
template <class A = simd::native> [[gnu::noinline]] extent extent_of(const float* x, index_t n) {
  using P = simd::pack<float, A>;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  P low[4], high[4];
  for (int p = 0; p < 4; ++p) low[p] = infinity, high[p] = -infinity;
  const auto look = [&](int p, P v) {
    low[p] = less_of(v, low[p]);
    high[p] = greater_of(v, high[p]);
  };
  index_t i = 0;
  for (; i + 4 * P::size <= n; i += 4 * P::size)
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) look(p, P::load(x + i + p * P::size));
  for (; i < n; ++i) look(0, P(x[i]));
  for (int p = 1; p < 4; ++p) {
    low[0] = less_of(low[p], low[0]);
    high[0] = greater_of(high[p], high[0]);
  }
  const extent found{reduce_min(low[0]), reduce_max(high[0])};
  return found.low <= found.high ? found : extent{};
}

// One row of codes. Chunks of a row are rows.
template <class Code, class A = simd::native>
[[gnu::noinline]] void quantize_row(const float* x, Code* out, index_t n, affine a,
                                    code_range codes) {
  using P = simd::pack<float, A>;
  constexpr index_t block = 4 * P::size;
  const P inverse(1 / a.scale), zero(0.0f);
  const P low(static_cast<float>(codes.low - a.zero)),
      high(static_cast<float>(codes.high - a.zero));
  const auto convert = [&](const float* from, Code* to) {
    P v[4];
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      const P scaled = P::load(from + p * P::size) * inverse;
      v[p] = where(scaled == scaled, less_of(greater_of(scaled, low), high), zero);
    }
    simd::store_codes(v, a.zero, to);
  };
  index_t i = 0;
  for (; i + block <= n; i += block) convert(x + i, out + i);
  if (i == n) return;
  float from[static_cast<std::size_t>(block)] = {};
  Code to[static_cast<std::size_t>(block)];
  std::copy_n(x + i, n - i, from);
  convert(from, to);
  std::copy_n(to, n - i, out + i);
}

template <class Code, class A = simd::native>
[[gnu::noinline]] void dequantize_row(const Code* x, float* out, index_t n, affine a) {
  using P = simd::pack<float, A>;
  const P scale(a.scale), zero(static_cast<float>(a.zero));
  P v;
  index_t i = 0;
  for (; i + P::size <= n; i += P::size) {
    simd::load_codes(x + i, v);
    ((v - zero) * scale).store(out + i);
  }
  for (; i < n; ++i) out[i] = (static_cast<float>(x[i]) - static_cast<float>(a.zero)) * a.scale;
}

// The range of a whole array.
template <class A = simd::native> extent extent_of_all(const float* x, index_t n) {
  if (n <= codes_chunk) return extent_of<A>(x, n);
  constexpr index_t most = 64;
  const index_t chunk = std::max(codes_chunk, (n + most - 1) / most);
  extent parts[static_cast<std::size_t>(most)];
  parallel_for(n, chunk,
               [&](index_t i0, index_t i1) { parts[i0 / chunk] = extent_of<A>(x + i0, i1 - i0); });
  extent all = parts[0];
  for (index_t p = 1; p * chunk < n; ++p)
    all = {std::min(all.low, parts[p].low), std::max(all.high, parts[p].high)};
  return all;
}

// Row i of out = row i of x in codes, with parameters each[i], or each[0] for all rows unless
// `per_row`. Rows are contiguous, their distances free.
struct row_codes {
  const affine* each = nullptr;
  bool per_row = false;

  affine operator()(index_t row) const { return each[per_row ? row : 0]; }
};

template <class Code, class A = simd::native>
void quantize(matrix<const float> x, matrix<Code> out, row_codes a, code_range codes) {
  const index_t rows = std::max<index_t>(codes_chunk / std::max<index_t>(x.cols, 1), 1);
  parallel_for(x.rows, rows, [&](index_t i0, index_t i1) {
    for (index_t i = i0; i < i1; ++i)
      quantize_row<Code, A>(x.data + i * x.row_stride, out.data + i * out.row_stride, x.cols, a(i),
                            codes);
  });
}

template <class Code, class A = simd::native>
void dequantize(matrix<const Code> x, matrix<float> out, row_codes a) {
  const index_t rows = std::max<index_t>(codes_chunk / std::max<index_t>(x.cols, 1), 1);
  parallel_for(x.rows, rows, [&](index_t i0, index_t i1) {
    for (index_t i = i0; i < i1; ++i)
      dequantize_row<Code, A>(x.data + i * x.row_stride, out.data + i * out.row_stride, x.cols,
                              a(i));
  });
}

// Weights [in, out] with any strides to codes of -most..most, each column with a scale of its own.
[[gnu::noinline]] inline void quantize_columns(matrix<const float> w, matrix<std::int8_t> out,
                                               float* scales, std::int32_t most) {
  parallel_for(w.cols, 64, [&](index_t j0, index_t j1) {
    for (index_t j = j0; j < j1; ++j) {
      extent all;
      for (index_t i = 0; i < w.rows; ++i)
        all = {std::min(all.low, w(i, j)), std::max(all.high, w(i, j))};
      const affine a = symmetric_affine(all, static_cast<float>(most));
      scales[j] = a.scale;
      for (index_t i = 0; i < w.rows; ++i) {
        const float x = w(i, j) * (1 / a.scale);
        const float code = x != x ? 0.0f : std::nearbyint(x);
        out(i, j) = static_cast<std::int8_t>(
            std::clamp(code, static_cast<float>(-most), static_cast<float>(most)));
      }
    }
  });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
