#pragma once
// SPDX-License-Identifier: MIT
// The peaks of this machine: measured once for each number of threads, then kept in the user's
// cache folder under a key of the host. A peak is the best seen, for a disturbed period only ever
// hides speed; so a run that sees more raises the kept value.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <sys/stat.h>

#include <adze/bench/machine.hpp>
#include <adze/bench/rates.hpp>
#include <adze/bench/roofline.hpp>
#include <adze/bench/stopwatch.hpp>
#include <adze/core/error.hpp>
#include <adze/core/file.hpp>
#include <adze/core/parallel.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

// Takes a few seconds for each number of threads, and leaves threads() as it was.
inline peaks measure_peaks(const machine& host, int threads, const stopwatch& time = {}) {
  const int before = adze::threads();
  set_threads(threads);
  const detail::probe_loops loops = detail::machine_loops();
  peaks found{.threads = threads,
              .f32 = detail::operation_rate(loops.f32, threads, time),
              .i8 = detail::operation_rate(loops.i8, threads, time)};
  found.f64 = found.f32 / 2;  // half as many lanes, on every machine with both
  const detail::probe_memory memory(host);
  const auto probed = [&](index_t bytes) { return std::min(bytes, memory.far) / 4096 * 4096; };
  index_t above = 0;
  for (const cache& c : host.caches) {
    const bool shared = &c == &host.caches.back() && host.caches.size() > 1;
    index_t bytes = c.bytes * (shared ? 1 : threads);
    if (shared)
      bytes = detail::share_of_cache(bytes, above, [&](index_t part) {
        return memory.read_rate(probed(part), threads, time);
      });
    found.levels.push_back(detail::measure_level(memory, probed(bytes / 2),
                                                 static_cast<double>(bytes), threads, time));
    above = bytes;
  }
  found.levels.push_back(detail::measure_level(
      memory, memory.far, std::numeric_limits<double>::infinity(), threads, time));
  set_threads(before);
  return found;
}

// Looks again at what neighbours disturb most, arithmetic and far memory: whether it saw more.
inline bool raise_peaks(peaks& kept, const machine& host, const stopwatch& time = {}) {
  const int before = adze::threads();
  set_threads(kept.threads);
  const double f32 = detail::operation_rate(detail::machine_loops().f32, kept.threads, time);
  const detail::probe_memory memory(host);
  const memory_level seen =
      detail::measure_level(memory, memory.far, kept.levels.back().capacity, kept.threads, time);
  set_threads(before);
  memory_level& far = kept.levels.back();
  const bool more = f32 > kept.f32 || seen.read > far.read || seen.copy > far.copy;
  kept.f32 = std::max(kept.f32, f32);
  kept.f64 = kept.f32 / 2;
  far.read = std::max(far.read, seen.read);
  far.copy = std::max(far.copy, seen.copy);
  return more;
}

namespace detail {

inline std::string peaks_text(const peaks& p) {
  std::string out = text("adze-peaks 1\nthreads ", p.threads, "\nf32 ", p.f32, "\nf64 ", p.f64,
                         "\ni8 ", p.i8, "\n");
  for (const memory_level& l : p.levels)
    out += text("level ", l.capacity, " ", l.read, " ", l.copy, "\n");
  return out;
}

// The peaks that a kept file tells; threads 0 where it is none of ours or incomplete.
inline peaks peaks_from(std::string_view text) {
  const auto word = [&] {
    const std::size_t first = std::min(text.find_first_not_of(" \n"), text.size());
    text.remove_prefix(first);
    const std::size_t end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view out = text.substr(0, end);
    text.remove_prefix(end);
    return out;
  };
  bool good = true;
  const auto number = [&] {
    const std::string_view w = word();
    double value = 0;
    const auto end = std::from_chars(w.data(), w.data() + w.size(), value);
    good &= end.ec == std::errc() && end.ptr == w.data() + w.size() && value >= 0;
    return value;
  };
  peaks p{.threads = 0};
  double threads = 0;
  if (word() != "adze-peaks" || word() != "1") return p;
  for (std::string_view key = word(); !key.empty() && good; key = word()) {
    if (key == "threads") {
      threads = number();
    } else if (key == "f32") {
      p.f32 = number();
    } else if (key == "f64") {
      p.f64 = number();
    } else if (key == "i8") {
      p.i8 = number();
    } else if (key == "level" && p.levels.size() < 8) {
      const double capacity = number(), read = number(), copy = number();
      p.levels.push_back({capacity, read, copy});
    } else {
      return p;
    }
  }
  if (good && p.f32 > 0 && !p.levels.empty() && threads >= 1 && threads <= 1024)
    p.threads = static_cast<int>(threads);
  return p;
}

}  // namespace detail

// Where the peaks of this host are kept: a file of the user's cache folder; empty without one.
inline std::string peaks_path(const machine& host, int threads) {
  const char* cache_home = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  std::string folder;
  if (cache_home != nullptr && *cache_home == '/') {
    folder = cache_home;
  } else if (home != nullptr && *home == '/') {
    folder = std::string(home) + "/.cache";
  } else {
    return {};
  }
  std::uint64_t key = 14695981039346656037u;  // FNV-1a
  std::string identity = text(host.name, host.processor, host.processors);
  for (const cache& c : host.caches) identity += text(" ", c.bytes);
  for (const char c : identity) key = (key ^ static_cast<unsigned char>(c)) * 1099511628211u;
  ::mkdir(folder.c_str(), 0755);
  ::mkdir((folder + "/adze").c_str(), 0755);
  return text(folder, "/adze/peaks-", key, "-", threads, ".txt");
}

// Keeps the peaks for the next run; whether that worked.
inline bool keep_peaks(const peaks& p, const std::string& path) {
  try {
    if (!path.empty()) write_file(path, detail::peaks_text(p));
    return !path.empty();
  } catch (const io_error&) {
    return false;
  }
}

// The kept peaks of this host, raised by what this run sees; where there are none (or `anew`),
// measured and kept.
inline peaks peaks_of(const machine& host, int threads, bool anew = false) {
  const std::string path = peaks_path(host, threads);
  if (!anew && !path.empty()) {
    peaks kept = detail::peaks_from(detail::system_text(path));
    if (kept.threads == threads) {
      if (raise_peaks(kept, host)) keep_peaks(kept, path);
      return kept;
    }
  }
  const peaks found = measure_peaks(host, threads);
  keep_peaks(found, path);
  return found;
}

}  // namespace adze::bench
