#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include <adze/bench/json_reader.hpp>
#include <adze/bench/library.hpp>
#include <adze/bench/session.hpp>

namespace adze::bench {
namespace {

arguments parse(const std::vector<const char*>& words) { return parse_arguments(words); }

TEST_CASE("arguments: every option is read") {
  const arguments a = parse({"--problems",
                             "mlp,lenet",
                             "--problem",
                             "gemm x m=1",
                             "--filter",
                             "#a",
                             "--candidates",
                             "p,q",
                             "--cache",
                             "cold,streamed",
                             "--threads",
                             "1,2",
                             "--seconds",
                             "0.5",
                             "--rounds",
                             "9",
                             "--slot",
                             "0.01",
                             "--effect",
                             "2",
                             "--pin",
                             "--label",
                             "l",
                             "--json",
                             "j",
                             "--html",
                             "h",
                             "--svg",
                             "s",
                             "--markdown",
                             "m",
                             "--new-peaks",
                             "--no-noise-test",
                             "--list"});
  CHECK(a.lists == std::vector<std::string>{"mlp", "lenet"});
  CHECK(a.lines == std::vector<std::string>{"gemm x m=1"});
  CHECK(a.filters == std::vector<std::string>{"#a"});
  CHECK(a.candidates == std::vector<std::string>{"p", "q"});
  CHECK(a.states == std::vector<cache_state>{cache_state::cold, cache_state::streamed});
  CHECK(a.threads == std::vector<int>{1, 2});
  CHECK((a.seconds == 0.5 && a.rounds == 9 && a.slot == 0.01 && a.effect == 0.02));
  CHECK((a.pin && a.anew && a.list && !a.noise && !a.help));
  CHECK((a.label == "l" && a.json == "j" && a.html == "h" && a.svg == "s" && a.markdown == "m"));
}

TEST_CASE("arguments: wrong ones are named") {
  CHECK_THROWS_WITH_AS(parse({"--fast"}),
                       "arguments: unknown option; received '--fast'; see --help", value_error);
  CHECK_THROWS_WITH_AS(parse({"--json"}), "arguments: --json needs a value", value_error);
  for (const std::vector<const char*>& bad :
       std::vector<std::vector<const char*>>{{"--threads", "0"},
                                             {"--threads", "1,x"},
                                             {"--threads", ""},
                                             {"--rounds", "1e9"},
                                             {"--seconds", "-1"},
                                             {"--seconds", "nan"},
                                             {"--cache", "hot"},
                                             {"--slot", "1s"}})
    CHECK_THROWS_AS(parse(bad), value_error);
}

TEST_CASE("arguments: the line that repeats a row asks for the same") {
  const problem p = parse_problem("gemm it's m=1");
  const arguments a = parse({"--candidates", "a,b", "--seconds", "0.5", "--pin"});
  const std::string line = command_line("./my gemm", a, p, cache_state::cold, 2);
  CHECK(line == "'./my gemm' --problem 'gemm it'\\''s m=1' --cache cold --threads 2 "
                "--candidates a,b --seconds 0.5 --pin");
  CHECK(command_line("gemm", {}, p, cache_state::warm, 1) == "gemm --problem 'gemm it'\\''s m=1'");
}

// Runs a program on the command line with kept peaks of its own, out of the user's sight.
struct workspace {
  char folder[32] = "/tmp/adze_bench_XXXXXX";
  std::string before = std::getenv("XDG_CACHE_HOME") ? std::getenv("XDG_CACHE_HOME") : "";
  std::string json_file, list_file;

  workspace() {
    REQUIRE(::mkdtemp(folder) != nullptr);
    ::setenv("XDG_CACHE_HOME", folder, 1);
    json_file = std::string(folder) + "/out.json";
    list_file = std::string(folder) + "/list.txt";
    write_file(list_file, "copy a n=64 #small\ncopy b n=128\nother c n=1\n");
    for (const int threads : {1, 2}) {
      keep_peaks({.threads = threads, .f32 = 1e15, .levels = {{1e99, 1e15, 1e15}}},
                 peaks_path(this_machine(), threads));
    }
  }
  ~workspace() {
    for (const int threads : {1, 2}) ::unlink(peaks_path(this_machine(), threads).c_str());
    ::unlink(json_file.c_str());
    ::unlink(list_file.c_str());
    ::rmdir((std::string(folder) + "/adze").c_str());
    ::rmdir(folder);
    before.empty() ? ::unsetenv("XDG_CACHE_HOME") : ::setenv("XDG_CACHE_HOME", before.c_str(), 1);
  }

