#pragma once
// SPDX-License-Identifier: MIT
// Statistics of timings: nothing here assumes a normal distribution, because timings have none.
// Orders and ranks only, so a few disturbed rounds move no result. What the numbers mean for a
// comparison is verdict.hpp's business.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include <adze/core/error.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

struct interval {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();

  bool contains(double x) const { return low <= x && x <= high; }
  bool finite() const { return std::isfinite(low) && std::isfinite(high); }
  double half_width() const { return (high - low) / 2; }
};

// Of values in rising order: the share q of them lies below (linear between neighbours).
// value_error: no values.
inline double quantile(std::span<const double> sorted, double q) {
  if (sorted.empty()) raise<value_error>("quantile: no values; received an empty list");
  const double place = std::clamp(q, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  if (below + 1 == sorted.size()) return sorted[below];
  const double part = place - static_cast<double>(below);
  return part == 0 ? sorted[below] : sorted[below] + part * (sorted[below + 1] - sorted[below]);
}

inline std::vector<double> in_order(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

inline double median(std::span<const double> values) { return quantile(in_order(values), 0.5); }

namespace detail {

// P(X <= 0), P(X <= 1), ... for the number X of heads in n throws of a fair coin.
class coin_tails {
 public:
  explicit coin_tails(index_t n) : n_(static_cast<double>(n)) {}
  double next() {
    if (at_ > n_) return 1;
    sum_ += std::exp(log_choose_ - n_ * std::log(2.0));
    log_choose_ += std::log(n_ - at_) - std::log(at_ + 1);
    ++at_;
    return std::min(sum_, 1.0);
  }

 private:
  double n_, at_ = 0, sum_ = 0, log_choose_ = 0;
};

inline double coin_tail(index_t n, index_t k) {
  coin_tails tails(n);
  double p = 0;
  for (index_t i = 0; i <= std::min(k, n); ++i) p = tails.next();
  return p;
}

// The x that a standard normal exceeds in size with probability alpha.
inline double two_sided_normal(double alpha) {
  double low = 0, high = 40;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(middle / std::sqrt(2.0)) > alpha ? low : high) = middle;
  }
  return low;
}

// The k-th smallest, from 1, of all differences y - x of values in rising order. By halving, for a
// list of them would be too long: long runs have 10^10.
inline double difference_at(std::span<const double> a, std::span<const double> b, index_t k) {
  const auto up_to = [&](double most) {
    index_t count = 0;
    std::size_t fit = 0;  // a larger x lets more of b fit
    for (const double x : a) {
      while (fit < b.size() && b[fit] - x <= most) ++fit;
      count += static_cast<index_t>(fit);
    }
    return count;
  };
  double low = b.front() - a.back(), high = b.back() - a.front();
  if (up_to(low) >= k) return low;
  for (;;) {
    const double middle = std::midpoint(low, high);
    if (!(low < middle && middle < high)) return high;
    (up_to(middle) >= k ? high : low) = middle;
  }
}

}  // namespace detail

// Where the median of the distribution lies with at least this confidence: two order statistics,
// exact for any continuous distribution (the sign test turned round). Too few values for the
// confidence asked give the whole line.
inline interval median_interval(std::span<const double> sorted, double confidence = 0.95) {
  const auto n = static_cast<index_t>(sorted.size());
  detail::coin_tails tails(n);
  index_t k = 0;
  while (2 * (k + 1) <= n && 2 * tails.next() <= 1 - confidence) ++k;
  if (k == 0) return {};
  return {sorted[static_cast<std::size_t>(k - 1)], sorted[static_cast<std::size_t>(n - k)]};
}

// Probability of a split of signs at least as uneven as this one when both are equally likely;
// zeros do not count.
inline double sign_test(std::span<const double> differences) {
  index_t above = 0, below = 0;
  for (const double d : differences) above += d > 0, below += d < 0;
  return std::min(1.0, 2 * detail::coin_tail(above + below, std::min(above, below)));
}

struct shift {
  double estimate = 0;
  interval range{};
};

// By how much the values of b lie above those of a: Hodges and Lehmann's median of all differences,
// with the interval that the rank-sum test accepts (normal approximation). For runs that were not
// interleaved. value_error: no values in a or in b.
inline shift shift_between(std::span<const double> a, std::span<const double> b,
                           double confidence = 0.95) {
  if (a.empty() || b.empty()) raise<value_error>("shift_between: no values; nothing to compare");
  const std::vector<double> from = in_order(a), to = in_order(b);
  const auto at = [&](index_t k) { return detail::difference_at(from, to, k); };
  const auto all = static_cast<index_t>(a.size() * b.size());
  const auto n = static_cast<double>(a.size()), m = static_cast<double>(b.size());
  const double reach =
      detail::two_sided_normal(1 - confidence) * std::sqrt(n * m * (n + m + 1) / 12);
  const double rank = std::floor(n * m / 2 - reach);
  shift made{std::midpoint(at((all + 1) / 2), at(all / 2 + 1)), {}};
  if (rank >= 1) {
    const auto k = static_cast<index_t>(rank);
    made.range = {at(k), at(all - k + 1)};
  }
  return made;
}

// What is reported of one list of timings. The mean alone is never shown.
struct summary {
  index_t count = 0;
  double median = 0;
  interval range{};               // of the median, at 95 %
  double absolute_deviation = 0;  // MAD: median distance from the median
  double minimum = 0;
  double p95 = 0;
  double mean = 0;

  // Half of the interval, as a share of the median.
  double relative_width() const { return range.half_width() / median; }
};

// value_error: no values.
inline summary summarize(std::span<const double> values) {
  std::vector<double> sorted = in_order(values);
  summary s{.count = static_cast<index_t>(sorted.size()), .median = quantile(sorted, 0.5)};
  s.range = median_interval(sorted);
  s.minimum = sorted.front();
  s.p95 = quantile(sorted, 0.95);
  for (const double x : sorted) s.mean += x / static_cast<double>(sorted.size());
  for (double& x : sorted) x = std::fabs(x - s.median);
  std::sort(sorted.begin(), sorted.end());
  s.absolute_deviation = quantile(sorted, 0.5);
  return s;
}

}  // namespace adze::bench
