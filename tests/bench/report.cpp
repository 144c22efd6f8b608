#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include <adze/bench/harness.hpp>
#include <adze/bench/html_report.hpp>
#include <adze/bench/json_report.hpp>
#include <adze/bench/regression.hpp>
#include <adze/bench/text_report.hpp>

#include "simulation.hpp"

namespace adze::bench {
namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
  return n;
}

// Two problems of two candidates; the second candidate of the second one is wrong.
results sample(double slowdown = 1, std::uint64_t seed = 1) {
  simulated_machine machine(seed, 0.1);
  results run{.program = "unit",
              .environment = {{"processor", "a <fast> one"}},
              .limits = {{1, {.f32 = 1e11, .levels = {{1e4, 1e11, 1e11}, {1e99, 1e10, 1e10}}}}}};
  for (const char* line : {"gemm a m=2", "gemm b m=3"}) {
    setting s{.limits = run.limits[1]};
    s.timing.time = machine.clock();
    const std::vector<candidate> all{machine.kernel("own", 1e-5 * slowdown),
                                     machine.kernel("peer", 1.1e-5)};
    task t{.shape = parse_problem(line), .cost = {.operations = 5e5, .read = 4e4, .written = 100}};
    for (row& r : measure(t, all, s)) {
      r.command = "unit --problem '" + std::string(line) + "'";
      run.rows.push_back(r);
    }
  }
  run.rows[3].status = outcome::wrong;
  run.rows[3].message = "error 1";
  judge(run);
  return run;
}

TEST_CASE("report: times with four digits") {
  CHECK(format_time(1.5e-9) == "1.500 ns");
  CHECK(format_time(999.96e-9) == "1.000 us");
  CHECK(format_time(12.345e-6) == "12.35 us");
  CHECK(format_time(0.9876) == "987.6 ms");
  CHECK(format_time(98765) == "98765.0 s");
}

TEST_CASE("report: the table has a row for each candidate, and no number where one is wrong") {
  const results run = sample();
  const std::string text = table_text(run);
  CHECK(text.find("gemm a   m=2    own") != text.npos);
  CHECK(text.find("speed of own over it") != text.npos);
  CHECK(count(text, "faster") == 1);
  CHECK(count(text, "WRONG") == 1);
  CHECK(text.find("error 1") != text.npos);
  CHECK(count(text, "unit --problem 'gemm a m=2'\n") == 1);
  CHECK(text.find("unchecked") != text.npos);
  CHECK(text.find("cache  ") == text.npos);  // one state: no column
  CHECK(count(text, " ops") == 3);
  CHECK(markdown(run).find("| gemm a ") != std::string::npos);
  CHECK(header_text(run).find("peaks, 1 thread  100 GFLOP/s f32, unknown Gop/s i8; GB/s read/copy: "
                              "L1 100/100, memory 10/10") != std::string::npos);
}

TEST_CASE("report: rates above the roof and disturbed rounds are marked") {
  results run = sample();
  run.rows[0].cost.operations *= 10;
  run.rows[0].limit = roof_of(run.limits[1], run.rows[0].cost, cache_state::warm);
  run.rows[0].quiet = 0.9;
  const std::string text = table_text(run);
  CHECK(text.find(" ops !") != text.npos);
  CHECK(text.find("! above the roof") != text.npos);
  CHECK(text.find("us ~") != text.npos);
  CHECK(text.find("~ the machine gave less") != text.npos);
}

TEST_CASE("report: rows with too few rounds for an interval say so") {
  results run = sample();
  CHECK(table_text(run).find("no interval") == std::string::npos);
  for (row& r : run.rows) r.times.wall.resize(std::min<std::size_t>(r.times.wall.size(), 5));
  judge(run);
  CHECK(count(table_text(run), "no interval") == 2);  // the one that is compared, and the legend
}

TEST_CASE("report: JSON in the schema of Google Benchmark") {
  const results run = sample();
  const json file = parse_json(json_report(run));
  CHECK(file["context"]["executable"].text() == "unit");
  CHECK(file["context"]["adze processor"].text() == "a <fast> one");
  const auto rounds = run.rows[0].times.wall.size();
  CHECK(file["benchmarks"].items().size() > 3 * rounds);
  const json& first = file["benchmarks"].items()[0];
  for (const char* key : {"name", "run_name", "run_type", "time_unit"})
    CHECK(!first[key].text().empty());
  for (const char* key : {"family_index", "per_family_instance_index", "repetitions",
                          "repetition_index", "threads", "iterations", "real_time", "cpu_time"})
    CHECK(first[key].number(-1) >= 0);
  CHECK(first["name"].text() == "gemm/a/m:2/warm/threads:1/own");
  CHECK(first["real_time"].number() == doctest::Approx(1e4).epsilon(0.1));
  int errors = 0, medians = 0;
  for (const json& b : file["benchmarks"].items()) {
    errors += b["error_occurred"].truth();
    if (b["aggregate_name"].text() != "median") continue;
    ++medians;
    CHECK(b["run_type"].text() == "aggregate");
    CHECK(b["command"].text().starts_with("unit --problem"));
  }
  CHECK(errors == 1);
  CHECK(medians == 3);
}

