#pragma once
// SPDX-License-Identifier: MIT
// Reference-counted memory of tensors: a 64-byte header and the data in one block, or a header
// for memory that somebody else owns. The version counts changes in place; views share it.
#include <atomic>
#include <cstddef>

#include <adze/tensor/allocator.hpp>

namespace adze::detail {

// Counts that know when they are alone: a sole owner needs no atomic decrement.
template <class T> void retain(T* p) noexcept {
  if (p != nullptr) p->refs.fetch_add(1, std::memory_order_relaxed);
}
// True when the caller was the last owner and must destroy *p.
template <class T> bool release_last(T* p) noexcept {
  return p->refs.load(std::memory_order_acquire) == 1 ||
         p->refs.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

struct alignas(64) storage {
  std::atomic<std::uint32_t> refs{1};
  std::atomic<std::uint32_t> version{0};
  std::atomic<std::uint32_t> recorded{0};  // the version that a graph's value was written as
  std::size_t bytes = 0;
  std::byte* data = nullptr;
  void (*deleter)(void* context) = nullptr;  // for borrowed memory
  void* context = nullptr;
  std::atomic<std::uint32_t> leaves{0};  // that require grad and live here
  bool placed = false;                   // header and data are the deleter's to free
};
static_assert(sizeof(storage) == 64);

// Where a thread's new storages come from instead of the pool, while one is installed: the arena
// of a plan. It may decline with null. Not a virtual function, whose overriders g++ would compile
// for every program that allocates.
struct storage_source {
  storage* (*make)(storage_source& self, std::size_t bytes);
};
inline constinit thread_local storage_source* storage_from = nullptr;

inline storage* make_storage(std::size_t bytes) {
  if (storage_from != nullptr) {
    if (storage* s = storage_from->make(*storage_from, bytes)) return s;
  }
  void* block = pool_get(sizeof(storage) + bytes);
  auto* s = ::new (block) storage;
  s->bytes = bytes;
  s->data = reinterpret_cast<std::byte*>(s + 1);
  return s;
}

inline storage* borrow_storage(void* data, std::size_t bytes, void (*deleter)(void*),
                               void* context) {
  auto* s = ::new (pool_get(sizeof(storage))) storage;
  s->bytes = bytes;
  s->data = static_cast<std::byte*>(data);
  s->deleter = deleter;
  s->context = context;
  return s;
}

inline void release(storage* s) noexcept {
  if (s == nullptr || !release_last(s)) return;
  const bool own = s->data == reinterpret_cast<std::byte*>(s + 1), placed = s->placed;
  if (s->deleter != nullptr) s->deleter(s->context);
  if (placed) return;
  const std::size_t bytes = sizeof(storage) + (own ? s->bytes : 0);
  s->~storage();
  pool_put(s, bytes);
}

}  // namespace adze::detail
