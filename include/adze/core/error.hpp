#pragma once
// SPDX-License-Identifier: MIT
// The exceptions of the library and the builder of their texts.
// Every text reads "op: what is wrong; what was received; hint". Nothing is changed by a call
// that throws. No streams here: this header is included everywhere.
#include <concepts>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace adze {

struct error : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};
struct shape_error : error {  // sizes, ranks, axes
  using error::error;
};
struct dtype_error : error {  // element types
  using error::error;
};
struct value_error : error {  // numbers out of their range
  using error::error;
};
struct state_error : error {  // calls in the wrong order
  using error::error;
};
struct io_error : error {  // files
  using error::error;
};
struct numeric_error : error {  // NaN, infinity, no convergence
  using error::error;
};

// What an object looks like in a message; other headers overload it for their types.
inline std::string to_text(std::string_view s) { return std::string(s); }
inline std::string to_text(char c) { return std::string(1, c); }
// A template for bool too: a plain bool parameter would attract string literals.
template <std::integral T> std::string to_text(T n) {
  if constexpr (std::is_same_v<T, bool>) return n ? "true" : "false";
  return std::to_string(n);
}
// Shortest of six significant digits, without a trailing run of zeros.
inline std::string to_text(double x) {
  std::string s(32, '\0');
  const int n = std::snprintf(s.data(), s.size(), "%g", x);
  s.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return s;
}

// One part of a text, by reference: what it is and how to write it. Not a template, so that the
// hundreds of texts of a program share one function.
struct text_part {
  const void* value;
  void (*append)(std::string& to, const void* value);
};
template <class T> [[gnu::cold]] void append_text(std::string& to, const void* value) {
  to.append(to_text(*static_cast<const T*>(value)));
}
inline void append_c_string(std::string& to, const void* value) {
  to.append(static_cast<const char*>(value));
}
template <class T> constexpr text_part part_of(const T& x) { return {&x, append_text<T>}; }
constexpr text_part part_of(const char* s) { return {s, append_c_string}; }
template <std::size_t N> constexpr text_part part_of(const char (&s)[N]) {
  return {s, append_c_string};
}

inline std::string join_text(const text_part* parts, std::size_t n) {
  std::string s;
  for (std::size_t i = 0; i < n; ++i) parts[i].append(s, parts[i].value);
  return s;
}

// text("matmul: ", a.shape(), " vs ", 3): one string from parts, by to_text.
template <class... Parts> std::string text(const Parts&... parts) {
  const text_part list[] = {part_of(parts)...};
  return join_text(list, sizeof...(parts));
}

template <class Error>
[[noreturn, gnu::cold, gnu::noinline]] void throw_text(const text_part* parts, std::size_t n) {
  throw Error(join_text(parts, n));
}

// raise<shape_error>("op: ", ...): the parts are listed where they are, off the hot path, so that
// the hundreds of checks of a program need no function each.
template <class Error, class... Parts>
[[noreturn, gnu::always_inline]] inline void raise(const Parts&... parts) {
  const text_part list[] = {part_of(parts)...};
  throw_text<Error>(list, sizeof...(parts));
}

}  // namespace adze
