#pragma once
// SPDX-License-Identifier: MIT
// Products by blocks: a block of the right operand, packed or as it stands, stays in the L2 cache
// while strips of the left one pass; threads share strips or panels. gemm.hpp chooses.
#include <algorithm>

#include <adze/core/parallel.hpp>
#include <adze/core/view.hpp>
#include <adze/kernels/epilogue.hpp>
#include <adze/kernels/gemm_pack.hpp>
#include <adze/kernels/gemm_strips.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Work below this many multiplications stays on the calling thread (about 20 us).
inline constexpr index_t parallel_work = index_t(1) << 20;

// The chunk of a loop: all of it, or as many chunks as there is work for.
[[gnu::noinline]] inline index_t work_chunk(index_t count, index_t work) {
  const index_t chunks =
      work < 2 * parallel_work ? 1 : std::clamp<index_t>(count, 1, work / parallel_work);
  return std::max<index_t>(1, (count + chunks - 1) / chunks);
}
// f(begin, end) over [0, count), on several threads when there is enough work in all.
[[gnu::noinline]] inline void split_work(index_t count, index_t work,
                                         adze::detail::chunk_function f) {
  parallel_for(count, work_chunk(count, work), f);
}

// The same over chunks of a given size, which bounds the memory that f works on.
[[gnu::noinline]] inline void split_chunks(index_t count, index_t chunk, index_t work,
                                           adze::detail::chunk_function f) {
  work >= 2 * parallel_work ? parallel_for(count, chunk, f) : serial_for(count, chunk, f);
}

template <class T, class A> constexpr index_t block_depth(index_t rows) {
  return balanced_block(rows, tile_shape<T, A>::depth_block, 1);
}
template <class T, class A> constexpr index_t block_width(index_t cols) {
  return balanced_block(cols, tile_shape<T, A>::column_block, tile_shape<T, A>::panel);
}

// Few rows times few columns: blocks of 128 rows of the right operand stay where they stand, and
// both fit the L1 and L2 cache (1.0 to 1.2 times packed ones by benchmarks/gemm, #narrow).
inline constexpr index_t most_narrow = 36, narrow_depth = 128;
template <class T, class A> constexpr bool is_narrow(index_t rows, index_t cols) {
  return A::bytes < 64 && rows <= most_narrow && cols * index_t(sizeof(T)) <= 1280;
}
// The depth of blocks that are read where they stand.
template <class T, class A> constexpr index_t direct_depth(index_t left_rows, index_t rows) {
  constexpr index_t most = tile_shape<T, A>::depth_block;
  const bool shallow = A::bytes < 64 && left_rows <= most_narrow;
  return balanced_block(rows, shallow ? std::min(most, narrow_depth) : most, 1);
}

// f(j, k, cols, depth) for the blocks of a right operand: from row k and column j on. All columns
// of some rows come together, so that a copy of the left operand's columns serves them all.
template <class T, class A, class F>
void over_blocks(index_t rows, index_t cols, index_t depth, F f) {
  const index_t width = block_width<T, A>(cols);
  for (index_t k = 0; k < rows; k += depth)
    for (index_t j = 0; j < cols; j += width)
      f(j, k, std::min(width, cols - j), std::min(depth, rows - k));
}

// A block of b packed into this thread's scratch memory.
template <class T, class A> const T* pack_block(matrix<const T> block) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  const index_t count = panel_count<T, A>(block.cols);
  T* const panels = scratch<T, scratch_use::panels>(count * panel * block.rows);
  split_work(count, block.rows * block.cols * 4, [&](index_t first, index_t last) {
    matrix<const T> part = block;
    part.data += first * panel * block.col_stride;
    part.cols = std::min(last * panel, block.cols) - first * panel;
    pack_panels<T, A>(part, panels + first * panel * block.rows);
  });
  return panels;
}

// So many strips are too few to share: threads share the panels then.
inline constexpr index_t few_strips = 4;

// Whether strips copy their rows of a before they use them: columns far apart, or rows that share a
// set of the cache, cost more than a copy that many panels read.
template <class T, class A> bool copies_left(const strips<T>& s) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  if (sizeof(T) != 4 || s.cols < 2 * panel || strip_count<T, A>(s.rows) <= few_strips) return false;
  return s.a_col_step == 1
             ? s.cols >= 8 * panel && s.a_row_step % (A::bytes == 64 ? 1024 : 256) == 0
             : s.a_row_step == 1 && s.cols >= (A::bytes == 64 ? 2 : 8) * panel;
}

