#pragma once
// SPDX-License-Identifier: MIT
// Values by their rank: kthvalue, median, quantile, each of sort or topk and with their gradient, g
// at the place chosen. One NaN makes a median or a quantile NaN, as in PyTorch.
#include <adze/ops/gather.hpp>
#include <adze/ops/sort.hpp>

namespace adze::detail::inline ADZE_ISA {

// The place of rank k along an axis of sorted values; that of the last where it is NaN.
template <class = void>
tensor rank_place(const tensor& sorted, index_t axis, index_t k, std::string_view op) {
  const index_t n = sorted.size(axis);
  if (n == 0) raise<value_error>(op, ": nothing to choose from on axis ", axis, "; got ", sorted);
  const tensor last = narrow(detach(sorted), axis, n - 1, 1);
  return cast(isnan(last), i64) * static_cast<double>(n - 1 - k) + static_cast<double>(k);
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// The k-th smallest value along an axis, from 1, and its place. NaN counts as the largest. Throws
// value_error unless 1 <= k <= size.
template <class>
std::array<tensor, 2> kthvalue(const tensor& x, index_t k, index_t axis, bool keep) {
  if (x.rank() == 0) return kthvalue(unsqueeze(x, 0), k, axis, false);
  if (k < 1 || k > x.size(axis)) {
    raise<value_error>("kthvalue: k must be 1 to ", x.size(axis), " on axis ", axis, "; got ", k,
                       " for ", x);
  }
  const auto [values, places] = topk(x, k, axis, false);
  if (keep) return {narrow(values, axis, k - 1, 1), narrow(places, axis, k - 1, 1)};
  return {select(values, axis, k - 1), select(places, axis, k - 1)};
}

// The value in the middle of an axis, of two the lower, and its place. Throws value_error for an
// empty axis.
template <class> std::array<tensor, 2> median(const tensor& x, index_t axis, bool keep) {
  if (x.rank() == 0) return median(unsqueeze(x, 0), axis, false);
  const auto [values, places] = sort(x, axis);
  const tensor at = detail::rank_place(values, axis, (x.size(axis) - 1) / 2, "median");
  const tensor y = gather(values, axis, at), place = gather(places, axis, at);
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
  const tensor values = sort(x, axis)[0];
  const double rank = q * static_cast<double>(x.size(axis) - 1), below = std::floor(rank);
  const auto k = static_cast<index_t>(below);
  tensor y = gather(values, axis, detail::rank_place(values, axis, k, "quantile"));
  if (rank > below) {
    const tensor next = gather(values, axis, detail::rank_place(values, axis, k + 1, "quantile"));
    y = lerp(y, next, rank - below);
  }
  return keep ? y : squeeze(y, axis);
}
// That of all elements.
template <class> tensor quantile(const tensor& x, double q) { return quantile(flatten(x), q, 0); }

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/arithmetic.hpp>
#include <adze/ops/layout.hpp>
