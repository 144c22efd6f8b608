#pragma once
// SPDX-License-Identifier: MIT
// A benchmark program: command line, problem lists, every cache state and number of threads asked
// for, reports. A program says how one problem is run; the session does the rest:
//
//   int main(int argc, char** argv) {
//     return bench::run_program(argc, argv, {.name = "axpy"}, [](bench::session& run) {
//       for (const bench::problem& p : run.problems({"axpy"})) {
//         ...
//         run.measure({.shape = p, .cost = {.operations = 2.0 * n, .read = 8.0 * n, ...}},
//                     {{"mine", [&] { ... }}, {"peer", [&] { ... }}});
//       }
//     });
//   }
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <adze/bench/arguments.hpp>
#include <adze/bench/harness.hpp>
#include <adze/bench/html_report.hpp>
#include <adze/bench/json_report.hpp>
#include <adze/bench/pinned.hpp>
#include <adze/bench/text_report.hpp>
#include <adze/core/error.hpp>
#include <adze/core/file.hpp>
#include <adze/core/parallel.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

// What a program knows about itself.
struct program_facts {
  std::string name{};
  std::string about{};                    // one line for --help
  std::string problem_folder{};           // of the shipped lists
  std::vector<std::string> lists{};       // measured when the command line names none
  std::string flags{};                    // how it was compiled
  std::function<memory_use()> memory{};   // reads the counters of its allocators
  std::function<void(int)> on_threads{};  // tells peers how many threads to use
};

class session {
 public:
  session(program_facts about, arguments asked, std::string executable)
      : about_(std::move(about)), asked_(std::move(asked)), executable_(std::move(executable)) {
    found_.program = about_.name;
    found_.label = asked_.label;
    found_.minimum_effect = asked_.effect;
    found_.host = this_machine();
    found_.environment = environment(found_.host, about_.flags);
  }

  // The problems to measure, of these kernels: from the command line, else from the program's
  // lists. With --list they are printed, and there are none.
  std::vector<problem> problems(std::initializer_list<std::string_view> kernels) {
    std::vector<problem> chosen;
    read_.insert(read_.end(), kernels.begin(), kernels.end());
    for (const problem& p : all_problems()) {
      const bool wanted =
          std::find(kernels.begin(), kernels.end(), p.kernel) != kernels.end() &&
          std::all_of(asked_.filters.begin(), asked_.filters.end(),
                      [&](const std::string& filter) { return matches(p, filter); });
      if (wanted) chosen.push_back(p);
    }
    chosen_ += chosen.size();
    if (asked_.list) {
      for (const problem& p : chosen) std::puts(p.text().c_str());
      return {};
    }
    planned_ += chosen.size() * asked_.states.size() * asked_.threads.size();
    return chosen;
  }

  // How many sets of operands a problem should have: 1 unless a stream is asked for.
  index_t sets(double bytes_of_a_set) const {
    const bool stream = std::find(asked_.states.begin(), asked_.states.end(),
                                  cache_state::streamed) != asked_.states.end();
    return stream ? streamed_sets(bytes_of_a_set, found_.host.last_level()) : 1;
  }

  // Whether the command line asks for this candidate: what is not needed need not be made.
  bool wants(std::string_view name) const {
    return asked_.candidates.empty() ||
           std::find(asked_.candidates.begin(), asked_.candidates.end(), name) !=
               asked_.candidates.end();
  }

  // Measures in every state and with every number of threads that are asked for.
  void measure(const task& t, std::vector<candidate> candidates) {
    begin();
    std::erase_if(candidates, [&](const candidate& c) { return !wants(c.name()); });
    for (const int threads : asked_.threads) {
      set_threads(threads);
      if (about_.on_threads) about_.on_threads(threads);
      const pinned stay(asked_.pin && threads == 1);
      for (const cache_state state : asked_.states) measure(t, candidates, state, threads);
    }
  }

  // A line for the environment: the version of a peer. Before the first measure().
  void add_fact(std::string name, std::string value) {
    found_.environment.emplace_back(std::move(name), std::move(value));
  }

  // Rows so far; the verdicts are set by finish().
  const results& found() const { return found_; }

  // Prints the table, writes the files. The exit status: 1 where the first candidate of a problem
  // is wrong or fails. value_error where there was no problem to measure or to list.
  int finish() {
    if (chosen_ == 0 && found_.rows.empty()) raise_idle();
    if (asked_.list) return 0;
    begin();
    judge(found_);
    std::fputs(table_text(found_).c_str(), stdout);
    if (!asked_.json.empty()) write_file(asked_.json, json_report(found_));
    if (!asked_.html.empty()) write_file(asked_.html, html_report(found_));
    if (!asked_.markdown.empty()) write_file(asked_.markdown, markdown(found_));
    if (!asked_.svg.empty()) write_file(asked_.svg, roofline_svg(found_, asked_.threads.front()));
    const row* first = nullptr;
    int status = 0;
    for (const row& r : found_.rows) {
      if (first != nullptr && together(*first, r)) continue;
      first = &r;
      if (!r.timed()) status = 1;
    }
    return status;
  }

