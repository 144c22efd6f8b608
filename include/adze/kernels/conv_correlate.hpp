#pragma once
// SPDX-License-Identifier: MIT
// One correlation of images with weights, in units of a few rows of outputs that fit the L2 cache:
// strips of register tiles that read windows through offset tables, or direct sums per channel.
// Packed weights are shared by all units. Its users are the functions of conv.hpp.
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/conv_stem.hpp>
#include <adze/kernels/depthwise.hpp>
#include <adze/kernels/gemm.hpp>

namespace adze::kernels::inline ADZE_ISA {

// The weights of one correlation as depth x outputs: element (k, o) of group g stands at
// data[g * group_step + row(k) + o * out_step]. row(k) is from the table, or, in runs of `run`
// elements that are `step` apart, k / run * step + k % run; one run has all of them. Or, with a
// table, the outputs are neighbours in panels that are `panel_step` apart.
template <class T> struct conv_weights {
  const T* data = nullptr;
  index_t group_step = 0, out_step = 0, run = 1, step = 0;
  const index_t* table = nullptr;
  index_t panel_step = 0;
};

template <class T, class A>
void pack_weights(const conv_weights<T>& w, index_t group, index_t k, index_t depth, index_t o,
                  index_t outs, T* out) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  if (w.panel_step > 0) {
    using P = simd::pack<T, A>;
    const T* from = w.data + o / panel * w.panel_step;
    for (index_t j = 0; j < outs; j += panel, from += w.panel_step)
      for (index_t i = k; i < k + depth; ++i, out += panel)
        for (index_t v = 0; v < panel; v += P::size) P::load(from + w.table[i] + v).store(out + v);
    return;
  }
  const T* from = w.data + group * w.group_step + o * w.out_step;
  if (w.table) {
    for (index_t j = 0; j < outs; j += panel, from += panel * w.out_step)
      for (index_t i = k; i < k + depth; ++i, out += panel) {
        const T* const row = from + w.table[i];
        const index_t width = std::min(panel, outs - j);
        if (width < panel) fill_zeros(out, panel);
        if (width == panel) {
#pragma GCC unroll 8
          for (index_t q = 0; q < panel; ++q) out[q] = row[q * w.out_step];
        } else {
          for (index_t q = 0; q < width; ++q) out[q] = row[q * w.out_step];
        }
      }
    return;
  }
  if (w.run == 1)
    return pack_panels<T, A>({from + k * w.step, depth, outs, w.step, w.out_step}, out);
  if (k / w.run == (k + depth - 1) / w.run) {
    from += k / w.run * w.step + k % w.run;
    return pack_panels<T, A>({from, depth, outs, 1, w.out_step}, out);
  }
  for (index_t j = 0; j < outs; j += panel, from += panel * w.out_step)
    for (index_t i = k, n = 0; i < k + depth; i += n, out += n * panel) {
      n = std::min(w.run - i % w.run, k + depth - i);
      pack_panels<T, A>(
          {from + i / w.run * w.step + i % w.run, n, std::min(panel, outs - j), 1, w.out_step},
          out);
    }
}

// What a correlation reads nothing for: zeros, then the epilogue.
template <class T, class A>
void correlate_nothing(const correlation<T>& p, image<T> out, index_t outs,
                       const epilogue<T>& finish) {
  index_t* places = scratch<index_t, scratch_use::pixels>(p.w.out);
  for (index_t row = 0; row < p.rows(); ++row) {
    fill_places(p, out, row, row + 1, places);
    for (index_t i = 0; i < p.w.out; ++i) {
      fill_zeros(out.data + places[i], outs);
      if (!finish.empty()) apply<T, A>(finish, out.data + places[i], 0, 0, outs);
    }
  }
}

// out(pixel, o) = sum over taps and channels of the pixel's window times weights, for each group.
template <class T, class A> struct correlate_blocks {
  using shape = tile_shape<T, A>;
  const correlation<T>& p;
  const conv_weights<T>& weights;
  image<T> out;
  index_t groups, outs, depth, most_columns;
  const index_t* taps;
  const epilogue<T>& finish;

  index_t in_group = p.channels / groups, out_group = outs / groups;
  index_t deep = balanced_block(depth, shape::depth_block, 1);
  index_t wide = balanced_block(out_group, most_columns, shape::panel);
  index_t depth_blocks = (depth + deep - 1) / deep, blocks = (out_group + wide - 1) / wide;

  index_t count() const { return groups * blocks * depth_blocks; }
  // Block i of the weights, which are numbered with the depth running fastest.
  void pack(index_t i, T* to) const {
    const index_t k = i % depth_blocks * deep, j = i / depth_blocks % blocks * wide;
    pack_weights<T, A>(weights, i / depth_blocks / blocks, k, std::min(deep, depth - k), j,
                       std::min(wide, out_group - j), to);
  }
  // Its products with the windows of `pixels` pixels.
  void run(index_t i, const T* panels, const T* window, const index_t* starts,
           const index_t* places, index_t pixels) const {
    const index_t k = i % depth_blocks * deep, j = i / depth_blocks % blocks * wide;
    const index_t first = i / depth_blocks / blocks * out_group + j;
    strips<T> s;
    s.rows = pixels;
    s.a_rows = starts;
    s.c_rows = places;
    s.b_step = shape::panel;
    s.cols = std::min(wide, out_group - j);
    s.depth = std::min(deep, depth - k);
    s.a = window + i / depth_blocks / blocks * in_group * p.c_stride;
    s.a_cols = taps + k;
    s.b = panels;
    s.b_panel = shape::panel * s.depth;
    s.c = out.data + first;
    s.accumulate = k > 0;
    s.finish = k + s.depth == depth && !finish.empty() ? &finish : nullptr;
    s.first_column = first;
    run_strips<T, A>(s, 0, strip_count<T, A>(pixels));
  }
};