TEST_CASE("report: pages and pictures are well formed and complete") {
  const results run = sample();
  const std::string page = html_report(run);
  CHECK(page.find("a &lt;fast&gt; one") != page.npos);
  CHECK(page.find("<fast>") == page.npos);
  CHECK(count(page, "<svg") == 3);  // the roofline and the rounds of two problems
  CHECK(count(page, "<svg") == count(page, "</svg>"));
  CHECK(count(page, "<tr>") == count(page, "</tr>"));
  CHECK(roofline_svg(run, 2).empty());
  CHECK(count(roofline_svg(run, 1), "<circle") == 3 + 2);  // and two in the legend
  std::vector<row> sweep{run.rows[0], run.rows[0]};
  CHECK(threads_svg(sweep).empty());
  sweep[1].threads = 2;
  CHECK(count(threads_svg(sweep), "<circle") == 2);
  CHECK(html_report({}).ends_with("</html>\n"));
}

comparison_report compare(const results& before, const results& after) {
  return compare_runs(read_runs(json_report(before)), read_runs(json_report(after)));
}

TEST_CASE("report: a regression between two files is found, noise is not") {
  CHECK(!compare(sample(), sample()).regressed());
  CHECK(!compare(sample(), sample(1, 2)).regressed());
  CHECK(!compare(sample(), sample(1.03, 2)).regressed());  // below 5 %
  const comparison_report slower = compare(sample(), sample(1.1, 2));
  CHECK(slower.regressed());
  CHECK(count(comparison_text(slower), "SLOWER") == 2);
  CHECK(comparison_text(slower).find("2 of 4 runs are the same") != std::string::npos);
  const comparison_report faster = compare(sample(1.1), sample(1, 2));
  CHECK(!faster.regressed());
  CHECK(count(comparison_text(faster), "faster") == 2);
}

TEST_CASE("report: broken, gone and new runs are named") {
  results broken = sample();
  broken.rows[0].status = outcome::failed;
  CHECK(compare(sample(), broken).regressed());
  CHECK(!compare(broken, sample()).regressed());
  results fewer = sample();
  fewer.rows.pop_back();
  fewer.rows.pop_back();
  const std::string text = comparison_text(compare(sample(), fewer));
  CHECK(count(text, " gone") == 2);
  CHECK(!compare(sample(), fewer).regressed());
  CHECK(count(comparison_text(compare(fewer, sample())), " new") == 3);  // and in the head
}

TEST_CASE("report: a few repetitions are compared by their medians, and that is noted") {
  const auto runs = [](double slowdown) {
    return recorded_runs{{"a", {.seconds = {slowdown, 1.01 * slowdown, 0.99 * slowdown}}}};
  };
  const comparison_report slower = compare_runs(runs(1), runs(10));
  CHECK(slower.regressed());
  CHECK(slower.runs[0].note == "too few values: no interval");
  CHECK(compare_runs(runs(10), runs(1)).runs[0].kind == change::faster);
  CHECK(compare_runs(runs(1), runs(1.05)).runs[0].kind == change::same);
}

TEST_CASE("report: files of other programs") {
  const auto file = [](double ms) {
    return R"({"context":{},"benchmarks":[{"name":"a_median","run_name":"a","run_type":"aggregate",
      "aggregate_name":"median","time_unit":"ms","real_time":)" +
           std::to_string(ms) + "}]}";
  };
  CHECK(read_runs(file(2))["a"].seconds == std::vector<double>{0.002});
  CHECK(compare_runs(read_runs(file(1)), read_runs(file(1.2))).regressed());
  CHECK(!compare_runs(read_runs(file(1)), read_runs(file(1.05))).regressed());
  CHECK_THROWS_AS(read_runs("{}"), value_error);
  CHECK_THROWS_AS(read_runs("not JSON"), value_error);
}

}  // namespace
}  // namespace adze::bench
