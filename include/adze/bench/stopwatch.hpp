#pragma once
// SPDX-License-Identifier: MIT
// What the harness reads the time from, and the two barriers that keep measured code alive.
// The clock is a value: tests inject one that they turn by hand, so no test asserts a real time.
#include <algorithm>
#include <ctime>

#include <adze/core/format.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

// Two readings in seconds: the time on the wall, and the processor time of the whole process.
struct stopwatch {
  double (*read_wall)(void*) = [](void*) { return report::steady_seconds(); };
  double (*read_processor)(void*) = [](void*) {
    std::timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  };
  void* state = nullptr;

  double wall() const { return read_wall(state); }
  double processor() const { return read_processor(state); }
};

// What one pair of readings costs: the least difference of two that follow each other.
inline double reading_cost(const stopwatch& time) {
  double least = 1;
  for (int i = 0; i < 200; ++i) {
    const double start = time.wall();
    least = std::min(least, time.wall() - start);
  }
  return std::max(least, 0.0);
}

// The compiler must assume that the value is read here, and memory with it.
template <class T> void keep(const T& value) { asm volatile("" : : "r"(&value) : "memory"); }

// The compiler must assume that all memory is read and written here.
inline void touch_memory() { asm volatile("" : : : "memory"); }

}  // namespace adze::bench
