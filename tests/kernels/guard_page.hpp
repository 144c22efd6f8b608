#pragma once
// SPDX-License-Identifier: MIT
// Memory that ends where no byte may be read: shows what no sanitizer sees, as loads by inline
// assembly.
#include <cstddef>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

#include <doctest/doctest.h>

namespace adze {

class guarded_memory {
 public:
  guarded_memory(const void* from, std::size_t bytes) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t used = (bytes + page - 1) / page * page;
    all_ = used + page;
    memory_ = ::mmap(nullptr, all_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory_ != MAP_FAILED);
    auto* const start = static_cast<std::byte*>(memory_);
    REQUIRE(::mprotect(start + used, page, PROT_NONE) == 0);
    data_ = start + used - bytes;
    std::memcpy(data_, from, bytes);
  }
  ~guarded_memory() { ::munmap(memory_, all_); }
  guarded_memory(const guarded_memory&) = delete;
  guarded_memory& operator=(const guarded_memory&) = delete;
  void* data() const { return data_; }

 private:
  void *memory_ = nullptr, *data_ = nullptr;
  std::size_t all_ = 0;
};

}  // namespace adze
