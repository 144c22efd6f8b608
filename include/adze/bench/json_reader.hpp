#pragma once
// SPDX-License-Identifier: MIT
// JSON text to a value. Text from files is not trusted: depth and form are checked, and errors say
// where.
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <adze/bench/json.hpp>
#include <adze/core/error.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

namespace detail {

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
    for (const char* none : {"null", "NaN", "-NaN", "Infinity", "-Infinity"})
      if (take(none)) return {};
    double x = 0;
    const auto end = std::from_chars(text_.data() + at_, text_.data() + text_.size(), x);
    if (end.ec != std::errc() || !std::isfinite(x)) fail("no value");
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

}  // namespace detail

// value_error with the place: not JSON, or nested deeper than 100. Every number is finite. (NaN and
// Infinity are read as null: Google Benchmark writes them.)
inline json parse_json(std::string_view text) { return detail::json_reader(text).document(); }

}  // namespace adze::bench
