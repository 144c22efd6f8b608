#pragma once
// SPDX-License-Identifier: MIT
// JSON as a value: enough to write benchmark results and to read them back. Text from files is not
// trusted: depth and form are checked, and errors say where.
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <adze/core/error.hpp>
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

class json_reader {
 public:
  explicit json_reader(std::string_view text) : text_(text) {}

  json document() {
    json made = value(0);
    skip();
    if (at_ != text_.size()) fail("text after the end");
    return made;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    raise<value_error>("parse_json: ", what, "; at byte ", at_, " of ", text_.size());
  }
  void skip() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  json value(int depth) {
    if (depth > 100) fail("nested too deep");
    skip();
    if (take('{')) return members(depth);
    if (take('[')) return elements(depth);
    if (at_ < text_.size() && text_[at_] == '"') return string();
    if (take("true")) return true;
    if (take("false")) return false;
    if (take("null") || take("NaN")) return {};
    double x = 0;
    const auto end = std::from_chars(text_.data() + at_, text_.data() + text_.size(), x);
    if (end.ec != std::errc()) fail("no value");
    at_ = static_cast<std::size_t>(end.ptr - text_.data());
    return x;
  }

  json members(int depth) {
    json::object made;
    if (take('}')) return made;
    do {
      skip();
      std::string name = string();
      if (!take(':')) fail("':' is missing");
      made.emplace_back(std::move(name), value(depth + 1));
    } while (take(','));
    if (!take('}')) fail("'}' is missing");
    return made;
  }

  json elements(int depth) {
    json::list made;
    if (take(']')) return made;
    do {
      made.push_back(value(depth + 1));
    } while (take(','));
    if (!take(']')) fail("']' is missing");
    return made;
  }

  std::string string() {
    if (!take('"')) fail("a string is missing");
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      char c = text_[at_++];
      if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a string");
      if (c == '\\') {
        if (at_ == text_.size()) break;
        c = text_[at_++];
        const std::size_t known = std::string_view("\"\\/bfnrt").find(c);
        if (c == 'u') {
          append_code(out);
          continue;
        }
        if (known == std::string_view::npos) fail("an unknown escape");
        c = "\"\\/\b\f\n\r\t"[known];
      }
      out += c;
    }
    if (!take('"')) fail("a string without end");
    return out;
  }

  // \uXXXX as UTF-8; halves of pairs become '?', for no writer of results needs them.
  void append_code(std::string& out) {
    std::uint32_t code = 0;
    if (at_ + 4 > text_.size() ||
        std::from_chars(text_.data() + at_, text_.data() + at_ + 4, code, 16).ptr !=
            text_.data() + at_ + 4)
      fail("four hexadecimal digits are needed");
    at_ += 4;
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code >= 0xD800 && code < 0xE000) {
      out += '?';
    } else {
      if (code < 0x800) {
        out += static_cast<char>(0xC0 | (code >> 6));
      } else {
        out += static_cast<char>(0xE0 | (code >> 12));
        out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      }
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

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

// value_error with the place: not JSON, or nested deeper than 100. (NaN is read as null: Google
// Benchmark writes it.)
inline json parse_json(std::string_view text) { return detail::json_reader(text).document(); }

}  // namespace adze::bench
