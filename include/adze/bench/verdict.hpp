#pragma once
// SPDX-License-Identifier: MIT
// Faster, slower or a tie: a ratio of speeds, its interval, and the rule that turns both into a
// word. A claim needs an interval that leaves out 1 and a ratio beyond the minimum effect.
// Invariant: a difference that chance or the machine explains is called a tie. Where there are too
// few timings for an interval, nothing is claimed, not even a tie.
#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <vector>

#include <adze/bench/statistics.hpp>
#include <adze/core/error.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

enum class verdict { tie, faster, slower, open };

inline std::string_view name_of(verdict v) {
  constexpr std::string_view names[] = {"tie", "faster", "slower", "no interval"};
  return names[static_cast<std::size_t>(v)];
}

struct decision_rule {
  double confidence = 0.95;      // that no claim of the whole family is wrong
  index_t comparisons = 1;       // size of the family (Bonferroni)
  double minimum_effect = 0.01;  // smaller differences do not matter

  double each() const {
    return 1 - (1 - confidence) / static_cast<double>(std::max<index_t>(comparisons, 1));
  }
};

struct comparison {
  double ratio = 1;  // speed of the subject over speed of the other; above 1: the subject is faster
  interval range{};  // of the ratio, at the corrected confidence
  double p = 1;      // of the sign test, uncorrected; 1 where runs were not paired
  verdict outcome = verdict::tie;
};

inline verdict decide(double ratio, const interval& range, const decision_rule& rule) {
  if (!range.finite()) return verdict::open;
  const double least = 1 + rule.minimum_effect;
  if (range.low > 1 && ratio >= least) return verdict::faster;
  if (range.high < 1 && ratio <= 1 / least) return verdict::slower;
  return verdict::tie;
}

// Timings taken round by round, both in each round in random order. If the two are the same code,
// a round is as likely to favour one as the other whatever the machine does meanwhile, so the
// interval holds under drift and bursts of noise as well. shape_error: not one timing for each.
inline comparison compare_paired(std::span<const double> subject, std::span<const double> other,
                                 const decision_rule& rule = {}) {
  if (subject.size() != other.size() || subject.empty()) {
    raise<shape_error>("compare_paired: rounds must come in pairs; ", subject.size(), " and ",
                       other.size(), " timings; use compare_separate for runs of their own");
  }
  std::vector<double> logs(subject.size());
  for (std::size_t i = 0; i < logs.size(); ++i) logs[i] = std::log(other[i] / subject[i]);
  comparison made{.p = sign_test(logs)};
  std::sort(logs.begin(), logs.end());
  const interval range = median_interval(logs, rule.each());
  made.ratio = std::exp(quantile(logs, 0.5));
  made.range = {std::exp(range.low), std::exp(range.high)};
  made.outcome = decide(made.ratio, made.range, rule);
  return made;
}

// Timings of two runs apart, such as two versions of a program. What changed in the machine between
// them counts as a difference too, so ask for a larger minimum effect. value_error: an empty run.
inline comparison compare_separate(std::span<const double> subject, std::span<const double> other,
                                   const decision_rule& rule = {.minimum_effect = 0.05}) {
  const auto logs = [](std::span<const double> times) {
    std::vector<double> out;
    for (const double t : times) out.push_back(std::log(t));
    return out;
  };
  const shift found = shift_between(logs(subject), logs(other), rule.each());
  comparison made{.ratio = std::exp(found.estimate),
                  .range = {std::exp(found.range.low), std::exp(found.range.high)}};
  made.outcome = decide(made.ratio, made.range, rule);
  return made;
}

}  // namespace adze::bench
