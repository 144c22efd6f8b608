#pragma once
// SPDX-License-Identifier: MIT
// Adam. AdamW (adamw.hpp) shares the rule. Defaults and update are PyTorch's.
#include <adze/optim/method.hpp>

namespace adze::optim {

struct adam_options {
  double lr = 1e-3;
  std::array<double, 2> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0.0;  // added to the gradient
  bool amsgrad = false;
  bool maximize = false;
};

}  // namespace adze::optim

namespace adze::optim::detail::inline ADZE_ISA {

struct adam_rule {
  double sign, shrink, decay;  // p is multiplied by shrink; decay p is added to g
  double enter_first, beta2, enter_second;
  double rate, root, eps;  // with the bias corrections: rate m / (root sqrt(v) + eps)
  bool amsgrad;

  static constexpr unsigned variants = 1;
  unsigned variant() const { return 0; }
  template <unsigned, class V, class S> V apply(V p, V g, const S& s) const {
    g = g * sign;
    if (decay != 0.0) g = g + p * decay;
    V m = s.load(0), v = s.load(1);
    m = m + (g - m) * enter_first;
    v = v * beta2 + g * g * enter_second;
    s.store(0, m);
    s.store(1, v);
    if (amsgrad) {
      v = maximum(s.load(2), v);
      s.store(2, v);
    }
    return p * shrink - m * rate / (sqrt(v) * root + eps);
  }
};

// Adam and AdamW differ in their options' defaults and in where the decay goes.
template <class Options> struct adam_family {
  using options = Options;
  using rule = adam_rule;
  static constexpr std::array<std::string_view, 3> states{"exp_avg", "exp_avg_sq",
                                                          "max_exp_avg_sq"};
  static bool keeps(const options& o, std::size_t k) { return k < 2 || o.amsgrad; }
  static double initial(const options&) { return 0.0; }
  static double* momentum(options& o) { return &o.betas[0]; }

  template <class O, class F> static void visit(O& o, F f) {
    f("lr", o.lr);
    f("betas.0", o.betas[0]);
    f("betas.1", o.betas[1]);
    f("eps", o.eps);
    f("weight_decay", o.weight_decay);
    f("amsgrad", o.amsgrad);
    f("maximize", o.maximize);
  }
  static void check_as(std::string_view name, const options& o) {
    check_at_least(name, "lr", o.lr, 0.0);
    check_beta(name, "betas[0]", o.betas[0]);
    check_beta(name, "betas[1]", o.betas[1]);
    check_at_least(name, "eps", o.eps, 0.0);
    check_at_least(name, "weight_decay", o.weight_decay, 0.0);
  }
  static rule undecayed(const options& o, step_moment now) {
    const auto t = static_cast<double>(now.step);
    return {.sign = o.maximize ? -1.0 : 1.0,
            .shrink = 1.0,
            .decay = 0.0,
            .enter_first = 1.0 - o.betas[0],
            .beta2 = o.betas[1],
            .enter_second = 1.0 - o.betas[1],
            .rate = o.lr / (1.0 - std::pow(o.betas[0], t)),
            .root = 1.0 / std::sqrt(1.0 - std::pow(o.betas[1], t)),
            .eps = o.eps,
            .amsgrad = o.amsgrad};
  }
};

struct adam_method : adam_family<adam_options> {
  static constexpr std::string_view name = "adam";
  static void check(const options& o) { check_as(name, o); }
  static rule make_rule(const options& o, step_moment now) {
    rule r = undecayed(o, now);
    r.decay = o.weight_decay;
    return r;
  }
};

}  // namespace adze::optim::detail::inline ADZE_ISA

namespace adze::optim::inline ADZE_ISA {

// Steps scaled by running moments of the gradient; at step t, with weight decay w:
//   g = grad + w p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   p -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
// `amsgrad` divides by the largest v so far. Kingma & Ba 2015, Reddi et al. 2018.
using adam = optimizer_of<detail::adam_method>;

}  // namespace adze::optim::inline ADZE_ISA
