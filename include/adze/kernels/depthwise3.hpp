#pragma once
// SPDX-License-Identifier: MIT
// Depthwise convolutions of 3 x 3 with stride 1 or 2 on channels-last images as they stand: a block
// of neighbouring outputs shares its inputs in registers, nothing is copied, and padding is
// skipped. Lanes run along channels; sums run over taps in order. Weights are [tap][channel] here.
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/depthwise.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels::inline ADZE_ISA {

// The taps [first, last) of output `at` that lie inside of an axis of `size` inputs.
struct tap_range {
  index_t start, first, last;  // start: the input of tap 0
  tap_range(index_t at, index_t stride, index_t pad, index_t size)
      : start(at * stride - pad), first(std::clamp<index_t>(-start, 0, 3)),
        last(std::clamp<index_t>(size - start, first, 3)) {}
};

// One row of outputs: the valid rows of its windows, at column 0 of the image.
template <class T> struct depthwise_row {
  const T* in = nullptr;      // the first valid row
  const T* weight = nullptr;  // its taps
  index_t rows = 0, h_stride = 0, w_stride = 0, channels = 0;
};

// Where the columns that a block of outputs reads begin in the first valid row, and how far the
// next row is: zeros with step 0 for a column in the padding.
template <class T, int columns> struct depthwise_columns {
  registers<const T*, columns> at;
  registers<index_t, columns> step;

  depthwise_columns(const depthwise_row<T>& r, index_t first, index_t width, const T* zeros) {
    for (index_t q = 0; q < columns; ++q) {
      const bool inside = first + q >= 0 && first + q < width;
      at[q] = inside ? r.in + (first + q) * r.w_stride : zeros;
      step[q] = inside ? r.h_stride : 0;
    }
  }
};

// `count` neighbouring outputs.
template <class T, class A, int stride, int count, bool partial>
[[gnu::always_inline]] inline void depthwise3_tile(
    const depthwise_row<T>& r, const depthwise_columns<T, stride*(count - 1) + 3>& columns,
    index_t c, index_t width, T* out, index_t step) {
  using P = simd::pack<T, A>;
  registers<P, count> sum;
  simd::unroll<count>([&](auto i) __attribute__((always_inline)) { sum[i] = P(T(0)); });
  const T* weight = r.weight + c;
  for (index_t i = 0; i < r.rows; ++i, weight += 3 * r.channels) {
    registers<P, 3> w;
    simd::unroll<3>([&](auto j) __attribute__((always_inline)) {
      load_lanes<partial>(w[j], weight + j * r.channels, width);
      pin(w[j]);
    });
    simd::unroll<stride*(count - 1) + 3>([&](auto q) __attribute__((always_inline)) {
      P v;
      load_lanes<partial>(v, columns.at[q] + i * columns.step[q] + c, width);
      simd::unroll<3>([&](auto j) __attribute__((always_inline)) {
        constexpr int away = decltype(q)::value - decltype(j)::value;
        if constexpr (away >= 0 && away % stride == 0 && away / stride < count) {
          sum[away / stride] = fma(w[j], v, sum[away / stride]);
          pin(sum[away / stride]);
        }
      });
    });
  }
  simd::unroll<count>([&](auto i) __attribute__((always_inline)) {
    store_lanes<partial>(sum[i], out + i * step + c, width);
  });
}

template <class T, class A, int stride, int count>
[[gnu::noinline]] void depthwise3_block(const depthwise_row<T>& r, index_t first, index_t width,
                                        const T* zeros, T* out, index_t step) {
  constexpr index_t lanes = simd::pack<T, A>::size;
  const depthwise_columns<T, stride*(count - 1) + 3> columns(r, first, width, zeros);
  index_t c = 0;
  for (; c + lanes <= r.channels; c += lanes)
    depthwise3_tile<T, A, stride, count, false>(r, columns, c, lanes, out, step);
  if (c < r.channels)
    depthwise3_tile<T, A, stride, count, true>(r, columns, c, r.channels - c, out, step);
}

// Rows [first, last) of the outputs of all images. The last block of a row begins early enough to
// be whole: some outputs are computed, to the same bits, twice.
template <class T, class A, int stride, int count>
void depthwise3_rows(const conv_shape& s, image<const T> x, const T* by_tap, const T* zeros,
                     image<T> y, index_t first, index_t last) {
  const index_t out_h = s.out_h(), out_w = s.out_w();
  for (index_t row = first; row < last; ++row) {
    const index_t n = row / out_h;
    const tap_range down(row % out_h, stride, s.pad_h, s.h);
    const depthwise_row<T> r{x.at(n, down.start + down.first, 0),
                             by_tap + 3 * down.first * s.c,
                             down.last - down.first,
                             x.h_stride,
                             x.w_stride,
                             s.c};
    if (out_w < count) {
      for (index_t i = 0; i < out_w; ++i)
        depthwise3_block<T, A, stride, 1>(r, i * stride - s.pad_w, s.w, zeros,
                                          y.at(n, row % out_h, i), y.w_stride);
      continue;
    }
    for (index_t i = 0; i < out_w; i += count) {
      const index_t at = std::min(i, out_w - count);
      depthwise3_block<T, A, stride, count>(r, at * stride - s.pad_w, s.w, zeros,
                                            y.at(n, row % out_h, at), y.w_stride);
    }
  }
}

// Whether these kernels take a problem whose input is x.
template <class T> bool has_depthwise3(const conv_shape& s, image<const T> x) {
  return s.kh == 3 && s.kw == 3 && s.dil_h == 1 && s.dil_w == 1 && s.stride_h == s.stride_w &&
         s.stride_h <= 2 && x.c_stride == 1;
}

// y = x * weight [c, 1, 3, 3], whose taps are read backwards when `flipped`.
template <class T, class A>
void depthwise3_forward(const conv_shape& s, image<const T> x, const T* weight, bool flipped,
                        image<T> y, const epilogue<T>& finish) {
  T* const by_tap = scratch<T, scratch_use::panels>(10 * s.c);
  T* const zeros = by_tap + 9 * s.c;
  std::fill_n(zeros, s.c, T(0));
  for (index_t t = 0; t < 9; ++t)
    for (index_t c = 0; c < s.c; ++c) by_tap[t * s.c + c] = weight[c * 9 + (flipped ? 8 - t : t)];
  const index_t out_h = s.out_h(), out_w = s.out_w();
  split_work(s.n * out_h, s.work(), [&](index_t first, index_t last) {
    if (s.stride_h == 1 && out_w > 14) {
      depthwise3_rows<T, A, 1, 6>(s, x, by_tap, zeros, y, first, last);
    } else if (s.stride_h == 1) {
      depthwise3_rows<T, A, 1, 4>(s, x, by_tap, zeros, y, first, last);
    } else {
      depthwise3_rows<T, A, 2, 4>(s, x, by_tap, zeros, y, first, last);
    }
    for (index_t i = first * out_w; i < last * out_w && !finish.empty(); ++i)
      apply<T, A>(finish, y.at(i / out_w / out_h, i / out_w % out_h, i % out_w), 0, 0, s.c);
  });
}

// sums[tap][c] += the products of four neighbouring outputs' gradients g with their windows, for
// the valid rows of taps. Outputs past the end of a row read zeros.
template <class T, class A, int stride, bool partial>
[[gnu::always_inline]] inline void depthwise3_weight_tile(
    const depthwise_row<T>& r, const depthwise_columns<T, stride * 3 + 3>& columns,
    const T* const* g, index_t c, index_t width, T* sums) {
  using P = simd::pack<T, A>;
  registers<P, 4> v;
  simd::unroll<4>([&](auto i) __attribute__((always_inline)) {
    load_lanes<partial>(v[i], g[i] + c, width);
    pin(v[i]);
  });
  sums += c;
  for (index_t i = 0; i < r.rows; ++i, sums += 3 * r.channels) {
    registers<P, 3> sum;
    simd::unroll<3>([&](auto j) __attribute__((always_inline)) {
      load_lanes<partial>(sum[j], sums + j * r.channels, width);
      pin(sum[j]);
    });
    simd::unroll<stride * 3 + 3>([&](auto q) __attribute__((always_inline)) {
      P x;
      load_lanes<partial>(x, columns.at[q] + i * columns.step[q] + c, width);
      simd::unroll<3>([&](auto j) __attribute__((always_inline)) {
        constexpr int away = decltype(q)::value - decltype(j)::value;
        if constexpr (away >= 0 && away % stride == 0 && away / stride < 4) {
          sum[j] = fma(v[away / stride], x, sum[j]);
          pin(sum[j]);
        }
      });
    });
    simd::unroll<3>([&](auto j) __attribute__((always_inline)) {
      store_lanes<partial>(sum[j], sums + j * r.channels, width);
    });
  }
}

template <class T, class A, int stride>
void depthwise3_weight_rows(const conv_shape& s, image<const T> x, image<const T> gy,
                            const T* zeros, index_t first, index_t last, T* sums) {
  constexpr index_t lanes = simd::pack<T, A>::size;
  const index_t out_h = s.out_h(), out_w = s.out_w();
  for (index_t row = first; row < last; ++row) {
    const index_t n = row / out_h;
    const tap_range down(row % out_h, stride, s.pad_h, s.h);
    const depthwise_row<T> r{x.at(n, down.start + down.first, 0),
                             nullptr,
                             down.last - down.first,
                             x.h_stride,
                             x.w_stride,
                             s.c};
    T* const to = sums + 3 * down.first * s.c;
    for (index_t i = 0; i < out_w; i += 4) {
      const depthwise_columns<T, stride * 3 + 3> columns(r, i * stride - s.pad_w, s.w, zeros);
      const T* g[4];
      for (index_t k = 0; k < 4; ++k) g[k] = i + k < out_w ? gy.at(n, row % out_h, i + k) : zeros;
      index_t c = 0;
      for (; c + lanes <= s.c; c += lanes)
        depthwise3_weight_tile<T, A, stride, false>(r, columns, g, c, lanes, to);
      if (c < s.c) depthwise3_weight_tile<T, A, stride, true>(r, columns, g, c, s.c - c, to);
    }
  }
}

// gw [c, 1, 3, 3]. Rows of outputs are summed in at most 16 parts, which are added in order.
template <class T, class A>
void depthwise3_weight(const conv_shape& s, image<const T> x, image<const T> gy, T* gw) {
  const index_t rows = s.n * s.out_h(), wanted = std::clamp<index_t>(s.work() >> 18, 1, 16);
  const index_t part = std::max<index_t>((rows + wanted - 1) / wanted, 1);
  const index_t parts = (rows + part - 1) / part, size = 9 * s.c;
  T* const sums = scratch<T, scratch_use::partial>((parts + 1) * size + s.c);
  std::fill_n(sums, (parts + 1) * size + s.c, T(0));
  const T* const zeros = sums + (parts + 1) * size;
  split_chunks(rows, part, s.work(), [&](index_t first, index_t last) {
    T* sum = sums + first / part * size;
    if (s.stride_h == 1) return depthwise3_weight_rows<T, A, 1>(s, x, gy, zeros, first, last, sum);
    depthwise3_weight_rows<T, A, 2>(s, x, gy, zeros, first, last, sum);
  });
  for (index_t i = 1; i < parts; ++i)
    for (index_t k = 0; k < size; ++k) sums[k] += sums[i * size + k];
  for (index_t c = 0; c < s.c; ++c)
    for (index_t t = 0; t < 9; ++t) gw[c * 9 + t] = sums[t * s.c + c];
}

}  // namespace adze::kernels::inline ADZE_ISA
