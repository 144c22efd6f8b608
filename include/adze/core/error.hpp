#pragma once
// SPDX-License-Identifier: MIT
// The exceptions of the library and the builder of their texts.
// Every text reads "op: what is wrong; what was received; hint". Nothing is changed by a call
// that throws. No streams here: this header is included everywhere.
#include <charconv>
#include <concepts>
#include <cstdarg>
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
// Shortest of six significant digits, without a trailing run of zeros; always with a point,
// whatever the locale.
inline std::string to_text(double x) {
  char s[32];
  return std::string(s, std::to_chars(s, s + sizeof s, x, std::chars_format::general, 6).ptr);
}

namespace detail {

// How to write one part of a text, given its address.
using text_appender = void (*)(std::string& to, const void* part);
template <class T> [[gnu::cold]] void append_text(std::string& to, const void* part) {
  to.append(to_text(*static_cast<const T*>(part)));
}
[[gnu::cold]] inline void append_literal(std::string& to, const void* part) {
  to.append(static_cast<const char*>(part));
}
// One list for all texts whose parts are of these types, ended by null; literals of any length are
// of one type.
template <class... T>
inline constexpr text_appender appenders_of[] = {
    (std::is_array_v<T> ? append_literal : append_text<T>)..., nullptr};
template <class... Parts>
inline constexpr const text_appender* appenders =
    appenders_of<std::conditional_t<std::is_array_v<Parts>, char[1], Parts>...>;

inline std::string join_parts(const text_appender* how, std::va_list parts) {
  std::string s;
  for (; *how != nullptr; ++how) (*how)(s, va_arg(parts, const void*));
  return s;
}
// These take the address of every part: one call without a list in memory, as programs have
// hundreds of them.
[[gnu::cold]] inline std::string join_text(const text_appender* how, ...) {
  std::va_list parts;
  va_start(parts, how);
  std::string s = join_parts(how, parts);
  va_end(parts);
  return s;
}
template <class Error>
[[noreturn, gnu::cold, gnu::noinline]] void throw_text(const text_appender* how, ...) {
  std::va_list parts;
  va_start(parts, how);
  const std::string s = join_parts(how, parts);
  va_end(parts);
  throw Error(s);
}

}  // namespace detail

// text("matmul: ", a.shape(), " vs ", 3): one string from parts, by to_text.
template <class... Parts> std::string text(const Parts&... parts) {
  return detail::join_text(detail::appenders<Parts...>, static_cast<const void*>(&parts)...);
}

// raise<shape_error>("op: ", ...): throws the text of these parts, which are handed over where they
// are, off the hot path, so that the hundreds of checks of a program need no function each.
template <class Error, class... Parts>
[[noreturn, gnu::always_inline]] inline void raise(const Parts&... parts) {
  detail::throw_text<Error>(detail::appenders<Parts...>, static_cast<const void*>(&parts)...);
}

}  // namespace adze
