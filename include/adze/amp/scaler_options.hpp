#pragma once
// SPDX-License-Identifier: MIT
// How a grad_scaler moves its scale, the bounds that this must keep, and what it counts.
#include <cmath>

#include <adze/core/error.hpp>
#include <adze/fwd.hpp>

namespace adze::amp {

struct grad_scaler_options {
  double init_scale = 65536.0;
  double growth_factor = 2.0;      // after growth_interval clean updates in a row
  double backoff_factor = 0.5;     // after an update that saw an overflow
  index_t growth_interval = 2000;  // updates
  bool enabled = true;             // false: nothing is scaled, checked or skipped
  bool dynamic = true;             // false: the scale stays; steps are skipped all the same
  double minimum = 0x1p-126;       // of the scale; its reciprocal must be finite
  double maximum = 0x1p127;
  bool error_at_minimum = false;  // an overflow there throws numeric_error
  // Overflows that it takes to lower the scale. The allowance is filled up when the scale grows, or
  // by every clean update.
  index_t hysteresis = 1;
  bool consecutive_hysteresis = false;
};

// As DeepSpeed scales f16 by default: one overflow is tolerated, and the scale ends at 1.
inline grad_scaler_options deepspeed_scaling() {
  return {.growth_interval = 1000, .minimum = 1.0, .error_at_minimum = true, .hysteresis = 2};
}

struct scaler_statistics {
  index_t steps = 0, skipped_steps = 0;  // of optimizers
  index_t growths = 0, backoffs = 0;     // of the scale
  index_t gradients = 0;                 // elements unscaled that are not 0
  index_t saved = 0;                     // those that f16 would have rounded to 0 without the scale
  double saved_share() const {
    return gradients == 0 ? 0.0 : static_cast<double>(saved) / static_cast<double>(gradients);
  }
};

}  // namespace adze::amp

namespace adze::amp::detail {

// Throws value_error unless everything is a power of two in its range.
inline void check_scaling(const grad_scaler_options& o, double scale, std::string_view op) {
  const auto power = [&](std::string_view name, double x, double low, double high) {
    int exponent = 0;
    if (!(x >= low && x <= high) || std::frexp(x, &exponent) != 0.5) {
      raise<value_error>(op, ": ", name, " must be a power of two from ", low, " to ", high,
                         "; got ", x);
    }
  };
  const auto count = [&](std::string_view name, index_t n) {
    if (n < 1) raise<value_error>(op, ": ", name, " must be at least 1; got ", n);
  };
  power("minimum", o.minimum, 0x1p-126, 0x1p127);
  power("maximum", o.maximum, o.minimum, 0x1p127);
  power("the scale", scale, o.minimum, o.maximum);
  power("growth_factor", o.growth_factor, 2.0, 0x1p127);
  power("backoff_factor", o.backoff_factor, 0x1p-126, 0.5);
  count("growth_interval", o.growth_interval);
  count("hysteresis", o.hysteresis);
}

}  // namespace adze::amp::detail