 private:
  [[noreturn]] void raise_idle() const {
    std::string read, given;
    const auto add = [](std::string& to, const std::string& name) {
      if ((", " + to + ",").find(", " + name + ",") == to.npos)
        to += (to.empty() ? "" : ", ") + name;
    };
    for (const std::string& kernel : read_) add(read, kernel);
    for (const problem& p : all_problems()) add(given, p.kernel);
    if (given.empty()) given = "none; name a list by --problems, or write one by --problem";
    raise<value_error>("session: no problem of kernel ", read,
                       asked_.filters.empty() ? "" : " passes the filters", "; given: ", given);
  }

  std::vector<problem> all_problems() const {
    std::vector<problem> all;
    const auto append = [&](const std::vector<problem>& more) {
      all.insert(all.end(), more.begin(), more.end());
    };
    for (const std::string& line : asked_.lines) all.push_back(parse_problem(line));
    for (const std::string& name :
         asked_.lists.empty() && asked_.lines.empty() ? about_.lists : asked_.lists) {
      const std::string shipped = about_.problem_folder + "/" + name + ".txt";
      append(read_problems(file_exists(shipped) ? shipped : name));
    }
    return all;
  }

  const peaks& limits(int threads) {
    const auto known = found_.limits.find(threads);
    if (known != found_.limits.end()) return known->second;
    return found_.limits.emplace(threads, peaks_of(found_.host, threads, asked_.anew))
        .first->second;
  }

  // Peaks, noise test and header, before the first measurement.
  void begin() {
    if (begun_) return;
    begun_ = true;
    for (const int threads : asked_.threads) limits(threads);
    quiet_rate_ = limits(1).f32;
    if (asked_.noise) found_.noise = noise_test();
    if (std::find(asked_.states.begin(), asked_.states.end(), cache_state::cold) !=
        asked_.states.end()) {
      evict_ = std::make_unique<evictor>(found_.host.last_level());
      found_.environment.emplace_back("eviction",
                                      text("a line of memory takes ", eviction_effect(*evict_),
                                           " times as long after it; above 2 it works"));
    }
    std::printf("%s%s\n", header_text(found_).c_str(), "");
    std::fflush(stdout);
  }

  void measure(const task& t, std::span<const candidate> candidates, cache_state state,
               int threads) {
    setting s{.state = state,
              .threads = threads,
              .limits = limits(threads),
              .quiet_rate = quiet_rate_,
              .memory = about_.memory};
    s.timing = {.slot = asked_.slot, .most_rounds = asked_.rounds, .budget = asked_.seconds};
    s.timing.least_rounds = std::min(s.timing.least_rounds, asked_.rounds);
    s.timing.seed = found_.rows.size() + 1;
    s.timing.comparisons = static_cast<index_t>(std::max<std::size_t>(planned_, 1)) *
                           std::max(index_t(1), static_cast<index_t>(candidates.size()) - 1);
    if (evict_) s.evict = [this] { (*evict_)(); };
    for (row& r : bench::measure(t, candidates, s)) {
      r.command = command_line(executable_, asked_, t.shape, state, threads);
      std::fprintf(stderr, "%s %s: %s\n", r.key().c_str(), r.candidate.c_str(),
                   r.timed() ? format_time(r.wall.median).c_str() : r.message.c_str());
      found_.rows.push_back(std::move(r));
    }
  }

  program_facts about_;
  arguments asked_;
  std::string executable_;
  results found_;
  std::unique_ptr<evictor> evict_;
  double quiet_rate_ = 0;
  std::vector<std::string> read_{};  // kernels that the program asked for
  std::size_t chosen_ = 0;           // problems of theirs
  std::size_t planned_ = 0;          // problems times states times thread counts
  bool begun_ = false;
};

// The main function of a benchmark program. Exit status: 0; 1 where an own kernel is wrong; 2 for
// a wrong command line or file, or nothing to measure.
template <class F> int run_program(int argc, const char* const* argv, program_facts about, F body) {
  // Peers whose threads spin after a parallel region would take the processors of the others. Read
  // by their runtimes when they are loaded, and not set where the user has chosen.
  for (const auto& [name, value] :
       {std::pair{"OMP_WAIT_POLICY", "passive"}, std::pair{"GOMP_SPINCOUNT", "0"},
        std::pair{"KMP_BLOCKTIME", "0"}})
    ::setenv(name, value, 0);
  try {
    const arguments asked = parse_arguments({argv + 1, static_cast<std::size_t>(argc - 1)});
    if (asked.help) {
      std::printf("%s: %s\n%s", about.name.c_str(), about.about.c_str(),
                  std::string(arguments_help).c_str());
      return 0;
    }
    session run(std::move(about), asked, argv[0]);
    body(run);
    return run.finish();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}

}  // namespace adze::bench
