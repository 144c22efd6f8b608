#include <doctest/doctest.h>

#include <string>

#include <adze/bench/problems.hpp>

namespace adze::bench {
namespace {

std::string message(std::string_view list) {
  try {
    parse_problems(list, "x.txt");
  } catch (const value_error& e) {
    return e.what();
  }
  return {};
}

TEST_CASE("problems: a line is kernel, name, sizes, tags") {
  const problem p = parse_problem("gemm  mlp.fc1 m=128 n=512\tk=784 b=t #mlp #forward # a comment");
  CHECK(p.kernel == "gemm");
  CHECK(p.name == "mlp.fc1");
  CHECK(p.size("m") == 128);
  CHECK(p.size("stride", 1) == 1);
  CHECK(p.word("b") == "t");
  CHECK(p.word("a", "n") == "n");
  CHECK(p.tags == std::vector<std::string>{"mlp", "forward"});
  CHECK(p.text() == "gemm mlp.fc1 m=128 n=512 k=784 b=t");
  CHECK(parse_problem(p.text()).text() == p.text());
  CHECK(matches(p, "#mlp"));
  CHECK(!matches(p, "#ml"));
  CHECK(matches(p, "fc1"));
  CHECK(!matches(p, "fc2"));
}

TEST_CASE("problems: lists skip comments and empty lines, and errors name the line") {
  const auto list = parse_problems("# head\n\n  # more\ngemm a m=1\r\nconv b c=2");
  CHECK(list.size() == 2);
  CHECK(list[0].size("m") == 1);
  CHECK(list[1].kernel == "conv");
  CHECK(message("gemm a m=1\n\nconv\n").starts_with("x.txt:3: parse_problem: a kernel and a name"));
  CHECK(message("gemm a m").find("'m' is neither key=value nor a tag") != std::string::npos);
  CHECK(message("gemm a m=").find("neither") != std::string::npos);
  CHECK(message("gemm a =3").find("neither") != std::string::npos);
  CHECK(message("gemm m=1 k=2").find("needed first") != std::string::npos);
  CHECK(message("gemm a m=1 m=2").find("m is given twice") != std::string::npos);
  CHECK(message("gemm #") != "");
}

TEST_CASE("problems: sizes are checked when they are asked for") {
  const problem p = parse_problem("gemm a m=12x n=-3 k=99999999999999999999");
  CHECK_THROWS_WITH_AS(p.size("m"),
                       "problem: m is no size; '12x' in 'gemm a m=12x n=-3 "
                       "k=99999999999999999999'",
                       value_error);
  CHECK_THROWS_AS(p.size("n"), value_error);
  CHECK_THROWS_AS(p.size("k"), value_error);
  CHECK_THROWS_AS(p.size("missing"), value_error);
  CHECK_THROWS_AS(read_problems("/no/such/list.txt"), io_error);
}

}  // namespace
}  // namespace adze::bench
