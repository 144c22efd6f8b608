// SPDX-License-Identifier: MIT
// Numbers in texts: the digits of printf's %g, and a point in every locale.
#include <clocale>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>

#include <doctest/doctest.h>

#include <adze/core/error.hpp>
#include <adze/core/random.hpp>
#include <adze/tensor/print.hpp>

namespace adze {
namespace {

std::string printed(double x) {
  char s[64];
  return {s, static_cast<std::size_t>(std::snprintf(s, sizeof s, "%g", x))};
}

// A locale that writes 0,5 where the system has one, until the end of the scope.
struct comma_locale {
  std::string before = std::setlocale(LC_NUMERIC, nullptr);
  bool found = false;
  comma_locale() {
    for (const char* name :
         {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8", "pl_PL.UTF-8", "ru_RU.UTF-8"})
      if (!found) found = std::setlocale(LC_NUMERIC, name) != nullptr && printed(0.5) == "0,5";
  }
  comma_locale(const comma_locale&) = delete;
  comma_locale& operator=(const comma_locale&) = delete;
  ~comma_locale() { std::setlocale(LC_NUMERIC, before.c_str()); }
};

TEST_CASE("text: numbers have at most six digits, as %g prints them") {
  for (const double x : {0.0, -0.0, 1.0, 0.5, -2.5, 100000.0, 1e6, 123456789.0, 1e-4, 1e-5, 1.0 / 3,
                         2e-310, 5e-324, 1.7e308, 999999.5, std::numeric_limits<double>::infinity(),
                         -std::numeric_limits<double>::infinity(), std::nan(""), -std::nan("")})
    CHECK(to_text(x) == printed(x));
  generator random(3);
  for (int i = 0; i < 10000; ++i) {
    const double x = random.normal() * std::pow(10.0, random.normal() * 20);
    if (to_text(x) != printed(x)) FAIL_CHECK(to_text(x), " and not ", printed(x));
  }
  CHECK(text("at ", 0.25f, ": ", 3) == "at 0.25: 3");
}

TEST_CASE("text: numbers have a point in every locale") {
  const comma_locale here;
  if (!here.found) MESSAGE("this system has no locale with a comma: the C locale only");
  CHECK(text(0.5, " ", 1e-7 * 1.5) == "0.5 1.5e-07");
  CHECK(to_string(tensor_f32{1.5f, -2}) == "[ 1.5000, -2.0000] f32[2]");
}

}  // namespace
}  // namespace adze
