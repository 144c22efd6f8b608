#pragma once
// SPDX-License-Identifier: MIT
// Stochastic gradient descent with momentum. Defaults and update are PyTorch's.
#include <adze/optim/method.hpp>

namespace adze::optim {

struct sgd_options {
  double lr = 1e-3;
  double momentum = 0.0;
  double dampening = 0.0;
  double weight_decay = 0.0;  // added to the gradient
  bool nesterov = false;
  bool maximize = false;
};

}  // namespace adze::optim

namespace adze::optim::detail::inline ADZE_ISA {

struct sgd_rule {
  double lr, sign, decay, momentum, keep;  // keep: the share of g that enters the buffer
  bool nesterov;

  static constexpr unsigned variants = 8;
  unsigned variant() const {
    return unsigned{decay != 0.0} | unsigned{momentum != 0.0} << 1 | unsigned{nesterov} << 2;
  }
  template <unsigned variant, class V, class S> V apply(V p, V g, const S& s) const {
    g = g * sign;
    if constexpr ((variant & 1) != 0) g = g + p * decay;
    if constexpr ((variant & 2) != 0) {
      const V buffer = s.load(0) * momentum + g * keep;
      s.store(0, buffer);
      g = (variant & 4) != 0 ? g + buffer * momentum : buffer;
    }
    return p - g * lr;
  }
};

struct sgd_method {
  using options = sgd_options;
  using rule = sgd_rule;
  static constexpr std::string_view name = "sgd";
  static constexpr std::array<std::string_view, 1> states{"momentum_buffer"};
  static bool keeps(const options& o, std::size_t) { return o.momentum != 0.0; }
  static double initial(const options&) { return 0.0; }
  static double* momentum(options& o) { return &o.momentum; }

  template <class O, class F> static void visit(O& o, F f) {
    f("lr", o.lr);
    f("momentum", o.momentum);
    f("dampening", o.dampening);
    f("weight_decay", o.weight_decay);
    f("nesterov", o.nesterov);
    f("maximize", o.maximize);
  }
  static void check(const options& o) {
    check_at_least(name, "lr", o.lr, 0.0);
    check_at_least(name, "momentum", o.momentum, 0.0);
    check_at_least(name, "weight_decay", o.weight_decay, 0.0);
    if (o.nesterov && (o.momentum <= 0.0 || o.dampening != 0.0)) {
      raise<value_error>("sgd: nesterov needs a momentum and no dampening; got momentum ",
                         o.momentum, ", dampening ", o.dampening);
    }
  }
  // The first gradient enters the empty buffer whole, as in PyTorch.
  static rule make_rule(const options& o, step_moment now) {
    return {.lr = o.lr,
            .sign = o.maximize ? -1.0 : 1.0,
            .decay = o.weight_decay,
            .momentum = o.momentum,
            .keep = now.fresh ? 1.0 : 1.0 - o.dampening,
            .nesterov = o.nesterov};
  }
};

}  // namespace adze::optim::detail::inline ADZE_ISA

namespace adze::optim::inline ADZE_ISA {

// Gradient descent; with weight decay w, momentum m and dampening d:
//   g = grad + w p;  b = m b + (1 - d) g (b = g at first);  p -= lr (nesterov ? g + m b : b)
// `maximize` ascends. Sutskever et al. 2013; the form without lr inside b, as PyTorch's SGD.
using sgd = optimizer_of<detail::sgd_method>;

}  // namespace adze::optim::inline ADZE_ISA
