#pragma once
// SPDX-License-Identifier: MIT
// The processor's event counters where the system lets us read them, and by name those that are
// missing. No figure of the harness needs them: they explain, the clock decides. Linux.
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <adze/core/file.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

struct counter {
  const char* name = "";
  std::uint64_t event = 0;
};

inline constexpr std::array<counter, 5> hardware_counters{{
    {"cycles", PERF_COUNT_HW_CPU_CYCLES},
    {"instructions", PERF_COUNT_HW_INSTRUCTIONS},
    {"cache misses", PERF_COUNT_HW_CACHE_MISSES},
    {"branches", PERF_COUNT_HW_BRANCH_INSTRUCTIONS},
    {"branch misses", PERF_COUNT_HW_BRANCH_MISSES},
}};

// Counts of the calling thread between start() and stop(); none for what is missing.
using counter_values = std::array<std::optional<double>, hardware_counters.size()>;

class counter_set {
 public:
  counter_set() {
    for (std::size_t i = 0; i < files_.size(); ++i) {
      perf_event_attr wanted{};
      wanted.size = sizeof wanted;
      wanted.type = PERF_TYPE_HARDWARE;
      wanted.config = hardware_counters[i].event;
      wanted.exclude_kernel = 1;  // what an ordinary user may count
      wanted.exclude_hv = 1;
      files_[i] = static_cast<int>(::syscall(SYS_perf_event_open, &wanted, 0, -1, -1, 0));
    }
  }
  counter_set(const counter_set&) = delete;
  counter_set& operator=(const counter_set&) = delete;
  ~counter_set() {
    for (const int file : files_)
      if (file >= 0) ::close(file);
  }

  bool has(std::size_t i) const { return files_[i] >= 0; }
  void start() { begin_ = read(); }
  counter_values stop() const {
    counter_values now = read();
    for (std::size_t i = 0; i < now.size(); ++i)
      if (now[i] && begin_[i]) *now[i] -= *begin_[i];
    return now;
  }

 private:
  counter_values read() const {
    counter_values out;
    for (std::size_t i = 0; i < files_.size(); ++i) {
      std::uint64_t value = 0;
      if (has(i) && ::read(files_[i], &value, sizeof value) == sizeof value)
        out[i] = static_cast<double>(value);
    }
    return out;
  }

  std::array<int, hardware_counters.size()> files_{};
  counter_values begin_{};
};

// "cycles, instructions; missing: cache misses, branches, branch misses".
inline std::string counter_report() {
  const counter_set all;
  std::string there, missing;
  for (std::size_t i = 0; i < hardware_counters.size(); ++i) {
    std::string& list = all.has(i) ? there : missing;
    list += (list.empty() ? "" : ", ") + std::string(hardware_counters[i].name);
  }
  if (missing.empty()) return there;
  return (there.empty() ? "none" : there) + "; missing: " + missing;
}

}  // namespace adze::bench
