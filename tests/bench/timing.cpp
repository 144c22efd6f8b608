#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "simulation.hpp"
#include <adze/bench/timing.hpp>
#include <adze/bench/verdict.hpp>

namespace adze::bench {
namespace {

std::vector<samples> measure(simulated_machine& machine, std::vector<candidate> all,
                             timing_options o = {}) {
  std::vector<const candidate*> pointers;
  for (const candidate& c : all) pointers.push_back(&c);
  o.time = machine.clock();
  return time_interleaved(pointers, o);
}

// How many of 100 comparisons of two kernels, the second slower by `effect`, get this verdict.
int verdicts(double effect, verdict wanted, double seconds = 1e-4, double noise = 1) {
  int hits = 0;
  for (std::uint64_t run = 0; run < 100; ++run) {
    simulated_machine machine(1000 + run, noise);
    const auto s = measure(
        machine, {machine.kernel("a", seconds), machine.kernel("b", seconds * (1 + effect))},
        {.seed = run});
    hits += compare_paired(s[0].wall, s[1].wall).outcome == wanted;
  }
  return hits;
}

TEST_CASE("timing: on a noisy machine A/A is a tie, and 3 % and 10 % are found") {
  CHECK(verdicts(0, verdict::tie) >= 95);
  CHECK(verdicts(0.03, verdict::faster) >= 95);
  CHECK(verdicts(0.10, verdict::faster) == 100);
  CHECK(verdicts(-0.03, verdict::slower) >= 95);
}

TEST_CASE("timing: the same for short and for long calls") {
  CHECK(verdicts(0, verdict::tie, 2e-6) >= 95);
  CHECK(verdicts(0.03, verdict::faster, 2e-6) >= 95);
  CHECK(verdicts(0, verdict::tie, 8e-3) >= 95);
  CHECK(verdicts(0.03, verdict::faster, 8e-3) >= 95);
}

TEST_CASE("timing: with minimum effect zero an A/A claim stays as rare as the confidence says") {
  int claims = 0;
  for (std::uint64_t run = 0; run < 200; ++run) {
    simulated_machine machine(5000 + run, 2);
    const auto s = measure(machine, {machine.kernel("a", 1e-4), machine.kernel("a", 1e-4)},
                           {.most_rounds = 60, .precision = 0, .seed = run});
    const comparison c = compare_paired(s[0].wall, s[1].wall, {.minimum_effect = 0});
    claims += c.outcome != verdict::tie;
  }
  CHECK(claims <= 16);  // 5 % of 200, and two standard deviations
}

TEST_CASE("timing: on a quiet machine the times are the truth, and rounds end early") {
  simulated_machine machine(1, 0);
  const auto s = measure(machine, {machine.kernel("a", 1e-5), machine.kernel("b", 2e-5)});
  CHECK(s[0].wall.size() == s[1].wall.size());
  CHECK(s[0].wall.size() == 32);
  CHECK(s[0].calls == doctest::Approx(30).epsilon(0.04));
  CHECK(s[1].calls == doctest::Approx(15).epsilon(0.07));
  CHECK(median(s[0].wall) == doctest::Approx(1e-5));
  CHECK(median(s[1].wall) == doctest::Approx(2e-5));
  CHECK(median(s[0].processor) == doctest::Approx(1e-5));
}

TEST_CASE("timing: the budget ends the rounds, but never before the least") {
  simulated_machine machine(2);
  const auto slow = [&] { return std::vector<candidate>{machine.kernel("a", 0.5)}; };
  CHECK(measure(machine, slow(), {.least_rounds = 7, .budget = 1})[0].wall.size() == 7);
  CHECK(measure(machine, slow(), {.precision = 0, .budget = 20})[0].wall.size() < 60);
  CHECK(measure(machine, slow(), {.most_rounds = 3})[0].wall.size() == 3);
}

TEST_CASE("timing: each round runs every candidate once, in both orders") {
  simulated_machine machine(3, 0);
  std::vector<char> calls;
  const auto letter = [&](char c) {
    return candidate(std::string(1, c), [&machine, &calls, c] {
      calls.push_back(c);
      machine.work(2e-3);
    });
  };
  measure(machine, {letter('a'), letter('b')}, {.most_rounds = 40, .precision = 0, .budget = 1e9});
  const std::size_t rounds = 40;
  calls.erase(calls.begin(), calls.end() - static_cast<std::ptrdiff_t>(2 * rounds));
  int first_a = 0;
  for (std::size_t r = 0; r < rounds; ++r) {
    CHECK(calls[2 * r] != calls[2 * r + 1]);
    first_a += calls[2 * r] == 'a';
  }
  CHECK(first_a > 8);
  CHECK(first_a < 32);
}

TEST_CASE("timing: streamed calls walk through all sets, whoever calls") {
  simulated_machine machine(4, 0);
  std::vector<index_t> seen;
  const auto reader = [&](const char* name) {
    return candidate(name, [&](index_t set) {
      seen.push_back(set);
      machine.work(3e-4);
    });
  };
  measure(machine, {reader("a"), reader("b")}, {.most_rounds = 50, .precision = 0, .sets = 17});
  seen.erase(seen.begin(), seen.begin() + 40);  // past first calls and calibration
  for (std::size_t i = 0; i + 17 <= seen.size(); i += 17) {
    std::vector<index_t> pass(seen.begin() + static_cast<std::ptrdiff_t>(i),
                              seen.begin() + static_cast<std::ptrdiff_t>(i + 17));
    std::sort(pass.begin(), pass.end());
    CHECK(std::adjacent_find(pass.begin(), pass.end()) == pass.end());
  }
}

TEST_CASE("timing: a cold call comes after an eviction, alone in its slot") {
  simulated_machine machine(5, 0);
  bool cold = false;
  int cold_calls = 0, warm_calls = 0;
  const candidate c("a", [&] {
    (cold ? cold_calls : warm_calls)++;
    machine.work(cold ? 5e-6 : 1e-6);
    cold = false;
  });
  const auto s =
      measure(machine, {c}, {.most_rounds = 20, .precision = 0, .evict = [&] { cold = true; }});
  CHECK(warm_calls == 1);  // the first touch
  CHECK(cold_calls == 20);
  CHECK(s[0].calls == 1);
  CHECK(median(s[0].wall) == doctest::Approx(5e-6));
}

}  // namespace
}  // namespace adze::bench
