#pragma once
// SPDX-License-Identifier: MIT
// Rows of a table by index, and their gradient: each row of the table is summed by one thread in
// the order of the indices, so that the result does not depend on threads. Indices are the
// caller's promise.
#include <cstring>

#include <adze/core/parallel.hpp>
#include <adze/core/view.hpp>
#include <adze/kernels/lanes.hpp>

namespace adze::kernels::inline ADZE_ISA {

// out[i] = table[index[i]] for rows of `bytes`.
template <class = void>
void take_rows(const std::byte* table, const std::int64_t* index, index_t n, index_t bytes,
               std::byte* out) {
  if (bytes == 0) return;
  const index_t chunk = std::max<index_t>(1, (index_t{1} << 17) / bytes);
  parallel_for(n, chunk, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      std::memcpy(out + i * bytes, table + index[i] * bytes, static_cast<std::size_t>(bytes));
    }
  });
}

// table[r] = sum of g[i] over the i with index[i] = r, 0 for the row `skip`; all rows are written.
template <class T>
[[gnu::noinline]] void add_rows_at(const T* g, const std::int64_t* index, index_t n, index_t width,
                                   T* table, index_t rows, index_t skip) {
  // Every chunk reads all indices: few chunks, and one where there is little to add.
  const index_t least = std::max<index_t>(1, (index_t{1} << 15) / std::max<index_t>(1, width));
  parallel_for(rows, std::max(least, (rows + 15) / 16), [&](index_t begin, index_t end) {
    fill_zeros(table + begin * width, (end - begin) * width);
    for (index_t i = 0; i < n; ++i) {
      const index_t r = index[i];
      if (r < begin || r >= end || r == skip) continue;
      T* to = table + r * width;
      over_packs<T>(width, [&](index_t j, auto lanes) {
        lanes.store(lanes.load(to + j) + lanes.load(g + i * width + j), to + j);
      });
    }
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
