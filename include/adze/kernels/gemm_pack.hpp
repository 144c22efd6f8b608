#pragma once
// SPDX-License-Identifier: MIT
// Blocks of the right operand copied into the panels that tiles read front to back, and the
// memory for them. A panel holds tile_shape::panel columns, the missing ones as zeros.
#include <new>
#include <type_traits>
#include <utility>

#include <adze/core/parallel.hpp>
#include <adze/core/view.hpp>
#include <adze/kernels/gemm_strips.hpp>
#include <adze/simd/convert.hpp>

namespace adze::kernels {

// What a thread's scratch memory is in use for; two users at once must not share one.
enum class scratch_use : std::uint8_t {
  panels,
  taps,
  pixels,
  window,
  partial,
  gradient,
  codes,
  left,
  count  // of the uses
};

struct scratch_memory {
  void* data = nullptr;
  std::size_t capacity = 0;

  ~scratch_memory() { free(); }
  void free() {
    ::operator delete (std::exchange(data, nullptr), std::align_val_t{64});
    capacity = 0;
  }
  [[gnu::noinline]] void* grow(std::size_t bytes) {
    free();
    data = ::operator new (bytes, std::align_val_t{64});
    capacity = bytes;
    return data;
  }
};
// Memory of this thread that only grows, so that a loop in steady state asks the system for none.
// Valid until the same thread asks again for the same use.
[[gnu::noinline]] inline void* scratch_bytes(scratch_use use, std::size_t bytes) {
  thread_local scratch_memory all[static_cast<std::size_t>(scratch_use::count)];
  scratch_memory& memory = all[static_cast<std::size_t>(use)];
  return bytes > memory.capacity ? memory.grow(bytes) : memory.data;
}
template <class T, scratch_use use> T* scratch(index_t count) {
  return static_cast<T*>(scratch_bytes(use, static_cast<std::size_t>(count) * sizeof(T)));
}

inline namespace ADZE_ISA {

// At least `size` elements, an odd number of cache lines: rows or planes so far apart have sets of
// the cache of their own, where a power of two would make them share one.
template <class T> constexpr index_t spread(index_t size) {
  constexpr index_t line = 64 / index_t(sizeof(T));
  return ((size + line - 1) / line | 1) * line;
}

// size split into equal blocks of at most `most`, each a multiple of `step`.
[[gnu::noinline]] constexpr index_t balanced_block(index_t size, index_t most, index_t step) {
  const index_t blocks = (size + most - 1) / most;
  const index_t block = blocks == 1 ? size : (size + blocks - 1) / blocks;
  return (block + step - 1) / step * step;
}

// Panels that hold so many columns.
template <class T, class A> constexpr index_t panel_count(index_t cols) {
  return (cols + tile_shape<T, A>::panel - 1) / tile_shape<T, A>::panel;
}

// Columns contiguous: four rows at a time keep four read streams and one line being written.
template <class T, class A> void pack_rows(matrix<const T> b, T* out) {
  using P = simd::pack<T, A>;
  constexpr index_t panel = tile_shape<T, A>::panel, lanes = P::size;
  constexpr index_t vectors = panel / lanes;
  for (index_t k0 = 0; k0 < b.rows; k0 += 4) {
    const index_t k1 = std::min(k0 + 4, b.rows);
    for (index_t j = 0; j < b.cols; j += panel) {
      for (index_t k = k0; k < k1; ++k) {
        const T* from = &b(k, j);
        T* to = out + j * b.rows + k * panel;
        if (const index_t width = b.cols - j; width >= panel) {
          for (index_t v = 0; v < vectors; ++v) {
            if constexpr (A::bytes == 64)  // the next four rows
              __builtin_prefetch(from + 4 * b.row_stride + v * lanes);
            P::load(from + v * lanes).store(to + v * lanes);
          }
        } else {
          for (index_t v = 0; v < panel; v += lanes) {
            const index_t n = std::clamp<index_t>(width - v, 0, lanes);
            (n > 0 ? P::load_partial(from + v, n) : P(T(0))).store(to + v);
          }
        }
      }
    }
  }
}

// n rows and `exist` columns of a square of packs, transposed; missing elements become zeros. Rows
// of the result are `panel` apart. E: T, or codes in 16 bits.
template <class T, class A, bool partial, class E = T>
[[gnu::always_inline]] inline void pack_square(const E* from, index_t step, index_t n,
                                               index_t exist, T* out, index_t panel) {
  using P = simd::pack<T, A>;
  constexpr index_t lanes = P::size;
  P square[P::width];
#pragma GCC unroll 16
  for (index_t i = 0; i < lanes; ++i)
    square[i] = !partial    ? simd::load_as<P>(from + i * step)
                : i < exist ? simd::load_partial_as<P>(from + i * step, n)
                            : P(T(0));
  transpose(square);
#pragma GCC unroll 16
  for (index_t i = 0; i < lanes; ++i)
    if (!partial || i < n) square[i].store(out + i * panel);
}

// A vector of rows of at least four elements, transposed. Rows of the result are `panel` apart.
template <class T, class A>
[[gnu::noinline]] void pack_vector(const T* from, index_t step, index_t n, T* out, index_t panel) {
  for (index_t k = 0; k < n; k += 4) {
    const index_t at = std::min(k, n - 4);
    registers<simd::pack<T, A>, 4> columns;
    simd::load_columns(from + at, step, columns);
#pragma GCC unroll 4
    for (index_t i = 0; i < 4; ++i) columns[i].store(out + (at + i) * panel);
  }
}

// Rows contiguous (the transpose of a row-major matrix): squares of packs, transposed.
template <class T, class A, class E = T> void pack_columns(matrix<const E> b, T* out) {
  using S = simd::pack_tag<A>;
  constexpr index_t panel = tile_shape<T, A>::panel, lanes = simd::pack<T, S>::size;
  [[maybe_unused]] constexpr index_t whole = simd::pack<T, A>::size;
  for (index_t j = 0; j < b.cols; j += panel, out += panel * b.rows) {
    for (index_t v = 0; v < panel; v += lanes) {
      const E* from = b.data + (j + v) * b.col_stride;
      const index_t exist = b.cols - j - v;
      if constexpr (A::bytes == 64 && std::is_same_v<E, float>)
        if (exist >= whole && b.rows >= 4) {
          pack_vector<T, A>(from, b.col_stride, b.rows, out + v, panel);
          v += whole - lanes;
          continue;
        }
      index_t k = 0;
      if (exist >= lanes)
        for (; k + lanes <= b.rows; k += lanes)
          pack_square<T, S, false, E>(from + k, b.col_stride, lanes, lanes, out + k * panel + v,
                                      panel);
      if (b.rows - k == 1) {  // the ninth tap of a 3 x 3 kernel
        for (index_t i = 0; i < lanes; ++i)
          out[k * panel + v + i] = i < exist ? static_cast<T>(from[k + i * b.col_stride]) : T(0);
        continue;
      }
      for (; k < b.rows; k += lanes)
        pack_square<T, S, true, E>(from + k, b.col_stride, std::min(lanes, b.rows - k), exist,
                                   out + k * panel + v, panel);
    }
  }
}

// Rows of a, whose rows or columns are contiguous, to contiguous rows that are `step` apart.
template <class T, class A>
[[gnu::noinline]] void copy_rows(matrix<const T> a, T* out, index_t step) {
  using S = simd::pack_tag<A>;
  constexpr index_t lanes = simd::pack<T, S>::size;
  using P = simd::pack<T, A>;
  for (index_t i = 0; a.col_stride == 1 && i < a.rows; ++i) {
    const T* const from = a.data + i * a.row_stride;
    T* const to = out + i * step;
    index_t k = 0;
    for (; k + P::size <= a.cols; k += P::size) {
      __builtin_prefetch(from + k + 8 * a.row_stride);  // rows may be pages apart
      P::load(from + k).store(to + k);
    }
    if (k < a.cols) P::load_partial(from + k, a.cols - k).store_partial(to + k, a.cols - k);
  }
  for (index_t k = 0; a.col_stride != 1 && k < a.cols; k += lanes)
    for (index_t i = 0; i < a.rows; i += lanes) {
      const index_t n = std::min(lanes, a.rows - i), exist = a.cols - k;
      const auto square =
          n == lanes && exist >= lanes ? pack_square<T, S, false> : pack_square<T, S, true>;
      square(&a(i, k), a.col_stride, n, exist, out + i * step + k, step);
    }
}

template <class T, class A> void pack_any(matrix<const T> b, T* out) {
  constexpr index_t panel = tile_shape<T, A>::panel;
  for (index_t j = 0; j < b.cols; j += panel)
    for (index_t k = 0; k < b.rows; ++k)
      for (index_t i = 0; i < panel; ++i) *out++ = j + i < b.cols ? b(k, j + i) : T(0);
}

// b.rows x b.cols elements into ceil(cols / panel) panels of b.rows * panel elements each.
template <class T, class A> [[gnu::noinline]] void pack_panels(matrix<const T> b, T* out) {
  if (b.col_stride == 1) return pack_rows<T, A>(b, out);
  if (b.row_stride == 1) return pack_columns<T, A>(b, out);
  pack_any<T, A>(b, out);
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
