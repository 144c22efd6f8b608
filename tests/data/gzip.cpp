// Without zlib there is nothing to test: the library does not need it.
#if __has_include(<zlib.h>)
#  include <doctest/doctest.h>

#  include <cstdint>
#  include <string>
#  include <vector>

#  include <adze/data/gzip.hpp>

namespace adze::data::gzip_test {
namespace {

using bytes = byte_vector;

// A gzip member that holds `plain`.
bytes gzipped(const bytes& plain, int level = 6) {
  z_stream z{};
  REQUIRE(::deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  bytes out(::deflateBound(&z, static_cast<uLong>(plain.size())) + 64);
  z.next_in = const_cast<Bytef*>(plain.data());
  z.avail_in = static_cast<uInt>(plain.size());
  z.next_out = out.data();
  z.avail_out = static_cast<uInt>(out.size());
  REQUIRE(::deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(z.total_out);
  ::deflateEnd(&z);
  return out;
}

bytes noise(std::size_t size) {
  bytes out(size);
  std::uint32_t x = 1;
  for (auto& b : out) {
    x = x * 1664525 + 1013904223;
    b = static_cast<std::uint8_t>(x >> 24);
  }
  return out;
}

bytes changed(bytes in, std::size_t at, int flip) {
  in.at(at) = static_cast<std::uint8_t>(in.at(at) ^ flip);
  return in;
}

TEST_CASE("gzip: round trips of any size, levels and several members") {
  for (const std::size_t size : {0u, 1u, 100u, 65536u, 65537u, 1000000u}) {
    for (const int level : {0, 1, 9}) {
      CHECK(gunzip(gzipped(noise(size), level), "f") == noise(size));
      CHECK(gunzip(gzipped(bytes(size, 7), level), "f") == bytes(size, 7));
    }
  }
  bytes two = gzipped({1, 2, 3});
  const bytes more = gzipped({4, 5});
  two.insert(two.end(), more.begin(), more.end());
  CHECK(gunzip(two, "f") == bytes{1, 2, 3, 4, 5});
}

TEST_CASE("gzip: the best ratio of the format passes, the limit holds") {
  const bytes zeros(50'000'000, 0);
  const bytes packed = gzipped(zeros, 9);
  CHECK(zeros.size() / packed.size() > 1000);
  CHECK(gunzip(packed, "f").size() == zeros.size());
  CHECK(gunzip(gzipped(noise(1000)), "f", 1000).size() == 1000);
  CHECK_THROWS_WITH_AS(gunzip(gzipped(bytes(1000, 0)), "f", 999),
                       "gunzip: the file unpacks to too much; 'f' offset 29: more than 999 bytes "
                       "from 29; pass a higher limit if it is trusted",
                       io_error);
  CHECK_THROWS_AS(gunzip(gzipped({1}), "f", 0), io_error);
  CHECK(gunzip(gzipped({}), "f", 0).empty());
}

struct bad_file {
  const char* name;
  bytes content;
  const char* message;  // after "gunzip: "
};

TEST_CASE("gzip: the museum of bad files, each with its error") {
  const bytes good = gzipped({'h', 'e', 'l', 'l', 'o'});
  REQUIRE(good.size() == 25);
  const auto cut = [&](std::size_t size) {
    return bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
  };
  bytes trailing = good;
  trailing.push_back(0);
  bytes rubbish = good;
  rubbish.insert(rubbish.end(), {'r', 'u', 'b'});
  bytes second = good;
  second.insert(second.end(), {0x1F, 0x8B, 8, 0});
  const std::vector<bad_file> museum{
      {"empty", {}, "not a gzip file; 'f' offset 0: 0 bytes; a gzip file begins with 31 139"},
      {"one byte",
       {0x1F},
       "not a gzip file; 'f' offset 0: 1 bytes; a gzip file begins with 31 139"},
      {"plain IDX",
       {0, 0, 8, 3},
       "not a gzip file; 'f' offset 0: first bytes 0 0; a gzip file begins with 31 139"},
      {"zlib, not gzip",
       {0x78, 0x9C, 1},
       "not a gzip file; 'f' offset 0: first bytes 120 156; a gzip file begins with 31 139"},
      {"magic only",
       {0x1F, 0x8B},
       "the file ends too early; 'f' offset 2: 0 bytes unpacked so far; is it truncated?"},
      {"header only", cut(10),
       "the file ends too early; 'f' offset 10: 0 bytes unpacked so far; is it truncated?"},
      {"cut in the data", cut(15),
       "the file ends too early; 'f' offset 15: 4 bytes unpacked so far; is it truncated?"},
      {"cut before the checksum", cut(17),
       "the file ends too early; 'f' offset 17: 5 bytes unpacked so far; is it truncated?"},
      {"cut in the length", cut(24),
       "the file ends too early; 'f' offset 24: 5 bytes unpacked so far; is it truncated?"},
      {"unknown method", changed(good, 2, 1),
       "damaged data; 'f' offset 4: unknown compression method; fetch the file again"},
      {"reserved flags", changed(good, 3, 0xE0),
       "damaged data; 'f' offset 4: unknown header flags set; fetch the file again"},
      {"block type 3", changed(good, 10, 4),
       "damaged data; 'f' offset 11: invalid block type; fetch the file again"},
      {"wrong checksum", changed(good, 17, 1),
       "damaged data; 'f' offset 21: incorrect data check; fetch the file again"},
      {"wrong length", changed(good, 21, 1),
       "damaged data; 'f' offset 25: incorrect length check; fetch the file again"},
      {"rubbish behind", rubbish,
       "damaged data; 'f' offset 27: incorrect header check; fetch the file again"},
      {"a zero byte behind", trailing,
       "the file ends too early; 'f' offset 26: 5 bytes unpacked so far; is it truncated?"},
      {"second member cut", second,
       "the file ends too early; 'f' offset 29: 5 bytes unpacked so far; is it truncated?"},
  };
  for (const bad_file& exhibit : museum) {
    CAPTURE(exhibit.name);
    const std::string expected = std::string("gunzip: ") + exhibit.message;
    CHECK_THROWS_WITH_AS(gunzip(exhibit.content, "f"), expected.c_str(), io_error);
  }
}

TEST_CASE("gzip: any one changed byte throws or unpacks to the same") {
  const bytes plain = noise(300);
  const bytes good = gzipped(plain);
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const int flip : {1, 0x10, 0x80, 0xFF}) {
      bytes unpacked;
      try {
        unpacked = gunzip(changed(good, at, flip), "f");
      } catch (const io_error&) {
        continue;
      }
      CHECK(unpacked == plain);  // the time stamp, for instance
    }
  }
}

}  // namespace
}  // namespace adze::data::gzip_test

#endif
