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

// Multiplications of a shipped list, in millions.
double multiplications(const std::string& list) {
  const std::string here = __FILE__;
  const std::string root = here.substr(0, here.rfind("tests/bench/"));
  double sum = 0;
  for (const problem& p : read_problems(root + "benchmarks/problems/" + list + ".txt")) {
    const auto size = [&](const char* key) { return static_cast<double>(p.size(key)); };
    const auto count = static_cast<double>(p.size("count", 1));
    if (p.kernel == "gemm") sum += count * size("m") * size("n") * size("k");
    if (p.kernel != "conv") continue;
    const index_t k = p.size("k"), stride = p.size("stride", 1), pad = p.size("pad", 0);
    const auto out = static_cast<double>((p.size("h") + 2 * pad - k) / stride + 1);
    CHECK(p.size("c") % p.size("groups", 1) == 0);
    CHECK(p.size("h") == p.size("w"));
    sum += count * size("n") * size("o") * out * out * size("c") * size("k") * size("k") /
           static_cast<double>(p.size("groups", 1));
  }
  return sum / 1e6;
}

TEST_CASE("problems: the shipped networks cost what their papers say") {
  CHECK(multiplications("resnet18") == doctest::Approx(1814).epsilon(0.001));
  CHECK(multiplications("resnet50") == doctest::Approx(4089).epsilon(0.001));
  CHECK(multiplications("mobilenet_v2") == doctest::Approx(300.8).epsilon(0.001));
  CHECK(multiplications("gpt_decode") == doctest::Approx(123.5).epsilon(0.001));  // its weights
  CHECK(multiplications("gpt_prefill") > 512 * 84.9);
  CHECK(multiplications("lenet") > 0);
  CHECK(multiplications("mlp") > 0);
  CHECK(multiplications("lstm") > 0);
  CHECK(multiplications("gemm") > 0);
}

}  // namespace
}  // namespace adze::bench
