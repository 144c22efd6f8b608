#pragma once
// SPDX-License-Identifier: MIT
// Windows on tensors as plain data: strides and offsets, no gradient record and no copy. The ops
// of the same meaning (`ops/layout.hpp`, `ops/slice.hpp`) are these plus a record.
#include <optional>

#include <adze/tensor/tensor.hpp>

namespace adze::detail {

// Strides under which x reads as `to`, or nothing when only a copy can. Same number of elements.
inline std::optional<dims> view_strides(const tensor& x, const shape& to) {
  if (x.is_contiguous()) return dense_strides(to);
  const auto stride = [&](index_t i) { return x.strides()[static_cast<std::size_t>(i)]; };
  const shape& from = x.shape();
  dims d{};
  index_t axis = to.rank() - 1;
  index_t step = stride(from.rank() - 1);  // of the present run of evenly spaced axes of x
  index_t run = 1, filled = 1;             // elements in it; elements covered by axes of `to`
  for (index_t i = from.rank() - 1; i >= 0; --i) {
    run *= from[i];
    if (i > 0 && (from[i - 1] == 1 || stride(i - 1) == run * step)) continue;
    for (; axis >= 0 && (filled < run || to[axis] == 1); --axis) {
      d[static_cast<std::size_t>(axis)] = filled * step;
      filled *= to[axis];
    }
    if (filled != run) return std::nullopt;  // an axis of `to` would cross the end of the run
    if (i > 0) step = stride(i - 1), run = filled = 1;
  }
  return d;
}

// `count` elements of one axis: first, first + step, ... (step may be negative).
inline tensor window(const tensor& x, index_t axis, index_t first, index_t count,
                     index_t step = 1) {
  dims d = x.strides();
  const index_t stride = d[static_cast<std::size_t>(axis)];
  d[static_cast<std::size_t>(axis)] = stride * step;
  return alias(x, x.shape().with(axis, count), d, count > 0 ? first * stride : 0);
}

// Without one axis, at one place of it.
inline tensor without_axis(const tensor& x, index_t axis, index_t at = 0) {
  dims d{};
  for (index_t i = 0, k = 0; i < x.rank(); ++i) {
    if (i != axis) d[static_cast<std::size_t>(k++)] = x.strides()[static_cast<std::size_t>(i)];
  }
  const index_t offset = at * x.strides()[static_cast<std::size_t>(axis)];
  return alias(x, x.shape().erased(axis), d, offset);
}

}  // namespace adze::detail
