#pragma once
// SPDX-License-Identifier: MIT
// One axis of a chart: the range of its data, round tick positions with labels, and where a value
// falls between 0 and 1. Linear or logarithmic; any finite data, however narrow or wide, is legal.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <adze/core/error.hpp>
#include <adze/core/format.hpp>
#include <adze/fwd.hpp>

namespace adze::report {

struct tick {
  double value = 0;
  std::string label;
};

class axis {
 public:
  struct options {
    bool logarithmic = false;
    bool snap = false;  // widen the range to whole ticks
    index_t ticks = 6;  // about this many
  };

  explicit axis(const options& chosen) : options_(chosen) {}

  // Whether a value can be shown: finite, not absurdly large, positive on a logarithmic axis.
  bool shows(double value) const {
    return std::fabs(value) <= 1e300 && (!options_.logarithmic || value >= 1e-300);
  }

  // Widens the range to hold the value, if it can be shown.
  void include(double value) {
    if (!shows(value)) return;
    low_ = std::min(low_, forward(value));
    high_ = std::max(high_, forward(value));
  }

  // Call once, after the last include: fixes range and ticks.
  [[gnu::cold]] void finish() {
    if (!(low_ <= high_)) low_ = 0, high_ = 1;
    // Below these the steps between ticks would be subnormal, or lost beside the values.
    const double least = std::max(std::max(std::fabs(low_), std::fabs(high_)) * 1e-9,
                                  options_.logarithmic ? 1e-9 : 1e-300);
    if (high_ - low_ <= least) {
      const bool zero = std::fabs(low_) < 1e-290;
      const double pad = zero || options_.logarithmic ? 0.5 : std::fabs(low_) * 0.1;
      low_ -= pad;
      high_ += pad;
    }
    if (options_.logarithmic) {
      make_logarithmic_ticks();
    } else {
      make_linear_ticks();
    }
  }

  const std::vector<tick>& ticks() const { return ticks_; }

  // 0 at the low end, 1 at the high end.
  double position(double value) const { return (forward(value) - low_) / (high_ - low_); }

  // Ticks this far apart, from 1, 2 or 5 times a power of ten: about `count` of them in `width`.
  static double nice_step(double width, index_t count) {
    const double raw = width / static_cast<double>(std::max<index_t>(count, 1));
    const double power = std::pow(10.0, std::floor(std::log10(raw)));
    const double digit = raw / power;
    return power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
  }

 private:
  // Whatever the range, the ticks come to an end.
  bool more() const { return ticks_.size() < 1000; }

  double forward(double value) const { return options_.logarithmic ? std::log10(value) : value; }

  [[gnu::cold]] void make_linear_ticks() {
    const double step = nice_step(high_ - low_, options_.ticks);
    constexpr double slack = 1e-6;  // a range end that rounding left just beside a tick
    double first = std::ceil(low_ / step - slack);
    double last = std::floor(high_ / step + slack);
    if (options_.snap) {
      first = std::floor(low_ / step + slack);
      last = std::ceil(high_ / step - slack);
      low_ = first * step;
      high_ = last * step;
    }
    for (double i = first; i <= last && more(); ++i)
      ticks_.push_back({i * step, linear_label(i, step)});
  }

  static std::string linear_label(double index, double step) {
    const double value = index * step;
    const double exponent = std::floor(std::log10(step) + 1e-9);
    if (value == 0) return "0";
    if (std::fabs(value) >= 1e6 || exponent < -5) return short_label(value);
    return format_fixed(value, exponent < 0 ? static_cast<int>(-exponent) : 0);
  }

  // Decades, thinned when there are many; 1-2-5 between them when there are few.
  [[gnu::cold]] void make_logarithmic_ticks() {
    if (options_.snap && high_ - low_ > 0.7) {
      low_ = snapped(low_, -1);
      high_ = snapped(high_, 1);
    }
    const double decades = high_ - low_;
    const double stride = std::max(1.0, std::ceil(decades / static_cast<double>(options_.ticks)));
    for (double e = std::floor(low_ / stride) * stride; e <= high_ + 1e-9 && more(); e += stride) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        if (digit != 1 && decades > 3) continue;
        const double at = e + std::log10(digit);
        if (at < low_ - 1e-9 || at > high_ + 1e-9) continue;
        ticks_.push_back({std::pow(10.0, at), short_label(digit * std::pow(10.0, e))});
      }
    }
    if (ticks_.size() >= 2) return;
    // Less than an octave: round values, still placed by their logarithm.
    ticks_.clear();
    const double low = std::pow(10.0, low_);
    const double high = std::pow(10.0, high_);
    const double step = nice_step(high - low, options_.ticks);
    for (double i = std::ceil(low / step); i * step <= high && more(); ++i) {
      ticks_.push_back({i * step, linear_label(i, step)});
    }
  }

  // The next of 1, 2, 5 times a power of ten below (-1) or above (+1), as a logarithm.
  static double snapped(double logarithm, int direction) {
    const double base = std::floor(logarithm);
    double best = direction < 0 ? base : base + 1;
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double at = base + std::log10(digit);
      if (direction < 0 && at <= logarithm + 1e-9) best = at;
      if (direction > 0 && at >= logarithm - 1e-9) return at;
    }
    return best;
  }

  // Up to six significant digits, exponents without padding: 0.001, 5e-7, 1e12.
  [[gnu::cold]] static std::string short_label(double value) {
    char buffer[64];
    const bool plain = std::fabs(value) >= 9.99e-5 && std::fabs(value) < 1e6;
    const auto format = plain ? std::chars_format::general : std::chars_format::scientific;
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format, plain ? 6 : 5);
    std::string out(buffer, end.ptr);
    const auto e = out.find('e');
    if (e == out.npos) return out;
    std::string mantissa = out.substr(0, e);
    const bool negative = out[e + 1] == '-';
    std::string digits = out.substr(e + 2);
    while (mantissa.find('.') != mantissa.npos && mantissa.back() == '0') mantissa.pop_back();
    if (mantissa.back() == '.') mantissa.pop_back();
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
    return text(mantissa, negative ? "e-" : "e", digits);
  }

  options options_;
  double low_ = std::numeric_limits<double>::infinity();
  double high_ = -std::numeric_limits<double>::infinity();
  std::vector<tick> ticks_;
};

}  // namespace adze::report
