#pragma once
// SPDX-License-Identifier: MIT
// A height and a width in the options of layers: one number for both, or {height, width}.
#include <array>

#include <adze/fwd.hpp>

namespace adze::nn {

struct size_2d {
  index_t height = 0, width = 0;

  constexpr size_2d() = default;
  constexpr size_2d(index_t both) : height(both), width(both) {}
  constexpr size_2d(index_t h, index_t w) : height(h), width(w) {}
  constexpr operator std::array<index_t, 2>() const { return {height, width}; }
  constexpr bool operator==(const size_2d&) const = default;
};

}  // namespace adze::nn
