#pragma once
// SPDX-License-Identifier: MIT
// A histogram that grows with what it sees, and the ranges that observers read from it: the least
// squared error, percentiles, the least divergence. Inside a bin the density is taken as uniform.
#include <algorithm>
#include <cmath>
#include <vector>

#include <adze/core/error.hpp>
#include <adze/kernels/affine.hpp>

namespace adze::quant {

class histogram {
 public:
  // Errors: value_error for less than one bin.
  explicit histogram(index_t bins = 2048) : counts_(checked(bins), 0.0) {}

  // All of it as numbers: the counts, the ends, the total.
  static constexpr index_t numbers_beside_counts = 3;
  void write(double* to) const {
    to = std::copy(counts_.begin(), counts_.end(), to);
    to[0] = low_, to[1] = high_, to[2] = total_;
  }
  void read(const double* from) {
    std::copy_n(from, bins(), counts_.begin());
    from += bins();
    low_ = from[0], high_ = from[1], total_ = from[2];
  }

  bool empty() const { return total_ == 0; }
  double low() const { return low_; }
  double high() const { return high_; }
  double total() const { return total_; }
  std::size_t bins() const { return counts_.size(); }
  double count(std::size_t bin) const { return counts_[bin]; }
  double width() const { return (high_ - low_) / static_cast<double>(bins()); }
  // Where bin i begins; edge(bins()) is the end of the last.
  double edge(std::size_t i) const { return low_ + width() * static_cast<double>(i); }

  // Counts n finite values, whose smallest and largest are known. The range grows to hold them:
  // each old bin then gives its count to the new ones in proportion to their overlap.
  void add(const float* x, index_t n, double smallest, double largest) {
    if (empty()) {
      low_ = smallest, high_ = largest;
    } else if (smallest < low_ || largest > high_) {
      grow(std::min(low_, smallest), std::max(high_, largest));
    }
    const double scale = high_ > low_ ? static_cast<double>(bins()) / (high_ - low_) : 0;
    const auto last = static_cast<double>(bins() - 1);
    for (index_t i = 0; i < n; ++i) {
      const double at = std::clamp(std::floor((x[i] - low_) * scale), 0.0, last);
      ++counts_[static_cast<std::size_t>(at)];
    }
    total_ += static_cast<double>(n);
  }

  // The value below which the share p of all lies.
  double quantile(double p) const {
    double below = 0;
    const double wanted = p * total_;
    for (std::size_t i = 0; i < bins(); ++i) {
      if (counts_[i] > 0 && below + counts_[i] >= wanted) {
        return edge(i) + width() * std::max(0.0, wanted - below) / counts_[i];
      }
      below += counts_[i];
    }
    return high_;
  }

  // The sum over all values of their squared distance to the middle of the nearest of `levels`
  // equal cells of [from, to]; values outside go to the outermost ones.
  double squared_error(double from, double to, index_t levels) const {
    const double cell = (to - from) / static_cast<double>(levels);
    const auto last = static_cast<double>(levels - 1);
    const auto cube = [](double v) { return v * v * v; };
    double error = 0;
    for (std::size_t i = 0; i < bins(); ++i) {
      if (counts_[i] == 0) continue;
      const double begin = edge(i), end = begin + width();
      if (cell <= 0 || end <= begin) {
        const double off = begin - std::clamp(begin, from, to);
        error += counts_[i] * off * off;
        continue;
      }
      const double density = counts_[i] / (end - begin);
      double at = begin;
      while (at < end) {
        const double k = std::clamp(std::floor((at - from) / cell), 0.0, last);
        const double middle = from + (k + 0.5) * cell;
        double next = k == last ? end : std::min(end, from + (k + 1) * cell);
        if (next <= at) next = end;  // rounding at an edge
        error += density * (cube(next - middle) - cube(at - middle)) / 3;
        at = next;
      }
    }
    return error;
  }

 private:
  static std::size_t checked(index_t bins) {
    if (bins < 1) raise<value_error>("quant::histogram: needs one bin at least; got ", bins);
    return static_cast<std::size_t>(bins);
  }
  void grow(double low, double high) {
    histogram wide(static_cast<index_t>(bins()));
    wide.low_ = low, wide.high_ = high;
    const double scale = static_cast<double>(bins()) / (high - low);
    const auto last = static_cast<double>(bins() - 1);
    for (std::size_t i = 0; i < bins(); ++i) {
      if (counts_[i] == 0) continue;
      const double begin = (edge(i) - low) * scale, end = (edge(i) + width() - low) * scale;
      const double first_bin = std::clamp(std::floor(begin), 0.0, last);
      const double last_bin = std::clamp(std::ceil(end) - 1, first_bin, last);
      for (double k = first_bin; k <= last_bin; ++k) {
        const double overlap = std::min(end, k + 1) - std::max(begin, k);
        const double share = end > begin ? std::max(0.0, overlap) / (end - begin) : 1.0;
        wide.counts_[static_cast<std::size_t>(k)] += counts_[i] * share;
      }
    }
    low_ = low, high_ = high;
    counts_ = std::move(wide.counts_);
  }

