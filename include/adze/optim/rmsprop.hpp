#pragma once
// SPDX-License-Identifier: MIT
// RMSprop, plain, centered and with momentum. Defaults and update are PyTorch's.
#include <adze/optim/method.hpp>

namespace adze::optim {

struct rmsprop_options {
  double lr = 1e-2;
  double alpha = 0.99;
  double eps = 1e-8;
  double weight_decay = 0.0;  // added to the gradient
  double momentum = 0.0;
  bool centered = false;
  bool maximize = false;
};

}  // namespace adze::optim

namespace adze::optim::detail::inline ADZE_ISA {

struct rmsprop_rule {
  double lr, sign, decay, alpha, enter, eps, momentum;
  bool centered;

  static constexpr unsigned variants = 1;
  unsigned variant() const { return 0; }
  template <unsigned, class V, class S> V apply(V p, V g, const S& s) const {
    g = g * sign;
    if (decay != 0.0) g = g + p * decay;
    V spread = s.load(0) * alpha + g * g * enter;
    s.store(0, spread);
    if (centered) {
      V mean = s.load(2);
      mean = mean + (g - mean) * enter;
      s.store(2, mean);
      // Rounding may leave a variance of nothing below zero, where PyTorch's root is NaN.
      spread = maximum(spread - mean * mean, V(0.0));
    }
    V d = g / (sqrt(spread) + eps);
    if (momentum > 0.0) {
      d = s.load(1) * momentum + d;
      s.store(1, d);
    }
    return p - d * lr;
  }
};

struct rmsprop_method {
  using options = rmsprop_options;
  using rule = rmsprop_rule;
  static constexpr std::string_view name = "rmsprop";
  static constexpr std::array<std::string_view, 3> states{"square_avg", "momentum_buffer",
                                                          "grad_avg"};
  static bool keeps(const options& o, std::size_t k) {
    return k == 0 || (k == 1 ? o.momentum > 0.0 : o.centered);
  }
  static double initial(const options&) { return 0.0; }
  static double* momentum(options& o) { return &o.momentum; }

  template <class O, class F> static void visit(O& o, F f) {
    f("lr", o.lr);
    f("alpha", o.alpha);
    f("eps", o.eps);
    f("weight_decay", o.weight_decay);
    f("momentum", o.momentum);
    f("centered", o.centered);
    f("maximize", o.maximize);
  }
  static void check(const options& o) {
    check_at_least(name, "lr", o.lr, 0.0);
    check_at_least(name, "alpha", o.alpha, 0.0);
    check_at_least(name, "eps", o.eps, 0.0);
    check_at_least(name, "weight_decay", o.weight_decay, 0.0);
    check_at_least(name, "momentum", o.momentum, 0.0);
  }
  static rule make_rule(const options& o, step_moment) {
    return {.lr = o.lr,
            .sign = o.maximize ? -1.0 : 1.0,
            .decay = o.weight_decay,
            .alpha = o.alpha,
            .enter = 1.0 - o.alpha,
            .eps = o.eps,
            .momentum = o.momentum,
            .centered = o.centered};
  }
};

}  // namespace adze::optim::detail::inline ADZE_ISA

namespace adze::optim::inline ADZE_ISA {

// Steps divided by a running root mean square; with weight decay w:
//   g = grad + w p;  v = a v + (1 - a) g^2;  d = g / (sqrt(v) + eps)
//   b = momentum b + d;  p -= lr b   (momentum 0: p -= lr d)
// `centered` takes v minus the square of the running mean of g. Tieleman & Hinton 2012, Graves
// 2013.
using rmsprop = optimizer_of<detail::rmsprop_method>;

}  // namespace adze::optim::inline ADZE_ISA
