#pragma once
// SPDX-License-Identifier: MIT
// Results as a table: aligned plain text for terminals, Markdown and HTML for documents.
// Columns of numbers are right-aligned on one count of decimals; columns with words are
// left-aligned.
#include <algorithm>
#include <concepts>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <adze/core/error.hpp>
#include <adze/core/format.hpp>
#include <adze/core/svg.hpp>
#include <adze/fwd.hpp>

namespace adze::report {

// One entry of a table: words or a number already written out.
struct cell {
  std::string text;
  bool number = false;

  cell(std::string words) : text(std::move(words)) {}
  cell(std::string_view words) : text(words) {}
  cell(const char* words) : text(words) {}
  cell(std::integral auto value) : text(to_text(value)), number(true) {}
  cell(std::floating_point auto value) : text(to_text(static_cast<double>(value))), number(true) {}
};

// A number with exactly `decimals` digits after the point: fixed(98.127, 2) is 98.13.
[[gnu::cold]] inline cell fixed(double value, int decimals) {
  cell made(format_fixed(value, decimals));
  made.number = true;
  return made;
}

// table t({"model", "accuracy %"}); t.add("LeNet-5", 98.1); puts(t.text().c_str());
class table {
 public:
  explicit table(std::span<const std::string> columns) : columns_(columns.begin(), columns.end()) {
    check();
  }
  explicit table(std::initializer_list<std::string_view> columns)
      : columns_(columns.begin(), columns.end()) {
    check();
  }

  // Appends a row. value_error: not one cell per column.
  template <class... Cells> [[gnu::cold, gnu::noinline]] table& add(Cells&&... cells) {
    new_row row;
    (row.add(cell(std::forward<Cells>(cells))), ...);
    return put(row);
  }

  template <class = void> table& add_row(std::vector<cell> cells) {
    new_row row;
    for (cell& c : cells) row.add(std::move(c));
    return put(row);
  }

  index_t rows() const {
    return columns_.empty() ? 0 : static_cast<index_t>(texts_.size() / columns_.size());
  }

  // Aligned columns, two spaces apart, under a rule; every line ends with a newline.
  template <class = void> std::string text() const { return write({.gap = "  "}); }

  // The same as a Markdown table; bars inside cells are escaped.
  template <class = void> std::string markdown() const {
    return write({.edge_left = "| ", .gap = " | ", .edge_right = " |", .markdown = true});
  }

  // The same as an HTML table element; class "number" marks right-aligned columns.
  template <class = void> std::string html() const {
    std::string out = "<table>\n";
    std::vector<column> ready(columns_.size());
    for (std::size_t c = 0; c < columns_.size(); ++c) ready[c] = lay_out(c, false);
    for (std::size_t line = 0; line < ready[0].lines.size(); ++line) {
      const std::string_view tag = line == 0 ? "th" : "td";
      out += "<tr>";
      for (const column& c : ready) {
        out.append("<").append(tag).append(c.numbers ? " class=\"number\">" : ">");
        out.append(escape_xml(c.lines[line])).append("</").append(tag).append(">");
      }
      out += "</tr>\n";
    }
    return out + "</table>\n";
  }

 private:
  struct style {
    std::string_view edge_left = "";
    std::string_view gap = "";
    std::string_view edge_right = "";
    bool markdown = false;
  };
  void check() const {
    if (columns_.empty()) raise<value_error>("table: no columns; received an empty list; name one");
  }

  // A row by what its cells are made of, so that no vector of cells need be compiled.
  struct new_row {
    std::vector<std::string> texts;
    std::string kinds;  // of each cell

    [[gnu::cold, gnu::noinline]] void add(cell c) {
      texts.push_back(std::move(c.text));
      kinds += c.number ? number_kind : word_kind;
    }
  };
  static constexpr char number_kind = '0', word_kind = 'a';
  bool is_number(std::size_t at) const { return kinds_[at] == number_kind; }

