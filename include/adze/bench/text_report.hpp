#pragma once
// SPDX-License-Identifier: MIT
// Results for people: the environment, the noise test, one table, what its marks mean, and the
// line that repeats each row. As aligned text for terminals and as Markdown for documents.
#include <cmath>
#include <string>
#include <vector>

#include <adze/bench/result.hpp>
#include <adze/core/error.hpp>
#include <adze/core/format.hpp>
#include <adze/core/table.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

// Four digits with a unit: "812.4 ns", "1.234 ms".
inline std::string format_time(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  double value = seconds * 1e9;
  const char* unit = "ns";
  for (const char* next : {"us", "ms", "s"}) {
    if (std::fabs(value) < 999.95) break;
    value /= 1000;
    unit = next;
  }
  const int decimals = std::fabs(value) < 9.9995 ? 3 : std::fabs(value) < 99.995 ? 2 : 1;
  return report::format_fixed(value, decimals) + " " + unit;
}

// "1.053 [1.048, 1.060]".
inline std::string format_ratio(const comparison& c) {
  const auto digits = [](double x) {
    return std::isfinite(x) ? report::format_fixed(x, x < 9.9995 ? 3 : 1) : std::string("?");
  };
  return digits(c.ratio) + " [" + digits(c.range.low) + ", " + digits(c.range.high) + "]";
}

inline std::string noise_text(const results& run) {
  if (!run.noise) return "not tested";
  return text("the same code against itself: ", format_ratio(*run.noise), ", ",
              name_of(run.noise->outcome));
}

// What this machine reaches with so many threads.
inline std::string peaks_line(const peaks& p) {
  const auto giga = [](double x) { return report::format_fixed(x / 1e9, x < 1e10 ? 1 : 0); };
  std::string out = text(giga(p.f32), " GFLOP/s f32, ", p.i8 > 0 ? giga(p.i8) : "unknown",
                         " Gop/s i8; GB/s read/copy:");
  for (std::size_t i = 0; i < p.levels.size(); ++i) {
    const bool last = i + 1 == p.levels.size();
    out += text(i == 0 ? " " : ", ", last ? std::string("memory") : text("L", i + 1), " ",
                giga(p.levels[i].read), "/", giga(p.levels[i].copy));
  }
  return out;
}

// The facts of the run in order: environment, peaks, noise, label.
inline facts header_facts(const results& run) {
  facts all = run.environment;
  for (const auto& [threads, p] : run.limits)
    all.emplace_back(text("peaks, ", threads, threads == 1 ? " thread" : " threads"),
                     peaks_line(p));
  all.emplace_back("noise", noise_text(run));
  if (!run.label.empty()) all.emplace_back("label", run.label);
  return all;
}

namespace detail {

inline std::vector<report::cell> row_cells(const row& r, bool states, bool threads) {
  std::vector<report::cell> out{r.shape.kernel + " " + r.shape.name, r.shape.sizes()};
  if (states) out.emplace_back(name_of(r.state));
  if (threads) out.emplace_back(r.threads);
  out.emplace_back(r.candidate);
  if (!r.timed()) {
    out.emplace_back(r.status == outcome::wrong ? "WRONG" : "FAILED");
    for (int i = 0; i < 9; ++i) out.emplace_back("-");
    out.emplace_back(r.message);
    return out;
  }
  const summary& s = r.wall;
  const double width = 100 * s.relative_width();
  out.emplace_back(format_time(s.median) + (r.disturbed() ? " ~" : ""));
  out.push_back(std::isfinite(width) ? report::fixed(width, 1) : report::cell("-"));
  out.push_back(report::fixed(100 * s.absolute_deviation / s.median, 1));
  out.emplace_back(format_time(s.minimum));
  out.emplace_back(format_time(s.p95));
  const auto rate = [&](double x) {
    if (!(x > 0)) return report::cell("-");
    return report::fixed(x / 1e9, x < 1e10 ? 2 : 1);
  };
  out.push_back(rate(r.operation_rate()));
  out.push_back(rate(r.byte_rate()));
  out.emplace_back(r.limit.seconds > 0
                       ? report::format_fixed(100 * r.share(), 1) +
                             (r.limit.by_memory ? " mem" : " ops") + (r.above_roof() ? " !" : "")
                       : std::string("-"));
  out.emplace_back(r.versus ? format_ratio(*r.versus) : std::string("-"));
  out.emplace_back(r.versus ? std::string(name_of(r.versus->outcome)) : std::string("-"));
  out.emplace_back(r.checked ? to_text(r.error) : std::string("unchecked"));
  return out;
}

inline bool differ(const results& run, auto member) {
  for (const row& r : run.rows)
    if (r.*member != run.rows.front().*member) return true;
  return false;
}

}  // namespace detail

