#pragma once
// SPDX-License-Identifier: MIT
// Convolution of eight-bit codes with packed weights: exact s32 sums, finished as products are
// (gemm_int8_finish.hpp). Windows are read in place (conv_int8_windows.hpp); 1 x 1 convolutions are
// products of the image as it stands; depthwise ones are depthwise_int8.hpp's.
// Padding is the zero point of the image, never 0.
#include <adze/kernels/conv_int8_windows.hpp>
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/depthwise_int8.hpp>
#include <adze/kernels/gemm_int8.hpp>

namespace adze::kernels::inline ADZE_ISA {

inline bool is_depthwise_codes(const conv_shape& s) {
  return s.groups == s.c && s.o == s.c && s.c > 1;
}

// The weight [o, c / groups, kh, kw] of s8 in the form that convolutions read: one packed product
// for each group, its depth in the order y, x, channel, in runs that are one in memory: the taps of
// a kernel's row, or one tap where there is dilation. Several runs are filled up to whole steps
// with weights of 0. Depthwise weights have a form of their own.
template <class A = simd::native> class conv_int8_weights {
 public:
  conv_int8_weights(const conv_shape& s, const std::int8_t* w, left_codes left)
      : runs_(s.dil_w == 1 ? s.kh : s.kh * s.kw) {
    const index_t taps = s.kh * s.kw, in = s.c / s.groups, out = s.o / s.groups;
    if (is_depthwise_codes(s)) {
      depthwise_ = {s, w, left == left_codes::u7};
      return;
    }
    const index_t run = taps / runs_ * in, length = runs_ == 1 ? run : (run + 3) / 4 * 4;
    const index_t depth = runs_ * length;
    std::vector<std::int8_t> turned(static_cast<std::size_t>(out * depth));
    for (index_t g = 0; g < s.groups; ++g) {
      for (index_t o = 0; o < out; ++o)
        for (index_t c = 0; c < in; ++c)
          for (index_t t = 0; t < taps; ++t) {
            const index_t k = t * in + c;
            turned[static_cast<std::size_t>(o * depth + k / run * length + k % run)] =
                w[((g * out + o) * in + c) * taps + t];
          }
      const matrix<const std::int8_t> rows =
          dense_matrix<const std::int8_t>(turned.data(), out, depth);
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
  index_t runs() const { return runs_; }

 private:
  index_t runs_;
  std::vector<integer_weights<A>> groups_{};
  depthwise_int8_weights<A> depthwise_{};
};

// The codes of an image in any layout with adjacent channels, as conv_int8 wants them: to
// [n, h, w, c].
template <class Code>
void join_channels(const conv_shape& s, std::type_identity_t<image<const Code>> x, Code* to) {
  const auto rows = [&](index_t r0, index_t r1) {
    const index_t w = s.w, channels = s.c, step = x.w_stride;
    for (index_t r = r0; r < r1; ++r)
      for (index_t c = 0; c < channels; ++c) {
        const Code* const from = x.at(r / s.h, r % s.h, 0) + c * x.c_stride;
        Code* const row = to + r * w * channels + c;
        for (index_t j = 0; j < w; ++j) row[j * channels] = from[j * step];
      }
  };
  split_work(s.n * s.h, 8 * s.n * s.h * s.w * s.c, rows);  // a code costs 8 multiplications
}

// y [n, oh, ow, o] = finish(x * w), x [n, c, h, w] with adjacent channels; the terms of `finish`
// are by output channel, its left zero point is what padding holds. Any split over threads gives
// the same bits.
template <class Code, class Out, class A = simd::native>
void conv_int8(const conv_shape& s, std::type_identity_t<image<const Code>> x,
               const conv_int8_weights<A>& w, Out* y, const integer_finish& finish) {
  if (s.n * s.out_h() * s.out_w() * s.o == 0) return;
  if (is_depthwise_codes(s)) {
    const auto run = [&](auto parts) {
      split_work(s.n * s.out_h(), s.work(),
                 depthwise_int8_product<Code, Out, A, parts>(s, x, w.depthwise(), y, finish));
    };
    if constexpr (simd::seven_bit_quads<A>) {
      if (w.depthwise().parts() == 1) {
        if constexpr (std::same_as<Code, std::uint8_t>)
          return run(std::integral_constant<int, 1>());
        else
          raise<value_error>(
              "conv_int8: the weights are packed for unsigned codes of seven bits, and x has "
              "signed ones; pack them for these");
      }
    }
    return run(std::integral_constant<int, simd::quad_parts<A>>());
  }
  const index_t in = s.c / s.groups, out = s.o / s.groups;
  const index_t pixels = s.n * s.out_h() * s.out_w();
  const bool plain = s.kh == 1 && s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 &&
                     s.pad_w == 0 && x.h_stride == s.w * x.w_stride &&
                     x.n_stride == s.h * x.h_stride;
  for (index_t g = 0; g < s.groups; ++g) {
    integer_finish f = finish;
    if (f.bias) f.bias += g * out;
    if (f.column_scales) f.column_scales += g * out;
    if (f.real_bias) f.real_bias += g * out;
    const integer_weights<A>& weights = w.group(g);
    const matrix<Out> result{y + g * out, pixels, out, s.o, 1};
    if (plain) {
      gemm_int8<Code, Out, A>({x.data + g * in, pixels, in, x.w_stride, 1}, weights, result, f);
      continue;
    }
    image<const Code> channels = x;
    channels.data += g * in;
    check_left_codes<Code>(weights);
    const auto run = [&]<integer_layout layout>(std::integral_constant<integer_layout, layout>) {
      conv_int8_group<Code, Out, A, layout>(s, channels, weights, w.runs(), result, f)();
    };
    if (weights.layout() == integer_layout::quads)
      run(std::integral_constant<integer_layout, integer_layout::quads>());
    else
      run(std::integral_constant<integer_layout, integer_layout::words>());
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
