#pragma once
// SPDX-License-Identifier: MIT
// softmax and log_softmax along one axis of dense data, and their gradients. The axis lies in
// memory as [outer, n, inner]: rows where inner is 1, else columns taken in blocks that stay in
// L1. Every result depends on its own row only, so threads never change a bit.
#include <algorithm>
#include <limits>

#include <adze/core/parallel.hpp>
#include <adze/core/view.hpp>
#include <adze/kernels/lanes.hpp>
#include <adze/simd/math.hpp>

namespace adze::kernels {

struct softmax_sizes {
  index_t outer = 0, n = 0, inner = 1;
};

inline namespace ADZE_ISA {

inline constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
inline constexpr index_t softmax_chunk = 16384;  // elements a thread takes: about 20 us
inline constexpr index_t softmax_columns = 64;

template <class T> T row_max(const T* x, index_t n) {
  using pack = simd::pack<T>;
  constexpr index_t step = 4 * pack::size;  // four chains hide the latency of maximum
  pack m[4] = {minus_infinity, minus_infinity, minus_infinity, minus_infinity};
  index_t i = 0;
  for (; i + step <= n; i += step) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) m[k] = maximum(m[k], pack::load(x + i + k * pack::size));
  }
  pack most = maximum(maximum(m[0], m[1]), maximum(m[2], m[3]));
  over_packs<T>(n - i, [&](index_t j, auto lanes) {
    most = maximum(most, lanes.load(x + i + j, minus_infinity));
  });
  return reduce_max(most);
}

// The sum of e^(x - shift).
template <class T> T row_exp_sum(const T* x, index_t n, T shift) {
  using pack = simd::pack<T>;
  pack sum(0);
  over_packs<T>(n, [&](index_t i, auto lanes) {
    sum += exp_nonpositive(lanes.load(x + i, minus_infinity) - pack(shift));
  });
  return reduce_add(sum);
}

// y = e^(x - shift); returns the sum of y. y may be x.
template <class T> T row_exp(const T* x, T* y, index_t n, T shift) {
  using pack = simd::pack<T>;
  pack sum(0);
  over_packs<T>(n, [&](index_t i, auto lanes) {
    const pack e = exp_nonpositive(lanes.load(x + i, minus_infinity) - pack(shift));
    sum += e;
    lanes.store(e, y + i);
  });
  return reduce_add(sum);
}

// y = softmax(x) for dense rows; y may be x. A row of nothing but -infinity gives NaN. The largest
// of the next row is looked for before this one is worked on, which hides how long it takes.
template <class T> void softmax_rows(const T* x, T* y, index_t rows, index_t n) {
  using pack = simd::pack<T>;
  T next = row_max(x, n);
  for (index_t r = 0; r < rows; ++r, x += n, y += n) {
    const T shift = next;
    if (r + 1 < rows) next = row_max(x + n, n);
    const pack scale(T(1) / row_exp(x, y, n, shift));
    over_packs<T>(n, [&](index_t i, auto lanes) { lanes.store(lanes.load(y + i) * scale, y + i); });
  }
}

template <class T> void log_softmax_row(const T* x, T* y, index_t n) {
  using pack = simd::pack<T>;
  const T shift = row_max(x, n);
  const pack log_sum(std::log(row_exp_sum(x, n, shift)));
  over_packs<T>(n, [&](index_t i, auto lanes) {
    lanes.store(lanes.load(x + i) - pack(shift) - log_sum, y + i);
  });
}

// d = y (g - sum(g y)); d may be g.
template <class T> void softmax_slope_row(const T* y, const T* g, T* d, index_t n) {
  using pack = simd::pack<T>;
  pack sum(0);
  over_packs<T>(
      n, [&](index_t i, auto lanes) { sum = fma(lanes.load(y + i), lanes.load(g + i), sum); });
  const pack dot(reduce_add(sum));
  over_packs<T>(n, [&](index_t i, auto lanes) {
    lanes.store(lanes.load(y + i) * (lanes.load(g + i) - dot), d + i);
  });
}

// d = g - e^y sum(g).
template <class T> void log_softmax_slope_row(const T* y, const T* g, T* d, index_t n) {
  using pack = simd::pack<T>;
  pack sum(0);
  over_packs<T>(n, [&](index_t i, auto lanes) { sum += lanes.load(g + i); });
  const pack total(reduce_add(sum));
  over_packs<T>(n, [&](index_t i, auto lanes) {
    lanes.store(lanes.load(g + i) - exp_nonpositive(lanes.load(y + i)) * total, d + i);
  });
}

