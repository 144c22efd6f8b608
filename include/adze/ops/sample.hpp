#pragma once
// SPDX-License-Identifier: MIT
// Draws by weight. Plain data: no graph, and the same draws for any number of threads.
#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include <adze/core/random.hpp>
#include <adze/ops/dense.hpp>

namespace adze::detail::inline ADZE_ISA {

// The sum of a row of weights, all finite and none negative.
inline double checked_weights(const double* w, index_t n) {
  double sum = 0;
  for (index_t i = 0; i < n; ++i) {
    if (!(w[i] >= 0.0 && std::isfinite(w[i]))) {
      raise<value_error>("multinomial: weights must be finite and not negative; got ", w[i]);
    }
    sum += w[i];
  }
  if (!(sum > 0.0 && std::isfinite(sum))) {
    raise<value_error>("multinomial: a row of weights must have a finite sum above 0; got ", sum);
  }
  return sum;
}

// The first place where the running sum passes `target`; the last weight above 0 if none does.
inline index_t place_in_sum(const double* w, index_t n, double target) {
  index_t last = 0;
  double sum = 0;
  for (index_t i = 0; i < n && !(sum > target); ++i) {
    sum += w[i];
    if (w[i] > 0.0) last = i;
  }
  return last;
}

// Exponential races: the places of the `count` smallest -log(1 - u_i) / w_i, in order.
inline void win_races(const double* w, std::span<const double> u, std::span<index_t> to) {
  std::vector<std::pair<double, index_t>> times;
  for (std::size_t i = 0; i < u.size(); ++i) {
    if (w[i] > 0.0) times.emplace_back(-std::log1p(-u[i]) / w[i], static_cast<index_t>(i));
  }
  if (times.size() < to.size()) {
    raise<value_error>("multinomial: ", to.size(), " draws without replacement need as many ",
                       "weights above 0; got ", times.size());
  }
  const auto end = times.begin() + static_cast<std::ptrdiff_t>(to.size());
  std::partial_sort(times.begin(), end, times.end());
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = times[i].second;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// `count` places per row of weights [n] or [m, n], i64 [count] or [m, count]: place i with
// probability w_i / sum(w). Without replacement all differ, and are drawn one after the other among
// those left (the smallest e_i / w_i with e_i exponential). Weights need not sum to 1. Throws
// shape_error; value_error for weights that are negative, not finite or all 0, and where fewer than
// `count` are above 0 without replacement.
template <class>
tensor multinomial(const tensor& weights, index_t count, bool replacement, generator& g) {
  if (weights.rank() != 1 && weights.rank() != 2) {
    raise<shape_error>("multinomial: takes weights [n] or [m, n]; got ", weights);
  }
  if (count < 1) raise<value_error>("multinomial: the count must be positive; got ", count);
  detail::floating_compute_type("multinomial", weights);
  const index_t n = weights.size(-1), rows = weights.rank() == 2 ? weights.size(0) : 1;
  const tensor w = detail::dense_as(weights, f64);
  tensor y = empty(weights.rank() == 2 ? shape{rows, count} : shape{count}, i64);
  const index_t draws = replacement || count == 1 ? count : n;  // per row
  std::vector<double> u(static_cast<std::size_t>(rows * draws));
  const random_state at = g.reserve_for<double>(rows * draws);
  uniform_fill(u.data(), 0, rows * draws, at);
  for (index_t r = 0; r < rows; ++r) {
    const double* row = w.data_as<double>() + r * n;
    const std::span<const double> chance(u.data() + r * draws, static_cast<std::size_t>(draws));
    const std::span<index_t> to(y.data_as<index_t>() + r * count, static_cast<std::size_t>(count));
    const double sum = detail::checked_weights(row, n);
    if (!replacement && count > 1) {
      detail::win_races(row, chance, to);
    } else {
      for (std::size_t k = 0; k < to.size(); ++k) {
        to[k] = detail::place_in_sum(row, n, chance[k] * sum);
      }
    }
  }
  return y;
}

}  // namespace adze::inline ADZE_ISA
