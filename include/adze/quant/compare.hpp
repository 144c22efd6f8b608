#pragma once
// SPDX-License-Identifier: MIT
// The float graph and its quantized ones side by side: score, bytes on disk and in memory, latency
// at some batch sizes with its spread.
#include <algorithm>
#include <functional>

#include <adze/core/format.hpp>
#include <adze/core/table.hpp>
#include <adze/graph/cost.hpp>
#include <adze/graph/plan.hpp>

namespace adze::quant::inline ADZE_ISA {

struct contender {
  std::string name{};
  graph g{};
  // Calls what it is given inside of a region such as amp::autocast; the graph then runs step by
  // step. Empty: it runs as a plan, in which no precision rule applies.
  std::function<void(const std::function<void()>&)> within{};
};

struct compare_options {
  std::function<double(const graph&)> score{};  // such as accuracy in percent; may be empty
  std::vector<index_t> batches{1, 64};
  double seconds = 0.3;  // of measurement per graph and batch, shared: all run equally often
};

// Microseconds of a call: the median and the quartiles.
struct latency {
  double median = 0, low = 0, high = 0;
};

struct comparison {
  std::string name{};
  double score = 0;
  index_t file_bytes = 0;  // all constants, packed or not: what a file of them holds
  index_t run_bytes = 0;   // of a plan of the largest batch: constants as kernels read them, arena
  std::vector<latency> calls{};  // by batch
};

}  // namespace adze::quant::inline ADZE_ISA

namespace adze::quant::detail::inline ADZE_ISA {

template <class = void> latency quartiles(std::vector<double> us) {
  std::sort(us.begin(), us.end());
  const auto at = [&us](double p) {
    return us[static_cast<std::size_t>(p * static_cast<double>(us.size() - 1))];
  };
  return {at(0.5), at(0.25), at(0.75)};
}

template <class F> double microseconds(const F& f) {
  const double start = report::steady_seconds();
  f();
  return 1e6 * (report::steady_seconds() - start);
}

// All calls in turns, so that what disturbs the machine disturbs them alike.
template <class = void>
std::vector<latency> latencies(const std::vector<std::function<void()>>& calls, double seconds) {
  std::vector<std::vector<double>> us(calls.size());
  double spent = 0;
  for (index_t round = 0; round < 5 || spent < 1e6 * seconds * double(calls.size()); ++round) {
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const double now = microseconds(calls[i]);
      spent += now;
      if (round > 1) us[i].push_back(now);  // the first ones fill caches
    }
  }
  std::vector<latency> all;
  for (const auto& times : us) all.push_back(quartiles(times));
  return all;
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// Compiles every graph for the first n examples of x, n each of o.batches, and runs the plans in
// turns. x is a batch of the graphs' only input, at least as large as the largest n; value_error
// otherwise.
template <class = void>
std::vector<comparison> compare(const std::vector<contender>& all, const tensor& x,
                                const compare_options& o = {}) {
  for (const index_t n : o.batches) {
    if (n >= 1 && x.rank() > 0 && x.size(0) >= n) continue;
    raise<value_error>("quant::compare: needs a batch of ", n, " examples; got ", x);
  }
  const no_grad guard;
  std::vector<comparison> rows;
  for (const contender& c : all) {
    rows.push_back({.name = c.name, .file_bytes = constant_bytes(c.g)});
    const auto judge = [&] { rows.back().score = o.score ? o.score(c.g) : 0.0; };
    c.within ? c.within(judge) : judge();
  }
  for (const index_t n : o.batches) {
    const tensor some = slice(x, 0, {0, n});
    std::vector<std::function<void()>> calls;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].within) {
        calls.emplace_back([&c = all[i], &some] {
          c.within([&] { static_cast<void>(c.g.run({&some, 1})); });
        });
        continue;
      }
      const plan p = compile(all[i].g, some);
      rows[i].run_bytes = std::max(rows[i].run_bytes, p.constant_bytes() + p.arena_bytes());
      calls.emplace_back([p, &some] { static_cast<void>(p.run({&some, 1})); });
    }
    const std::vector<latency> times = detail::latencies(calls, o.seconds);
    for (std::size_t i = 0; i < all.size(); ++i) rows[i].calls.push_back(times[i]);
  }
  return rows;
}

template <class = void>
report::table to_table(const std::vector<comparison>& rows, const compare_options& o = {}) {
  std::vector<std::string> columns{"format", "score", "file kB", "in memory kB"};
  for (const index_t n : o.batches) columns.push_back(text("batch ", n, ", us"));
  report::table t(columns);
  for (const comparison& r : rows) {
    std::vector<report::cell> cells{r.name, report::fixed(r.score, 2),
                                    report::fixed(static_cast<double>(r.file_bytes) / 1e3, 1),
                                    r.run_bytes > 0
                                        ? report::fixed(static_cast<double>(r.run_bytes) / 1e3, 1)
                                        : report::cell("")};
    for (const latency& l : r.calls) {
      cells.emplace_back(text(report::fixed(l.median, 1).text, " [", report::fixed(l.low, 1).text,
                              ", ", report::fixed(l.high, 1).text, "]"));
    }
    t.add_row(std::move(cells));
  }
  return t;
}

}  // namespace adze::quant::inline ADZE_ISA
