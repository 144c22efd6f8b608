#pragma once
// SPDX-License-Identifier: MIT
// Adagrad. Defaults and update are PyTorch's.
#include <adze/optim/method.hpp>

namespace adze::optim {

struct adagrad_options {
  double lr = 1e-2;
  double lr_decay = 0.0;
  double weight_decay = 0.0;  // added to the gradient
  double initial_accumulator_value = 0.0;
  double eps = 1e-10;
  bool maximize = false;
};

}  // namespace adze::optim

namespace adze::optim::detail::inline ADZE_ISA {

struct adagrad_rule {
  double rate, sign, decay, eps;

  static constexpr unsigned variants = 1;
  unsigned variant() const { return 0; }
  template <unsigned, class V, class S> V apply(V p, V g, const S& s) const {
    g = g * sign;
    if (decay != 0.0) g = g + p * decay;
    const V sum = s.load(0) + g * g;
    s.store(0, sum);
    return p - g * rate / (sqrt(sum) + eps);
  }
};

struct adagrad_method {
  using options = adagrad_options;
  using rule = adagrad_rule;
  static constexpr std::string_view name = "adagrad";
  static constexpr std::array<std::string_view, 1> states{"sum"};
  static bool keeps(const options&, std::size_t) { return true; }
  static double initial(const options& o) { return o.initial_accumulator_value; }
  static double* momentum(options&) { return nullptr; }

  template <class O, class F> static void visit(O& o, F f) {
    f("lr", o.lr);
    f("lr_decay", o.lr_decay);
    f("weight_decay", o.weight_decay);
    f("initial_accumulator_value", o.initial_accumulator_value);
    f("eps", o.eps);
    f("maximize", o.maximize);
  }
  static void check(const options& o) {
    check_at_least(name, "lr", o.lr, 0.0);
    check_at_least(name, "lr_decay", o.lr_decay, 0.0);
    check_at_least(name, "weight_decay", o.weight_decay, 0.0);
    check_at_least(name, "initial_accumulator_value", o.initial_accumulator_value, 0.0);
    check_at_least(name, "eps", o.eps, 0.0);
  }
  static rule make_rule(const options& o, step_moment now) {
    return {.rate = o.lr / (1.0 + static_cast<double>(now.step - 1) * o.lr_decay),
            .sign = o.maximize ? -1.0 : 1.0,
            .decay = o.weight_decay,
            .eps = o.eps};
  }
};

}  // namespace adze::optim::detail::inline ADZE_ISA

namespace adze::optim::inline ADZE_ISA {

// Steps divided by the root of all squares so far; at step t, with weight decay w:
//   g = grad + w p;  s += g^2;  p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)
// Duchi et al. 2011.
using adagrad = optimizer_of<detail::adagrad_method>;

}  // namespace adze::optim::inline ADZE_ISA
