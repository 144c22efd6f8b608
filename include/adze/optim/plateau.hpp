#pragma once
// SPDX-License-Identifier: MIT
// The schedule that looks at a measure: it lowers the rates when the measure stops improving.
#include <adze/optim/schedule.hpp>

namespace adze::optim {

enum class goal : std::uint8_t { min, max };
enum class threshold_mode : std::uint8_t { rel, abs };

struct plateau_options {
  goal mode = goal::min;
  double factor = 0.1;
  index_t patience = 10;  // steps without improvement that are borne
  double threshold = 1e-4;
  adze::optim::threshold_mode threshold_mode = adze::optim::threshold_mode::rel;
  index_t cooldown = 0;  // steps after a reduction that are not looked at
  double min_lr = 0.0;
  double eps = 1e-8;  // smaller changes of the rate are not made
};

}  // namespace adze::optim

namespace adze::optim::inline ADZE_ISA {

// PyTorch's ReduceLROnPlateau: after more than `patience` steps without a measure better than the
// best by the threshold, each group's rate becomes max(factor lr, min_lr). NaN is no improvement.
class reduce_lr_on_plateau {
 public:
  // Errors: value_error for a factor that does not reduce.
  explicit reduce_lr_on_plateau(optimizer& o, const plateau_options& options = {})
      : optimizer_(&o), o_(options), best_(worst()) {
    if (!(o_.factor < 1.0 && o_.factor >= 0.0)) {
      raise<value_error>("reduce_lr_on_plateau: factor must be in [0, 1); got ", o_.factor);
    }
  }

  // Call it once per epoch with what is watched. True when a rate was lowered.
  bool step(double measure) {
    if (better(measure)) {
      best_ = measure;
      bad_ = 0;
    } else {
      ++bad_;
    }
    if (cooling_ > 0) {
      --cooling_;
      bad_ = 0;
    }
    if (bad_ <= o_.patience) return false;
    cooling_ = o_.cooldown;
    bad_ = 0;
    bool lowered = false;
    for (index_t g = 0; g < optimizer_->group_count(); ++g) {
      double& lr = optimizer_->lr(g);
      const double lower = std::max(lr * o_.factor, o_.min_lr);
      if (!(lr - lower > o_.eps)) continue;
      lr = lower;
      lowered = true;
    }
    return lowered;
  }

  double best() const { return best_; }

  // "best", "num_bad_epochs", "cooldown_counter"; the rates are the optimizer's.
  template <class = void> saved_state state_dict() const {
    saved_state s;
    s.numbers = {{"best", best_},
                 {"num_bad_epochs", static_cast<double>(bad_)},
                 {"cooldown_counter", static_cast<double>(cooling_)}};
    return s;
  }
  template <class = void> void load_state_dict(const saved_state& from) {
    detail::state_reader in(from, "reduce_lr_on_plateau.load_state_dict");
    const double best = in.number("best");
    const index_t bad = in.count("num_bad_epochs"), cooling = in.count("cooldown_counter");
    in.done();
    best_ = best, bad_ = bad, cooling_ = cooling;
  }

 private:
  double worst() const {
    return std::numeric_limits<double>::infinity() * (o_.mode == goal::min ? 1.0 : -1.0);
  }
  bool better(double x) const {
    const bool relative = o_.threshold_mode == threshold_mode::rel;
    if (o_.mode == goal::min) {
      return x < (relative ? best_ * (1.0 - o_.threshold) : best_ - o_.threshold);
    }
    return x > (relative ? best_ * (1.0 + o_.threshold) : best_ + o_.threshold);
  }

  optimizer* optimizer_;
  plateau_options o_;
  double best_;
  index_t bad_ = 0, cooling_ = 0;
};

}  // namespace adze::optim::inline ADZE_ISA
