#pragma once
// SPDX-License-Identifier: MIT
// A height and a width in options of ops and layers: one number for both, or {height, width}.
// `= 1`, `= {1}` and `= {1, 1}` are the same.
#include <adze/fwd.hpp>

namespace adze {

struct size_2d {
  index_t height = 0, width = 0;

  constexpr size_2d() = default;
  constexpr size_2d(index_t both) : height(both), width(both) {}
  constexpr size_2d(index_t h, index_t w) : height(h), width(w) {}
  constexpr index_t& operator[](std::size_t axis) { return axis == 0 ? height : width; }
  constexpr index_t operator[](std::size_t axis) const { return axis == 0 ? height : width; }
  constexpr bool operator==(const size_2d&) const = default;
};

}  // namespace adze
