#pragma once
// SPDX-License-Identifier: MIT
// Places of elements in the order of their values, row by row along an axis. NaN counts as larger
// than every number; equal values keep the order of their places. Values follow by `gather`.
#include <array>
#include <bit>
#include <memory>
#include <type_traits>
#include <utility>
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

// A row of any dtype, its elements `step` apart.
struct any_row {
  dtype type;
  const std::byte* data;
  index_t step, size;
};

// f(values, first, n) for the row as numbers of type T, block by block.
template <class T, class F> void over_row(const any_row& x, F f) {
  T block[map_block];
  for (index_t i = 0; i < x.size; i += map_block) {
    const index_t n = std::min(map_block, x.size - i);
    load_row(x.type, x.data + i * x.step * size_of(x.type), x.step, n, block);
    f(block, i, n);
  }
}

// A number whose order is that of the values, the other way round where they descend.
template <class T> auto order_key(T x, bool descending) {
  using key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr key top = key(1) << (8 * sizeof(T) - 1);
  key k = 0;
  if constexpr (std::is_integral_v<T>) {
    k = static_cast<key>(x) ^ top;
  } else if (x != x) {
    k = ~key(0);
  } else {
    const auto bits = std::bit_cast<key>(x + T(0));  // one zero instead of two
    k = bits & top ? ~bits : bits | top;
  }
  return descending ? static_cast<key>(~k) : k;
}

// Keys with their places, all different: a key of 32 bits and its place share a word.
struct wide_place {
  std::uint64_t key, place;
  friend bool operator<(const wide_place& a, const wide_place& b) {
    return a.key != b.key ? a.key < b.key : a.place < b.place;
  }
};
inline std::uint64_t with_place(std::uint32_t key, index_t place) {
  return std::uint64_t(key) << 32 | static_cast<std::uint32_t>(place);
}
inline wide_place with_place(std::uint64_t key, index_t place) {
  return {key, static_cast<std::uint64_t>(place)};
}
inline index_t place_in(std::uint64_t x) {
  return static_cast<index_t>(static_cast<std::uint32_t>(x));
}
inline index_t place_in(const wide_place& x) { return static_cast<index_t>(x.place); }

inline constexpr int digit_bits = 11;
inline constexpr index_t digits_from = 512;  // entries: with fewer, comparing them is faster
using digit_counts = std::array<index_t, 1 << digit_bits>;
inline std::size_t digit_of(std::uint64_t entry, int shift) {
  return entry >> shift & ((std::size_t(1) << digit_bits) - 1);
}
inline constexpr int first_digit = 64 - digit_bits;

// By the keys alone, least significant digits first: places that ascend stay in their order.
template <class = void> void sort_by_digits(std::uint64_t* x, index_t n) {
  const auto spare = std::make_unique_for_overwrite<std::uint64_t[]>(static_cast<std::size_t>(n));
  std::uint64_t *from = x, *to = spare.get();
  for (int shift = 32; shift < 64; shift += digit_bits) {
    digit_counts at{};
    for (index_t i = 0; i < n; ++i) ++at[digit_of(from[i], shift)];
    if (at[digit_of(from[0], shift)] == n) continue;
    index_t sum = 0;
    for (index_t& a : at) sum += std::exchange(a, sum);
    for (index_t i = 0; i < n; ++i) to[at[digit_of(from[i], shift)]++] = from[i];
    std::swap(from, to);
  }
  if (from != x) std::copy(from, from + n, x);
}

// Writes the places that o asks for of one row, `step` apart.
using row_pick = void (*)(const any_row& x, const order_request& o, index_t* places, index_t step);

// f(entry) for every element of a row. T: what the values are loaded as; K: as what compared.
template <class T, class K, class F> void over_entries(const any_row& x, bool descending, F f) {
  over_row<T>(x, [&](const T* values, index_t at, index_t n) {
    for (index_t i = 0; i < n; ++i)
      f(with_place(order_key(static_cast<K>(values[i]), descending), at + i));
  });
}

// The entries whose first digit is at most that of the last one asked for, in the order of their
// places; how many there are.
template <class T, class K>
index_t candidates(const any_row& x, const order_request& o,
                   std::unique_ptr<std::uint64_t[]>& entries) {
  digit_counts counts{};
  over_entries<T, K>(x, o.descending, [&](std::uint64_t e) { ++counts[e >> first_digit]; });
  std::size_t last = 0;
  index_t n = counts[0];
  while (n < o.count) n += counts[++last];
  entries = std::make_unique_for_overwrite<std::uint64_t[]>(static_cast<std::size_t>(n + 1));
  std::uint64_t* to = entries.get();
  over_entries<T, K>(x, o.descending, [&](std::uint64_t e) {
    *to = e;
    to += e >> first_digit <= last;  // without a branch that guesses
  });
  return n;
}

