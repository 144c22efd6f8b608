#pragma once
// SPDX-License-Identifier: MIT
// Counts what a whole program asks of operator new. Include in one file of a program. Never
// inlined: g++ would warn that new and free do not match.
#include <atomic>
#include <cstdlib>
#include <new>

#include <adze/bench/result.hpp>

namespace counted {

inline std::atomic<long> allocations{0};

inline adze::bench::memory_use memory() {
  return {.allocations = static_cast<double>(allocations.load())};
}

}  // namespace counted

[[gnu::noinline]] void* operator new(std::size_t n) {
  ++counted::allocations;
  if (void* p = std::malloc(n)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a) {
  ++counted::allocations;
  const auto unit = static_cast<std::size_t>(a);
  if (void* p = std::aligned_alloc(unit, (n + unit - 1) / unit * unit)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a,
                                     const std::nothrow_t&) noexcept {
  ++counted::allocations;
  const auto unit = static_cast<std::size_t>(a);
  return std::aligned_alloc(unit, (n + unit - 1) / unit * unit);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
