#pragma once
// SPDX-License-Identifier: MIT
// Products of integer codes with packed weights: u8, s8 or s16 times s8 or s16, exact s32 sums, and
// sums, floats or codes as the result. Sums are exact modulo 2^32: a result that fits in s32 is
// right, which for u8 times s7 holds up to a depth of 131,586 and for u8 times s8 up to 65,793.
// Integer sums have no order: any split over threads gives the same bits.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <adze/core/error.hpp>
#include <adze/core/parallel.hpp>
#include <adze/core/view.hpp>
#include <adze/kernels/gemm_int8_finish.hpp>
#include <adze/kernels/gemm_int8_pack.hpp>
#include <adze/kernels/gemm_int8_tile.hpp>

namespace adze::kernels::inline ADZE_ISA {

// A block of weights that stays in the L2 cache, and the columns whose sums stay in the L1 cache.
inline constexpr index_t integer_block_bytes = index_t(1) << 18;
inline constexpr index_t integer_block_columns = 512;
// Multiplications that are worth a task of their own (about 20 us).
inline constexpr index_t integer_task = index_t(1) << 22;

// Element of the left operand as the layout wants it. Quads are unsigned: signed codes move up by
// 128, which finish takes back as a zero point.
template <class E, class T> E left_element(T x) {
  if constexpr (sizeof(E) == 1 && std::is_signed_v<T>)
    return static_cast<E>(x + 128);
  else
    return static_cast<E>(x);
}

// Rows [row, row + count) of the left operand over one block of the depth.
template <class A, integer_layout layout> class left_block {
 public:
  template <class T>
  left_block(matrix<const T> a, index_t row, index_t count, index_t step, index_t steps) {
    using E = std::conditional_t<layout == integer_layout::quads, std::uint8_t, std::int16_t>;
    constexpr index_t each = 4 / index_t(sizeof(E));
    const index_t k0 = step * each, n = std::min(steps * each, a.cols - k0);
    if (std::is_same_v<E, T> && a.col_stride == 1) {  // as it stands, but for the last bytes
      whole_ = n / each;
      for (index_t r = 0; r < count; ++r) {
        const T* from = a.data + (row + r) * a.row_stride + k0;
        rows_[r] = reinterpret_cast<const std::byte*>(from);
        last_[r] = 0;
        std::memcpy(&last_[r], from + whole_ * each,
                    static_cast<std::size_t>(n - whole_ * each) * sizeof(E));
      }
      has_last_ = n > whole_ * each;
      return;
    }
    whole_ = steps;
    for (index_t r = 0; r < count; ++r) {
      const T* from = a.data + (row + r) * a.row_stride + k0 * a.col_stride;
      E* const to = reinterpret_cast<E*>(copy_) + r * steps * each;
      if (a.col_stride == 1) {
        for (index_t k = 0; k < n; ++k) to[k] = left_element<E>(from[k]);
      } else {
        for (index_t k = 0; k < n; ++k) to[k] = left_element<E>(from[k * a.col_stride]);
      }
      std::fill(to + n, to + steps * each, E(0));
      rows_[r] = reinterpret_cast<const std::byte*>(to);
    }
  }
  left_block(const left_block&) = delete;
  left_block& operator=(const left_block&) = delete;

  void describe(integer_strip& s) const {
    s.left = rows_;
    s.last_step = has_last_ ? last_ : nullptr;
    s.steps = whole_;
  }

 private:
  static constexpr auto most = static_cast<std::size_t>(integer_rows<A, layout>);
  alignas(64) std::byte copy_[most * static_cast<std::size_t>(integer_depth<A>) * 4];
  const std::byte* rows_[most];
  std::uint32_t last_[most];
  index_t whole_ = 0;
  bool has_last_ = false;
};

template <class T, class Out, class A> struct integer_product {
  matrix<const T> a;
  const integer_weights<A>& b;
  matrix<Out> c;
  const integer_finish& finish;

  // Rows [i0, i1) times panels [p0, p1).
  template <integer_layout layout>
  [[gnu::noinline]] void run(index_t i0, index_t i1, index_t p0, index_t p1) const {
    constexpr index_t most = integer_rows<A, layout>, panel = integer_panel<A>;
    const index_t count = (i1 - i0 + most - 1) / most;
    const index_t size = (i1 - i0) / count, longer = (i1 - i0) % count;
    const index_t wide = std::clamp(count == 1 ? integer_block_columns / panel
                                               : integer_block_bytes / (b.panel_bytes() + 1),
                                    index_t(1), integer_block_columns / panel);
    for (index_t p = p0; p < p1; p += wide) {
      for (index_t i = 0; i < count; ++i)
        strip<layout>(i0 + i * size + std::min(i, longer), size + (i < longer), p,
                      std::min(p + wide, p1));
    }
  }

 private:
  template <integer_layout layout>
  void strip(index_t row, index_t rows, index_t p0, index_t p1) const {
    static constexpr auto table = integer_strip_table<A, layout>();
    constexpr index_t panel = integer_panel<A>, depth = integer_depth<A>;
    constexpr index_t width = (integer_block_columns + panel - 1) / panel * panel;
    alignas(64) std::int32_t sums[static_cast<std::size_t>(integer_rows<A, layout> * width)];
    const index_t blocks = std::max<index_t>((b.steps() + depth - 1) / depth, 1);
    const index_t length = std::max<index_t>((b.steps() + blocks - 1) / blocks, 1);
    if (b.steps() == 0) std::fill_n(sums, integer_rows<A, layout> * width, 0);
    integer_strip s{
        .panel_bytes = b.panel_bytes(), .count = p1 - p0, .sums = sums, .sums_stride = width};
    for (index_t k = 0; k < b.steps(); k += length) {
      const left_block<A, layout> left(a, row, rows, k, std::min(length, b.steps() - k));
      left.describe(s);
      s.panels = b.panel_data(p0) + k * panel * 4;
      s.accumulate = k > 0;
      table[static_cast<std::size_t>(rows - 1)](s);
    }
    const index_t first = p0 * panel, n = std::min(p1 * panel, b.cols()) - first;
    for (index_t r = 0; r < rows; ++r) {
      affine left{1, 0};
      if (finish.left.each) left = finish.left(row + r);
      if (std::is_same_v<T, std::int8_t> && layout == integer_layout::quads) left.zero += 128;
      finish_integers<Out, A>(finish, sums + r * width, b.column_sums(), left, first, n,
                              c.data + (row + r) * c.row_stride + first);
    }
  }
};

// c = finish(a b): a m x k with any strides, of std::uint8_t, std::int8_t or std::int16_t; b packed
// for codes of that kind; c m x n with contiguous rows, of std::int32_t, float, std::uint8_t or
// std::int8_t. shape_error and value_error: the operands do not belong together.
template <class T, class Out, class A = simd::native>
void gemm_int8(matrix<const T> a, const integer_weights<A>& b, matrix<Out> c,
               const integer_finish& finish = {}) {
  if (a.cols != b.rows() || c.rows != a.rows || c.cols != b.cols())
    raise<shape_error>("gemm_int8: sizes differ; a [", a.rows, ",", a.cols, "], b [", b.rows(), ",",
                       b.cols(), "], c [", c.rows, ",", c.cols, "]");
  const bool unsigned_left = b.left() == left_codes::u8 || b.left() == left_codes::u7;
  if (b.layout() == integer_layout::quads && unsigned_left != std::is_same_v<T, std::uint8_t>)
    raise<value_error>("gemm_int8: the weights are packed for ", unsigned_left ? "un" : "",
                       "signed left codes, and a has the other kind; pack them for these");
  if (b.layout() == integer_layout::quads && sizeof(T) != 1)
    raise<value_error>("gemm_int8: the weights are packed for bytes, and a has words");
  if (c.rows == 0 || c.cols == 0) return;
  const integer_product<T, Out, A> product{a, b, c, finish};
  const auto run = [&](index_t i0, index_t i1, index_t p0, index_t p1) {
    if (b.layout() == integer_layout::words)
      return product.template run<integer_layout::words>(i0, i1, p0, p1);
    if constexpr (sizeof(T) == 1) product.template run<integer_layout::quads>(i0, i1, p0, p1);
  };
  const index_t panels = b.panels();
  const index_t tasks = a.rows * b.cols() / integer_task * std::max<index_t>(a.cols, 1) +
                        a.rows * b.cols() % integer_task * a.cols / integer_task;
  if (tasks < 2) return run(0, c.rows, 0, panels);
  // Rows first, in parts of at least 64, so that weights are read once by each task; then columns.
  const index_t row_parts = std::clamp<index_t>(c.rows / 64, 1, tasks);
  const index_t column_parts = std::clamp<index_t>(tasks / row_parts, 1, panels);
  const index_t rows = (c.rows + row_parts - 1) / row_parts;
  const index_t wide = (panels + column_parts - 1) / column_parts;
  const index_t down = (c.rows + rows - 1) / rows, across = (panels + wide - 1) / wide;
  parallel_for(down * across, 1, [&](index_t t0, index_t t1) {
    for (index_t t = t0; t < t1; ++t) {
      const index_t i = t / across * rows, p = t % across * wide;
      run(i, std::min(i + rows, c.rows), p, std::min(p + wide, panels));
    }
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
