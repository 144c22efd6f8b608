// Bulk conversions equal the conversion of one value, for all codes and all lengths; conversions
// to integers are defined for every float.
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/simd/convert.hpp>

namespace adze {
namespace {

template <class T> bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// Mismatches between the bulk conversion of floats and the conversion of one, for the float codes
// begin, begin + step, ... below end.
template <class Code>
index_t wrong_codes(std::uint64_t begin, std::uint64_t end, std::uint64_t step) {
  constexpr std::size_t block = 1024;
  float in[block];
  Code out[block];
  index_t wrong = 0;
  for (std::uint64_t at = begin; at < end;) {
    std::size_t n = 0;
    for (; n < block && at < end; ++n, at += step)
      in[n] = std::bit_cast<float>(static_cast<std::uint32_t>(at));
    simd::convert(in, out, static_cast<index_t>(n));
    for (std::size_t i = 0; i < n; ++i) wrong += out[i].bits != Code(in[i]).bits;
  }
  return wrong;
}

}  // namespace

TEST_CASE_TEMPLATE("every 16-bit code widens alike one by one and in bulk", Code, float16,
                   bfloat16) {
  std::vector<Code> codes(0x10000), back(0x10000);
  std::vector<float> wide(0x10000);
  for (std::uint32_t c = 0; c < 0x10000; ++c)
    codes[c] = Code::from_bits(static_cast<std::uint16_t>(c));
  simd::convert(codes.data(), wide.data(), 0x10000);
  simd::convert(wide.data(), back.data(), 0x10000);
  int wrong = 0;
  for (std::uint32_t c = 0; c < 0x10000; ++c) {
    wrong += !same_bits(wide[c], static_cast<float>(codes[c]));
    wrong += back[c].bits != Code(wide[c]).bits;
    wrong += !std::isnan(wide[c]) && back[c].bits != c;
  }
  CHECK(wrong == 0);
}

TEST_CASE_TEMPLATE("floats narrow alike one by one and in bulk", Code, float16, bfloat16) {
  CHECK(wrong_codes<Code>(0, std::uint64_t{1} << 32, 1009) == 0);
}

TEST_SUITE("slow") {
  TEST_CASE_TEMPLATE("all floats narrow alike one by one and in bulk", Code, float16, bfloat16) {
    constexpr index_t step = index_t{1} << 24;
    std::atomic<index_t> wrong{0};
    parallel_for(index_t{1} << 32, step, [&](index_t begin, index_t end) {
      wrong +=
          wrong_codes<Code>(static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end), 1);
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE_TEMPLATE("bulk conversions of every length and offset stay inside", Code, float16,
                   bfloat16) {
  for (index_t n = 0; n <= 40; ++n) {
    for (std::size_t offset = 0; offset < 3; ++offset) {
      const std::size_t count = static_cast<std::size_t>(n) + offset;
      std::vector<float> x(count), wide(count + 1, -1);
      std::vector<Code> codes(count + 1, Code(-1));
      for (std::size_t i = 0; i < count; ++i) x[i] = 0.3f * static_cast<float>(i);
      simd::convert(x.data() + offset, codes.data() + offset, n);
      simd::convert(codes.data() + offset, wide.data() + offset, n);
      int wrong = codes[count].bits != Code(-1).bits || wide[count] != -1;
      for (std::size_t i = offset; i < count; ++i) {
        wrong += codes[i].bits != Code(x[i]).bits;
        wrong += wide[i] != static_cast<float>(Code(x[i]));
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE_TEMPLATE("floats become integers by truncation, saturate, and NaN becomes 0", T, float,
                   double) {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  using simd::convert_to;
  CHECK(convert_to<std::int8_t>(T(-3.9)) == -3);
  CHECK(convert_to<std::int8_t>(T(127.9)) == 127);
  CHECK(convert_to<std::int8_t>(T(128)) == 127);
  CHECK(convert_to<std::int8_t>(T(-1e9)) == -128);
  CHECK(convert_to<std::uint8_t>(T(-0.9)) == 0);
  CHECK(convert_to<std::uint8_t>(T(-7)) == 0);
  CHECK(convert_to<std::uint8_t>(T(255.5)) == 255);
  CHECK(convert_to<std::int32_t>(T(2147483648.0)) == INT32_MAX);
  CHECK(convert_to<std::int32_t>(-inf) == INT32_MIN);
  CHECK(convert_to<std::int64_t>(T(9.3e18)) == INT64_MAX);
  CHECK(convert_to<std::int64_t>(T(0x1p63)) == INT64_MAX);
  CHECK(convert_to<std::int64_t>(T(-0x1p63)) == INT64_MIN);
  CHECK(convert_to<std::int64_t>(T(0x1p62)) == std::int64_t{1} << 62);
  CHECK(convert_to<std::int64_t>(inf) == INT64_MAX);
  CHECK(convert_to<std::int32_t>(nan) == 0);
  CHECK(convert_to<std::uint8_t>(nan) == 0);
  CHECK(convert_to<bool>(nan));
  CHECK(convert_to<bool>(T(1e-30)));
  CHECK_FALSE(convert_to<bool>(T(-0.0)));
}

TEST_CASE("other conversions") {
  using simd::convert_to;
  CHECK(convert_to<std::uint8_t>(std::int32_t{-1}) == 255);
  CHECK(convert_to<float>(std::int64_t{1} << 40) == 0x1p40f);
  CHECK(convert_to<std::int32_t>(float16(-2.75f)) == -2);
  CHECK(convert_to<bfloat16>(float16(1.5f)).bits == bfloat16(1.5f).bits);
  CHECK(convert_to<float16>(1.0 + 0x1p-11 + 0x1p-40).bits == 0x3c01);  // rounded once
  CHECK(convert_to<float16>(true).bits == 0x3c00);
  const std::int64_t above = (std::int64_t{1} << 61) + (std::int64_t{1} << 53) + 1;
  CHECK(convert_to<bfloat16>(above).bits == bfloat16(0x1.02p61f).bits);  // a double would lose 1
  CHECK(convert_to<double>(float16::from_bits(0x0001)) == 0x1p-24);
  const double in[] = {1.5, -2.5, 1e300};
  float out[3];
  simd::convert(in, out, 3);
  CHECK(out[0] == 1.5f);
  CHECK(out[1] == -2.5f);
  CHECK(out[2] == std::numeric_limits<float>::infinity());
}

}  // namespace adze
