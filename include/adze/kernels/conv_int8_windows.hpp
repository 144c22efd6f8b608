#pragma once
// SPDX-License-Identifier: MIT
// Windows of an image as the left side of an integer product, read where they lie: each run of a
// window, a row of the kernel, is one in memory. Where the image has borders, or codes that tiles
// do not read as they are, bands of rows are copied first, with their padding.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm.hpp>
#include <adze/kernels/gemm_int8.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Windows of `rows` x `cols` output pixels in each of some images. Steps are in bytes.
template <class Code> struct image_windows {
  using code = Code;
  struct strip : integer_rows {
    const std::byte *at = nullptr, *second = nullptr;  // the first of each block
    index_t first_run = 0, runs = 0;
  };
  template <class A, integer_layout layout> class block {
   public:
    block(const image_windows& windows, const strip& rows, index_t, index_t)
        : windows_(windows), rows_(rows) {}
    static index_t depth(index_t) { return std::numeric_limits<index_t>::max() / 2; }
    index_t first_step() const { return rows_.first_run * windows_.run_steps; }
    void describe(integer_strip& s) const {
      s.left = rows_.at;
      s.left_stride = windows_.step;
      s.run_offsets = windows_.run_offsets + rows_.first_run;
      s.runs = rows_.runs;
      s.first_rows = rows_.in_block;
      s.second = rows_.second;
      s.steps = windows_.run_steps;
    }

   private:
    const image_windows& windows_;
    const strip& rows_;
  };

  const std::byte* data = nullptr;  // the first window
  index_t images = 0, rows = 0, cols = 0;
  index_t image_step = 0, row_step = 0, step = 0;
  const index_t* run_offsets = nullptr;
  index_t runs = 0, run_steps = 0;
  const conv_shape* shape = nullptr;  // where padding counts nothing: its runs are left out
  index_t first_row = 0;

  index_t count() const { return images * rows * cols; }
  index_t run_steps_of(index_t) const { return run_steps; }
  bool one_run() const { return runs == 1; }
  // Of a row of windows, or of two neighbouring ones where each fits a block.
  template <class F> void strips(const strip_limits& most, F each) const {
    const index_t n = (cols + most.rows - 1) / most.rows, size = cols / n, longer = cols % n;
    const bool pairs = most.block < most.rows && cols <= most.block;
    strip next;
    for (index_t image = 0; image < images; ++image)
      for (index_t row = 0; row < rows; ++row) {
        next.at = data + image * image_step + row * row_step;
        inside(first_row + row, next);
        if (pairs && row + 1 < rows && pair(row, next)) {
          each(std::as_const(next));
          next.first += next.count, ++row;
          continue;
        }
        for (index_t i = 0; i < n; ++i) {
          next.count = size + (i < longer);
          next.in_block = std::min(next.count, most.block);
          next.second = next.at + next.in_block * step;
          each(std::as_const(next));
          next.first += next.count, next.at += next.count * step;
        }
      }
  }
  // Rows `row` and the next, if they have the same runs.
  bool pair(index_t row, strip& made) const {
    strip other;
    inside(first_row + row + 1, other);
    if (other.first_run != made.first_run || other.runs != made.runs) return false;
    made.count = 2 * cols, made.in_block = cols, made.second = made.at + row_step;
    return true;
  }
  // The runs of a row of windows that are not padding.
  void inside(index_t row, strip& made) const {
    made.first_run = 0, made.runs = runs;
    if (shape == nullptr) return;
    const index_t top = row * shape->stride_h - shape->pad_h, across = runs / shape->kh;
    const auto lies = [&](index_t a) {
      return top + a * shape->dil_h >= 0 && top + a * shape->dil_h < shape->h;
    };
    index_t a = 0, end = shape->kh;
    while (a < end && !lies(a)) ++a;
    while (end > a && !lies(end - 1)) --end;
    made.first_run = a * across, made.runs = (end - a) * across;
  }
};

