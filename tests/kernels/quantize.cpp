// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/kernels/quantize.hpp>
#include <adze/kernels/reference_int8.hpp>

namespace adze {
namespace {

using kernels::affine;
using kernels::code_range;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

template <class Code> std::vector<int> codes_of(std::vector<float> x, affine a, code_range r) {
  std::vector<Code> out(x.size());
  kernels::quantize_row<Code>(x.data(), out.data(), static_cast<index_t>(x.size()), a, r);
  return {out.begin(), out.end()};
}

TEST_CASE("quantize: half to even before the zero point; the reciprocal is multiplied") {
  CHECK(codes_of<std::uint8_t>({0.5f, 1.5f, 2.5f, -0.5f, -1.5f}, {1, 1}, kernels::codes_u8) ==
        std::vector<int>{1, 3, 3, 1, 0});
  CHECK(codes_of<std::uint8_t>({0.273939937f}, {0.00214854861f, 0}, kernels::codes_u8) ==
        std::vector<int>{128});  // 127 by division
}

TEST_CASE("quantize: infinities and large values saturate, NaN is the zero point") {
  const std::vector<float> x{infinity, -infinity, nan, 1e30f, -1e30f, 0.0f};
  CHECK(codes_of<std::uint8_t>(x, {0.5f, 7}, kernels::codes_u8) ==
        std::vector<int>{255, 0, 7, 255, 0, 7});
  CHECK(codes_of<std::int8_t>(x, {0.5f, -3}, kernels::codes_s8) ==
        std::vector<int>{127, -128, -3, 127, -128, -3});
  CHECK(codes_of<std::uint8_t>(x, {0.5f, 7}, kernels::codes_u7) ==
        std::vector<int>{127, 0, 7, 127, 0, 7});
  CHECK(codes_of<std::int8_t>(x, {0.5f, 0}, kernels::codes_s7) ==
        std::vector<int>{63, -64, 0, 63, -64, 0});
}

// Random rows at odd distances, and all their neighbours in memory.
template <class Code, class A> void check_rows(code_range range) {
  std::mt19937 draw(5);
  std::uniform_real_distribution<float> uniform(-3, 3);
  for (index_t n = 0; n <= 70; ++n) {
    const index_t rows = 1 + n % 3, gap = n % 5;
    std::vector<float> x(static_cast<std::size_t>(rows * (n + gap) + 1)), back(x.size(), -77.0f);
    for (float& v : x) v = draw() % 9 == 0 ? std::round(uniform(draw)) * 0.05f : uniform(draw);
    std::vector<Code> out(x.size() + 3, Code(99));
    std::vector<affine> each;
    for (index_t i = 0; i < rows; ++i)
      each.push_back({0.01f + 0.005f * static_cast<float>(draw() % 8),
                      range.low + static_cast<int>(draw() % 100)});
    const matrix<const float> from{x.data() + 1, rows, n, n + gap, 1};
    const matrix<Code> to{out.data() + 3, rows, n, n + gap, 1};
    const matrix<float> again{back.data() + 1, rows, n, n + gap, 1};
    const kernels::row_codes a{each.data(), n % 2 == 0};
    kernels::quantize<Code, A>(from, to, a, range);
    kernels::dequantize<Code, A>(to, again, a);
    std::size_t untouched = 0, floats = 0;
    for (Code c : out) untouched += c == Code(99);
    for (float v : back) floats += v != -77.0f;
    CHECK(untouched >= out.size() - static_cast<std::size_t>(rows * n));
    CHECK(floats == static_cast<std::size_t>(rows * n));
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < n; ++j) {
        const Code expected = kernels::reference::quantize<Code>(from(i, j), a(i), range);
        REQUIRE(to(i, j) == expected);
        REQUIRE(again(i, j) == kernels::reference::dequantize(expected, a(i)));
      }
  }
}

TEST_CASE("quantize and dequantize equal the slow twin, and touch nothing else") {
  check_rows<std::uint8_t, simd::native>(kernels::codes_u8);
  check_rows<std::int8_t, simd::native>(kernels::codes_s8);
  check_rows<std::int8_t, simd::native>(kernels::codes_s7);
  check_rows<std::uint8_t, simd::scalar>(kernels::codes_u7);
  check_rows<std::int8_t, simd::scalar>(kernels::codes_s8);
}

TEST_CASE("extent: the smallest and largest of any length; NaN does not count") {
  std::mt19937 draw(6);
  std::uniform_real_distribution<float> uniform(-3, 3);
  for (index_t n = 1; n <= 100; ++n) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& v : x) v = uniform(draw);
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    const kernels::extent truth{*low, *high};
    x.insert(x.begin() + static_cast<std::ptrdiff_t>(draw() % x.size()), nan);
    const auto found = kernels::extent_of(x.data(), n + 1);
    CHECK(found.low == truth.low);
    CHECK(found.high == truth.high);
  }
  CHECK(kernels::extent_of(&nan, 1).high == 0);
  CHECK(kernels::extent_of(&nan, 0).low == 0);
}

