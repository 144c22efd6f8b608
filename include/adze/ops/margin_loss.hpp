#pragma once
// SPDX-License-Identifier: MIT
// Losses of similarities and distances with a margin, by PyTorch's definitions, composed of public
// ops.
#include <adze/ops/loss.hpp>

namespace adze::detail::inline ADZE_ISA {

// max(x, 0) with slope 1 at 0, as in PyTorch's clamp_min.
template <class = void> tensor at_least_zero(const tensor& x) {
  return clamp(x, 0.0, std::numeric_limits<double>::infinity());
}

// 16-bit floats in f32: the squares of ordinary vectors add up to more than f16 holds.
template <class = void> tensor widened(const tensor& x) {
  return is_floating(x.dtype()) && size_of(x.dtype()) == 2 ? cast(x, f32) : x;
}
// A result of widened a and b in their own type; a precision rule wants it wide, as it came.
template <class = void> tensor rounded_for(const tensor& y, const tensor& a, const tensor& b) {
  return state.rule != nullptr ? y : cast(y, result_type(a, b));
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// a . b / (max(|a|, eps) max(|b|, eps)) along the axis; a and b broadcast. 16-bit floats are
// computed in f32 and rounded once.
template <class>
tensor cosine_similarity(const tensor& a, const tensor& b, index_t axis, double eps) {
  const shape sizes = broadcast(a.shape(), b.shape(), "cosine_similarity");
  const index_t k = resolve_axis(axis, sizes.rank(), "cosine_similarity") - sizes.rank();
  const auto direction = [&](const tensor& x) {  // of the whole axis, which x may repeat
    shape full = x.shape();
    while (full.rank() < -k) full = full.inserted(0, 1);
    full = full.with(full.rank() + k, sizes[sizes.rank() + k]);
    const tensor y = detail::widened(full == x.shape() ? x : expand(x, full));
    return y / sqrt(maximum(sum(square(y), {k}, true), eps * eps));
  };
  return detail::rounded_for(sum(direction(a) * direction(b), {k}), a, b);
}

// 1 - cos(a, b) where the target is 1, max(cos(a, b) - margin, 0) where it is -1; a and b [n, d] or
// [d], target [n] or []. As in PyTorch, 1e-12 is added to both squared lengths. Rounded once, too.
template <class>
tensor cosine_embedding_loss(const tensor& a, const tensor& b, const tensor& target,
                             const margin_options& o) {
  detail::check_same_shape("cosine_embedding_loss", a, b);
  if (a.rank() == 0 || target.shape() != a.shape().erased(a.rank() - 1)) {
    raise<shape_error>("cosine_embedding_loss: needs one target per vector; inputs ", a,
                       ", target ", target);
  }
  const tensor x = detail::widened(a), y = detail::widened(b);
  const tensor lengths = (sum(square(x), {-1}) + 1e-12) * (sum(square(y), {-1}) + 1e-12);
  const tensor cosine = sum(x * y, {-1}) / sqrt(lengths);
  const tensor loss = where(target == 1.0, 1.0 - cosine, 0.0) +
                      where(target == -1.0, detail::at_least_zero(cosine - o.margin), 0.0);
  return detail::rounded_for(detail::reduce_loss(loss, o.reduce), a, b);
}

// max(|anchor - positive + 1e-6|_p - |anchor - negative + 1e-6|_p + margin, 0) along the last axis.
template <class>
tensor triplet_margin_loss(const tensor& anchor, const tensor& positive, const tensor& negative,
                           const triplet_options& o) {
  const auto distance = [&](const tensor& b) { return norm(anchor - b + 1e-6, o.p, {-1}); };
  return detail::reduce_loss(
      detail::at_least_zero(distance(positive) - distance(negative) + o.margin), o.reduce);
}

// x where the target is 1, max(margin - x, 0) where it is -1.
template <class>
tensor hinge_embedding_loss(const tensor& x, const tensor& target, const hinge_options& o) {
  detail::check_same_shape("hinge_embedding_loss", x, target);
  const tensor loss = where(target != 1.0, detail::at_least_zero(o.margin - x), 0.0) +
                      where(target != -1.0, x, 0.0);
  return detail::reduce_loss(loss, o.reduce);
}

// max(-target (a - b) + margin, 0); target 1: a should be larger, -1: b should be.
template <class>
tensor margin_ranking_loss(const tensor& a, const tensor& b, const tensor& target,
                           const margin_options& o) {
  detail::check_same_shape("margin_ranking_loss", a, b);
  detail::check_same_shape("margin_ranking_loss", a, target);
  return detail::reduce_loss(detail::at_least_zero((b - a) * target + o.margin), o.reduce);
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/compare.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/reduce.hpp>
