#pragma once
// SPDX-License-Identifier: MIT
// Batch norm over dense data [outer, channels, inner]: moments, result and gradient for each
// channel. inner = 1 are columns, which is how channels-last images are seen; else segments. The
// sums are those of moments.hpp: blocks of fixed size, added in double, in a fixed order.
#include <adze/kernels/moments.hpp>

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

// The lanes of one pack of columns added over rows, four at a time to hide latency.
template <class T, class F> simd::pack<T> column_sum(index_t rows, F term) {
  using pack = simd::pack<T>;
  pack a(0), b(0), c(0), d(0);
  index_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    a += term(r);
    b += term(r + 1);
    c += term(r + 2);
    d += term(r + 3);
  }
  for (; r < rows; ++r) a += term(r);
  return (a + b) + (c + d);
}

// Merges the moments of a block of rows of one pack of columns into m[0 .. lanes).
template <class T, class Lanes>
void merge_columns(const T* x, index_t rows, index_t step, Lanes lanes, index_t width, double* m,
                   index_t channels) {
  using pack = simd::pack<T>;
  const pack first = lanes.load(x);
  const double count = static_cast<double>(rows);
  alignas(64) T start[16], sum[16], near[16], square[16];
  first.store(start);
  column_sum<T>(rows, [&](index_t r) { return lanes.load(x + r * step) - first; }).store(sum);
  double mean[16];
  for (index_t j = 0; j < pack::size; ++j) {
    mean[j] = static_cast<double>(start[j]) + static_cast<double>(sum[j]) / count;
    near[j] = static_cast<T>(mean[j]);
  }
  const pack center = pack::load(near);
  column_sum<T>(rows, [&](index_t r) {
    const pack d = lanes.load(x + r * step) - center;
    return d * d;
  }).store(square);
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
void column_moments(const T* x, const batch_norm_sizes& s, double* mean, double* squares,
                    double* workspace) {
  const index_t c = s.channels;
  std::fill_n(workspace, batch_norm_workspace(s), 0.0);
  std::fill_n(mean, c, 0.0);
  std::fill_n(squares, c, 0.0);
  double counted = 0;
  over_column_pieces(
      s, workspace,
      [&](index_t begin, index_t rows, double* own) {
        for (index_t r = 0; r < rows; r += column_block) {
          const index_t block = std::min(column_block, rows - r);
          const T* at = x + (begin + r) * c;
          over_packs<T>(c, [&](index_t j, auto lanes) {
            const index_t width = std::min<index_t>(simd::pack<T>::size, c - j);
            merge_columns(at + j, block, c, lanes, width, own + j, c);
          });
        }
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
void batch_norm_moments(const T* x, const batch_norm_sizes& s, double* mean, double* squares,
                        double* workspace) {
  if (s.inner == 1) return column_moments(x, s, mean, squares, workspace);
  const index_t chunk = std::max<index_t>(1, norm_chunk / std::max<index_t>(1, s.count()));
  parallel_for(s.channels, chunk, [&](index_t begin, index_t end) {
    for (index_t c = begin; c < end; ++c) {
      moments all;
      for (index_t o = 0; o < s.outer; ++o) {
        all = merged(all, row_moments(x + (o * s.channels + c) * s.inner, s.inner));
      }
      mean[c] = all.mean;
      squares[c] = all.squares;
    }
  });
}

// sum[c] of g and product[c] of g (x - mean).
template <class T>
void batch_norm_sums(const T* g, const T* x, const batch_norm_sizes& s, const double* mean,
                     double* sum, double* product, double* workspace) {
  using pack = simd::pack<T>;
  const index_t c = s.channels;
  if (s.inner > 1) {
    const index_t chunk = std::max<index_t>(1, norm_chunk / std::max<index_t>(1, s.count()));
    return parallel_for(c, chunk, [&](index_t begin, index_t end) {
      for (index_t k = begin; k < end; ++k) {
        const split_mean<T> m(mean[k]);
        sum[k] = product[k] = 0;
        for (index_t o = 0; o < s.outer; ++o) {
          const index_t at = (o * c + k) * s.inner;
          const auto [a, b] = blocked_sums<T, 2>(s.inner, [&](index_t i, auto lanes) {
            const pack v = lanes.load(g + at + i), d = lanes.load(x + at + i, mean[k]);
            return std::array<pack, 2>{v, v * deviation<T>(d, m)};
          });
          sum[k] += a;
          product[k] += b;
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
        for (index_t r = 0; r < rows; r += column_block) {
          const index_t block = std::min(column_block, rows - r), at = (begin + r) * c;
          over_packs<T>(c, [&](index_t j, auto lanes) {
            const index_t width = std::min<index_t>(pack::size, c - j);
            alignas(64) T high[16] = {}, low[16] = {}, a[16], b[16];
            for (index_t i = 0; i < width; ++i) {
              const split_mean<T> m(mean[j + i]);
              high[i] = m.high, low[i] = m.low;
            }
            const pack h = pack::load(high), l = pack::load(low);
            const T *gj = g + at + j, *xj = x + at + j;
            column_sum<T>(block, [&](index_t i) { return lanes.load(gj + i * c); }).store(a);
            column_sum<T>(block, [&](index_t i) {
              return lanes.load(gj + i * c) * (lanes.load(xj + i * c) - h - l);
            }).store(b);
            for (index_t i = 0; i < width; ++i) {
              own[j + i] += static_cast<double>(a[i]);
              own[c + j + i] += static_cast<double>(b[i]);
            }
          });
        }
      },
      [&](const double* own) {
        for (index_t j = 0; j < c; ++j) sum[j] += own[j], product[j] += own[c + j];
      });
}

// Calls row(at, from) for column rows, and segment(at, channel) for segments of a channel.
template <class Row, class Segment>
void over_batch(const batch_norm_sizes& s, Row row, Segment segment) {
  const index_t c = s.channels, length = s.inner == 1 ? c : s.inner;
  if (c * s.count() == 0) return;
  const index_t chunk = std::max<index_t>(1, norm_chunk / length);
  if (s.inner == 1) {
    return parallel_for(s.outer, chunk, [&](index_t begin, index_t end) {
      for (index_t r = begin; r < end; ++r) row(r * c);
    });
  }
  parallel_for(s.outer * c, chunk, [&](index_t begin, index_t end) {
    for (index_t k = begin; k < end; ++k) segment(k * s.inner, k % c);
  });
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
void batch_norm_apply(const T* x, T* y, const batch_norm_sizes& s, const double* mean,
                      const double* scale, const double* shift, T* four) {
  const index_t c = s.channels;
  if (s.inner == 1) spread(c, mean, scale, shift, four);
  over_batch(
      s,
      [&](index_t at) {
        over_packs<T>(c, [&](index_t j, auto lanes) {
          const auto d = lanes.load(x + at + j) - lanes.load(four + j) - lanes.load(four + c + j);
          const auto a = lanes.load(four + 2 * c + j), b = lanes.load(four + 3 * c + j);
          lanes.store(fma(d, a, b), y + at + j);
        });
      },
      [&](index_t at, index_t k) {
        scale_row(x + at, y + at, s.inner, split_mean<T>(mean[k]), scale[k], shift[k]);
      });
}

// The gradient of x; `five` holds 5 * channels values (columns only).
template <class T>
void batch_norm_input_gradient(const T* g, const T* x, T* dx, const batch_norm_sizes& s,
                               const batch_norm_slopes& k, T* five) {
  using pack = simd::pack<T>;
  const index_t c = s.channels;
  if (s.inner == 1) {
    for (index_t j = 0; j < c; ++j) five[4 * c + j] = static_cast<T>(k.slope[j]);
    if (k.along != nullptr) spread(c, k.mean, k.along, k.shift, five);
  }
  over_batch(
      s,
      [&](index_t at) {
        over_packs<T>(c, [&](index_t j, auto lanes) {
          pack v = lanes.load(g + at + j) * lanes.load(five + 4 * c + j);
          if (k.along != nullptr) {
            const pack d = lanes.load(x + at + j) - lanes.load(five + j) - lanes.load(five + c + j);
            v = fma(d, lanes.load(five + 2 * c + j), v + lanes.load(five + 3 * c + j));
          }
          lanes.store(v, dx + at + j);
        });
      },
      [&](index_t at, index_t j) {
        const split_mean<T> mean(k.along == nullptr ? 0.0 : k.mean[j]);
        const pack slope(k.slope[j]);
        const pack along(k.along == nullptr ? 0.0 : k.along[j]);
        const pack shift(k.along == nullptr ? 0.0 : k.shift[j]);
        over_packs<T>(s.inner, [&](index_t i, auto lanes) {
          pack v = lanes.load(g + at + i) * slope;
          if (k.along != nullptr)
            v = fma(deviation<T>(lanes.load(x + at + i), mean), along, v + shift);
          lanes.store(v, dx + at + i);
        });
      });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
