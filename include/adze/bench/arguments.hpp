#pragma once
// SPDX-License-Identifier: MIT
// The command line that all benchmark programs share, and its way back: the line that repeats one
// row. Nothing here runs anything.
#include <algorithm>
#include <charconv>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <adze/bench/problems.hpp>
#include <adze/bench/roofline.hpp>
#include <adze/core/error.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

struct arguments {
  std::vector<std::string> lists{};       // names of shipped lists, or paths
  std::vector<std::string> lines{};       // problems on the command line
  std::vector<std::string> filters{};     // all must match
  std::vector<std::string> candidates{};  // empty: all
  std::vector<cache_state> states{cache_state::warm};
  std::vector<int> threads{1};
  double seconds = 1;
  double slot = 3e-4;
  double effect = 0.01;
  index_t rounds = 401;
  std::string json{}, html{}, svg{}, markdown{}, label{};
  bool list = false, help = false, anew = false, noise = true, pin = false;
};

inline constexpr std::string_view arguments_help =
    "  --problems LIST[,LIST]   shipped lists by name, or files (one problem a line)\n"
    "  --problem 'LINE'         one problem, as in a list; may be repeated\n"
    "  --filter WORD            only problems whose line has the word, or #tag; may be repeated\n"
    "  --candidates A[,B]       only these; the first is compared with the others\n"
    "  --cache STATE[,STATE]    warm, cold (in memory), streamed (other operands every call)\n"
    "  --threads N[,N]          a sweep; each number has its own peaks\n"
    "  --seconds S              for the rounds of one problem (1)\n"
    "  --rounds N               at most (401)\n"
    "  --slot S                 seconds that each candidate runs in a round (0.0003)\n"
    "  --effect PERCENT         differences below this are ties (1)\n"
    "  --pin                    keep the calling thread on one processor while threads is 1\n"
    "  --label TEXT             kept with the results: a commit, an idea\n"
    "  --json FILE              results in the schema of Google Benchmark\n"
    "  --html FILE              a page with table, roofline and rounds\n"
    "  --svg FILE               the roofline\n"
    "  --markdown FILE          environment and table for a document\n"
    "  --new-peaks              measure the machine's peaks again\n"
    "  --no-noise-test          leave out the test of the same code against itself\n"
    "  --list                   print the problems and stop\n"
    "A list has one problem a line: a kernel that the program reads, a name, sizes, tags; '#' "
    "begins\n"
    "a comment:\n"
    "  gemm  resnet18.fc  m=1 n=1000 k=512 b=t  #resnet18 #inference\n";

namespace detail {

inline std::vector<std::string> split(std::string_view text, char separator = ',') {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    if (end > at) out.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

inline double number_of(std::string_view option, std::string_view text, double low, double high) {
  double x = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), x);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size() || !(x >= low && x <= high))
    raise<value_error>("arguments: ", option, " needs a number from ", low, " to ", high,
                       "; received '", text, "'");
  return x;
}

inline cache_state state_of(std::string_view name) {
  for (const auto s : {cache_state::warm, cache_state::cold, cache_state::streamed})
    if (name == name_of(s)) return s;
  raise<value_error>("arguments: --cache knows warm, cold and streamed; received '", name, "'");
}

// In quotes for a shell where it has to be.
inline std::string shell_word(std::string_view word) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_./=:,+").find(c) != std::string_view::npos;
  };
  bool safe = !word.empty();
  for (const char c : word) safe &= plain(c);
  if (safe) return std::string(word);
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace detail

// value_error: an unknown option, a missing or wrong value.
inline arguments parse_arguments(std::span<const char* const> words) {
  arguments a;
  const auto append = [](std::vector<std::string>& to, const std::vector<std::string>& more) {
    to.insert(to.end(), more.begin(), more.end());
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view option = words[i];
    bool* const flag = option == "--list"                     ? &a.list
                       : option == "--help" || option == "-h" ? &a.help
                       : option == "--new-peaks"              ? &a.anew
                       : option == "--pin"                    ? &a.pin
                                                              : nullptr;
    std::string* const file = option == "--json"       ? &a.json
                              : option == "--html"     ? &a.html
                              : option == "--svg"      ? &a.svg
                              : option == "--markdown" ? &a.markdown
                              : option == "--label"    ? &a.label
                                                       : nullptr;
    if (flag != nullptr || option == "--no-noise-test") {
      (flag != nullptr ? *flag : a.noise) = flag != nullptr;
      continue;
    }
    const auto next = [&]() -> std::string_view {
      if (i + 1 == words.size()) raise<value_error>("arguments: ", option, " needs a value");
      return words[++i];
    };
    const auto number = [&](double low, double high) {
      return detail::number_of(option, next(), low, high);
    };
    if (file != nullptr) {
      *file = next();
    } else if (option == "--problems") {
      append(a.lists, detail::split(next()));
    } else if (option == "--problem") {
      a.lines.emplace_back(next());
    } else if (option == "--filter") {
      a.filters.emplace_back(next());
    } else if (option == "--candidates") {
      append(a.candidates, detail::split(next()));
    } else if (option == "--cache") {
      a.states.clear();
      for (const std::string& name : detail::split(next()))
        a.states.push_back(detail::state_of(name));
    } else if (option == "--threads") {
      a.threads.clear();
      for (const std::string& n : detail::split(next()))
        a.threads.push_back(static_cast<int>(detail::number_of(option, n, 1, 1024)));
    } else if (option == "--seconds") {
      a.seconds = number(0, 3600);
    } else if (option == "--rounds") {
      a.rounds = static_cast<index_t>(number(1, 100000));
    } else if (option == "--slot") {
      a.slot = number(1e-6, 10);
    } else if (option == "--effect") {
      a.effect = number(0, 100) / 100;
    } else {
      raise<value_error>("arguments: unknown option; received '", option, "'; see --help");
    }
  }
  if (a.states.empty() || a.threads.empty())
    raise<value_error>("arguments: --cache and --threads need at least one value");
  return a;
}

// The line that measures one problem again, in the same way and against the same candidates.
inline std::string command_line(std::string_view program, const arguments& a, const problem& p,
                                cache_state state, int threads) {
  std::string out = detail::shell_word(program) + " --problem " + detail::shell_word(p.text());
  if (state != cache_state::warm) out += text(" --cache ", name_of(state));
  if (threads != 1) out += text(" --threads ", threads);
  std::string names;
  for (const std::string& c : a.candidates) names += (names.empty() ? "" : ",") + c;
  if (!names.empty()) out += " --candidates " + detail::shell_word(names);
  const arguments standard;
  if (a.seconds != standard.seconds) out += text(" --seconds ", a.seconds);
  if (a.rounds != standard.rounds) out += text(" --rounds ", a.rounds);
  if (a.slot != standard.slot) out += text(" --slot ", a.slot);
  if (a.effect != standard.effect) out += text(" --effect ", 100 * a.effect);
  return a.pin ? out + " --pin" : out;
}

}  // namespace adze::bench
