#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <string>

#include <adze/core/svg.hpp>

namespace adze::report {
namespace {

TEST_CASE("svg: text is escaped and always well-formed XML") {
  CHECK(escape_xml("a<b> & \"c\"") == "a&lt;b&gt; &amp; &quot;c&quot;");
  CHECK(escape_xml("größe \u2713 \U0001F600") == "größe \u2713 \U0001F600");
  CHECK(escape_xml("a\nb\tc\x01") == "a b c?");
  CHECK(escape_xml("\xFF\xC0\x80") == "???");       // never UTF-8; overlong
  CHECK(escape_xml("\xED\xA0\x80") == "???");       // a surrogate
  CHECK(escape_xml("\xF4\x90\x80\x80") == "????");  // beyond U+10FFFF
  CHECK(escape_xml("\xEF\xBF\xBF") == "???");       // U+FFFF
  CHECK(escape_xml("x\xE2\x82") == "x??");          // cut short
}

TEST_CASE("svg: numbers are short and finite") {
  CHECK(svg::number(1.50) == "1.5");
  CHECK(svg::number(100) == "100");
  CHECK(svg::number(-0.001) == "0");
  CHECK(svg::number(std::nan("")) == "0");
}

TEST_CASE("svg: a document") {
  svg page(20, 10, ".a{fill:red}\n");
  page.rectangle({0, 0}, 20, 10, "a");
  page.line({0, 1}, {2, 3}, "b");
  page.circle({4, 5}, 1.25, "c");
  page.text({1, 2}, "<x>", "d", -90);
  const std::array<point, 2> two{point{0, 0}, point{1.5, 2}};
  page.polyline(two, "e");
  page.polyline(std::span(two).first(1), "e");
  page.polyline({}, "e");
  CHECK(page.str() ==
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"20\" height=\"10\" "
        "viewBox=\"0 0 20 10\" font-family=\"Helvetica, Arial, sans-serif\">\n"
        "<style>\n.a{fill:red}\n</style>\n"
        "<rect class=\"a\" x=\"0\" y=\"0\" width=\"20\" height=\"10\"/>\n"
        "<line class=\"b\" x1=\"0\" y1=\"1\" x2=\"2\" y2=\"3\"/>\n"
        "<circle class=\"c\" cx=\"4\" cy=\"5\" r=\"1.25\"/>\n"
        "<text class=\"d\" x=\"1\" y=\"2\" transform=\"rotate(-90 1 2)\">&lt;x&gt;</text>\n"
        "<path class=\"e\" d=\"M0 0 1.5 2\"/>\n"
        "<path class=\"e\" d=\"M0 0 h0\"/>\n"
        "</svg>\n");
}

}  // namespace
}  // namespace adze::report
