#pragma once
// SPDX-License-Identifier: MIT
// Integer weights as the tiles of gemm_int8_tile.hpp read them: panels of columns, in steps of 32
// bits for each column and lane: four bytes (quads) or two words of the depth. Made once, used by
// every product. The layout is the fastest one that is exact for these weights.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include <adze/core/error.hpp>
#include <adze/core/view.hpp>
#include <adze/simd/amx.hpp>
#include <adze/simd/dot.hpp>
#include <adze/simd/pages.hpp>

namespace adze::kernels {

// What the left operands of a product will be. u7: bytes of at most 127, which the caller ensures.
enum class left_codes : std::uint8_t { u8, u7, s8, s16 };

enum class integer_layout : std::uint8_t { quads, words };

inline namespace ADZE_ISA {

// The rows and registers of sums of a tile, and the steps of the depth for which its codes and
// weights share the L1 cache. A product of quads without an instruction of its own takes two
// registers more.
template <class A, integer_layout layout> struct integer_tile_shape {
  using lanes = simd::integers<simd::integer_tile_tag<A>>;
  static constexpr bool wide = lanes::size == 16;  // and 32 registers of it
  static constexpr int rows = wide                                                     ? 12
                              : layout == integer_layout::quads && !lanes::bytes_exact ? 5
                                                                                       : 6;
  static constexpr int vectors = 2, thin_rows = wide ? 16 : rows;  // of one vector
  static constexpr index_t depth = 512;
};
template <integer_layout layout> struct integer_tile_shape<simd::odd, layout> {
  using lanes = simd::integers<simd::odd>;
  static constexpr int rows = layout == integer_layout::quads ? 3 : 2, vectors = 3;
  static constexpr int thin_rows = 4;
  static constexpr index_t depth = 3;
};

// Columns of a panel.
template <class A>
inline constexpr index_t integer_panel = integer_tile_shape<A, integer_layout::quads>::vectors*
    integer_tile_shape<A, integer_layout::quads>::lanes::size;

// b[k, n], with any strides, as panels. Beyond the depth and the columns there are zeros.
template <class A = simd::native> class integer_weights {
 public:
  integer_weights() = default;
  // Quads where they are exact: anywhere the instruction set multiplies all bytes exactly, else for
  // left codes of seven bits and for weights in [-64, 63].
  explicit integer_weights(matrix<const std::int8_t> b, left_codes left = left_codes::u8)
      : integer_weights(b, left, layout_for(b, left)) {}
  explicit integer_weights(matrix<const std::int16_t> b)
      : integer_weights(b, left_codes::s16, integer_layout::words) {}
  // In a given layout. value_error: the products would not be exact.
  template <class T>
  integer_weights(matrix<const T> b, left_codes left, integer_layout layout)
      : rows_(b.rows), cols_(b.cols), left_(left), layout_(layout) {
    if (layout == integer_layout::quads) check_quads(b);
    panels_ = simd::allocate_pages(static_cast<std::size_t>(bytes() + slack));
    if constexpr (slack > 0) std::memset(panels_.get() + bytes(), 0, slack);
    sums_.assign(static_cast<std::size_t>(panels() * panel), 0);
    for (index_t p = 0; rows_ > 0 && p < panels(); ++p) fill_panel(b, p);
  }

  index_t rows() const { return rows_; }
  index_t cols() const { return cols_; }
  left_codes left() const { return left_; }
  integer_layout layout() const { return layout_; }
  index_t step_elements() const { return layout_ == integer_layout::quads ? 4 : 2; }
  index_t steps() const { return (rows_ + step_elements() - 1) / step_elements(); }
  index_t panels() const { return (cols_ + panel - 1) / panel; }
  index_t panel_bytes() const { return steps() * panel * 4; }
  index_t bytes() const { return panels() * panel_bytes(); }
  const std::byte* panel_data(index_t p) const { return panels_.get() + p * panel_bytes(); }
  // The sum of each column, modulo 2^32; whole panels of them.
  const std::int32_t* column_sums() const { return sums_.data(); }

 private:
  static constexpr index_t panel = integer_panel<A>;
  // A last block of AMX may read so much behind the last panel, times zeros.
  static constexpr index_t slack = simd::has_amx ? 16 * panel * 4 : 0;

  static bool seven_bits(matrix<const std::int8_t> b) {
    if (b.row_stride == 1) b = b.transposed();  // in the order of memory
    for (index_t i = 0; i < b.rows; ++i)
      for (index_t j = 0; j < b.cols; ++j)
        if (b(i, j) < -64 || b(i, j) > 63) return false;
    return true;
  }
  static integer_layout layout_for(matrix<const std::int8_t> b, left_codes left) {
    if (left == left_codes::s16) return integer_layout::words;
    const bool exact = simd::integers<A>::bytes_exact || left == left_codes::u7 || seven_bits(b);
    return exact ? integer_layout::quads : integer_layout::words;
  }

  template <class T> void check_quads(matrix<const T> b) const {
    if constexpr (std::is_same_v<T, std::int8_t>) {
      if (layout_for(b, left_) == integer_layout::quads) return;
    }
    raise<value_error>(
        "integer_weights: pairs of bytes would saturate; weights beyond [-64, 63] with left codes "
        "of more than seven bits; use the layout of words");
  }

  template <class T> void fill_panel(matrix<const T> b, index_t p) {
    if (layout_ == integer_layout::words) return fill_panel_as<std::int16_t>(b, p);
    if constexpr (std::is_same_v<T, std::int8_t>) fill_panel_as<std::int8_t>(b, p);
  }
  // Elements of T become E, step_elements() of a column next to each other.
  template <class E, class T> void fill_panel_as(matrix<const T> b, index_t p) {
    constexpr index_t each = 4 / index_t(sizeof(E));
    const index_t width = std::min(panel, cols_ - p * panel);
    std::byte* const to = panels_.get() + p * panel_bytes();
    std::memset(to, 0, static_cast<std::size_t>(panel_bytes()));
    for (index_t j = 0; j < width; ++j) {
      const T* from = b.data + (p * panel + j) * b.col_stride;
      std::uint32_t sum = 0;
      for (index_t k = 0; k < rows_; k += each) {
        E step[4 / sizeof(E)] = {};
        for (index_t q = 0; q < std::min(each, rows_ - k); ++q) {
          step[q] = from[(k + q) * b.row_stride];
          sum += static_cast<std::uint32_t>(step[q]);
        }
        std::memcpy(to + (k / each * panel + j) * 4, step, 4);
      }
      sums_[static_cast<std::size_t>(p * panel + j)] = static_cast<std::int32_t>(sum);
    }
  }

  index_t rows_ = 0, cols_ = 0;
  left_codes left_ = left_codes::u8;
  integer_layout layout_ = integer_layout::quads;
  simd::page_memory panels_{};
  std::vector<std::int32_t> sums_{};
};

}  // namespace ADZE_ISA
}  // namespace adze::kernels
