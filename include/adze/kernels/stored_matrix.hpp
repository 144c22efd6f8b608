#pragma once
// SPDX-License-Identifier: MIT
// A matrix whose dtype is a value: what products of 16-bit matrices take.
#include <cstddef>

#include <adze/core/types.hpp>

namespace adze::kernels {

// A matrix in f16, bf16 or f32.
struct stored_matrix {
  void* data = nullptr;
  dtype type = dtype::f32;
  index_t rows = 0, cols = 0, row_stride = 0, col_stride = 1;

  stored_matrix transposed() const { return {data, type, cols, rows, col_stride, row_stride}; }
  void* at(index_t i, index_t j) const {
    return static_cast<std::byte*>(data) + (i * row_stride + j * col_stride) * size_of(type);
  }
  [[gnu::noinline]] stored_matrix block(index_t i, index_t j, index_t m, index_t n) const {
    return {at(i, j), type, m, n, row_stride, col_stride};
  }
};

}  // namespace adze::kernels
