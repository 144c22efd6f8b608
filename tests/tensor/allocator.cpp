// SPDX-License-Identifier: MIT
// The caching allocator: size classes, alignment, reuse without the system, blocks freed by other
// threads, statistics, trim.
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <adze/tensor/tensor.hpp>
#include <adze/tensor/typed.hpp>

namespace adze {

TEST_CASE("size classes hold what is asked for and waste little") {
  std::size_t before = 0;
  for (std::size_t bytes = 0; bytes < 200000; bytes += bytes < 3000 ? 1 : 37) {
    const std::size_t c = detail::class_of(bytes), size = detail::class_bytes(c);
    REQUIRE(size >= bytes);
    REQUIRE(detail::class_of(size) == c);
    REQUIRE(c >= before);
    REQUIRE((bytes <= 1024 ? size < bytes + 65 : size <= bytes + bytes / 4 + 1));
    before = c;
  }
  const std::size_t huge = std::size_t{1} << 45;
  CHECK(detail::class_bytes(detail::class_of(huge)) == huge);
  CHECK_THROWS_AS(detail::pool_get(~std::size_t{0} / 2), value_error);
}

TEST_CASE("blocks are aligned, distinct and reused") {
  std::vector<void*> blocks;
  for (const std::size_t bytes : {1u, 64u, 65u, 1000u, 5000u, 70000u, 3000000u}) {
    for (int i = 0; i < 3; ++i) {
      void* p = detail::pool_get(bytes);
      CHECK(reinterpret_cast<std::uintptr_t>(p) % 64 == 0);
      std::memset(p, 0xab, bytes);
      for (const void* other : blocks) CHECK(p != other);
      blocks.push_back(p);
    }
    for (; !blocks.empty(); blocks.pop_back()) detail::pool_put(blocks.back(), bytes);
  }
  const index_t before = memory().system_allocations;
  for (int i = 0; i < 1000; ++i) {
    for (const index_t n : {1, 100, 10000, 1000000}) CHECK(empty({n}).numel() == n);
  }
  CHECK(memory().system_allocations - before <= 4);
}

TEST_CASE("statistics count live, peak and cached bytes; trim gives back") {
  trim();
  reset_peak();
  const memory_statistics start = memory();
  {
    const tensor x = empty({1 << 20});
    const memory_statistics in = memory();
    CHECK(in.live_bytes - start.live_bytes >= 4 << 20);
    CHECK(in.live_bytes - start.live_bytes < (4 << 20) * 5 / 4 + 4096);
  }
  const memory_statistics end = memory();
  CHECK(end.live_bytes == start.live_bytes);
  CHECK(end.peak_bytes - start.live_bytes >= 4 << 20);
  CHECK(end.cached_bytes >= 4 << 20);
  trim();
  CHECK(memory().cached_bytes == 0);
  CHECK(memory().live_bytes == start.live_bytes);
}

TEST_CASE("what one thread makes another may free, again and again") {
  const auto round = [] {
    std::vector<tensor> made;
    std::thread([&] {
      for (int i = 0; i < 2000; ++i) made.push_back(empty({i % 50}));
    }).join();
    std::thread([&] { made.clear(); }).join();
  };
  round();
  round();
  const memory_statistics before = memory();
  for (int i = 0; i < 5; ++i) round();
  CHECK(memory().system_allocations - before.system_allocations < 50);
  CHECK(memory().live_bytes == before.live_bytes);
}

TEST_CASE("without caching every release reaches the system") {
  set_caching(false);
  const index_t before = memory().system_allocations;
  for (int i = 0; i < 10; ++i) CHECK(empty({3}).defined());
  CHECK(memory().system_allocations - before >= 20);  // a record and a buffer each
  CHECK(memory().cached_bytes == 0);
  set_caching(true);
}

#ifdef ASAN_POISON_MEMORY_REGION
TEST_CASE("under the address sanitizer only the bytes of live tensors may be touched") {
  const unsigned char* first = nullptr;
  {
    const tensor x = empty({3}, u8);
    first = &x.as<std::uint8_t>()(0);
    for (int i = 0; i < 64; ++i) CHECK(__asan_address_is_poisoned(first + i) == (i >= 3));
  }
  for (int i = 8; i < 64; ++i) CHECK(__asan_address_is_poisoned(first + i) == 1);
}
#endif

}  // namespace adze
