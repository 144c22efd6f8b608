#pragma once
// SPDX-License-Identifier: MIT
// Noisy values made readable: an exponential mean without the bias of its start, which infinities
// and NaN do not poison. Progress lines and loss curves share it.
#include <cmath>
#include <span>
#include <vector>

#include <adze/core/error.hpp>

namespace adze::report {

// Mean of the values so far, in which each weighs `keep` times what the next one does.
class smooth_mean {
 public:
  explicit smooth_mean(double keep = 0.98) : keep_(keep) {
    if (!(keep >= 0 && keep < 1)) {
      raise<value_error>("smooth_mean: keep out of range; got ", keep, "; 0 <= keep < 1");
    }
  }

  void add(double value) {
    if (!std::isfinite(value)) return;
    sum_ = keep_ * sum_ + value;
    weight_ = keep_ * weight_ + 1;
  }
  // NaN before the first finite value.
  double value() const { return weight_ > 0 ? sum_ / weight_ : std::nan(""); }

 private:
  double keep_;
  double sum_ = 0;
  double weight_ = 0;
};

// The mean after each value, for a curve over its faint raw values.
[[gnu::cold]] inline std::vector<double> smoothed(std::span<const double> values,
                                                  double keep = 0.98) {
  smooth_mean mean(keep);
  std::vector<double> out;
  out.reserve(values.size());
  for (const double v : values) {
    mean.add(v);
    out.push_back(mean.value());
  }
  return out;
}

}  // namespace adze::report
