#pragma once
// SPDX-License-Identifier: MIT
// Elements fetched and stored by index along one axis. The caller has checked the indices; index
// strides may be 0, so that selecting whole slices is the same loop. Moving knows only the size of
// an element; adding is done in the element's own type.
#include <cstring>

#include <adze/kernels/map.hpp>

namespace adze::kernels::inline ADZE_ISA {

// One side is dense or strided along `sizes`, the other one reached through the index.
struct indexed {
  shape sizes{};     // of the index
  index_t axis = 0;  // along which the index counts
  const index_t* at = nullptr;
  dims index_strides{};
  dims strides{};        // of the side reached through the index
  dims other_strides{};  // of the other side
};

}  // namespace adze::kernels::inline ADZE_ISA

namespace adze::kernels::detail::inline ADZE_ISA {

struct indexed_row {
  const index_t* at;
  index_t index_step, axis_step, step, other_step, n;
};

// f(offset, other offset, row): one call per run of the last axis.
template <class F> void indexed_rows(const indexed& x, index_t begin, index_t end, F f) {
  const index_t last = x.sizes.rank() - 1;
  const auto at = [](const dims& d, index_t i) { return d[static_cast<std::size_t>(i)]; };
  indexed_row row{x.at,
                  at(x.index_strides, last),
                  at(x.strides, x.axis),
                  last == x.axis ? 0 : at(x.strides, last),
                  at(x.other_strides, last),
                  x.sizes[last]};
  for (index_t r = begin; r < end; ++r) {
    index_t offset = 0, other = 0, index = 0, rest = r;
    for (index_t a = last - 1; a >= 0; --a) {
      const index_t k = rest % x.sizes[a];
      rest /= x.sizes[a];
      index += k * at(x.index_strides, a);
      other += k * at(x.other_strides, a);
      if (a != x.axis) offset += k * at(x.strides, a);
    }
    row.at = x.at + index;
    f(offset, other, row);
  }
}

template <class F> void by_element_size(index_t bytes, F f) {
  if (bytes == 1) return f.template operator()<std::uint8_t>();
  if (bytes == 2) return f.template operator()<std::uint16_t>();
  if (bytes == 4) return f.template operator()<std::uint32_t>();
  f.template operator()<std::uint64_t>();
}

}  // namespace adze::kernels::detail::inline ADZE_ISA

namespace adze::kernels::inline ADZE_ISA {

// y[..., i, ...] = x[..., index[..., i, ...], ...]; elements of `bytes` bytes.
template <class = void> void gather(const indexed& g, index_t bytes, const void* x, void* y) {
  if (g.sizes.numel() == 0) return;
  detail::by_element_size(bytes, [&]<class T>() {
    const T* from = static_cast<const T*>(x);
    T* to = static_cast<T*>(y);
    const index_t n = g.sizes.back(), rows = g.sizes.numel() / n;
    parallel_for(rows, std::max<index_t>(1, map_chunk / n), [&](index_t begin, index_t end) {
      detail::indexed_rows(g, begin, end, [&](index_t at, index_t out, const auto& r) {
        if (r.index_step == 0 && r.step == 1 && r.other_step == 1) {
          std::memcpy(to + out, from + at + *r.at * r.axis_step,
                      static_cast<std::size_t>(r.n) * sizeof(T));
          return;
        }
        for (index_t i = 0; i < r.n; ++i) {
          to[out + i * r.other_step] = from[at + i * r.step + r.at[i * r.index_step] * r.axis_step];
        }
      });
    });
  });
}

// y[..., index[..., i, ...], ...] = x[..., i, ...]: one after the other, so the last one stays.
template <class = void> void scatter(const indexed& g, index_t bytes, const void* x, void* y) {
  if (g.sizes.numel() == 0) return;
  detail::by_element_size(bytes, [&]<class T>() {
    const T* from = static_cast<const T*>(x);
    T* to = static_cast<T*>(y);
    const index_t rows = g.sizes.numel() / g.sizes.back();
    detail::indexed_rows(g, 0, rows, [&](index_t at, index_t in, const auto& r) {
      for (index_t i = 0; i < r.n; ++i) {
        to[at + i * r.step + r.at[i * r.index_step] * r.axis_step] = from[in + i * r.other_step];
      }
    });
  });
}

// The same with +=, in order. T: float, double or an integer (which wraps).
template <class T> void scatter_add(const indexed& g, const T* x, T* y) {
  if (g.sizes.numel() == 0) return;
  const index_t rows = g.sizes.numel() / g.sizes.back();
  detail::indexed_rows(g, 0, rows, [&](index_t at, index_t in, const auto& r) {
    for (index_t i = 0; i < r.n; ++i) {
      T& to = y[at + i * r.step + r.at[i * r.index_step] * r.axis_step];
      if constexpr (std::is_integral_v<T>) {
        using U = std::make_unsigned_t<T>;
        to = static_cast<T>(
            static_cast<U>(static_cast<U>(to) + static_cast<U>(x[in + i * r.other_step])));
      } else {
        to += x[in + i * r.other_step];
      }
    }
  });
}

}  // namespace adze::kernels::inline ADZE_ISA
