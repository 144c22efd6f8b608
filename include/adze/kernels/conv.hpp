#pragma once
// SPDX-License-Identifier: MIT
// Convolutions of float and double: forward, and the gradients of input and weight. No im2col
// matrix: tiles read windows through offset tables. The input's gradient is a correlation for each
// phase of the stride, so a transposed convolution is `conv_backward_data`. Double goes by window
// matrices (conv_windows.hpp). Results are channels-last. Splits depend on sizes alone: the same
// bits for any thread count.
#include <adze/kernels/conv_correlate.hpp>
#include <adze/kernels/conv_packed.hpp>
#include <adze/kernels/conv_weight.hpp>
#include <adze/kernels/conv_windows.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Convolution y = x * weight, then bias[o], residual and activation. x [n, c, h, w] with any
// strides, weight [o, c / groups, kh, kw] dense, y [n, o, out_h, out_w] with c_stride 1. `packed`:
// the weight made ready for these sizes. float and double.
template <class T, class A = simd::native>
void conv_forward(const conv_shape& s, std::type_identity_t<image<const T>> x, const T* weight,
                  std::type_identity_t<image<T>> y,
                  const std::type_identity_t<epilogue<T>>& finish = {},
                  const packed_filter<T, A>* packed = nullptr) {
  if constexpr (std::is_same_v<T, double>) {
    window_forward<T, A>(s, x, weight, y, finish);
  } else {
    using tiles = simd::tile_tag<A>;
    switch (forward_method<T, A>(s, x, y)) {
    case conv_method::pointwise: {
      const matrix<const T> rows = pixel_rows(s, x, s.c);
      const gemm_options<T> o{
          .bias = finish.bias, .activate = finish.activate, .residual = finish.residual};
      if (packed && packed->pixels())
        return gemm<T, A>(rows, *packed->pixels(), pixel_rows(s, y, s.o), o);
      return gemm<T, A>(rows, {weight, s.c, s.o, 1, s.c}, pixel_rows(s, y, s.o), o);
    }
    case conv_method::winograd:
      return winograd(forward_winograd<T, tiles>(s), s.n, x, {weight, 9, s.c * 9, false}, y, finish,
                      packed ? packed->planes() : nullptr);
    case conv_method::depthwise3:
      return depthwise3_forward<T, tiles>(s, x, weight, false, y, finish);
    default:
      break;
    }
    const auto p = forward_correlation<T>(s, x);
    if (is_depthwise(s)) return correlate_depthwise<T, A>(p, y, weight, s.kh, s.kw, finish);
    const index_t depth = s.c / s.groups * s.kh * s.kw;
    const conv_weights<T> w{weight, s.o / s.groups * depth, depth, depth};
    correlate<T, tiles>(p, y, s.groups, s.o, w, finish);
  }
}

// The input's gradient as one correlation for each phase of the stride, which has some of the taps.
// `turned`: the weight as [output][panel of inputs][tap][lane].
template <class T, class A>
void correlate_phases(const conv_shape& s, image<const T> gy, const T* weight, const T* turned,
                      index_t in_group, image<T> gx, const epilogue<T>& finish) {
  constexpr index_t panel = tile_shape<T, simd::tile_tag<A>>::panel;
  const index_t area = s.kh * s.kw, out_group = s.o / s.groups;
  const index_t width = panel_count<T, simd::tile_tag<A>>(s.c) * panel;
  correlation<T> p{.in = gy, .images = s.n, .channels = s.o};
  for (index_t y = 0; y < std::min(s.stride_h, s.h); ++y) {
    p.h = backward_axis(s.h, s.out_h(), s.kh, s.stride_h, s.pad_h, s.dil_h, y);
    for (index_t x = 0; x < std::min(s.stride_w, s.w); ++x) {
      p.w = backward_axis(s.w, s.out_w(), s.kw, s.stride_w, s.pad_w, s.dil_w, x);
      if (is_depthwise(s)) {
        correlate_depthwise<T, A>(p, gx, weight, s.kh, s.kw, finish);
        continue;
      }
      conv_weights<T> w{weight, out_group * in_group * area, area, area, in_group * area};
      if (turned || p.h.taps * p.w.taps != area) {
        index_t* rows = scratch<index_t, scratch_use::gradient>(out_group * p.h.taps * p.w.taps);
        w.table = rows;
        if (turned) w.data = turned, w.panel_step = area * panel;
        const index_t out_step = turned ? width : in_group, tap_step = turned ? panel : 1;
        for (index_t o = 0; o < out_group; ++o)
          for (index_t i = 0; i < p.h.taps; ++i)
            for (index_t j = 0; j < p.w.taps; ++j)
              *rows++ =
                  o * out_step * area +
                  ((p.h.tap + i * p.h.tap_step) * s.kw + p.w.tap + j * p.w.tap_step) * tap_step;
      }
      correlate<T, simd::tile_tag<A>>(p, gx, s.groups, s.c, w, finish);
    }
  }
}

