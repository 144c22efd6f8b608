#pragma once
// SPDX-License-Identifier: MIT
// Unpacking .gz files with zlib (link with -lz). The only header that needs zlib, so nothing in the
// library includes it: programs do, and pass `data::gunzip` on.
// Memory grows with what was really unpacked, never with what a header promises.
#include <algorithm>
#include <limits>
#include <new>
#include <string>

#include <zlib.h>

#include <adze/core/error.hpp>
#include <adze/core/file.hpp>
#include <adze/fwd.hpp>

namespace adze::data {

namespace detail {

// A zlib stream that ends itself.
struct inflate_stream {
  z_stream z{};
  inflate_stream() {
    constexpr int gzip_only = 15 + 16;
    if (::inflateInit2(&z, gzip_only) != Z_OK) {
      raise<state_error>("gunzip: zlib refused to start; zlib ", ::zlibVersion(),
                         "; is the library older than its header?");
    }
  }
  inflate_stream(const inflate_stream&) = delete;
  inflate_stream& operator=(const inflate_stream&) = delete;
  ~inflate_stream() { ::inflateEnd(&z); }
};

}  // namespace detail

// The unpacked bytes of a gzip file (all its members). At most `limit` bytes, and at most 1032 for
// each packed byte, which is all that the format can really reach. `file` is for the messages.
// io_error, with file and offset: not gzip, damaged, cut short, or too large.
inline byte_vector gunzip(byte_span packed, const std::string& file,
                          index_t limit = std::numeric_limits<index_t>::max()) {
  constexpr std::size_t ratio = 1032;
  constexpr std::size_t slack = 1 << 10;  // a few bytes pack worse than the asymptotic ratio
  std::size_t most = static_cast<std::size_t>(std::max<index_t>(limit, 0));
  if (packed.size() < most / ratio) most = std::min(most, packed.size() * ratio + slack);
  detail::inflate_stream stream;
  z_stream& z = stream.z;
  byte_vector out;
  std::size_t used = 0;
  std::size_t read = 0;
  const auto fail = [&](const char* what, const std::string& received, const char* hint) {
    raise<io_error>("gunzip: ", what, "; '", file, "' offset ", read, ": ", received, "; ", hint);
  };
  if (packed.size() < 2 || packed[0] != 0x1F || packed[1] != 0x8B) {
    fail("not a gzip file",
         packed.size() < 2 ? text(packed.size(), " bytes")
                           : text("first bytes ", packed[0], " ", packed[1]),
         "a gzip file begins with 31 139");
  }
  for (;;) {
    if (used == out.size()) {
      // One byte above the bound, so that exceeding it is seen.
      const std::size_t next = std::max<std::size_t>(1 << 16, used * 2);
      out.resize(std::min(next, most) + (most < next ? 1 : 0));
    }
    constexpr std::size_t piece = 1 << 30;  // zlib counts in 32 bits
    const std::size_t input = std::min(piece, packed.size() - read);
    const std::size_t room = std::min(piece, out.size() - used);
    z.next_in = const_cast<Bytef*>(packed.data() + read);
    z.avail_in = static_cast<uInt>(input);
    z.next_out = out.data() + used;
    z.avail_out = static_cast<uInt>(room);
    const int status = ::inflate(&z, Z_NO_FLUSH);
    read += input - z.avail_in;
    used += room - z.avail_out;
    if (used > most) {
      fail("the file unpacks to too much", text("more than ", most, " bytes from ", packed.size()),
           "pass a higher limit if it is trusted");
    }
    if (status == Z_STREAM_END) {
      if (read == packed.size()) break;
      ::inflateReset(&z);  // another member follows, or rubbish, which its header check finds
    } else if (status == Z_BUF_ERROR && read == packed.size()) {
      fail("the file ends too early", text(used, " bytes unpacked so far"), "is it truncated?");
    } else if (status == Z_MEM_ERROR) {
      throw std::bad_alloc();
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      fail("damaged data", z.msg != nullptr ? z.msg : text("zlib status ", status),
           "fetch the file again");
    }
  }
  out.resize(used);
  return out;
}

}  // namespace adze::data
