// SPDX-License-Identifier: MIT
// Two files of benchmark results, written with --json or by Google Benchmark: what became slower.
//   compare OLD NEW [--effect PERCENT] [--all]
// Exit status: 0, 1 where a row became slower or broke, 2 for a wrong command line or file.
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <adze/bench/arguments.hpp>
#include <adze/bench/regression.hpp>
#include <adze/core/file.hpp>

namespace {

using namespace adze;

bench::recorded_runs runs_of(const std::string& path) {
  const byte_vector bytes = read_file(path, index_t(1) << 30);
  return bench::read_runs({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

int compare(const std::vector<std::string_view>& words) {
  std::vector<std::string> files;
  bench::decision_rule rule{.minimum_effect = 0.05};
  bool all = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--all") {
      all = true;
    } else if (words[i] == "--effect" && i + 1 < words.size()) {
      rule.minimum_effect = bench::detail::number_of("--effect", words[++i], 0, 1000) / 100;
    } else {
      files.emplace_back(words[i]);
    }
  }
  if (files.size() != 2 || files[0].starts_with("-") || files[1].starts_with("-"))
    raise<value_error>("usage: compare OLD NEW [--effect PERCENT] [--all]");
  const bench::comparison_report found =
      bench::compare_runs(runs_of(files[0]), runs_of(files[1]), rule);
  std::fputs(bench::comparison_text(found, all).c_str(), stdout);
  return found.regressed() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return compare({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}
