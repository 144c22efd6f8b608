#pragma once
// SPDX-License-Identifier: MIT
// Tensors as text, the way NumPy prints arrays: nested brackets, aligned columns, the middle of
// long axes left out. Meant for reading, not for parsing: io/ writes files.
#include <charconv>
#include <cmath>
#include <iosfwd>
#include <string>
#include <vector>

#include <adze/tensor/typed.hpp>

namespace adze {

struct print_options {
  int precision = 4;         // digits after the point
  index_t threshold = 1000;  // more elements than that are summarised
  index_t edge = 3;          // how many stay at either end of an axis
};

namespace detail {

inline std::string number_text(std::chars_format format, int precision, double x) {
  char buffer[400];  // the largest double has 309 digits before the point
  return std::string(buffer,
                     std::to_chars(buffer, buffer + sizeof buffer, x, format, precision).ptr);
}

class printer {
 public:
  printer(const tensor& x, const print_options& o) : x_(x), o_(o), all_(x.numel() <= o.threshold) {}

  std::string operator()() {
    if (is_floating(x_.dtype())) {
      choose_format();
    }
    walk(0, 0, [&](index_t offset) { width_ = std::max(width_, element(offset).size()); });
    if (x_.numel() == 0) {
      text_ = "[]";
    } else {
      write(0, 0);
    }
    return text_ + " " + to_text(x_.dtype()) + to_text(x_.shape());
  }

 private:
  bool shown(index_t axis, index_t i) const {
    return all_ || i < o_.edge || i >= x_.shape()[axis] - o_.edge;
  }
  template <class F> void walk(index_t axis, index_t offset, F f) const {
    if (axis == x_.rank()) return f(offset);
    for (index_t i = 0; i < x_.shape()[axis]; ++i) {
      if (!shown(axis, i)) i = x_.shape()[axis] - o_.edge;
      if (i < x_.shape()[axis]) walk(axis + 1, offset + i * stride(axis), f);
    }
  }
  index_t stride(index_t axis) const { return x_.strides()[static_cast<std::size_t>(axis)]; }

  // Of what is shown: whole numbers print without digits, a wide range in powers of ten.
  void choose_format() {
    double largest = 0.0, smallest = std::numeric_limits<double>::infinity();
    bool whole = true;
    walk(0, 0, [&](index_t offset) {
      const double v = value(offset);
      if (!std::isfinite(v)) return;
      whole = whole && v == std::floor(v);
      largest = std::max(largest, std::abs(v));
      if (v != 0.0) smallest = std::min(smallest, std::abs(v));
    });
    powers_ = largest >= 1e8 || (!whole && (smallest < 1e-4 || largest / smallest > 1e6));
    whole_ = whole && !powers_;
  }

  double value(index_t offset) const {
    return dispatch(all_types{}, x_.dtype(), "print", [&]<class E>() -> double {
      const E v = x_.data_as<E>()[offset];
      if constexpr (std::is_same_v<E, float16> || std::is_same_v<E, bfloat16>) {
        return static_cast<double>(static_cast<float>(v));
      } else {
        return static_cast<double>(v);
      }
    });
  }
  std::string element(index_t offset) const {
    if (x_.dtype() == bool8) return x_.data_as<bool>()[offset] ? "true" : "false";
    if (x_.dtype() == i64) return std::to_string(x_.data_as<std::int64_t>()[offset]);
    const double v = value(offset);
    if (std::isnan(v)) return "nan";  // never "-nan"
    if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
    if (!is_floating(x_.dtype())) return number_text(std::chars_format::fixed, 0, v);
    if (powers_) return number_text(std::chars_format::scientific, o_.precision, v);
    if (whole_) return number_text(std::chars_format::fixed, 0, v) + ".";
    return number_text(std::chars_format::fixed, o_.precision, v);
  }

  void write(index_t axis, index_t offset) {
    if (axis == x_.rank()) {
      const std::string s = element(offset);
      text_.append(width_ - s.size(), ' ').append(s);
      return;
    }
    const bool last = axis == x_.rank() - 1;
    const std::string between =
        last ? ", "
             : "," + std::string(static_cast<std::size_t>(x_.rank() - 1 - axis), '\n') +
                   std::string(static_cast<std::size_t>(axis + 1), ' ');
    text_ += '[';
    for (index_t i = 0; i < x_.shape()[axis]; ++i) {
      if (i > 0) text_ += between;
      if (!shown(axis, i)) {
        text_ += "...";
        i = x_.shape()[axis] - o_.edge - 1;
      } else {
        write(axis + 1, offset + i * stride(axis));
      }
    }
    text_ += ']';
  }

  const tensor& x_;
  const print_options& o_;
  bool all_, whole_ = false, powers_ = false;
  std::size_t width_ = 0;
  std::string text_;
};

}  // namespace detail

// The values and, behind them, dtype and shape: "[1.5000, 2.0000] f32[2]". An undefined tensor is
// "undefined". Throws value_error for a negative edge or precision.
inline std::string to_string(const tensor& x, const print_options& o = {}) {
  if (!x.defined()) return "undefined";
  if (o.edge < 0 || o.precision < 0 || o.precision > 60) {
    raise<value_error>("to_string: the edge and the precision must not be negative, the precision "
                       "at most 60; got ",
                       o.edge, " and ", o.precision);
  }
  return detail::printer(x, o)();
}

template <class Stream>
requires std::is_base_of_v<std::ios_base, Stream> Stream& operator<<(Stream& out, const tensor& x) {
  out << to_string(x);
  return out;
}

// "[2,3]" and "f32", as in the texts of errors.
template <class Stream>
requires std::is_base_of_v<std::ios_base, Stream> Stream& operator<<(Stream& out, const shape& x) {
  out << to_text(x);
  return out;
}
template <class Stream>
requires std::is_base_of_v<std::ios_base, Stream> Stream& operator<<(Stream& out, dtype x) {
  out << to_text(x);
  return out;
}

}  // namespace adze
