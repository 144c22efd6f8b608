#pragma once
// SPDX-License-Identifier: MIT
// The left side of integer products: rows of a matrix, as tiles read them. Bytes of unsigned codes
// are read where they are; others are copied.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <adze/core/view.hpp>
#include <adze/kernels/gemm_int8_tile.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Element of the left operand as the layout wants it. Quads are unsigned: signed codes move up by
// 128, which finish takes back as a zero point.
template <integer_layout layout>
using left_element =
    std::conditional_t<layout == integer_layout::quads, std::uint8_t, std::int16_t>;
template <class E, class T> E as_left(T x) {
  if constexpr (sizeof(E) == 1 && std::is_signed_v<T>)
    return static_cast<E>(x + 128);
  else
    return static_cast<E>(x);
}

// Some rows of a left operand, next to each other in the result.
struct integer_rows {
  index_t first = 0, count = 0;
  index_t in_block = 0;  // the first of them, in the first block of AMX
};
// The most rows of a strip, and of a block of AMX.
struct strip_limits {
  index_t rows, block;
};

template <class A, integer_layout layout> class left_block;

// Rows [first, last) of a matrix as the left side of a product.
template <class T> struct matrix_rows {
  using code = T;
  using strip = integer_rows;
  template <class A, integer_layout layout> using block = left_block<A, layout>;

  matrix<const T> a;
  index_t first = 0, last = 0;

  index_t count() const { return last - first; }
  // The steps of a run, given all of a row.
  static index_t run_steps_of(index_t steps) { return steps; }
  static bool one_run() { return true; }
  // Strips of almost the same size.
  template <class F> void strips(const strip_limits& most, F each) const {
    const index_t n = (count() + most.rows - 1) / most.rows;
    const index_t size = count() / n, longer = count() % n;
    for (index_t i = 0; i < n; ++i) {
      const index_t rows = size + (i < longer);
      each(strip{first + i * size + std::min(i, longer), rows, std::min(rows, most.block)});
    }
  }
};

// Rows of a matrix over one block of the depth, as steps.
template <class A, integer_layout layout> class left_block {
 public:
  template <class T>
  left_block(const matrix_rows<T>& left, integer_rows rows, index_t step, index_t steps)
      : in_block_(rows.in_block), first_step_(step) {
    const matrix<const T>& a = left.a;
    using E = left_element<layout>;
    constexpr index_t each = 4 / index_t(sizeof(E));
    const index_t k0 = step * each, n = std::min(steps * each, a.cols - k0);
    const T* from = a.data + rows.first * a.row_stride + k0 * a.col_stride;
    if (std::is_same_v<E, T> && a.col_stride == 1) {  // as it stands, but for the last bytes
      data_ = reinterpret_cast<const std::byte*>(from);
      stride_ = a.row_stride * index_t(sizeof(T));
      steps_ = n / each;
      has_last_ = n % each != 0;
      for (index_t r = 0; r < rows.count && has_last_; ++r) {
        last_[r] = 0;
        std::memcpy(&last_[r], from + r * a.row_stride + steps_ * each,
                    static_cast<std::size_t>(n % each) * sizeof(E));
      }
      return;
    }
    for (index_t r = 0; r < rows.count; ++r, from += a.row_stride) {
      E* const to = reinterpret_cast<E*>(copy_ + r * steps * 4);
      if (a.col_stride == 1) {
        for (index_t k = 0; k < n; ++k) to[k] = as_left<E>(from[k]);
      } else {
        for (index_t k = 0; k < n; ++k) to[k] = as_left<E>(from[k * a.col_stride]);
      }
      std::fill(to + n, to + steps * each, E(0));
    }
    data_ = copy_;
    stride_ = steps * 4;
    steps_ = steps;
  }
  left_block(const left_block&) = delete;
  left_block& operator=(const left_block&) = delete;

  // Steps of as much depth as this has memory for.
  static index_t depth(index_t rows) {
    return rows > std::max(shape::rows, shape::thin_rows) ? amx_depth
                                                          : shape::depth * shape::rows / rows;
  }

  index_t first_step() const { return first_step_; }
  void describe(integer_strip& s) const {
    s.left = data_;
    s.left_stride = stride_;
    s.last_step = has_last_ ? last_ : nullptr;
    s.steps = steps_;
    s.first_rows = in_block_;
    s.second = data_ + in_block_ * stride_;
  }

 private:
  using shape = integer_tile_shape<A, layout>;
  static constexpr index_t amx_depth = 256;
  static constexpr index_t copy_steps =
      std::max(shape::rows * shape::depth, amx_strips<A, layout> ? amx_strip_rows* amx_depth : 0);
  const std::byte* data_ = nullptr;
  index_t in_block_, first_step_, stride_ = 0, steps_ = 0;
  bool has_last_ = false;
  std::uint32_t last_[static_cast<std::size_t>(most_strip_rows<A, layout>)];
  alignas(64) std::byte copy_[static_cast<std::size_t>(copy_steps * 4)];
};

}  // namespace adze::kernels::inline ADZE_ISA
