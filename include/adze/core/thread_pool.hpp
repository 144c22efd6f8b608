#pragma once
// SPDX-License-Identifier: MIT
// The threads behind core/parallel.hpp: helpers that yield briefly, then park, and one job at a
// time cut into chunks. Who owns the pool, nesting, fork and exit are parallel.hpp's business.
// Invariant: while gate_ is zero no helper reads the job, so it may be replaced.
#include <atomic>
#include <cstdint>
#include <exception>
#include <limits>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <adze/fwd.hpp>

namespace adze {

// Number of chunks of `chunk` elements that cover `count` elements; 0 for none.
constexpr index_t chunk_count(index_t count, index_t chunk) {
  return count <= 0 ? 0 : (count - 1) / chunk + 1;
}

namespace detail {

using chunk_call = void (*)(void* function, index_t begin, index_t end);

inline constinit thread_local bool in_parallel = false;  // this thread works on a job

class thread_pool {
 public:
  [[gnu::cold]] explicit thread_pool(int helpers) {
    helpers_.reserve(static_cast<std::size_t>(helpers));
    try {
      for (int i = 0; i < helpers; ++i) helpers_.push_back(std::thread([this] { help(); }));
    } catch (...) {  // no more threads, or memory for them, to be had: work with these
    }
  }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  [[gnu::cold]] ~thread_pool() {
    stopping_.store(true, std::memory_order_relaxed);
    epoch_.fetch_add(1);
    epoch_.notify_all();
    for (std::thread& helper : helpers_) helper.join();
  }

  int helpers() const { return static_cast<int>(helpers_.size()); }

  // One job at a time: the holder of pool_taken calls this.
  void run(index_t count, index_t chunk, chunk_call call, void* function) {
    call_ = call;
    function_ = function;
    count_ = count;
    chunk_ = chunk;
    chunks_ = chunk_count(count, chunk);
    failed_chunk_ = std::numeric_limits<index_t>::max();
    next_.store(0, std::memory_order_relaxed);
    gate_.store(open, std::memory_order_release);
    wake();
    work();
    // Helpers that have not come in yet are not waited for.
    std::uint32_t inside = gate_.fetch_and(~open, std::memory_order_acq_rel) & ~open;
    for (int i = 0; inside != 0; ++i) {
      if (i < spins)
        std::this_thread::yield();
      else
        gate_.wait(inside, std::memory_order_acquire);
      inside = gate_.load(std::memory_order_acquire);
    }
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  static constexpr std::uint32_t open = 1;  // gate_: this bit, and two for each helper inside
  static constexpr std::uint32_t entry = 2;
  static constexpr int spins = 200;  // some 50 to 100 us of yielding before a thread parks

  void wake() {
    epoch_.fetch_add(1, std::memory_order_release);
    if (chunks_ > helpers()) {
      epoch_.notify_all();
    } else {
      for (index_t i = 1; i < chunks_; ++i) epoch_.notify_one();
    }
  }

  bool enter() {
    std::uint32_t seen = gate_.load(std::memory_order_relaxed);
    while ((seen & open) != 0) {
      if (gate_.compare_exchange_weak(seen, seen + entry, std::memory_order_acquire)) return true;
    }
    return false;
  }

  void leave() {
    if (gate_.fetch_sub(entry, std::memory_order_acq_rel) == entry) gate_.notify_one();
  }

  void help() {
    in_parallel = true;
    std::uint32_t seen = 0;
    while (true) {
      std::uint32_t now = epoch_.load(std::memory_order_acquire);
      for (int i = 0; now == seen; ++i) {
        if (i < spins)
          std::this_thread::yield();
        else
          epoch_.wait(seen, std::memory_order_acquire);
        now = epoch_.load(std::memory_order_acquire);
      }
      seen = now;
      if (stopping_.load(std::memory_order_relaxed)) return;
      if (enter()) {
        work();
        leave();
      }
    }
  }

  void work() {
    while (true) {
      const index_t i = next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= chunks_) return;
      const index_t begin = i * chunk_;
      const index_t end = count_ - begin > chunk_ ? begin + chunk_ : count_;
      try {
        call_(function_, begin, end);
      } catch (...) {
        fail(i);
      }
    }
  }

  // Chunks are handed out in order, so the lowest chunk that throws always runs: the caller sees
  // the exception that a plain loop would have met first.
  void fail(index_t i) {
    next_.store(chunks_, std::memory_order_relaxed);
    while (failing_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    if (i < failed_chunk_) {
      failed_chunk_ = i;
      failure_ = std::current_exception();
    }
    failing_.store(false, std::memory_order_release);
  }

  chunk_call call_ = nullptr;
  void* function_ = nullptr;
  index_t count_ = 0;
  index_t chunk_ = 1;
  index_t chunks_ = 0;
  index_t failed_chunk_ = 0;
  std::exception_ptr failure_;
  std::atomic<bool> failing_{false};
  alignas(64) std::atomic<index_t> next_{0};
  alignas(64) std::atomic<std::uint32_t> gate_{0};
  alignas(64) std::atomic<std::uint32_t> epoch_{0};
  std::atomic<bool> stopping_{false};  // read when epoch_ has moved
  std::vector<std::thread> helpers_;
};

}  // namespace detail
}  // namespace adze
