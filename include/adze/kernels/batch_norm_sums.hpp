#pragma once
// SPDX-License-Identifier: MIT
// What batch norm sums by channel: moments of x, and what its gradient needs. Sums are those of
// moments.hpp: blocks of fixed size, added in double, in a fixed order. Data in 16 bits is widened
// to f32 as it is read.
#include <adze/kernels/batch_norm_numbers.hpp>
#include <adze/kernels/wide_tile.hpp>

namespace adze::kernels::inline ADZE_ISA {

inline constexpr index_t column_block = 128;  // rows summed in T before they go to double
inline constexpr index_t column_strip = 32;   // columns of such a block that are read at a time
// How far from a strip of f32 the next one is, which nothing else asks for in time.
constexpr index_t strip_ahead(index_t channels) {
  return channels > column_strip ? column_strip : 0;
}
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
  const index_t ahead = strip_ahead(channels);
  column_sums<T, 1>(rows,
                    [&](index_t r) {
                      __builtin_prefetch(x + r * step + ahead);
                      return std::array<pack, 1>{lanes.load(x + r * step) - first};
                    })[0]
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
  fill_zeros(workspace, batch_norm_workspace(s));
  fill_zeros(mean, c);
  fill_zeros(squares, c);
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

// sum[c] of g and product[c] of g (x - mean), where g passes; `four` are the numbers by channel.
template <class T>
void segment_sums(const_elements g, const_elements x, const batch_norm_sizes& s, const T* four,
                  const norm_gate& gate, double* sum, double* product) {
  using pack = simd::pack<T>;
  const index_t c = s.channels;
  const index_t chunk = std::max<index_t>(1, norm_chunk / std::max<index_t>(1, s.count()));
  parallel_for(c, chunk, [&, gated = gate.on, top = pack(gate.top)](index_t begin, index_t end) {
    wide_tile<T> g_tile, x_tile;
    for (index_t k = begin; k < end; ++k) {
      const norm_numbers<T> n = numbers_of_channel<T>{four + k, c}.at(0, whole_lanes<T>{});
      sum[k] = product[k] = 0;
      for (index_t o = 0; o < s.outer; ++o) {
        over_parts(s.inner, x.type != dtype_of<T>, [&](index_t first, index_t count) {
          const index_t at = (o * c + k) * s.inner + first;
          const T* gs = g_tile.load(g, at, 1, count, count).data;
          const T* xs = x_tile.load(x, at, 1, count, count).data;
          const auto [a, b] = blocked_sums<T, 2>(count, [=](index_t i, auto lanes) {
            const pack d = n.deviation(lanes.load(xs + i));
            pack v = lanes.load(gs + i);
            if (gated) v = passed(v, n.norm(d), top);
            return std::array<pack, 2>{v, v * d};
          });
          sum[k] += a;
          product[k] += b;
        });
      }
    }
  });
}

template <class T>
void batch_norm_sums(const_elements g, const_elements x, const batch_norm_sizes& s, const T* four,
                     const norm_gate& gate, double* sum, double* product, double* workspace) {
  using pack = simd::pack<T>;
  const index_t c = s.channels, ahead = strip_ahead(c);
  if (s.inner != 1) return segment_sums(g, x, s, four, gate, sum, product);
  fill_zeros(workspace, batch_norm_workspace(s));
  fill_zeros(sum, c);
  fill_zeros(product, c);
  const bool gated = gate.on;
  const pack top(gate.top);
  over_column_pieces(
      s, workspace,
      [&](index_t begin, index_t rows, double* own) {
        wide_tile<T> g_tile, x_tile;
        over_blocks(rows, c, [&](index_t r, index_t block, index_t j0, index_t strip) {
          const auto gs = g_tile.load(g, (begin + r) * c + j0, block, strip, c);
          const auto xs = x_tile.load(x, (begin + r) * c + j0, block, strip, c);
          over_packs<T>(strip, [&](index_t j, auto lanes) {
            alignas(64) T a[16], b[16];
            const norm_numbers<T> n = numbers_by_column<T>{four + j0, c}.at(j, lanes);
            const auto sums = column_sums<T, 2>(block, [=](index_t i) {
              __builtin_prefetch(&xs(i, j) + ahead), __builtin_prefetch(&gs(i, j) + ahead);
              const pack d = n.deviation(lanes.load(&xs(i, j)));
              pack v = lanes.load(&gs(i, j));
              if (gated) v = passed(v, n.norm(d), top);
              return std::array<pack, 2>{v, v * d};
            });
            sums[0].store(a);
            sums[1].store(b);
            for (index_t i = 0; i < std::min<index_t>(pack::size, strip - j); ++i) {
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

}  // namespace adze::kernels::inline ADZE_ISA
