#pragma once
// SPDX-License-Identifier: MIT
// The transforms of Winograd's minimal filtering for 3 x 3 kernels, F(m x m, 3 x 3), m = 2 or 4,
// and the sizes of their memory: weights and tiles of results, to and from planes that are
// multiplied as matrices. Tiles of images are winograd_input.hpp's. Lavin & Gray 2016.
#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm.hpp>
#include <adze/kernels/winograd_lines.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Weights of one correlation: tap t of (input k, output o) at data[k * k_step + o * o_step + t],
// the taps in reverse order when `flipped`.
template <class T> struct winograd_weights {
  const T* data = nullptr;
  index_t k_step = 0, o_step = 0;
  bool flipped = false;
};

// Sizes and memory of one call. Planes of U: panels of depth `in`, as the strips of tiles read
// them.
template <class T, class A, int m> struct winograd_plan {
  static constexpr int side = m + 2, planes = side * side;
  static constexpr index_t lanes = simd::pack<T, A>::size, panel = tile_shape<T, A>::panel;

  index_t in, outs, h, w, out_h, out_w, pad_h, pad_w;

  index_t panels() const { return (outs + panel - 1) / panel; }
  index_t plane() const { return spread<T>(panels() * panel * in); }
  index_t weights() const { return planes * plane(); }
  index_t tiles_down() const { return (out_h + m - 1) / m; }
  index_t tiles_across() const { return (out_w + m - 1) / m; }
  index_t tiles(index_t images) const { return images * tiles_down() * tiles_across(); }
  // Whether the transformed weights leave the L2 cache, and the transformed images do not; or,
  // where weights are transformed in registers, whether the tiles are so few that reading
  // transformed ones takes as long.
  bool few(index_t count) const {
    const index_t bytes = planes * in * index_t(sizeof(T));
    if constexpr (A::bytes == 64 && m == 4)
      return count <= 4 || (count <= 24 && outs * bytes > (index_t(1) << 20));
    else
      return outs * bytes > (index_t(1) << 20) && count * bytes < (index_t(768) << 10);
  }
  // The same for weights that nobody has transformed before, see winograd_rows.hpp.
  bool by_rows(index_t count) const {
    const index_t bytes = planes * in * index_t(sizeof(T));
    return A::bytes == 64 && m == 4 &&
           (few(count) || (outs * bytes > index_t(8) << 20 && count * bytes <= index_t(5) << 20));
  }
  // Rows of the transformed images and products: whole cache lines, and one more where many rows
  // would share a few sets of the cache.
  static constexpr index_t row(index_t channels) {
    constexpr index_t line = 64 / index_t(sizeof(T));
    const index_t whole = (channels + line - 1) / line * line;
    return whole % (4 * line) == 0 ? whole + line : whole;
  }
  index_t in_row() const { return row(in); }
  index_t out_row() const { return row(outs); }
  // Tiles whose images and products fit the L2 cache together, in whole strips. Machines without
  // AVX-512 have 256 or 512 KiB of it, which two threads often share.
  index_t block() const {
    constexpr index_t cache = index_t(A::bytes == 64 ? 768 : 256) << 10;
    const index_t bytes = planes * (in_row() + out_row()) * index_t(sizeof(T));
    return std::clamp<index_t>(cache / bytes / 6 * 6, 12, 96);
  }
};

// Where there is more to the weights than to the images, threads have outputs of their own: none
// reads what another one has transformed, and each transforms the images. Else all outputs.
template <class T, class A, int m>
index_t outputs_of_a_thread(const winograd_plan<T, A, m>& p, index_t tiles, index_t step) {
  const index_t work = tiles * p.planes * p.in * p.outs;
  const int sharing = tiles < p.outs && work >= 2 * parallel_work ? threads() : 1;
  return balanced_block(p.outs, (p.outs - 1) / sharing + 1, step);
}

// One vector of outputs: nine taps, a panel apart, to all planes. The rows leave as soon as they
// are made, so that nothing but the columns waits in registers.
template <class T, class A, int m>
[[gnu::noinline]] void winograd_weight(const winograd_plan<T, A, m>&, const T* taps, bool flipped,
                                       index_t plane, T* u) {
  using P = simd::pack<T, A>;
  using plan = winograd_plan<T, A, m>;
  constexpr auto line = winograd_lines<m>::template weight<P>;
  const T* const first = flipped ? taps + 8 * plan::panel : taps;
  const index_t step = flipped ? -plan::panel : plan::panel;
  P middle[3 * plan::side];
#pragma GCC unroll 3
  for (int j = 0; j < 3; ++j) {
    P g[3], made[plan::side];
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) g[i] = P::load(first + (3 * i + j) * step);
    line(g, made);
#pragma GCC unroll 6
    for (int i = 0; i < plan::side; ++i) middle[3 * i + j] = made[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < plan::side; ++i) {
    P made[plan::side];
    line(middle + 3 * i, made);
#pragma GCC unroll 6
    for (int j = 0; j < plan::side; ++j, u += plane) made[j].store(u);
  }
}

