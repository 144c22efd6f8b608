#pragma once
// SPDX-License-Identifier: MIT
// Batch norm, with a residual and an activation behind it: result and gradient for each channel,
// from the sums of batch_norm_sums.hpp. Data in 16 bits is
// widened to f32 as it is read, and rounded as it is written.
#include <adze/kernels/batch_norm_sums.hpp>

namespace adze::kernels {

// dx = slope g + along (x - mean) + shift, each [channels].
struct batch_norm_slopes {
  const double* slope = nullptr;
  const double* along = nullptr;  // null: dx = slope g, and x is not read
  const double* shift = nullptr;
};

inline namespace ADZE_ISA {

// f(first row, last row, column, lanes) for a few rows at a time, which share what f reads for
// each column.
template <class T, class F>
[[gnu::always_inline]] inline void over_row_groups(index_t rows, index_t width, F f) {
  constexpr index_t group = 4;
  for (index_t r = 0; r < rows; r += group)
    over_packs<T>(width, [&](index_t j, auto lanes) { f(r, std::min(r + group, rows), j, lanes); });
}

// Calls rows(at, count, first column, columns) for parts of columns, rows of which are s.channels
// apart, and segment(at, n, channel) for parts of a channel; all fit a tile where they are narrow.
template <class Rows, class Segment>
void over_batch(const batch_norm_sizes& s, bool narrow, Rows rows, Segment segment) {
  const index_t c = s.channels, length = s.inner == 1 ? c : s.inner;
  if (c * s.count() == 0) return;
  const index_t chunk = std::max<index_t>(1, norm_chunk / length);
  if (s.inner == 1) {
    const index_t width = narrow ? std::min(c, wide_tile<float>::capacity) : c;
    const index_t height = narrow ? wide_tile<float>::capacity / width : chunk;
    return parallel_for(s.outer, chunk, [&](index_t begin, index_t end) {
      for (index_t r = begin; r < end; r += height)
        for (index_t j = 0; j < c; j += width)
          rows(r * c + j, std::min(height, end - r), j, std::min(width, c - j));
    });
  }
  parallel_for(s.outer * c, chunk, [&](index_t begin, index_t end) {
    for (index_t k = begin; k < end; ++k)
      over_parts(s.inner, narrow,
                 [&](index_t i, index_t n) { segment(k * s.inner + i, n, k % c); });
  });
}

// What follows the norm: y = min(max(norm + residual, 0), top), or the norm alone.
struct norm_finish {
  bool clamps = false;
  double top = std::numeric_limits<double>::infinity();
  const_elements residual{};  // laid out like x; null adds nothing
};

// y = norm(x), finished, for a part of it; NaN stays.
template <class T, class Numbers>
void norm_tile(const matrix<const T>& x, const matrix<T>& y, const T* residual, index_t step,
               const norm_finish& finish, Numbers numbers) {
  using pack = simd::pack<T>;
  const pack zero(0), top(static_cast<T>(finish.top));
  const bool clamps = finish.clamps;
  over_row_groups<T>(x.rows, x.cols, [=](index_t r, index_t end, index_t j, auto lanes) {
    const norm_numbers<T> n = numbers.at(j, lanes);
    for (; r < end; ++r) {
      pack v = n.norm(n.deviation(lanes.load(&x(r, j))));
      if (!clamps) {
        lanes.store(v, &y(r, j));
        continue;
      }
      if (residual) v = v + lanes.load(residual + r * step + j);
      lanes.store(where(v < zero, zero, where(v > top, top, v)), &y(r, j));
    }
  });
}

// y = norm(x) by channels, finished; `four` are the numbers of norm_numbers, rows of channels.
template <class T>
void batch_norm_apply(const_elements x, elements y, const batch_norm_sizes& s, const T* four,
                      const norm_finish& finish = {}) {
  const index_t c = s.channels;
  const auto part = [&](index_t at, index_t rows, index_t width, index_t step, auto numbers) {
    wide_tile<T> tile, more;
    matrix<const T> added{};
    if (finish.residual.data) added = more.load(finish.residual, at, rows, width, step);
    const auto in = tile.load(x, at, rows, width, step);
    norm_tile(in, tile.target(y, at, rows, width, step), added.data, added.row_stride, finish,
              numbers);
    tile.store(y, at, rows, width, step);
  };
  over_batch(
      s, x.type != dtype_of<T>,
      [&](index_t at, index_t rows, index_t first, index_t width) {
        part(at, rows, width, c, numbers_by_column<T>{four + first, c});
      },
      [&](index_t at, index_t n, index_t k) {
        part(at, 1, n, n, numbers_of_channel<T>{four + k, c});
      });
}

// What the gradient of x is made from; x is read only where batches make the statistics (`along`).
// `four` are the numbers of the norm by channel.
template <class T> struct batch_norm_gradient_data {
  const_elements g{}, x{};
  elements dx{};
  norm_gate gate{};
  const T* four = nullptr;
};

// dx = slope g + along (x - mean) + shift for a part of it.
template <class T, class Numbers, class Slopes>
void slope_tile(const matrix<const T>& g, const matrix<const T>& x, const matrix<T>& dx,
                const norm_gate& gate, Numbers numbers, Slopes slopes) {
  using pack = simd::pack<T>;
  const bool gated = gate.on;
  const pack top(gate.top);
  over_row_groups<T>(g.rows, g.cols, [=](index_t r, index_t end, index_t j, auto lanes) {
    const norm_numbers<T> n = numbers.at(j, lanes);
    const std::array<pack, 3> k = slopes(j, lanes);
    for (; r < end; ++r) {
      const pack d = n.deviation(lanes.load(&x(r, j)));
      pack v = lanes.load(&g(r, j));
      if (gated) v = passed(v, n.norm(d), top);
      lanes.store(fma(d, k[1], v * k[0] + k[2]), &dx(r, j));
    }
  });
}

// The gradient of x; `three` holds 3 * channels values.
template <class T>
void batch_norm_input_gradient(const batch_norm_gradient_data<T>& data, const batch_norm_sizes& s,
                               const batch_norm_slopes& k, T* three) {
  using pack = simd::pack<T>;
  const index_t c = s.channels;
  for (index_t j = 0; j < c; ++j) {
    three[j] = static_cast<T>(k.slope[j]);
    three[c + j] = static_cast<T>(k.along ? k.along[j] : 0);
    three[2 * c + j] = static_cast<T>(k.along ? k.shift[j] : 0);
  }
  const auto part = [&](index_t at, index_t rows, index_t width, index_t step, auto numbers,
                        auto slopes) {
    wide_tile<T> g_tile, x_tile;
    const auto g = g_tile.load(data.g, at, rows, width, step);
    const auto dx = g_tile.target(data.dx, at, rows, width, step);
    if (k.along) {
      slope_tile(g, x_tile.load(data.x, at, rows, width, step), dx, data.gate, numbers, slopes);
    } else {
      over_row_groups<T>(rows, width, [=](index_t r, index_t end, index_t j, auto lanes) {
        const pack slope = slopes(j, lanes)[0];
        for (; r < end; ++r) lanes.store(lanes.load(&g(r, j)) * slope, &dx(r, j));
      });
    }
    g_tile.store(data.dx, at, rows, width, step);
  };
  over_batch(
      s, data.g.type != dtype_of<T>,
      [&](index_t at, index_t rows, index_t first, index_t width) {
        part(at, rows, width, c, numbers_by_column<T>{data.four + first, c},
             [=, own = three + first](index_t j, auto lanes) {
               return std::array<pack, 3>{lanes.load(own + j), lanes.load(own + c + j),
                                          lanes.load(own + 2 * c + j)};
             });
      },
      [&](index_t at, index_t n, index_t j) {
        part(at, 1, n, n, numbers_of_channel<T>{data.four + j, c}, [=](index_t, auto) {
          return std::array<pack, 3>{pack(three[j]), pack(three[c + j]), pack(three[2 * c + j])};
        });
      });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
