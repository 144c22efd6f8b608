#pragma once
// SPDX-License-Identifier: MIT
// Where the tiles of depthwise convolutions of 3 x 3 with stride 1 or 2 stand on channels-last
// images, and how they cover rows of outputs.
#include <algorithm>
#include <type_traits>
#include <utility>

#include <adze/kernels/conv_plan.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Where a tile of neighbouring outputs, results or their gradients, stands, and the columns of the
// three rows that it reads: steps apart, where the padding has at most the first and the last of
// them, which then are left out, ...
template <class T, class Out> struct depthwise_steps {
  registers<const T*, 3> rows;
  Out* outs;
  index_t x_step, out_step;
  bool first, last;

  const T* x(int r, int k) const { return rows[r] + k * x_step; }
  // One of the rows, with a step that g++ does not know to be that of the other two: it would keep
  // the offsets of all columns from row to row, most of them in memory.
  [[gnu::always_inline]] auto row(int r) const {
    struct columns {
      const T* from;
      index_t step;
      const T* operator[](int k) const { return from + k * step; }
    } all{rows[r], x_step};
    simd::pin(all.step);
    return all;
  }
  Out* out(int k) const { return outs + k * out_step; }
};
// ... or anywhere.
template <class T, class Out> struct depthwise_places {
  registers<registers<const T*, 16>, 3> columns;
  registers<Out*, 14> outs;
  static constexpr bool first = true, last = true;

  const T* x(int r, int k) const { return columns[r][k]; }
  const T* const* row(int r) const { return columns[r]; }
  Out* out(int k) const { return outs[k]; }
};

// ... or side by side in two rows of one image, in one row with stride 2. Rows of the padding stand
// still on zeros.
template <class T, class Out> struct depthwise_walks {
  registers<const T*, 4> rows;  // from the first column that the image has
  registers<index_t, 4> steps;
  registers<Out*, 2> outs;
  index_t out_step;
  bool first, last;
};
template <class T> struct depthwise_walk {
  const T* at;
  index_t step;
  [[gnu::always_inline]] const T* operator()(int) { return std::exchange(at, at + step); }
};

// Registers of 16 bytes take tiles of results by their places: beside so many products addresses
// cost little (0.96 to 1.04 of the time, 0.8 for the input's gradient with stride 2), and half of
// those tiles need not be compiled. Tiles of weights took 1.07 to 1.18 of it.
template <class A> inline constexpr bool tiles_by_steps = A::bytes != 16;
// Pairs of rows want a multiplication that adds, and make the most of 16 registers. With AVX-512
// they are not tried yet.
template <class A> inline constexpr bool tiles_by_walks = A::bytes == 32;

// A tile of one stride and number of outputs, for all of them, or with no `steps` or `walks`. Data
// is weights or sums.
template <class T, class Out, class Data> struct depthwise3_tiles {
  index_t stride, outs;
  void (*steps)(const depthwise_steps<T, Out>& at, index_t channels, Data* data);
  void (*places)(const depthwise_places<T, Out>& at, index_t channels, Data* data);
  void (*walks)(const depthwise_walks<T, Out>& at, index_t channels, Data* data);

  // The last tile of results begins early enough to be whole: some outputs are computed, to the
  // same bits, twice.
  index_t place(index_t at, index_t out_w) const {
    return std::is_const_v<Out> ? at : std::max<index_t>(std::min(at, out_w - outs), 0);
  }
};

