// Philox, fills by index, distributions, generators.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/core/random.hpp>

namespace adze {
namespace {

using words = std::array<std::uint32_t, 4>;

// Sum of (seen - expected)^2 / expected over equally likely classes.
double chi_squared(const std::vector<int>& seen) {
  double total = 0;
  for (const int n : seen) total += n;
  const double expected = total / static_cast<double>(seen.size());
  double sum = 0;
  for (const int n : seen) sum += (n - expected) * (n - expected) / expected;
  return sum;
}

}  // namespace

TEST_CASE("philox4x32 gives the published vectors") {
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr std::uint32_t ones = 0xffffffff;
  CHECK(philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
        words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a state uses all 64 bits of seed and offset") {
  const random_state at{0x299f31d0a4093822, 0x85a308d3243f6a88};
  CHECK(at.block(0, 0x13198a2e) ==
        philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0}, {0xa4093822, 0x299f31d0}));
  CHECK(random_state{1, 0xffffffff}.block(1) == random_state{1, std::uint64_t{1} << 32}.block(0));
}

TEST_CASE("blocks by the group are those drawn one by one, across 2^32 too") {
  for (const random_state at : {random_state{1, 2}, random_state{0x299f31d0a4093822, 0xfffffff0}}) {
    random_state::word_group w;
    at.blocks(5, w);
    for (std::size_t b = 0; b < random_state::group; ++b)
      CHECK(at.block(5 + b) == words{w[0][b], w[1][b], w[2][b], w[3][b]});
  }
}

TEST_CASE_TEMPLATE("fills depend on the index alone", T, float, double) {
  constexpr index_t n = 1003;
  const random_state at = generator(7).reserve_for<T>(n);
  std::vector<T> whole(n), uniform(n), normal(n);
  uniform_fill(whole.data(), 0, n, at);
  for (const index_t chunk : {1, 5, 64, 333}) {
    parallel_for(n, chunk,
                 [&](index_t b, index_t e) { uniform_fill(uniform.data() + b, b, e - b, at); });
    CHECK(uniform == whole);
  }
  normal_fill(whole.data(), 0, n, at);
  for (const index_t chunk : {1, 7, 500}) {
    parallel_for(n, chunk,
                 [&](index_t b, index_t e) { normal_fill(normal.data() + b, b, e - b, at); });
    CHECK(normal == whole);
  }
}

TEST_CASE("streams are what they were: first values of seed 42") {
  float u[4], z[4];
  double d[2];
  const random_state at{42, 0};
  uniform_fill(u, 0, 4, at);
  uniform_fill(d, 0, 2, at);
  normal_fill(z, 0, 4, at);
  const words w = philox4x32({0, 0, 0, 0}, {42, 0});
  for (std::size_t i = 0; i < 4; ++i) CHECK(u[i] == std::ldexp(static_cast<float>(w[i] >> 8), -24));
  CHECK(d[0] == std::ldexp(static_cast<double>(((std::uint64_t{w[1]} << 32) | w[0]) >> 11), -53));
  const double r = std::sqrt(-2 * std::log((w[0] + 1.0) / 0x1p32));
  CHECK(z[0] == doctest::Approx(r * std::cos(2 * std::acos(-1.0) * (w[1] / 0x1p32))));
  CHECK(z[1] == doctest::Approx(r * std::sin(2 * std::acos(-1.0) * (w[1] / 0x1p32))));
}

