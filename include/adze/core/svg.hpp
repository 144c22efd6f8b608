#pragma once
// SPDX-License-Identifier: MIT
// A small writer of SVG documents: shapes, text and a style sheet, escaped so that any input gives
// well-formed XML. What is drawn (axes, curves) is decided elsewhere.
#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <string>
#include <string_view>

#include <adze/core/error.hpp>
#include <adze/core/format.hpp>
#include <adze/fwd.hpp>

namespace adze::report {

struct point {
  double x = 0;
  double y = 0;
};

namespace detail {

// Bytes of the UTF-8 sequence that `text` starts with; 0 where none is well formed.
inline std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80                   ? 1
                             : lead >= 0xC2 && lead < 0xE0 ? 2
                             : lead >= 0xE0 && lead < 0xF0 ? 3
                             : lead >= 0xF0 && lead < 0xF5 ? 4
                                                           : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool beyond = (lead == 0xED && byte(1) >= 0xA0) || (lead == 0xF4 && byte(1) >= 0x90);
  const bool noncharacter = lead == 0xEF && byte(1) == 0xBF && byte(2) >= 0xBE;
  return overlong || beyond || noncharacter ? 0 : length;
}

}  // namespace detail

// Text that is safe inside XML elements and attributes; what XML cannot hold becomes '?'.
[[gnu::cold]] inline std::string escape_xml(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = detail::utf8_length(text);
    const char c = text.front();
    const bool control = static_cast<unsigned char>(c) < 0x20;
    if (length == 0) {
      out += '?';
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (control) {
      out += c == '\n' || c == '\t' ? ' ' : '?';
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

// A document of width x height user units; y grows downwards. `style` names classes of its sheet.
class svg {
 public:
  [[gnu::cold]] svg(double width, double height, std::string_view sheet) {
    const std::string w = number(width), h = number(height);
    body_ = adze::text("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", w, "\" height=\"", h,
                       "\" viewBox=\"0 0 ", w, " ", h,
                       "\" font-family=\"Helvetica, Arial, sans-serif\">\n<style>\n", sheet,
                       "</style>\n");
  }

  void rectangle(point corner, double width, double height, std::string_view style) {
    element("rect", style);
    attribute("x", corner.x);
    attribute("y", corner.y);
    attribute("width", width);
    attribute("height", height);
    close();
  }

  void line(point from, point to, std::string_view style) {
    element("line", style);
    attribute("x1", from.x);
    attribute("y1", from.y);
    attribute("x2", to.x);
    attribute("y2", to.y);
    close();
  }

  void circle(point centre, double radius, std::string_view style) {
    element("circle", style);
    attribute("cx", centre.x);
    attribute("cy", centre.y);
    attribute("r", radius);
    close();
  }

  // Text on the baseline at `at`; the style decides size, anchor and colour.
  [[gnu::cold]] void text(point at, std::string_view words, std::string_view style,
                          double degrees = 0) {
    element("text", style);
    attribute("x", at.x);
    attribute("y", at.y);
    if (degrees != 0) {
      body_ += adze::text(" transform=\"rotate(", number(degrees), " ", number(at.x), " ",
                          number(at.y), ")\"");
    }
    body_ += adze::text(">", escape_xml(words), "</text>\n");
  }

  // An open line through the points; one point alone becomes a dot (with round line ends).
  [[gnu::cold]] void polyline(std::span<const point> points, std::string_view style) {
    if (points.empty()) return;
    element("path", style);
    body_ += " d=\"M";
    for (const point& p : points) body_ += adze::text(number(p.x), " ", number(p.y), " ");
    if (points.size() == 1) body_ += "h0";
    if (body_.back() == ' ') body_.pop_back();
    body_ += "\"/>\n";
  }

  std::string str() const { return adze::text(body_, "</svg>\n"); }

  // Two decimals at most, and always a point as the decimal mark.
  [[gnu::cold]] static std::string number(double value) {
    std::string out = format_fixed(std::isfinite(value) ? value : 0, 2);
    while (out.back() == '0') out.pop_back();
    if (out.back() == '.') out.pop_back();
    return out == "-0" ? "0" : out;
  }

 private:
  [[gnu::cold]] void element(std::string_view name, std::string_view style) {
    body_ += adze::text("<", name, " class=\"", escape_xml(style), "\"");
  }
  [[gnu::cold]] void attribute(std::string_view name, double value) {
    body_ += adze::text(" ", name, "=\"", number(value), "\"");
  }
  [[gnu::cold]] void close() { body_ += "/>\n"; }

  std::string body_;
};

}  // namespace adze::report
