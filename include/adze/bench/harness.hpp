#pragma once
// SPDX-License-Identifier: MIT
// Measuring one problem: every candidate is first proved right, then all are timed against each
// other, then proved right again. Programs use session.hpp, which does this for lists of problems;
// this header is for those who want the rows alone.
#include <cmath>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <adze/bench/buffer.hpp>
#include <adze/bench/eviction.hpp>
#include <adze/bench/peaks.hpp>
#include <adze/bench/result.hpp>
#include <adze/bench/timing.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

struct task {
  problem shape{};   // kernel, name and sizes: the key of the row
  work cost{};       // of one call
  index_t sets = 1;  // of operands; candidates take the number of a set where there are several
  // Makes the output of set 0 wrong, so that a kernel that does nothing is caught.
  std::function<void()> spoil{};
  // The largest error in the output of set 0 after a call. NaN is wrong. None: rows say unchecked.
  std::function<double()> error{};
  double tolerance = 0;  // a larger error is wrong
};

struct setting {
  cache_state state = cache_state::warm;
  int threads = 1;
  timing_options timing{};
  peaks limits{};                 // of so many threads
  double quiet_rate = 0;          // of the arithmetic probe on one thread; 0: do not watch
  std::function<void()> evict{};  // needed for cold
  std::function<memory_use()> memory{};
};

namespace detail {

// Runs a candidate once from a spoilt output; fills what the row says about right and wrong.
inline void prove(const task& t, const candidate& c, row& r) {
  try {
    if (t.spoil) t.spoil();
    c.run_once();
    r.checked = bool(t.error);
    r.tolerance = t.tolerance;
    const double error = t.error ? t.error() : 0;
    if (!(error <= r.error)) r.error = error;  // the worst proof; NaN too
    if (!(r.error <= t.tolerance)) {
      r.status = outcome::wrong;
      r.message = text("error ", r.error, ", tolerance ", t.tolerance);
    }
  } catch (const std::exception& e) {
    r.status = outcome::failed;
    r.message = e.what();
  }
}

// What one call allocates and counts, apart from the timed ones.
inline void inspect(const candidate& c, const setting& s, row& r) {
  counter_set counters;
  counters.start();
  c.run_once();
  r.counts = counters.stop();
  if (!s.memory) return;
  const double before = s.memory().allocations;
  c.run_once();
  const double after = s.memory().allocations;
  if (before >= 0 && after >= 0) r.memory.allocations = after - before;
}

}  // namespace detail

// One row for each candidate, in their order. Wrong and failing ones get no time.
inline std::vector<row> measure(const task& t, std::span<const candidate> candidates, setting s) {
  std::vector<row> rows;
  std::vector<const candidate*> right;
  std::vector<std::size_t> places;
  for (const candidate& c : candidates) {
    row r{.shape = t.shape,
          .candidate = c.name(),
          .leads = rows.empty(),
          .state = s.state,
          .threads = s.threads,
          .cost = t.cost,
          .limit = roof_of(s.limits, t.cost, s.state)};
    detail::prove(t, c, r);
    if (r.timed()) {
      detail::inspect(c, s, r);
      right.push_back(&c);
      places.push_back(rows.size());
    }
    rows.push_back(std::move(r));
  }
  const detail::probe_loops loops = detail::machine_loops();
  std::vector<double> probes;
  if (s.state == cache_state::cold) s.timing.evict = s.evict;
  s.timing.sets = s.state == cache_state::streamed ? t.sets : 1;
  if (s.quiet_rate > 0) {
    s.timing.before_round = [&] {
      constexpr std::int64_t turns = 1500;  // about 20 us
      const double start = s.timing.time.wall();
      loops.f32.run(turns);
      const double seconds = s.timing.time.wall() - start;
      probes.push_back(loops.f32.operations * static_cast<double>(turns) / seconds);
    };
  }
  std::vector<samples> times;
  try {
    times = time_interleaved(right, s.timing);
  } catch (const std::exception& e) {  // of which one is not known
    for (const std::size_t place : places) {
      rows[place].status = outcome::failed;
      rows[place].message = text("while timing: ", e.what());
    }
    return rows;
  }
  for (std::size_t i = 0; i < right.size(); ++i) {
    row& r = rows[places[i]];
    detail::prove(t, *right[i], r);
    if (!r.timed()) continue;
    r.times = std::move(times[i]);
    r.wall = summarize(r.times.wall);
    if (!probes.empty()) r.quiet = median(probes) / s.quiet_rate;
  }
  return rows;
}

// The same code twice: what the machine's noise alone looks like to this harness. 16 KiB of
// multiplications and additions that a compiler can put into any registers.
inline comparison noise_test(timing_options o = {}) {
  const aligned_buffer<float> memory(4096);
  const auto make = [&](const char* name) {
    return candidate(name, [p = memory.data()] {
      for (index_t i = 0; i < 4096; ++i) p[i] = p[i] * 0.5f + 1.0f;
    });
  };
  const candidate a = make("a"), b = make("a");
  const candidate* both[] = {&a, &b};
  o.most_rounds = 101;
  const std::vector<samples> s = time_interleaved(both, o);
  return compare_paired(s[0].wall, s[1].wall);
}

}  // namespace adze::bench
