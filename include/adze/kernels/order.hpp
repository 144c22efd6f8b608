#pragma once
// SPDX-License-Identifier: MIT
// Places of elements in the order of their values, row by row along an axis. NaN counts as larger
// than every number; equal values keep the order of their places. Values follow by `gather`.
#include <numeric>
#include <vector>

#include <adze/kernels/map.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Of each row the first `count` places in descending or ascending order of the values.
struct order_request {
  index_t axis = 0;
  index_t count = 1;
  bool descending = true;
};

}  // namespace adze::kernels::inline ADZE_ISA

namespace adze::kernels::detail::inline ADZE_ISA {

template <class T> bool comes_before(T a, T b, bool descending) {
  if (descending) std::swap(a, b);
  return a < b || (b != b && a == a);
}

template <class T> void order_row(const T* x, index_t n, const order_request& o, index_t* places) {
  if (o.count == 1) {
    index_t best = 0;
    for (index_t i = 1; i < n; ++i) {
      if (comes_before(x[i], x[best], o.descending)) best = i;
    }
    places[0] = best;
    return;
  }
  std::iota(places, places + n, index_t{0});
  const auto before = [&](index_t a, index_t b) {
    return comes_before(x[a], x[b], o.descending) ||
           (!comes_before(x[b], x[a], o.descending) && a < b);
  };
  if (o.count < n) {
    std::partial_sort(places, places + o.count, places + n, before);
  } else {
    std::sort(places, places + n, before);
  }
}

template <class T>
void order_rows(const shape& sizes, const operand& x, const order_request& o, index_t* out) {
  const index_t n = sizes[o.axis], rows = sizes.numel() / n;
  index_t inner = 1;
  for (index_t i = o.axis + 1; i < sizes.rank(); ++i) inner *= sizes[i];
  parallel_for(rows, std::max<index_t>(1, map_chunk / n), [&](index_t begin, index_t end) {
    std::vector<T> values(static_cast<std::size_t>(n));
    std::vector<index_t> places(static_cast<std::size_t>(n));
    for (index_t r = begin; r < end; ++r) {
      index_t offset = 0, rest = r;
      for (index_t a = sizes.rank() - 1; a >= 0; --a) {
        if (a == o.axis) continue;
        offset += rest % sizes[a] * x.strides[static_cast<std::size_t>(a)];
        rest /= sizes[a];
      }
      load_row<T>(x.type, static_cast<const std::byte*>(x.data) + offset * size_of(x.type),
                  x.strides[static_cast<std::size_t>(o.axis)], n, values.data());
      order_row(values.data(), n, o, places.data());
      index_t* to = out + r / inner * o.count * inner + r % inner;
      for (index_t k = 0; k < o.count; ++k) to[k * inner] = places[static_cast<std::size_t>(k)];
    }
  });
}

}  // namespace adze::kernels::detail::inline ADZE_ISA

namespace adze::kernels::inline ADZE_ISA {

// out: row-major, `count` places along the axis. The axis is not empty unless nothing is asked.
template <class = void>
void order(const shape& sizes, const operand& x, const order_request& o, index_t* out) {
  if (sizes.numel() == 0 || o.count == 0) return;
  if (is_floating(x.type)) return detail::order_rows<double>(sizes, x, o, out);
  detail::order_rows<std::int64_t>(sizes, x, o, out);
}

}  // namespace adze::kernels::inline ADZE_ISA
