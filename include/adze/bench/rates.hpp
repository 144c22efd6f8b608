#pragma once
// SPDX-License-Identifier: MIT
// How fast this machine computes and moves memory now; peaks.hpp keeps the best of it.
#include <algorithm>
#include <cstdint>
#include <span>

#include <adze/bench/buffer.hpp>
#include <adze/bench/machine.hpp>
#include <adze/bench/probe.hpp>
#include <adze/bench/roofline.hpp>
#include <adze/bench/stopwatch.hpp>
#include <adze/core/parallel.hpp>
#include <adze/fwd.hpp>

namespace adze::bench::detail {

// The best rate of a number of runs in at least 0.1 s, 12 unless they are longer than a quarter of
// a second, and 2 then: f() does `amount` of something.
template <class F> double best_rate(const stopwatch& time, double amount, F f) {
  double best = 0;
  const double begin = time.wall();
  const auto took = [&] { return time.wall() - begin; };
  for (int i = 0; took() < 0.1 || i < 2 || (i < 12 && took() < 0.25); ++i) {
    const double start = time.wall();
    f();
    const double seconds = time.wall() - start;
    if (seconds > 0) best = std::max(best, amount / seconds);
  }
  return best;
}

inline double operation_rate(const arithmetic_loop& loop, int threads, const stopwatch& time) {
  if (loop.run == nullptr) return 0;
  constexpr std::int64_t turns = 4000;  // about 50 us
  const index_t parts = threads == 1 ? 4 : 16 * index_t(threads);
  return best_rate(time, loop.operations * static_cast<double>(turns * parts),
                   [&] { parallel_for(parts, 1, [&](index_t, index_t) { loop.run(turns); }); });
}

// The rate at which `threads` threads move `bytes`, each its own part, over and over.
inline double memory_rate(const memory_loop& loop, std::span<char> from, std::span<char> to,
                          int threads, const stopwatch& time) {
  const auto size = static_cast<index_t>(from.size());
  const index_t part = size / threads / 512 * 512;
  const index_t repeats = std::max<index_t>(1, (index_t(2) << 20) / size);
  const double amount =
      static_cast<double>(part * threads * repeats) * (to.data() == from.data() ? 1 : 2);
  return best_rate(time, amount, [&] {
    parallel_for(threads, 1, [&](index_t first, index_t) {
      for (index_t r = 0; r < repeats; ++r)
        loop.run(from.data() + first * part, to.data() + first * part, part);
    });
  });
}

// What the probes of memory work on, each of both or half of each: far more than the caches hold.
struct probe_memory {
  explicit probe_memory(const machine& host)
      : far(std::max({2 * host.last_level(), std::min(4 * host.last_level(), index_t(1) << 30),
                      index_t(64) << 20})),
        from(far, pages::huge), to(far, pages::huge) {}

  // The rate of a loop over the first bytes, as many of each buffer.
  double rate(const memory_loop& loop, const aligned_buffer<char>& target, index_t bytes,
              int threads, const stopwatch& time) const {
    const auto part = [&](const aligned_buffer<char>& b) {
      return b.span().subspan(0, static_cast<std::size_t>(bytes));
    };
    return memory_rate(loop, part(from), part(target), threads, time);
  }
  double read_rate(index_t bytes, int threads, const stopwatch& time) const {
    return rate(machine_loops().read, from, bytes, threads, time);
  }

  index_t far;
  aligned_buffer<char> from, to;
};

inline memory_level measure_level(const probe_memory& memory, index_t bytes, double capacity,
                                  int threads, const stopwatch& time) {
  const auto copy = [&](const memory_loop& loop) {
    return memory.rate(loop, memory.to, bytes / 2, threads, time);
  };
  memory_level made{.capacity = capacity};
  made.read = memory.read_rate(bytes, threads, time);
  made.copy = copy(machine_loops().copy);
  if (bytes == memory.far) made.copy = std::max(made.copy, copy(machine_loops().stream));
  return made;
}

// How much of a cache of `bytes`, next to one of `above` bytes, holds data here: a virtual machine
// is told of all that it shares with others. A part counts while half of it is read almost as fast
// as half of its quarter; rate(bytes) is that of reading so many.
template <class F> index_t share_of_cache(index_t bytes, index_t above, F rate) {
  int quarters = 0;
  while ((bytes >> 2 * (quarters + 1)) >= 4 * above) ++quarters;
  double last = quarters > 0 ? rate(bytes >> (2 * quarters + 1)) : 0;
  for (; quarters > 0; --quarters) {
    const double next = rate(bytes >> (2 * quarters - 1));
    if (next < 0.75 * last) break;
    last = next;
  }
  return bytes >> 2 * quarters;
}

}  // namespace adze::bench::detail
