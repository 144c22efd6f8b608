#pragma once
// SPDX-License-Identifier: MIT
// What a kernel has to do (its work), what a machine can do (its peaks), and the least time that
// follows: the roof. How the peaks are measured is peaks.hpp's business.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <vector>

#include <adze/fwd.hpp>

namespace adze::bench {

enum class arithmetic { f32, f64, i8 };  // of the multiplications that count as work
enum class cache_state {
  warm,      // every call finds its operands where the last one left them
  cold,      // every call finds its operands in memory only
  streamed,  // every call gets other operands, so they come from memory one after the other
};

inline std::string_view name_of(cache_state state) {
  return state == cache_state::warm ? "warm" : state == cache_state::cold ? "cold" : "streamed";
}

// What one call must do whatever the algorithm: operations (a multiplication and an addition are
// two), and the bytes that it cannot avoid to read and to write.
struct work {
  double operations = 0;
  double read = 0;
  double written = 0;
  arithmetic unit = arithmetic::f32;

  double bytes() const { return read + written; }
  double intensity() const { return bytes() > 0 ? operations / bytes() : 0; }
};

// Bandwidths in bytes a second. A copy counts what it reads and what it writes.
struct memory_level {
  double capacity = 0;  // bytes that live at this level; the last level holds everything
  double read = 0;
  double copy = 0;
};

// What `threads` threads of this machine reach together. Zero: not measured.
struct peaks {
  int threads = 1;
  double f32 = 0, f64 = 0, i8 = 0;     // operations a second
  std::vector<memory_level> levels{};  // from the nearest to the farthest

  double operations(arithmetic unit) const {
    return unit == arithmetic::f32 ? f32 : unit == arithmetic::f64 ? f64 : i8;
  }
};

// The level that the operands of one call come from.
inline memory_level level_of(const peaks& machine, const work& w, cache_state state) {
  if (machine.levels.empty()) return {};
  if (state != cache_state::warm) return machine.levels.back();
  for (const memory_level& level : machine.levels)
    if (w.bytes() <= level.capacity) return level;
  return machine.levels.back();
}

// Reading and writing at the speed of a copy as far as both go, the rest at that of reading (or of
// copying, for what is only written).
inline double memory_seconds(const memory_level& level, const work& w) {
  const double both = w.written + std::min(w.written, w.read);
  const double only_read = std::max(w.read - w.written, 0.0);
  return (both > 0 && level.copy > 0 ? both / level.copy : 0) +
         (only_read > 0 && level.read > 0 ? only_read / level.read : 0);
}

struct roof {
  double seconds = 0;  // no call can take less; 0: unknown
  bool by_memory = false;
};

inline roof roof_of(const peaks& machine, const work& w, cache_state state) {
  const double rate = machine.operations(w.unit);
  const double arithmetic_time = rate > 0 ? w.operations / rate : 0;
  const double memory_time = memory_seconds(level_of(machine, w, state), w);
  return {std::max(arithmetic_time, memory_time), memory_time > arithmetic_time};
}

// Share of the roof that a call of `seconds` reaches; 0 where the roof is unknown. Above 1.1 the
// work, the peaks or the kernel are wrong: a bug until explained.
inline double share_of_roof(const roof& limit, double seconds) {
  return seconds > 0 ? limit.seconds / seconds : 0;
}

}  // namespace adze::bench
