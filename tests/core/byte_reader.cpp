#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <limits>

#include <adze/core/byte_reader.hpp>

namespace adze {
namespace {

const std::array<std::uint8_t, 7> seven{0x01, 0x02, 0xFF, 0xFE, 0x80, 0x00, 0x07};

TEST_CASE("byte_reader: big-endian numbers and ranges, in order") {
  byte_reader in(seven, "idx", "file");
  CHECK(in.big_endian<std::uint16_t>("a") == 0x0102);
  CHECK(in.big_endian<std::uint32_t>("b") == 0xFFFE8000u);
  CHECK(in.offset() == 6);
  CHECK(in.remaining() == 1);
  CHECK(in.take(1, "c").front() == 7);
  CHECK(in.take(0, "nothing").empty());
  in.finish();
}

TEST_CASE("byte_reader: reading past the end names file and offset and moves nothing") {
  byte_reader in(seven, "idx", "file");
  in.take(5, "head");
  CHECK_THROWS_WITH_AS(in.big_endian<std::uint32_t>("dimension"),
                       "idx: the file ends too early; 'file' offset 5: dimension needs 4 bytes, 2 "
                       "are left; is it truncated?",
                       io_error);
  CHECK(in.offset() == 5);
  CHECK_THROWS_AS(in.take(3, "one too many"), io_error);
  CHECK_THROWS_AS(in.take(-1, "negative"), io_error);
  CHECK_THROWS_AS(in.take(std::numeric_limits<index_t>::max(), "huge"), io_error);
  CHECK_THROWS_WITH_AS(in.finish(),
                       "idx: the file goes on after its data; 'file' offset 5: 2 bytes too many; "
                       "is it the right kind of file?",
                       io_error);
}

TEST_CASE("byte_reader: products of claimed sizes are checked") {
  index_t product = 0;
  CHECK(multiply_sizes(1 << 20, 1 << 20, product));
  CHECK(product == index_t{1} << 40);
  CHECK_FALSE(multiply_sizes(index_t{1} << 32, index_t{1} << 31, product));
  CHECK_FALSE(multiply_sizes(-1, 1, product));
  CHECK(multiply_sizes(std::numeric_limits<index_t>::max(), 0, product));
}

}  // namespace
}  // namespace adze
