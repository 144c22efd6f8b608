#pragma once
// SPDX-License-Identifier: MIT
// Which elements of a tensor share a scale and a zero point, and the shape that these have.
#include <adze/core/shape.hpp>

namespace adze::quant {

// One pair for all, one for each index of an axis, or one for each run of `group` elements along
// an axis (the last run may be shorter). Negative axes count from the end.
struct granularity {
  enum class kind : std::uint8_t { tensor, axis, group };
  kind of = kind::tensor;
  index_t axis = 0;
  index_t group = 0;
  bool operator==(const granularity&) const = default;
};

constexpr granularity per_tensor() { return {}; }
constexpr granularity per_axis(index_t axis = 0) { return {granularity::kind::axis, axis, 0}; }
constexpr granularity per_group(index_t size, index_t axis = -1) {
  return {granularity::kind::group, axis, size};
}

// The shape of scales and zero points for data of shape x: [], [size of the axis], or x with the
// number of groups in place of the axis. Errors: shape_error for an axis that x does not have,
// value_error for a group of less than one element.
inline shape parameter_shape(const granularity& g, const shape& x, std::string_view op) {
  if (g.of == granularity::kind::tensor) return {};
  const index_t axis = resolve_axis(g.axis, x.rank(), op);
  if (g.of == granularity::kind::axis) return {x[axis]};
  if (g.group < 1) {
    raise<value_error>(op, ": a group has at least one element; got ", g.group);
  }
  index_list sizes(x);
  sizes[axis] = (x[axis] + g.group - 1) / g.group;
  return shape(std::span(sizes.begin(), static_cast<std::size_t>(sizes.size())));
}

// Whether a weight of this rank has one scale, or one for each output (axis 0). Errors: shape_error
// for an axis that it does not have.
inline bool is_by_output(const granularity& g, index_t rank, std::string_view op) {
  if (g.of == granularity::kind::tensor) return true;
  return g.of == granularity::kind::axis && resolve_axis(g.axis, rank, op) == 0;
}

inline std::string to_text(const granularity& g) {
  if (g.of == granularity::kind::tensor) return "per tensor";
  if (g.of == granularity::kind::axis) return text("per index of axis ", g.axis);
  return text("per group of ", g.group, " along axis ", g.axis);
}

}  // namespace adze::quant
