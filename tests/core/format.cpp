#include <doctest/doctest.h>

#include <limits>

#include <adze/core/format.hpp>

namespace adze::report {
namespace {

TEST_CASE("format: durations") {
  CHECK(format_duration(0) == "0:00");
  CHECK(format_duration(59.6) == "1:00");
  CHECK(format_duration(754) == "12:34");
  CHECK(format_duration(3723) == "1:02:03");
  CHECK(format_duration(-1) == "?");
  CHECK(format_duration(std::numeric_limits<double>::quiet_NaN()) == "?");
  CHECK(format_duration(1e300) == "?");
}

TEST_CASE("format: rates keep three digits") {
  CHECK(format_rate(0) == "0.00");
  CHECK(format_rate(9.5) == "9.50");
  CHECK(format_rate(9.996) == "10.0");
  CHECK(format_rate(950) == "950");
  CHECK(format_rate(999.6) == "1.00k");
  CHECK(format_rate(12345) == "12.3k");
  CHECK(format_rate(4.56e6) == "4.56M");
  CHECK(format_rate(7.8e12) == "7800G");
  CHECK(format_rate(std::numeric_limits<double>::infinity()) == "?");
}

TEST_CASE("format: fixed decimals of any double fit") {
  CHECK(format_fixed(1.005, 1) == "1.0");
  CHECK(format_fixed(-2.5, 0) == "-2");
  CHECK(format_fixed(std::numeric_limits<double>::max(), 60).size() == 309 + 1 + 60);
}

}  // namespace
}  // namespace adze::report
