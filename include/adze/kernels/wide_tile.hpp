#pragma once
// SPDX-License-Identifier: MIT
// Parts of data in any floating dtype, as kernels compute on them: f32 and f64 where they stand,
// 16 bits widened to f32 a few rows at a time, so that no wide copy of all of them is ever made.
#include <adze/core/view.hpp>
#include <adze/kernels/rows.hpp>

namespace adze::kernels {

struct const_elements {
  const void* data = nullptr;
  dtype type = dtype::f32;
};
struct elements {
  void* data = nullptr;
  dtype type = dtype::f32;
};

inline namespace ADZE_ISA {

// A part of at most `capacity` elements. T is the type of what is read, or float for 16 bits.
template <class T> class wide_tile {
 public:
  static constexpr index_t capacity = 4096;

  // rows x cols elements from `at` on, rows `step` apart.
  matrix<const T> load(const const_elements& x, index_t at, index_t rows, index_t cols,
                       index_t step) {
    if (x.type == dtype_of<T>) return {static_cast<const T*>(x.data) + at, rows, cols, step, 1};
    const std::byte* from = static_cast<const std::byte*>(x.data) + at * size_of(x.type);
    if constexpr (std::is_same_v<T, float>) {
      const bool dense = step == cols;
      const row_block block{dense ? 1 : rows, dense ? rows * cols : cols, step};
      widen_rows(x.type, from, block, buffer_, cols);
    }
    return dense_matrix<const T>(buffer_, rows, cols);
  }

  // Where such a part of y is to be written; then store() puts it there. May be what load() gave.
  matrix<T> target(const elements& y, index_t at, index_t rows, index_t cols, index_t step) {
    if (y.type == dtype_of<T>) return {static_cast<T*>(y.data) + at, rows, cols, step, 1};
    return dense_matrix<T>(buffer_, rows, cols);
  }
  void store(const elements& y, index_t at, index_t rows, index_t cols, index_t step) {
    if (y.type == dtype_of<T>) return;
    std::byte* to = static_cast<std::byte*>(y.data) + at * size_of(y.type);
    if constexpr (std::is_same_v<T, float>) {
      const bool dense = step == cols;
      const row_block block{dense ? 1 : rows, dense ? rows * cols : cols, step};
      narrow_rows(y.type, to, block, buffer_, cols);
    }
  }

 private:
  // f64 is never widened.
  alignas(64) T buffer_[static_cast<std::size_t>(std::is_same_v<T, float> ? capacity : 1)];
};

// f(first, n) for parts of a row that fit a tile.
template <class F> void over_parts(index_t n, bool narrow, F f) {
  const index_t step = narrow ? wide_tile<float>::capacity : std::max<index_t>(1, n);
  for (index_t i = 0; i < n; i += step) f(i, std::min(step, n - i));
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
