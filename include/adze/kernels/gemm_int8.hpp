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
#include <adze/kernels/gemm_int8_amx.hpp>
#include <adze/kernels/gemm_int8_finish.hpp>
#include <adze/kernels/gemm_int8_left.hpp>
#include <adze/kernels/gemm_int8_pack.hpp>
#include <adze/kernels/gemm_int8_tile.hpp>

namespace adze::kernels::inline ADZE_ISA {

// A block of weights that stays in the L2 cache.
inline constexpr index_t integer_block_bytes = index_t(1) << 19;
// Multiplications that are worth a task of their own (about 20 us).
inline constexpr index_t integer_task = index_t(1) << 22;

// Left: matrix_rows, or the windows of conv_int8_windows.hpp.
template <class Left, class Out, class A, integer_layout layout> class integer_product {
 public:
  integer_product(const Left& a, const integer_weights<A>& b, matrix<Out> c,
                  const integer_finish& finish)
      : a_(a), b_(b), c_(c), finish_(finish),
        by_amx_(amx_strips<A, layout> && amx_pays(a, b.rows(), b.steps()) && simd::amx_allowed()) {}

  // All rows of the left side times panels [p0, p1).
  void operator()(index_t p0, index_t p1) const {
    constexpr index_t widest = integer_block_columns / panel;
    const strip_limits most = limits();
    const index_t wide =
        a_.count() <= most.rows
            ? widest
            : std::clamp(integer_block_bytes / (b_.panel_bytes() + 1), index_t(1), widest);
    for (index_t p = p0; p < p1; p += wide) {
      block x(*this, p, std::min(p + wide, p1));
      a_.strips(most, [&](const strip_of_rows& rows) { strip(x, rows); });
    }
  }

 private:
  using T = typename Left::code;
  using strip_of_rows = typename Left::strip;
  using left_side = typename Left::template block<A, layout>;
  using shape = integer_tile_shape<A, layout>;
  static constexpr index_t panel = integer_panel<A>;
  static constexpr index_t most_rows = most_strip_rows<A, layout>;

  // Whether all columns fit in one register.
  bool thin() const { return b_.cols() <= shape::lanes::size; }

  strip_limits limits() const {
    if (by_amx_) return {amx_strip_rows, amx_rows};
    const index_t rows = thin() ? shape::thin_rows : shape::rows;
    return {rows, rows};
  }

  // A run of panels, one strip's sums for them, and what its strips have in common: results are
  // finished in registers where the left side is the same for all rows, through `part` where the
  // last panels are not whole.
  struct block {
    index_t p0, p1, whole;  // panels up to `whole` go to the result itself
    bool in_registers, in_place;
    finished_output all, rest;
    simd::amx_blocks amx{};
    column_terms terms;
    alignas(64) std::int32_t sums[static_cast<std::size_t>(most_rows * integer_block_columns)];
    alignas(64) Out part[static_cast<std::size_t>(most_rows * panel)];

    block(const integer_product& product, index_t first, index_t last)
        : p0(first), p1(last), in_registers(!product.finish_.left.per_row) {
      const index_t cols = product.b_.cols();
      whole = in_registers ? std::clamp(cols / panel, p0, p1) : p0;
      in_place = cols - whole * panel == shape::lanes::size;
      all = finished_output(product.finish_, terms, product.c_.row_stride);
      rest = all;
      rest.first = (whole - p0) * panel;
      if (!in_place) rest.stride = panel;
      product.prepare(*this);
    }
    block(const block&) = delete;
    block& operator=(const block&) = delete;
  };

  void run(const integer_strip& s, bool thin) const {
    static constexpr auto table = integer_strip_table<A, layout, shape::vectors>();
    static constexpr auto thin_table = integer_strip_table<A, layout, 1>();
    if constexpr (amx_strips<A, layout>)
      if (by_amx_) return amx_strip<A>(s, thin)(s);
    const auto at = static_cast<std::size_t>(s.rows - 1);
    (thin ? thin_table[at] : table[at])(s);
  }

  void strip(block& x, const strip_of_rows& left_rows) const {
    const index_t row = left_rows.first, rows = left_rows.count;
    const index_t steps = b_.steps(), depth = left_side::depth(rows);
    const index_t blocks = steps <= depth ? 1 : (steps + depth - 1) / depth;
    const index_t length = blocks == 1 ? steps + 1 : (steps + blocks - 1) / blocks;
    integer_strip s{.panel_bytes = b_.panel_bytes(),
                    .sums_stride = integer_block_columns,
                    .rows = rows,
                    .blocks = &x.amx};
    Out* const to = c_.data + row * c_.row_stride;
    x.all.place(to + x.p0 * panel);
    x.rest.place(x.in_place ? to + x.whole * panel : x.part);
    for (index_t k = 0; k == 0 || k < steps; k += length) {
      const left_side left(a_, left_rows, k, std::min(length, steps - k));
      left.describe(s);
      const auto add = [&](index_t first, index_t end) {
        s.panels = b_.panel_data(first) + left.first_step() * panel * 4;
        s.count = end - first;
        s.sums = x.sums + (first - x.p0) * panel;
        s.start = k > 0 ? nullptr : x.terms.offset + (first - x.p0) * panel;
        run(s, s.count == 1 && b_.cols() - first * panel <= shape::lanes::size);
      };
      const bool last = k + length >= steps;
      s.finished = x.in_registers && last ? &x.all : nullptr;
      if (x.whole > x.p0) add(x.p0, x.whole);
      s.finished = x.in_registers && last ? &x.rest : nullptr;
      const index_t few = blocks == 1 ? 4 : x.p1 - x.p0;  // few panels: their sums are still near
      for (index_t p = x.whole; p < x.p1; p += few) {
        add(p, std::min(p + few, x.p1));
        if (last && !x.in_registers) finish(x, row, rows, p, std::min(p + few, x.p1));
      }
    }
    for (index_t r = 0; x.in_registers && !x.in_place && x.whole < x.p1 && r < rows; ++r)
      std::copy_n(x.part + r * panel, b_.cols() - x.whole * panel,
                  to + x.whole * panel + r * c_.row_stride);
  }

  // The left side of a row. Signed codes were moved up to be quads.
  affine left_of(index_t row) const {
    affine left{1, 0};
    if (finish_.left.each) left = finish_.left(row);
    if (std::is_same_v<T, std::int8_t> && layout == integer_layout::quads) left.zero += 128;
    return left;
  }

  void prepare(block& x) const {
    const index_t first = x.p0 * panel, last = std::min(x.p1 * panel, b_.cols());
    x.terms.prepare(finish_, b_.column_sums(), finish_.left.per_row ? affine{1, 0} : left_of(0),
                    {first, last - first}, (x.p1 - x.p0) * panel);
  }

  void finish(const block& x, index_t row, index_t rows, index_t p0, index_t p1) const {
    const index_t first = p0 * panel, at = first - x.p0 * panel;
    affine left[static_cast<std::size_t>(most_rows)];
    for (index_t r = 0; finish_.left.per_row && r < rows; ++r) left[r] = left_of(row + r);
    finish_rows<Out, A>(finish_,
                        {.sums = x.sums + at,
                         .rows = rows,
                         .first = at,
                         .cols = std::min(p1 * panel, b_.cols()) - first,
                         .left = finish_.left.per_row ? left : nullptr,
                         .column_sums = b_.column_sums() + first},
                        x.terms, c_.data + row * c_.row_stride + first, c_.row_stride);
  }

  const Left& a_;
  const integer_weights<A>& b_;
  matrix<Out> c_;
  const integer_finish& finish_;
  const bool by_amx_;
};

// value_error: the weights are packed for left codes of another kind.
template <class T, class A> void check_left_codes(const integer_weights<A>& b) {
  const bool unsigned_left = b.left() == left_codes::u8 || b.left() == left_codes::u7;
  if (b.layout() == integer_layout::quads && unsigned_left != std::is_same_v<T, std::uint8_t>)
    raise<value_error>("gemm_int8: the weights are packed for ", unsigned_left ? "un" : "",
                       "signed left codes, and a has the other kind; pack them for these");
  if (b.layout() == integer_layout::quads && sizeof(T) != 1)
    raise<value_error>("gemm_int8: the weights are packed for bytes, and a has words");
}

// c = finish(a b): a m x k with any strides, of std::uint8_t, std::int8_t or std::int16_t; b packed
// for codes of that kind; c m x n with contiguous rows, of std::int32_t, float, std::uint8_t or
// std::int8_t. shape_error and value_error: the operands do not belong together.
template <class T, class Out, class A = simd::native>
void gemm_int8(matrix<const T> a, const integer_weights<A>& b, matrix<Out> c,
               const integer_finish& finish = {}) {
  if (a.cols != b.rows() || c.rows != a.rows || c.cols != b.cols())
    raise<shape_error>("gemm_int8: sizes differ; a [", a.rows, ",", a.cols, "], b [", b.rows(), ",",
                       b.cols(), "], c [", c.rows, ",", c.cols, "]");
  check_left_codes<T>(b);
  if (c.rows == 0 || c.cols == 0) return;
  using rows_of = matrix_rows<T>;
  const auto run = [&](index_t i0, index_t i1, index_t p0, index_t p1) {
    const rows_of rows{a, i0, i1};
    if (b.layout() == integer_layout::words)
      return integer_product<rows_of, Out, A, integer_layout::words>(rows, b, c, finish)(p0, p1);
    if constexpr (sizeof(T) == 1)
      integer_product<rows_of, Out, A, integer_layout::quads>(rows, b, c, finish)(p0, p1);
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
