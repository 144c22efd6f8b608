#pragma once
// SPDX-License-Identifier: MIT
// Products with a packed right operand, by their rows: many share blocks of gemm_blocks.hpp, few
// have panels of their own for each thread.
#include <algorithm>

#include <adze/core/parallel.hpp>
#include <adze/core/view.hpp>
#include <adze/kernels/epilogue.hpp>
#include <adze/kernels/gemm_blocks.hpp>
#include <adze/kernels/gemm_pack.hpp>
#include <adze/kernels/gemm_strips.hpp>

namespace adze::kernels::inline ADZE_ISA {

// So few rows that a block of b would be written to the L2 cache to be read back a few times, and
// by threads that find it in the cache of another one: each packs a few panels and multiplies them.
inline constexpr index_t few_rows = 256;

template <class T, class A>
void panel_products(const strips<T>& s, matrix<const T> a, matrix<const T> b, matrix<T> c,
                    const epilogue<T>* finish) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  // Rows of b that are contiguous are read in longer pieces.
  const index_t few = a.rows <= 64 ? 1 : 2, more = std::clamp<index_t>(b.cols / panel / 8, 2, 8);
  const index_t width = panel * (b.row_stride == 1 ? few : more);
  const index_t depth = block_depth<T, A>(b.rows);
  split_work(
      (b.cols + width - 1) / width, a.rows * b.rows * b.cols, [&](index_t first, index_t last) {
        strips<T> part = s;
        part.rows = a.rows, part.b_step = panel;
        part.a_row_step = a.row_stride, part.a_col_step = a.col_stride;
        for (index_t j = first * width; j < std::min(last * width, b.cols); j += width) {
          part.cols = std::min(width, b.cols - j);
          part.c = &c(0, j), part.first_column = j;
          for (index_t k = 0; k < b.rows; k += depth) {
            part.depth = std::min(depth, b.rows - k);
            part.a = &a(0, k), part.b_panel = panel * part.depth;
            part.b =
                pack_block<T, A>({&b(k, j), part.depth, part.cols, b.row_stride, b.col_stride});
            part.accumulate = s.accumulate || k > 0;
            part.finish = k + depth >= b.rows ? finish : nullptr;
            run_strips<T, A>(part, 0, strip_count<T, A>(part.rows));
          }
        }
      });
}

// The same where rows of a share a set of the cache, or are not contiguous: they are copied, some
// columns at a time, as rows or as columns.
template <class T, class A>
void copied_panel_products(strips<T> s, matrix<const T> a, matrix<const T> b, matrix<T> c,
                           const epilogue<T>* finish) {
  const index_t depth = block_depth<T, A>(b.rows);
  const bool turned = plain_tiles<T, A>::exist && a.row_stride == 1;  // which read both ways
  const index_t lines = turned ? depth : a.rows, step = spread<T>(turned ? a.rows : depth);
  T* const copy = scratch<T, scratch_use::left>(lines * step);
  for (index_t k = 0; k < b.rows; k += depth, s.accumulate = true) {
    const index_t n = std::min(depth, b.rows - k);
    const matrix<const T> from{&a(0, k), a.rows, n, a.row_stride, a.col_stride};
    copy_rows<T, A>(turned ? from.transposed() : from, copy, step);
    const matrix<const T> left{copy, a.rows, n, turned ? 1 : step, turned ? step : 1};
    panel_products<T, A>(s, left, {&b(k, 0), n, b.cols, b.row_stride, b.col_stride}, c,
                         k + depth >= b.rows ? finish : nullptr);
  }
}

// All rows of a; where copies of them are kept, as many at once as may be.
template <class T, class A>
void strip_product(matrix<const T> a, matrix<const T> b, matrix<T> c, strips<T> s, bool packed,
                   const epilogue<T>* finish, const T* ready = nullptr) {
  s.rows = a.rows;
  s.cols = std::min(b.cols, block_width<T, A>(b.cols));
  s.a_row_step = a.row_stride;
  s.a_col_step = a.col_stride;
  s.c_row_step = c.row_stride;
  const bool copied = packed && copies_left<T, A>(s);
  if (packed && !ready && a.rows <= (copied && a.row_stride == 1 ? few_rows / 2 : few_rows))
    return copied ? copied_panel_products<T, A>(s, a, b, c, finish)
                  : panel_products<T, A>(s, a, b, c, finish);
  if (!copied) return block_products<T, A>(s, a, b, c, packed, finish, ready, nullptr);
  const bool keep = s.cols < b.cols;
  if (keep) s.rows = balanced_block(a.rows, left_groups<T, A>::most_kept, 48);
  left_groups<T, A> groups(s, block_depth<T, A>(b.rows), keep);
  for (; s.first_row < a.rows; s.first_row += s.rows) {
    s.rows = std::min(s.rows, a.rows - s.first_row);
    block_products<T, A>(s, a, b, c, packed, finish, ready, &groups);
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
