#include <doctest/doctest.h>

#include <adze/core/table.hpp>

namespace adze::report {
namespace {

TEST_CASE("table: numbers stand right on one count of decimals, words left") {
  table t({"model", "accuracy %", "steps"});
  t.add("LeNet-5", 98.1, 8).add(std::string("a longer name"), fixed(96.325, 2), 1500);
  t.add("-", 97, "-");
  CHECK(t.rows() == 3);
  CHECK(t.text() == "model          accuracy %  steps\n"
                    "-------------  ----------  -----\n"
                    "LeNet-5             98.10      8\n"
                    "a longer name       96.33   1500\n"
                    "-                   97.00      -\n");
}

TEST_CASE("table: Markdown with alignment marks and escaped bars") {
  table t({"a|b", "n"});
  t.add("x\ny", 1).add("p|q", 22);
  CHECK(t.markdown() == "| a\\|b |   n |\n"
                        "| ---- | --: |\n"
                        "| x y  |   1 |\n"
                        "| p\\|q |  22 |\n");
}

TEST_CASE("table: infinities, exponents and NaN keep their spelling; UTF-8 counts code points") {
  table t({"größe", "v"});
  t.add("ä", 1.5).add("bb", 1e-12).add("c", std::numeric_limits<double>::infinity());
  CHECK(t.text() == "größe      v\n"
                    "-----  -----\n"
                    "ä        1.5\n"
                    "bb     1e-12\n"
                    "c        inf\n");
}

TEST_CASE("table: an empty table is a header; wrong rows are refused and change nothing") {
  table t({"a", "b"});
  CHECK(t.text() == "a  b\n-  -\n");
  CHECK_THROWS_WITH_AS(
      t.add(1), "table: wrong number of cells in a row; 1 cells for 2 columns; give one per column",
      value_error);
  CHECK(t.rows() == 0);
  CHECK_THROWS_WITH_AS(table({}), "table: no columns; received an empty list; name one",
                       value_error);
}

TEST_CASE("table: HTML escapes its cells and marks numbers") {
  table t({"who", "time"});
  t.add("a<b", 1.5).add("c", 12);
  CHECK(t.html() == "<table>\n<tr><th>who</th><th class=\"number\">time</th></tr>\n"
                    "<tr><td>a&lt;b</td><td class=\"number\">1.5</td></tr>\n"
                    "<tr><td>c</td><td class=\"number\">12.0</td></tr>\n</table>\n");
}

}  // namespace
}  // namespace adze::report
