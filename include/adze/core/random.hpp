#pragma once
// SPDX-License-Identifier: MIT
// Random numbers by counter: generators that are {seed, offset}, and fills whose element i depends
// on the generator and on i alone, hence not on threads, and not on the instruction set: no sum
// here may be contracted. Distributions of tensors are above.
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <adze/core/error.hpp>
#include <adze/core/philox.hpp>
#include <adze/fwd.hpp>

namespace adze {

namespace detail {

constexpr std::uint64_t joined(std::uint32_t low, std::uint32_t high) {
  return (std::uint64_t{high} << 32) | low;
}
// [0, 1) in steps of 2^-24 and 2^-53: never 1.
constexpr float unit(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }
constexpr double unit(std::uint64_t word) { return static_cast<double>(word >> 11) * 0x1p-53; }

// How many elements a block makes.
template <class T> inline constexpr std::uint64_t per_block = sizeof(T) == 8 ? 2 : 4;

// Two standard normals from one block half (Box-Muller in double; (0, 1] under the logarithm).
// Products only: nothing that a compiler could contract to other bits.
inline std::array<double, 2> normal_pair(double unit_open_below, double unit_angle) {
  const double radius = std::sqrt(-2.0 * std::log(unit_open_below));
  const double angle = 6.283185307179586 * unit_angle;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

template <class T> std::array<double, per_block<T>> normals(const std::array<std::uint32_t, 4>& w) {
  if constexpr (per_block<T> == 2) {
    return normal_pair(1.0 - unit(joined(w[0], w[1])), unit(joined(w[2], w[3])));
  } else {
    const auto above_zero = [](std::uint32_t x) { return (static_cast<double>(x) + 1) * 0x1p-32; };
    const auto angle = [](std::uint32_t x) { return static_cast<double>(x) * 0x1p-32; };
    const auto a = normal_pair(above_zero(w[0]), angle(w[1]));
    const auto b = normal_pair(above_zero(w[2]), angle(w[3]));
    return {a[0], a[1], b[0], b[1]};
  }
}

}  // namespace detail

// Whole numbers in [0, bound) without bias: element `index` after `at`, by rejection. bound > 0.
inline std::uint64_t random_below(const random_state& at, std::uint64_t index,
                                  std::uint64_t bound) {
  const std::uint64_t mask = std::numeric_limits<std::uint64_t>::max() >>
                             std::countl_zero((bound - 1) | 1);  // at least half is accepted
  for (std::uint32_t attempt = 0;; ++attempt) {
    const auto words = at.block(index, attempt);
    const std::uint64_t first = detail::joined(words[0], words[1]) & mask;
    if (first < bound) return first;
    const std::uint64_t second = detail::joined(words[2], words[3]) & mask;
    if (second < bound) return second;
  }
}

// f(i, word) for i < count: word first + i of the stream that starts at `at`.
template <class F> void over_words(const random_state& at, index_t first, index_t count, F f) {
  constexpr auto group = static_cast<index_t>(4 * random_state::group);
  index_t i = 0;
  while (i < count) {
    const auto k = static_cast<std::uint64_t>(first + i);
    if (k % 4 == 0 && count - i >= group) {
      random_state::word_group words;
      at.blocks(k / 4, words);
      for (std::size_t b = 0; b < random_state::group; ++b)
        for (std::size_t lane = 0; lane < 4; ++lane) f(i++, words[lane][b]);
    } else {
      const auto words = at.block(k / 4);
      for (std::size_t lane = k % 4; lane < 4 && i < count; ++lane) f(i++, words[lane]);
    }
  }
}

// Elements first .. first + count of a uniform array on [low, high) that starts at `at`. T: float
// or double. The value never reaches high.
template <class T>
void uniform_fill(T* out, index_t first, index_t count, const random_state& at, T low = 0,
                  T high = 1) {
  const T last = std::nextafter(high, low);
  const auto place = [&](T u) {
    const T x = std::fma(high - low, u, low);
    return x < high ? x : last;
  };
  if constexpr (sizeof(T) == 4) {
    over_words(at, first, count,
               [&](index_t i, std::uint32_t word) { out[i] = place(detail::unit(word)); });
  } else {
    for (index_t i = 0; i < count;) {
      const auto k = static_cast<std::uint64_t>(first + i);
      const auto words = at.block(k / 2);
      for (std::size_t half = k % 2; half < 2 && i < count; ++half)
        out[i++] = place(detail::unit(detail::joined(words[2 * half], words[2 * half + 1])));
    }
  }
}

// Elements first .. first + count of a normal array that starts at `at`. T: float or double.
template <class T>
void normal_fill(T* out, index_t first, index_t count, const random_state& at, double mean = 0,
                 double deviation = 1) {
  constexpr std::uint64_t width = detail::per_block<T>;
  auto i = static_cast<std::uint64_t>(first);
  const std::uint64_t end = i + static_cast<std::uint64_t>(count);
  while (i < end) {
    const auto values = detail::normals<T>(at.block(i / width));
    for (std::uint64_t lane = i % width; lane < width && i < end; ++lane, ++i, ++out)
      *out = static_cast<T>(std::fma(deviation, values[lane], mean));
  }
}

// A source of random numbers: a seed and how many blocks are spent. Not safe to share by threads;
// arrays are filled in parallel from one reserve().
class generator {
 public:
  constexpr explicit generator(std::uint64_t seed = 0) : state_{seed, 0} {}
  constexpr explicit generator(const random_state& state) : state_(state) {}

