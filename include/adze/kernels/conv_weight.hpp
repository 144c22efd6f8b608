#pragma once
// SPDX-License-Identifier: MIT
// The gradient of a convolution's weight: windows, transposed, times the gradient of the outputs,
// with pixels as the depth. Rows of outputs are summed in parts whose number depends on sizes
// alone; the parts are added in order, so threads never change a bit.
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/conv_stem.hpp>
#include <adze/kernels/depthwise.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Pixels of output rows [first, last) as rows `step` apart, channels adjacent: the gradient itself
// where it is dense, otherwise a copy.
template <class T>
const T* gradient_rows(const correlation<T>& p, image<const T> g, index_t channels, index_t first,
                       index_t last, index_t& step) {
  if (g.c_stride == 1 && g.h_stride == p.w.out * g.w_stride && g.n_stride == p.h.out * g.h_stride) {
    step = g.w_stride;
    return g.data + first * g.h_stride;
  }
  step = channels;
  T* const copy = scratch<T, scratch_use::gradient>((last - first) * p.w.out * channels);
  T* to = copy;
  for (index_t row = first; row < last; ++row)
    for (index_t x = 0; x < p.w.out; ++x)
      for (index_t c = 0; c < channels; ++c)
        *to++ = *(g.at(row / p.h.out, row % p.h.out, x) + c * g.c_stride);
  return copy;
}

// sums(group, k, o) (+)= sum over pixels of window(pixel, k) * gradient(pixel, o).
template <class T, class A>
void add_weight_gradient(const correlation<T>& p, const T* window, const index_t* starts,
                         const T* gradient, index_t step, index_t pixels, const index_t* taps,
                         index_t groups, index_t outs, bool accumulate, T* sums) {
  using shape = tile_shape<T, A>;
  const index_t in_group = p.channels / groups, out_group = outs / groups;
  const index_t deep = balanced_block(pixels, shape::depth_block, 1);
  const index_t wide = balanced_block(out_group, shape::column_block, shape::panel);
  strips<T> s;
  s.rows = in_group * p.h.taps * p.w.taps;
  s.a_rows = taps;
  const bool packed = s.rows > 64;  // few strips read what is packed: a copy costs more
  T* const panels = packed ? scratch<T, scratch_use::panels>(deep * wide) : nullptr;
  s.b_step = packed ? shape::panel : step;
  s.c_row_step = out_group;
  for (index_t g = 0; g < groups; ++g) {
    s.a = window + g * in_group * p.c_stride;
    for (index_t j = 0; j < out_group; j += wide) {
      s.cols = std::min(wide, out_group - j);
      s.c = sums + g * s.rows * out_group + j;
      for (index_t k = 0; k < pixels; k += deep) {
        s.depth = std::min(deep, pixels - k);
        s.accumulate = accumulate || k > 0;
        s.a_cols = starts + k;
        s.b_panel = packed ? shape::panel * s.depth : shape::panel;
        const T* const from = gradient + k * step + g * out_group + j;
        if (packed) pack_panels<T, A>({from, s.depth, s.cols, step, 1}, panels);
        s.b = packed ? panels : from;
        split_work(strip_count<T, A>(s.rows), s.rows * s.cols * s.depth,
                   [&](index_t i0, index_t i1) { run_strips<T, A>(s, i0, i1); });
      }
    }
  }
}

// Whether windows are copied tap by tap: whole vectors of channels, enough outputs to be worth it,
// and pixels that are not next to each other (windows of those share lines as they stand).
template <class T, class A>
bool copies_taps(const correlation<T>& p, index_t groups, index_t outs) {
  return plain_tiles<T, A>::exist && p.c_stride == 1 && p.w.step > 1 && outs / groups >= 32 &&
         p.channels / groups % simd::pack<T, A>::size == 0;
}

