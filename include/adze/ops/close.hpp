#pragma once
// SPDX-License-Identifier: MIT
// Whether numbers agree within bounds.
#include <adze/ops/compare.hpp>
#include <adze/ops/extremes.hpp>
#include <adze/ops/pointwise.hpp>

namespace adze::inline ADZE_ISA {

// |a - b| <= atol + rtol |b| for each element, broadcast: bool8, no gradient. Infinities agree with
// themselves, NaN with nothing unless `equal_nan`. Computed in f32 for f32, else in f64. Throws
// value_error for a negative bound.
template <class> tensor isclose(const tensor& a, const tensor& b, const close_options& o) {
  if (!(o.rtol >= 0.0) || !(o.atol >= 0.0)) {
    raise<value_error>("isclose: rtol and atol must not be negative; got ", o.rtol, " and ",
                       o.atol);
  }
  const no_grad guard;
  tensor close = a == b;
  if (o.equal_nan) close = close || (isnan(a) && isnan(b));
  if (o.rtol == 0.0 && o.atol == 0.0) return close;  // exact, also for integers beyond 2^53
  const dtype type = a.dtype() == f32 && b.dtype() == f32 ? f32 : f64;
  const tensor y = cast(b, type), away = abs(cast(a, type) - y);
  return close || (isfinite(away) && away <= abs(y) * o.rtol + o.atol);
}
// Whether isclose holds everywhere, broadcast; of equal shapes, allclose(a, b, {0, 0}) is PyTorch's
// torch.equal, which is false for others.
template <class> bool allclose(const tensor& a, const tensor& b, const close_options& o) {
  return all(isclose(a, b, o)).template item<bool>();
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/layout.hpp>
