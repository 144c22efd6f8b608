#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>

#include <adze/report/smooth.hpp>

namespace adze::report {
namespace {

TEST_CASE("smooth: weights fall by `keep`, from the first value on") {
  smooth_mean mean(0.5);
  CHECK(std::isnan(mean.value()));
  mean.add(8);
  CHECK(mean.value() == 8);
  mean.add(2);
  CHECK(mean.value() == doctest::Approx((0.5 * 8 + 2) / 1.5));
  mean.add(std::nan(""));
  mean.add(std::numeric_limits<double>::infinity());
  CHECK(mean.value() == doctest::Approx((0.5 * 8 + 2) / 1.5));
}

TEST_CASE("smooth: a curve has as many values as it had") {
  const std::array<double, 4> raw{1, 3, std::nan(""), 5};
  const auto plain = smoothed(raw, 0);
  CHECK(plain == std::vector<double>{1, 3, 3, 5});
  CHECK(smoothed(raw)[1] == doctest::Approx((0.98 + 3) / 1.98));
  CHECK(smoothed({}).empty());
  CHECK_THROWS_WITH_AS(smoothed(raw, 1), "smooth_mean: keep out of range; got 1; 0 <= keep < 1",
                       value_error);
}

}  // namespace
}  // namespace adze::report
