#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include <adze/bench/json_reader.hpp>

namespace adze::bench {
namespace {

// Not by a comparison with a value made there: g++ 12 warns of what its destructor would read.
bool is_null(const json& j) { return std::holds_alternative<std::nullptr_t>(j.value); }

TEST_CASE("json: what is written is read back") {
  const json value = json::object{{"a", 1.5},
                                  {"b", json::list{true, false, json(), "x\"\\\n\x01"}},
                                  {"empty", json::object{}},
                                  {"none", json::list{}},
                                  {"third", 1.0 / 3}};
  const std::string text = to_json_text(value);
  CHECK(parse_json(text) == value);
  CHECK(value["a"].number() == 1.5);
  CHECK(value["b"].items().size() == 4);
  CHECK(value["b"].items()[0].truth());
  CHECK(!value["b"].items()[1].truth());
  CHECK(is_null(value["missing"]));
  CHECK(value["missing"]["deeper"].number(7) == 7);
  CHECK(value["a"].text("no") == "no");
  CHECK(to_json_text(std::numeric_limits<double>::infinity()) == "null\n");
  CHECK(to_json_text(index_t(123456789)) == "123456789\n");
}

TEST_CASE("json: what others write") {
  CHECK(parse_json("[1.2436480000360461e+07, -0, NaN]").items()[0].number() == 12436480.000360461);
  CHECK(parse_json(R"("\u0041\u00e9\u20ac\ud83d\/\t")").text() == "A\xC3\xA9\xE2\x82\xAC?/\t");
  CHECK(parse_json("\n {\"a\" : [ ] } \r\n")["a"].items().empty());
}

TEST_CASE("json: what Google Benchmark writes for numbers that are not finite is null") {
  const json read = parse_json("[NaN, -NaN, Infinity, -Infinity, 1]");
  REQUIRE(read.items().size() == 5);
  for (std::size_t i = 0; i < 4; ++i) CHECK(is_null(read.items()[i]));
}

TEST_CASE("json: damaged text is refused, with its place") {
  for (const char* bad :
       {"", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "[1 2]", "tru", "\"abc", "\"\\x\"",
        "\"\\u12g4\"", "\"\\u12", "\"a\nb\"", "1 2", "[", "]", "+1", "\"\\"})
    CHECK_THROWS_AS(parse_json(bad), value_error);
  for (const char* bad : {"inf", "-inf", "nan", "-nan", "nan(1)", "INFINITY", "1e999", "-1e999"})
    CHECK_THROWS_AS(parse_json(text("[", bad, "]")), value_error);
  CHECK_THROWS_WITH_AS(parse_json("[1, ?]"), "parse_json: no value; at byte 4 of 6", value_error);
  CHECK_THROWS_AS(parse_json(std::string(100000, '[')), value_error);
  CHECK(parse_json(std::string(100, '[') + std::string(100, ']')).items().size() == 1);
}

}  // namespace
}  // namespace adze::bench
