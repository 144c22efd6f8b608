#pragma once
// SPDX-License-Identifier: MIT
// Typed windows on memory that kernels read and write: no ownership, no dtype, no bounds checks.
// `matrix` is the canonical form of a 2-d problem; rank-n windows are `tensor_of` above the waist.
#include <cstring>
#include <type_traits>

#include <adze/fwd.hpp>

namespace adze {

// rows x cols elements; element (i, j) stands at data[i * row_stride + j * col_stride].
template <class T> struct matrix {
  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t row_stride = 0;
  index_t col_stride = 1;

  T& operator()(index_t i, index_t j) const { return data[i * row_stride + j * col_stride]; }
  matrix transposed() const { return {data, cols, rows, col_stride, row_stride}; }
  operator matrix<const T>() const requires(!std::is_const_v<T>) {
    return {data, rows, cols, row_stride, col_stride};
  }
};

// A dense row-major matrix.
template <class T> matrix<T> dense_matrix(T* data, index_t rows, index_t cols) {
  return {data, rows, cols, cols, 1};
}

// Zeros in place of n numbers.
template <class T> void fill_zeros(T* out, index_t n) {
  static_assert(std::is_arithmetic_v<T>);
  if (n > 0) std::memset(out, 0, static_cast<std::size_t>(n) * sizeof(T));
}

}  // namespace adze
