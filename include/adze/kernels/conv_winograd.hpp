#pragma once
// SPDX-License-Identifier: MIT
// Convolutions of 3 x 3 with stride 1 by Winograd's minimal filtering, F(m x m, 3 x 3), m = 2 or 4:
// images and weights are transformed, multiplied plane by plane (16 or 36 matrix products), and the
// products are transformed back: 2.25 or 4 times fewer multiplications. Rounding grows with m: the
// error is within 1e-5 (m = 2) and 5e-5 (m = 4) of the largest output. Lavin & Gray 2016.
#include <atomic>

#include <adze/kernels/winograd_rows.hpp>

namespace adze::kernels {

inline constinit std::atomic<bool> winograd_allowed{true};

inline namespace ADZE_ISA {

// y = x * weights for few tiles and many weights: a panel of outputs at a time, whose weights are
// multiplied as soon as some of them are transformed. They never leave the L2 cache.
template <class T, class A, int m>
void winograd_by_panels(const winograd_plan<T, A, m>& p, index_t images, image<const T> x,
                        const winograd_weights<T>& w, image<T> y, const epilogue<T>& finish) {
  using plan = winograd_plan<T, A, m>;
  constexpr index_t deep = 64, u_plane = spread<T>(deep * plan::panel);
  const index_t tiles = p.tiles(images), work = tiles * plan::planes * p.in * p.outs;
  const index_t v_plane = spread<T>(tiles * p.in_row());
  const index_t out_plane = spread<T>(tiles * plan::panel);
  T* const v = scratch<T, scratch_use::window>(plan::planes * v_plane + p.in);
  T* const zeros = v + plan::planes * v_plane;
  fill_zeros(zeros, p.in);
  winograd_input(p, x, 0, tiles, zeros, v, v_plane);
  split_work(p.panels(), work, [&](index_t begin, index_t end) {
    T* const u = scratch<T, scratch_use::panels>(plan::planes * u_plane);
    T* const products = scratch<T, scratch_use::partial>(plan::planes * out_plane);
    strips<T> s;
    s.rows = tiles;
    s.a_row_step = p.in_row();
    s.b_step = plan::panel;
    s.c_row_step = plan::panel;
    for (index_t q = begin; q < end; ++q) {
      const index_t first = q * plan::panel;
      s.cols = std::min(plan::panel, p.outs - first);
      for (index_t k = 0; k < p.in; k += deep) {
        s.depth = std::min(deep, p.in - k);
        s.accumulate = k > 0;
        winograd_pack(p, w, q, k, k + s.depth, u_plane, u);
        for (int t = 0; t < plan::planes; ++t) {
          s.a = v + t * v_plane + k;
          s.b = u + t * u_plane;
          s.c = products + t * out_plane;
          run_strips<T, A>(s, 0, strip_count<T, A>(tiles));
        }
      }
      winograd_output(p, products, plan::panel, out_plane, first, first + s.cols, 0, tiles, y,
                      finish);
    }
  });
}

// One plane's products where one vector has all outputs: rows of `depth` inputs, `step` apart,
// times a panel. Whole vectors are stored. Strips of tiles would take as long to begin and to end
// as for sums of so few inputs.
template <class T, class A>
[[gnu::noinline]] void winograd_narrow(const T* v, index_t step, index_t tiles, index_t depth,
                                       const T* panel, T* products, index_t out_step) {
  using P = simd::pack<T, A>;
  constexpr int rows = 8;
  for (index_t first = 0; first < tiles; first += rows) {
    registers<const T*, rows> a;
    registers<P, rows> sum;
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      a[r] = v + std::min(first + r, tiles - 1) * step;
      sum[r] = P(T(0));
    }
    for (index_t k = 0; k < depth; ++k) {
      P right = P::load(panel + k * tile_shape<T, A>::panel);
      pin(right);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        sum[r] = fma(P(a[r][k]), right, sum[r]);
        pin(sum[r]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
      sum[r].store(products + std::min(first + r, tiles - 1) * out_step);
  }
}

// y = x * weights for many tiles, some of them at a time. `ready`: weights transformed before.
template <class T, class A, int m>
void winograd_by_tiles(const winograd_plan<T, A, m>& p, index_t images, image<const T> x,
                       const winograd_weights<T>& w, image<T> y, const epilogue<T>& finish,
                       const T* ready) {
  using plan = winograd_plan<T, A, m>;
  const index_t tiles = p.tiles(images), block = p.block();
  const index_t made = ready ? 0 : p.weights();
  T* const memory = scratch<T, scratch_use::panels>(made + p.in);
  if (!ready) winograd_transform(p, w, memory);
  const T* const u = ready ? ready : memory;
  T* const zeros = memory + made;
  fill_zeros(zeros, p.in);
  const index_t work = tiles * plan::planes * p.in * p.outs;
  [[maybe_unused]] const bool narrow = p.outs <= plan::lanes && p.in <= 32;
  split_chunks(tiles, block, work, [&](index_t first, index_t last) {
    const index_t rows = last - first;
    const index_t v_plane = spread<T>(rows * p.in_row());
    const index_t out_plane = spread<T>(rows * p.out_row());
    T* const v = scratch<T, scratch_use::window>(plan::planes * v_plane);
    T* const products = scratch<T, scratch_use::partial>(plan::planes * out_plane);
    winograd_input(p, x, first, last, zeros, v, v_plane);
    strips<T> s;
    s.rows = rows, s.cols = p.outs, s.depth = p.in;
    s.a_row_step = p.in_row();
    s.b_step = plan::panel, s.b_panel = plan::panel * p.in;
    s.c_row_step = p.out_row();
    for (int t = 0; t < plan::planes; ++t) {
      s.a = v + t * v_plane;
      s.b = u + t * p.plane();
      s.c = products + t * out_plane;
      if constexpr (plan::lanes >= 16) {  // with fewer, no problem has one vector of outputs
        if (narrow) {
          winograd_narrow<T, A>(s.a, s.a_row_step, rows, p.in, s.b, s.c, s.c_row_step);
          continue;
        }
      }
      run_strips<T, A>(s, 0, strip_count<T, A>(rows));
    }
    winograd_output(p, products, p.out_row(), out_plane, 0, p.outs, first, last, y, finish);
  });
}

// y = x * weights for any number of tiles; x and y with c_stride 1.
template <class T, class A, int m>
void winograd(const winograd_plan<T, A, m>& p, index_t images, image<const T> x,
              const winograd_weights<T>& w, image<T> y, const epilogue<T>& finish,
              const T* ready = nullptr) {
  const index_t tiles = p.tiles(images);
  constexpr bool has_rows = A::bytes == 64 && m == 4;
  const bool few = has_rows && !ready ? p.by_rows(tiles) : p.few(tiles);
  const auto run = [&](index_t first, index_t last) {
    winograd_plan<T, A, m> part = p;
    winograd_weights<T> weights = w;
    image<T> out = y;
    epilogue<T> end = finish;
    part.outs = last - first, weights.data += first * w.o_step, out.data += first;
    if (end.bias) end.bias += first;
    if (!few) return winograd_by_tiles(part, images, x, weights, out, end, ready);
    if constexpr (has_rows)
      winograd_by_rows(part, images, x, weights, out, end);
    else
      winograd_by_panels(part, images, x, weights, out, end);
  };
  const bool alone = ready || p.in <= 32;  // what is made before, or narrow, has one layout
  parallel_for(p.outs, alone ? p.outs : outputs_of_a_thread(p, tiles, p.panel), run);
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
