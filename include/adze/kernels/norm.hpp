#pragma once
// SPDX-License-Identifier: MIT
// Layer, group and root-mean-square norm: every row of dense data by its own statistics; result
// and first gradient. Batch norm is in batch_norm.hpp.
#include <adze/core/view.hpp>
#include <adze/kernels/moments.hpp>

namespace adze::kernels {

// Rows of channels * inner elements; channel c of row r has weight (r % groups) * channels + c.
struct row_norm_sizes {
  index_t rows = 0, channels = 0, inner = 1, groups = 1;
  index_t length() const { return channels * inner; }
  index_t weights() const { return groups * channels; }
};

template <class T> struct row_norm_gradient {
  const T* g = nullptr;
  const T* x = nullptr;
  const T* weight = nullptr;           // null: ones
  const double* statistics = nullptr;  // of the forward
  T* dx = nullptr;                     // null: not wanted
  double* dweight = nullptr;           // null: neither it nor dbias is wanted
  double* dbias = nullptr;
  double* workspace = nullptr;  // row_norm_workspace() values where dweight is wanted
};

inline namespace ADZE_ISA {

// y = (x - mean) / sqrt(variance + eps) weight + bias over each row; uncentered: the mean is left
// and the mean square takes the place of the variance. Keeps the mean and 1 / sqrt(..) of each row
// in `statistics`. weight and bias may be null.
template <class T>
void row_norm(const T* x, const T* weight, const T* bias, T* y, double* statistics,
              const row_norm_sizes& s, double eps, bool centered) {
  const index_t n = s.length();
  if (n == 0) return;
  parallel_for(s.rows, std::max<index_t>(1, norm_chunk / n), [&](index_t begin, index_t end) {
    for (index_t r = begin; r < end; ++r) {
      const T* in = x + r * n;
      moments m;
      if (centered) m = row_moments(in, n);
      const double spread = centered ? m.variance() : row_mean_square(in, n);
      const double scale = 1.0 / std::sqrt(spread + eps);
      statistics[2 * r] = m.mean;
      statistics[2 * r + 1] = scale;
      const split_mean<T> mean(m.mean);
      const index_t first = r % s.groups * s.channels;
      const T* w = weight == nullptr ? nullptr : weight + first;
      const T* b = bias == nullptr ? nullptr : bias + first;
      if (s.inner == 1) {
        weigh_row(in, y + r * n, n, mean, scale, w, b);
        continue;
      }
      for (index_t c = 0; c < s.channels; ++c) {
        scale_row(in + c * s.inner, y + r * n + c * s.inner, s.inner, mean,
                  w == nullptr ? scale : scale * static_cast<double>(w[c]),
                  b == nullptr ? 0.0 : static_cast<double>(b[c]));
      }
    }
  });
}

inline constexpr index_t weight_rows = 32;  // rows summed in T before they go to double

// Rows are summed into this many partial results, by their sizes alone.
inline index_t row_norm_pieces(const row_norm_sizes& s) {
  return std::clamp<index_t>(s.rows * s.length() / 65536, 1, 16);
}
// Doubles needed as workspace: for each piece two sums in double, and in T.
inline index_t row_norm_workspace(const row_norm_sizes& s) {
  return row_norm_pieces(s) * 4 * s.weights();
}

// Sums of g weight and of g weight (x - mean) over a row; those of single channels are added to
// dweight and dbias where channels are segments.
template <class T>
std::array<double, 2> row_sums(const row_norm_gradient<T>& k, const row_norm_sizes& s, index_t row,
                               double* dweight, double* dbias) {
  using pack = simd::pack<T>;
  const index_t n = s.length(), first = row % s.groups * s.channels;
  const T *g = k.g + row * n, *x = k.x + row * n;
  const T* w = k.weight == nullptr ? nullptr : k.weight + first;
  const split_mean<T> mean(k.statistics[2 * row]);
  const double scale = k.statistics[2 * row + 1], fill = k.statistics[2 * row];
  if (s.inner == 1) {
    return blocked_sums<T, 2>(n, [&](index_t i, auto lanes) {
      pack v = lanes.load(g + i);
      if (w != nullptr) v = v * lanes.load(w + i);
      return std::array<pack, 2>{v, v * deviation<T>(lanes.load(x + i, fill), mean)};
    });
  }
  std::array<double, 2> total{};
  for (index_t c = 0; c < s.channels; ++c) {
    const index_t at = c * s.inner;
    const auto [a, b] = blocked_sums<T, 2>(s.inner, [&](index_t i, auto lanes) {
      const pack v = lanes.load(g + at + i);
      return std::array<pack, 2>{v, v * deviation<T>(lanes.load(x + at + i, fill), mean)};
    });
    const double weight = w == nullptr ? 1.0 : static_cast<double>(w[c]);
    total[0] += weight * a;
    total[1] += weight * b;
    if (dweight == nullptr) continue;
    dweight[first + c] += b * scale;
    dbias[first + c] += a;
  }
  return total;
}

// The gradient of one row where every element has a weight of its own.
template <class T>
void weighed_row_gradient(const row_norm_gradient<T>& k, const row_norm_sizes& s, index_t row,
                          std::array<double, 2> slopes, T* dweight, T* dbias) {
  using pack = simd::pack<T>;
  const index_t n = s.length(), first = row % s.groups * s.channels;
  const split_mean<T> mean(k.statistics[2 * row]);
  const pack scale(k.statistics[2 * row + 1]), shift(slopes[0]), along(slopes[1]);
  over_packs<T>(n, [&](index_t i, auto lanes) {
    const index_t at = row * n + i, f = first + i;
    const pack g = lanes.load(k.g + at), d = deviation<T>(lanes.load(k.x + at), mean);
    if (dweight != nullptr) {
      lanes.store(fma(g, d * scale, lanes.load(dweight + f)), dweight + f);
      lanes.store(g + lanes.load(dbias + f), dbias + f);
    }
    if (k.dx == nullptr) return;
    const pack v = k.weight == nullptr ? g : g * lanes.load(k.weight + f);
    lanes.store(fma(d, along, fma(v, scale, shift)), k.dx + at);
  });
}

// The gradient of x of one row where channels are segments.
template <class T>
void segments_row_gradient(const row_norm_gradient<T>& k, const row_norm_sizes& s, index_t row,
                           std::array<double, 2> slopes) {
  using pack = simd::pack<T>;
  const split_mean<T> mean(k.statistics[2 * row]);
  const pack shift(slopes[0]), along(slopes[1]);
  for (index_t c = 0; c < s.channels; ++c) {
    const index_t at = row * s.length() + c * s.inner;
    const T* w = k.weight == nullptr ? nullptr : k.weight + row % s.groups * s.channels + c;
    const pack slope(k.statistics[2 * row + 1] * (w == nullptr ? 1.0 : static_cast<double>(*w)));
    over_packs<T>(s.inner, [&](index_t i, auto lanes) {
      const pack d = deviation<T>(lanes.load(k.x + at + i), mean);
      lanes.store(fma(d, along, fma(lanes.load(k.g + at + i), slope, shift)), k.dx + at + i);
    });
  }
}

// One piece of the rows; `own` is its workspace, null where no weight wants a gradient.
template <class T>
void row_norm_piece(const row_norm_gradient<T>& k, const row_norm_sizes& s, index_t begin,
                    index_t end, bool centered, double* own) {
  const index_t width = s.weights();
  T* const near = own == nullptr ? nullptr : reinterpret_cast<T*>(own + 2 * width);
  if (own != nullptr) {
    fill_zeros(own, 2 * width);
    fill_zeros(near, 2 * width);
  }
  for (index_t r = begin; r < end; ++r) {
    const double scale = k.statistics[2 * r + 1], count = static_cast<double>(s.length());
    const auto [sum, product] = row_sums(k, s, r, own, own == nullptr ? nullptr : own + width);
    const std::array<double, 2> slopes{centered ? -scale * sum / count : 0.0,
                                       -scale * scale * scale * product / count};
    if (s.inner > 1) {
      if (k.dx != nullptr) segments_row_gradient(k, s, r, slopes);
      continue;
    }
    weighed_row_gradient(k, s, r, slopes, near, own == nullptr ? nullptr : near + width);
    if (own == nullptr || ((r - begin + 1) % weight_rows != 0 && r + 1 < end)) continue;
    for (index_t i = 0; i < 2 * width; ++i) {
      own[i] += static_cast<double>(near[i]);
      near[i] = T(0);
    }
  }
}

// With h = (x - mean) scale and v = g weight: dx = scale (v - mean(v) - h mean(v h)), without
// mean(v) where uncentered; dweight = sum of g h, dbias = sum of g over the rows.
template <class T>
void row_norm_backward(const row_norm_gradient<T>& k, const row_norm_sizes& s, bool centered) {
  const bool weights = k.dweight != nullptr;
  const index_t width = s.weights();
  const index_t pieces = row_norm_pieces(s), piece = (s.rows + pieces - 1) / pieces;
  const index_t chunk = std::max<index_t>(1, weights ? piece : norm_chunk / (s.length() + 1));
  parallel_for(s.rows, chunk, [&](index_t begin, index_t end) {
    double* own = weights ? k.workspace + begin / chunk * 4 * width : nullptr;
    row_norm_piece(k, s, begin, end, centered, own);
  });
  for (index_t i = 0; weights && i < width; ++i) {
    double dweight = 0, dbias = 0;
    for (index_t begin = 0; begin < s.rows; begin += chunk) {
      const double* own = k.workspace + begin / chunk * 4 * width;
      dweight += own[i];
      dbias += own[width + i];
    }
    k.dweight[i] = dweight;
    if (k.dbias != nullptr) k.dbias[i] = dbias;
  }
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
