#pragma once
// SPDX-License-Identifier: MIT
// Numbers that integer dtypes hold.
#include <cmath>
#include <cstdint>
#include <string_view>

#include <adze/core/error.hpp>
#include <adze/core/types.hpp>

namespace adze::detail {

// The first and the last number of an integer dtype, of i64 the last that is a double.
struct whole_range {
  double first = 0.0, last = 0.0;
};
constexpr whole_range whole_range_of(dtype type) {
  if (type == u8) return {0.0, 255.0};
  if (type == i8) return {-128.0, 127.0};
  if (type == i32) return {-0x1p31, 0x1p31 - 1.0};
  return {-0x1p63, 0x1p63 - 0x1p10};
}

// A number that is to be stored, not computed with: integers take what they hold, floats take any,
// and of truths all but 0 is true.
inline double stored_scalar_of(std::string_view op, dtype type, double b) {
  if (is_floating(type)) return b;
  if (!std::isfinite(b) || b != std::floor(b)) {
    raise<dtype_error>(op, ": ", type, " takes whole numbers; got ", b);
  }
  const auto [first, last] = whole_range_of(type);
  if (is_integral(type) && (b < first || b > last)) {
    raise<value_error>(op, ": ", type, " holds ", static_cast<std::int64_t>(first), " to ",
                       static_cast<std::int64_t>(last), "; got ", b);
  }
  return b;
}

}  // namespace adze::detail