  std::vector<double> counts_;
  double low_ = 0, high_ = 0, total_ = 0;
};

// The range with the least squared error: from the whole range on, a share of 1e-5 of the values is
// left out at one end or the other, where that narrows the range more, until the error rises
// (PyTorch's HistogramObserver, without its truncation of bounds).
template <class = void> kernels::extent least_squares_range(const histogram& h, index_t levels) {
  constexpr double step = 1e-5;
  double alpha = 0, beta = 1, below = 0, above = 0;  // shares, and values at or past the ends
  std::size_t first = 0, last = h.bins() - 1, best_first = first, best_last = last;
  double best = h.squared_error(h.low(), h.high(), levels);
  while (alpha < beta) {
    const double next_alpha = alpha + step, next_beta = beta - step;
    std::size_t left = first, right = last;
    double under = below, over = above;
    while (left < last && under + h.count(left) < next_alpha * h.total()) under += h.count(left++);
    while (right > first && over + h.count(right) < (1 - next_beta) * h.total()) {
      over += h.count(right--);
    }
    const bool from_left = left - first > last - right;
    if (left == first && right == last) {
      alpha = next_alpha, beta = next_beta;  // both ends hold more than the share
      continue;
    }
    if (from_left) {
      alpha = next_alpha, first = left, below = under;
    } else {
      beta = next_beta, last = right, above = over;
    }
    if (first >= last) break;
    const double error = h.squared_error(h.edge(first), h.edge(last + 1), levels);
    if (error > best) break;
    best = error, best_first = first, best_last = last;
  }
  return {static_cast<float>(h.edge(best_first)), static_cast<float>(h.edge(best_last + 1))};
}

// The range c [low, high], c from 1 down to 0.2 in 100 steps, with the least squared error.
template <class = void> kernels::extent least_error_range(const histogram& h, index_t levels) {
  double best = std::numeric_limits<double>::infinity();
  kernels::extent range{};
  for (int i = 0; i < 100; ++i) {
    const double c = 1 - 0.8 * i / 100;
    const double error = h.squared_error(c * h.low(), c * h.high(), levels);
    if (error >= best) continue;
    best = error;
    range = {static_cast<float>(c * h.low()), static_cast<float>(c * h.high())};
  }
  return range;
}

// KL(P || Q) of sizes up to bin `bins` of `sizes`: P has what lies beyond in its last bin, Q is the
// sizes below in `levels` equal steps, spread evenly over their bins that are not empty.
template <class = void>
double divergence(const std::vector<double>& sizes, std::size_t bins, std::size_t levels) {
  constexpr double smooth = 1e-4;
  std::vector<double> p(sizes.begin(), sizes.begin() + static_cast<index_t>(bins)), q(bins, 0.0);
  for (std::size_t l = 0; l < levels; ++l) {
    const std::size_t begin = l * bins / levels, end = (l + 1) * bins / levels;
    double sum = 0, filled = 0;
    for (std::size_t i = begin; i < end; ++i) sum += p[i], filled += p[i] > 0 ? 1 : 0;
    for (std::size_t i = begin; i < end; ++i) q[i] = p[i] > 0 ? sum / filled : 0;
  }
  for (std::size_t i = bins; i < sizes.size(); ++i) p[bins - 1] += sizes[i];
  double ps = 0, qs = 0, sum = 0;
  for (std::size_t i = 0; i < bins; ++i) ps += p[i] += smooth, qs += q[i] += smooth;
  for (std::size_t i = 0; i < bins; ++i) sum += p[i] / ps * std::log(p[i] / ps * qs / q[i]);
  return sum;
}

// The range [-t, t], within what was seen, whose codes lose the least information about sizes
// (NVIDIA's calibration by entropy, 2017; smoothing as AIMET has it).
template <class = void> kernels::extent least_divergence_range(const histogram& h, index_t codes) {
  const bool both = h.low() < 0 && h.high() > 0;
  const auto levels = static_cast<std::size_t>(both ? codes / 2 : codes);
  const double most = std::max(std::abs(h.low()), std::abs(h.high()));
  std::vector<double> sizes(h.bins(), 0.0);
  const double scale = most > 0 ? static_cast<double>(h.bins()) / most : 0;
  for (std::size_t i = 0; i < h.bins(); ++i) {
    const double middle = std::abs(h.edge(i) + h.width() / 2) * scale;
    sizes[std::min(h.bins() - 1, static_cast<std::size_t>(middle))] += h.count(i);
  }
  double best = std::numeric_limits<double>::infinity();
  std::size_t kept = h.bins();
  const std::size_t step = std::max<std::size_t>(1, h.bins() / 256);
  for (std::size_t bins = std::min(levels, h.bins()); bins <= h.bins(); bins += step) {
    const double d = divergence(sizes, bins, levels);
    if (d < best) best = d, kept = bins;
  }
  const double t = most * static_cast<double>(kept) / static_cast<double>(h.bins());
  return {static_cast<float>(std::max(h.low(), -t)), static_cast<float>(std::min(h.high(), t))};
}

}  // namespace adze::quant