// Copies of the left rows of a block, group by group: for one block of columns in memory of the
// thread that is at work, for several in the caller's, where the others find them.
template <class T, class A> struct left_groups {
  static constexpr index_t most_kept = 4096;  // rows: 6 MB, of each thread that asks for products

  bool turned;  // columns of a are contiguous: they are read by several cache lines
  index_t rows, step;
  T* kept = nullptr;
  bool filled = false;

  left_groups(const strips<T>& s, index_t depth, bool keep)
      : turned(s.a_row_step == 1), rows(balanced_block(s.rows, most_rows(s.rows), 2)),
        step(spread<T>(depth)) {
    if (keep) kept = scratch<T, scratch_use::left>(count(s.rows) * rows * step);
  }

  // Of a group: enough groups for many threads.
  index_t most_rows(index_t all) const {
    return turned ? std::clamp<index_t>(all / 16 / 12 * 12, 24, 96) : 24;
  }
  index_t count(index_t all) const { return (all + rows - 1) / rows; }

  // Groups [first, last) of s times its block.
  void run(const strips<T>& s, index_t first, index_t last) const {
    const matrix<const T> left{s.a, s.rows, s.depth, s.a_row_step, s.a_col_step};
    const bool as_columns = plain_tiles<T, A>::exist && turned;  // plain tiles read both ways
    strips<T> part = s;
    part.a_row_step = as_columns ? 1 : step, part.a_col_step = as_columns ? rows : 1;
    for (index_t i = first * rows; i < std::min(last * rows, s.rows); i += rows) {
      T* const copy = kept ? kept + i * step : scratch<T, scratch_use::left>(rows * step);
      part.rows = std::min(rows, s.rows - i);
      if (!filled) {
        const matrix<const T> from{&left(i, 0), part.rows, s.depth, left.row_stride,
                                   left.col_stride};
        copy_rows<T, A>(as_columns ? from.transposed() : from, copy, as_columns ? rows : step);
      }
      part.a = copy;
      part.first_row = s.first_row + i, part.c = s.row(i);
      run_strips<T, A>(part, 0, strip_count<T, A>(part.rows));
    }
  }
};

// Strips of a times one block. Threads share the strips, groups of them where they are copied, or
// the panels where there are few strips.
template <class T, class A>
void block_product(const strips<T>& s, bool packed, const left_groups<T, A>* groups) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  const index_t work = s.rows * s.cols * s.depth, count = strip_count<T, A>(s.rows);
  if constexpr (sizeof(T) == 4)
    if (groups)
      return split_work(groups->count(s.rows), work,
                        [&](index_t first, index_t last) { groups->run(s, first, last); });
  if (!packed || count > few_strips) {
    constexpr index_t together = plain_tiles<T, A>::exist ? 3 : 1;  // twice twelve rows
    return split_work((count + together - 1) / together, work, [&](index_t first, index_t last) {
      run_strips<T, A>(s, first * together, std::min(last * together, count));
    });
  }
  split_work(panel_count<T, A>(s.cols), work, [&](index_t first, index_t last) {
    strips<T> part = s;
    part.b += first * s.b_panel;
    part.c += first * panel;
    part.first_column += first * panel;
    part.cols = std::min(last * panel, s.cols) - first * panel;
    run_strips<T, A>(part, 0, count);
  });
}

// Blocks of b, as it stands, packed here, or packed before (`ready`), times the rows of s.
template <class T, class A>
void block_products(strips<T> s, matrix<const T> a, matrix<const T> b, matrix<T> c, bool packed,
                    const epilogue<T>* finish, const T* ready, left_groups<T, A>* groups) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  const bool accumulate = s.accumulate;
  const index_t most = packed ? block_depth<T, A>(b.rows) : direct_depth<T, A>(a.rows, b.rows);
  over_blocks<T, A>(b.rows, b.cols, most, [&](index_t j, index_t k, index_t cols, index_t depth) {
    s.cols = cols;
    s.depth = depth;
    s.a = &a(s.first_row, k);
    s.b = b.data + k * b.row_stride + j * b.col_stride;
    s.b_step = b.row_stride;
    s.b_panel = panel;
    if (packed) {
      s.b = ready ? ready : pack_block<T, A>({s.b, depth, cols, b.row_stride, b.col_stride});
      s.b_step = panel;
      s.b_panel = panel * depth;
      if (ready) ready += panel_count<T, A>(cols) * s.b_panel;
    }
    s.c = &c(s.first_row, j);
    s.accumulate = accumulate || k > 0;
    s.finish = k + depth == b.rows ? finish : nullptr;
    s.first_column = j;
    if (groups) groups->filled = groups->kept && j > 0;
    block_product<T, A>(s, packed, groups);
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
