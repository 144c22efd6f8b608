#pragma once
// SPDX-License-Identifier: MIT
// The IDX format of MNIST and its kin: big-endian arrays of bytes, integers or floats.
// Files are untrusted: all sizes are checked against the bytes that are there before anything is
// allocated. Bytes in, tensor out; opening and unpacking files is elsewhere.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include <adze/core/byte_reader.hpp>
#include <adze/core/file.hpp>
#include <adze/tensor/tensor.hpp>

namespace adze::data {

// An IDX file taken apart; the payload still stands in the file's bytes, big-endian.
struct idx_content {
  std::uint8_t code =
      0;  // of the element type: 0x08 u8, 0x09 i8, 0x0B i16, 0x0C i32, 0x0D f32, 0x0E f64
  adze::shape sizes;
  byte_span payload;
};

namespace detail {

struct idx_type {
  std::uint8_t code;
  index_t bytes;  // in the file
  dtype type;     // in memory; there is no i16, which becomes i32
};
inline constexpr std::array<idx_type, 6> idx_types{
    {{0x08, 1, u8}, {0x09, 1, i8}, {0x0B, 2, i32}, {0x0C, 4, i32}, {0x0D, 4, f32}, {0x0E, 8, f64}}};

inline const idx_type* find_idx_type(std::uint8_t code) {
  const auto found = std::find_if(idx_types.begin(), idx_types.end(),
                                  [&](const idx_type& row) { return row.code == code; });
  return found == idx_types.end() ? nullptr : &*found;
}

// Words of `width` bytes from the byte order of the file to that of this machine, or back.
inline void copy_big_endian(byte_span from, std::size_t width, std::uint8_t* to) {
  if (width == 1 || std::endian::native == std::endian::big) {
    std::copy(from.begin(), from.end(), to);
    return;
  }
  for (std::size_t i = 0; i < from.size(); i += width) {
    for (std::size_t k = 0; k < width; ++k) to[i + k] = from[i + width - 1 - k];
  }
}

inline void widen_i16(byte_span from, std::int32_t* to) {
  for (std::size_t i = 0; i < from.size(); i += 2) {
    const auto word = static_cast<std::uint16_t>(from[i] << 8 | from[i + 1]);
    *to++ = std::bit_cast<std::int16_t>(word);
  }
}

}  // namespace detail

// Checks a whole IDX file and finds its parts, without allocating. `file` is for the messages.
// io_error, with file and offset: not IDX, unknown element type, 0 or more than 8 axes, sizes whose
// product overflows, too few or too many bytes.
[[gnu::cold]] inline idx_content parse_idx(byte_span bytes, const std::string& file) {
  byte_reader in(bytes, "idx", file);
  const auto magic = in.big_endian<std::uint32_t>("the magic number");
  if (bytes[0] == 0x1F && bytes[1] == 0x8B) {
    in.fail("the file is compressed with gzip", "magic 1F 8B",
            "unpack it first (gunzip in data/gzip.hpp does)");
  }
  if (magic >> 16 != 0) {
    in.fail("not an IDX file", text("first bytes ", bytes[0], " ", bytes[1]),
            "an IDX file begins with two zero bytes");
  }
  idx_content out;
  out.code = static_cast<std::uint8_t>(magic >> 8);
  const auto rank = static_cast<index_t>(magic & 0xFF);
  const detail::idx_type* type = detail::find_idx_type(out.code);
  if (type == nullptr) {
    in.fail("unknown element type", text("type code ", out.code),
            "known are 8 (u8), 9 (i8), 11 (i16), 12 (i32), 13 (f32), 14 (f64)");
  }
  if (rank < 1 || rank > max_rank) {
    in.fail("unusable number of axes", text(rank, " axes"), "1 to 8 can be read");
  }
  std::array<index_t, static_cast<std::size_t>(max_rank)> sizes{};
  index_t total = type->bytes;
  index_t bound = type->bytes;  // the same with empty axes counted as 1, as `shape` wants it
  for (index_t i = 0; i < rank; ++i) {
    const index_t size = in.big_endian<std::uint32_t>("a dimension");
    if (!multiply_sizes(bound, std::max<index_t>(size, 1), bound)) {
      in.fail("the sizes are too large", text("axis ", i, " of ", size), "is the header damaged?");
    }
    total *= size;
    sizes[static_cast<std::size_t>(i)] = size;
  }
  out.payload = in.take(total, "the data");
  in.finish();
  out.sizes = adze::shape(std::span<const index_t>(sizes.data(), static_cast<std::size_t>(rank)));
  return out;
}

// The array of an IDX file: u8, i8, i32 (also from i16), f32 or f64. Errors as parse_idx.
[[gnu::cold]] inline tensor read_idx(byte_span bytes, const std::string& file) {
  const idx_content content = parse_idx(bytes, file);
  const detail::idx_type& type = *detail::find_idx_type(content.code);
  tensor out = empty(content.sizes, type.type);
  if (type.bytes == 2) {
    detail::widen_i16(content.payload, out.data_as<std::int32_t>());
  } else {
    detail::copy_big_endian(content.payload, static_cast<std::size_t>(type.bytes),
                            out.data_as<std::uint8_t>());
  }
  return out;
}

// The bytes of an IDX file that holds x. dtype_error: not u8, i8, i32, f32, f64; shape_error: 0-d
// or a size above 2^32 - 1; value_error: not contiguous.
template <class = void> byte_vector write_idx(const tensor& x) {
  const auto type = std::find_if(detail::idx_types.rbegin(), detail::idx_types.rend(),
                                 [&](const auto& row) { return row.type == x.dtype(); });
  if (type == detail::idx_types.rend()) {
    raise<dtype_error>("write_idx: IDX has no such element type; got ", x,
                       "; u8, i8, i32, f32 and f64 can be written");
  }
  if (x.rank() < 1) raise<shape_error>("write_idx: IDX needs an axis; got ", x, "; reshape it");
  if (!x.is_contiguous()) {
    raise<value_error>("write_idx: the tensor is not contiguous; got ", x,
                       "; contiguous(x) makes a dense copy");
  }
  byte_vector out{0, 0, type->code, static_cast<std::uint8_t>(x.rank())};
  for (const index_t size : x.shape()) {
    if (size > index_t{0xFFFFFFFF}) {
      raise<shape_error>("write_idx: an axis is too long for IDX; got ", x, "; at most 2^32 - 1");
    }
    for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<std::uint8_t>(size >> shift));
  }
  const std::size_t header = out.size();
  const auto total = static_cast<std::size_t>(x.numel() * type->bytes);
  out.resize(header + total);
  detail::copy_big_endian({x.data_as<std::uint8_t>(), total}, static_cast<std::size_t>(type->bytes),
                          out.data() + header);
  return out;
}

}  // namespace adze::data
