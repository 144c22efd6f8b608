#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <adze/data/idx.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::data::idx_test {
namespace {

using bytes = byte_vector;

bytes joined(bytes head, const bytes& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

template <class T> std::vector<T> values_of(const tensor& x) { return x.as<T>().to_vector(); }

TEST_CASE("idx: each element type is read with its sign and byte order") {
  const tensor bytes_read = read_idx(bytes{0, 0, 8, 1, 0, 0, 0, 3, 0, 128, 255}, "f");
  CHECK(values_of<std::uint8_t>(bytes_read) == std::vector<std::uint8_t>{0, 128, 255});
  const tensor signed_read = read_idx(bytes{0, 0, 9, 1, 0, 0, 0, 2, 127, 128}, "f");
  CHECK(values_of<std::int8_t>(signed_read) == std::vector<std::int8_t>{127, -128});
  const tensor shorts = read_idx(bytes{0, 0, 11, 1, 0, 0, 0, 3, 1, 2, 0xFF, 0xFE, 0x80, 0}, "f");
  CHECK(values_of<std::int32_t>(shorts) == std::vector<std::int32_t>{258, -2, -32768});
  const tensor ints = read_idx(bytes{0, 0, 12, 1, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0x85}, "f");
  CHECK(values_of<std::int32_t>(ints) == std::vector<std::int32_t>{-123});
  const tensor floats = read_idx(bytes{0, 0, 13, 1, 0, 0, 0, 1, 0x3F, 0xC0, 0, 0}, "f");
  CHECK(values_of<float>(floats) == std::vector<float>{1.5f});
  const tensor doubles =
      read_idx(bytes{0, 0, 14, 1, 0, 0, 0, 1, 0xC0, 0x04, 0, 0, 0, 0, 0, 0}, "f");
  CHECK(values_of<double>(doubles) == std::vector<double>{-2.5});
}

TEST_CASE("idx: write then read gives the same tensor; read then write the same bytes") {
  tensor_of<float> f(shape{2, 0, 3});
  CHECK(read_idx(write_idx(f), "f").shape() == shape{2, 0, 3});
  tensor_of<std::int32_t> i(shape{2, 1, 3});
  std::int32_t next = -2;
  for (auto& v : i) v = next++ * 100000;
  const tensor back = read_idx(write_idx(i), "f");
  CHECK(back.shape() == shape{2, 1, 3});
  CHECK(back.dtype() == i32);
  CHECK(values_of<std::int32_t>(back) == i.to_vector());
  for (const bytes& file :
       {bytes{0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 5, 6}, bytes{0, 0, 9, 1, 0, 0, 0, 1, 200},
        bytes{0, 0, 14, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8},
        bytes{0, 0, 13, 1, 0, 0, 0, 1, 0x7F, 0xA0, 1, 2}}) {  // a NaN's bits
    CHECK(write_idx(read_idx(file, "f")) == file);
  }
}

TEST_CASE("idx: what cannot be written says so") {
  CHECK_THROWS_WITH_AS(write_idx(empty({2}, i64)),
                       "write_idx: IDX has no such element type; got i64[2]; u8, i8, i32, f32 and "
                       "f64 can be written",
                       dtype_error);
  CHECK_THROWS_WITH_AS(write_idx(empty({}, f32)),
                       "write_idx: IDX needs an axis; got f32[]; reshape it", shape_error);
  const tensor transposed = alias(empty({2, 3}, f32), {3, 2}, {1, 3});
  CHECK_THROWS_WITH_AS(write_idx(transposed),
                       "write_idx: the tensor is not contiguous; got f32[3,2]; contiguous(x) makes "
                       "a dense copy",
                       value_error);
  CHECK_THROWS_WITH_AS(write_idx(empty({index_t{1} << 32, 0}, u8)),
                       "write_idx: an axis is too long for IDX; got u8[4294967296,0]; at most 2^32 "
                       "- 1",
                       shape_error);
}

struct bad_file {
  const char* name;
  bytes content;
  const char* message;  // after "idx: "
};

const bytes ff4{0xFF, 0xFF, 0xFF, 0xFF};
const bytes u8_1d{0, 0, 8, 1};

// Each reproduces one way in which a file can lie; the text is the whole error.
const std::vector<bad_file> museum{
    {"empty",
     {},
     "the file ends too early; 'f' offset 0: the magic number needs 4 bytes, 0 are left; is it "
     "truncated?"},
    {"one byte",
     {0},
     "the file ends too early; 'f' offset 0: the magic number needs 4 bytes, 1 are left; is it "
     "truncated?"},
    {"three bytes",
     {0, 0, 8},
     "the file ends too early; 'f' offset 0: the magic number needs 4 bytes, 3 are left; is it "
     "truncated?"},
    {"gzip",
     {0x1F, 0x8B, 8, 0},
     "the file is compressed with gzip; 'f' offset 4: magic 1F 8B; unpack it first (gunzip in "
     "data/gzip.hpp does)"},
    {"little-endian magic",
     {1, 8, 0, 0},
     "not an IDX file; 'f' offset 4: first bytes 1 8; an IDX file begins with two zero bytes"},
    {"second byte set",
     {0, 1, 8, 1},
     "not an IDX file; 'f' offset 4: first bytes 0 1; an IDX file begins with two zero bytes"},
    {"a PNG",
     {0x89, 'P', 'N', 'G', 13, 10},
     "not an IDX file; 'f' offset 4: first bytes 137 80; an IDX file begins with two zero bytes"},
    {"an HTML error page",
     {'<', '!', 'D', 'O', 'C'},
     "not an IDX file; 'f' offset 4: first bytes 60 33; an IDX file begins with two zero bytes"},
    {"type 0",
     {0, 0, 0, 1},
     "unknown element type; 'f' offset 4: type code 0; known are 8 (u8), 9 (i8), 11 (i16), 12 "
     "(i32), 13 (f32), 14 (f64)"},
    {"type 10, a hole in the list",
     {0, 0, 10, 1},
     "unknown element type; 'f' offset 4: type code 10; known are 8 (u8), 9 (i8), 11 (i16), 12 "
     "(i32), 13 (f32), 14 (f64)"},
    {"type 15",
     {0, 0, 15, 1},
     "unknown element type; 'f' offset 4: type code 15; known are 8 (u8), 9 (i8), 11 (i16), 12 "
     "(i32), 13 (f32), 14 (f64)"},
    {"type 255",
     {0, 0, 255, 1},
     "unknown element type; 'f' offset 4: type code 255; known are 8 (u8), 9 (i8), 11 (i16), 12 "
     "(i32), 13 (f32), 14 (f64)"},
    {"no axes",
     {0, 0, 8, 0, 5},
     "unusable number of axes; 'f' offset 4: 0 axes; 1 to 8 can be read"},
    {"nine axes",
     {0, 0, 8, 9},
     "unusable number of axes; 'f' offset 4: 9 axes; 1 to 8 can be read"},
    {"255 axes",
     {0, 0, 8, 255},
     "unusable number of axes; 'f' offset 4: 255 axes; 1 to 8 can be read"},
    {"no dimension", u8_1d,
     "the file ends too early; 'f' offset 4: a dimension needs 4 bytes, 0 are left; is it "
     "truncated?"},
    {"half a dimension",
     {0, 0, 8, 1, 0, 0},
     "the file ends too early; 'f' offset 4: a dimension needs 4 bytes, 2 are left; is it "
     "truncated?"},
    {"one of two dimensions",
     {0, 0, 8, 2, 0, 0, 0, 1},
     "the file ends too early; 'f' offset 8: a dimension needs 4 bytes, 0 are left; is it "
     "truncated?"},
    {"no data",
     {0, 0, 8, 1, 0, 0, 0, 1},
     "the file ends too early; 'f' offset 8: the data needs 1 bytes, 0 are left; is it truncated?"},
    {"one element short",
     {0, 0, 8, 1, 0, 0, 0, 3, 1, 2},
     "the file ends too early; 'f' offset 8: the data needs 3 bytes, 2 are left; is it truncated?"},
    {"half an element short",
     {0, 0, 11, 1, 0, 0, 0, 2, 1, 2, 3},
     "the file ends too early; 'f' offset 8: the data needs 4 bytes, 3 are left; is it truncated?"},
    {"one byte long",
     {0, 0, 8, 1, 0, 0, 0, 1, 1, 2},
     "the file goes on after its data; 'f' offset 9: 1 bytes too many; is it the right kind of "
     "file?"},
    {"data after an empty axis",
     {0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 9, 1},
     "the file goes on after its data; 'f' offset 12: 1 bytes too many; is it the right kind of "
     "file?"},
    {"4 GiB claimed by 9 bytes", joined(u8_1d, joined(ff4, {1})),
     "the file ends too early; 'f' offset 8: the data needs 4294967295 bytes, 1 are left; is it "
     "truncated?"},
    {"32 GiB of doubles", joined({0, 0, 14, 1}, ff4),
     "the file ends too early; 'f' offset 8: the data needs 34359738360 bytes, 0 are left; is it "
     "truncated?"},
    {"2^64 elements", joined({0, 0, 8, 2}, joined(ff4, ff4)),
     "the sizes are too large; 'f' offset 12: axis 1 of 4294967295; is the header damaged?"},
    {"product that wraps to 0",
     {0, 0, 8, 2, 0x80, 0, 0, 0, 0x80, 0, 0, 0, 1},
     "the file ends too early; 'f' offset 12: the data needs 4611686018427387904 bytes, 1 are "
     "left; is it truncated?"},
    {"bytes that wrap though elements do not",
     {0, 0, 14, 2, 0x80, 0, 0, 0, 0x40, 0, 0, 0},
     "the sizes are too large; 'f' offset 12: axis 1 of 1073741824; is the header damaged?"},
    {"2^128 elements in four axes",
     joined(joined({0, 0, 8, 4}, joined(ff4, ff4)), joined(ff4, ff4)),
     "the sizes are too large; 'f' offset 12: axis 1 of 4294967295; is the header damaged?"},
    {"an empty axis hides an overflow", joined({0, 0, 8, 3, 0, 0, 0, 0}, joined(ff4, ff4)),
     "the sizes are too large; 'f' offset 16: axis 2 of 4294967295; is the header damaged?"},
    {"sizes in little-endian order",
     {0, 0, 8, 1, 2, 0, 0, 0, 1, 2},
     "the file ends too early; 'f' offset 8: the data needs 33554432 bytes, 2 are left; is it "
     "truncated?"},
};

TEST_CASE("idx: the museum of bad files, each with its error") {
  CHECK(museum.size() >= 30);
  for (const bad_file& exhibit : museum) {
    CAPTURE(exhibit.name);
    const std::string expected = std::string("idx: ") + exhibit.message;
    CHECK_THROWS_WITH_AS(read_idx(exhibit.content, "f"), expected.c_str(), io_error);
  }
}

TEST_CASE("idx: a good file cut anywhere, or with any header byte changed, throws or reads") {
  const bytes good{0, 0, 11, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8};
  CHECK(read_idx(good, "f").shape() == shape{2, 1, 2});
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK_THROWS_AS(read_idx(byte_span(good).first(size), "f"), io_error);
  }
  for (std::size_t at = 0; at < 16; ++at) {
    for (int value = 0; value < 256; ++value) {
      bytes changed = good;
      changed[at] = static_cast<std::uint8_t>(value);
      try {
        const tensor x = read_idx(changed, "f");
        CHECK(x.numel() * (changed[2] == 8 || changed[2] == 9 ? 1 : 2) == 8);
      } catch (const io_error&) {
      }
    }
  }
}

}  // namespace
}  // namespace adze::data::idx_test
