#pragma once
// SPDX-License-Identifier: MIT
// The masks of dropout, by counter: whether an element is kept depends on the generator's state
// and the element's index alone, so masks can be drawn in parts and drawn again.
#include <adze/core/random.hpp>

namespace adze::kernels {

// Elements first .. first + n of a mask that starts at `at`; each is kept with probability 1 - p.
// One 32-bit word per element decides.
template <class = void>
void keep_mask(bool* out, index_t first, index_t n, const random_state& at, double p) {
  const auto drop_below = static_cast<std::uint64_t>(p * 0x1p32);
  over_words(at, first, n, [&](index_t i, std::uint32_t word) { out[i] = word >= drop_below; });
}

// What the default generator spends on a mask of n elements.
template <class = void> random_state reserve_mask(index_t n) {
  return default_generator().reserve_for<float>(n);
}

// What is kept is multiplied by this, so that the mean stays.
constexpr double keep_scale(double p) { return p < 1.0 ? 1.0 / (1.0 - p) : 0.0; }

}  // namespace adze::kernels