// add_weight_gradient for the channels of a tap, which are copied together, pixel by pixel, for
// tiles that read them front to back. Rows of `sums` have all channels of a tap side by side.
template <class T, class A>
void add_tap_gradients(const correlation<T>& p, const T* window, const index_t* starts,
                       const T* gradient, index_t step, index_t pixels, const index_t* taps,
                       index_t groups, index_t outs, bool accumulate, T* sums) {
  using shape = tile_shape<T, A>;
  using P = simd::pack<T, A>;
  const index_t in_group = p.channels / groups, out_group = outs / groups;
  const index_t area = p.h.taps * p.w.taps;
  const index_t deep = balanced_block(pixels, shape::depth_block, 1);
  const index_t wide = balanced_block(out_group, shape::column_block, shape::panel);
  const index_t units = std::max<index_t>(16 / area, 1);  // of each tap, enough for many threads
  const index_t most = std::clamp<index_t>(in_group / units, 32, 96);
  const index_t block = balanced_block(in_group, most, P::size);
  const index_t blocks = (in_group + block - 1) / block;
  T* const panels = scratch<T, scratch_use::panels>(deep * wide);
  strips<T> s{.a_row_step = 1, .a_col_step = block, .b = panels, .b_step = shape::panel};
  s.c_row_step = out_group;
  const auto product = [&](index_t g, index_t j, index_t k) {
    s.b_panel = shape::panel * s.depth;
    pack_panels<T, A>({gradient + k * step + g * out_group + j, s.depth, s.cols, step, 1}, panels);
    split_work(area * blocks, in_group * area * s.cols * s.depth, [&](index_t first, index_t last) {
      T* const copy = scratch<T, scratch_use::left>(deep * block);
      strips<T> part = s;
      part.a = copy;
      for (index_t u = first; u < last; ++u) {
        const index_t tap = u / blocks, c = u % blocks * block;
        const T* const from = window + g * in_group + taps[tap] + c;
        part.rows = std::min(block, in_group - c);
        for (index_t i = 0; i < s.depth; ++i)
          for (index_t q = 0; q < part.rows; q += P::size)
            P::load(from + starts[k + i] + q).store(copy + i * block + q);
        part.c = s.c + (tap * in_group + c) * out_group;
        run_strips<T, A>(part, 0, strip_count<T, A>(part.rows));
      }
    });
  };
  for (index_t g = 0; g < groups; ++g)
    for (index_t j = 0; j < out_group; j += wide)
      for (index_t k = 0; k < pixels; k += deep) {
        s.cols = std::min(wide, out_group - j), s.depth = std::min(deep, pixels - k);
        s.accumulate = accumulate || k > 0;
        s.c = sums + g * in_group * area * out_group + j;
        product(g, j, k);
      }
}

// The transpose, gw(o, group k) (+)= the same sums, right into the weight's layout: for few pixels
// and many outputs packing windows costs less than turning all sums around afterwards.
template <class T, class A>
void add_turned_gradient(const correlation<T>& p, const T* window, const index_t* starts,
                         const T* gradient, index_t step, index_t pixels, const index_t* taps,
                         index_t groups, index_t outs, bool accumulate, T* gw) {
  using shape = tile_shape<T, A>;
  const index_t in_group = p.channels / groups, out_group = outs / groups;
  const index_t columns = in_group * p.h.taps * p.w.taps;
  const index_t deep = balanced_block(pixels, shape::depth_block, 1);
  const index_t wide = balanced_block(columns, shape::column_block, shape::panel);
  T* const panels = scratch<T, scratch_use::panels>(deep * wide);
  strips<T> s;
  s.rows = out_group;
  s.a_row_step = 1, s.a_col_step = step;
  s.b = panels;
  s.b_step = shape::panel;
  s.c_row_step = columns;
  for (index_t g = 0; g < groups; ++g) {
    const T* from = window + g * in_group * p.c_stride;
    for (index_t j = 0; j < columns; j += wide) {
      s.cols = std::min(wide, columns - j);
      s.c = gw + g * out_group * columns + j;
      for (index_t k = 0; k < pixels; k += deep) {
        s.depth = std::min(deep, pixels - k);
        s.accumulate = accumulate || k > 0;
        s.a = gradient + k * step + g * out_group;
        s.b_panel = shape::panel * s.depth;
        T* to = panels;
        for (index_t q = 0; q < s.cols; q += shape::panel) {
          const index_t* tap = taps + j + q;
          const index_t n = std::min(shape::panel, s.cols - q);
          for (index_t i = k; i < k + s.depth; ++i, to += shape::panel)
            for (index_t l = 0; l < shape::panel; ++l)
              to[l] = l < n ? from[starts[i] + tap[l]] : T(0);
        }
        split_work(strip_count<T, A>(s.rows), s.rows * s.cols * s.depth,
                   [&](index_t i0, index_t i1) { run_strips<T, A>(s, i0, i1); });
      }
    }
  }
}

