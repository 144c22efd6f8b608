#pragma once
// SPDX-License-Identifier: MIT
// Elements moved to another order of the axes without a conversion: rows by memcpy, transposes in
// squares of registers within tiles of a cache line. Knows the size of an element, not its type.
#include <cstring>

#include <adze/kernels/map.hpp>
#include <adze/simd/tile.hpp>

namespace adze::kernels::detail::inline ADZE_ISA {

// A unit of `bytes` bytes that only travels.
template <class T> inline constexpr bool has_square = sizeof(T) == 4 || sizeof(T) == 8;
// A row of a square in registers.
template <class T> using real_of = std::conditional_t<sizeof(T) == 4, float, double>;
template <class T>
using square_row = simd::pack<real_of<T>, simd::pack_tag<simd::row_tag<real_of<T>>>>;

template <class T>
void move_row(const void* from, index_t x_step, void* to, index_t y_step, index_t n) {
  const auto* x = static_cast<const T*>(from);
  auto* y = static_cast<T*>(to);
  if (x_step == 1 && y_step == 1) {
    std::memcpy(y, x, static_cast<std::size_t>(n) * sizeof(T));
  } else if (x_step == 0 && y_step == 1) {
    std::fill_n(y, n, *x);
  } else {
    for (index_t i = 0; i < n; ++i) y[i * y_step] = x[i * x_step];
  }
}

// y[j * y_step + i] = x[i * x_step + j] for i < rows and j < cols, at most one tile.
template <class T>
void transpose_edge(const T* x, index_t x_step, T* y, index_t y_step, index_t rows, index_t cols) {
  for (index_t j = 0; j < cols; ++j) {
    for (index_t i = 0; i < rows; ++i) y[j * y_step + i] = x[i * x_step + j];
  }
}
template <class T> void transpose_square(const T* x, index_t x_step, T* y, index_t y_step) {
  using pack = square_row<T>;
  pack v[pack::size];
  for (index_t i = 0; i < pack::size; ++i) {
    std::memcpy(&v[i], x + i * x_step, sizeof(pack));
  }
  transpose(v);
  for (index_t i = 0; i < pack::size; ++i) std::memcpy(y + i * y_step, &v[i], sizeof(pack));
}

// The same for any sizes.
template <class T>
void transpose_block(const void* source, index_t x_step, void* target, index_t y_step, index_t rows,
                     index_t cols) {
  const auto* x = static_cast<const T*>(source);
  auto* y = static_cast<T*>(target);
  constexpr index_t tile = 64 / sizeof(T);  // a cache line of either side
  for (index_t i = 0; i < rows; i += tile) {
    for (index_t j = 0; j < cols; j += tile) {
      const T* from = x + i * x_step + j;
      T* to = y + j * y_step + i;
      if (rows - i < tile || cols - j < tile || !has_square<T>) {
        transpose_edge(from, x_step, to, y_step, std::min(tile, rows - i),
                       std::min(tile, cols - j));
        continue;
      }
      if constexpr (has_square<T>) {
        constexpr index_t side = square_row<T>::size;
        for (index_t a = 0; a < tile; a += side) {
          for (index_t b = 0; b < tile; b += side) {
            transpose_square(from + a * x_step + b, x_step, to + b * y_step + a, y_step);
          }
        }
      }
    }
  }
}

// The offset of the i-th place of all axes but two.
inline index_t place_of(const map_plan& p, int operand, index_t i, index_t skip, index_t last) {
  index_t offset = 0;
  for (index_t a = p.rank - 1; a >= 0; --a) {
    const auto axis = static_cast<std::size_t>(a);
    if (a == skip || a == last) continue;
    offset += i % p.sizes[axis] * p.strides[static_cast<std::size_t>(operand)][axis];
    i /= p.sizes[axis];
  }
  return offset;
}

// The rows [begin, end) of the plan.
template <class T>
void move_rows(const map_plan& p, const void* from, void* to, index_t begin, index_t end) {
  const index_t last = p.rank - 1;
  const auto axis = static_cast<std::size_t>(last);
  for (index_t r = begin; r < end; ++r) {
    move_row<T>(static_cast<const T*>(from) + place_of(p, 1, r, last, last), p.strides[1][axis],
                static_cast<T*>(to) + place_of(p, 0, r, last, last), p.strides[0][axis],
                p.sizes[axis]);
  }
}

// What is compiled for each size of a unit; all steps are in units.
struct unit_moves {
  index_t bytes;
  void (*row)(const void* x, index_t x_step, void* y, index_t y_step, index_t n);
  void (*rows)(const map_plan& p, const void* x, void* y, index_t begin, index_t end);
  void (*block)(const void* x, index_t x_step, void* y, index_t y_step, index_t rows, index_t cols);
};
template <class T>
inline constexpr unit_moves moves_of{sizeof(T), move_row<T>, move_rows<T>, transpose_block<T>};

template <class = void>
void move(const map_plan& p, index_t count, const unit_moves& unit, const operand& to,
          const operand& from) {
  const index_t last = p.rank - 1;
  const auto size = [&](index_t a) { return p.sizes[static_cast<std::size_t>(a)]; };
  const auto stride = [&](int k, index_t a) {
    return p.strides[static_cast<std::size_t>(k)][static_cast<std::size_t>(a)];
  };
  const auto x = [&](index_t i) {
    return static_cast<const std::byte*>(from.data) + i * unit.bytes;
  };
  const auto y = [&](index_t i) {
    return static_cast<std::byte*>(const_cast<void*>(to.data)) + i * unit.bytes;
  };
  const index_t n = size(last), rows = count / n;
  index_t across = -1;  // the axis that is innermost in x
  for (index_t a = 0; a < last; ++a) {
    if (stride(1, a) == 1 && stride(0, last) == 1 && stride(1, last) > 1) across = a;
  }
  if (across >= 0 && n >= 4 && size(across) >= 4) {
    const index_t m = size(across), strips = (m + 63) / 64, blocks = rows / m * strips;
    return parallel_for(blocks, std::max<index_t>(1, map_chunk / (n * 64)),
                        [&](index_t begin, index_t end) {
                          for (index_t b = begin; b < end; ++b) {
                            const index_t j = b % strips * 64, i = b / strips;
                            unit.block(x(place_of(p, 1, i, across, last) + j), stride(1, last),
                                       y(place_of(p, 0, i, across, last) + j * stride(0, across)),
                                       stride(0, across), n, std::min<index_t>(64, m - j));
                          }
                        });
  }
  if (rows == 1) {
    return parallel_for(n, 4 * map_chunk, [&](index_t begin, index_t end) {
      unit.row(x(begin * stride(1, last)), stride(1, last), y(begin * stride(0, last)),
               stride(0, last), end - begin);
    });
  }
  parallel_for(rows, std::max<index_t>(1, map_chunk / n),
               [&](index_t begin, index_t end) { unit.rows(p, x(0), y(0), begin, end); });
}

// y = x for operands of one dtype.
template <class = void> void move_elements(const shape& sizes, const operand& y, const operand& x) {
  const index_t count = sizes.numel();
  if (count == 0 || (x.data == y.data && x.strides == y.strides)) return;
  const operand both[] = {y, x};
  const map_plan p = plan_map(sizes, both, 2);
  const auto run = [&](const unit_moves& unit) { move(p, count, unit, y, x); };
  const index_t bytes = size_of(x.type);
  if (bytes == 1) return run(moves_of<std::uint8_t>);
  if (bytes == 2) return run(moves_of<std::uint16_t>);
  if (bytes == 4) return run(moves_of<std::uint32_t>);
  run(moves_of<std::uint64_t>);
}

}  // namespace adze::kernels::detail::inline ADZE_ISA

namespace adze::kernels::inline ADZE_ISA {

// y = x with another dtype, other strides or both.
template <class = void> void copy(const shape& sizes, const operand& y, const operand& x) {
  if (x.type == y.type) return detail::move_elements(sizes, y, x);
  const operand both[] = {y, x};
  map({}, nullptr, cast_type(x.type, y.type), sizes, both, 2);
}

}  // namespace adze::kernels::inline ADZE_ISA