// `width` columns at once: element (i, j) at [i * step + j].
template <class T, bool logarithm>
void softmax_block(const T* x, T* y, index_t n, index_t step, index_t width) {
  using pack = simd::pack<T>;
  alignas(64) T shift[softmax_columns], sum[softmax_columns];
  std::fill_n(shift, width, T(minus_infinity));
  fill_zeros(sum, width);
  for (index_t i = 0; i < n; ++i) {
    over_packs<T>(width, [&](index_t j, auto lanes) {
      lanes.store(maximum(lanes.load(shift + j), lanes.load(x + i * step + j)), shift + j);
    });
  }
  for (index_t i = 0; i < n; ++i) {
    over_packs<T>(width, [&](index_t j, auto lanes) {
      const pack e = exp_nonpositive(lanes.load(x + i * step + j) - lanes.load(shift + j));
      lanes.store(lanes.load(sum + j) + e, sum + j);
      if constexpr (!logarithm) lanes.store(e, y + i * step + j);
    });
  }
  over_packs<T>(width, [&](index_t j, auto lanes) {
    const pack s = lanes.load(sum + j, 1.0);
    lanes.store(logarithm ? log(s) : 1.0 / s, sum + j);
  });
  for (index_t i = 0; i < n; ++i) {
    over_packs<T>(width, [&](index_t j, auto lanes) {
      const index_t at = i * step + j;
      const pack s = lanes.load(sum + j);
      if constexpr (logarithm) {
        lanes.store(lanes.load(x + at) - lanes.load(shift + j) - s, y + at);
      } else {
        lanes.store(lanes.load(y + at) * s, y + at);
      }
    });
  }
}

template <class T, bool logarithm>
void softmax_slope_block(const T* y, const T* g, T* d, index_t n, index_t step, index_t width) {
  using pack = simd::pack<T>;
  alignas(64) T sum[softmax_columns];
  fill_zeros(sum, width);
  for (index_t i = 0; i < n; ++i) {
    over_packs<T>(width, [&](index_t j, auto lanes) {
      const pack v = lanes.load(g + i * step + j);
      const pack weight = logarithm ? pack(1) : lanes.load(y + i * step + j);
      lanes.store(fma(v, weight, lanes.load(sum + j)), sum + j);
    });
  }
  for (index_t i = 0; i < n; ++i) {
    over_packs<T>(width, [&](index_t j, auto lanes) {
      const index_t at = i * step + j;
      const pack v = lanes.load(g + at), p = lanes.load(y + at), s = lanes.load(sum + j);
      lanes.store(logarithm ? v - exp_nonpositive(p) * s : p * (v - s), d + at);
    });
  }
}

// Calls rows(offset, count) for neighbouring rows, or block(offset, width) for blocks of columns.
template <class Rows, class Block>
void over_softmax_rows(const softmax_sizes& s, Rows rows, Block block) {
  if (s.outer * s.n * s.inner == 0) return;
  const index_t blocks = (s.inner + softmax_columns - 1) / softmax_columns;
  const index_t width = s.inner == 1 ? 1 : std::min(s.inner, softmax_columns);
  const index_t chunk = std::max<index_t>(1, softmax_chunk / (s.n * width));
  parallel_for(s.outer * blocks, chunk, [&](index_t begin, index_t end) {
    if (s.inner == 1) return rows(begin * s.n, end - begin);
    for (index_t k = begin; k < end; ++k) {
      const index_t j = k % blocks * softmax_columns;
      block(k / blocks * s.n * s.inner + j, std::min(softmax_columns, s.inner - j));
    }
  });
}

// y = softmax(x) over the middle of [outer, n, inner], or its logarithm.
template <class T, bool logarithm>
[[gnu::noinline]] void softmax(const T* x, T* y, const softmax_sizes& s) {
  over_softmax_rows(
      s,
      [&](index_t at, index_t rows) {
        if constexpr (logarithm) {
          for (index_t r = 0; r < rows; ++r)
            log_softmax_row(x + at + r * s.n, y + at + r * s.n, s.n);
        } else {
          softmax_rows(x + at, y + at, rows, s.n);
        }
      },
      [&](index_t at, index_t width) {
        softmax_block<T, logarithm>(x + at, y + at, s.n, s.inner, width);
      });
}

// The gradient of x from the result y and its gradient g. d may be g.
template <class T, bool logarithm>
[[gnu::noinline]] void softmax_slope(const T* y, const T* g, T* d, const softmax_sizes& s) {
  over_softmax_rows(
      s,
      [&](index_t at, index_t rows) {
        for (const index_t end = at + rows * s.n; at < end; at += s.n)
          (logarithm ? log_softmax_slope_row<T> : softmax_slope_row<T>)(y + at, g + at, d + at,
                                                                        s.n);
      },
      [&](index_t at, index_t width) {
        softmax_slope_block<T, logarithm>(y + at, g + at, d + at, s.n, s.inner, width);
      });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
