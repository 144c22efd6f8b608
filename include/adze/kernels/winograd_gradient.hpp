#pragma once
// SPDX-License-Identifier: MIT
// The gradient of a 3 x 3 weight with stride 1 by Winograd's minimal filtering: the transposes of
// the transforms of F(4 x 4, 3 x 3). Tiles of inputs and of gradients are transformed, 36 products
// sum over the tiles, and the sums are transformed to nine taps: 4 times fewer multiplications.
#include <adze/kernels/taps.hpp>
#include <adze/kernels/winograd_input.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Sizes of one call: sums of 36 planes are made for blocks of outputs and inputs that stay in the
// L2 cache until they are transformed.
template <class T, class A> struct winograd_gradient_plan : winograd_plan<T, A, 4> {
  using base = winograd_plan<T, A, 4>;

  index_t wide() const {
    return std::min<index_t>(64, (this->in + base::lanes - 1) / base::lanes * base::lanes);
  }
  index_t tall() const { return std::min<index_t>(A::bytes == 64 ? 32 : 16, this->outs); }
  index_t sum_plane() const { return spread<T>(tall() * wide()); }
  index_t block() const { return base::planes * sum_plane(); }
  index_t wide_blocks() const { return (this->in + wide() - 1) / wide(); }
  index_t blocks() const { return (this->outs + tall() - 1) / tall() * wide_blocks(); }
  // Tiles that are transformed before they are multiplied.
  index_t deep() const {
    constexpr index_t cache = index_t(A::bytes == 64 ? 1024 : 256) << 10;
    const index_t bytes = base::planes * (this->in_row() + this->out_row()) * index_t(sizeof(T));
    return std::clamp<index_t>(cache / bytes, 32, 96);
  }
  // Parts of the tiles with sums of their own: work for threads where the blocks are few.
  index_t parts(index_t images) const {
    return std::clamp<index_t>(std::min(this->tiles(images) / 96, 8 / blocks()), 1, 8);
  }
};

// The sums (+)= of block i over `tiles` tiles: v [plane][tile][input], z [plane][tile][output].
template <class T, class A>
void winograd_sums(const winograd_gradient_plan<T, A>& p, index_t i, index_t tiles, const T* v,
                   index_t v_plane, const T* z, index_t z_plane, bool accumulate, T* sums) {
  using plan = winograd_gradient_plan<T, A>;
  const index_t o = i / p.wide_blocks() * p.tall(), c = i % p.wide_blocks() * p.wide();
  strips<T> s;
  s.rows = std::min(p.tall(), p.outs - o), s.cols = std::min(p.wide(), p.in - c);
  s.depth = tiles;
  s.a_row_step = 1, s.a_cols = regular_offsets(tiles, p.out_row());
  s.b_step = p.in_row(), s.b_panel = plan::panel;
  s.c_row_step = p.wide();
  s.accumulate = accumulate;
  for (index_t t = 0; t < plan::planes; ++t) {
    s.a = z + t * z_plane + o, s.b = v + t * v_plane + c;
    s.c = sums + t * p.sum_plane();
    run_strips<T, A>(s, 0, strip_count<T, A>(s.rows));
  }
}

// One vector of inputs: 36 sums, planes apart, to nine taps, [tap][lane].
template <class T, class A>
[[gnu::noinline]] void winograd_taps(const T* sums, index_t plane, T* taps) {
  using P = simd::pack<T, A>;
  constexpr auto line = winograd_lines<4>::weight_gradient<P>;
  P middle[18];
#pragma GCC unroll 1
  for (index_t j = 0; j < 6; ++j, sums += plane) {
    P u[6], made[3];
#pragma GCC unroll 6
    for (index_t i = 0; i < 6; ++i) u[i] = P::load(sums + i * 6 * plane);
    line(u, made);
#pragma GCC unroll 3
    for (index_t i = 0; i < 3; ++i) middle[i * 6 + j] = made[i];
  }
#pragma GCC unroll 3
  for (index_t i = 0; i < 3; ++i) {
    P made[3];
    line(middle + 6 * i, made);
#pragma GCC unroll 3
    for (index_t j = 0; j < 3; ++j) made[j].store(taps + (3 * i + j) * P::size);
  }
}

