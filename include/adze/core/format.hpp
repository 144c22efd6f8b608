#pragma once
// SPDX-License-Identifier: MIT
// Numbers as people read them in reports: durations, rates, decimals that no locale changes.
// Tables, progress lines and charts share these; nothing here knows where the text goes.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <string>
#include <string_view>

#include <adze/fwd.hpp>

namespace adze::report {

// Seconds of a clock that never goes back.
inline double steady_seconds() {
  std::timespec now{};  // POSIX: <chrono> alone would cost a tenth of a second to compile
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Columns that a UTF-8 text takes on a terminal, counted in code points.
[[gnu::cold]] inline index_t display_width(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

// 0:07, 12:34, 1:02:03; "?" for what is no time.
[[gnu::cold]] inline std::string format_duration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  const auto total = std::llround(seconds);
  std::array<char, 40> buffer{};
  if (total >= 3600) {
    std::snprintf(buffer.data(), buffer.size(), "%lld:%02lld:%02lld", total / 3600, total / 60 % 60,
                  total % 60);
  } else {
    std::snprintf(buffer.data(), buffer.size(), "%lld:%02lld", total / 60, total % 60);
  }
  return buffer.data();
}

// `decimals` digits after the point, and always a point.
[[gnu::cold]] inline std::string format_fixed(double value, int decimals) {
  std::array<char, 512> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::fixed, std::clamp(decimals, 0, 60));
  return {buffer.data(), end.ptr};
}

// Three significant digits with k, M or G: 9.50, 950, 12.3k, 4.56M; "?" for infinity and NaN.
[[gnu::cold]] inline std::string format_rate(double value) {
  if (!std::isfinite(value)) return "?";
  const char* suffix = "";
  for (const char* next : {"k", "M", "G"}) {
    if (std::fabs(value) < 999.5) break;
    value /= 1000;
    suffix = next;
  }
  const int decimals = std::fabs(value) < 9.995 ? 2 : std::fabs(value) < 99.95 ? 1 : 0;
  return format_fixed(value, decimals).append(suffix);
}

}  // namespace adze::report
