#pragma once
// SPDX-License-Identifier: MIT
// Tells the address sanitizer which bytes of our own pools may be touched. Without the sanitizer
// both functions are empty. Every file of a program is to be built with it, or none.
#include <cstddef>

#if defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    include <sanitizer/asan_interface.h>
#  endif
#elif defined(__SANITIZE_ADDRESS__)
#  include <sanitizer/asan_interface.h>
#endif

namespace adze::detail {

#ifdef ASAN_POISON_MEMORY_REGION
inline constexpr bool poisons = true;
// From here on a read or write of these bytes is an error.
inline void poison(const void* p, std::size_t bytes) { __asan_poison_memory_region(p, bytes); }
inline void unpoison(const void* p, std::size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
#else
inline constexpr bool poisons = false;
inline void poison(const void*, std::size_t) {}
inline void unpoison(const void*, std::size_t) {}
#endif

}  // namespace adze::detail