// The tiles of row `all`, counted through all images, from column `begin` on. Columns of the
// padding are zeros, missing outputs `nowhere`: both as long as the channels.
template <class T, class Out, class Data>
[[gnu::noinline]] void depthwise3_row(const depthwise3_tiles<T, Out, Data>& tile,
                                      const conv_shape& s, image<const T> x, image<Out> y,
                                      index_t all, index_t begin, const T* zeros, Out* nowhere,
                                      Data* data) {
  const index_t outs = tile.outs, columns = tile.stride * (outs - 1) + 3;
  const index_t out_w = s.out_w(), n = all / s.out_h(), row = all - n * s.out_h();
  const index_t top = row * tile.stride - s.pad_h;
  const bool rows = tile.steps && top >= 0 && top + 3 <= s.h;
  for (index_t at = begin; at < out_w; at += outs) {
    const index_t i = tile.place(at, out_w), left = i * tile.stride - s.pad_w;
    Out* const out = y.at(n, row, i);
    if (rows && i + outs <= out_w && left >= -1 && left + columns <= s.w + 1) {
      const T* const from = x.at(n, top, left);
      tile.steps({{from, from + x.h_stride, from + 2 * x.h_stride},
                  out,
                  x.w_stride,
                  y.w_stride,
                  left >= 0,
                  left + columns <= s.w},
                 s.c, data);
      continue;
    }
    depthwise_places<T, Out> p;
    for (index_t k = 0; k < outs; ++k) p.outs[k] = i + k < out_w ? out + k * y.w_stride : nowhere;
    for (index_t r = 0; r < 3; ++r)
      for (index_t k = 0; k < columns; ++k) {
        const bool inside = top + r >= 0 && top + r < s.h && left + k >= 0 && left + k < s.w;
        p.columns[r][k] = inside ? x.at(n, top + r, left + k) : zeros;
      }
    tile.places(p, s.c, data);
  }
}

// The tiles of row `all` and the next one, with stride 2 of row `all`, up to outputs whose columns
// the image and one of the padding do not hold: says where.
template <class T, class Out, class Data>
[[gnu::noinline]] index_t depthwise3_walk(const depthwise3_tiles<T, Out, Data>& tile,
                                          const conv_shape& s, image<const T> x, image<Out> y,
                                          index_t all, const T* zeros, Data* data) {
  const index_t outs = tile.outs, columns = tile.stride * (outs - 1) + 3;
  const index_t out_w = s.out_w(), n = all / s.out_h(), row = all - n * s.out_h();
  registers<const T*, 4> rows;
  depthwise_walks<T, Out> p;
  p.out_step = y.w_stride;
  for (index_t r = 0; r < 4; ++r) {
    const index_t at = row * tile.stride - s.pad_h + r;
    const bool inside = at >= 0 && at < s.h;
    rows[r] = inside ? x.at(n, at, 0) : zeros;
    p.steps[r] = inside ? x.w_stride : 0;
  }
  for (index_t at = 0; at < out_w; at += outs) {
    const index_t i = tile.place(at, out_w), left = i * tile.stride - s.pad_w;
    if (i + outs > out_w || left < -1 || left + columns > s.w + 1) return at;
    for (index_t r = 0; r < 4; ++r) p.rows[r] = rows[r] + std::max<index_t>(left, 0) * p.steps[r];
    p.outs[0] = y.at(n, row, i), p.outs[1] = p.outs[0] + y.h_stride;
    p.first = left >= 0, p.last = left + columns <= s.w;
    tile.walks(p, s.c, data);
  }
  return out_w;
}

// The tiles of rows [first, last). Pairs begin at even rows: threads that share rows by twos, or
// the last one alone, make the same ones.
template <class T, class Out, class Data>
void depthwise3_rows(const depthwise3_tiles<T, Out, Data>& tile, const conv_shape& s,
                     image<const T> x, image<Out> y, index_t first, index_t last, const T* zeros,
                     Out* nowhere, Data* data) {
  const index_t out_h = s.out_h(), out_w = s.out_w();
  while (first < last) {
    const bool pair = tile.stride == 1 && first % 2 == 0 && first + 1 < last && (first + 1) % out_h;
    const bool walks = tile.walks && (pair || tile.stride == 2);
    const index_t begin = walks ? depthwise3_walk(tile, s, x, y, first, zeros, data) : 0;
    for (index_t rows = walks && pair ? 2 : 1; rows > 0; --rows, ++first)
      if (begin < out_w) depthwise3_row(tile, s, x, y, first, begin, zeros, nowhere, data);
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