  constexpr const random_state& state() const { return state_; }
  constexpr void set_state(const random_state& state) { state_ = state; }
  constexpr void seed(std::uint64_t s) { state_ = {s, 0}; }

  // Where an array begins that spends this many blocks; the generator moves past it.
  constexpr random_state reserve(std::uint64_t blocks) {
    const random_state at = state_;
    state_.offset += blocks;
    return at;
  }
  // The same for `count` elements of a uniform_fill or normal_fill of T.
  template <class T> constexpr random_state reserve_for(index_t count) {
    constexpr std::uint64_t width = detail::per_block<T>;
    return reserve((static_cast<std::uint64_t>(count) + width - 1) / width);
  }

  constexpr std::uint64_t bits() {
    const auto words = reserve(1).block(0);
    return detail::joined(words[0], words[1]);
  }
  constexpr double uniform() { return detail::unit(bits()); }  // [0, 1)
  double normal() { return detail::normals<double>(reserve(1).block(0))[0]; }
  // A whole number in [0, bound). Throws value_error for bound < 1.
  index_t below(index_t bound) {
    if (bound < 1) raise<value_error>("generator.below: the bound must be positive; got ", bound);
    return static_cast<index_t>(random_below(reserve(1), 0, static_cast<std::uint64_t>(bound)));
  }

  // Reorders count elements, every order equally likely (Fisher-Yates from the end).
  template <class T> void shuffle(T* data, index_t count) {
    if (count < 2) return;
    const random_state at = reserve(static_cast<std::uint64_t>(count));
    for (auto i = static_cast<std::uint64_t>(count) - 1; i > 0; --i) {
      const std::uint64_t j = random_below(at, i, i + 1);
      const T kept = data[i];
      data[i] = data[j];
      data[j] = kept;
    }
  }
  // 0 .. count - 1 in random order. Throws value_error for count < 0.
  std::vector<index_t> permutation(index_t count) {
    if (count < 0) raise<value_error>("permutation: the count must not be negative; got ", count);
    std::vector<index_t> order(static_cast<std::size_t>(count));
    for (index_t i = 0; i < count; ++i) order[static_cast<std::size_t>(i)] = i;
    shuffle(order.data(), count);
    return order;
  }

 private:
  random_state state_;
};

namespace detail {

inline constinit std::atomic<std::uint64_t> threads_seen{0};

}  // namespace detail

// The calling thread's generator, used where none is given. Until it is seeded, the n-th thread to
// ask has seed n (the main thread usually 0), so that threads do not repeat each other.
inline generator& default_generator() {
  thread_local generator g(detail::threads_seen.fetch_add(1, std::memory_order_relaxed));
  return g;
}

// Restarts the calling thread's generator.
inline void manual_seed(std::uint64_t seed) { default_generator().seed(seed); }

}  // namespace adze
