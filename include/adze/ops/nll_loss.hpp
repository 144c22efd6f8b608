#pragma once
// SPDX-License-Identifier: MIT
// The negative log-likelihood of class indices, from log-probabilities. An op of its own: its range
// check and its divisor read the targets of each call, so that a graph may be given others.
#include <adze/ops/cross_entropy.hpp>

namespace adze::inline ADZE_ISA {

template <class = void> struct nll_loss_op {
  index_t ignore_index = -100;
  reduction reduce = reduction::mean;
  double denominator = 1.0;  // filled by forward

  static constexpr std::string_view name = "nll_loss";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads =
      gradient_reads(values::input(1) | values::input(2), values::nothing, values::nothing);

  shape result(const shape&, const shape& target, const shape&) const {
    return reduce == reduction::none ? target : shape{};
  }

  // Gathered, not multiplied by a distribution: a log-probability of -inf elsewhere costs nothing.
  tensor forward(const tensor& x, const tensor& target, const tensor& weight) {
    static_cast<void>(detail::floating_compute_type(name, x));
    const tensor t = detail::checked_classes(name, x, target, weight, ignore_index);
    const index_t axis = detail::class_axis(x);
    const tensor factor = factors(t, weight, 1.0);
    tensor losses = detail::dense_as(squeeze(gather(x, axis, places(t, axis)), axis), f64);
    double total = 0;
    for (index_t i = 0; i < t.numel(); ++i) {
      double& loss = losses.data_as<double>()[i];
      const double f = factor.data_as<double>()[i];
      loss = ignored(t, i) ? 0.0 : f * loss;
      total += loss;
    }
    if (reduce == reduction::none) return detail::dense_as(losses, x.dtype());
    if (reduce == reduction::mean) {
      denominator = detail::total_weight(t, weight, ignore_index);
    }
    return detail::filled({}, x.dtype(), total / denominator);
  }

  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const {
    const tensor t = detail::dense_as(c.in(1), i64);
    const shape& sizes = c.in_shape(0);
    const index_t axis = sizes.rank() == 1 ? 0 : 1;
    const dtype type = c.in_type(0) == f64 ? f64 : f32;
    const tensor factor = cast(factors(t, c.in(2), denominator), type);
    const tensor slope =
        scatter(detail::zeros_of(sizes, type), axis, places(t, axis), unsqueeze(factor, axis));
    const tensor each = reduce == reduction::none ? unsqueeze(g, axis) : g;
    return {cast(each * slope, c.in_type(0)), {}, {}};
  }

 private:
  bool ignored(const tensor& t, index_t i) const {
    return t.data_as<std::int64_t>()[i] == ignore_index;
  }
  // The classes, any where they are ignored, with an axis for them.
  tensor places(const tensor& t, index_t axis) const {
    return unsqueeze(where(t == static_cast<double>(ignore_index), 0.0, t), axis);
  }
  // -w_t / divisor in f64, 0 where t is ignored.
  tensor factors(const tensor& t, const tensor& weight, double divisor) const {
    const tensor w = weight.defined() ? detail::dense_as(weight, f64) : tensor();
    tensor f = empty(t.shape(), f64);
    for (index_t i = 0; i < t.numel(); ++i) {
      const std::int64_t k = t.data_as<std::int64_t>()[i];
      const double own = w.defined() && k != ignore_index ? w.data_as<double>()[k] : 1.0;
      f.data_as<double>()[i] = k == ignore_index ? 0.0 : -own / divisor;
    }
    return f;
  }
};

// -w_t log_p_t for log-probabilities [n, c, ...] and class indices [n, ...]; options, reductions
// and errors as in cross_entropy, without label smoothing. Gradient: -w_t at the class, divided by
// what `mean` divides by. f16 and bf16 are computed in f64 and rounded once.
template <class>
tensor nll_loss(const tensor& log_probabilities, const tensor& target,
                const cross_entropy_options& o) {
  if (o.label_smoothing != 0) {
    raise<value_error>("nll_loss: has no label smoothing; got ", o.label_smoothing,
                       "; cross_entropy takes logits and has");
  }
  detail::check_class_weight("nll_loss", o.weight);
  return record(nll_loss_op<>{o.ignore_index, o.reduce}, log_probabilities, target, o.weight);
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/compare.hpp>
#include <adze/ops/gather.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
