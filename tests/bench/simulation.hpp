#pragma once
// SPDX-License-Identifier: MIT
// A machine that is not quiet, with a clock that only simulated work turns: slow drift of its
// speed, bursts in which a neighbour takes half of it, and jitter of each call. Tests of the
// harness run its real loops on this clock.
#include <cmath>

#include <adze/bench/timing.hpp>
#include <adze/core/random.hpp>

namespace adze::bench {

class simulated_machine {
 public:
  explicit simulated_machine(std::uint64_t seed, double noise = 1) : random_(seed), noise_(noise) {}

  stopwatch clock() {
    const auto read = [](void* self) { return static_cast<simulated_machine*>(self)->now_; };
    return {read, read, this};
  }

  // A kernel that takes this many seconds when nothing disturbs it.
  candidate kernel(std::string name, double seconds) {
    return {std::move(name), [this, seconds] { work(seconds); }};
  }

  void work(double seconds) {
    // Per call: speed wanders by about 1 % in 10 ms and comes back, up to some 5 %.
    const double step = std::sqrt(seconds / 0.01);
    drift_ +=
        noise_ * (0.01 * step * random_.normal()) - drift_ * std::min(0.04 * step * step, 1.0);
    if (now_ > burst_end_ && random_.uniform() < seconds / 0.05)
      burst_end_ = now_ + noise_ * 0.004 * (0.5 + random_.uniform());  // one in 50 ms
    const double burst = now_ < burst_end_ ? 2 : 1;
    const double jitter = 1 + noise_ * 0.02 * std::fabs(random_.normal());
    now_ += seconds * burst * jitter * std::exp(drift_);
  }

 private:
  generator random_;
  double noise_ = 1;
  double now_ = 0;
  double drift_ = 0;
  double burst_end_ = -1;
};

}  // namespace adze::bench
