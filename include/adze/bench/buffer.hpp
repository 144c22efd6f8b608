#pragma once
// SPDX-License-Identifier: MIT
// Memory for operands and probes: aligned, and every page touched, so that no measurement pays for
// a first touch. Not an allocator: one buffer, freed with its owner.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

#include <sys/mman.h>

#include <adze/fwd.hpp>

namespace adze::bench {

enum class pages { usual, huge };

// Memory on a cache line's boundary (huge: on 2 MiB, with large pages where the system gives
// them), every page of it touched; usual pages have a line more, since some libraries read a little
// past their operands. bad_alloc: there is not so much.
template <class T> class aligned_buffer {
 public:
  explicit aligned_buffer(index_t count, pages wanted = pages::usual)
      : count_(count), data_(allocate(static_cast<std::size_t>(count) * sizeof(T), wanted)) {
    std::fill_n(data_.get(), count, T(0));
  }

  T* data() const { return data_.get(); }
  index_t size() const { return count_; }
  T& operator[](index_t i) const { return data_.get()[i]; }
  std::span<T> span() const { return {data(), static_cast<std::size_t>(count_)}; }

 private:
  struct release {
    void operator()(T* p) const { std::free(p); }
  };
  static T* allocate(std::size_t bytes, pages wanted) {
    const std::size_t unit = wanted == pages::huge ? std::size_t(2) << 20 : 64;
    const std::size_t rounded = (std::max<std::size_t>(bytes, 1) + unit - 1) / unit * unit +
                                (wanted == pages::huge ? 0 : 64);
    void* made = std::aligned_alloc(unit, rounded);
    if (made == nullptr) throw std::bad_alloc();
    if (wanted == pages::huge) ::madvise(made, rounded, MADV_HUGEPAGE);
    return static_cast<T*>(made);
  }

  index_t count_ = 0;
  std::unique_ptr<T, release> data_;
};

}  // namespace adze::bench
