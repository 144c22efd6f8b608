#pragma once
// SPDX-License-Identifier: MIT
// The geometry of convolutions, the same for every kernel: `correlation` says which input pixels
// an output pixel reads, and `open_window` lays some rows of outputs out for reading, as one
// offset per pixel and one per tap. Padding exists only in windows, as zeros that are copied in.
#include <algorithm>
#include <numeric>

#include <adze/fwd.hpp>
#include <adze/kernels/gemm_pack.hpp>

namespace adze::kernels {

// n images of c channels and h x w pixels; weights [o, c / groups, kh, kw], as in PyTorch.
struct conv_shape {
  index_t n = 1, c = 1, h = 1, w = 1, o = 1, kh = 1, kw = 1;
  index_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dil_h = 1, dil_w = 1, groups = 1;
  bool exact = false;  // no Winograd filtering

  [[gnu::noinline]] index_t out_h() const {
    return (h + 2 * pad_h - dil_h * (kh - 1) - 1) / stride_h + 1;
  }
  [[gnu::noinline]] index_t out_w() const {
    return (w + 2 * pad_w - dil_w * (kw - 1) - 1) / stride_w + 1;
  }
  [[gnu::noinline]] index_t work() const {
    return n * o * out_h() * out_w() * (c / groups) * kh * kw;
  }
};

// Images in memory: element (i, channel, y, x) by four strides, plain or channels-last.
template <class T> struct image {
  T* data = nullptr;
  index_t n_stride = 0, c_stride = 1, h_stride = 0, w_stride = 0;

  T* at(index_t n, index_t y, index_t x) const {
    return data + n * n_stride + y * h_stride + x * w_stride;
  }
  operator image<const T>() const requires(!std::is_const_v<T>) {
    return {data, n_stride, c_stride, h_stride, w_stride};
  }
};

template <class T> image<T> channels_last(T* data, index_t c, index_t h, index_t w) {
  return {data, h * w * c, 1, w * c, c};
}
template <class T> image<T> plain_image(T* data, index_t c, index_t h, index_t w) {
  return {data, c * h * w, h * w, w, 1};
}

inline namespace ADZE_ISA {

// One axis: output a reads inputs a * step + shift + t * shift_step for taps t, which are the
// kernel's taps tap + t * tap_step; it stands at place + a * place_step of the result.
struct correlation_axis {
  index_t in = 1, out = 1, step = 1, taps = 1, shift = 0, shift_step = 1;
  index_t tap = 0, tap_step = 1, place = 0, place_step = 1;

  index_t low() const { return shift + std::min<index_t>(0, (taps - 1) * shift_step); }
  index_t high() const { return shift + std::max<index_t>(0, (taps - 1) * shift_step); }
  index_t span(index_t outs) const { return (outs - 1) * step + high() - low() + 1; }
  bool padded() const { return low() < 0 || (out - 1) * step + high() >= in; }
};

inline correlation_axis forward_axis(index_t in, index_t out, index_t kernel, index_t stride,
                                     index_t pad, index_t dilation) {
  return {
      .in = in, .out = out, .step = stride, .taps = kernel, .shift = -pad, .shift_step = dilation};
}

// The gradient's inputs at places = phase mod stride: each reads every q-th tap, with stride 1.
[[gnu::noinline]] inline correlation_axis backward_axis(index_t size, index_t out, index_t kernel,
                                                        index_t stride, index_t pad,
                                                        index_t dilation, index_t phase) {
  const index_t q = stride / std::gcd(stride, dilation);
  correlation_axis a{.in = out,
                     .out = (size - phase + stride - 1) / stride,
                     .taps = 0,
                     .tap_step = q,
                     .place = phase,
                     .place_step = stride};
  while (a.tap < std::min(q, kernel) && (phase + pad - a.tap * dilation) % stride != 0) ++a.tap;
  if (a.tap < std::min(q, kernel)) {
    a.taps = (kernel - 1 - a.tap) / q + 1;
    a.shift = (phase + pad - a.tap * dilation) / stride;
    a.shift_step = -(q * dilation / stride);
  }
  return a;
}

template <class T> struct correlation {
  image<const T> in{};
  index_t images = 1, channels = 1;
  correlation_axis h{}, w{};
  // The window: strides, whether it is a copy, and how many rows of outputs share one.
  index_t h_stride = 0, w_stride = 0, c_stride = 1, unit_rows = 1;
  bool copied = false;

  index_t rows() const { return images * h.out; }

  // Units fit the L2 cache, but have `least` pixels where the images have them. Plain images of at
  // most `plain` channels may be read as they stand, with c_stride != 1.
  void choose_window(index_t out_channels, index_t work, index_t plain, index_t least = 1) {
    copied = h.padded() || w.padded() || (in.c_stride != 1 && channels > plain);
    w_stride = copied ? channels : in.w_stride;
    const auto line = 64 / index_t(sizeof(T));
    // An odd number of cache lines: with a power of two all pixels would share a few cache sets.
    if (copied && w_stride % (2 * line) == 0) w_stride += line;
    h_stride = copied ? w.span(w.out) * w_stride : in.h_stride;
    c_stride = copied ? 1 : in.c_stride;
    const index_t row = h.step * w.span(w.out) * channels + w.out * out_channels;
    const index_t fit = (index_t(192) << 10) / index_t(sizeof(T)) / std::max<index_t>(row, 1);
    const index_t units = std::clamp<index_t>(work / (index_t(1) << 20), 1, 64);
    unit_rows = std::min(std::max<index_t>(fit, 1), (rows() + units - 1) / units);
    unit_rows = std::max(unit_rows, (least + w.out - 1) / w.out);
  }

  // Offsets of `count` channels times taps from the first tap of a pixel's window.
  [[gnu::noinline]] void fill_taps(index_t count, index_t* out) const {
    for (index_t c = 0; c < count; ++c)
      for (index_t i = 0; i < h.taps; ++i)
        for (index_t j = 0; j < w.taps; ++j)
          *out++ = c * c_stride + (h.shift + i * h.shift_step - h.low()) * h_stride +
                   (w.shift + j * w.shift_step - w.low()) * w_stride;
  }
};

template <class T> correlation<T> forward_correlation(const conv_shape& s, image<const T> x) {
  correlation<T> p{.in = x, .images = s.n, .channels = s.c};
  p.h = forward_axis(s.h, s.out_h(), s.kh, s.stride_h, s.pad_h, s.dil_h);
  p.w = forward_axis(s.w, s.out_w(), s.kw, s.stride_w, s.pad_w, s.dil_w);
  return p;
}

// Rows [first, first + rows) and columns [left, left + cols) of one image, channels last, zeros
// outside of it.
template <class T>
void copy_window(const correlation<T>& p, index_t n, index_t first, index_t rows, T* out) {
  const index_t left = p.w.low(), cols = p.w.span(p.w.out);
  const index_t begin = std::clamp<index_t>(-left, 0, cols);
  const index_t end = std::clamp<index_t>(p.w.in - left, begin, cols);
  for (index_t y = first; y < first + rows; ++y, out += p.h_stride) {
    if (y < 0 || y >= p.h.in) {
      fill_zeros(out, p.h_stride);
      continue;
    }
    fill_zeros(out, begin * p.w_stride);
    fill_zeros(out + end * p.w_stride, (cols - end) * p.w_stride);
    const T* from = p.in.at(n, y, left + begin);
    T* to = out + begin * p.w_stride;
    if (p.in.c_stride == 1 && p.in.w_stride == p.channels && p.w_stride == p.channels) {
      std::copy_n(from, (end - begin) * p.channels, to);
    } else if (p.in.c_stride == 1) {
      for (index_t x = begin; x < end; ++x, from += p.in.w_stride, to += p.w_stride)
        std::copy_n(from, p.channels, to);
    } else {
      for (index_t c = 0; c < p.channels; ++c)
        for (index_t x = 0; x < end - begin; ++x)
          to[x * p.w_stride + c] = from[c * p.in.c_stride + x * p.in.w_stride];
    }
  }
}

// first, first + step, ...: `count` of them.
inline void fill_steps(index_t first, index_t step, index_t count, index_t* out) {
  for (index_t i = 0; i < count; ++i, first += step) out[i] = first;
}

// Lays out the outputs of rows [first, last), counted through all images. pixels[i] is where the
// window of the i-th of them begins, from the returned pointer on.
template <class T>
[[gnu::noinline]] const T* open_window(const correlation<T>& p, index_t first, index_t last,
                                       index_t* pixels) {
  T* memory = nullptr;
  if (p.copied) {
    const index_t images = (last - 1) / p.h.out - first / p.h.out + 1;
    const index_t rows = (last - first) * p.h.step + images * p.h.span(1);
    memory = scratch<T, scratch_use::window>(rows * p.h_stride);
  }
  index_t base = 0;
  for (index_t row = first; row < last;) {
    const index_t n = row / p.h.out, a = row % p.h.out;
    const index_t rows = std::min(p.h.out - a, last - row), top = a * p.h.step + p.h.low();
    if (p.copied)
      copy_window(p, n, top, p.h.span(rows), memory + base);
    else
      base = n * p.in.n_stride + top * p.in.h_stride + p.w.low() * p.in.w_stride;
    for (index_t r = 0; r < rows; ++r, pixels += p.w.out)
      fill_steps(base + r * p.h.step * p.h_stride, p.w.step * p.w_stride, p.w.out, pixels);
    base += p.h.span(rows) * p.h_stride;
    row += rows;
  }
  return p.copied ? memory : p.in.data;
}

// Where the outputs of the same rows stand in the result.
template <class T>
void fill_places(const correlation<T>& p, image<T> out, index_t first, index_t last,
                 index_t* places) {
  for (index_t row = first; row < last; ++row, places += p.w.out) {
    const index_t n = row / p.h.out, y = p.h.place + row % p.h.out * p.h.place_step;
    fill_steps(out.at(n, y, p.w.place) - out.data, p.w.place_step * out.w_stride, p.w.out, places);
  }
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
