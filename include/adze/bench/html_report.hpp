#pragma once
// SPDX-License-Identifier: MIT
// Results as one page that needs no network: facts, roofline, table, the rounds of each problem,
// and the line that repeats it.
#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <adze/bench/charts.hpp>
#include <adze/bench/result.hpp>
#include <adze/bench/text_report.hpp>
#include <adze/core/svg.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

namespace detail {

inline std::string html_cell(std::string_view tag, std::string_view words) {
  return text("<", tag, ">", report::escape_xml(words), "</", tag, ">");
}

// A style sheet inside an SVG holds for the whole page, and all charts have the same one.
inline std::string figure(const std::string& svg) {
  return svg.empty() ? svg : "<figure>" + svg + "</figure>\n";
}

inline std::string html_facts(const results& run) {
  std::string out = "<table>\n";
  for (const auto& [name, value] : header_facts(run))
    out += "<tr>" + html_cell("th", name) + html_cell("td", value) + "</tr>\n";
  return out + "</table>\n";
}

// The rows that share what `same` compares, one group after the other.
template <class Same, class F> void each_group(std::span<const row> rows, Same same, F f) {
  for (std::size_t first = 0; first < rows.size();) {
    std::size_t last = first + 1;
    while (last < rows.size() && same(rows[first], rows[last])) ++last;
    f(rows.subspan(first, last - first));
    first = last;
  }
}

}  // namespace detail

inline std::string html_report(const results& run) {
  std::string out = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                    "<meta name=\"viewport\" content=\"width=device-width\">\n";
  out += detail::html_cell("title", run.program + " " + run.label);
  out += "\n<style>body{font:15px/1.45 Helvetica,Arial,sans-serif;margin:2em auto;max-width:1200px;"
         "padding:0 1em;color-scheme:light dark}table{border-collapse:collapse;font-size:13px}"
         "th,td{text-align:left;padding:2px 9px;border-bottom:1px solid #8885;"
         "font-variant-numeric:tabular-nums}pre{overflow-x:auto;font-size:13px}"
         ".number{text-align:right}figure{margin:1em "
         "0}.wide{overflow-x:auto}svg{max-width:100%;height:auto}</style>"
         "</head><body>\n";
  out += detail::html_cell("h1", run.program) + detail::html_facts(run);
  for (const auto& [threads, machine] : run.limits)
    out += detail::figure(roofline_svg(run, threads));
  out += "<h2>Results</h2>\n<div class=\"wide\">" + results_table(run).html() + "</div>\n";
  out += detail::html_cell("p", legend(run));
  out += "\n<h2>Rounds</h2>\n";
  detail::each_group(run.rows, together, [&](std::span<const row> rows) {
    out += detail::html_cell("h3", rows.front().key()) + detail::figure(rounds_svg(rows));
    out += "<pre>" + report::escape_xml(rows.front().command) + "</pre>\n";
  });
  std::string sweeps;
  std::vector<row> sorted = run.rows;  // the threads of a problem side by side
  std::stable_sort(sorted.begin(), sorted.end(), [](const row& a, const row& b) {
    return a.shape.text() < b.shape.text() ||
           (a.shape.text() == b.shape.text() && a.state < b.state);
  });
  detail::each_group(
      sorted,
      [](const row& a, const row& b) {
        return a.state == b.state && a.shape.text() == b.shape.text();
      },
      [&](std::span<const row> rows) { sweeps += detail::figure(threads_svg(rows)); });
  if (!sweeps.empty()) out += "<h2>Threads</h2>\n" + sweeps;
  return out + "</body></html>\n";
}

}  // namespace adze::bench
