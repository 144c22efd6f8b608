#pragma once
// SPDX-License-Identifier: MIT
// Values by their rank: kthvalue, median, quantile, with their gradient, g at the place chosen. One
// NaN makes a median or a quantile NaN, as in PyTorch.
#include <adze/ops/gather.hpp>
#include <adze/ops/sort.hpp>

namespace adze::detail::inline ADZE_ISA {

// A part q of n values, ordered: the rank below, and how far the value lies to the next one.
struct rank_of_part {
  index_t below = 0;
  double weight = 0.0;
};
inline rank_of_part rank_of(double q, index_t n, bool lower) {
  const double rank = q * static_cast<double>(n - 1), below = std::floor(rank);
  return {static_cast<index_t>(below), lower ? 0.0 : rank - below};
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// The value below which a part q of an axis lies, with the axis kept, and the places of the two
// ranks around it, both that of a NaN where there is one. The rank is that of the call's size, so
// that a graph runs other batches. `lower` takes the lower rank alone, of any dtype.
template <class = void> struct quantile_op {
  double q = 0.5;
  index_t axis = 0;
  bool lower = false;
  static constexpr std::string_view name = "quantile";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::output(1) | values::output(2));

  std::array<tensor, 3> forward(const tensor& x) const {
    const std::string_view op = lower ? "median" : name;
    const index_t a = resolve_axis(axis, x.rank(), op), n = x.shape()[a];
    if (n == 0) {
      raise<value_error>(op, ": nothing to choose from on axis ", axis, "; got ", x);
    }
    const auto [k, weight] = detail::rank_of(q, n, lower);
    const tensor order = detail::places_of(x, {a, n, false}),
                 last = detail::window(order, a, n - 1, 1);
    const tensor gap = isnan(gather(x, a, last));
    const auto place = [&](index_t i) { return where(gap, last, detail::window(order, a, i, 1)); };
    const tensor below = place(k), above = place(std::min(k + 1, n - 1));
    const tensor y = gather(x, a, below);
    return {weight > 0.0 ? lerp(y, gather(x, a, above), weight) : y, below, above};
  }
  tensor backward(backward_context& c, tensor_list g) const {
    if (!g[0].defined()) return {};
    const shape x = c.in_shape(0);
    const double weight = detail::rank_of(q, x[resolve_axis(axis, x.rank(), name)], lower).weight;
    const tensor below = detach(c.out(1)), above = detach(c.out(2));
    const tensor d = scatter(detail::zeros_of(x, g[0].dtype()), axis, below, g[0] * (1.0 - weight));
    return weight > 0.0 ? scatter_add(d, axis, above, g[0] * weight) : d;
  }
};

// The k-th smallest value along an axis, from 1, and its place. NaN counts as the largest. Throws
// value_error unless 1 <= k <= size.
template <class>
std::array<tensor, 2> kthvalue(const tensor& x, index_t k, index_t axis, bool keep) {
  if (x.rank() == 0) return kthvalue(unsqueeze(x, 0), k, axis, false);
  const index_t n = x.shape()[resolve_axis(axis, x.rank(), "kthvalue")];
  if (k < 1 || k > n) {
    raise<value_error>("kthvalue: k must be 1 to ", n, " on axis ", axis, "; got ", k, " for ", x);
  }
  const auto [values, places] = topk(x, k, axis, false);
  if (keep) return {narrow(values, axis, k - 1, 1), narrow(places, axis, k - 1, 1)};
  return {select(values, axis, k - 1), select(places, axis, k - 1)};
}

// The value in the middle of an axis, of two the lower, and its place. Throws value_error for an
// empty axis.
template <class> std::array<tensor, 2> median(const tensor& x, index_t axis, bool keep) {
  if (x.rank() == 0) return median(unsqueeze(x, 0), axis, false);
  const auto [y, place, above] = record(quantile_op<>{0.5, axis, true}, x);
  if (keep) return {y, place};
  return {squeeze(y, axis), squeeze(place, axis)};
}
// That of all elements.
template <class> tensor median(const tensor& x) { return median(flatten(x), 0)[0]; }

// The value below which a part q of an axis lies: that of rank q (n - 1), between two ranks on the
// line through both. Floats only. Throws value_error for an empty axis and unless 0 <= q <= 1.
template <class> tensor quantile(const tensor& x, double q, index_t axis, bool keep) {
  detail::need_floating(x, "quantile");
  if (!(q >= 0.0 && q <= 1.0)) raise<value_error>("quantile: q must be in [0, 1]; got ", q);
  if (x.rank() == 0) return quantile(unsqueeze(x, 0), q, axis, false);
  const tensor y = record(quantile_op<>{q, axis}, x)[0];
  return keep ? y : squeeze(y, axis);
}
// That of all elements.
template <class> tensor quantile(const tensor& x, double q) { return quantile(flatten(x), q, 0); }

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/arithmetic.hpp>
#include <adze/ops/layout.hpp>
