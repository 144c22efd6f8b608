// SPDX-License-Identifier: MIT
// The harness on this machine: the same code compared with itself must be a tie, and a slowdown
// that is planted must be found. 100 comparisons each, interleaved so that the noise is shared.
//   harness_proof [comparisons]
// Exit status 1 where fewer than 95 of 100 are right.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <adze/bench/harness.hpp>
#include <adze/core/table.hpp>

namespace {

using namespace adze;

// Dependent multiplications and additions: the time is proportional to their number.
void spin(index_t count) {
  float x = 1;
  for (index_t i = 0; i < count; ++i) {
    x = x * 0.5f + 0.5f;
    bench::keep(x);
  }
}

// The loop's own setup and call are part of the time, so the planted count is found by measuring.
bench::comparison compare_counts(index_t one, index_t other, std::uint64_t seed) {
  const bench::candidate a("a", [=] { spin(one); }), b("b", [=] { spin(other); });
  const bench::candidate* both[] = {&a, &b};
  const auto s = bench::time_interleaved(both, {.seed = seed});
  return bench::compare_paired(s[0].wall, s[1].wall);
}

}  // namespace

int main(int argc, char** argv) {
  const int runs = argc > 1 ? std::atoi(argv[1]) : 100;
  constexpr index_t base = 20000;
  struct plan {
    const char* name;
    double effect;
    bench::verdict wanted;
    int right = 0;
    double ratio = 0;
  };
  plan plans[] = {{"A/A", 0, bench::verdict::tie},
                  {"3 % slower", 0.03, bench::verdict::faster},
                  {"3 % faster", -0.03, bench::verdict::slower},
                  {"10 % slower", 0.10, bench::verdict::faster}};
  for (int i = 0; i < runs; ++i) {
    for (plan& p : plans) {
      const auto other = static_cast<index_t>(std::lround(base * (1 + p.effect)));
      const bench::comparison c = compare_counts(base, other, static_cast<std::uint64_t>(i));
      p.right += c.outcome == p.wanted;
      p.ratio += c.ratio / runs;
    }
  }
  report::table t({"planted", "verdict wanted", "right", "of", "mean ratio found"});
  bool good = true;
  for (const plan& p : plans) {
    t.add(p.name, bench::name_of(p.wanted), p.right, runs, report::fixed(p.ratio, 4));
    good &= p.right * 100 >= 95 * runs;
  }
  std::fputs(t.text().c_str(), stdout);
  return good ? 0 : 1;
}
