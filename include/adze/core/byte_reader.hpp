#pragma once
// SPDX-License-Identifier: MIT
// The one door to the bytes of an untrusted file: every read is checked against what is left, and
// every failure is an io_error that names the format, the file and the offset.
// No pointer arithmetic on file bytes anywhere else.
#include <concepts>
#include <cstdint>
#include <string>
#include <utility>

#include <adze/core/error.hpp>
#include <adze/core/file.hpp>
#include <adze/fwd.hpp>

namespace adze {

class byte_reader {
 public:
  // `format` and `file` are for the messages only.
  byte_reader(byte_span bytes, std::string format, std::string file)
      : bytes_(bytes), format_(std::move(format)), file_(std::move(file)) {}

  index_t offset() const { return offset_; }
  index_t remaining() const { return static_cast<index_t>(bytes_.size()) - offset_; }

  // The next `count` bytes. io_error: fewer are left.
  byte_span take(index_t count, const char* what) {
    if (count < 0 || count > remaining()) {
      fail("the file ends too early",
           text(what, " needs ", count, " bytes, ", remaining(), " are left"), "is it truncated?");
    }
    const auto taken =
        bytes_.subspan(static_cast<std::size_t>(offset_), static_cast<std::size_t>(count));
    offset_ += count;
    return taken;
  }

  template <std::unsigned_integral T> T big_endian(const char* what) {
    T value = 0;
    for (const std::uint8_t byte : take(sizeof(T), what)) value = static_cast<T>(value << 8 | byte);
    return value;
  }

  // io_error unless everything was read.
  void finish() const {
    if (remaining() != 0) {
      fail("the file goes on after its data", text(remaining(), " bytes too many"),
           "is it the right kind of file?");
    }
  }

  // A complaint about what was read up to here.
  [[noreturn]] void fail(const char* what, const std::string& received, const char* hint) const {
    raise<io_error>(format_, ": ", what, "; '", file_, "' offset ", offset_, ": ", received, "; ",
                    hint);
  }

 private:
  byte_span bytes_;
  std::string format_;
  std::string file_;
  index_t offset_ = 0;
};

// a * b for sizes that a file claims. False on overflow or a negative factor.
inline bool multiply_sizes(index_t a, index_t b, index_t& product) {
  return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, &product);
}

}  // namespace adze
