#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <adze/bench/harness.hpp>

#include "simulation.hpp"

namespace adze::bench {
namespace {

// A kernel whose right answer is 1, on the simulated clock.
struct answer {
  simulated_machine machine{1, 0};
  double value = 0;

  task problem() {
    return {.shape = parse_problem("unit one n=1"),
            .cost = {.operations = 1e6, .read = 100},
            .spoil = [this] { value = std::numeric_limits<double>::quiet_NaN(); },
            .error = [this] { return std::fabs(value - 1); },
            .tolerance = 1e-6};
  }
  candidate gives(std::string name, double result, double seconds = 1e-5) {
    return {std::move(name), [this, result, seconds] {
              value = result;
              machine.work(seconds);
            }};
  }
  std::vector<row> run(const std::vector<candidate>& all, setting s = {}) {
    s.timing.time = machine.clock();
    return measure(problem(), all, s);
  }
};

TEST_CASE("harness: right kernels get numbers") {
  answer a;
  const auto rows = a.run({a.gives("x", 1), a.gives("y", 1 + 5e-7, 2e-5)},
                          {.limits = {.f32 = 2e11, .levels = {{1e9, 1e11, 1e11}}}});
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].timed());
  CHECK(rows[0].checked);
  CHECK(rows[0].wall.median == doctest::Approx(1e-5));
  CHECK(rows[0].operation_rate() == doctest::Approx(1e11));
  CHECK(rows[0].share() == doctest::Approx(0.5));
  CHECK(rows[1].error == doctest::Approx(5e-7));
  CHECK(rows[1].wall.median == doctest::Approx(2e-5));
  CHECK(rows[0].key() == "unit/one/n:1/warm/threads:1");
}

TEST_CASE("harness: wrong kernels get none, whatever is wrong with them") {
  answer a;
  const candidate idle("idle", [] {});
  const candidate throws("throws", [] { throw std::runtime_error("no such instruction"); });
  const auto rows = a.run({a.gives("good", 1), a.gives("off", 1 + 2e-6),
                           a.gives("nan", std::numeric_limits<double>::quiet_NaN()), idle, throws});
  REQUIRE(rows.size() == 5);
  CHECK(rows[0].timed());
  for (std::size_t i = 1; i < 5; ++i) {
    CHECK(!rows[i].timed());
    CHECK(rows[i].times.wall.empty());
    CHECK(rows[i].wall.median == 0);
  }
  CHECK(rows[1].status == outcome::wrong);
  CHECK(rows[1].message == "error 2e-06, tolerance 1e-06");
  CHECK(rows[2].status == outcome::wrong);
  CHECK(rows[3].status == outcome::wrong);
  CHECK(rows[4].status == outcome::failed);
  CHECK(rows[4].message == "no such instruction");
}

TEST_CASE("harness: a kernel that goes wrong later loses its number") {
  answer a;
  int calls = 0;
  const candidate tires("tires", [&] {
    a.value = ++calls < 50 ? 1 : 2;
    a.machine.work(1e-5);
  });
  const auto rows = a.run({a.gives("good", 1), tires});
  CHECK(calls > 50);
  CHECK(rows[0].timed());
  CHECK(rows[1].status == outcome::wrong);
  CHECK(rows[1].wall.median == 0);

  int left = 60;
  const candidate breaks("breaks", [&] {
    a.value = 1;
    a.machine.work(1e-5);
    if (--left == 0) throw std::runtime_error("broken");
  });
  const auto failed = a.run({breaks});
  CHECK(failed[0].status == outcome::failed);
  CHECK(failed[0].message == "while timing: broken");
}

TEST_CASE("harness: without a reference a row says so") {
  answer a;
  task t = a.problem();
  t.error = {};
  setting s;
  s.timing.time = a.machine.clock();
  const std::vector<candidate> all{a.gives("x", 5)};
  const auto rows = measure(t, all, s);
  CHECK(rows[0].timed());
  CHECK(!rows[0].checked);
}

TEST_CASE("harness: memory is that of one call") {
  answer a;
  memory_use use{10};
  const candidate greedy("greedy", [&] {
    a.value = 1;
    a.machine.work(1e-5);
    use.allocations += 3;
  });
  const auto rows = a.run({greedy}, {.memory = [&] { return use; }});
  CHECK(rows[0].memory.allocations == 3);
  const auto unknown = a.run({a.gives("x", 1)}, {.memory = [] { return memory_use{}; }});
  CHECK(unknown[0].memory.allocations == -1);
}

TEST_CASE("harness: verdicts are one family, and differences within the noise are ties") {
  answer a;
  results run{.rows = a.run({a.gives("x", 1), a.gives("y", 1, 1.02e-5), a.gives("z", 3)})};
  judge(run);
  CHECK(!run.rows[0].versus);
  REQUIRE(run.rows[1].versus);
  CHECK(run.rows[1].versus->ratio == doctest::Approx(1.02));
  CHECK(run.rows[1].versus->outcome == verdict::faster);
  CHECK(!run.rows[2].versus);
  run.noise = comparison{.range = {0.97, 1.01}};  // the machine alone makes 3 %
  judge(run);
  CHECK(run.rows[1].versus->outcome == verdict::tie);
}

TEST_CASE("harness: a problem measured again is compared within its own rounds") {
  answer a;
  results run;
  for (const index_t rounds : {20, 30}) {
    setting s;
    s.timing = {.least_rounds = rounds, .most_rounds = rounds};
    for (row& r : a.run({a.gives("x", 1), a.gives("y", 1, 1.02e-5)}, s)) run.rows.push_back(r);
  }
  judge(run);
  for (const std::size_t first : {0u, 2u}) {
    CHECK(!run.rows[first].versus);
    REQUIRE(run.rows[first + 1].versus);
    CHECK(run.rows[first + 1].versus->outcome == verdict::faster);
  }
}

TEST_CASE("harness: eviction empties, streams are long enough") {
  evictor evict(index_t(1) << 20);
  evict();  // its own memory only
  CHECK(streamed_sets(1e6, 32000000) == 97);
  CHECK(streamed_sets(1e9, 32000000) == 1);
  CHECK(streamed_sets(0, 1024) == 49);
}

}  // namespace
}  // namespace adze::bench
