#pragma once
// SPDX-License-Identifier: MIT
// What this machine is, as far as it tells without privileges: processor, caches, governor, load,
// compiler, counters. What cannot be read is named, never guessed and never an error.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/utsname.h>
#include <unistd.h>

#include <adze/bench/counters.hpp>
#include <adze/core/error.hpp>
#include <adze/core/file.hpp>
#include <adze/core/format.hpp>
#include <adze/core/parallel.hpp>
#include <adze/core/version.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

struct cache {
  int level = 1;
  std::string type;   // Data or Unified; instruction caches are left out
  index_t bytes = 0;  // of one instance
};

struct machine {
  std::string name{};       // of the host
  std::string processor{};  // "AMD EPYC (family 25, model 17, stepping 1)"
  std::string instructions{};
  int processors = 1;
  std::vector<cache> caches{};
  double load = -1;  // of the last minute; -1: unknown
  bool scaling = false;

  index_t last_level() const { return caches.empty() ? index_t(32) << 20 : caches.back().bytes; }
};

namespace detail {

// The text of a small file of the system; empty where it cannot be read.
inline std::string system_text(const std::string& path) {
  try {
    const byte_vector bytes = read_file(path, index_t(1) << 22);
    return {bytes.begin(), bytes.end()};
  } catch (const io_error&) {
    return {};
  }
}

inline std::string first_line(const std::string& path) {
  std::string text = system_text(path);
  text.resize(std::min(text.find('\n'), text.size()));
  return text;
}

// The value of the first line "name : value".
inline std::string field(std::string_view text, std::string_view name) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const std::size_t colon = line.find(':');
    const std::size_t stop = line.find_last_not_of(" \t", colon == 0 ? 0 : colon - 1);
    if (colon != line.npos && stop != line.npos && line.substr(0, stop + 1) == name) {
      const std::size_t first = line.find_first_not_of(" \t", colon + 1);
      return first == line.npos ? std::string() : std::string(line.substr(first));
    }
    at = end + 1;
  }
  return {};
}

// Of the names that a user cares for, those that stand in the list of flags.
inline std::string known_instructions(const std::string& flags) {
  std::string out;
  for (const char* name :
       {"sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni",
        "avx512_bf16", "amx_int8", "asimd", "asimddp", "bf16", "sve"}) {
    if ((" " + flags + " ").find(text(" ", name, " ")) != std::string::npos)
      out += (out.empty() ? "" : " ") + std::string(name);
  }
  return out;
}

inline std::vector<cache> read_caches() {
  std::vector<cache> found;
  for (int i = 0; i < 8; ++i) {
    const std::string folder = text("/sys/devices/system/cpu/cpu0/cache/index", i, "/");
    const std::string size = first_line(folder + "size");
    const std::string type = first_line(folder + "type");
    if (size.empty() || type == "Instruction") continue;
    const index_t unit = size.back() == 'M' ? 1 << 20 : size.back() == 'K' ? 1 << 10 : 1;
    found.push_back(
        {std::atoi(first_line(folder + "level").c_str()), type, std::atoll(size.c_str()) * unit});
  }
  if (found.empty()) {  // the usual sizes, said to be assumed
    found = {{1, "Data (assumed)", index_t(32) << 10},
             {2, "Unified (assumed)", index_t(1) << 20},
             {3, "Unified (assumed)", index_t(32) << 20}};
  }
  return found;
}

}  // namespace detail

inline machine this_machine() {
  machine m;
  struct utsname names {};
  if (::uname(&names) == 0) m.name = names.nodename;
  const std::string info = detail::system_text("/proc/cpuinfo");
  m.processor = detail::field(info, "model name");
  if (m.processor.empty()) m.processor = names.machine[0] != '\0' ? names.machine : "unknown";
  if (!detail::field(info, "cpu family").empty()) {
    m.processor +=
        text(" (family ", detail::field(info, "cpu family"), ", model ",
             detail::field(info, "model"), ", stepping ", detail::field(info, "stepping"), ")");
  }
  const std::string flags = detail::field(info, "flags");
  m.instructions =
      detail::known_instructions(flags.empty() ? detail::field(info, "Features") : flags);
  m.processors = adze::detail::available_threads();
  m.caches = detail::read_caches();
  std::array<double, 1> load{};
  if (::getloadavg(load.data(), 1) == 1) m.load = load[0];
  const std::string governor =
      detail::first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  m.scaling = !governor.empty() && governor != "performance";
  return m;
}

using facts = std::vector<std::pair<std::string, std::string>>;

// "2025-01-31T12:34:56+00:00".
inline std::string date_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  std::array<char, 40> buffer{};
  ::localtime_r(&now, &parts);
  std::string out(buffer.data(),
                  std::strftime(buffer.data(), buffer.size(), "%Y-%m-%dT%H:%M:%S%z", &parts));
  if (out.size() > 5) out.insert(out.size() - 2, ":");
  return out;
}

// The block that stands above every table. `flags`: how the program was compiled, which only its
// build knows.
inline facts environment(const machine& m, std::string_view flags) {
  const auto or_unknown = [](std::string value, const char* missing) {
    return value.empty() ? std::string(missing) : value;
  };
  std::string caches;
  for (const cache& c : m.caches)
    caches += text(caches.empty() ? "" : ", ", "L", c.level, " ", c.bytes >> 10, " KiB");
  struct utsname names {};
  const bool named = ::uname(&names) == 0;
  return {
      {"date", date_now()},
      {"processor", text(m.processor, ", ", m.processors, " usable")},
      {"instructions", or_unknown(m.instructions, "unknown")},
      {"caches", caches},
      {"governor",
       or_unknown(detail::first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
                  "not readable (a virtual machine, or no frequency scaling)")},
      {"load", m.load < 0 ? "unknown" : report::format_fixed(m.load, 2) + " in the last minute"},
      {"system", named ? text(names.sysname, " ", names.release) : std::string("unknown")},
      {"library", build_info()},
      {"flags", or_unknown(std::string(flags), "not recorded by the build")},
      {"counters", counter_report()},
  };
}

}  // namespace adze::bench