// Block i of gw [o, c, 3, 3] from its sums.
template <class T, class A>
void winograd_finish(const winograd_gradient_plan<T, A>& p, index_t i, const T* sums, T* gw) {
  using plan = winograd_gradient_plan<T, A>;
  const index_t o = i / p.wide_blocks() * p.tall(), c = i % p.wide_blocks() * p.wide();
  const index_t rows = std::min(p.tall(), p.outs - o), cols = std::min(p.wide(), p.in - c);
  alignas(64) T taps[9 * static_cast<std::size_t>(plan::lanes)];
  for (index_t r = 0; r < rows; ++r, sums += p.wide())
    for (index_t k = 0; k < cols; k += plan::lanes) {
      winograd_taps<T, A>(sums + k, p.sum_plane(), taps);
      T* const to = gw + ((o + r) * p.in + c + k) * 9;
      if (const index_t n = std::min(plan::lanes, cols - k); n == plan::lanes)
        turn_taps<T, A, true>(taps, to);
      else
        for (index_t j = 0; j < 9 * n; ++j) to[j] = taps[j % 9 * plan::lanes + j / 9];
    }
}

// gw [o, c, 3, 3] of x [n, c, h, w] and gy, from the sums of `parts` of the tiles, of which `deep`
// are transformed at a time.
template <class T, class A>
void winograd_gradient_sums(const winograd_gradient_plan<T, A>& p, index_t images, index_t parts,
                            index_t deep, image<const T> x, image<const T> gy, T* gw) {
  using plan = winograd_gradient_plan<T, A>;
  const index_t tiles = p.tiles(images), blocks = p.blocks(), block = p.block();
  const index_t part = (tiles + parts - 1) / parts;
  const index_t work = tiles * plan::planes * p.in * p.outs;
  const bool kept = parts > 1 || part > deep;
  T* const sums = kept ? scratch<T, scratch_use::partial>(parts * blocks * block) : nullptr;
  if (parts > 1) fill_zeros(sums, parts * blocks * block);  // also what no block fills
  split_chunks(tiles, part, work, [&](index_t begin, index_t end) {
    const index_t v_plane = spread<T>(deep * p.in_row()), z_plane = spread<T>(deep * p.out_row());
    const index_t most = std::max(p.in, p.outs);
    T* const v = scratch<T, scratch_use::window>(plan::planes * (v_plane + z_plane) + most);
    T *const z = v + plan::planes * v_plane, *const zeros = z + plan::planes * z_plane;
    fill_zeros(zeros, most);
    const winograd_source<T> gradients{gy, p.out_h, p.out_w, 0, 0, p.outs, p.out_row()};
    for (index_t first = begin; first < end; first += deep) {
      const index_t count = std::min(deep, end - first);
      split_work(count, count * plan::planes * (p.in + p.outs), [&](index_t t0, index_t t1) {
        winograd_input(p, x, first + t0, first + t1, zeros, v + t0 * p.in_row(), v_plane);
        winograd_spread<4>(p, gradients, first + t0, first + t1, zeros, z + t0 * p.out_row(),
                           {z_plane, plan::side * z_plane, plan::lanes});
      });
      split_work(blocks, count * plan::planes * p.in * p.outs, [&](index_t b0, index_t b1) {
        for (index_t i = b0; i < b1; ++i) {
          T* const sum = kept ? sums + (begin / part * blocks + i) * block
                              : scratch<T, scratch_use::partial>(block);
          winograd_sums(p, i, count, v, v_plane, z, z_plane, first > begin, sum);
          if (parts == 1 && first + count == end) winograd_finish(p, i, sum, gw);
        }
      });
    }
  });
  if (parts == 1) return;
  split_work(blocks, p.in * p.outs * 64, [&](index_t b0, index_t b1) {
    for (index_t i = b0; i < b1; ++i) {
      T* const sum = sums + i * block;
      for (index_t q = 1; q < parts; ++q)
        for (index_t k = 0; k < block; ++k) sum[k] += sums[(q * blocks + i) * block + k];
      winograd_finish(p, i, sum, gw);
    }
  });
}

// The same, both images with c_stride 1. Parts and steps depend on sizes alone.
template <class T, class A>
void winograd_weight_gradient(const winograd_gradient_plan<T, A>& p, index_t images,
                              image<const T> x, image<const T> gy, T* gw) {
  const index_t tiles = p.tiles(images), parts = p.parts(images);
  const index_t deep = balanced_block((tiles + parts - 1) / parts, p.deep(), 1);
  const index_t share = parts > 1 ? p.outs : outputs_of_a_thread(p, tiles, p.tall());
  parallel_for(p.outs, share, [&](index_t first, index_t last) {
    winograd_gradient_plan<T, A> part = p;
    image<const T> gradient = gy;
    part.outs = last - first, gradient.data += first;
    winograd_gradient_sums(part, images, parts, deep, x, gradient, gw + first * p.in * 9);
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
