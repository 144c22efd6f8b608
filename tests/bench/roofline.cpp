#include <doctest/doctest.h>

#include <limits>

#include <adze/bench/roofline.hpp>

namespace adze::bench::roofline_test {
namespace {

const peaks machine{.threads = 1,
                    .f32 = 100e9,
                    .f64 = 50e9,
                    .i8 = 400e9,
                    .levels = {{32e3, 200e9, 150e9},
                               {1e6, 100e9, 80e9},
                               {std::numeric_limits<double>::infinity(), 20e9, 16e9}}};

TEST_CASE("roofline: a product of large matrices is bound by arithmetic") {
  const work w{.operations = 2e9, .read = 8e6, .written = 4e6};
  const roof r = roof_of(machine, w, cache_state::warm);
  CHECK(!r.by_memory);
  CHECK(r.seconds == doctest::Approx(0.02));
  CHECK(share_of_roof(r, 0.025) == doctest::Approx(0.8));
  work low = w;
  low.unit = arithmetic::i8;
  CHECK(roof_of(machine, low, cache_state::warm).seconds == doctest::Approx(0.005));
  CHECK(w.intensity() == doctest::Approx(2e9 / 12e6));
}

TEST_CASE("roofline: a sum is bound by the level that its operand comes from") {
  const auto seconds = [](double bytes, cache_state state) {
    const roof r = roof_of(machine, {.operations = bytes / 4, .read = bytes}, state);
    CHECK(r.by_memory);
    return r.seconds;
  };
  CHECK(seconds(16e3, cache_state::warm) == doctest::Approx(16e3 / 200e9));
  CHECK(seconds(5e5, cache_state::warm) == doctest::Approx(5e5 / 100e9));
  CHECK(seconds(5e7, cache_state::warm) == doctest::Approx(5e7 / 20e9));
  CHECK(seconds(16e3, cache_state::streamed) == doctest::Approx(16e3 / 20e9));
  CHECK(seconds(16e3, cache_state::cold) == doctest::Approx(16e3 / 20e9));
}

TEST_CASE("roofline: writes go at the speed of a copy") {
  const memory_level level{0, 20e9, 10e9};
  CHECK(memory_seconds(level, {.read = 1e9}) == doctest::Approx(0.05));
  CHECK(memory_seconds(level, {.read = 1e9, .written = 1e9}) == doctest::Approx(0.2));
  CHECK(memory_seconds(level, {.read = 3e9, .written = 1e9}) == doctest::Approx(0.3));
  CHECK(memory_seconds(level, {.written = 1e9}) == doctest::Approx(0.1));
}

TEST_CASE("roofline: unknown peaks give no share") {
  const work w{.operations = 1, .read = 1};
  CHECK(roof_of({}, w, cache_state::warm).seconds == 0);
  CHECK(share_of_roof(roof_of({}, w, cache_state::cold), 1) == 0);
  CHECK(work{}.intensity() == 0);
}

}  // namespace
}  // namespace adze::bench::roofline_test