// The convolution of one group of channels, from x.data on.
template <class Code, class Out, class A, integer_layout layout> class conv_int8_group {
 public:
  conv_int8_group(const conv_shape& s, image<const Code> x, const integer_weights<A>& w,
                  index_t runs, matrix<Out> y, const integer_finish& finish)
      : s_(s), x_(x), w_(w), runs_(runs), y_(y), finish_(finish), in_(s.c / s.groups),
        out_h_(s.out_h()), out_w_(s.out_w()), pitch_((s.w + 2 * s.pad_w) * in_),
        end_(x.at(s.n - 1, s.h - 1, s.w - 1) + in_) {
    const index_t run = s.kh * s.kw / runs * in_;  // codes
    in_place_ = std::is_same_v<Code, E> && s.pad_h == 0 && s.pad_w == 0 &&
                run == w.steps() / runs * 4 && (run == in_ || x.w_stride == in_);
  }

  void operator()() const {
    const index_t rows = s_.n * out_h_;
    const index_t work = out_w_ * w_.rows() * w_.cols();  // of a row
    const auto run = [&](index_t first, index_t last) {
      windows all = frame();
      for (index_t row = first; row < last; row += all.images * all.rows) {
        place(row, last, all);
        const index_t pixel = row * out_w_;
        integer_product<windows, Out, A, layout>(
            all, w_, {y_.data + pixel * y_.row_stride, all.count(), y_.cols, y_.row_stride, 1},
            finish_)(0, w_.panels());
      }
    };
    if (rows * work < 2 * integer_task) return run(0, rows);
    parallel_for(rows, std::max(integer_task / (work + 1), rows / 64) + 1, run);
  }

 private:
  using E = left_element<layout>;
  using windows = image_windows<Code>;
  // Of a band, and codes that copies may write beyond what they should, and read.
  static constexpr index_t band_bytes = index_t(1) << 15, slack = 32, size = sizeof(E);

  // What all windows have in common.
  windows frame() const {
    index_t* const offsets = scratch<index_t, scratch_use::taps>(runs_);
    const index_t row = in_place_ ? x_.h_stride : pitch_, pixel = in_place_ ? x_.w_stride : in_;
    for (index_t a = 0, across = runs_ / s_.kh; a < s_.kh; ++a)
      for (index_t b = 0; b < across; ++b)
        offsets[a * across + b] = (a * s_.dil_h * row + b * s_.dil_w * pixel) * size;
    return {.cols = out_w_,
            .image_step = (in_place_ ? x_.n_stride : span(out_h_) * pitch_) * size,
            .row_step = s_.stride_h * row * size,
            .step = s_.stride_w * pixel * size,
            .run_offsets = offsets,
            .runs = runs_,
            .run_steps = w_.steps() / runs_,
            .shape = zero() == 0 ? &s_ : nullptr};
  }

  // Windows of some rows of outputs from `row` on, counted through the images: of whole images, or
  // of one.
  void place(index_t row, index_t last, windows& all) const {
    const index_t n = row / out_h_, i = row % out_h_;
    const index_t bytes = std::max<index_t>(pitch_ * size, 1);
    const index_t room = in_place_ ? out_h_ : (band_bytes / bytes - span(1)) / s_.stride_h + 1;
    all.rows = std::min({out_h_ - i, last - row, std::max<index_t>(room, 1)});
    all.images = 1, all.first_row = i;
    if (all.rows == out_h_) {
      const index_t fit = in_place_ ? s_.n : band_bytes / (span(out_h_) * bytes);
      all.images = std::clamp<index_t>((last - row) / out_h_, 1, std::max<index_t>(fit, 1));
    }
    all.data = in_place_ ? reinterpret_cast<const std::byte*>(x_.at(n, i * s_.stride_h, 0))
                         : band(n, i, all.images, all.rows);
  }

  // What stands in padding.
  E zero() const {
    return as_left<E>(static_cast<Code>(finish_.left.each ? finish_.left(0).zero : 0));
  }
  // Rows of the image that some rows of outputs read.
  index_t span(index_t rows) const { return (rows - 1) * s_.stride_h + (s_.kh - 1) * s_.dil_h + 1; }

  // What rows of outputs from i on read of images from n on, with padding, as elements.
  const std::byte* band(index_t n, index_t i, index_t images, index_t rows) const {
    const index_t height = span(rows);
    E* const memory = scratch<E, scratch_use::window>(images * height * pitch_ + slack);
    E* to = memory;
    for (index_t m = n; m < n + images; ++m)
      for (index_t y = i * s_.stride_h - s_.pad_h, end = y + height; y < end; ++y, to += pitch_) {
        if (y < 0 || y >= s_.h)
          fill(to, pitch_);
        else
          line(m, y, to);
      }
    std::fill_n(to, 4, E(0));  // read by last steps
    return reinterpret_cast<const std::byte*>(memory);
  }

  // One row; what is written beyond its end is written again.
  void line(index_t n, index_t y, E* to) const {
    const Code* from = x_.at(n, y, 0);
    const bool adjacent = x_.w_stride == in_;
    const index_t runs = adjacent ? 1 : s_.w, run = adjacent ? s_.w * in_ : in_;
    fill(to, s_.pad_w * in_);
    to += s_.pad_w * in_;
    for (index_t j = 0; j < runs; ++j, from += x_.w_stride, to += run) {
      const auto element = [from](index_t k) { return as_left<E>(from[k]); };
      if (end_ - from < run + slack)
        blocks<1>(to, run, element);
      else if (run <= 16)
        blocks<16>(to, run, element);
      else
        blocks<32>(to, run, element);
    }
    fill(to, s_.pad_w * in_);
  }
  void fill(E* to, index_t n) const {
    blocks<16>(to, n, [zero = zero()](index_t) { return zero; });
  }
  template <index_t block, class F> static void blocks(E* to, index_t n, F element) {
    for (index_t k = 0; k < n; k += block) {
      E piece[block];  // clang 14 would copy element by element, as each store may change the next
      for (index_t q = 0; q < block; ++q) piece[q] = element(k + q);
      std::memcpy(to + k, piece, sizeof piece);
    }
  }

  const conv_shape& s_;
  const image<const Code> x_;
  const integer_weights<A>& w_;
  const index_t runs_;
  const matrix<Out> y_;
  const integer_finish& finish_;
  const index_t in_, out_h_, out_w_, pitch_;  // the last: codes of a row of a band
  const Code* const end_;
  bool in_place_ = false;
};

}  // namespace adze::kernels::inline ADZE_ISA
