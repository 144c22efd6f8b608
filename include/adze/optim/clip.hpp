#pragma once
// SPDX-License-Identifier: MIT
// Clipping of gradients in place, by their joint norm or by value, as PyTorch does. Call it between
// backward() and step().
#include <limits>

#include <adze/kernels/folds.hpp>
#include <adze/optim/update.hpp>

namespace adze::optim {

struct clip_norm_options {
  double norm_type = 2.0;  // any p > 0; infinity takes the largest size
  bool error_if_nonfinite = false;
};

}  // namespace adze::optim

namespace adze::optim::detail::inline ADZE_ISA {

// x = f(x) for a gradient, with the optimizers' loops.
struct scale_rule {
  double factor;
  static constexpr unsigned variants = 1;
  unsigned variant() const { return 0; }
  template <unsigned, class V, class S> V apply(V x, V, const S&) const { return x * factor; }
};
struct clamp_rule {
  double limit;
  static constexpr unsigned variants = 1;
  unsigned variant() const { return 0; }
  template <unsigned, class V, class S> V apply(V x, V, const S&) const {
    return clamp(x, V(-limit), V(limit));
  }
};

template <class Rule> void change_gradient(tensor p, const Rule& rule) {
  if (!is_dense(gradient_of(p))) p.set_grad(adze::detail::dense_copy(gradient_of(p)));
  const tensor& g = gradient_of(p);
  kernels::update_item<Rule> x{};
  x.rule = rule;
  x.parameter = g.impl().data;
  x.gradient = g.impl().data;
  x.parameter_type = x.gradient_type = g.dtype();
  x.count = g.numel();
  kernels::update(std::span(&x, 1));
  changed_in_place(g);
}

// Over all elements: the sum of |x|^p, or the largest |x| for infinite p.
template <class = void> double norm_power(const tensor& x, double p, dtype compute) {
  kernels::reduction r{.compute = compute, .folded = 0xff};
  kernels::folds::magnitude_power power;
  power.p = p;
  r.functor = &power;  // the others have no members
  r.loops = std::isinf(p) ? &kernels::folds::loops<kernels::folds::largest_magnitude>()
            : p == 2.0    ? &kernels::folds::loops<kernels::folds::square_distance>()
            : p == 1.0    ? &kernels::folds::loops<kernels::folds::magnitude>()
                          : &kernels::folds::loops<kernels::folds::magnitude_power>();
  double result = 0.0;
  r.y = {&result, f64, {}};
  r.x = adze::detail::operand_of(x);
  kernels::reduce(r, x.shape());
  // Powers may leave the range of float where the norm does not.
  if (compute == f32 && !std::isfinite(result)) return norm_power(x, p, f64);
  return result;
}

}  // namespace adze::optim::detail::inline ADZE_ISA

namespace adze::optim::inline ADZE_ISA {

// Scales all gradients by min(1, max_norm / (total + 1e-6)), where total is the norm of all of them
// taken as one vector, and returns total (before). Parameters without a gradient do not count.
// Errors: value_error for a negative max_norm or norm_type; with `error_if_nonfinite`,
// numeric_error for a total that is not finite, before anything is changed.
template <class = void>
double clip_grad_norm(tensor_list parameters, double max_norm, const clip_norm_options& o = {}) {
  if (!(max_norm >= 0.0)) {
    raise<value_error>("clip_grad_norm: max_norm must be at least 0; got ", max_norm);
  }
  if (!(o.norm_type > 0.0)) {
    raise<value_error>("clip_grad_norm: norm_type must be above 0; got ", o.norm_type);
  }
  const bool largest = std::isinf(o.norm_type);
  double total = 0.0;
  for (const tensor& p : parameters) {
    const tensor& g = detail::gradient_of(p);
    if (!g.defined()) continue;
    const double part = detail::norm_power(g, o.norm_type, detail::state_type(g));
    total = largest ? (part > total || part != part ? part : total) : total + part;
  }
  if (!largest) total = o.norm_type == 2.0 ? std::sqrt(total) : std::pow(total, 1.0 / o.norm_type);
  if (o.error_if_nonfinite && !std::isfinite(total)) {
    raise<numeric_error>("clip_grad_norm: the total norm of the gradients is ", total,
                         "; nothing was changed; anomaly mode names the op that made it");
  }
  const double factor = max_norm / (total + 1e-6);
  if (factor >= 1.0) return total;
  for (const tensor& p : parameters) {
    if (detail::gradient_of(p).defined()) detail::change_gradient(p, detail::scale_rule{factor});
  }
  return total;
}

// Puts every element of every gradient between -clip_value and clip_value; NaN stays.
// Errors: value_error for a negative clip_value.
template <class = void> void clip_grad_value(tensor_list parameters, double clip_value) {
  if (!(clip_value >= 0.0)) {
    raise<value_error>("clip_grad_value: clip_value must be at least 0; got ", clip_value);
  }
  for (const tensor& p : parameters) {
    if (detail::gradient_of(p).defined()) {
      detail::change_gradient(p, detail::clamp_rule{clip_value});
    }
  }
}

}  // namespace adze::optim::inline ADZE_ISA
