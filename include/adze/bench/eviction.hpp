#pragma once
// SPDX-License-Identifier: MIT
// Cold and streamed operands: emptying the caches of what a kernel will read, a check that it
// really happened, and how many sets of operands make a stream that no cache holds.
#include <algorithm>
#include <vector>

#include <adze/bench/buffer.hpp>
#include <adze/bench/statistics.hpp>
#include <adze/bench/stopwatch.hpp>
#include <adze/core/random.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

// Walks three last-level caches of its own memory, blocks in random order so that no replacement
// rule keeps the old lines. Nothing is flushed by instruction: it works on every machine.
class evictor {
 public:
  explicit evictor(index_t last_level)
      : memory_(std::max<index_t>(3 * last_level / block, 1) * block),
        order_(generator(7).permutation(memory_.size() / block)) {}

  void operator()() {
    for (const index_t i : order_) {
      char* p = memory_.data() + i * block;
      for (index_t j = 0; j < block; j += 64) p[j] = static_cast<char>(p[j] + 1);
    }
    touch_memory();
  }

 private:
  static constexpr index_t block = 4096;
  aligned_buffer<char> memory_;
  std::vector<index_t> order_;
};

// How many times longer 64 KiB take to read after an eviction than before; above 2 it works.
inline double eviction_effect(evictor& evict, const stopwatch& time = {}) {
  const aligned_buffer<char> probe(index_t(1) << 16);
  const auto read = [&] {
    const double start = time.wall();
    int sum = 0;
    for (index_t i = 0; i < probe.size(); i += 64) sum += probe[i];
    keep(sum);
    return time.wall() - start;
  };
  std::vector<double> warm, cold;
  for (int i = 0; i < 5; ++i) {
    read();
    warm.push_back(read());
    evict();
    cold.push_back(read());
  }
  return median(cold) / std::max(median(warm), 1e-9);
}

// So many sets of operands that three last-level caches are full before one comes again; 1 where
// the operands of one call are larger than that.
inline index_t streamed_sets(double bytes_of_a_set, index_t last_level) {
  const double sets = 3 * static_cast<double>(last_level) / std::max(bytes_of_a_set, 64.0);
  return static_cast<index_t>(sets) + 1;
}

}  // namespace adze::bench
