#pragma once
// SPDX-License-Identifier: MIT
// Pooling of channels-last images: lanes along channels, windows as tables of one entry per output
// row and column, so that padding, dilation, ceil mode and adaptive sizes are the same code.
// Gradients add in a fixed order within an image: the same bits for any number of threads.
#include <algorithm>
#include <limits>

#include <adze/core/parallel.hpp>
#include <adze/kernels/lanes.hpp>

namespace adze::kernels {

// Pixels begin, begin + step, ... before end of one axis; `size` is what an average divides by.
struct pool_window {
  index_t begin = 0, end = 0, size = 1;
};

// n images of h x w pixels and c channels, dense, to out_h x out_w pixels.
struct pool_shape {
  index_t n = 1, c = 1, h = 1, w = 1, out_h = 1, out_w = 1;
  const pool_window* rows = nullptr;     // [out_h]
  const pool_window* columns = nullptr;  // [out_w]
  index_t step_h = 1, step_w = 1;        // dilation

  index_t pixels() const { return h * w; }
  index_t outs() const { return out_h * out_w; }
};

inline namespace ADZE_ISA {

inline constexpr index_t pool_chunk = 16384;  // elements a thread reads
inline constexpr index_t pool_channels = 64;  // channels of an image that a thread adds into

// f(image, row) for every row of outputs.
template <class F> void over_pool_rows(const pool_shape& s, F f) {
  if (s.n * s.c * s.outs() == 0) return;
  const index_t work = std::max<index_t>(1, s.pixels() / s.out_h) * s.c;
  parallel_for(s.n * s.out_h, std::max<index_t>(1, pool_chunk / work),
               [&](index_t begin, index_t end) {
                 for (index_t k = begin; k < end; ++k) f(k / s.out_h, k % s.out_h);
               });
}

// f(image, channel, width) for blocks of channels: what adds into an image has it for itself.
template <class F> void over_pool_blocks(const pool_shape& s, F f) {
  if (s.n * s.c * s.pixels() == 0) return;
  const index_t blocks = (s.c + pool_channels - 1) / pool_channels;
  const index_t work = std::max(s.pixels(), s.outs()) * std::min(s.c, pool_channels);
  parallel_for(s.n * blocks, std::max<index_t>(1, pool_chunk / work),
               [&](index_t begin, index_t end) {
                 for (index_t k = begin; k < end; ++k) {
                   const index_t c = k % blocks * pool_channels;
                   f(k / blocks, c, std::min(pool_channels, s.c - c));
                 }
               });
}

// The largest of each window, and its pixel (row * w + column; -1 where a window has none). NaN is
// largest. Pixels are compared as T: below 2^24 of them for float.
template <class T> void max_pool(const pool_shape& s, const T* x, T* y, std::int32_t* index) {
  using pack = simd::pack<T>;
  over_pool_rows(s, [&](index_t n, index_t i) {
    const T* image = x + n * s.pixels() * s.c;
    const pool_window rows = s.rows[i];
    for (index_t j = 0; j < s.out_w; ++j) {
      const pool_window columns = s.columns[j];
      const index_t to = ((n * s.out_h + i) * s.out_w + j) * s.c;
      const bool none = rows.begin >= rows.end || columns.begin >= columns.end;
      const index_t first = none ? -1 : rows.begin * s.w + columns.begin;
      over_packs<T>(s.c, [&](index_t c, auto lanes) {
        pack best(-std::numeric_limits<T>::infinity()), at(first);
        for (index_t a = rows.begin; a < rows.end; a += s.step_h) {
          for (index_t b = columns.begin; b < columns.end; b += s.step_w) {
            const index_t pixel = a * s.w + b;
            const pack v = lanes.load(image + pixel * s.c + c);
            const auto larger = (v > best) | isnan(v);
            best = where(larger, v, best);
            at = where(larger, pack(pixel), at);
          }
        }
        lanes.store(best, y + to + c);
        T pixels[pack::width];
        at.store(pixels);
        const index_t count = std::min<index_t>(pack::size, s.c - c);
        for (index_t k = 0; k < count; ++k) {
          index[to + c + k] = static_cast<std::int32_t>(pixels[k]);
        }
      });
    }
  });
}

inline bool has_pixel(const pool_shape& s, index_t pixel) {
  return pixel >= 0 && pixel < s.pixels();
}

// dx[pixel] += g[out] where index[out] = pixel; dx is overwritten.
template <class T>
void pool_scatter(const pool_shape& s, const T* g, const std::int32_t* index, T* dx) {
  over_pool_blocks(s, [&](index_t n, index_t first, index_t width) {
    T* image = dx + n * s.pixels() * s.c + first;
    for (index_t p = 0; p < s.pixels(); ++p) std::fill_n(image + p * s.c, width, T(0));
    for (index_t o = 0; o < s.outs(); ++o) {
      const index_t from = (n * s.outs() + o) * s.c + first;
      for (index_t c = 0; c < width; ++c) {
        const index_t pixel = index[from + c];
        if (has_pixel(s, pixel)) image[pixel * s.c + c] += g[from + c];
      }
    }
  });
}

// y[out] = x[index[out]], 0 where there is none.
template <class T>
void pool_gather(const pool_shape& s, const T* x, const std::int32_t* index, T* y) {
  over_pool_rows(s, [&](index_t n, index_t i) {
    const T* image = x + n * s.pixels() * s.c;
    for (index_t j = 0; j < s.out_w; ++j) {
      const index_t to = ((n * s.out_h + i) * s.out_w + j) * s.c;
      for (index_t c = 0; c < s.c; ++c) {
        const index_t pixel = index[to + c];
        y[to + c] = has_pixel(s, pixel) ? image[pixel * s.c + c] : T(0);
      }
    }
  });
}

// The sum of each window divided by its size.
template <class T> void avg_pool(const pool_shape& s, const T* x, T* y) {
  using pack = simd::pack<T>;
  over_pool_rows(s, [&](index_t n, index_t i) {
    const T* image = x + n * s.pixels() * s.c;
    const pool_window rows = s.rows[i];
    for (index_t j = 0; j < s.out_w; ++j) {
      const pool_window columns = s.columns[j];
      const pack scale(1.0 / static_cast<double>(rows.size * columns.size));
      T* to = y + ((n * s.out_h + i) * s.out_w + j) * s.c;
      over_packs<T>(s.c, [&](index_t c, auto lanes) {
        pack sum(0);
        for (index_t a = rows.begin; a < rows.end; a += s.step_h) {
          pack line(0);  // rows first: shorter sums, smaller errors
          for (index_t b = columns.begin; b < columns.end; b += s.step_w) {
            line += lanes.load(image + (a * s.w + b) * s.c + c);
          }
          sum += line;
        }
        lanes.store(sum * scale, to + c);
      });
    }
  });
}

// The way back: each pixel of a window gets g divided by the size; dx is overwritten.
template <class T> void avg_pool_gradient(const pool_shape& s, const T* g, T* dx) {
  using pack = simd::pack<T>;
  over_pool_blocks(s, [&](index_t n, index_t first, index_t width) {
    T* image = dx + n * s.pixels() * s.c + first;
    for (index_t p = 0; p < s.pixels(); ++p) std::fill_n(image + p * s.c, width, T(0));
    for (index_t o = 0; o < s.outs(); ++o) {
      const pool_window rows = s.rows[o / s.out_w], columns = s.columns[o % s.out_w];
      const pack scale(1.0 / static_cast<double>(rows.size * columns.size));
      const T* from = g + (n * s.outs() + o) * s.c + first;
      over_packs<T>(width, [&](index_t c, auto lanes) {
        const pack part = lanes.load(from + c) * scale;
        for (index_t a = rows.begin; a < rows.end; a += s.step_h) {
          for (index_t b = columns.begin; b < columns.end; b += s.step_w) {
            T* to = image + (a * s.w + b) * s.c + c;
            lanes.store(lanes.load(to) + part, to);
          }
        }
      });
    }
  });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
