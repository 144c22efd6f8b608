#pragma once
// SPDX-License-Identifier: MIT
// Results as JSON in the schema of Google Benchmark, so that its comparison tools and dashboards
// read them: one "iteration" for each round, then "aggregate" rows. What that schema has no word
// for stands in additional members.
#include <cmath>
#include <string>
#include <vector>

#include <adze/bench/json.hpp>
#include <adze/bench/result.hpp>
#include <adze/bench/text_report.hpp>
#include <adze/core/error.hpp>
#include <adze/core/version.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

namespace detail {

inline json context_json(const results& run) {
  json::list caches;
  for (const cache& c : run.host.caches) {
    caches.push_back(
        json::object{{"type", c.type}, {"level", c.level}, {"size", c.bytes}, {"num_sharing", 0}});
  }
  json::object out{{"date", date_now()},
                   {"host_name", run.host.name},
                   {"executable", run.program},
                   {"num_cpus", run.host.processors},
                   {"mhz_per_cpu", 0},
                   {"cpu_scaling_enabled", run.host.scaling},
                   {"caches", std::move(caches)},
                   {"load_avg", json::list{run.host.load}},
                   {"library_build_type", "release"}};
  for (const auto& [name, value] : header_facts(run))
    if (name != "date" && name != "caches") out.emplace_back("adze " + name, value);
  return out;
}

// What all entries of a row begin with.
inline json::object entry(const row& r, std::string name, std::size_t family, std::size_t rounds) {
  return {{"name", std::move(name)},
          {"family_index", static_cast<index_t>(family)},
          {"per_family_instance_index", 0},
          {"run_name", r.key() + "/" + r.candidate},
          {"repetitions", static_cast<index_t>(rounds)},
          {"threads", r.threads}};
}

inline void add_times(json::object& to, index_t calls, double wall, double processor) {
  to.emplace_back("iterations", calls);
  to.emplace_back("real_time", 1e9 * wall);
  to.emplace_back("cpu_time", 1e9 * processor);
  to.emplace_back("time_unit", "ns");
}

// What the schema calls user counters, and the texts of the row.
inline void add_facts(json::object& to, const row& r) {
  const auto add = [&](const char* name, double x) {
    if (x >= 0 && std::isfinite(x)) to.emplace_back(name, x);
  };
  if (r.timed()) {
    add("operations_per_second", r.operation_rate());
    add("bytes_per_second", r.byte_rate());
    add("share_of_roof", r.share());
    add("interval_low", 1e9 * r.wall.range.low);
    add("interval_high", 1e9 * r.wall.range.high);
    add("median_absolute_deviation", 1e9 * r.wall.absolute_deviation);
    add("quiet", r.quiet);
    add("allocations", r.memory.allocations);
    for (std::size_t i = 0; i < r.counts.size(); ++i)
      if (r.counts[i]) add(hardware_counters[i].name, *r.counts[i]);
  }
  if (r.checked) add("error", r.error), add("tolerance", r.tolerance);
  add("operations", r.cost.operations);
  add("bytes", r.cost.bytes());
  if (r.versus) {
    add("speed_over_it", r.versus->ratio);
    add("speed_low", r.versus->range.low);
    add("speed_high", r.versus->range.high);
    to.emplace_back("verdict", name_of(r.versus->outcome));
  }
  to.emplace_back("problem", r.shape.text());
  to.emplace_back("command", r.command);
}

inline void add_row(json::list& to, const row& r, std::size_t family) {
  const std::string name = r.key() + "/" + r.candidate;
  const std::size_t rounds = r.times.wall.size();
  const auto begin = [&](const std::string& suffix, const char* type) {
    json::object e = entry(r, name + suffix, family, rounds);
    e.emplace_back("run_type", type);
    return e;
  };
  if (!r.timed()) {
    json::object e = begin("", "iteration");
    e.emplace_back("error_occurred", true);
    e.emplace_back("error_message",
                   text(r.status == outcome::wrong ? "wrong: " : "failed: ", r.message));
    add_times(e, 0, 0, 0);
    add_facts(e, r);
    to.push_back(std::move(e));
    return;
  }
  for (std::size_t i = 0; i < rounds; ++i) {
    json::object e = begin("", "iteration");
    e.emplace_back("repetition_index", static_cast<index_t>(i));
    add_times(e, r.times.calls, r.times.wall[i], r.times.processor[i]);
    to.push_back(std::move(e));
  }
  const std::vector<double> processor = in_order(r.times.processor);
  const auto aggregate = [&](const char* word, double wall, double q) {
    json::object e = begin(std::string("_") + word, "aggregate");
    e.emplace_back("aggregate_name", word);
    e.emplace_back("aggregate_unit", "time");
    add_times(e, static_cast<index_t>(rounds), wall, quantile(processor, q));
    if (q == 0.5) add_facts(e, r);
    to.push_back(std::move(e));
  };
  aggregate("median", r.wall.median, 0.5);
  aggregate("min", r.wall.minimum, 0);
  aggregate("p95", r.wall.p95, 0.95);
}

}  // namespace detail

inline std::string json_report(const results& run) {
  json::list rows;
  for (std::size_t i = 0; i < run.rows.size(); ++i) detail::add_row(rows, run.rows[i], i);
  return to_json_text(json::object{{"context", detail::context_json(run)}, {"benchmarks", rows}});
}

}  // namespace adze::bench
