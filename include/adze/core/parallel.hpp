#pragma once
// SPDX-License-Identifier: MIT
// parallel_for: loops over chunks that depend on sizes alone, so that results are the same for any
// number of threads. The caller works too, so progress never waits for a free helper. No thread is
// started before the first parallel call; after the pool is gone (exit) and in a forked child calls
// still work.
#include <atomic>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>

#include <pthread.h>

#include <adze/core/error.hpp>
#include <adze/core/thread_pool.hpp>

namespace adze {

namespace detail {

inline constinit std::atomic<int> thread_target{0};  // 0: not asked for yet
inline constinit std::atomic<bool> pool_taken{false};

// Owns the pool; touched only by the holder of pool_taken. At exit it keeps pool_taken for good, so
// that parallel_for in later destructors runs inline; when exit comes from inside a job, the
// threads simply end with the process.
struct pool_owner {
  thread_pool* pool = nullptr;
  thread_pool* left_by_fork = nullptr;  // its threads exist in the parent only
  int asked = 0;

  ~pool_owner() {
    if (!pool_taken.exchange(true, std::memory_order_acquire)) delete pool;
  }
};

inline pool_owner& the_pool() {
  static pool_owner owner;
  static const int registered = pthread_atfork(nullptr, nullptr, [] {
    owner.left_by_fork = std::exchange(owner.pool, nullptr);
    pool_taken.store(false);
  });
  static_cast<void>(registered);
  return owner;
}

[[gnu::cold, gnu::noinline]] inline int available_threads() {
  const auto n = static_cast<int>(std::thread::hardware_concurrency());
  return n < 1 ? 1 : n > 64 ? 64 : n;
}

[[gnu::noinline]] inline void run_inline(index_t count, index_t chunk, chunk_call call,
                                         void* function) {
  const index_t chunks = chunk_count(count, chunk);
  for (index_t i = 0; i < chunks; ++i) {
    const index_t begin = i * chunk;
    call(function, begin, count - begin > chunk ? begin + chunk : count);
  }
}

inline void run_chunks(index_t count, index_t chunk, int wanted, chunk_call call, void* function) {
  if (pool_taken.exchange(true, std::memory_order_acquire)) {  // another thread's job is running
    run_inline(count, chunk, call, function);
    return;
  }
  struct release {
    ~release() {
      in_parallel = false;
      pool_taken.store(false, std::memory_order_release);
    }
  } at_end;
  in_parallel = true;
  pool_owner& owner = the_pool();
  if (owner.pool == nullptr || owner.asked != wanted) {
    delete std::exchange(owner.pool, nullptr);
    owner.pool = new thread_pool(wanted - 1);
    owner.asked = wanted;
  }
  owner.pool->run(count, chunk, call, function);
}

template <class F> [[gnu::noinline]] void call_chunk(void* function, index_t begin, index_t end) {
  (*static_cast<F*>(function))(begin, end);
}

}  // namespace detail

// Number of threads that parallel_for may use, the caller included: the hardware's (64 at most)
// until set_threads says otherwise.
inline int threads() {
  int n = detail::thread_target.load(std::memory_order_relaxed);
  if (n == 0) {
    const int available = detail::available_threads();
    if (detail::thread_target.compare_exchange_strong(n, available)) n = available;
  }
  return n;
}

// Use n threads from the next parallel_for on, for the whole process. Throws value_error for n
// outside 1..1024 and state_error inside parallel_for.
inline void set_threads(int n) {
  if (n < 1 || n > 1024)
    raise<value_error>("set_threads: the number of threads must be 1 to 1024; got ", n);
  if (detail::in_parallel)
    raise<state_error>("set_threads: called inside parallel_for; call it before");
  detail::thread_target.store(n, std::memory_order_relaxed);
}

namespace detail {
// Any f(begin, end), by its address: all loops of a program are one function. It must outlive this.
struct chunk_function {
  void* function;
  chunk_call call;

  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, chunk_function>) chunk_function(F&& f)
      : function(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call(&call_chunk<std::remove_reference_t<F>>) {}
};
}  // namespace detail

// f(begin, end) for [0, chunk), [chunk, 2 chunk), ... [.., count), in any order on any thread. The
// chunks depend on count and chunk alone. One chunk, one thread, a call inside a chunk and a call
// while another thread's job is running stay on the caller, chunk after chunk. Returns when all is
// done; the exception of the lowest chunk that threw reaches the caller, and chunks not yet begun
// are left out. Do not return from fork() inside a chunk.
[[gnu::noinline]] inline void parallel_for(index_t count, index_t chunk, detail::chunk_function f) {
  if (chunk < 1) raise<value_error>("parallel_for: a chunk must hold an element; got ", chunk);
  if (count <= 0) return;
  if (count <= chunk) return f.call(f.function, 0, count);
  const int wanted = threads();
  if (wanted == 1 || detail::in_parallel) {
    return detail::run_inline(count, chunk, f.call, f.function);
  }
  detail::run_chunks(count, chunk, wanted, f.call, f.function);
}

// The same chunks in order on the caller, for loops that are parallel_for's when there is more
// work: both share one compiled body.
inline void serial_for(index_t count, index_t chunk, detail::chunk_function f) {
  detail::run_inline(count, chunk, f.call, f.function);
}

}  // namespace adze