// The same for a block of channels after the other, whose weights all phases read from the L2
// cache, turned around once for all of them. Threads take whole blocks where there is one for each,
// so that none reads what another one has turned.
template <class T, class A>
void correlate_backward(const conv_shape& s, image<const T> gy, const T* weight, image<T> gx,
                        const epilogue<T>& finish) {
  using tiles = simd::tile_tag<A>;
  const index_t area = s.kh * s.kw, in_group = s.c / s.groups;
  const index_t row = std::max<index_t>(area * s.o * index_t(sizeof(T)), 1);
  const index_t fit = std::max<index_t>((index_t(3) << 18) / row, 64);
  if (s.groups > 1 || s.stride_h * s.stride_w == 1)
    return correlate_phases<T, A>(s, gy, weight, nullptr, in_group, gx, finish);
  const index_t block = balanced_block(std::max<index_t>(s.c, 1), fit, 32);
  const index_t blocks = (s.c + block - 1) / block;
  split_chunks(blocks, 1, blocks >= threads() ? s.work() : 0, [&](index_t number, index_t) {
    const index_t first = number * block;
    conv_shape part = s;
    part.c = std::min(block, s.c - first);
    image<T> out = gx;
    out.data += first;
    epilogue<T> end = finish;
    if (end.bias) end.bias += first;
    const T* const from = weight + first * area;
    const index_t size = panel_count<T, tiles>(part.c) * tile_shape<T, tiles>::panel * area;
    T* const turned = area > 1 ? scratch<T, scratch_use::partial>(s.o * size) : nullptr;
    split_work(turned ? s.o : 0, s.o * size * 4, [&](index_t begin, index_t last) {
      for (index_t o = begin; o < last; ++o) {
        const T* const rows = from + o * in_group * area;
        for (index_t i = 0; i < part.c * area; i += 16)  // short runs far apart
          __builtin_prefetch(rows + 2 * in_group * area + i);
        pack_panels<T, tiles>({rows, area, part.c, 1, area}, turned + o * size);
      }
    });
    correlate_phases<T, A>(part, gy, from, turned, in_group, out, end);
  });
}

// The gradient gx [n, c, h, w] of the input, c_stride 1, from gy [n, o, out_h, out_w] with any
// strides. Also the transposed convolution of gy, whose output is gx and whose bias has c elements;
// output_padding is part of s.h and s.w.
template <class T, class A = simd::native>
void conv_backward_data(const conv_shape& s, std::type_identity_t<image<const T>> gy,
                        const T* weight, std::type_identity_t<image<T>> gx,
                        const std::type_identity_t<epilogue<T>>& finish = {}) {
  if constexpr (std::is_same_v<T, double>) {
    window_backward_data<T, A>(s, gy, weight, gx, finish);
  } else {
    using tiles = simd::tile_tag<A>;
    switch (data_method<T, A>(s, gx, gy)) {
    case conv_method::pointwise:
      return gemm<T, A>(pixel_rows(s, gy, s.o), {weight, s.o, s.c, s.c, 1}, pixel_rows(s, gx, s.c),
                        {.bias = finish.bias, .activate = finish.activate});
    case conv_method::winograd:
      return winograd(data_winograd<T, tiles>(s), s.n, gy, {weight, s.c * 9, 9, true}, gx, finish);
    case conv_method::depthwise3:
      return depthwise3_data<T, tiles>(s, gy, weight, gx, finish);
    case conv_method::scatter:
      return scatter_gradient<T, tiles>(s, gy, weight, gx, finish);
    case conv_method::few_pixels:
      return few_pixels_gradient<T, A>(s, gy, weight, gx, finish);
    default:
      correlate_backward<T, A>(s, gy, weight, gx, finish);
    }
  }
}

// The gradient gw [o, c / groups, kh, kw], dense, of the weight: for each tap and channel the sum
// over pixels of window times gy. x and gy with any strides.
template <class T, class A = simd::native>
void conv_backward_weight(const conv_shape& s, std::type_identity_t<image<const T>> x,
                          std::type_identity_t<image<const T>> gy, T* gw) {
  if constexpr (std::is_same_v<T, double>) {
    window_backward_weight<T, A>(s, x, gy, gw);
  } else {
    const conv_method method = weight_method<T, A>(s, x, gy);
    if (method == conv_method::pointwise) return pointwise_weight<T, A>(s, x, gy, gw);
    if (method == conv_method::depthwise3)
      return depthwise3_weight<T, simd::tile_tag<A>>(s, x, gy, gw);
    if (method == conv_method::winograd)
      return winograd_weight_gradient(gradient_winograd<T, simd::tile_tag<A>>(s), s.n, x, gy, gw);
    const auto p = forward_correlation<T>(s, x);
    if (is_depthwise(s)) return weight_gradient<T, A, true>(p, gy, 1, s.o, s.work(), gw);
    weight_gradient<T, simd::tile_tag<A>, false>(p, gy, s.groups, s.o, s.work(), gw);
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
