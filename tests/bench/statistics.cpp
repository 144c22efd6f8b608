#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <adze/bench/statistics.hpp>
#include <adze/core/random.hpp>

namespace adze::bench {
namespace {

TEST_CASE("statistics: quantiles lie between neighbours") {
  const std::vector<double> x{1, 2, 4, 8};
  CHECK(quantile(x, 0) == 1);
  CHECK(quantile(x, 0.5) == 3);
  CHECK(quantile(x, 1) == 8);
  CHECK(quantile(x, 0.25) == doctest::Approx(1.75));
  CHECK(median(std::vector<double>{5, 1, 9}) == 5);
  CHECK(quantile(std::vector<double>{7}, 0.3) == 7);
  CHECK_THROWS_AS(median({}), value_error);
}

TEST_CASE("statistics: tails of a fair coin") {
  CHECK(detail::coin_tail(10, 0) == doctest::Approx(1.0 / 1024));
  CHECK(detail::coin_tail(10, 4) == doctest::Approx(386.0 / 1024));
  CHECK(detail::coin_tail(10, 10) == 1);
  CHECK(detail::coin_tail(401, 200) == doctest::Approx(0.5));
  CHECK(detail::two_sided_normal(0.05) == doctest::Approx(1.959964).epsilon(1e-6));
  CHECK(detail::two_sided_normal(1e-6) == doctest::Approx(4.891638).epsilon(1e-6));
}

TEST_CASE("statistics: the interval of a median, by order statistics") {
  // Tables of the sign test: ranks 1 and 6 of 6, 6 and 15 of 20, 10 and 22 of 31.
  std::vector<double> x;
  const auto grow = [&](std::size_t n) {
    while (x.size() < n) x.push_back(static_cast<double>(x.size() + 1));
    return median_interval(x);
  };
  CHECK(std::isinf(grow(5).high));
  CHECK((grow(6).low == 1 && grow(6).high == 6));
  CHECK((grow(20).low == 6 && grow(20).high == 15));
  CHECK((grow(31).low == 10 && grow(31).high == 22));
  const interval strict = median_interval(x, 1 - 5e-4);
  CHECK((strict.low == 6 && strict.high == 26));
}

TEST_CASE("statistics: the interval of the median of a long run takes as long as its list") {
  std::vector<double> x(2000001);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i);
  const interval all = median_interval(x);
  CHECK(all.low == doctest::Approx(1e6 - 1386).epsilon(1e-5));  // 1.96 sqrt(n) / 2
  CHECK(all.high == doctest::Approx(1e6 + 1386).epsilon(1e-5));
}

TEST_CASE("statistics: the interval of a median holds it as often as it says") {
  generator random(11);
  int hits = 0;
  for (int run = 0; run < 2000; ++run) {
    std::vector<double> x(41);
    for (double& v : x) v = std::exp(random.normal());  // skewed; its median is 1
    hits += median_interval(in_order(x)).contains(1);
  }
  CHECK(hits >= 1900);
  CHECK(hits <= 1980);  // 97.2 % by the formula for 41: not needlessly wide
}

TEST_CASE("statistics: signs") {
  CHECK(sign_test(std::vector<double>{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}) ==
        doctest::Approx(2.0 / 1024));
  CHECK(sign_test(std::vector<double>{1, -1, 0, 0}) == 1);
  CHECK(sign_test({}) == 1);
}

TEST_CASE("statistics: the shift between two lists") {
  const std::vector<double> a{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<double> b;
  for (const double x : a) b.push_back(x + 10);
  const shift found = shift_between(a, b);
  CHECK(found.estimate == 10);
  CHECK(found.range.low == doctest::Approx(7));  // ranks 13 and 52 of 64 differences
  CHECK(found.range.high == doctest::Approx(13));
  CHECK(std::isinf(shift_between(std::vector<double>{1}, std::vector<double>{2}).range.high));
  CHECK_THROWS_AS(shift_between(a, {}), value_error);

  generator random(5);
  int hits = 0;
  for (int run = 0; run < 500; ++run) {
    std::vector<double> x(20), y(25);
    for (double& v : x) v = random.normal();
    for (double& v : y) v = random.normal() + 0.7;
    hits += shift_between(x, y).range.contains(0.7);
  }
  CHECK(hits >= 462);
  CHECK(hits <= 490);
}

TEST_CASE("statistics: shifts are those of the whole list of differences, which is never made") {
  generator random(9);
  for (const std::size_t size : {1u, 2u, 5u, 30u}) {
    std::vector<double> a(size), b(size + 3), all;
    for (double& x : a) x = static_cast<double>(random.below(20)) - 10;  // with ties
    for (double& y : b) y = static_cast<double>(random.below(20)) * 0.7;
    for (const double x : a)
      for (const double y : b) all.push_back(y - x);
    std::sort(all.begin(), all.end());
    CHECK(shift_between(a, b).estimate == doctest::Approx(quantile(all, 0.5)).epsilon(1e-15));
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    for (std::size_t k = 0; k < all.size(); ++k)
      CHECK(detail::difference_at(a, b, static_cast<index_t>(k + 1)) == all[k]);
  }
  std::vector<double> a(100000), b(100000);
  for (double& x : a) x = random.normal();
  for (double& y : b) y = random.normal() + 0.5;
  const shift found = shift_between(a, b);
  CHECK(found.range.contains(0.5));
  CHECK(found.estimate == doctest::Approx(0.5).epsilon(0.05));
  CHECK(found.range.half_width() < 0.02);
}

TEST_CASE("statistics: a summary is not moved by a few wild values") {
  std::vector<double> x(101, 0.0);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 100 + static_cast<double>(i % 11);
  const summary quiet = summarize(x);
  for (std::size_t i = 0; i < 5; ++i) x[10 + i] = 1e9;
  const summary wild = summarize(x);
  CHECK(quiet.count == 101);
  CHECK(quiet.minimum == 100);
  CHECK(quiet.median == 105);
  CHECK(quiet.p95 == 110);
  CHECK(quiet.absolute_deviation == 3);
  CHECK(wild.median == 105);
  CHECK(wild.range.high <= 107);
  CHECK(wild.mean > 1e7);
}

}  // namespace
}  // namespace adze::bench
