#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>
#include <limits>
#include <string>

#include <adze/core/axis.hpp>

namespace adze::report {
namespace {

axis made(const axis::options& options, std::initializer_list<double> values) {
  axis a(options);
  for (const double v : values) a.include(v);
  a.finish();
  return a;
}

std::string labels(const axis& a) {
  std::string out;
  for (const tick& t : a.ticks()) out += (out.empty() ? "" : " ") + t.label;
  return out;
}

TEST_CASE("axis: steps are 1, 2 or 5 times a power of ten") {
  CHECK(axis::nice_step(10, 5) == doctest::Approx(2));
  CHECK(axis::nice_step(1, 10) == doctest::Approx(0.1));
  CHECK(axis::nice_step(23, 5) == doctest::Approx(5));
  CHECK(axis::nice_step(85, 10) == doctest::Approx(10));
}

TEST_CASE("axis: linear labels have the decimals of their step") {
  CHECK(labels(made({}, {1, 8})) == "1 2 3 4 5 6 7 8");
  CHECK(labels(made({.snap = true}, {0.03, 2.9})) == "0 0.5 1.0 1.5 2.0 2.5 3.0");
  CHECK(labels(made({}, {0.991, 0.998})) == "0.991 0.992 0.993 0.994 0.995 0.996 0.997 0.998");
  CHECK(labels(made({}, {0, 4e7})) == "0 5e6 1e7 1.5e7 2e7 2.5e7 3e7 3.5e7 4e7");
  CHECK(labels(made({}, {-2, 3})) == "-2 -1 0 1 2 3");
}

TEST_CASE("axis: snapping widens the range to whole ticks, else the data fill it") {
  const axis tight = made({}, {0.3, 9.7});
  CHECK(tight.position(0.3) == 0);
  CHECK(tight.position(9.7) == 1);
  const axis snapped = made({.snap = true}, {0.3, 9.7});
  CHECK(snapped.position(0) == 0);
  CHECK(snapped.position(10) == doctest::Approx(1));
}

TEST_CASE("axis: logarithmic ticks are 1-2-5, then decades, then every n-th decade") {
  CHECK(labels(made({.logarithmic = true, .snap = true}, {0.03, 2.3})) ==
        "0.02 0.05 0.1 0.2 0.5 1 2 5");
  CHECK(labels(made({.logarithmic = true}, {1e-5, 10})) == "1e-5 0.0001 0.001 0.01 0.1 1 10");
  CHECK(labels(made({.logarithmic = true}, {1e-12, 1})) == "1e-12 1e-10 1e-8 1e-6 0.0001 0.01 1");
  CHECK(labels(made({.logarithmic = true}, {3, 4})) == "3.0 3.2 3.4 3.6 3.8 4.0");
}

TEST_CASE("axis: what cannot be shown is left out") {
  const axis linear({});
  CHECK(linear.shows(-3));
  CHECK_FALSE(linear.shows(std::nan("")));
  CHECK_FALSE(linear.shows(std::numeric_limits<double>::infinity()));
  CHECK_FALSE(linear.shows(1e301));
  const axis logarithmic({.logarithmic = true});
  CHECK_FALSE(logarithmic.shows(0));
  CHECK_FALSE(logarithmic.shows(-1));
  CHECK(logarithmic.shows(1e-300));
}

TEST_CASE("axis: no data, one value and extreme values still give ticks and finite places") {
  for (const bool logarithmic : {false, true}) {
    for (const bool snap : {false, true}) {
      for (const auto& values : {std::initializer_list<double>{},
                                 {5.0},
                                 {0.0},
                                 {1e-300},
                                 {-1e300, 1e300},
                                 {1e-300, 1e300},
                                 {1.0, 1.0 + 1e-15},
                                 {1.0, std::nextafter(1.0, 2.0)},
                                 {5e-324},
                                 {-5e-324},
                                 {0.0, 5e-324},
                                 {1e-310, 2e-310},
                                 {-1e-308, 3e-308},
                                 {-1e-300, 1e-300},
                                 {1e-299, 1.1e-299},
                                 {3e-295}}) {
        const axis a = made({.logarithmic = logarithmic, .snap = snap}, values);
        CHECK(a.ticks().size() >= 2);
        CHECK(a.ticks().size() <= 20);
        for (const tick& t : a.ticks()) {
          CHECK(a.position(t.value) >= -1e-6);
          CHECK(a.position(t.value) <= 1 + 1e-6);
        }
      }
    }
  }
}

}  // namespace
}  // namespace adze::report
