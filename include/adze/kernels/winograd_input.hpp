#pragma once
// SPDX-License-Identifier: MIT
// Tiles of images to the planes of Winograd's minimal filtering: what results read, and, for the
// gradient of the weight, the gradients of results.
#include <adze/kernels/winograd_transforms.hpp>

namespace adze::kernels::inline ADZE_ISA {

// What is transformed to planes: images whose tiles begin pad_h rows and pad_w columns before the
// results that they stand for, and the step between the rows that it makes.
template <class T> struct winograd_source {
  image<const T> x{};
  index_t h, w, pad_h, pad_w, channels, row;
};

// Between planes, rows of planes, and vectors of channels of what is made of them.
struct winograd_steps {
  index_t plane, row, vector;
};

// Where the pixels of a tile of `size` x `size` stand, `zeros` where it leaves the image.
template <index_t size, class T>
inline void winograd_pixels(const winograd_source<T>& s, index_t n, index_t top, index_t left,
                            const index_t* offsets, const T* zeros, const T** from) {
  const T* const corner = s.x.at(n, top, left);
  if (top >= 0 && top + size <= s.h && left >= 0 && left + size <= s.w) {
    for (index_t t = 0; t < size * size; ++t) from[t] = corner + offsets[t];
    return;
  }
  for (index_t t = 0; t < size * size; ++t) from[t] = zeros;
  const index_t bottom = std::min(size, s.h - top), right = std::min(size, s.w - left);
  for (index_t i = std::max<index_t>(0, -top); i < bottom; ++i)
    for (index_t j = std::max<index_t>(0, -left); j < right; ++j)
      from[i * size + j] = corner + offsets[i * size + j];
}

// Tiles [first, last) of the images, all planes, to v: the m + 2 pixels that m results read, or,
// with `size` m, the gradients of these results. The columns, then the rows: both leave as soon as
// they are made, since 36 packs never fit the registers.
template <int size, class T, class A, int m>
[[gnu::noinline]] void winograd_spread(const winograd_plan<T, A, m>& p, const winograd_source<T>& s,
                                       index_t first, index_t last, const T* zeros, T* v,
                                       winograd_steps steps) {
  using P = simd::pack<T, A>;
  using plan = winograd_plan<T, A, m>;
  constexpr int side = plan::side;
  const auto line = [](const P* d, P* b) __attribute__((always_inline)) {
    if constexpr (size == m)
      winograd_lines<m>::gradient(d, b);
    else
      winograd_lines<m>::input(d, b);
  };
  registers<index_t, size * size> offsets;
  registers<const T*, size * size> from;
  for (index_t t = 0; t < size * size; ++t)
    offsets[t] = t / size * s.x.h_stride + t % size * s.x.w_stride;
  const index_t ahead = m * s.x.w_stride;  // of the next tile
  const auto one = [&](index_t c, auto load, auto store) __attribute__((always_inline)) {
    registers<P, side * size> middle;
#pragma GCC unroll 1
    for (index_t j = 0; j < size; ++j) {
      registers<P, size> d;
      registers<P, side> b;
#pragma GCC unroll 6
      for (index_t i = 0; i < size; ++i) {
        d[i] = load(from[i * size + j] + c);
        __builtin_prefetch(from[i * size + j] + c + ahead);
      }
      line(d, b);
#pragma GCC unroll 6
      for (index_t i = 0; i < side; ++i) middle[i * size + j] = b[i];
    }
    T* row = v + c / plan::lanes * steps.vector;
#pragma GCC unroll 1
    for (index_t i = 0; i < side; ++i, row += steps.row) {
      T* to = row;
      P b[plan::side];
      line(middle + i * size, b);
#pragma GCC unroll 6
      for (index_t j = 0; j < side; ++j, to += steps.plane) store(b[j], to);
    }
  };
  winograd_place place(p, first);
  for (; first < last; ++first, place.step(), v += s.row) {
    winograd_pixels<size>(s, place.n, place.i * m - s.pad_h, place.j * m - s.pad_w, offsets, zeros,
                          from);
    index_t c = 0;
    for (; c + plan::lanes <= s.channels; c += plan::lanes)
      one(
          c, [](const T* f) { return P::load(f); }, [](P b, T* to) { b.store(to); });
    if (const index_t rest = s.channels - c; rest > 0)
      one(
          c, [rest](const T* f) { return P::load_partial(f, rest); },
          [rest](P b, T* to) { b.store_partial(to, rest); });
  }
}
template <class T, class A, int m>
void winograd_input(const winograd_plan<T, A, m>& p, image<const T> x, index_t first, index_t last,
                    const T* zeros, T* v, index_t plane) {
  const winograd_source<T> s{x, p.h, p.w, p.pad_h, p.pad_w, p.in, p.in_row()};
  using plan = winograd_plan<T, A, m>;
  winograd_spread<m + 2>(p, s, first, last, zeros, v, {plane, plan::side * plane, plan::lanes});
}

}  // namespace adze::kernels::inline ADZE_ISA