TEST_CASE_TEMPLATE("uniform numbers stay below the upper end", T, float, double) {
  CHECK(detail::unit(std::uint32_t{0xffffffff}) < 1.0f);
  CHECK(detail::unit(~std::uint64_t{0}) < 1.0);
  CHECK(detail::unit(std::uint32_t{0}) == 0.0f);
  // With a range of a few steps, rounding would reach the upper end again and again.
  const T low = 1, high = 1 + 4 * std::numeric_limits<T>::epsilon();
  std::vector<T> x(10'000);
  uniform_fill(x.data(), 0, 10'000, random_state{3, 0}, low, high);
  CHECK(*std::max_element(x.begin(), x.end()) < high);
  CHECK(*std::min_element(x.begin(), x.end()) == low);
}

TEST_CASE_TEMPLATE("uniform and normal have their moments", T, float, double) {
  constexpr index_t n = 1 << 18;
  std::vector<T> x(n);
  const auto moment = [&](double centre, int power) {
    double s = 0;
    for (const T v : x) s += std::pow(static_cast<double>(v) - centre, power);
    return s / static_cast<double>(n);
  };
  const double root = std::sqrt(static_cast<double>(n));
  uniform_fill(x.data(), 0, n, random_state{11, 5}, T(-2), T(4));
  CHECK(std::abs(moment(0, 1) - 1) < 5 * std::sqrt(3.0) / root);  // five standard errors
  CHECK(std::abs(moment(1, 2) - 3) < 5 * std::sqrt(7.2) / root);
  normal_fill(x.data(), 0, n, random_state{12, 5}, 1.0, 2.0);
  CHECK(std::abs(moment(0, 1) - 1) < 5 * 2.0 / root);
  CHECK(std::abs(moment(1, 2) - 4) < 5 * 4 * std::sqrt(2.0) / root);
  CHECK(std::abs(moment(1, 3)) < 5 * 8 * std::sqrt(15.0) / root);
  CHECK(std::abs(moment(1, 4) - 48) < 5 * 16 * std::sqrt(96.0) / root);
  double neighbours = 0;  // the two halves of a Box-Muller pair do not go together
  for (std::size_t i = 0; i + 1 < x.size(); i += 2)
    neighbours += (static_cast<double>(x[i]) - 1) * (static_cast<double>(x[i + 1]) - 1) / 4;
  CHECK(std::abs(neighbours * 2 / static_cast<double>(n)) < 5 * std::sqrt(2.0) / root);
}

TEST_CASE("whole numbers are unbiased") {
  generator g(5);
  for (const index_t bound : {1, 3, 6, 10}) {
    std::vector<int> seen(static_cast<std::size_t>(bound));
    for (int i = 0; i < 60'000; ++i) ++seen[static_cast<std::size_t>(g.below(bound))];
    CHECK(chi_squared(seen) < 40);  // 9 degrees: exceeded once in 100,000
  }
  // A modulo of 64 bits would put two thirds of these into the lower half.
  const auto bound = std::uint64_t{3} << 62;
  int lower = 0;
  for (std::uint64_t i = 0; i < 10'000; ++i) lower += random_below({9, 0}, i, bound) < bound / 2;
  CHECK(std::abs(lower - 5000) < 250);
  CHECK(random_below({9, 0}, 0, 1) == 0);
  CHECK_THROWS_AS(g.below(0), value_error);
}

TEST_CASE("permutations hold each number once and every order is equally likely") {
  generator g(2);
  auto p = g.permutation(1000);
  CHECK(p != generator(3).permutation(1000));
  CHECK(p == generator(2).permutation(1000));
  std::sort(p.begin(), p.end());
  for (index_t i = 0; i < 1000; ++i) CHECK(p[static_cast<std::size_t>(i)] == i);
  std::map<std::vector<index_t>, int> orders;
  for (int i = 0; i < 60'000; ++i) ++orders[g.permutation(5)];
  CHECK(orders.size() == 120);
  std::vector<int> seen;
  for (const auto& [order, n] : orders) seen.push_back(n);
  CHECK(chi_squared(seen) < 190);  // 119 degrees: exceeded once in 20,000
  CHECK(g.permutation(0).empty());
  CHECK(g.permutation(1) == std::vector<index_t>{0});
  CHECK_THROWS_AS(g.permutation(-1), value_error);
}

TEST_CASE("generators move, can be saved, and differ by thread and seed") {
  generator g(1);
  CHECK(g.reserve_for<float>(9) == random_state{1, 0});
  CHECK(g.reserve_for<double>(9) == random_state{1, 3});
  CHECK(g.state() == random_state{1, 8});
  const random_state saved = g.state();
  const std::uint64_t next = g.bits();
  CHECK(g.bits() != next);
  g.set_state(saved);
  CHECK(g.bits() == next);

  manual_seed(77);
  CHECK(default_generator().bits() == generator(77).bits());
  CHECK(default_generator().state().offset == 1);
  manual_seed((std::uint64_t{1} << 40) + 77);  // all 64 bits count
  CHECK(default_generator().bits() == generator((std::uint64_t{1} << 40) + 77).bits());
  manual_seed(77);
  static_cast<void>(default_generator().bits());
  std::uint64_t a = 0, b = 0;
  std::jthread([&] { a = default_generator().state().seed; }).join();
  std::jthread([&] { b = default_generator().state().seed; }).join();
  CHECK(a != b);
  CHECK(default_generator().state() == random_state{77, 1});

  std::vector<std::uint64_t> draws;
  for (const std::uint64_t seed : {1u, 2u}) {
    generator h(seed);
    for (int i = 0; i < 1 << 16; ++i) draws.push_back(h.bits());
  }
  std::sort(draws.begin(), draws.end());
  CHECK(std::adjacent_find(draws.begin(), draws.end()) == draws.end());
}

}  // namespace adze
