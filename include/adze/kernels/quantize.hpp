#pragma once
// SPDX-License-Identifier: MIT
// Floats to 8-bit codes and back in dense memory, and ranges of floats. The arithmetic is that of
// affine.hpp: infinities saturate, NaN becomes the zero point. Any dtype and any layout, a little
// slower: code_rows.hpp. Observers live in quant/.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <adze/core/parallel.hpp>
#include <adze/core/view.hpp>
#include <adze/kernels/affine.hpp>
#include <adze/simd/codes.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Elements that one task works on.
inline constexpr index_t codes_chunk = index_t(1) << 17;

// The smallest and the largest of n floats; NaN does not count. {0, 0} when there is none.
template <class A = simd::native> [[gnu::noinline]] extent extent_of(const float* x, index_t n) {
  using P = simd::pack<float, simd::tile_tag<A>>;
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
  using P = simd::pack<float, simd::tile_tag<A>>;
  constexpr index_t block = 4 * P::size;
  const code_lanes<P> lanes(a.scale, static_cast<float>(a.zero), codes);
  const auto convert = [&](const float* from, Code* to) {
    P v[4];
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      const P clipped = lanes.clipped(P::load(from + p * P::size));  // rounded as it is stored
      v[p] = where(clipped == clipped, clipped, P(0));
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
  using P = simd::pack<float, simd::tile_tag<A>>;
  const code_lanes<P> lanes(a.scale, static_cast<float>(a.zero), {});
  P v;
  index_t i = 0;
  for (; i + P::size <= n; i += P::size) {
    simd::load_codes(x + i, v);
    lanes.value_of(v).store(out + i);
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
      const code_lanes<simd::pack<float, simd::scalar>> lanes(a.scale, 0, {-most, most});
      for (index_t i = 0; i < w.rows; ++i)
        out(i, j) = static_cast<std::int8_t>(lanes.code(w(i, j)).v);
    }
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