template <class T, class K>
void order_row(const any_row& x, const order_request& o, index_t* places, index_t step) {
  using entry = decltype(with_place(order_key(K{}, false), 0));
  constexpr bool narrow = std::is_same_v<entry, std::uint64_t>;
  std::unique_ptr<entry[]> entries;
  index_t n = x.size;
  if (narrow && o.count < n && n >= digits_from) {
    if constexpr (narrow) n = candidates<T, K>(x, o, entries);
  } else {
    entries = std::make_unique_for_overwrite<entry[]>(static_cast<std::size_t>(n));
    entry* to = entries.get();
    over_entries<T, K>(x, o.descending, [&](const entry& e) { *to++ = e; });
  }
  entry* const first = entries.get();
  const bool by_digits = narrow && n >= digits_from;
  if constexpr (narrow)
    if (by_digits) sort_by_digits(first, n);
  if (!by_digits && o.count < n) {
    std::nth_element(first, first + o.count, first + n);
    n = o.count;
  }
  if (!by_digits) std::sort(first, first + n);
  for (index_t k = 0; k < o.count; ++k) places[k * step] = place_in(first[k]);
}

// The first place of the extreme; a NaN is the extreme in both directions.
template <class T>
void extreme_of_row(const any_row& x, const order_request& o, index_t* place, index_t) {
  T best{};
  *place = -1;
  over_row<T>(x, [&](const T* values, index_t at, index_t n) {
    for (index_t i = 0; i < n; ++i) {
      const T v = values[i];
      const bool beats = o.descending ? v > best : v < best;
      if (beats || *place < 0 || (v != v && best == best)) best = v, *place = at + i;
    }
  });
}

// Picks from each row along the axis.
template <class = void>
void place_rows(const shape& sizes, const operand& x, const order_request& o, index_t* out,
                row_pick pick) {
  const index_t n = sizes[o.axis], rows = sizes.numel() / n;
  index_t inner = 1;
  for (index_t i = o.axis + 1; i < sizes.rank(); ++i) inner *= sizes[i];
  parallel_for(rows, std::max<index_t>(1, map_chunk / n), [&](index_t begin, index_t end) {
    for (index_t r = begin; r < end; ++r) {
      index_t offset = 0, rest = r;
      for (index_t a = sizes.rank() - 1; a >= 0; --a) {
        if (a == o.axis) continue;
        offset += rest % sizes[a] * x.strides[static_cast<std::size_t>(a)];
        rest /= sizes[a];
      }
      pick({x.type, static_cast<const std::byte*>(x.data) + offset * size_of(x.type),
            x.strides[static_cast<std::size_t>(o.axis)], n},
           o, out + r / inner * o.count * inner + r % inner, inner);
    }
  });
}

}  // namespace adze::kernels::detail::inline ADZE_ISA

namespace adze::kernels::inline ADZE_ISA {

// out: row-major, `count` places along the axis. The axis is not empty unless nothing is asked.
template <class = void>
void order(const shape& sizes, const operand& x, const order_request& o, index_t* out) {
  if (sizes.numel() == 0 || o.count == 0) return;
  // Places share a word with keys of 32 bits while they fit.
  const bool narrow = size_of(x.type) <= 4 && sizes[o.axis] <= (index_t(1) << 32);
  using i64_t = std::int64_t;
  const detail::row_pick pick =
      is_floating(x.type)
          ? (narrow ? detail::order_row<float, float> : detail::order_row<double, double>)
          : (narrow ? detail::order_row<i64_t, std::int32_t> : detail::order_row<i64_t, i64_t>);
  detail::place_rows(sizes, x, o, out, pick);
}

// The same for one place, that of the extreme, where a NaN wins in both directions.
template <class = void>
void extreme(const shape& sizes, const operand& x, index_t axis, bool largest, index_t* out) {
  if (sizes.numel() == 0) return;
  const order_request o{axis, 1, largest};
  detail::place_rows(sizes, x, o, out,
                     is_floating(x.type) ? detail::extreme_of_row<double>
                                         : detail::extreme_of_row<std::int64_t>);
}

}  // namespace adze::kernels::inline ADZE_ISA