// gw[o][k] = sum over parts of sums[part][group][row][o]; row k, or, where the k are channels times
// `taps` and rows taps times channels, the row of that tap and channel.
template <class T>
void add_parts(T* sums, index_t parts, index_t groups, index_t depth, index_t out_group,
               index_t taps, T* gw) {
  const index_t size = groups * depth * out_group, channels = depth / taps;
  for (index_t i = 1; i < parts; ++i)
    for (index_t k = 0; k < size; ++k) sums[k] += sums[i * size + k];
  constexpr index_t block = 16;  // rows read together: a line of gw
  for (index_t g = 0; g < groups; ++g, sums += depth * out_group, gw += depth * out_group)
    for (index_t k0 = 0; k0 < depth; k0 += block) {
      const index_t n = std::min(block, depth - k0);
      registers<const T*, int(block)> rows;
      for (index_t k = 0; k < n; ++k)
        rows[k] = sums + ((k0 + k) % taps * channels + (k0 + k) / taps) * out_group;
      for (index_t o = 0; o < out_group; ++o)
        for (index_t k = 0; k < n; ++k) gw[o * depth + k0 + k] = rows[k][o];
    }
}

template <class T, class A, bool depthwise>
void weight_gradient(correlation<T> p, image<const T> gy, index_t groups, index_t outs,
                     index_t work, T* gw) {
  const index_t out_group = outs / groups, area = p.h.taps * p.w.taps;
  const index_t depth = depthwise ? area : p.channels / groups * area, size = depth * outs;
  if (size == 0) return;
  if (p.rows() == 0 || p.w.out == 0) {
    fill_zeros(gw, size);
    return;
  }
  p.choose_window(outs, work, depthwise ? 0 : 4, tile_shape<T, A>::depth_block);
  // At most 8 MiB of sums, and enough pixels in a part to be worth a set of them.
  const index_t most =
      std::min((index_t(8) << 20) / (size * index_t(sizeof(T))), p.rows() * p.w.out / 1024);
  const index_t wanted = std::clamp<index_t>(std::min(most, work / (4 * parallel_work)), 1, 16);
  const index_t part_rows = (p.rows() + wanted - 1) / wanted;
  const index_t parts = (p.rows() + part_rows - 1) / part_rows;
  const bool turned = !depthwise && parts == 1 && p.rows() * p.w.out < 2 * out_group;
  const bool by_tap = !depthwise && !turned && copies_taps<T, A>(p, groups, outs);
  bool stem = false;
  if constexpr (has_stem_tiles<T, A> && !depthwise)
    stem = !turned && has_stem_rows<T, A>(p, groups, outs);
  T* sums = turned ? gw : scratch<T, scratch_use::partial>(parts * size);
  index_t* taps = scratch<index_t, scratch_use::taps>(depth);
  p.fill_taps(depth / area, taps);
  split_chunks(p.rows(), part_rows, work, [&](index_t begin, index_t end) {
    T* sum = sums + begin / part_rows * size;
    if constexpr (depthwise) fill_zeros(sum, size);
    for (index_t first = begin; first < end; first += p.unit_rows) {
      const index_t last = std::min(first + p.unit_rows, end), pixels = (last - first) * p.w.out;
      index_t* starts = scratch<index_t, scratch_use::pixels>(2 * pixels);
      const T* window = open_window(p, first, last, starts);
      index_t step = 0;
      const T* gradient = gradient_rows(p, gy, outs, first, last, step);
      if constexpr (depthwise) {
        for (index_t i = 0; i < pixels; ++i) starts[pixels + i] = i * step;
        depthwise_weights<T, A>({window, starts, taps, starts + pixels, pixels, area, outs},
                                gradient, sum);
      } else if (stem) {
        if constexpr (has_stem_tiles<T, A>)
          stem_weights<T, A>(p, window, starts, gradient, step, pixels, taps, outs, first > begin,
                             sum);
      } else if (turned) {
        add_turned_gradient<T, A>(p, window, starts, gradient, step, pixels, taps, groups, outs,
                                  first > begin, sum);
      } else if (by_tap) {
        add_tap_gradients<T, A>(p, window, starts, gradient, step, pixels, taps, groups, outs,
                                first > begin, sum);
      } else {
        add_weight_gradient<T, A>(p, window, starts, gradient, step, pixels, taps, groups, outs,
                                  first > begin, sum);
      }
    }
  });
  if (!turned) add_parts(sums, parts, groups, depth, out_group, by_tap ? area : 1, gw);
}

}  // namespace adze::kernels::inline ADZE_ISA
