#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <adze/bench/verdict.hpp>
#include <adze/core/random.hpp>

namespace adze::bench {
namespace {

std::vector<double> times(double base, std::size_t n = 41, std::uint64_t seed = 1,
                          double noise = 0.01) {
  generator random(seed);
  std::vector<double> out(n);
  for (double& t : out) t = base * std::exp(noise * random.normal());
  return out;
}

TEST_CASE("verdict: ratios are speeds, above 1 the subject is faster") {
  const comparison c = compare_paired(times(1.0), times(1.5, 41, 2));
  CHECK(c.ratio == doctest::Approx(1.5).epsilon(0.01));
  CHECK(c.range.low > 1.48);
  CHECK(c.range.high < 1.52);
  CHECK(c.p < 1e-9);
  CHECK(name_of(c.outcome) == "faster");
  CHECK(compare_paired(times(1.5), times(1.0, 41, 2)).outcome == verdict::slower);
  CHECK(compare_paired(times(1.0), times(1.0)).outcome == verdict::tie);
}

TEST_CASE("verdict: a certain difference below the minimum effect is a tie") {
  const auto a = times(1.0, 401), b = times(1.006, 401, 2);
  CHECK(compare_paired(a, b, {.minimum_effect = 0.01}).outcome == verdict::tie);
  CHECK(compare_paired(a, b, {.minimum_effect = 0.001}).outcome == verdict::faster);
  CHECK(compare_paired(b, a, {.minimum_effect = 0.001}).outcome == verdict::slower);
}

TEST_CASE("verdict: more comparisons need more evidence") {
  const auto a = times(1.0, 15, 1, 0.02), b = times(1.03, 15, 2, 0.02);
  CHECK(compare_paired(a, b).outcome == verdict::faster);
  const comparison many = compare_paired(a, b, {.comparisons = 400});
  CHECK(many.outcome == verdict::tie);
  CHECK(many.ratio == compare_paired(a, b).ratio);
}

TEST_CASE("verdict: nothing is claimed where there are too few timings for an interval") {
  const comparison few = compare_paired(times(1.0, 5), times(2.0, 5, 2));
  CHECK(few.ratio == doctest::Approx(2).epsilon(0.02));
  CHECK(std::isinf(few.range.high));
  CHECK(name_of(few.outcome) == "no interval");
  CHECK(compare_paired(times(1.0, 6), times(2.0, 6, 2)).outcome == verdict::faster);
  const auto a = times(1.0, 15), b = times(2.0, 15, 2);
  CHECK(compare_paired(a, b, {.comparisons = 800}).outcome == verdict::faster);
  CHECK(compare_paired(a, b, {.comparisons = 1000000}).outcome == verdict::open);
  CHECK(compare_separate(times(1.0, 3), times(9.0, 3, 2)).outcome == verdict::open);
}

TEST_CASE("verdict: runs apart are compared by ranks") {
  const comparison c = compare_separate(times(1.0), times(1.2, 60, 2));
  CHECK(c.ratio == doctest::Approx(1.2).epsilon(0.01));
  CHECK(c.outcome == verdict::faster);
  CHECK(compare_separate(times(1.2), times(1.0, 60, 2)).outcome == verdict::slower);
  CHECK(compare_separate(times(1.03), times(1.0, 60, 2)).outcome == verdict::tie);
}

TEST_CASE("verdict: rounds must come in pairs") {
  CHECK_THROWS_AS(compare_paired(times(1.0, 3), times(1.0, 4)), shape_error);
  CHECK_THROWS_AS(compare_paired({}, {}), shape_error);
}

}  // namespace
}  // namespace adze::bench
