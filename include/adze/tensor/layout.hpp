#pragma once
// SPDX-License-Identifier: MIT
// Questions about strides, and fresh tensors laid out like others. Ops keep the dense layout of
// their inputs, so that channels-last stays channels-last.
#include <adze/tensor/tensor.hpp>

namespace adze {

// The elements fill one block without gaps or overlap, in any order of the axes.
[[gnu::noinline]] inline bool is_dense(const shape& sizes, const dims& strides) {
  dims order{};
  index_t step = 1;
  for (index_t i = memory_order(sizes, strides, order); i-- > 0;) {
    const index_t axis = order[static_cast<std::size_t>(i)];
    if (sizes[axis] == 0) return true;
    if (strides[static_cast<std::size_t>(axis)] != step) return false;
    step *= sizes[axis];
  }
  return true;
}
[[gnu::noinline]] inline bool is_dense(const tensor& x) {
  return x.is_contiguous() || is_dense(x.shape(), x.strides());
}

// Some element is reached by two indices (an expanded axis): such a tensor cannot be written.
inline bool overlaps_itself(const tensor& x) {
  for (index_t i = 0; i < x.rank(); ++i) {
    if (x.shape()[i] > 1 && x.strides()[static_cast<std::size_t>(i)] == 0) return true;
  }
  return false;
}

// Strides of N,C,H,W (or N,C,L) data with channels next to each other in memory.
[[gnu::noinline]] inline dims channels_last_strides(const shape& s) {
  dims d{};
  index_t step = s[1];
  d[1] = 1;
  for (index_t i = s.rank() - 1; i >= 2; --i) {
    d[static_cast<std::size_t>(i)] = step;
    step *= s[i];
  }
  d[0] = step;
  return d;
}
[[gnu::noinline]] inline tensor empty_channels_last(const shape& s, dtype type) {
  return empty_strided(s, channels_last_strides(s), type);
}
// Dense with channels innermost; axes of size 1 may have any stride.
[[gnu::noinline]] inline bool is_channels_last(const tensor& x) {
  if (x.rank() < 2) return false;
  const dims d = channels_last_strides(x.shape());
  for (index_t i = 0; i < x.rank(); ++i) {
    const auto a = static_cast<std::size_t>(i);
    if (x.shape()[i] != 1 && x.strides()[a] != d[a]) return false;
  }
  return true;
}

// Uninitialised, with the shape of x and its layout where that is dense, else row-major.
[[gnu::noinline]] inline tensor empty_like(const tensor& x, dtype type) {
  return is_dense(x) ? empty_strided(x.shape(), x.strides(), type) : empty(x.shape(), type);
}
inline tensor empty_like(const tensor& x) { return empty_like(x, x.dtype()); }

// Strides of x as an operand of the larger shape `sizes`: aligned at the right, 0 where stretched.
[[gnu::noinline]] inline dims broadcast_strides(const tensor& x, const shape& sizes) {
  if (x.shape() == sizes) return x.strides();
  dims d{};
  const index_t shift = sizes.rank() - x.rank();
  for (index_t i = 0; i < x.rank(); ++i) {
    const bool stretched = x.shape()[i] == 1 && sizes[i + shift] != 1;
    d[static_cast<std::size_t>(i + shift)] =
        stretched ? 0 : x.strides()[static_cast<std::size_t>(i)];
  }
  return d;
}

}  // namespace adze
