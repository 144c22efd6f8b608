#pragma once
// SPDX-License-Identifier: MIT
// The one-cycle policy: the rate up to max_lr and down to almost nothing, the momentum the other
// way. A rule for `scheduler`, stepped once per batch.
#include <adze/optim/schedule.hpp>

namespace adze::optim {

enum class anneal : std::uint8_t { cos, linear };

}  // namespace adze::optim

namespace adze::optim::inline ADZE_ISA {

// PyTorch's OneCycleLR: from max_lr / div_factor up to max_lr in pct_start of the steps, then down
// to max_lr / div_factor / final_div_factor; three_phase mirrors the way up first. Momentum (or
// Adam's first beta) goes from max_momentum down to base_momentum and back. Smith & Topin 2019.
// Errors: value_error for a step beyond total_steps.
struct one_cycle_lr {
  double max_lr = 0.0;  // 0: the rate of the group
  index_t total_steps = 0;
  double pct_start = 0.3;
  anneal anneal_strategy = anneal::cos;
  bool cycle_momentum = true;
  double base_momentum = 0.85;
  double max_momentum = 0.95;
  double div_factor = 25.0;
  double final_div_factor = 1e4;
  bool three_phase = false;

  void check() const {
    detail::check_count("one_cycle_lr", "total_steps", total_steps);
    if (!(pct_start >= 0.0 && pct_start <= 1.0)) {
      raise<value_error>("one_cycle_lr: pct_start must be in [0, 1]; got ", pct_start);
    }
    if (!(max_lr >= 0.0)) {
      raise<value_error>("one_cycle_lr: max_lr must be at least 0; got ", max_lr);
    }
  }
  double operator()(double t, double base) const {
    const double top = max_lr > 0.0 ? max_lr : base, start = top / div_factor;
    return at(t, {start, top, start, start / final_div_factor});
  }
  double momentum(double t) const {
    return at(t, {max_momentum, base_momentum, max_momentum, max_momentum});
  }

  // Between the values at the start, at the top, back down, and at the end.
  double at(double t, const std::array<double, 4>& value) const {
    const auto steps = static_cast<double>(total_steps);
    if (t > steps) {
      raise<value_error>("one_cycle_lr: step ", t, " is beyond total_steps = ", total_steps);
    }
    const double top = pct_start * steps - 1.0, last = steps - 1.0;
    const double back = 2.0 * pct_start * steps - 2.0;
    if (t <= top) return between(value[0], value[1], t, top);
    if (!three_phase) return between(value[1], value[3], t - top, last - top);
    if (t <= back) return between(value[1], value[2], t - top, back - top);
    return between(value[2], value[3], t - back, last - back);
  }
  // A phase without length, up to rounding, is at its end.
  [[gnu::noinline]] double between(double from, double to, double gone, double length) const {
    const double part = length > 1e-9 ? gone / length : 1.0;
    if (anneal_strategy == anneal::linear) return from + (to - from) * part;
    return to + (from - to) / 2.0 * (1.0 + std::cos(3.14159265358979323846 * part));
  }
};

}  // namespace adze::optim::inline ADZE_ISA