inline report::table results_table(const results& run) {
  const bool states = detail::differ(run, &row::state);
  const bool threads = detail::differ(run, &row::threads);
  std::vector<std::string> columns{"problem", "sizes"};
  if (states) columns.emplace_back("cache");
  if (threads) columns.emplace_back("threads");
  const std::string first = run.rows.empty() ? "first" : run.rows.front().candidate;
  for (const std::string& name :
       {std::string("candidate"), std::string("median"), std::string("± %"), std::string("MAD %"),
        std::string("min"), std::string("p95"), std::string("GFLOP/s"), std::string("GB/s"),
        std::string("% of roof"), "speed of " + first + " over it", std::string("verdict"),
        std::string("error")})
    columns.push_back(name);
  report::table made(columns);
  for (const row& r : run.rows) made.add_row(detail::row_cells(r, states, threads));
  return made;
}

// What the table does not say by itself.
inline std::string legend(const results& run) {
  std::string out = text(
      "median of the rounds and half its 95 % interval; speed: median of the ratios of each round "
      "with an interval that holds for all comparisons together, below ",
      100 * run.minimum_effect,
      " % or the noise a tie; roof: the least time by peak arithmetic "
      "(ops) or bandwidth (mem) of this machine; error: largest, each ",
      "candidate is checked "
      "before and after it is timed.\n");
  bool disturbed = false, above = false, open = false;
  for (const row& r : run.rows) {
    disturbed |= r.timed() && r.disturbed();
    above |= r.timed() && r.above_roof();
    open |= r.versus && r.versus->outcome == verdict::open;
  }
  if (disturbed)
    out += "~ the machine gave less than 95 % of its peak meanwhile: trust ratios, not rates.\n";
  if (above) out += "! above the roof: the declared work, a peak or the kernel is wrong.\n";
  if (open)
    out += "no interval: too few rounds for so many comparisons; ask for more --rounds, --seconds "
           "or fewer problems.\n";
  return out;
}

// Each problem's line, once.
inline std::string commands(const results& run) {
  std::string out;
  const row* last = nullptr;
  for (const row& r : run.rows) {
    if (last == nullptr || last->key() != r.key()) out += r.command + "\n";
    last = &r;
  }
  return out;
}

// The whole report as text: facts, table, legend, commands.
inline std::string header_text(const results& run) {
  std::string out;
  for (const auto& [name, value] : header_facts(run))
    out += name + std::string(name.size() < 17 ? 17 - name.size() : 1, ' ') + value + "\n";
  return out;
}

inline std::string table_text(const results& run) {
  return results_table(run).text() + "\n" + legend(run) + "\nAgain, row by row:\n" + commands(run);
}

// The same in Markdown, as docs/benchmarks.md holds it.
inline std::string markdown(const results& run) {
  std::string out = "## " + run.program + "\n\n";
  report::table environment({"environment", ""});
  for (const auto& [name, value] : header_facts(run)) environment.add(name, value);
  return out + environment.markdown() + "\n" + results_table(run).markdown() + "\n" + legend(run) +
         "\nAgain, row by row:\n\n```sh\n" + commands(run) + "```\n";
}

}  // namespace adze::bench