// Units of rows share the packed weights. Where one unit has all pixels, each block of weights is
// multiplied as soon as it is packed, in cache, and threads share the columns.
template <class T, class A>
void correlate(correlation<T> p, image<T> out, index_t groups, index_t outs,
               const conv_weights<T>& weights, const epilogue<T>& finish) {
  using shape = tile_shape<T, A>;
  const index_t in_group = p.channels / groups, depth = in_group * p.h.taps * p.w.taps;
  if (p.rows() == 0 || p.w.out == 0 || outs == 0) return;
  if (depth == 0) return correlate_nothing<T, A>(p, out, outs, finish);
  const index_t work = p.rows() * p.w.out * outs * depth;
  p.choose_window(outs, work, 4, 96);
  index_t* taps = scratch<index_t, scratch_use::taps>(depth);
  p.fill_taps(in_group, taps);
  const bool one = p.rows() <= p.unit_rows, shared = threads() > 1 && work >= 2 * parallel_work;
  const index_t columns = !one ? shape::column_block : shared ? 32 : 128;
  const correlate_blocks<T, A> b{p, weights, out, groups, outs, depth, columns, taps, finish};
  const index_t block = b.deep * b.wide;
  const auto each_unit = [&](index_t first, index_t last, auto f) {
    const index_t pixels = (last - first) * p.w.out;
    index_t* starts = scratch<index_t, scratch_use::pixels>(2 * pixels);
    const T* window = open_window(p, first, last, starts);
    fill_places(p, out, first, last, starts + pixels);
    f(window, starts, starts + pixels, pixels);
  };
  if constexpr (has_stem_tiles<T, A>) {
    if (has_stem_rows<T, A>(p, groups, outs) && has_stem_places(p, out, outs)) {
      T* const by_tap = scratch<T, scratch_use::panels>(depth * shape::panel);
      pack_weights<T, A>(weights, 0, 0, depth, 0, outs, by_tap);
      return split_chunks(p.rows(), p.unit_rows, work, [&](index_t first, index_t last) {
        each_unit(
            first, last,
            [&](const T* window, const index_t* starts, const index_t* places, index_t pixels) {
              stem_rows<T, A>(p, window, starts, places, pixels, taps, by_tap, outs, out.data,
                              finish);
            });
      });
    }
  }
  if (one) {
    return each_unit(
        0, p.rows(),
        [&](const T* window, const index_t* starts, const index_t* places, index_t pixels) {
          split_work(groups * b.blocks, work, [&](index_t first, index_t last) {
            T* panels = scratch<T, scratch_use::panels>(block);
            for (index_t i = first * b.depth_blocks; i < last * b.depth_blocks; ++i) {
              b.pack(i, panels);
              b.run(i, panels, window, starts, places, pixels);
            }
          });
        });
  }
  T* panels = scratch<T, scratch_use::panels>(b.count() * block);
  split_work(b.count(), depth * outs * 8, [&](index_t first, index_t last) {
    for (index_t i = first; i < last; ++i) b.pack(i, panels + i * block);
  });
  split_chunks(p.rows(), p.unit_rows, work, [&](index_t first, index_t last) {
    each_unit(first, last,
              [&](const T* window, const index_t* starts, const index_t* places, index_t pixels) {
                for (index_t i = 0; i < b.count(); ++i)
                  b.run(i, panels + i * block, window, starts, places, pixels);
              });
  });
}

// The same for groups of one channel and one output.
template <class T, class A>
void correlate_depthwise(correlation<T> p, image<T> out, const T* weight, index_t kh, index_t kw,
                         const epilogue<T>& finish) {
  const index_t channels = p.channels, count = p.h.taps * p.w.taps;
  if (p.rows() == 0 || p.w.out == 0 || channels == 0) return;
  if (count == 0) return correlate_nothing<T, A>(p, out, channels, finish);
  const index_t work = p.rows() * p.w.out * channels * count;
  p.choose_window(channels, work, 0);
  T* by_tap = scratch<T, scratch_use::panels>(count * channels);
  index_t* taps = scratch<index_t, scratch_use::taps>(count);
  p.fill_taps(1, taps);
  for (index_t t = 0; t < count; ++t) {
    const index_t i = p.h.tap + t / p.w.taps * p.h.tap_step;
    const index_t j = p.w.tap + t % p.w.taps * p.w.tap_step;
    for (index_t c = 0; c < channels; ++c) by_tap[t * channels + c] = weight[(c * kh + i) * kw + j];
  }
  split_chunks(p.rows(), p.unit_rows, work, [&](index_t first, index_t last) {
    depthwise_problem<T> d{
        .taps = taps, .count = (last - first) * p.w.out, .tap_count = count, .channels = channels};
    index_t* starts = scratch<index_t, scratch_use::pixels>(2 * d.count);
    d.window = open_window(p, first, last, starts);
    fill_places(p, out, first, last, starts + d.count);
    d.pixels = starts, d.places = starts + d.count;
    depthwise_outputs<T, A>(d, by_tap, out.data);
    if (!finish.empty())
      for (index_t i = 0; i < d.count; ++i)
        apply<T, A>(finish, out.data + d.places[i], 0, 0, channels);
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
