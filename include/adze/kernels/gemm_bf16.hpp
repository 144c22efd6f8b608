#pragma once
// SPDX-License-Identifier: MIT
// Products of bf16 where the processor has an instruction for them, bf16_square.hpp: strips of 32
// rows times panels of 32 columns. The right operand is packed; the left one is read where it lies
// if its rows are contiguous. Each sum is one chain over the depth, whatever the split.
#include <algorithm>
#include <cstring>

#include <adze/core/parallel.hpp>
#include <adze/kernels/epilogue.hpp>
#include <adze/kernels/gemm_blocks.hpp>
#include <adze/kernels/rows.hpp>
#include <adze/kernels/stored_matrix.hpp>
#include <adze/simd/bf16_square.hpp>

namespace adze::kernels::inline ADZE_ISA {

using simd::bf16_lines, simd::bf16_step;

constexpr index_t bf16_blocks(index_t depth) {
  return (depth + simd::block_depth - 1) / simd::block_depth;
}
constexpr index_t bf16_strips(index_t lines) { return (lines + bf16_lines - 1) / bf16_lines; }

// One block: lines (rows of x) 0 to 15.
template <bool right> void pack_bf16_block(const stored_matrix& x, std::byte* to) {
  using simd::block_depth, simd::block_lines;
  const auto* const from = static_cast<const std::uint16_t*>(x.data);
  const index_t lines = std::min(block_lines, x.rows), depth = std::min(block_depth, x.cols);
  if (x.col_stride == 1) return simd::pack_lines<right>(from, x.row_stride, lines, depth, to);
  if (x.row_stride == 1) return simd::pack_depth<right>(from, x.col_stride, lines, depth, to);
  std::uint16_t dense[block_lines * block_depth];
  for (index_t r = 0; r < lines; ++r)
    for (index_t k = 0; k < depth; ++k)
      dense[r * block_depth + k] = from[r * x.row_stride + k * x.col_stride];
  simd::pack_lines<right>(dense, block_depth, lines, depth, to);
}

// The lines of x, 32 after 32, in the order of memory: where a line is contiguous, to its end.
// Second blocks without lines are left out.
template <bool right> void pack_bf16(const stored_matrix& x, std::byte* to) {
  const index_t blocks = bf16_blocks(x.cols), strips = bf16_strips(x.rows);
  const index_t together = x.col_stride == 1 ? blocks : 1;
  split_work(strips, x.rows * x.cols, [&](index_t first, index_t last) {
    for (index_t k0 = 0; k0 < blocks; k0 += together)
      for (index_t s = first; s < last; ++s)
        for (index_t k = k0; k < k0 + together; ++k) {
          const index_t i = s * bf16_lines, at = k * simd::block_depth;
          std::byte* const out = to + (s * blocks + k) * bf16_step;
          pack_bf16_block<right>(x.block(i, at, x.rows - i, x.cols - at), out);
          if (const index_t second = i + simd::block_lines; second < x.rows)
            pack_bf16_block<right>(x.block(second, at, x.rows - second, x.cols - at),
                                   out + simd::block_bytes);
        }
  });
}

// c = activate(a b + bias) of bf16 matrices, for depths above zero.
template <class A> class bf16_product {
 public:
  static constexpr index_t most_depth = 2048;

 private:
  // bf16 of the right operand that stay in the L2 cache; rows that are so few that threads share
  // the columns, and what each of them packs then: to the end of the depth, or rows of a right
  // operand that has them contiguous, as pages visited for 128 bytes each cost half of the time.
  // The depth, less where the left operand is packed, too.
  static constexpr index_t near_right = index_t{1} << 19, few_rows = 128;
  static constexpr index_t own_right = index_t{1} << 17, own_rows = 256, packed_depth = 1024;
  static constexpr index_t panel = bf16_lines, sums_size = bf16_lines * panel;

 public:
  bf16_product(const stored_matrix& a, const stored_matrix& b, const stored_matrix& c,
               const epilogue<float>& finish)
      : a_(a), b_(b), c_(c), finish_(finish), packs_(a.col_stride != 1), few_(c.rows <= few_rows) {
    const bool by_rows = few_ && b.col_stride == 1;
    depth_ = balanced_block(b.rows,
                            by_rows  ? own_rows
                            : packs_ ? packed_depth
                                     : most_depth,
                            simd::block_depth);
    const index_t most = by_rows ? own_rows * own_rows : few_ ? own_right : near_right;
    width_ = balanced_block(c.cols, most / depth_ / panel * panel, panel);
  }

  void run() const {
    const index_t strips = bf16_strips(c_.rows);
    std::byte* left = nullptr;
    if (packs_) {
      left = scratch<std::byte, scratch_use::pixels>(strips * bf16_blocks(b_.rows) * bf16_step);
      pack_bf16<false>(a_, left);
    }
    const index_t groups = (c_.cols + width_ - 1) / width_;
    if (!few_) return columns(0, groups, left);
    split_work(groups, c_.rows * c_.cols * b_.rows,
               [&](index_t first, index_t last) { columns(first, last, left); });
  }

 private:
  struct part {  // a block of the columns and of the depth
    index_t column, cols, k, depth;
    const std::byte *left, *panels;  // left: all strips, packed, or null
    float* sums;                     // that wait for further blocks, or null
    bool first, last;

    index_t count() const { return (cols + panel - 1) / panel; }
  };

  // Groups of width_ columns.
  void columns(index_t first, index_t last, const std::byte* left) const {
    const index_t strips = bf16_strips(c_.rows);
    std::byte* const panels = scratch<std::byte, scratch_use::panels>(depth_ * width_ * 2);
    float* const sums =
        depth_ < b_.rows
            ? scratch<float, scratch_use::partial>(strips * (width_ / panel) * sums_size)
            : nullptr;
    for (index_t j = first * width_; j < std::min(last * width_, c_.cols); j += width_)
      for (index_t k = 0; k < b_.rows; k += depth_) {
        const index_t n = std::min(width_, c_.cols - j), depth = std::min(depth_, b_.rows - k);
        const part p{j, n, k, depth, left, panels, sums, k == 0, k + depth == b_.rows};
        pack_bf16<true>(b_.block(k, j, depth, n).transposed(), panels);
        split_work(strips, c_.rows * n * depth, [&](index_t s0, index_t s1) {
          simd::bf16_state state;
          for (index_t s = s0; s < s1; ++s) run_strip(p, s, state);
        });
      }
  }

  // Rows of a as blocks: packed, or in place but for the last one of a depth that is not whole.
  simd::bf16_left left_of(const part& p, index_t i, index_t m, std::byte* rest) const {
    const index_t count = bf16_blocks(p.depth), whole = p.depth / simd::block_depth;
    if (p.left) {
      const std::byte* const from =
          p.left + (i / bf16_lines * bf16_blocks(b_.rows) + p.k / simd::block_depth) * bf16_step;
      return {.data = from, .rows = m, .blocks = count};
    }
    const stored_matrix a = a_.block(i, p.k, m, p.depth);
    simd::bf16_left left{static_cast<const std::byte*>(a.data), a.row_stride * 2, 64, m, whole};
    if (whole < count) {
      const index_t at = whole * simd::block_depth;
      pack_bf16<false>(a.block(0, at, m, p.depth - at), rest);
      left.rest = rest;
    }
    return left;
  }

  void run_strip(const part& p, index_t s, simd::bf16_state& state) const {
    const index_t i = s * bf16_lines, m = std::min(bf16_lines, c_.rows - i);
    alignas(64) std::byte rest[bf16_step];
    const simd::bf16_left a = left_of(p, i, m, rest);
    simd::begin_strip(state, m);
    // Sums of each panel where one pass does not complete them.
    const index_t near = balanced_block(std::max<index_t>(a.blocks, 1), simd::bf16_near_blocks, 1);
    const index_t sums_step = p.sums || near < a.blocks ? sums_size : 0;
    float* const sums = p.sums ? p.sums + s * (width_ / panel) * sums_size
                               : scratch<float, scratch_use::gradient>(p.count() * sums_size);
    for (index_t k = 0; k == 0 || k < a.blocks; k += near) {
      const index_t end = std::min(k + near, a.blocks);
      const bool complete = end == a.blocks;
      for (index_t q = 0; q < p.count(); ++q) {
        const index_t j = q * panel, n = std::min(panel, p.cols - j);
        float* const to = sums + q * sums_step;
        simd::add_bf16(a, p.panels + q * bf16_blocks(p.depth) * bf16_step, n, k, end,
                       complete && a.rest, to, !p.first || k > 0);
        if (complete && p.last) finish(to, c_.block(i, p.column + j, m, n), p.column + j);
      }
    }
  }

  void finish(float* sums, const stored_matrix& to, index_t column) const {
    apply_rows<float, A>(finish_, sums, panel, to.rows, 0, column, to.cols);
    if (to.type != dtype::f32)
      return narrow_rows(to.type, to.data, {to.rows, to.cols, to.row_stride}, sums, panel);
    for (index_t r = 0; r < to.rows; ++r)
      std::copy_n(sums + r * panel, to.cols, static_cast<float*>(to.at(r, 0)));
  }

  stored_matrix a_, b_, c_;
  epilogue<float> finish_;
  bool packs_, few_;  // the left operand; rows
  index_t depth_, width_;
};

// The same by blocks of rows, so that a packed left operand and sums that wait for further blocks
// of the depth take some memory and no more.
template <class A>
void multiply_bf16(const stored_matrix& a, const stored_matrix& b, const stored_matrix& c,
                   const epilogue<float>& finish) {
  constexpr index_t most_packed = index_t{1} << 22;
  const index_t most = a.col_stride != 1 ? std::max<index_t>(most_packed / a.cols, 16 * bf16_lines)
                       : a.cols > bf16_product<A>::most_depth ? 128 * bf16_lines
                                                              : a.rows;
  const index_t step = balanced_block(a.rows, most, bf16_lines);
  for (index_t i = 0; i < a.rows; i += step) {
    const index_t m = std::min(step, a.rows - i);
    bf16_product<A>(a.block(i, 0, m, a.cols), b, c.block(i, 0, m, c.cols), finish).run();
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
