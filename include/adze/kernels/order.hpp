#pragma once
// SPDX-License-Identifier: MIT
// Places of elements in the order of their values, row by row along an axis. NaN counts as larger
// than every number; equal values keep the order of their places. Values follow by `gather`.
#include <numeric>
#include <vector>

#include <adze/kernels/map.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Of each row along the axis the first `count` places in descending or ascending order of the
// values.
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

// Writes o.count places of a row of n values, which are double or int64; it may use all n.
using row_pick = void (*)(const void* values, index_t n, const order_request& o, index_t* places);

template <class T>
void order_row(const void* values, index_t n, const order_request& o, index_t* places) {
  const T* const x = static_cast<const T*>(values);
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

// The first place of the extreme; a NaN is the extreme in both directions.
template <class T>
void extreme_of_row(const void* values, index_t n, const order_request& o, index_t* place) {
  const T* const x = static_cast<const T*>(values);
  index_t best = 0;
  for (index_t i = 1; i < n; ++i) {
    const bool beats = o.descending ? x[i] > x[best] : x[i] < x[best];
    if (beats || (x[i] != x[i] && x[best] == x[best])) best = i;
  }
  *place = best;
}

// Picks from each row along the axis, whose values are converted to `compute`.
template <class = void>
void place_rows(const shape& sizes, const operand& x, const order_request& o, index_t* out,
                dtype compute, row_pick pick) {
  const index_t n = sizes[o.axis], rows = sizes.numel() / n;
  index_t inner = 1;
  for (index_t i = o.axis + 1; i < sizes.rank(); ++i) inner *= sizes[i];
  parallel_for(rows, std::max<index_t>(1, map_chunk / n), [&](index_t begin, index_t end) {
    std::vector<std::byte> values(static_cast<std::size_t>(n) * sizeof(double));
    std::vector<index_t> places(static_cast<std::size_t>(n));
    for (index_t r = begin; r < end; ++r) {
      index_t offset = 0, rest = r;
      for (index_t a = sizes.rank() - 1; a >= 0; --a) {
        if (a == o.axis) continue;
        offset += rest % sizes[a] * x.strides[static_cast<std::size_t>(a)];
        rest /= sizes[a];
      }
      load_row_in(compute, x.type, static_cast<const std::byte*>(x.data) + offset * size_of(x.type),
                  x.strides[static_cast<std::size_t>(o.axis)], n, values.data());
      pick(values.data(), n, o, places.data());
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
  if (is_floating(x.type)) {
    return detail::place_rows(sizes, x, o, out, f64, detail::order_row<double>);
  }
  detail::place_rows(sizes, x, o, out, i64, detail::order_row<std::int64_t>);
}

// The same for one place, that of the extreme, where a NaN wins in both directions.
template <class = void>
void extreme(const shape& sizes, const operand& x, index_t axis, bool largest, index_t* out) {
  if (sizes.numel() == 0) return;
  const order_request o{axis, 1, largest};
  if (is_floating(x.type)) {
    return detail::place_rows(sizes, x, o, out, f64, detail::extreme_of_row<double>);
  }
  detail::place_rows(sizes, x, o, out, i64, detail::extreme_of_row<std::int64_t>);
}

}  // namespace adze::kernels::inline ADZE_ISA