  int run(std::vector<const char*> words, double answer = 1) {
    words.insert(words.begin(), {"--seconds", "0", "--rounds", "3"});
    return run_long(std::move(words), answer);
  }
  int run_long(std::vector<const char*> words, double answer = 1) {
    words.insert(words.begin(), {"unit", "--no-noise-test"});
    return run_program(
        static_cast<int>(words.size()), words.data(),
        {.name = "unit", .problem_folder = folder, .lists = {"list"}}, [&](session& s) {
          for (const problem& p : s.problems({"copy"})) {
            std::vector<double> x(static_cast<std::size_t>(p.size("n")), answer), y(x.size());
            const auto copy = [&] { y = x; };
            s.measure({.shape = p,
                       .cost = {.read = 8.0 * double(x.size())},
                       .sets = s.sets(8.0 * double(x.size())),
                       .spoil = [&] { y.assign(y.size(), 0); },
                       .error = [&] { return y.back() - 1; },
                       .tolerance = 0},
                      {{"own", copy}, {"peer", copy}});
          }
        });
  }
  json results() const {
    const byte_vector bytes = read_file(json_file);
    return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    const json file = results();
    for (const json& b : file["benchmarks"].items())
      if (b["aggregate_name"].text() == "median") out.push_back(b["run_name"].text());
    return out;
  }
};

TEST_CASE("session: a program runs its lists, filters and sweeps, and leaves threads as asked") {
  workspace w;
  CHECK(w.run({"--json", w.json_file.c_str()}) == 0);
  CHECK(w.names() == std::vector<std::string>{
                         "copy/a/n:64/warm/threads:1/own", "copy/a/n:64/warm/threads:1/peer",
                         "copy/b/n:128/warm/threads:1/own", "copy/b/n:128/warm/threads:1/peer"});
  CHECK(w.run({"--json", w.json_file.c_str(), "--filter", "#small", "--candidates", "peer",
               "--threads", "1,2"}) == 0);
  CHECK(w.names() == std::vector<std::string>{"copy/a/n:64/warm/threads:1/peer",
                                              "copy/a/n:64/warm/threads:2/peer"});
  CHECK(w.run({"--json", w.json_file.c_str(), "--problem", "copy z n=5"}) == 0);
  CHECK(w.names().size() == 2);
}

TEST_CASE("session: the same problem twice is two measurements, each with rounds of its own") {
  workspace w;
  for (const char* threads : {"1", "1,1"}) {
    CHECK(w.run_long({"--json", w.json_file.c_str(), "--seconds", "0.02", "--problem", "copy z n=5",
                      "--problem", "copy z n=5", "--threads", threads}) == 0);
    const std::size_t measured = threads[1] == 0 ? 2 : 4;
    CHECK(w.names().size() == 2 * measured);
    std::size_t verdicts = 0;
    const json file = w.results();
    for (const json& b : file["benchmarks"].items())
      verdicts += b["aggregate_name"].text() == "median" && !b["verdict"].text().empty();
    CHECK(verdicts == measured);
  }
}

TEST_CASE("session: exit status 1 for a wrong own kernel, 2 for a wrong command line") {
  workspace w;
  CHECK(w.run({"--problem", "copy z n=5"}, 2) == 1);
  CHECK(w.run({"--nonsense"}) == 2);
  CHECK(w.run({"--problems", "/no/such/list"}) == 2);
  CHECK(w.run({"--problem", "copy z n=x"}) == 2);
  CHECK(w.run({"--list"}) == 0);
}

TEST_CASE("session: nothing to measure is an error that names what was read and what was given") {
  workspace w;
  CHECK(w.run({"--problem", "copi z n=5"}) == 2);
  CHECK(w.run({"--list", "--problem", "copi z n=5"}) == 2);
  CHECK(w.run({"--filter", "#large"}) == 2);
  const auto idle = [](const std::vector<const char*>& words) {
    session s({.name = "unit"}, parse(words), "unit");
    s.problems({"copy", "fill"});
    try {
      s.finish();
    } catch (const value_error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(idle({"--problem", "copi z n=5", "--problem", "gemm z m=5"}) ==
        "session: no problem of kernel copy, fill; given: copi, gemm");
  CHECK(idle({"--problem", "copy z n=5", "--filter", "#a"}) ==
        "session: no problem of kernel copy, fill passes the filters; given: copy");
  CHECK(idle({}) == "session: no problem of kernel copy, fill; given: none; name a list by "
                    "--problems, or write one by --problem");
  CHECK(arguments_help.find("gemm  resnet18.fc  m=1") != std::string_view::npos);
}

TEST_CASE("library: found by name, or not at all") {
  const library maths = library::open({"libdoes_not_exist.so.9", "libm.so.6"});
  REQUIRE(bool(maths));
  CHECK(maths.name() == "libm.so.6");
  auto* cosine = maths.find<double(double)>("cos");
  REQUIRE(bool(cosine));
  CHECK(cosine(0) == 1);
  CHECK(!maths.find<void()>("no_such_symbol"));
  CHECK(!library::open({"libdoes_not_exist.so.9"}));
}

}  // namespace
}  // namespace adze::bench
