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

// By the keys alone, least significant digits first: places that ascend stay in their order.
template <class = void> void sort_by_digits(std::vector<std::uint64_t>& x) {
  constexpr int bits = 11;
  const std::size_t n = x.size();
  const auto spare = std::make_unique_for_overwrite<std::uint64_t[]>(n);
  std::uint64_t *from = x.data(), *to = spare.get();
  for (int shift = 32; shift < 64; shift += bits) {
    const auto digit = [&](std::uint64_t e) { return e >> shift & ((1u << bits) - 1); };
    std::array<std::size_t, 1 << bits> at{};
    for (std::size_t i = 0; i < n; ++i) ++at[digit(from[i])];
    if (at[digit(from[0])] == n) continue;
    std::size_t sum = 0;
    for (std::size_t& a : at) sum += std::exchange(a, sum);
    for (std::size_t i = 0; i < n; ++i) to[at[digit(from[i])]++] = from[i];
    std::swap(from, to);
  }
  if (from != x.data()) std::copy(from, from + n, x.data());
}

// The first `count` of what is added, in order. Twice as many are kept at most; when they are
// there, the later half goes, and so does all that would come after the rest.
template <class E> struct first_few {
  static constexpr std::size_t digits_from = 1024;
  std::size_t count;
  std::vector<E> kept{};
  E limit{};
  bool limited = false;

  void add(const E& e) {
    if (limited && !(e < limit)) return;
    kept.push_back(e);
    if (kept.size() == 2 * count + 256) cut();
  }
  void cut() {
    const auto last = kept.begin() + static_cast<std::ptrdiff_t>(count - 1);
    std::nth_element(kept.begin(), last, kept.end());
    limit = *last;
    limited = true;
    kept.resize(count);
  }
  void finish() {
    if constexpr (std::is_same_v<E, std::uint64_t>)
      if (kept.size() == count && !limited && count >= digits_from) return sort_by_digits(kept);
    if (kept.size() > count) cut();
    std::sort(kept.begin(), kept.end());
  }
};

// Writes the places that o asks for of one row, `step` apart.
using row_pick = void (*)(const any_row& x, const order_request& o, index_t* places, index_t step);

// T: what the values are loaded as; K: what they are compared as.
template <class T, class K>
void order_row(const any_row& x, const order_request& o, index_t* places, index_t step) {
  using entry = decltype(with_place(order_key(K{}, false), 0));
  first_few<entry> first{static_cast<std::size_t>(o.count)};
  first.kept.reserve(static_cast<std::size_t>(std::min(x.size, 2 * o.count + 256)));
  over_row<T>(x, [&](const T* values, index_t at, index_t n) {
    for (index_t i = 0; i < n; ++i)
      first.add(with_place(order_key(static_cast<K>(values[i]), o.descending), at + i));
  });
  first.finish();
  for (const entry& e : first.kept) *places = place_in(e), places += step;
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
