#pragma once
// SPDX-License-Identifier: MIT
// Depthwise convolutions of codes, row by row of outputs and block by block of channels. Sums are
// of raw codes, padding being the zero point, which the terms of gemm_int8_finish.hpp take back.
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <adze/kernels/depthwise_int8_tile.hpp>
#include <adze/kernels/gemm_pack.hpp>

namespace adze::kernels::inline ADZE_ISA {

// With weights of that many parts (simd/quads.hpp).
template <class Code, class Out, class A, int parts> class depthwise_int8_product {
 public:
  depthwise_int8_product(const conv_shape& s, image<const Code> x,
                         const depthwise_int8_weights<A>& w, Out* y, const integer_finish& finish)
      : s_(s), x_(x), w_(w), y_(y), finish_(finish), finish_pixel_(finish) {
    if (finish.left.each) left_ = finish.left(0);
  }

  // Rows of outputs, counted through the images.
  void operator()(index_t first, index_t last) const {
    column_terms terms;
    const lines rows(*this);
    constexpr index_t most = integer_block_columns / lanes;
    for (index_t b0 = 0; b0 < w_.blocks(); b0 += most) {
      const index_t b1 = std::min(b0 + most, w_.blocks()), c0 = w_.first_channel(b0);
      const index_t count = std::min(w_.first_channel(b1 - 1) + lanes, s_.c) - c0;
      affine left = left_;
      if (std::is_signed_v<Code>) left.zero += 128;
      terms.prepare(finish_, w_.sums(), left, {c0, count}, (b1 - b0) * lanes);
      for (index_t r = first; r < last; ++r)
        for (index_t b = b0; b < b1; ++b) {
          const index_t c = w_.first_channel(b);
          row(rows.at(r, c), b, terms, c - c0, y_ + r * s_.out_w() * s_.c + c);
        }
    }
  }

 private:
  using weights = depthwise_int8_weights<A>;
  using I = simd::integers<A>;
  static constexpr index_t lanes = weights::lanes;

  // Where the rows of inputs of a row of outputs lie. Rows outside of the image are a line of zero
  // points; those that end the memory are copied where a block is wider than the image.
  class lines {
   public:
    explicit lines(const depthwise_int8_product& p)
        : p_(p), size_((p.s_.w - 1) * p.x_.w_stride + lanes), quads_((p.s_.kh + 3) / 4) {
      memory_ = scratch<Code, scratch_use::window>((p.s_.kh + 1) * size_);
      pointers_ = scratch<const Code*, scratch_use::taps>(4 * quads_);
      std::fill_n(memory_, size_, static_cast<Code>(p.left_.zero));
    }
    // Of output row r, from channel c on; the rows beyond the kernel's do not matter.
    const Code* const* at(index_t r, index_t c) const {
      const conv_shape& s = p_.s_;
      const index_t n = r / s.out_h(), top = r % s.out_h() * s.stride_h - s.pad_h;
      for (index_t a = 0; a < 4 * quads_; ++a) {
        const index_t y = top + std::min(a, s.kh - 1) * s.dil_h;
        pointers_[a] = y < 0 || y >= s.h ? memory_ : row(n, y, a) + c;
      }
      return pointers_;
    }

   private:
    const Code* row(index_t n, index_t y, index_t a) const {
      const conv_shape& s = p_.s_;
      const Code* const from = p_.x_.at(n, y, 0);
      if (s.c >= lanes) return from;
      const index_t own = size_ - lanes + s.c, rest = p_.x_.at(s.n - 1, s.h - 1, 0) - from;
      if (rest >= lanes - s.c) return from;
      Code* const to = memory_ + (1 + std::min(a, s.kh - 1)) * size_;
      std::copy_n(from, own, to);
      std::fill_n(to + own, lanes - s.c, Code(0));
      return to;
    }

    const depthwise_int8_product& p_;
    index_t size_, quads_;
    Code* memory_;
    const Code** pointers_;
  };

  // One row of outputs and one block.
  void row(const Code* const* rows, index_t block, const column_terms& terms, index_t at,
           Out* y) const {
    const std::uint32_t zero = simd::quad_byte(static_cast<Code>(left_.zero));
    const depthwise_int8_line<Code> line{rows, w_.block_data(block), x_.w_stride,
                                         static_cast<std::int32_t>(zero * 0x01010101u)};
    const index_t width = std::min(lanes, s_.c), out = s_.out_w();
    const auto emit = [&](index_t j, const I* sums) __attribute__((always_inline)) {
      finish_pixel_(sums, terms, at, y + j * s_.c, width);
    };
    // Outputs [begin, end) read columns of the image alone.
    index_t begin = out, end = out;
    if (s_.kw == 3 && s_.kh <= 4 && s_.dil_w == 1 && s_.stride_w <= 2 && s_.w >= 3) {
      begin = std::min((s_.pad_w + s_.stride_w - 1) / s_.stride_w, out);
      end = std::clamp((s_.w - 3 + s_.pad_w) / s_.stride_w + 1, begin, out);
    }
    const auto pixels = [&](index_t j0, index_t j1) {
      for (index_t j = j0; j < j1; ++j) {
        I sums[4];
        start_sums<A>(terms.offset + at, sums);
        depthwise_int8_pixel<parts, Code, A>(s_, line, j * s_.stride_w - s_.pad_w, sums);
        emit(j, sums);
      }
    };
    const auto run = [&](auto stride) {
      depthwise_int8_run3<stride(), parts, Code, A>(
          line, begin * s_.stride_w - s_.pad_w, end - begin,
          terms.offset + at, [&](index_t j, const I* sums) __attribute__((always_inline)) {
            emit(begin + j, sums);
          });
    };
    pixels(0, begin);
    if (begin < end && s_.stride_w == 1) run(std::integral_constant<int, 1>());
    if (begin < end && s_.stride_w == 2) run(std::integral_constant<int, 2>());
    pixels(end, out);
  }

  const conv_shape& s_;
  image<const Code> x_;
  const weights& w_;
  Out* y_;
  const integer_finish& finish_;
  affine left_{};
  depthwise_int8_finish<Out, A> finish_pixel_;
};

}  // namespace adze::kernels::inline ADZE_ISA
