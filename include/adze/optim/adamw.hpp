#pragma once
// SPDX-License-Identifier: MIT
// AdamW: Adam whose weight decay does not pass through the moments. Defaults are PyTorch's.
#include <adze/optim/adam.hpp>

namespace adze::optim {

struct adamw_options {
  double lr = 1e-3;
  std::array<double, 2> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 1e-2;  // p shrinks by lr * weight_decay in each step
  bool amsgrad = false;
  bool maximize = false;
};

}  // namespace adze::optim

namespace adze::optim::detail::inline ADZE_ISA {

struct adamw_method : adam_family<adamw_options> {
  static constexpr std::string_view name = "adamw";
  static void check(const options& o) { check_as(name, o); }
  static rule make_rule(const options& o, step_moment now) {
    rule r = undecayed(o, now);
    r.shrink = 1.0 - o.lr * o.weight_decay;
    return r;
  }
};

}  // namespace adze::optim::detail::inline ADZE_ISA

namespace adze::optim::inline ADZE_ISA {

// Adam with decoupled weight decay w: p *= 1 - lr w, then Adam's step on the bare gradient.
// Loshchilov & Hutter 2019.
using adamw = optimizer_of<detail::adamw_method>;

}  // namespace adze::optim::inline ADZE_ISA
