#pragma once
// SPDX-License-Identifier: MIT
// Walks over JSON of a known form, as headers of files have it: objects, strings, arrays of whole
// numbers. No tree is built; anything else is an io_error with its offset.
#include <string>
#include <string_view>
#include <vector>

#include <adze/core/error.hpp>
#include <adze/core/file.hpp>

namespace adze::io::detail {

class json_scanner {
 public:
  json_scanner(byte_span bytes, std::string format, std::string file)
      : bytes_(bytes), format_(std::move(format)), file_(std::move(file)) {}

  // f(key) for each key, which must then read the value.
  template <class F> void object(F f) {
    expect('{');
    if (accept('}')) return;
    do {
      const std::string key = string();
      expect(':');
      f(key);
    } while (accept(','));
    expect('}');
  }

  std::string string() {
    expect('"');
    std::string s;
    for (;;) {
      const char c = next();
      if (c == '"') return s;
      if (static_cast<unsigned char>(c) < 32) fail("a control character in a string", "");
      c == '\\' ? escape(s) : s.push_back(c);
    }
  }

  // An array of whole numbers that are not negative.
  std::vector<index_t> numbers() {
    std::vector<index_t> all;
    expect('[');
    if (accept(']')) return all;
    do all.push_back(number());
    while (accept(','));
    expect(']');
    return all;
  }

  // Nothing but white space is left.
  void finish() {
    skip();
    if (at_ < bytes_.size()) fail("something behind the object", "");
  }

  [[noreturn]] void fail(const char* what, const std::string& received) const {
    raise<io_error>(format_, ": the header has ", what, "; '", file_, "' at ", at_,
                    received.empty() ? "" : ": ", received, "; is it damaged?");
  }

 private:
  char next() {
    if (at_ >= bytes_.size()) fail("an early end", "");
    return static_cast<char>(bytes_[at_++]);
  }
  void skip() {
    while (at_ < bytes_.size() && std::string_view(" \t\r\n").find(
                                      static_cast<char>(bytes_[at_])) != std::string_view::npos) {
      ++at_;
    }
  }
  bool accept(char c) {
    skip();
    if (at_ >= bytes_.size() || bytes_[at_] != static_cast<std::uint8_t>(c)) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail("another form", text("expected ", std::string_view(&c, 1)));
  }
  index_t number() {
    skip();
    index_t n = 0;
    const std::size_t first = at_;
    for (; at_ < bytes_.size() && bytes_[at_] >= '0' && bytes_[at_] <= '9'; ++at_) {
      if (__builtin_mul_overflow(n, index_t{10}, &n) ||
          __builtin_add_overflow(n, index_t{bytes_[at_] - '0'}, &n)) {
        fail("a number beyond 64 bits", "");
      }
    }
    if (at_ == first) fail("something else than a whole number", "");
    return n;
  }
  std::uint32_t hex4() {
    std::uint32_t n = 0;
    for (int i = 0; i < 4; ++i) {
      const std::size_t digit = std::string_view("0123456789abcdefABCDEF").find(next());
      if (digit == std::string_view::npos) fail("a wrong \\u escape", "");
      n = n << 4 | static_cast<std::uint32_t>(digit > 15 ? digit - 6 : digit);
    }
    return n;
  }
  void escape(std::string& s) {
    const char c = next();
    const std::size_t simple = std::string_view("\"\\/bfnrt").find(c);
    if (simple != std::string_view::npos) return s.push_back("\"\\/\b\f\n\r\t"[simple]);
    if (c != 'u') fail("an escape that JSON does not have", "");
    std::uint32_t code = hex4();
    if (code >= 0xD800 && code < 0xDC00) {
      if (next() != '\\' || next() != 'u') fail("half a surrogate pair", "");
      const std::uint32_t low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) fail("half a surrogate pair", "");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
      fail("half a surrogate pair", "");
    }
    const auto put = [&s](std::uint32_t byte) { s.push_back(static_cast<char>(byte)); };
    if (code < 0x80) return put(code);
    if (code < 0x800) return put(0xC0 | code >> 6), put(0x80 | (code & 63));
    if (code < 0x10000) {
      return put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
    }
    put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 63)), put(0x80 | (code >> 6 & 63)),
        put(0x80 | (code & 63));
  }

  byte_span bytes_;
  std::string format_, file_;
  std::size_t at_ = 0;
};

// The text as a JSON string, quotes included.
inline std::string json_string(std::string_view s) {
  std::string r = "\"";
  for (const char c : s) {
    if (static_cast<unsigned char>(c) < 32) {
      constexpr char digits[] = "0123456789abcdef";
      r += "\\u00";
      r += digits[c >> 4];
      r += digits[c & 15];
      continue;
    }
    if (c == '"' || c == '\\') r += '\\';
    r += c;
  }
  return r + '"';
}

}  // namespace adze::io::detail
