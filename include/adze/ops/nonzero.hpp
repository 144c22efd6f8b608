#pragma once
// SPDX-License-Identifier: MIT
// What is not zero, by place and by value. How many there are depends on the values, so that these
// are no steps of a graph: a trace keeps the places that it saw.
#include <algorithm>

#include <adze/ops/compare.hpp>
#include <adze/ops/dense.hpp>
#include <adze/ops/gather.hpp>

namespace adze::detail::inline ADZE_ISA {

// What is read without being recorded must be the value that its handle stands for, as in record.
template <class = void> void check_fresh(std::string_view op, const tensor& x) {
  op_info reader;
  reader.name = op;
  const tensor* const in = &x;
  static_cast<void>(wanted_inputs(reader, &in, 1));
}

// The places of what is not zero in row-major order, as numbers from 0.
template <class = void> tensor flat_places(const tensor& x) {
  const tensor hit = dense_as(x, bool8);
  const bool* from = hit.data_as<bool>();
  tensor at = empty({std::count(from, from + hit.numel(), true)}, i64);
  index_t* to = at.data_as<index_t>();
  for (index_t i = 0; i < hit.numel(); ++i) {
    if (from[i]) *to++ = i;
  }
  return at;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// The places of the elements that are not zero, one row each, in row-major order: i64 [count,
// rank]. NaN is not zero.
template <class> tensor nonzero(const tensor& x) {
  detail::check_fresh("nonzero", x);
  const tensor flat = detail::flat_places(x);
  const index_t rank = x.rank(), count = flat.numel();
  tensor at = empty({count, rank}, i64);
  for (index_t k = 0; k < count; ++k) {
    index_t rest = flat.data_as<index_t>()[k];
    for (index_t a = rank - 1; a >= 0; --a) {
      at.data_as<index_t>()[k * rank + a] = rest % x.shape()[a];
      rest /= x.shape()[a];
    }
  }
  return at;
}

// The elements of x where the bool8 mask holds, in row-major order, [count]; x and mask broadcast.
// Gradient: g at these places, 0 elsewhere.
template <class> tensor masked_select(const tensor& x, const tensor& mask) {
  if (mask.dtype() != bool8) {
    raise<dtype_error>("masked_select: the mask must be bool8; got ", mask, "; compare it with 0");
  }
  const shape sizes = broadcast(x.shape(), mask.shape(), "masked_select");
  const tensor at = detail::flat_places(expand(detach(mask), sizes));
  return index_select(reshape(expand(x, sizes), {sizes.numel()}), 0, at);
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/layout.hpp>
