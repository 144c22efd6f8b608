#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <adze/core/plot.hpp>

namespace adze::report {
namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
  return n;
}

const std::array<double, 5> steps{1, 2, 3, 4, 5};

TEST_CASE("plot: title, labels and legend, escaped") {
  const std::array<double, 5> y{5, 4, 3, 2, 1};
  line_chart chart({.title = "a < b", .x = {"epoch"}, .y = {"loss & co"}});
  chart.add("train", steps, y);
  CHECK(count(chart.svg_text(), ">train</text>") == 0);  // one curve needs no legend
  chart.add("test \"x\"", steps, y, line_style::dashed);
  const std::string out = chart.svg_text();
  CHECK(count(out, ">a &lt; b</text>") == 1);
  CHECK(count(out, ">loss &amp; co</text>") == 1);
  CHECK(count(out, ">epoch</text>") == 1);
  CHECK(count(out, ">train</text>") == 1);
  CHECK(count(out, ">test &quot;x&quot;</text>") == 1);
  CHECK(count(out, "curve c1 dashed") == 2);  // the curve and its legend
  CHECK(count(out, "<circle") == 10);
}

TEST_CASE("plot: NaN and infinities leave gaps and do not move the axes") {
  const std::array<double, 5> whole{1, 2, 3, 4, 5};
  const std::array<double, 5> broken{1, 2, std::nan(""), 4, 5};
  const std::array<double, 5> infinite{1, 2, std::numeric_limits<double>::infinity(), 4, 5};
  const auto draw = [](std::span<const double> y) {
    line_chart chart({});
    return chart.add("a", steps, y).svg_text();
  };
  CHECK(count(draw(whole), "<path") == 1);
  CHECK(count(draw(whole), "<circle") == 5);
  CHECK(count(draw(broken), "<path") == 2);
  CHECK(count(draw(broken), "<circle") == 4);
  CHECK(draw(infinite) == draw(broken));
  CHECK(count(draw(broken), "nan") == 0);
}

TEST_CASE("plot: numbers <= 0 leave a logarithmic axis") {
  const std::array<double, 5> y{10, 1, 0, -1, 0.1};
  line_chart chart({.y = {"", true}});
  const std::string out = chart.add("a", steps, y).svg_text();
  CHECK(count(out, "<circle") == 3);
  CHECK(count(out, ">0.1</text>") == 1);
  CHECK(count(out, ">10</text>") == 1);
}

TEST_CASE("plot: a long curve is thinned, its extremes stay") {
  std::vector<double> x, y;
  for (int i = 0; i < 200000; ++i) {
    x.push_back(i);
    y.push_back(i == 123456 ? 100 : i == 55555 ? -100 : std::sin(i * 0.01));
  }
  line_chart chart({.height = 2000});
  const std::string out = chart.add("a", x, y).svg_text();
  CHECK(out.size() < 60000);
  // 100 and -100 are the ends of the snapped axis: plot top (20) and bottom (2000 - 36).
  CHECK(count(out, " 20 ") == 1);
  CHECK(count(out, " 1964 ") == 1);
}

TEST_CASE("plot: no curves, one point and wrong calls") {
  line_chart chart({});
  CHECK(count(chart.svg_text(), "</svg>") == 1);
  const std::array<double, 1> one{3};
  chart.add("dot", one, one);
  CHECK(count(chart.svg_text(), "h0") == 1);
  CHECK_THROWS_WITH_AS(chart.add("x", steps, one),
                       "line_chart: a curve needs one y per x; 5 x and 1 y in 'x'; pass equal "
                       "lengths",
                       shape_error);
  CHECK_THROWS_WITH_AS(line_chart({.width = 10}),
                       "line_chart: size out of range; 10 x 420; width 200 to 10000, height 150 to "
                       "10000",
                       value_error);
}

TEST_CASE("plot: dots have no line, in the curve and in the legend") {
  const auto curves = [](line_style style) {
    line_chart chart({});
    chart.add("a", steps, steps, style).add("b", steps, steps, style);
    return chart.svg_text();
  };
  CHECK(count(curves(line_style::dots), "<path") == 0);
  CHECK(count(curves(line_style::dots), "<circle") == 2 * (steps.size() + 1));
  CHECK(count(curves(line_style::solid), "<path") == 4);
}

}  // namespace
}  // namespace adze::report
