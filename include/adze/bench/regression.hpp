#pragma once
// SPDX-License-Identifier: MIT
// Two files of results, an old and a new one: which rows became slower, faster, wrong, or went
// away. Reads what json_report.hpp and Google Benchmark write.
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <adze/bench/json_reader.hpp>
#include <adze/bench/text_report.hpp>
#include <adze/bench/verdict.hpp>
#include <adze/core/error.hpp>
#include <adze/core/table.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

// Seconds of one call for each repetition of a run, or why there are none.
struct recorded {
  std::vector<double> seconds{};
  std::string error{};
  std::string command{};
};
using recorded_runs = std::map<std::string, recorded>;

// The runs of a file by their name. Where it holds medians only, each run has that one value.
// value_error: no JSON, or none of that schema.
inline recorded_runs read_runs(std::string_view text) {
  const json file = parse_json(text);
  if (file["benchmarks"].items().empty() && file["context"] == json())
    raise<value_error>("read_runs: no results; there is no member \"benchmarks\"; write the file "
                       "with --json, or with Google Benchmark");
  recorded_runs runs;
  std::map<std::string, double> medians;
  for (const json& b : file["benchmarks"].items()) {
    const std::string name = b["run_name"].text(b["name"].text());
    const std::string unit = b["time_unit"].text("ns");
    const double scale = unit == "s" ? 1 : unit == "ms" ? 1e-3 : unit == "us" ? 1e-6 : 1e-9;
    const double seconds = scale * b["real_time"].number();
    recorded& r = runs[name];
    if (const std::string command = b["command"].text(); !command.empty()) r.command = command;
    if (b["error_occurred"].truth()) {
      r.error = b["error_message"].text("failed");
    } else if (b["run_type"].text("iteration") == "iteration") {
      if (seconds > 0) r.seconds.push_back(seconds);
    } else if (b["aggregate_name"].text() == "median") {
      medians[name] = seconds;
    }
  }
  for (auto& [name, r] : runs)
    if (r.seconds.empty() && r.error.empty() && medians[name] > 0) r.seconds = {medians[name]};
  return runs;
}

enum class change { same, faster, slower, broken, gone, added };

inline std::string_view name_of(change c) {
  constexpr std::string_view names[] = {"same", "faster", "SLOWER", "BROKEN", "gone", "new"};
  return names[static_cast<std::size_t>(c)];
}

struct changed_run {
  std::string name{};
  change kind = change::same;
  double before = 0, after = 0;  // medians, seconds
  comparison versus{};           // speed of the new over the old
  std::string note{};            // an error, or the line that repeats the run
};

struct comparison_report {
  std::vector<changed_run> runs{};

  bool regressed() const {
    for (const changed_run& r : runs)
      if (r.kind == change::slower || r.kind == change::broken) return true;
    return false;
  }
};

// Joins two files by name. All runs are one family of comparisons. Too few values (single medians
// of another tool, a few repetitions) have no interval: then twice the minimum effect counts as a
// change.
inline comparison_report compare_runs(const recorded_runs& before, const recorded_runs& after,
                                      decision_rule rule = {.minimum_effect = 0.05}) {
  comparison_report out;
  rule.comparisons = 0;
  for (const auto& [name, old] : before) rule.comparisons += after.contains(name);
  for (const auto& [name, old] : before) {
    changed_run c{.name = name};
    const auto found = after.find(name);
    if (found == after.end()) {
      c.kind = change::gone;
    } else if (const recorded& now = found->second; now.seconds.empty()) {
      c.kind = old.seconds.empty() ? change::same : change::broken;
      c.note = now.error;
    } else if (old.seconds.empty()) {
      c.kind = change::added;
      c.note = "before: " + old.error;
    } else {
      c.before = median(old.seconds);
      c.after = median(now.seconds);
      c.versus = compare_separate(now.seconds, old.seconds, rule);
      verdict outcome = c.versus.outcome;
      if (outcome == verdict::open) {
        c.note = "too few values: no interval";
        const double least = 1 + 2 * rule.minimum_effect;
        outcome = c.versus.ratio >= least       ? verdict::faster
                  : c.versus.ratio <= 1 / least ? verdict::slower
                                                : verdict::tie;
      }
      c.kind = outcome == verdict::faster   ? change::faster
               : outcome == verdict::slower ? change::slower
                                            : change::same;
      if (c.kind == change::slower && c.note.empty()) c.note = now.command;
    }
    out.runs.push_back(std::move(c));
  }
  for (const auto& [name, now] : after) {
    if (before.contains(name)) continue;
    out.runs.push_back({.name = name, .kind = change::added, .note = now.error});
  }
  return out;
}

// The runs that are not the same (or all of them), and how many are.
inline std::string comparison_text(const comparison_report& found, bool all = false) {
  report::table t({"run", "before", "after", "speed, new over old", "change", "note"});
  index_t same = 0;
  for (const changed_run& r : found.runs) {
    same += r.kind == change::same;
    if (r.kind == change::same && !all) continue;
    const bool both = r.before > 0 && r.after > 0;
    t.add(r.name, both ? format_time(r.before) : std::string("-"),
          both ? format_time(r.after) : std::string("-"),
          both ? format_ratio(r.versus) : std::string("-"), std::string(name_of(r.kind)), r.note);
  }
  return (t.rows() > 0 ? t.text() : std::string()) +
         text(same, " of ", found.runs.size(), " runs are the same\n");
}

}  // namespace adze::bench
