#pragma once
// SPDX-License-Identifier: MIT
// What a run found: one row for each candidate of each problem, with all its rounds, and the
// verdicts between the first candidate and the others. How it is shown: table, JSON, pages.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <adze/bench/counters.hpp>
#include <adze/bench/machine.hpp>
#include <adze/bench/problems.hpp>
#include <adze/bench/roofline.hpp>
#include <adze/bench/statistics.hpp>
#include <adze/bench/timing.hpp>
#include <adze/bench/verdict.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

enum class outcome {
  timed,
  wrong,   // the result is not that of the reference: no number
  failed,  // threw an exception: no number
};

// Counted by the program, which knows its allocators; what is unknown stays -1.
struct memory_use {
  double allocations = -1;  // so far
};

struct row {
  problem shape{};
  std::string candidate{};
  bool leads = false;  // the first row of a measurement
  cache_state state = cache_state::warm;
  int threads = 1;
  work cost{};
  outcome status = outcome::timed;
  std::string message{};  // why there is no number
  bool checked = false;   // against a reference
  double error = 0;       // largest, in the unit of the tolerance
  double tolerance = 0;
  samples times{};
  summary wall{};
  roof limit{};
  double quiet = 1;         // median speed of the arithmetic probe meanwhile, of the kept peak
  memory_use memory{};      // of one call
  counter_values counts{};  // of one call
  std::optional<comparison> versus{};  // the first candidate over this one
  std::string command{};               // reproduces this row

  bool timed() const { return status == outcome::timed; }
  double operation_rate() const { return cost.operations / wall.median; }
  double byte_rate() const { return cost.bytes() / wall.median; }
  double share() const { return share_of_roof(limit, wall.median); }
  bool disturbed() const { return quiet < 0.95; }
  bool above_roof() const { return share() > 1.1; }

  // What is compared: the same in every run of the same problem. `by` is what a kernel did with it.
  std::string key() const {
    std::string out = shape.kernel + "/" + shape.name;
    for (const auto& [name, value] : shape.values) {
      if (name != "by") out += "/" + name + ":" + value;
    }
    return out + "/" + std::string(name_of(state)) + "/threads:" + std::to_string(threads);
  }
};

// Whether two rows, the second one further on, are of one measurement: their rounds come in pairs.
inline bool together(const row& before, const row& r) {
  return !r.leads && before.key() == r.key();
}

struct results {
  std::string program{};
  std::string label{};  // what the user calls this run: a commit, an idea
  facts environment{};
  machine host{};
  std::map<int, peaks> limits{};      // by number of threads
  std::optional<comparison> noise{};  // the same code against itself
  double minimum_effect = 0.01;
  std::vector<row> rows{};
};

// Sets every verdict: each candidate against the first one of its measurement, all of them one
// family.
// What is smaller than the noise of the same code against itself is no difference.
inline void judge(results& run) {
  decision_rule rule{.comparisons = 0, .minimum_effect = run.minimum_effect};
  if (run.noise)
    rule.minimum_effect = std::max(rule.minimum_effect,
                                   std::max(run.noise->range.high - 1, 1 - run.noise->range.low));
  const auto each_pair = [&](auto f) {
    const row* first = nullptr;
    for (row& r : run.rows) {
      if (first == nullptr || !together(*first, r)) {
        first = &r;
      } else if (first->timed() && r.timed()) {
        f(*first, r);
      }
    }
  };
  each_pair([&](const row&, row&) { ++rule.comparisons; });
  each_pair([&](const row& first, row& r) {
    r.versus = compare_paired(first.times.wall, r.times.wall, rule);
  });
}

}  // namespace adze::bench
