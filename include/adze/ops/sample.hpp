#pragma once
// SPDX-License-Identifier: MIT
// Draws by weight, without a gradient; the same draws for any number of threads.
#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include <adze/core/random.hpp>
#include <adze/ops/dense.hpp>

namespace adze::detail::inline ADZE_ISA {

// A row of weights must be finite, none negative, and not all 0.
inline void check_weights(const double* w, index_t n) {
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
}

// Draws with replacement: the first place where the running sum of the weights passes u sum; the
// last weight above 0 if none does.
inline void draw_places(const double* w, index_t n, std::span<const double> u,
                        std::span<index_t> to) {
  std::vector<double> sums(static_cast<std::size_t>(n));
  index_t last = 0;
  double sum = 0;
  for (index_t i = 0; i < n; ++i) {
    if (w[i] > 0.0) last = i;
    sums[static_cast<std::size_t>(i)] = sum += w[i];
  }
  for (std::size_t k = 0; k < to.size(); ++k) {
    const auto at = std::upper_bound(sums.begin(), sums.end(), u[k] * sum) - sums.begin();
    to[k] = std::min<index_t>(at, last);
  }
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

template <class = void> struct multinomial_op {
  index_t count = 1;
  bool replacement = false;
  generator* source = nullptr;  // null: the default one
  static constexpr std::string_view name = "multinomial";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& w) const {
    if (w.rank() != 1 && w.rank() != 2) {
      raise<shape_error>("multinomial: takes weights [n] or [m, n]; got ", w);
    }
    return w.with(w.rank() - 1, count);
  }
  tensor forward(const tensor& weights) const {
    if (count < 1) raise<value_error>("multinomial: the count must be positive; got ", count);
    tensor y = empty(result(weights.shape()), i64);
    static_cast<void>(detail::floating_compute_type(name, weights));
    const index_t n = weights.size(-1), rows = weights.rank() == 2 ? weights.size(0) : 1;
    const tensor w = detail::dense_as(weights, f64);
    const bool races = !replacement && count > 1;
    const index_t draws = races ? n : count;  // per row
    std::vector<double> u(static_cast<std::size_t>(rows * draws));
    generator& from = source != nullptr ? *source : default_generator();
    const random_state at = from.reserve_for<double>(rows * draws);
    uniform_fill(u.data(), 0, rows * draws, at);
    const auto width = static_cast<std::size_t>(draws), wanted = static_cast<std::size_t>(count);
    for (index_t r = 0; r < rows; ++r) {
      const double* const row = w.data_as<double>() + r * n;
      const std::span<const double> chance(u.data() + r * draws, width);
      const std::span<index_t> to(y.data_as<index_t>() + r * count, wanted);
      detail::check_weights(row, n);
      races ? detail::win_races(row, chance, to) : detail::draw_places(row, n, chance, to);
    }
    return y;
  }
  tensor backward(backward_context&, const tensor&) const { return {}; }
};

// `count` places per row of weights [n] or [m, n], i64 [count] or [m, count]: place i with
// probability w_i / sum(w). Without replacement all differ, and are drawn one after the other among
// those left (the smallest e_i / w_i with e_i exponential). Weights need not sum to 1. A graph
// draws anew at each replay. Inside of checkpoint() and trace(), which run a function once more
// with the numbers of the default generator, another one is a state_error. Throws shape_error;
// value_error for weights that are negative, not finite or all 0, and where fewer than `count` are
// above 0 without replacement.
template <class>
tensor multinomial(const tensor& weights, index_t count, bool replacement, generator& g) {
  generator* const own = &g == &default_generator() ? nullptr : &g;
  if (own != nullptr && detail::state.watch != nullptr) {
    raise<state_error>(
        "multinomial: checkpoint() and trace() run a function again with the numbers "
        "of the default generator; draw from that one inside of them");
  }
  return record(multinomial_op<>{count, replacement, own}, weights);
}

}  // namespace adze::inline ADZE_ISA