// The transformed weights of inputs [first, last) and the outputs of panel q, planes `plane` apart.
template <class T, class A, int m>
void winograd_pack(const winograd_plan<T, A, m>& p, const winograd_weights<T>& w, index_t q,
                   index_t first, index_t last, index_t plane, T* u) {
  using plan = winograd_plan<T, A, m>;
  alignas(64) T taps[9 * static_cast<std::size_t>(plan::panel)];
  const index_t cols = std::min(plan::panel, p.outs - q * plan::panel);
  for (index_t k = first; k < last; ++k, u += plan::panel) {
    const T* from = w.data + k * w.k_step + q * plan::panel * w.o_step;
    pack_panels<T, A>({from, 9, cols, 1, w.o_step}, taps);
    for (index_t v = 0; v < plan::panel; v += plan::lanes)
      winograd_weight(p, taps + v, w.flipped, plane, u + v);
  }
}

// All of them, as p.weights() elements.
template <class T, class A, int m>
void winograd_transform(const winograd_plan<T, A, m>& p, const winograd_weights<T>& w, T* u) {
  split_work(p.panels(), p.weights() * 8, [&](index_t first, index_t last) {
    for (index_t q = first; q < last; ++q)
      winograd_pack(p, w, q, 0, p.in, p.plane(), u + q * p.in * winograd_plan<T, A, m>::panel);
  });
}

// Where a tile stands: image, row and column of tiles.
template <class T, class A, int m> struct winograd_place {
  const winograd_plan<T, A, m>& p;
  index_t across = p.tiles_across(), down = p.tiles_down(), n, i, j;

  winograd_place(const winograd_plan<T, A, m>& plan, index_t tile)
      : p(plan), n(tile / across / down), i(tile / across % down), j(tile % across) {}
  void step() {
    if (++j < across) return;
    j = 0;
    if (++i < down) return;
    i = 0, ++n;
  }
};

// Outputs [begin, end) of tiles [first, last), from rows of products that are `step` apart, planes
// `plane` apart. They are finished in registers: calls for single pixels of few channels would cost
// a tenth of it all.
template <class T, class A, int m>
[[gnu::noinline]] void winograd_output(const winograd_plan<T, A, m>& p, const T* products,
                                       index_t step, index_t plane, index_t begin, index_t end,
                                       index_t first, index_t last, image<T> y,
                                       const epilogue<T>& finish) {
  using P = simd::pack<T, A>;
  using plan = winograd_plan<T, A, m>;
  constexpr auto line = winograd_lines<m>::template output<P>;
  constexpr index_t side = plan::side;
  winograd_place place(p, first);
  for (; first < last; ++first, place.step(), products += step) {
    const index_t top = place.i * m, left = place.j * m;
    const index_t height = std::min<index_t>(m, p.out_h - top);
    const index_t width = std::min<index_t>(m, p.out_w - left);
    T* const corner = y.at(place.n, top, left);
    const auto one = [&](index_t o, auto load, auto store) __attribute__((always_inline)) {
      P middle[m * plan::side];
      const T* from = products + o - begin;
#pragma GCC unroll 1
      for (index_t j = 0; j < side; ++j, from += plane) {
        P v[plan::side], made[m];
#pragma GCC unroll 6
        for (index_t i = 0; i < side; ++i) v[i] = load(from + i * side * plane);
        line(v, made);
#pragma GCC unroll 4
        for (index_t i = 0; i < m; ++i) middle[i * side + j] = made[i];
      }
      const P bias = finish.bias ? load(finish.bias + o) : P(T(0));
      T* row = corner + o;
#pragma GCC unroll 1
      for (index_t i = 0; i < height; ++i, row += y.h_stride) {
        P out[m];
        line(middle + i * side, out);
        const auto pixels = [&](index_t columns, auto f) __attribute__((always_inline)) {
          T* to = row;
#pragma GCC unroll 4
          for (index_t j = 0; j < columns; ++j, to += y.w_stride) f(out[j], to);
        };
        const auto each = [&](auto f) __attribute__((always_inline)) {
          width == m ? pixels(m, f) : pixels(width, f);
        };
        if (finish.bias)
          for (P& x : out) x += bias;
        if (finish.residual)
          each([&](P& x, const T* to) { x += load(finish.residual + (to - finish.result)); });
        if (finish.activate == activation::relu)
          for (P& x : out) x = where(x < P(T(0)), P(T(0)), x);
        each([&](P x, T* to) { store(x, to); });
      }
    };
    index_t o = begin;
    for (; o + plan::lanes <= end; o += plan::lanes)
      one(
          o, [](const T* f) { return P::load(f); }, [](P b, T* to) { b.store(to); });
    if (const index_t rest = end - o; rest > 0)
      one(
          o, [rest](const T* f) { return P::load_partial(f, rest); },
          [rest](P b, T* to) { b.store_partial(to, rest); });
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
