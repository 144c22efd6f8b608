#pragma once
// SPDX-License-Identifier: MIT
// JSON as a value and its text: enough to hold benchmark results. json_reader.hpp reads it back.
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <adze/fwd.hpp>

namespace adze::bench {

struct json {
  using list = std::vector<json>;
  using object = std::vector<std::pair<std::string, json>>;  // in the order written
  std::variant<std::nullptr_t, bool, double, std::string, list, object> value = nullptr;

  json() = default;
  json(bool b) : value(b) {}
  json(double x) : value(x) {}
  json(index_t n) : value(static_cast<double>(n)) {}
  json(int n) : value(static_cast<double>(n)) {}
  json(std::string s) : value(std::move(s)) {}
  json(std::string_view s) : value(std::string(s)) {}
  json(const char* s) : value(std::string(s)) {}
  json(list l) : value(std::move(l)) {}
  json(object o) : value(std::move(o)) {}

  // The member of an object; null where there is none.
  const json& operator[](std::string_view key) const {
    static const json none;
    if (const auto* members = std::get_if<object>(&value))
      for (const auto& [name, member] : *members)
        if (name == key) return member;
    return none;
  }
  double number(double otherwise = 0) const {
    const double* x = std::get_if<double>(&value);
    return x == nullptr ? otherwise : *x;
  }
  std::string text(std::string otherwise = "") const {
    const std::string* s = std::get_if<std::string>(&value);
    return s == nullptr ? otherwise : *s;
  }
  const list& items() const {
    static const list none;
    const list* l = std::get_if<list>(&value);
    return l == nullptr ? none : *l;
  }
  bool truth() const { return value == decltype(value)(true); }
  friend bool operator==(const json&, const json&) = default;
};

namespace detail {

inline void write_string(std::string& out, std::string_view s) {
  out += '"';
  for (const char c : s) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr std::string_view digits = "0123456789abcdef";
      out += "\\u00";
      out += digits[static_cast<std::size_t>(c >> 4)];
      out += digits[static_cast<std::size_t>(c & 15)];
    } else {
      out += c;
    }
  }
  out += '"';
}

// Shortest text that reads back as the same double; JSON has no NaN and no infinity: null.
inline void write_number(std::string& out, double x) {
  if (!std::isfinite(x)) {
    out += "null";
    return;
  }
  char buffer[40];
  out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, x).ptr);
}

inline void write_json(std::string& out, const json& j, std::size_t indent) {
  const auto line = [&](std::size_t depth) { out.append("\n").append(2 * depth, ' '); };
  const char* separator = "";
  if (const auto* members = std::get_if<json::object>(&j.value)) {
    out += '{';
    for (const auto& [name, member] : *members) {
      out += separator;
      line(indent + 1);
      write_string(out, name);
      out += ": ";
      write_json(out, member, indent + 1);
      separator = ",";
    }
    if (!members->empty()) line(indent);
    out += '}';
  } else if (const auto* items = std::get_if<json::list>(&j.value)) {
    out += '[';
    for (const json& item : *items) {
      out += separator;
      line(indent + 1);
      write_json(out, item, indent + 1);
      separator = ",";
    }
    if (!items->empty()) line(indent);
    out += ']';
  } else if (const auto* s = std::get_if<std::string>(&j.value)) {
    write_string(out, *s);
  } else if (const auto* x = std::get_if<double>(&j.value)) {
    write_number(out, *x);
  } else {
    out += std::holds_alternative<bool>(j.value) ? (j.truth() ? "true" : "false") : "null";
  }
}

}  // namespace detail

// The text of a value, indented.
inline std::string to_json_text(const json& j) {
  std::string out;
  detail::write_json(out, j, 0);
  return out + "\n";
}

}  // namespace adze::bench
