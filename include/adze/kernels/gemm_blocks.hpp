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

// f(j, k, cols, depth) for the blocks of a right operand: from row k and column j on.
template <class T, class A, class F> void over_blocks(index_t rows, index_t cols, F f) {
  using shape = tile_shape<T, A>;
  const index_t depth = balanced_block(rows, shape::depth_block, 1);
  const index_t width = balanced_block(cols, shape::column_block, shape::panel);
  for (index_t j = 0; j < cols; j += width)
    for (index_t k = 0; k < rows; k += depth)
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

// Whether strips copy their rows of a before they use them: columns far apart, or rows that share a
// set of the cache, cost more than a copy that many panels read.
template <class T, class A> bool copies_left(const strips<T>& s) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  if (sizeof(T) != 4 || s.cols < 2 * panel) return false;
  return s.a_col_step == 1
             ? s.cols >= 8 * panel && s.a_row_step % (A::bytes == 64 ? 1024 : 256) == 0
             : s.a_row_step == 1 && s.cols >= (A::bytes == 64 ? 2 : 8) * panel;
}

// Strips [first, last), each on a copy of its rows of a.
template <class T, class A>
void run_copied_strips(const strips<T>& all, index_t first, index_t last) {
  // Columns of a are read by whole cache lines.
  const bool turned = all.a_row_step == 1;
  const index_t most = plain_tiles<T, A>::most * (turned ? 4 : 1);
  const index_t step = spread<T>(all.depth);
  T* const copy = scratch<T, scratch_use::left>(most * step);
  const matrix<const T> left{all.a, all.rows, all.depth, all.a_row_step, all.a_col_step};
  const strip_split<T, A> split{all.rows};
  strips<T> s = all;
  s.a = copy, s.a_row_step = step, s.a_col_step = 1;
  index_t begin = split[first].begin;
  const index_t rows = split[last].begin - begin, count = (rows + most - 1) / most;
  for (index_t i = 0; i < count; ++i, begin += s.rows) {
    s.rows = rows / count + (i < rows % count);
    const matrix<const T> part{&left(begin, 0), s.rows, s.depth, left.row_stride, left.col_stride};
    if (plain_tiles<T, A>::exist && turned) {  // which need no rows in one piece
      s.a_row_step = 1, s.a_col_step = most;
      copy_rows<T, A>(part.transposed(), copy, most);
    } else {
      copy_rows<T, A>(part, copy, step);
    }
    s.first_row = all.first_row + begin, s.c = all.row(begin);
    run_strips<T, A>(s, 0, strip_count<T, A>(s.rows));
  }
}

// Strips of a times one block. Threads share the strips, or the panels where there are few strips.
template <class T, class A> void block_product(const strips<T>& s, bool packed) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  const index_t work = s.rows * s.cols * s.depth, count = strip_count<T, A>(s.rows);
  if (!packed || count > 4) {
    const auto run = packed && copies_left<T, A>(s) ? run_copied_strips<T, A> : run_strips<T, A>;
    constexpr index_t together = plain_tiles<T, A>::exist ? 3 : 1;  // twice twelve rows
    return split_work((count + together - 1) / together, work, [&](index_t first, index_t last) {
      run(s, first * together, std::min(last * together, count));
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

// Blocks of b, as it stands, packed here, or packed before (`ready`), times strips of a.
template <class T, class A>
void strip_product(matrix<const T> a, matrix<const T> b, matrix<T> c, strips<T> s, bool packed,
                   const epilogue<T>* finish, const T* ready = nullptr) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  const bool accumulate = s.accumulate;
  s.rows = a.rows;
  s.a_row_step = a.row_stride;
  s.a_col_step = a.col_stride;
  s.c_row_step = c.row_stride;
  over_blocks<T, A>(b.rows, b.cols, [&](index_t j, index_t k, index_t cols, index_t depth) {
    s.cols = cols;
    s.depth = depth;
    s.a = a.data + k * a.col_stride;
    s.b = b.data + k * b.row_stride + j * b.col_stride;
    s.b_step = b.row_stride;
    s.b_panel = panel;
    if (packed) {
      s.b = ready ? ready : pack_block<T, A>({s.b, depth, cols, b.row_stride, b.col_stride});
      s.b_step = panel;
      s.b_panel = panel * depth;
      if (ready) ready += panel_count<T, A>(cols) * s.b_panel;
    }
    s.c = c.data + j;
    s.accumulate = accumulate || k > 0;
    s.finish = k + depth == b.rows ? finish : nullptr;
    s.first_column = j;
    block_product<T, A>(s, packed);
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
