#pragma once
// SPDX-License-Identifier: MIT
// Results as pictures: the roofline (rate over operations per byte, under the machine's roofs),
// the rounds of one problem, and how rates grow with threads.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <adze/bench/result.hpp>
#include <adze/core/error.hpp>
#include <adze/core/plot.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

namespace detail {

// The candidates in the order of their first rows.
inline std::vector<std::string> candidates_of(std::span<const row> rows) {
  std::vector<std::string> names;
  for (const row& r : rows)
    if (std::find(names.begin(), names.end(), r.candidate) == names.end())
      names.push_back(r.candidate);
  return names;
}

// The range of operations per byte that a picture of these rows shows.
inline interval intensities(const results& run, int threads) {
  interval range{std::numeric_limits<double>::infinity(), 0};
  for (const row& r : run.rows) {
    if (!r.timed() || r.threads != threads || r.cost.intensity() <= 0) continue;
    range.low = std::min(range.low, r.cost.intensity());
    range.high = std::max(range.high, r.cost.intensity());
  }
  return range;
}

}  // namespace detail

// One dot for each row with this number of threads; empty where no row has operations and bytes,
// or the peaks are not known.
inline std::string roofline_svg(const results& run, int threads) {
  const auto known = run.limits.find(threads);
  interval range = detail::intensities(run, threads);
  if (known == run.limits.end() || !(range.low <= range.high)) return {};
  const peaks& machine = known->second;
  report::line_chart chart(
      {.title = text("Roofline, ", threads, threads == 1 ? " thread" : " threads"),
       .x = {"operations per byte", true},
       .y = {"GFLOP/s (integers: Gop/s)", true},
       .width = 860,
       .height = 480});
  range.low = std::min(range.low / 2, 0.25);
  range.high = std::max(range.high * 2, 64.0);
  for (std::size_t i = 0; i < machine.levels.size(); ++i) {
    std::vector<double> x, y;
    for (double at = range.low; at < range.high * 1.01;
         at *= std::pow(range.high / range.low, 0.02)) {
      x.push_back(at);
      y.push_back(std::min(machine.f32, at * machine.levels[i].read) / 1e9);
    }
    const bool last = i + 1 == machine.levels.size();
    chart.add(last ? "memory" : text("L", i + 1), x, y,
              last ? report::line_style::solid : report::line_style::dashed);
  }
  for (const std::string& name : detail::candidates_of(run.rows)) {
    std::vector<double> x, y;
    for (const row& r : run.rows) {
      if (!r.timed() || r.threads != threads || r.candidate != name) continue;
      x.push_back(r.cost.intensity());
      y.push_back(r.operation_rate() / 1e9);
    }
    chart.add(name, x, y, report::line_style::dots);
  }
  return chart.svg_text();
}

// Every round of the candidates of one problem, as time over the first candidate's median: drift,
// bursts and steps of the machine can be seen. `rows` are those of one key.
inline std::string rounds_svg(std::span<const row> rows) {
  report::line_chart chart({.title = rows.empty() ? "" : rows.front().shape.text(),
                            .x = {"round"},
                            .y = {"time / median of the first", true},
                            .width = 860,
                            .height = 260});
  bool any = false;
  double unit = 0;
  for (const row& r : rows) {
    if (!r.timed()) continue;
    if (unit == 0) unit = r.wall.median;
    std::vector<double> x, y;
    for (const double t : r.times.wall) {
      x.push_back(static_cast<double>(x.size() + 1));
      y.push_back(t / unit);
    }
    chart.add(r.candidate, x, y, report::line_style::dots);
    any = true;
  }
  return any ? chart.svg_text() : std::string();
}

// Rates over the number of threads, for a problem measured with several; `rows` are all of its
// rows in one cache state. Empty for one number of threads.
inline std::string threads_svg(std::span<const row> rows) {
  std::set<int> counts;
  for (const row& r : rows) counts.insert(r.threads);
  if (counts.size() < 2) return {};
  report::line_chart chart({.title = rows.front().shape.text(),
                            .x = {"threads"},
                            .y = {"calls per second"},
                            .width = 860,
                            .height = 260});
  for (const std::string& name : detail::candidates_of(rows)) {
    std::vector<double> x, y;
    for (const row& r : rows) {
      if (!r.timed() || r.candidate != name) continue;
      x.push_back(r.threads);
      y.push_back(1 / r.wall.median);
    }
    chart.add(name, x, y);
  }
  return chart.svg_text();
}

}  // namespace adze::bench
