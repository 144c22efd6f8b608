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

// Codes that window_runs may write beyond a row of windows, and read beyond a run.
inline constexpr index_t window_slack = 32;

// Pixels all columns of which exist, where the taps of a row are one run: windows of `rows` runs of
// n codes, a pixel's runs `step[a]` codes after those of the pixel before. In blocks of `block`
// codes: the next run, or the next window, is written over what is too much.
template <index_t block, class Code> struct window_runs {
  index_t rows, n, depth;

  void operator()(const Code* const* lines, const index_t* step, index_t pixels, Code* to) const {
    const index_t rest = depth - rows * n;
    for (index_t j = 0; j < pixels; ++j, to += rest)
      for (index_t a = 0; a < rows; ++a, to += n) {
        const Code* const from = lines[a] + j * step[a];
        for (index_t k = 0; k < n; k += block) std::memcpy(to + k, from + k, block);
      }
  }
};

// The windows of output pixels [first, last), counted through images, rows and columns, as rows of
// `depth` codes, for a group of `in` channels from `channel` on. x has adjacent channels; there is
// room for window_slack codes more.
template <class Code> class window_rows {
 public:
  window_rows(const conv_shape& s, image<const Code> x, Code zero, index_t in, index_t depth)
      : s_(s), x_(x), zero_(zero), in_(in), depth_(depth), out_h_(s.out_h()), out_w_(s.out_w()),
        end_(x.at(s.n - 1, s.h - 1, s.w - 1) + s.c) {
    const bool runs = s.dil_w == 1 && in == s.c && x.w_stride == s.c;
    if (!runs || s.w < s.kw || s.kh > most_rows) return;
    begin_ = std::min((s.pad_w + s.stride_w - 1) / s.stride_w, out_w_);
    whole_ = std::max((s.w - s.kw + s.pad_w) / s.stride_w + 1, begin_);
    padding_ = scratch<Code, scratch_use::pixels>(s.kw * in + window_slack);
    std::fill_n(padding_, s.kw * in + window_slack, zero);
  }

  void operator()(index_t channel, index_t first, index_t last, Code* to) const {
    while (first < last) {
      const index_t r = first / out_w_, j = first % out_w_;
      const index_t count = std::min(last - first, out_w_ - j);
      row(r / out_h_, r % out_h_, channel, j, j + count, to);
      first += count, to += count * depth_;
    }
  }

 private:
  static constexpr index_t most_rows = 16;

  // Pixels [j0, j1) of one row of outputs.
  void row(index_t n, index_t i, index_t channel, index_t j0, index_t j1, Code* to) const {
    const index_t top = i * s_.stride_h - s_.pad_h, run = s_.kw * in_;
    const index_t a0 = std::clamp(begin_, j0, j1);
    index_t a1 = std::clamp(whole_, a0, j1);
    const Code* lines[most_rows];
    index_t steps[most_rows];
    for (index_t a = 0; a0 < a1 && a < s_.kh; ++a) {
      const index_t y = top + a * s_.dil_h;
      const bool outside = y < 0 || y >= s_.h;
      lines[a] = outside ? padding_ : x_.at(n, y, a0 * s_.stride_w - s_.pad_w);
      steps[a] = outside ? 0 : s_.stride_w * s_.c;
      while (!outside && a1 > a0 && end_ - lines[a] < (a1 - 1 - a0) * steps[a] + run + window_slack)
        --a1;
    }
    for (index_t j = j0; j < a0; ++j, to += depth_) pixel(n, top, j, channel, to);
    if (a0 < a1) {
      if (run <= 16)
        window_runs<16, Code>{s_.kh, run, depth_}(lines, steps, a1 - a0, to);
      else
        window_runs<32, Code>{s_.kh, run, depth_}(lines, steps, a1 - a0, to);
      to += (a1 - a0) * depth_;
    }
    for (index_t j = a1; j < j1; ++j, to += depth_) pixel(n, top, j, channel, to);
  }

  // Any pixel, tap by tap.
  void pixel(index_t n, index_t top, index_t j, index_t channel, Code* to) const {
    const index_t left = j * s_.stride_w - s_.pad_w;
    for (index_t a = 0; a < s_.kh; ++a) {
      const index_t y = top + a * s_.dil_h;
      for (index_t b = 0; b < s_.kw; ++b, to += in_) {
        const index_t column = left + b * s_.dil_w;
        if (y < 0 || y >= s_.h || column < 0 || column >= s_.w) {
          std::memset(to, static_cast<int>(zero_), static_cast<std::size_t>(in_));
          continue;
        }
        const Code* const from = x_.at(n, y, column) + channel;
        if (in_ <= 16 && end_ - from >= 16)
          std::memcpy(to, from, 16);
        else
          std::memcpy(to, from, static_cast<std::size_t>(in_));
      }
    }
  }

  const conv_shape s_;
  const image<const Code> x_;
  const Code zero_;
  const index_t in_, depth_, out_h_, out_w_;
  const Code* const end_;
  Code* padding_ = nullptr;
  index_t begin_ = 0, whole_ = 0;  // pixels all columns of which exist
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
    const window_rows<Code> windows(s, x, static_cast<Code>(zero), in, depth);
    for (index_t p = first; p < last; p += chunk) {
      const index_t n = std::min(chunk, last - p);
      Code* rows = scratch<Code, scratch_use::window>(n * depth + window_slack);
      for (index_t g = 0; g < s.groups; ++g) {
        windows(g * in, p, p + n, rows);
        group(g, dense_matrix<const Code>(rows, n, depth), p);
      }
    }
  };
  const index_t work = pixels * depth * out;
  if (work < 2 * integer_task) return run(0, pixels);
  parallel_for(pixels, std::max<index_t>(chunk, pixels / 64), run);
}

}  // namespace adze::kernels::inline ADZE_ISA
