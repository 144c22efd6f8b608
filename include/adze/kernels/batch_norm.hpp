#pragma once
// SPDX-License-Identifier: MIT
// Batch norm over dense data [outer, channels, inner]: moments, result and gradient for each
// channel. inner = 1 are columns, which is how channels-last images are seen; else segments. The
// sums are those of moments.hpp: blocks of fixed size, added in double, in a fixed order. Data in
// 16 bits is widened to f32 as it is read, and rounded as it is written.
#include <adze/kernels/moments.hpp>
#include <adze/kernels/wide_tile.hpp>

namespace adze::kernels {

struct batch_norm_sizes {
  index_t outer = 0, channels = 0, inner = 1;
  index_t count() const { return outer * inner; }  // elements of a channel
};

// dx = slope g + along (x - mean) + shift, each [channels].
struct batch_norm_slopes {
  const double* mean = nullptr;
  const double* slope = nullptr;
  const double* along = nullptr;  // null: dx = slope g, and x is not read
  const double* shift = nullptr;
};

inline namespace ADZE_ISA {

inline constexpr index_t column_block = 128;  // rows summed in T before they go to double
inline constexpr index_t column_strip = 32;   // columns of such a block that are read at a time
static_assert(column_block * column_strip <= wide_tile<float>::capacity);

// Rows of the column form are summed into this many partial results, by their sizes alone.
inline index_t column_pieces(const batch_norm_sizes& s) {
  return std::clamp<index_t>(s.outer * s.channels / 65536, 1, 16);
}
// Doubles that the functions below need as workspace.
inline index_t batch_norm_workspace(const batch_norm_sizes& s) {
  return s.inner == 1 ? column_pieces(s) * 3 * s.channels : 0;
}

// Calls piece(first, rows, workspace of the piece); then merge(piece, its workspace) in order.
template <class Piece, class Merge>
void over_column_pieces(const batch_norm_sizes& s, double* workspace, Piece piece, Merge merge) {
  const index_t pieces = column_pieces(s), chunk = (s.outer + pieces - 1) / pieces;
  if (chunk == 0) return;
  const index_t used = (s.outer + chunk - 1) / chunk;
  parallel_for(s.outer, chunk, [&](index_t begin, index_t end) {
    piece(begin, end - begin, workspace + begin / chunk * 3 * s.channels);
  });
  for (index_t p = 0; p < used; ++p) merge(workspace + p * 3 * s.channels);
}

// f(first row, rows, first column, columns) for blocks of rows, strip by strip.
template <class F> void over_blocks(index_t rows, index_t channels, F f) {
  for (index_t r = 0; r < rows; r += column_block)
    for (index_t c = 0; c < channels; c += column_strip)
      f(r, std::min(column_block, rows - r), c, std::min(column_strip, channels - c));
}

// Sums over rows of the K packs that term(row) gives, four rows at a time to hide latency.
template <class T, std::size_t K, class F>
[[gnu::always_inline]] inline std::array<simd::pack<T>, K> column_sums(index_t rows, F term) {
  std::array<simd::pack<T>, K> a, b, c, d;
  for (std::size_t k = 0; k < K; ++k) a[k] = b[k] = c[k] = d[k] = simd::pack<T>(0);
  const auto add = [&](std::array<simd::pack<T>, K>& to, index_t r) {
    const std::array<simd::pack<T>, K> t = term(r);
    for (std::size_t k = 0; k < K; ++k) to[k] += t[k];
  };
  index_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    add(a, r);
    add(b, r + 1);
    add(c, r + 2);
    add(d, r + 3);
  }
  for (; r < rows; ++r) add(a, r);
  for (std::size_t k = 0; k < K; ++k) a[k] = (a[k] + b[k]) + (c[k] + d[k]);
  return a;
}

// Merges the moments of a block of rows of one pack of columns into m[0 .. lanes).
template <class T, class Lanes>
void merge_columns(const T* x, index_t rows, index_t step, Lanes lanes, index_t width, double* m,
                   index_t channels) {
  using pack = simd::pack<T>;
  const pack first = lanes.load(x);
  const double count = static_cast<double>(rows);
  alignas(64) T start[16] = {}, sum[16] = {}, near[16] = {}, square[16] = {};
  first.store(start);
  column_sums<T, 1>(
      rows, [&](index_t r) { return std::array<pack, 1>{lanes.load(x + r * step) - first}; })[0]
      .store(sum);
  double mean[16] = {};
  for (index_t j = 0; j < pack::size; ++j) {
    mean[j] = static_cast<double>(start[j]) + static_cast<double>(sum[j]) / count;
    near[j] = static_cast<T>(mean[j]);
  }
  const pack center = pack::load(near);
  column_sums<T, 1>(rows,
                    [&](index_t r) {
                      const pack d = lanes.load(x + r * step) - center;
                      return std::array<pack, 1>{d * d};
                    })[0]
      .store(square);
  for (index_t j = 0; j < width; ++j) {
    const double off = static_cast<double>(near[j]) - mean[j];
    const double squares = static_cast<double>(square[j]) - count * off * off;
    const moments all = merged({m[j], m[channels + j], m[2 * channels + j]},
                               {count, mean[j], squares < 0 ? 0 : squares});
    m[j] = all.count;
    m[channels + j] = all.mean;
    m[2 * channels + j] = all.squares;
  }
}

template <class T>
void column_moments(const_elements x, const batch_norm_sizes& s, double* mean, double* squares,
                    double* workspace) {
  const index_t c = s.channels;
  std::fill_n(workspace, batch_norm_workspace(s), 0.0);
  std::fill_n(mean, c, 0.0);
  std::fill_n(squares, c, 0.0);
  double counted = 0;
  over_column_pieces(
      s, workspace,
      [&](index_t begin, index_t rows, double* own) {
        wide_tile<T> tile;
        over_blocks(rows, c, [&](index_t r, index_t block, index_t j0, index_t width) {
          const auto part = tile.load(x, (begin + r) * c + j0, block, width, c);
          over_packs<T>(width, [&](index_t j, auto lanes) {
            merge_columns(part.data + j, block, part.row_stride, lanes,
                          std::min<index_t>(simd::pack<T>::size, width - j), own + j0 + j, c);
          });
        });
      },
      [&](const double* own) {
        for (index_t j = 0; j < c; ++j) {
          const moments all =
              merged({counted, mean[j], squares[j]}, {own[j], own[c + j], own[2 * c + j]});
          mean[j] = all.mean;
          squares[j] = all.squares;
        }
        counted += c > 0 ? own[0] : 0;
      });
}

// The mean of each channel, and the sum of squared deviations from it.
template <class T>
void batch_norm_moments(const_elements x, const batch_norm_sizes& s, double* mean, double* squares,
                        double* workspace) {
  if (s.inner == 1) return column_moments<T>(x, s, mean, squares, workspace);
  const index_t chunk = std::max<index_t>(1, norm_chunk / std::max<index_t>(1, s.count()));
  parallel_for(s.channels, chunk, [&](index_t begin, index_t end) {
    wide_tile<T> tile;
    for (index_t c = begin; c < end; ++c) {
      moments all;
      for (index_t o = 0; o < s.outer; ++o) {
        over_parts(s.inner, x.type != dtype_of<T>, [&](index_t i, index_t n) {
          const auto part = tile.load(x, (o * s.channels + c) * s.inner + i, 1, n, n);
          all = merged(all, row_moments(part.data, n));
        });
      }
      mean[c] = all.mean;
      squares[c] = all.squares;
    }
  });
}

// sum[c] of g and product[c] of g (x - mean).
template <class T>
void batch_norm_sums(const_elements g, const_elements x, const batch_norm_sizes& s,
                     const double* mean, double* sum, double* product, double* workspace) {
  using pack = simd::pack<T>;
  const index_t c = s.channels;
  if (s.inner > 1) {
    const index_t chunk = std::max<index_t>(1, norm_chunk / std::max<index_t>(1, s.count()));
    return parallel_for(c, chunk, [&](index_t begin, index_t end) {
      wide_tile<T> g_tile, x_tile;
      for (index_t k = begin; k < end; ++k) {
        const split_mean<T> m(mean[k]);
        sum[k] = product[k] = 0;
        for (index_t o = 0; o < s.outer; ++o) {
          over_parts(s.inner, x.type != dtype_of<T>, [&](index_t first, index_t n) {
            const index_t at = (o * c + k) * s.inner + first;
            const T* gs = g_tile.load(g, at, 1, n, n).data;
            const T* xs = x_tile.load(x, at, 1, n, n).data;
            const auto [a, b] = blocked_sums<T, 2>(n, [&](index_t i, auto lanes) {
              const pack v = lanes.load(gs + i), d = lanes.load(xs + i, mean[k]);
              return std::array<pack, 2>{v, v * deviation<T>(d, m)};
            });
            sum[k] += a;
            product[k] += b;
          });
        }
      }
    });
  }
  std::fill_n(workspace, batch_norm_workspace(s), 0.0);
  std::fill_n(sum, c, 0.0);
  std::fill_n(product, c, 0.0);
  over_column_pieces(
      s, workspace,
      [&](index_t begin, index_t rows, double* own) {
        wide_tile<T> g_tile, x_tile;
        over_blocks(rows, c, [&](index_t r, index_t block, index_t j0, index_t strip) {
          const auto gs = g_tile.load(g, (begin + r) * c + j0, block, strip, c);
          const auto xs = x_tile.load(x, (begin + r) * c + j0, block, strip, c);
          over_packs<T>(strip, [&](index_t j, auto lanes) {
            const index_t width = std::min<index_t>(pack::size, strip - j);
            alignas(64) T high[16] = {}, low[16] = {}, a[16], b[16];
            for (index_t i = 0; i < width; ++i) {
              const split_mean<T> m(mean[j0 + j + i]);
              high[i] = m.high, low[i] = m.low;
            }
            const pack h = pack::load(high), l = pack::load(low);
            const auto sums = column_sums<T, 2>(block, [&](index_t i) {
              const pack v = lanes.load(&gs(i, j));
              return std::array<pack, 2>{v, v * (lanes.load(&xs(i, j)) - h - l)};
            });
            sums[0].store(a);
            sums[1].store(b);
            for (index_t i = 0; i < width; ++i) {
              own[j0 + j + i] += static_cast<double>(a[i]);
              own[c + j0 + j + i] += static_cast<double>(b[i]);
            }
          });
        });
      },
      [&](const double* own) {
        for (index_t j = 0; j < c; ++j) sum[j] += own[j], product[j] += own[c + j];
      });
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

// f(first row, last row, column, lanes) for a few rows at a time, which share what f reads for
// each column.
template <class T, class F>
[[gnu::always_inline]] inline void over_row_groups(index_t rows, index_t width, F f) {
  constexpr index_t group = 4;
  for (index_t r = 0; r < rows; r += group)
    over_packs<T>(width, [&](index_t j, auto lanes) { f(r, std::min(r + group, rows), j, lanes); });
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

// y = (x - mean) scale + shift by channels; `four` holds 4 * channels values (columns only).
template <class T>
void batch_norm_apply(const_elements x, elements y, const batch_norm_sizes& s, const double* mean,
                      const double* scale, const double* shift, T* four) {
  const index_t c = s.channels;
  if (s.inner == 1) spread(c, mean, scale, shift, four);
  over_batch(
      s, x.type != dtype_of<T>,
      [&](index_t at, index_t rows, index_t first, index_t width) {
        wide_tile<T> tile;
        const auto in = tile.load(x, at, rows, width, c);
        const auto out = tile.target(y, at, rows, width, c);
        const T* own = four + first;
        over_row_groups<T>(rows, width, [=](index_t r, index_t end, index_t j, auto lanes) {
          const auto high = lanes.load(own + j), low = lanes.load(own + c + j);
          const auto a = lanes.load(own + 2 * c + j), b = lanes.load(own + 3 * c + j);
          for (; r < end; ++r)
            lanes.store(fma(lanes.load(&in(r, j)) - high - low, a, b), &out(r, j));
        });
        tile.store(y, at, rows, width, c);
      },
      [&](index_t at, index_t n, index_t k) {
        wide_tile<T> tile;
        scale_row(tile.load(x, at, 1, n, n).data, tile.target(y, at, 1, n, n).data, n,
                  split_mean<T>(mean[k]), scale[k], shift[k]);
        tile.store(y, at, 1, n, n);
      });
}

// What the gradient of x is made from; x has a value only where k.along is given.
struct batch_norm_gradient_data {
  const_elements g{}, x{};
  elements dx{};
};

// The gradient of x; `five` holds 5 * channels values (columns only).
template <class T>
void batch_norm_input_gradient(const batch_norm_gradient_data& data, const batch_norm_sizes& s,
                               const batch_norm_slopes& k, T* five) {
  using pack = simd::pack<T>;
  const index_t c = s.channels;
  const const_elements g = data.g, x = data.x;
  const elements dx = data.dx;
  if (s.inner == 1) {
    for (index_t j = 0; j < c; ++j) five[4 * c + j] = static_cast<T>(k.slope[j]);
    if (k.along != nullptr) spread(c, k.mean, k.along, k.shift, five);
  }
  over_batch(
      s, g.type != dtype_of<T>,
      [&](index_t at, index_t rows, index_t first, index_t width) {
        wide_tile<T> g_tile, x_tile;
        const auto in = g_tile.load(g, at, rows, width, c);
        const auto out = g_tile.target(dx, at, rows, width, c);
        const auto xs = k.along != nullptr ? x_tile.load(x, at, rows, width, c) : in;
        const T* own = five + first;
        const bool along = k.along != nullptr;
        over_row_groups<T>(rows, width, [=](index_t r, index_t end, index_t j, auto lanes) {
          const pack slope = lanes.load(own + 4 * c + j);
          if (!along) {
            for (; r < end; ++r) lanes.store(lanes.load(&in(r, j)) * slope, &out(r, j));
            return;
          }
          const pack high = lanes.load(own + j), low = lanes.load(own + c + j);
          const pack factor = lanes.load(own + 2 * c + j), shift = lanes.load(own + 3 * c + j);
          for (; r < end; ++r) {
            const pack d = lanes.load(&xs(r, j)) - high - low;
            lanes.store(fma(d, factor, lanes.load(&in(r, j)) * slope + shift), &out(r, j));
          }
        });
        g_tile.store(dx, at, rows, width, c);
      },
      [&](index_t at, index_t n, index_t j) {
        wide_tile<T> g_tile, x_tile;
        const T* in = g_tile.load(g, at, 1, n, n).data;
        T* out = g_tile.target(dx, at, 1, n, n).data;
        const T* xs = k.along != nullptr ? x_tile.load(x, at, 1, n, n).data : in;
        const split_mean<T> mean(k.along == nullptr ? 0.0 : k.mean[j]);
        const pack slope(k.slope[j]);
        const pack along(k.along == nullptr ? 0.0 : k.along[j]);
        const pack shift(k.along == nullptr ? 0.0 : k.shift[j]);
        over_packs<T>(n, [&](index_t i, auto lanes) {
          pack v = lanes.load(in + i) * slope;
          if (k.along != nullptr) v = fma(deviation<T>(lanes.load(xs + i), mean), along, v + shift);
          lanes.store(v, out + i);
        });
        g_tile.store(dx, at, 1, n, n);
      });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
