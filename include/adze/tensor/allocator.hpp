#pragma once
// SPDX-License-Identifier: MIT
// The caching allocator of buffers, tensor records and graph nodes: size classes, a free list per
// thread and class, and a locked central list behind it. Blocks are 64-byte aligned, large ones on
// huge pages, may be freed by any thread, and carry no header: the caller gives the size back.
// After the first pass a training loop asks the system for nothing. Under the address sanitizer
// what is cached, and what a size class rounds up, is out of bounds.
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <mutex>
#include <new>

#include <adze/core/error.hpp>
#include <adze/core/poison.hpp>
#include <adze/fwd.hpp>
#include <adze/simd/pages.hpp>

namespace adze {

// Bytes as the size classes round them. `peak` is exact to 64 KiB per thread.
struct memory_statistics {
  index_t live_bytes = 0;          // handed out and not yet returned
  index_t peak_bytes = 0;          // largest live_bytes since start or reset_peak()
  index_t cached_bytes = 0;        // held for reuse
  index_t system_allocations = 0;  // calls to the system since start
};

namespace detail {

inline constexpr std::size_t class_count =
    16 + 4 * 38;  // 64-byte steps to 1 KiB, then 4 per octave

constexpr std::size_t class_of(std::size_t bytes) {
  if (bytes <= 1024) return bytes == 0 ? 0 : (bytes - 1) / 64;
  const auto octave = static_cast<std::size_t>(std::bit_width(bytes - 1));  // 2^(octave-1) < bytes
  const std::size_t quarter = ((bytes - 1) >> (octave - 3)) & 3;
  return 16 + (octave - 11) * 4 + quarter;
}
constexpr std::size_t class_bytes(std::size_t c) {
  if (c < 16) return (c + 1) * 64;
  const std::size_t octave = 10 + (c - 16) / 4, quarter = (c - 16) % 4;
  return (std::size_t{1} << octave) + ((quarter + 1) << (octave - 2));
}

struct free_block {
  free_block* next;
};

struct free_list {
  free_block* head = nullptr;
  index_t count = 0;
  void push(void* p) {
    head = ::new (p) free_block{head};
    ++count;
  }
  void* pop() {
    free_block* b = head;
    if (b != nullptr) head = b->next, --count;
    return b;
  }
};

// How many blocks of a class a thread keeps to itself: plenty of small ones, no large ones.
constexpr index_t thread_limit(std::size_t bytes) {
  return bytes <= 1024 ? 256 : bytes <= 65536 ? static_cast<index_t>(262144 / bytes) : 0;
}

// Never destroyed: tensors may live in statics and be released after everything else.
struct central_pool {
  std::mutex lock;
  std::array<free_list, class_count> lists{};
  std::atomic<index_t> live{0}, peak{0}, system{0};
};
inline constinit std::atomic<bool> caching_on{true};
[[gnu::noinline]] inline central_pool& central() {
  static central_pool* const pool = new central_pool;
  return *pool;
}

// Trivial and constinit, so that access costs no guard; `exit_flush` returns its blocks.
struct thread_cache {
  std::array<free_list, class_count> lists;
  index_t live;  // not yet added to central().live
  bool registered;
};
inline constinit thread_local thread_cache local_cache{};

[[gnu::noinline]] inline void raise_peak(central_pool& pool, index_t live) {
  index_t seen = pool.peak.load(std::memory_order_relaxed);
  while (live > seen && !pool.peak.compare_exchange_weak(seen, live)) {
  }
}

[[gnu::noinline]] inline void flush_live() {
  central_pool& pool = central();
  const index_t change = local_cache.live;
  local_cache.live = 0;
  raise_peak(pool, pool.live.fetch_add(change) + change);
}

// Moves blocks of one class to the central list until `keep` are left here.
inline void spill(std::size_t c, index_t keep) {
  free_list& mine = local_cache.lists[c];
  const std::lock_guard guard(central().lock);
  while (mine.count > keep) central().lists[c].push(mine.pop());
}

struct exit_flush {
  ~exit_flush() {
    for (std::size_t c = 0; c < class_count; ++c) {
      if (local_cache.lists[c].count > 0) spill(c, 0);
    }
    flush_live();
    local_cache.registered = false;
  }
};
[[gnu::noinline]] inline void register_thread() {
  static thread_local exit_flush flush;
  (void)flush;
  local_cache.registered = true;
}

inline void count_live(index_t bytes) {
  local_cache.live += bytes;
  if (local_cache.live > 65536 || local_cache.live < -65536) flush_live();
}

[[gnu::noinline]] inline void* central_get(std::size_t c) {
  central_pool& pool = central();
  const auto bytes = class_bytes(c);
  {
    const std::lock_guard guard(pool.lock);
    if (void* p = pool.lists[c].pop()) return p;
  }
  pool.system.fetch_add(1, std::memory_order_relaxed);
  void* const made = ::operator new(bytes, simd::page_alignment(bytes), std::nothrow);
  if (made != nullptr) simd::prefer_huge_pages(made, bytes);
  return made;
}
inline void system_put(void* p, std::size_t bytes) noexcept {
  unpoison(p, bytes);
  ::operator delete(p, simd::page_alignment(bytes));
}

}  // namespace detail

// Returns all cached blocks of the central list and of this thread to the system.
[[gnu::cold]] inline void trim() {
  detail::central_pool& pool = detail::central();
  for (std::size_t c = 0; c < detail::class_count; ++c) {
    detail::spill(c, 0);
    const std::lock_guard guard(pool.lock);
    while (void* p = pool.lists[c].pop()) detail::system_put(p, detail::class_bytes(c));
  }
}

namespace detail {

inline void* pool_get(std::size_t bytes) {
  const std::size_t c = class_of(bytes);
  if (c >= class_count)
    raise<value_error>("allocate: ", bytes, " bytes is more than any machine holds");
  void* p = local_cache.lists[c].pop();
  if (p == nullptr) {
    if (!local_cache.registered) register_thread();
    p = central_get(c);
    if (p == nullptr) {
      trim();
      p = central_get(c);
    }
    if (p == nullptr) raise<value_error>("allocate: out of memory; ", bytes, " bytes asked for");
  }
  const std::size_t size = class_bytes(c);
  count_live(static_cast<index_t>(size));
  unpoison(p, size);
  poison(static_cast<std::byte*>(p) + bytes, size - bytes);
  return p;
}

inline void pool_put(void* p, std::size_t bytes) noexcept {
  const std::size_t c = class_of(bytes);
  const std::size_t size = class_bytes(c);
  count_live(-static_cast<index_t>(size));
  if (!caching_on.load(std::memory_order_relaxed)) {
    system_put(p, size);
    return;
  }
  if (!local_cache.registered) register_thread();
  free_list& mine = local_cache.lists[c];
  unpoison(p, sizeof(free_block));
  mine.push(p);
  poison(static_cast<std::byte*>(p) + sizeof(free_block), size - sizeof(free_block));
  const index_t limit = thread_limit(size);
  if (mine.count > limit) spill(c, limit / 2);
}

}  // namespace detail

// With caching off each release goes to the system at once. Results never depend on it.
inline void set_caching(bool on) {
  detail::caching_on.store(on, std::memory_order_relaxed);
  if (!on) trim();
}

[[gnu::cold]] inline memory_statistics memory() {
  detail::flush_live();
  detail::central_pool& pool = detail::central();
  memory_statistics s{.live_bytes = pool.live.load(),
                      .peak_bytes = pool.peak.load(),
                      .system_allocations = pool.system.load()};
  const std::lock_guard guard(pool.lock);
  for (std::size_t c = 0; c < detail::class_count; ++c) {
    const index_t held = pool.lists[c].count + detail::local_cache.lists[c].count;
    s.cached_bytes += held * static_cast<index_t>(detail::class_bytes(c));
  }
  return s;
}

inline void reset_peak() {
  detail::flush_live();
  detail::central().peak.store(detail::central().live.load());
}

}  // namespace adze
