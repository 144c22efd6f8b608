#pragma once
// SPDX-License-Identifier: MIT
// The measuring loop: rounds in which every candidate runs once for a slot, in an order drawn anew
// for each round. So whatever the machine does meanwhile meets all candidates alike, and the pairs
// of a round can be compared. What is run, whether it is right and what the times mean: elsewhere.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <adze/bench/roofline.hpp>
#include <adze/bench/statistics.hpp>
#include <adze/bench/stopwatch.hpp>
#include <adze/core/random.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

// Something that can be timed: f(), or f(i) for operands of which there are several sets. The loop
// is compiled with f, so that a call costs nothing beside f.
class candidate {
 public:
  template <class F>
  candidate(std::string name, F f)
      : name_(std::move(name)), loop_([f = std::move(f)](std::span<const index_t> sets) mutable {
          for (const index_t i : sets) {
            if constexpr (std::is_invocable_v<F&, index_t>) {
              f(i);
            } else {
              f();
            }
            touch_memory();
          }
        }) {}

  const std::string& name() const { return name_; }
  // One call for each element, on that set of operands.
  void run(std::span<const index_t> sets) const { loop_(sets); }
  void run_once() const {
    static constexpr index_t first = 0;
    run({&first, 1});
  }

 private:
  std::string name_;
  std::function<void(std::span<const index_t>)> loop_;
};

struct timing_options {
  double slot = 3e-4;  // seconds of a candidate in a round, or one call (harness_proof chose it)
  index_t least_rounds = 15;   // whatever they cost
  index_t enough_rounds = 31;  // before narrow intervals may end the rounds
  index_t most_rounds = 401;
  double precision = 0.005;  // rounds end when the intervals are narrower, relative
  double budget = 2;         // seconds for all rounds, after the least
  index_t comparisons = 1;   // for how many the intervals are corrected
  std::uint64_t seed = 1;    // of the order
  stopwatch time{};
  std::function<void()> before_round{};  // untimed
  std::function<void()> evict{};         // untimed, before each call: one call a slot (cold)
  index_t sets = 1;                      // of operands; above 1 each call takes the next one
};

// Seconds of one call, round by round, the same rounds for all candidates.
struct samples {
  std::vector<double> wall;
  std::vector<double> processor;  // of all threads
  index_t calls = 1;              // in each round
};

namespace detail {

// Which operands the next calls get. The calls of all candidates walk through one random order of
// the sets, so no call finds what another has just brought into the caches.
class set_walk {
 public:
  set_walk(index_t sets, generator& random) : order_(random.permutation(sets)), sets_(sets) {}

  std::span<const index_t> next(index_t count) {
    while (static_cast<index_t>(order_.size()) < sets_ + count)
      order_.push_back(order_[order_.size() - static_cast<std::size_t>(sets_)]);
    const std::span<const index_t> all(order_);
    const auto calls = all.subspan(static_cast<std::size_t>(at_), static_cast<std::size_t>(count));
    at_ = (at_ + count) % sets_;
    return calls;
  }

 private:
  std::vector<index_t> order_;  // a permutation, then again from its start
  index_t sets_ = 1;
  index_t at_ = 0;
};

// How many calls fill a slot: doubled until they take a quarter of it.
inline index_t calls_for(const candidate& c, const timing_options& o, set_walk& walk) {
  if (o.evict) return 1;
  constexpr index_t most = index_t(1) << 24;
  for (index_t calls = 1;; calls = std::min(2 * calls, most)) {
    double least = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 2; ++i) {
      const auto sets = walk.next(calls);
      const double start = o.time.wall();
      c.run(sets);
      least = std::min(least, o.time.wall() - start);
      if (least > o.slot) return calls;
    }
    if (least >= o.slot / 4 || calls == most) {
      const double fill = o.slot / std::max(least, 1e-12) * static_cast<double>(calls);
      return std::clamp(static_cast<index_t>(std::min(fill, 1e8)), index_t(1), most);
    }
  }
}

// Whether all intervals are narrow: of the others' ratios to the first candidate, or of its median
// where it is alone.
inline bool precise(const std::vector<samples>& all, const timing_options& o) {
  const double confidence = 1 - 0.05 / static_cast<double>(std::max<index_t>(o.comparisons, 1));
  const std::vector<double>& own = all[0].wall;
  const auto narrow = [&](const std::vector<double>& logs) {
    return median_interval(in_order(logs), confidence).half_width() < o.precision;
  };
  std::vector<double> logs(own.size());
  for (std::size_t c = all.size() == 1 ? 0 : 1; c < all.size(); ++c) {
    for (std::size_t i = 0; i < logs.size(); ++i)
      logs[i] = c == 0 ? std::log(own[i]) : std::log(all[c].wall[i] / own[i]);
    if (!narrow(logs)) return false;
  }
  return true;
}

}  // namespace detail

// Times the candidates against each other. Stops at most_rounds, or after least_rounds when the
// budget is spent, or after enough_rounds when the intervals are narrow.
inline std::vector<samples> time_interleaved(std::span<const candidate* const> candidates,
                                             const timing_options& o) {
  generator random(o.seed);
  std::vector<samples> all(candidates.size());
  detail::set_walk walk(o.sets, random);
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    candidates[c]->run_once();
    all[c].calls = detail::calls_for(*candidates[c], o, walk);
  }
  const double overhead = o.evict ? reading_cost(o.time) : 0;
  const double begin = o.time.wall();
  index_t look = (o.enough_rounds + 7) / 8 * 8;  // ever more rarely: a look sorts all times
  for (index_t round = 0; round < o.most_rounds && !candidates.empty(); ++round) {
    if (round >= o.least_rounds && o.time.wall() - begin > o.budget) break;
    if (round >= look) {
      if (detail::precise(all, o)) break;
      look += std::max<index_t>(8, look / 8);
    }
    if (o.before_round) o.before_round();
    for (const index_t next : random.permutation(static_cast<index_t>(candidates.size()))) {
      const auto c = static_cast<std::size_t>(next);
      // What the others left in the caches is not this candidate's fault.
      if (o.evict) {
        o.evict();
      } else if (o.sets == 1 && all[c].calls >= 4) {
        candidates[c]->run_once();
      }
      const auto sets = walk.next(all[c].calls);
      const double processor = o.time.processor(), start = o.time.wall();
      candidates[c]->run(sets);
      const double wall = o.time.wall() - start - overhead;
      const auto count = static_cast<double>(all[c].calls);
      all[c].wall.push_back(std::max(wall, 1e-12) / count);
      all[c].processor.push_back((o.time.processor() - processor) / count);
    }
  }
  return all;
}

}  // namespace adze::bench
