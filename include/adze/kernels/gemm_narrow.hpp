#pragma once
// SPDX-License-Identifier: MIT
// Products of matrices kept in 16 bits: blocks of both operands are widened to f32 where they are
// packed, and results rounded once, when their sums are complete. Large products never make a wide
// copy of the weights. The register tiles are those of gemm; bf16 is multiplied as it is where the
// processor has an instruction for that, gemm_bf16.hpp.
#include <adze/kernels/gemm.hpp>
#include <adze/kernels/gemm_bf16.hpp>
#include <adze/kernels/rows.hpp>
#include <adze/kernels/stored_matrix.hpp>

namespace adze::kernels::inline ADZE_ISA {

// x in f32: where it stands, or in `to`, with the order of its axes kept.
template <class = void> matrix<const float> widened(const stored_matrix& x, float* to) {
  if (x.type == dtype::f32) {
    return {static_cast<const float*>(x.data), x.rows, x.cols, x.row_stride, x.col_stride};
  }
  if (x.row_stride == 1 && x.col_stride != 1) return widened<>(x.transposed(), to).transposed();
  if (x.col_stride == 1) {
    widen_rows(x.type, x.data, {x.rows, x.cols, x.row_stride}, to, x.cols);
  } else {
    for (index_t i = 0; i < x.rows; ++i) {
      load_row(x.type, x.at(i, 0), x.col_stride, x.cols, to + i * x.cols);
    }
  }
  return dense_matrix<const float>(to, x.rows, x.cols);
}

// As pack_panels: columns that are adjacent or contiguous go straight into their panel, others by a
// wide copy of one panel.
template <class A> void pack_narrow(const stored_matrix& b, float* out) {
  constexpr index_t panel = tile_shape<float, A>::panel;
  if constexpr (A::bytes > 16)  // others convert number by number: what is around that costs little
    if (b.row_stride == 1 && b.type != dtype::f32)
      return dispatch(types<float16, bfloat16>{}, b.type, "pack", [&]<class E>() {
        pack_columns<float, A, E>({static_cast<const E*>(b.data), b.rows, b.cols, 1, b.col_stride},
                                  out);
      });
  for (index_t j = 0; j < b.cols; j += panel, out += panel * b.rows) {
    const index_t width = std::min(panel, b.cols - j);
    const stored_matrix part = b.block(0, j, b.rows, width);
    if (b.col_stride != 1 || b.type == dtype::f32) {
      constexpr index_t step = 64;  // the wide copy stays in the L1 cache
      float* stage = scratch<float, scratch_use::window>(panel * step);
      for (index_t k = 0; k < b.rows; k += step) {
        const auto some = part.block(k, 0, std::min(step, b.rows - k), width);
        pack_panels<float, A>(widened(some, stage), out + k * panel);
      }
      continue;
    }
    if (width < panel) fill_zeros(out, panel * b.rows);
    widen_rows(b.type, part.data, {b.rows, width, b.row_stride}, out, panel);
  }
}

// c = activate(a b + bias), a block of rows of c after the other.
template <class A> class narrow_product {
  using shape = tile_shape<float, A>;
  // Strips whose rows of a are widened together: few stay in the L1 cache, but columns of a need
  // more at once.
  static constexpr index_t few_strips = 2, more_strips = 8;
  static constexpr index_t most_sums = index_t{1} << 18;  // the weights are packed again for more

 public:
  narrow_product(const stored_matrix& a, const stored_matrix& b, const stored_matrix& c,
                 const epilogue<float>& finish)
      : a_(a), b_(b), c_(c), finish_(finish),
        depth_(balanced_block(b.rows, shape::depth_block, 16)),
        width_(balanced_block(b.cols, shape::column_block, shape::panel)),
        together_(a.col_stride == 1 ? few_strips : more_strips) {}

  void run() const {
    // Sums that wait for further blocks of the depth are kept in f32, for some rows at a time.
    const bool waits = depth_ < b_.rows && c_.type != dtype::f32;
    const index_t rows =
        waits ? balanced_block(a_.rows, most_sums / width_, strip_rows<float, A>) : a_.rows;
    float* const panels = scratch<float, scratch_use::panels>(depth_ * width_);
    float* const sums = waits ? scratch<float, scratch_use::partial>(rows * width_) : nullptr;
    for (index_t i = 0; i < a_.rows; i += rows) {
      for (index_t j = 0; j < b_.cols; j += width_) {
        const index_t m = std::min(rows, a_.rows - i), n = std::min(width_, b_.cols - j);
        for (index_t k = 0; k < b_.rows; k += depth_) {
          const index_t d = std::min(depth_, b_.rows - k);
          pack(b_.block(k, j, d, n), panels);
          const part p{.a = a_.block(i, k, m, d),
                       .c = c_.block(i, j, m, n),
                       .panels = panels,
                       .sums = sums,
                       .column = j,
                       .first = k == 0,
                       .last = k + d == b_.rows};
          const strip_split<float, A> split{m};
          const index_t strips = split.count;
          split_work((strips + together_ - 1) / together_, m * n * d,
                     [&](index_t begin, index_t end) {
                       for (index_t s = begin; s < end; ++s) {
                         const index_t first = split[s * together_].begin;
                         const index_t last = split[std::min((s + 1) * together_, strips)].begin;
                         rows_of(p, first, last - first);
                       }
                     });
        }
      }
    }
  }

 private:
  struct part {  // one block of the depth and of the columns
    stored_matrix a, c;
    const float* panels;
    float* sums;  // null: sums are complete after one block, or c is in f32
    index_t column;
    bool first, last;
  };

  static void pack(const stored_matrix& block, float* panels) {
    constexpr index_t panel = shape::panel;
    const index_t n = block.cols;
    split_work((n + panel - 1) / panel, block.rows * n * 4, [&](index_t p0, index_t p1) {
      const index_t j = p0 * panel;
      pack_narrow<A>(block.block(0, j, block.rows, std::min(p1 * panel, n) - j),
                     panels + j * block.rows);
    });
  }

  void rows_of(const part& p, index_t i, index_t m) const {
    const index_t n = p.c.cols, depth = p.a.cols;
    const stored_matrix to = p.c.block(i, 0, m, n);
    float* const wide = scratch<float, scratch_use::pixels>(m * depth);
    const matrix<const float> a = widened(p.a.block(i, 0, m, depth), wide);
    strips<float> s;
    s.rows = m, s.cols = n, s.depth = depth;
    s.a = a.data, s.a_row_step = a.row_stride, s.a_col_step = a.col_stride;
    s.b = p.panels, s.b_step = shape::panel, s.b_panel = shape::panel * depth;
    if (to.type == dtype::f32) {
      s.c = static_cast<float*>(to.data), s.c_row_step = to.row_stride;
    } else {
      s.c = p.sums != nullptr ? p.sums + i * width_
                              : scratch<float, scratch_use::gradient>(m * width_);
      s.c_row_step = width_;
    }
    s.accumulate = !p.first;
    s.finish = p.last && !finish_.empty() ? &finish_ : nullptr;
    s.first_column = p.column;
    run_strips<float, A>(s, 0, strip_count<float, A>(m));
    if (!p.last || to.type == dtype::f32) return;
    narrow_rows(to.type, to.data, {m, n, to.row_stride}, s.c, s.c_row_step);
  }

  stored_matrix a_, b_, c_;
  epilogue<float> finish_;
  index_t depth_, width_, together_;
};

// The product by gemm on wide copies of everything: small ones, which then need no panels.
template <class A>
void small_narrow(const stored_matrix& a, const stored_matrix& b, const stored_matrix& c,
                  const epilogue<float>& finish) {
  const bool wide = c.type == dtype::f32;
  float* const sums =
      wide ? static_cast<float*>(c.data) : scratch<float, scratch_use::gradient>(c.rows * c.cols);
  gemm<float, A>(widened(a, scratch<float, scratch_use::pixels>(a.rows * a.cols)),
                 widened(b, scratch<float, scratch_use::window>(b.rows * b.cols)),
                 {sums, c.rows, c.cols, wide ? c.row_stride : c.cols, 1},
                 {.bias = finish.bias, .activate = finish.activate});
  if (!wide) narrow_rows(c.type, c.data, {c.rows, c.cols, c.row_stride}, sums, c.cols);
}

// Few rows times weights stored [out, in]: the weights are widened in registers, or multiplied as
// bf16 where both are, and read once, front to back, so that they come from memory in half the time
// of f32.
template <class A, class B, class L>
void narrow_dots(const matrix<const L>& a, const stored_matrix& b, const stored_matrix& c,
                 const epilogue<float>& finish) {
  const matrix<const B> right{static_cast<const B*>(b.data), b.rows, b.cols, 1, b.col_stride};
  const bool wide = c.type == dtype::f32;
  float* const sums =
      wide ? static_cast<float*>(c.data) : scratch<float, scratch_use::gradient>(c.rows * c.cols);
  const matrix<float> out{sums, c.rows, c.cols, wide ? c.row_stride : c.cols, 1};
  split_work((c.cols + 63) / 64, c.rows * c.cols * a.cols, [&](index_t j0, index_t j1) {
    const index_t first = j0 * 64, last = std::min(j1 * 64, c.cols);
    dot_product<float, A, B, L>(a, right, out, 1.0f, false, first, last);
    finish_rows<float, A>(finish, out, first, last);
  });
  if (!wide) narrow_rows(c.type, c.data, {c.rows, c.cols, c.row_stride}, sums, c.cols);
}

// Whether products of such operands are made by the processor's instruction for bf16: all of bf16
// where this process may use it, but for one or two rows by dots.
template <class A> bool by_bf16(const stored_matrix& a, const stored_matrix& b) {
  return simd::multiplies_bf16 && std::is_same_v<A, simd::native> && a.type == dtype::bf16 &&
         b.type == dtype::bf16 && a.cols > 0 && simd::bf16_allowed();
}

// The rows up to which dots beat packed panels. Each pass over some rows widens the weights again:
// cheap where there is an instruction for it. As bf16 they gain more, but shallow ones sum up lanes
// for most of the time (measured at 3 to 128 rows by 10 to 4096 columns by 32 to 4096).
template <class A> index_t most_dot_rows(bool pairs, index_t depth) {
  constexpr index_t widening = 2;
  if (!pairs) return dot_shape<float, A>::most_rows;
  return simd::bf16_pairs::exist ? std::clamp<index_t>(depth / 20, widening, 128) : widening;
}

// c = activate(a b + bias[column]) with a m x k and b k x n of any strides and the rows of c
// contiguous, each in f32, f16 or bf16; sums in f32, rounded once. c shares no memory with a and b.
// Products by an instruction for bf16 take subnormal numbers for zero; others do not, those of one
// or two rows by dots among them.
template <class A = simd::native>
void gemm_narrow(const stored_matrix& a, const stored_matrix& b, const stored_matrix& c,
                 const float* bias = nullptr, activation act = activation::none) {
  if (c.rows == 0 || c.cols == 0) return;
  const epilogue<float> finish{.bias = bias, .activate = act};
  const index_t all = (a.rows + b.cols) * a.cols + c.rows * c.cols;
  const bool pairs = by_bf16<A>(a, b);
  const bool dots = simd::detail::code_lanes > 1 && b.row_stride == 1 && b.col_stride != 1 &&
                    a.col_stride == 1 && b.type != dtype::f32 &&
                    c.rows <= most_dot_rows<A>(pairs, a.cols);
  if constexpr (simd::bf16_pairs::exist && std::is_same_v<A, simd::native>) {
    const matrix<const bfloat16> left{static_cast<const bfloat16*>(a.data), a.rows, a.cols,
                                      a.row_stride, 1};
    if (pairs && dots && c.rows > 2) return narrow_dots<A, bfloat16>(left, b, c, finish);
  }
  if constexpr (simd::multiplies_bf16)
    if (pairs && !dots) return multiply_bf16<A>(a, b, c, finish);
  if (a.cols == 0 || all <= index_t{1} << 15) return small_narrow<A>(a, b, c, finish);
  if constexpr (simd::detail::code_lanes > 1) {
    if (dots) {
      const auto left = widened(a, scratch<float, scratch_use::pixels>(a.rows * a.cols));
      return b.type == dtype::bf16 ? narrow_dots<A, bfloat16>(left, b, c, finish)
                                   : narrow_dots<A, float16>(left, b, c, finish);
    }
  }
  narrow_product<simd::tile_tag<A>>(a, b, c, finish).run();
}

}  // namespace adze::kernels::inline ADZE_ISA