TEST_CASE("extent: long arrays give the same on any number of threads") {
  std::vector<float> x(std::size_t(1) << 20);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  x[777777] = 5, x[3] = -9;
  for (const int n : {1, 3}) {
    set_threads(n);
    const auto found = kernels::extent_of_all(x.data(), static_cast<index_t>(x.size()));
    CHECK(found.low == -9);
    CHECK(found.high == 5);
  }
  set_threads(1);
}

TEST_CASE(
    "dynamic_affine: the range holds 0, small scales have a floor, the zero point is a code") {
  using kernels::dynamic_affine;
  const auto same = [](affine a, float scale, int zero) {
    CHECK(a.scale == scale);
    CHECK(a.zero == zero);
  };
  same(dynamic_affine({0, 0}, kernels::codes_u8), 0.1f, 0);
  same(dynamic_affine({0.2f, 1}, kernels::codes_u8), 1 / 255.0f, 0);
  same(dynamic_affine({-2, -1}, kernels::codes_u8), 2 / 255.0f, 255);
  same(dynamic_affine({-1, 1}, kernels::codes_u8), 2 / 255.0f, 127);  // the scale is rounded up
  same(dynamic_affine({-1, 1}, kernels::codes_u7), 2 / 127.0f, 64);
  same(dynamic_affine({0, 1e-6f}, kernels::codes_u8), 6.1e-5f, 0);
  same(dynamic_affine({-1e-6f, 0}, kernels::codes_u8), 6.1e-5f, 255);
  CHECK(std::isinf(dynamic_affine({-infinity, 1}, kernels::codes_u8).scale));
  // Zero is a code of its own: real zeros stay exact.
  std::mt19937 draw(8);
  std::uniform_real_distribution<float> uniform(-4, 4);
  for (int i = 0; i < 1000; ++i) {
    const float x = uniform(draw), y = uniform(draw);
    const affine a = dynamic_affine({std::min(x, y), std::max(x, y)}, kernels::codes_u8);
    CHECK((a.zero >= 0 && a.zero <= 255));
    CHECK(codes_of<std::uint8_t>({0.0f}, a, kernels::codes_u8)[0] == a.zero);
    const float top = std::max({x, y, 0.0f}),
                error = std::fabs(
                    kernels::reference::dequantize(
                        kernels::reference::quantize<std::uint8_t>(top, a, kernels::codes_u8), a) -
                    top);
    CHECK(error <= a.scale * 1.001f);
  }
  CHECK(kernels::symmetric_affine({-1, 2}, 127.5f).scale == doctest::Approx(0.0156863f));
  CHECK(kernels::symmetric_affine({0, 0}, 63).scale == std::numeric_limits<float>::epsilon());
}

}  // namespace
}  // namespace adze
