#pragma once
// SPDX-License-Identifier: MIT
// Convolution of eight-bit codes with packed weights: exact s32 sums, finished as products are
// (gemm_int8_finish.hpp). Windows are laid out as rows of a product, some output rows at a time;
// 1 x 1 convolutions read the image as it stands; depthwise ones are depthwise_int8.hpp's.
// Padding is the zero point of the image, never 0.
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/depthwise_int8.hpp>
#include <adze/kernels/gemm.hpp>
#include <adze/kernels/gemm_int8.hpp>

namespace adze::kernels::inline ADZE_ISA {

inline bool is_depthwise_codes(const conv_shape& s) {
  return s.groups == s.c && s.o == s.c && s.c > 1;
}

// The weight [o, c / groups, kh, kw] of s8 in the form that convolutions read: one packed product
// for each group, its depth in the order y, x, channel and up to whole steps with weights of 0;
// depthwise ones have weights of their own.
template <class A = simd::native> class conv_int8_weights {
 public:
  conv_int8_weights(const conv_shape& s, const std::int8_t* w, left_codes left)
      : depth_((s.c / s.groups * s.kh * s.kw + 3) / 4 * 4) {
    const index_t taps = s.kh * s.kw, in = s.c / s.groups, out = s.o / s.groups;
    if (is_depthwise_codes(s)) {
      depthwise_ = {s, w};
      return;
    }
    std::vector<std::int8_t> turned(static_cast<std::size_t>(out * depth_));
    for (index_t g = 0; g < s.groups; ++g) {
      for (index_t o = 0; o < out; ++o)
        for (index_t c = 0; c < in; ++c)
          for (index_t t = 0; t < taps; ++t)
            turned[static_cast<std::size_t>(o * depth_ + t * in + c)] =
                w[((g * out + o) * in + c) * taps + t];
      const matrix<const std::int8_t> rows =
          dense_matrix<const std::int8_t>(turned.data(), out, depth_);
      groups_.emplace_back(rows.transposed(), left);
    }
  }
  const integer_weights<A>& group(index_t g) const { return groups_[static_cast<std::size_t>(g)]; }
  const depthwise_int8_weights<A>& depthwise() const { return depthwise_; }
  index_t bytes() const {
    index_t n = depthwise_.bytes();
    for (const integer_weights<A>& g : groups_) n += g.bytes();
    return n;
  }
  // Of a row of windows; what stands in the places beyond the taps does not matter.
  index_t depth() const { return depth_; }

 private:
  index_t depth_;
  std::vector<integer_weights<A>> groups_{};
  depthwise_int8_weights<A> depthwise_{};
};

// n codes; short runs as eight bytes at once where both sides have them.
inline void copy_run(void* to, const void* from, index_t n, bool roomy) {
  if (n <= 8 && roomy) {
    std::memcpy(to, from, 8);
  } else {
    std::memcpy(to, from, static_cast<std::size_t>(n));
  }
}

// The windows of output pixels [first, last), counted through images, rows and columns, as rows of
// `depth` codes: for a group of `in` channels from `channel` on. x has adjacent channels; `to` has
// room for eight codes more.
template <class Code>
void fill_windows(const conv_shape& s, image<const Code> x, index_t channel, index_t in, Code zero,
                  index_t first, index_t last, index_t depth, Code* row) {
  const index_t oh = s.out_h(), ow = s.out_w();
  const bool run = s.dil_w == 1 && in == s.c && x.w_stride == s.c;  // a row of taps is one run
  const Code* const end = x.at(s.n - 1, s.h - 1, s.w - 1) + s.c - 8;
  index_t n = first / (oh * ow), i = first / ow % oh, j = first % ow;
  for (index_t p = first; p < last; ++p, row += depth) {
    const index_t x0 = j * s.stride_w - s.pad_w;
    Code* to = row;
    for (index_t a = 0; a < s.kh; ++a) {
      const index_t y = i * s.stride_h - s.pad_h + a * s.dil_h;
      if (y < 0 || y >= s.h) {
        std::fill_n(to, s.kw * in, zero);
        to += s.kw * in;
        continue;
      }
      if (run && x0 >= 0 && x0 + s.kw <= s.w) {
        const Code* from = x.at(n, y, x0);
        copy_run(to, from, s.kw * in, from <= end);
        to += s.kw * in;
        continue;
      }
      for (index_t b = 0; b < s.kw; ++b, to += in) {
        const index_t column = x0 + b * s.dil_w;
        if (column < 0 || column >= s.w) {
          std::fill_n(to, in, zero);
        } else {
          const Code* from = x.at(n, y, column) + channel;
          copy_run(to, from, in, from <= end);
        }
      }
    }
    if (++j == ow) j = 0, ++i;
    if (i == oh) i = 0, ++n;
  }
}

// y [n, oh, ow, o] = finish(x * w), x [n, c, h, w] with adjacent channels; the terms of `finish`
// are by output channel, its left zero point is what padding holds. Any split over threads gives
// the same bits.
template <class Code, class Out, class A = simd::native>
void conv_int8(const conv_shape& s, std::type_identity_t<image<const Code>> x,
               const conv_int8_weights<A>& w, Out* y, const integer_finish& finish) {
  const affine left = finish.left.each ? finish.left(0) : affine{};
  const std::int32_t zero = left.zero;
  if (s.n * s.out_h() * s.out_w() * s.o == 0) return;
  if (is_depthwise_codes(s))
    return split_work(s.n * s.out_h(), s.work(),
                      depthwise_int8_product<Code, Out, A>(s, x, w.depthwise(), y, finish));
  const index_t in = s.c / s.groups, out = s.o / s.groups, depth = w.depth();
  const index_t pixels = s.n * s.out_h() * s.out_w();
  const bool plain = depth == in && s.kh == 1 && s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 &&
                     s.pad_h == 0 && s.pad_w == 0 && x.h_stride == s.w * x.w_stride &&
                     x.n_stride == s.h * x.h_stride;
  const auto group = [&](index_t g, matrix<const Code> rows, index_t first) {
    integer_finish f = finish;
    if (f.bias) f.bias += g * out;
    if (f.column_scales) f.column_scales += g * out;
    if (f.real_bias) f.real_bias += g * out;
    gemm_int8<Code, Out, A>(rows, w.group(g), {y + first * s.o + g * out, rows.rows, out, s.o, 1},
                            f);
  };
  if (plain) {
    for (index_t g = 0; g < s.groups; ++g)
      group(g, {x.data + g * in, pixels, depth, x.w_stride, 1}, 0);
    return;
  }
  const index_t chunk = std::clamp<index_t>((index_t(96) << 10) / depth / 12 * 12, 12, 1536);
  const auto run = [&](index_t first, index_t last) {
    for (index_t p = first; p < last; p += chunk) {
      const index_t n = std::min(chunk, last - p);
      Code* rows = scratch<Code, scratch_use::window>(n * depth + 8);
      for (index_t g = 0; g < s.groups; ++g) {
        fill_windows<Code>(s, x, g * in, in, static_cast<Code>(zero), p, p + n, depth, rows);
        group(g, dense_matrix<const Code>(rows, n, depth), p);
      }
    }
  };
  const index_t work = pixels * depth * out;
  if (work < 2 * integer_task) return run(0, pixels);
  parallel_for(pixels, std::max<index_t>(chunk, pixels / 64), run);
}

}  // namespace adze::kernels::inline ADZE_ISA
