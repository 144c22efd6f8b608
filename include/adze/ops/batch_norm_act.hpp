#pragma once
// SPDX-License-Identifier: MIT
// Batch norm, residual and ReLU or ReLU6 as one op for training: x is read twice and the result
// written once, where the parts go through memory five to eight times.
#include <adze/ops/activation.hpp>
#include <adze/ops/batch_norm.hpp>

namespace adze::inline ADZE_ISA {

template <class = void> struct batch_norm_act_op {
  norm_activation act = norm_activation::relu;
  bool adds = false;  // whether there is a residual
  double momentum = 0.1;
  double eps = 1e-5;
  detail::batch_norm_saved saved{};
  static constexpr std::string_view name = "batch_norm_act";
  static constexpr numeric precision = numeric::wide;
  // The result says where gradients pass if there is a residual; else where the norm lies is
  // computed again. All inputs, because `composed` starts from them.
  auto reads() const {
    value_set all = values::input(0) | values::input(1) | values::input(2);
    if (adds) all = all | values::input(5) | values::output(0);
    return gradient_reads(all, all, all, values::nothing, values::nothing, all);
  }
  static constexpr value_set keeps = values::input(3) | values::input(4);
  static constexpr value_set writes = values::input(3) | values::input(4);
  static constexpr std::string_view axes = "nc...,c,c,c,c,nc...->nc...";

  double top() const {
    return act == norm_activation::relu6 ? 6.0 : std::numeric_limits<double>::infinity();
  }
  shape result(const shape& x, const shape&, const shape&, const shape&, const shape&,
               const shape&) const {
    return x;
  }
  tensor forward(const tensor& x, const tensor& w, const tensor& b, const tensor& running_mean,
                 const tensor& running_var, const tensor& residual) {
    detail::check_batch_norm(x, {&w, &b, &running_mean, &running_var});
    const tensor in = detail::batch_norm_input(x);
    saved = detail::batch_statistics(in, eps, {running_mean, running_var, momentum});
    saved.numbers = detail::batch_norm_numbers(in, saved, w, b);
    const tensor added = adds ? detail::dense_like(residual, in, in.dtype()) : tensor();
    kernels::norm_finish finish{.clamps = true, .top = top()};
    if (adds) finish.residual = detail::elements_of(added);
    return detail::batch_norm_apply(in, saved.numbers, finish);
  }
  std::array<tensor, 6> backward(backward_context& c, const tensor& gy) const {
    std::array<tensor, 6> d;
    const tensor g = adds ? passed(gy, c.out(0)) : gy;
    if (c.wants(5)) d[5] = detail::dense_keeping(g, c.in_type(5));
    if (!c.wants(0) && !c.wants(1) && !c.wants(2)) return d;
    const kernels::norm_gate gate{.on = !adds, .top = top()};
    std::array<tensor, 5> norm = detail::batch_norm_backward(c, g, saved, true, gate);
    std::move(norm.begin(), norm.end(), d.begin());
    return d;
  }
  tensor composed(const tensor& x, const tensor& w, const tensor& b, const tensor& mean,
                  const tensor& var, const tensor& residual) const {
    const tensor y = batch_norm_op<>{momentum, eps}.composed(x, w, b, mean, var);
    return activated(residual.defined() ? y + residual : y);
  }
  tensor activated(const tensor& y) const {
    return act == norm_activation::relu6 ? relu6(y) : relu(y);
  }

 private:
  // g where the result y lies inside.
  tensor passed(const tensor& g, const tensor& y) const {
    const auto gated = [&](const auto& op) {
      return detail::map_tensors(name, op.slopes, &op.f, {&g, &y, &y}, g.dtype(), g.dtype());
    };
    return act == norm_activation::relu6 ? gated(unary<functors::hardtanh_f>{{0.0, 6.0}})
                                         : gated(unary<functors::relu_f>{});
  }
};

// relu(batch_norm(x, ...) + residual), or relu6: one op in training, which takes less time than its
// parts; those in evaluation and in a trace, whose passes know them. The residual may be undefined,
// else has the shape of x and is taken in its dtype. The gradient is 0 where the norm, before it is
// rounded to 16 bits, or the result with a residual is not inside the activation. Throws
// shape_error.
template <class>
tensor batch_norm_act(const tensor& x, const tensor& weight, const tensor& bias,
                      const tensor& running_mean, const tensor& running_var, const tensor& residual,
                      const batch_norm_act_options& o) {
  tensor more = residual;
  if (residual.defined()) {
    if (residual.shape() != x.shape())
      raise<shape_error>("batch_norm_act: x ", x, " and residual ", residual,
                         " must have the same shape");
    if (residual.dtype() != x.dtype()) more = cast(residual, x.dtype());
  }
  const batch_norm_act_op<> op{o.act, more.defined(), o.momentum, o.eps};
  const bool traced = detail::state.watch != nullptr && detail::state.watch->after != nullptr;
  if (o.training && !traced) return record(op, x, weight, bias, running_mean, running_var, more);
  const tensor y = batch_norm(x, weight, bias, running_mean, running_var,
                              {.training = o.training, .momentum = o.momentum, .eps = o.eps});
  return op.activated(more.defined() ? y + more : y);
}

}  // namespace adze::inline ADZE_ISA