  template <class = void> [[gnu::cold]] table& put(new_row& row) {
    if (row.texts.size() != columns_.size()) {
      raise<value_error>("table: wrong number of cells in a row; ", row.texts.size(), " cells for ",
                         columns_.size(), " columns; give one per column");
    }
    // Nothing is kept of a row that finds no memory.
    const std::size_t all = texts_.size() + row.texts.size();
    if (all > texts_.capacity()) texts_.reserve(texts_.size() + all);
    kinds_ += row.kinds;
    for (std::string& t : row.texts) texts_.push_back(std::move(t));
    return *this;
  }

  struct column {
    std::vector<std::string> lines;  // header first
    index_t width = 0;
    bool numbers = true;
  };

  template <class = void> [[gnu::cold]] std::string write(const style& look) const {
    std::vector<column> ready(columns_.size());
    for (std::size_t c = 0; c < columns_.size(); ++c) ready[c] = lay_out(c, look.markdown);
    std::string out;
    for (std::size_t line = 0; line < ready[0].lines.size(); ++line) {
      write_line(out, ready, look, line, false);
      if (line == 0) write_line(out, ready, look, line, true);
    }
    return out;
  }

  // A line of cells, or a rule in its place.
  [[gnu::cold]] static void write_line(std::string& out, const std::vector<column>& ready,
                                       const style& look, std::size_t line, bool rule) {
    out += look.edge_left;
    for (std::size_t c = 0; c < ready.size(); ++c) {
      const column& col = ready[c];
      const std::string& words = col.lines[line];
      const auto width = static_cast<std::size_t>(col.width);
      const std::size_t pad = width - static_cast<std::size_t>(display_width(words));
      if (c != 0) out += look.gap;
      if (rule) {
        out.append(width, '-');
        if (look.markdown && col.numbers) out.back() = ':';
      } else {
        out.append(col.numbers ? pad : 0, ' ').append(words).append(col.numbers ? 0 : pad, ' ');
      }
    }
    out += look.edge_right;
    while (!out.empty() && out.back() == ' ') out.pop_back();
    out += '\n';
  }

  template <class = void> [[gnu::cold]] column lay_out(std::size_t c, bool markdown) const {
    column made;
    std::size_t decimals = 0;
    bool any_number = false;
    for (std::size_t at = c; at < texts_.size(); at += columns_.size()) {
      const std::string& entry = texts_[at];
      // An empty cell or a dash stands for a missing number.
      if (!is_number(at) && !entry.empty() && entry != "-") made.numbers = false;
      any_number |= is_number(at);
      if (is_number(at)) decimals = std::max(decimals, decimals_of(entry));
    }
    made.numbers &= any_number;
    made.lines.push_back(std::string(columns_[c]));
    for (std::size_t at = c; at < texts_.size(); at += columns_.size()) {
      const bool pad = made.numbers && is_number(at);
      made.lines.push_back(with_decimals(texts_[at], pad ? decimals : 0));
    }
    for (auto& line : made.lines) {
      line = one_line(line, markdown);
      made.width = std::max(made.width, display_width(line));
    }
    if (markdown) made.width = std::max<index_t>(made.width, 3);
    return made;
  }

  // Digits after the point; 0 for whole numbers, exponents, infinities and NaN.
  static std::size_t decimals_of(std::string_view number) {
    const auto point = number.find('.');
    if (point == number.npos || !is_plain(number)) return 0;
    return number.size() - point - 1;
  }

  // Zeros at the end, so that the points of a column stand below each other.
  static std::string with_decimals(std::string number, std::size_t decimals) {
    if (decimals == 0 || !is_plain(number)) return number;
    const auto own = decimals_of(number);
    if (own == 0) number += '.';
    return number.append(decimals - own, '0');
  }

  static bool is_plain(std::string_view number) {
    return number.find_first_not_of("-.0123456789") == number.npos;
  }

  static std::string one_line(std::string_view text, bool markdown) {
    std::string out;
    for (const char c : text) {
      if (markdown && c == '|') out += '\\';
      out += c == '\n' || c == '\r' || c == '\t' ? ' ' : c;
    }
    return out;
  }

  std::vector<std::string> columns_;
  std::vector<std::string> texts_;  // of the cells, row after row
  std::string kinds_;               // and what each is
};

}  // namespace adze::report
