// SPDX-License-Identifier: MIT
// Convolutions of codes equal the definition bit for bit. Images end with their memory, so that the
// sanitizers see a read too many; results lie among bytes that belong to nobody.
#include <algorithm>
#include <cmath>
#include <random>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/kernels/conv_int8.hpp>
#include <adze/kernels/reference_int8.hpp>

#include "guard_page.hpp"

namespace adze {
namespace {

using kernels::conv_shape;

// An image of codes, which are all there are or 0 to `most`, whose pixels may lie `gap` codes
// apart, and weights. Some scales are so large that results do not fit in 32 bits.
template <class Code> struct conv_problem {
  conv_shape s;
  index_t gap = 0;
  std::vector<Code> x{};
  std::vector<std::int8_t> w{};
  std::vector<std::int32_t> bias{};
  std::vector<float> scales{};
  std::int32_t zero = 0;

  conv_problem(const conv_shape& sizes, index_t gap_, int most, std::mt19937& draw)
      : s(sizes), gap(gap_) {
    const bool extreme = draw() % 4 == 0;
    constexpr int low = std::is_signed_v<Code> ? -128 : 0;
    const auto code = [&](int least, int last) {
      const int any = least + int(draw() % unsigned(last - least + 1));
      return extreme ? (any & 1 ? least : last) : any;
    };
    const index_t pixels = s.n * s.h * s.w;
    x.resize(static_cast<std::size_t>((pixels - 1) * (s.c + gap) + s.c));
    for (Code& q : x) q = static_cast<Code>(code(low, most));
    w.resize(static_cast<std::size_t>(s.o * (s.c / s.groups) * s.kh * s.kw));
    for (std::int8_t& q : w) q = static_cast<std::int8_t>(code(-128, 127));
    for (index_t o = 0; o < s.o; ++o) {
      bias.push_back(int(draw() % 4001) - 2000);
      scales.push_back(float(1 + draw() % 1000) * (draw() % 8 == 0 ? 1e5f : 1e-5f));
    }
    zero = draw() % 3 == 0 ? low : code(low, most);  // at `low` padding counts nothing
  }
  kernels::image<const Code> image() const {
    const index_t step = s.c + gap;
    return {x.data(), s.h * s.w * step, 1, s.w * step, step};
  }
  std::vector<std::int32_t> sums() const {
    std::vector<std::int32_t> all;
    for (index_t n = 0; n < s.n; ++n)
      for (index_t i = 0; i < s.out_h(); ++i)
        for (index_t j = 0; j < s.out_w(); ++j)
          for (index_t o = 0; o < s.o; ++o)
            all.push_back(
                kernels::reference::convolution<Code>(s, image(), w.data(), zero, n, o, i, j));
    return all;
  }
};

// Whether the results are right, nothing beside them was written, and nothing behind the image
// read.
template <class Code, class Out, class A>
bool gives(const conv_problem<Code>& p, const kernels::conv_int8_weights<A>& w,
           const std::vector<std::int32_t>& sums, bool relu) {
  constexpr std::size_t guard = 64;
  const Out nobody = Out(85);
  std::vector<Out> y(sums.size() + 2 * guard, nobody);
  const kernels::affine left{0.5f, p.zero};
  kernels::integer_finish f{.left = {&left, false},
                            .bias = p.bias.data(),
                            .column_scales = p.scales.data(),
                            .activate =
                                relu ? kernels::activation::relu : kernels::activation::none,
                            .inverse = 7.0f};
  f.codes = std::is_signed_v<Out> ? kernels::codes_s8 : kernels::codes_u8;
  f.zero = std::is_signed_v<Out> ? -9 : 100;
  const guarded_memory memory(p.x.data(), p.x.size());
  kernels::image<const Code> x = p.image();
  x.data = static_cast<const Code*>(memory.data());
  kernels::conv_int8<Code, Out, A>(p.s, x, w, y.data() + guard, f);
  bool right = true;
  for (std::size_t i = 0; i < guard; ++i)
    right = right && y[i] == nobody && y[y.size() - 1 - i] == nobody;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const std::size_t o = i % p.scales.size();
    const auto t = static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[i]) +
                                             static_cast<std::uint32_t>(p.bias[o]));
    const float scale = left.scale * p.scales[o], real = static_cast<float>(t) * scale;
    const Out got = y[guard + i];
    if constexpr (std::is_same_v<Out, std::int32_t>) {
      right = right && got == t;
    } else if constexpr (std::is_same_v<Out, float>) {
      right = right && got == (relu ? std::max(real, 0.0f) : real);
    } else {
      const int low = relu ? std::max(f.zero, f.codes.low) : f.codes.low;
      const double code = static_cast<double>(std::nearbyint(real * f.inverse)) + f.zero;
      right = right && got == std::clamp<double>(code, low, f.codes.high);
    }
  }
  return right;
}

template <class Code>
constexpr auto all_codes =
    std::is_signed_v<Code> ? kernels::left_codes::s8 : kernels::left_codes::u8;

template <class Code, class A>
void check(const conv_shape& s, std::mt19937& draw, kernels::left_codes left = all_codes<Code>) {
  const int most = std::is_signed_v<Code> || left == kernels::left_codes::u7 ? 127 : 255;
  const conv_problem<Code> p(s, draw() % 4 == 0 ? index_t(draw() % 5) : 0, most, draw);
  const auto sums = p.sums();
  const kernels::conv_int8_weights<A> w(s, p.w.data(), left);
  INFO("n ", s.n, " c ", s.c, " h ", s.h, " w ", s.w, " o ", s.o, " kernel ", s.kh, " x ", s.kw,
       " stride ", s.stride_h, " ", s.stride_w, " pad ", s.pad_h, " ", s.pad_w, " dilation ",
       s.dil_h, " ", s.dil_w, " groups ", s.groups, " gap ", p.gap, " signed ",
       std::is_signed_v<Code>, " most ", most);
  const bool relu = draw() % 2 == 0;
  REQUIRE(gives<Code, std::int32_t, A>(p, w, sums, false));
  REQUIRE(gives<Code, float, A>(p, w, sums, relu));
  REQUIRE(gives<Code, std::uint8_t, A>(p, w, sums, relu));
  REQUIRE(gives<Code, std::int8_t, A>(p, w, sums, relu));
}

// Sizes up to `most` channels in and out of each group; kernels that fit.
conv_shape random_shape(std::mt19937& draw, index_t groups, index_t most) {
  const auto up_to = [&](index_t n) { return index_t(draw()) % n + 1; };
  conv_shape s{.n = up_to(3),
               .c = groups * up_to(most),
               .h = up_to(9),
               .w = draw() % 8 == 0 ? 40 + up_to(40) : up_to(9),
               .o = groups * up_to(most),
               .kh = up_to(5),
               .kw = up_to(5),
               .stride_h = up_to(3),
               .stride_w = up_to(3),
               .pad_h = index_t(draw() % 4),
               .pad_w = index_t(draw() % 4),
               .dil_h = up_to(2),
               .dil_w = up_to(2),
               .groups = groups};
  if (draw() % 2 == 0) s.kh = s.kw = 3, s.dil_h = s.dil_w = 1;
  if (draw() % 4 == 0) s.kh = s.kw = 1, s.pad_h = s.pad_w = 0;
  s.h = std::max(s.h, s.dil_h * (s.kh - 1) + 1 - 2 * s.pad_h);
  s.w = std::max(s.w, s.dil_w * (s.kw - 1) + 1 - 2 * s.pad_w);
  return s;
}

template <class A> void check_kinds(const conv_shape& s, std::mt19937& draw) {
  check<std::uint8_t, A>(s, draw);
  check<std::uint8_t, A>(s, draw, kernels::left_codes::u7);
  check<std::int8_t, A>(s, draw);
}

TEST_CASE("conv_int8: random shapes, strides, dilations, groups and padding equal the definition") {
  std::mt19937 draw(5);
  for (int i = 0; i < 150; ++i) {
    check_kinds<simd::native>(random_shape(draw, 1, 40), draw);
    check_kinds<simd::native>(random_shape(draw, index_t(draw() % 4) + 1, 9), draw);
    if (i % 3 == 0) check_kinds<simd::odd>(random_shape(draw, index_t(draw() % 2) + 1, 9), draw);
  }
}

TEST_CASE("conv_int8: depthwise, all numbers of channels around the block, kernels of every kind") {
  std::mt19937 draw(6);
  for (index_t c = 2; c <= 70; ++c) {
    for (int i = 0; i < 4; ++i) {
      conv_shape s = random_shape(draw, c, 1);
      check_kinds<simd::native>(s, draw);
      if (i == 0) check_kinds<simd::odd>(s, draw);
    }
  }
  for (const index_t c : {511, 512, 513, 520, 1030})
    check_kinds<simd::native>(
        {.c = c, .h = 4, .w = 5, .o = c, .kh = 3, .kw = 3, .pad_h = 1, .pad_w = 1, .groups = c},
        draw);
}

TEST_CASE("conv_int8: weights packed for other left codes are refused, the result left as it was") {
  const conv_shape dense{.n = 1, .c = 4, .h = 3, .w = 3, .o = 4, .kh = 3, .kw = 3};
  conv_shape depthwise = dense;
  depthwise.groups = 4;
  const std::vector<std::int8_t> codes(4 * 4 * 9, 1);
  const auto refuses = [&](const conv_shape& s) {
    const kernels::conv_int8_weights<> w(s, codes.data(), kernels::left_codes::u7);
    std::vector<std::int32_t> y(4, 7);
    const kernels::image<const std::int8_t> x{codes.data(), 36, 1, 12, 4};
    CHECK_THROWS_AS((kernels::conv_int8<std::int8_t>(s, x, w, y.data(), {})), value_error);
    CHECK(y == std::vector<std::int32_t>(4, 7));
  };
  refuses(dense);
  if (simd::seven_bit_quads<simd::native>) refuses(depthwise);  // elsewhere one form takes all
}

TEST_CASE("join_channels: every code of any layout at its place") {
  std::mt19937 draw(8);
  for (const index_t c : {1, 2, 3, 4, 5, 70}) {
    const conv_shape s{.n = 3, .c = c, .h = 5, .w = 17};
    const index_t size = s.n * s.c * s.h * s.w;
    std::vector<std::uint8_t> planes(static_cast<std::size_t>(size)), pixels(planes.size() + 1, 85);
    for (std::uint8_t& q : planes) q = static_cast<std::uint8_t>(draw());
    const kernels::image<const std::uint8_t> x =
        kernels::plain_image<const std::uint8_t>(planes.data(), c, s.h, s.w);
    kernels::join_channels(s, x, pixels.data());
    bool right = pixels.back() == 85;
    const std::uint8_t* got = pixels.data();
    for (index_t n = 0; n < s.n; ++n)
      for (index_t y = 0; y < s.h; ++y)
        for (index_t column = 0; column < s.w; ++column)
          for (index_t k = 0; k < c; ++k)
            right = right && *got++ == x.at(n, y, column)[k * x.c_stride];
    CHECK(right);
  }
}

TEST_CASE("conv_int8: the same for any number of threads") {
  std::mt19937 draw(7);
  const int before = threads();
  for (const int n : {1, 2, 3, 7}) {
    set_threads(n);
    check<std::uint8_t, simd::native>({.n = 3,
                                       .c = 96,
                                       .h = 41,
                                       .w = 40,
                                       .o = 96,
                                       .kh = 3,
                                       .kw = 3,
                                       .pad_h = 1,
                                       .pad_w = 1,
                                       .groups = 96},
                                      draw);
    check<std::uint8_t, simd::native>(
        {.n = 2, .c = 24, .h = 30, .w = 31, .o = 40, .kh = 3, .kw = 3, .pad_h = 1, .pad_w = 1},
        draw);
    check<std::int8_t, simd::native>({.n = 2, .c = 66, .h = 30, .w = 31, .o = 70}, draw);
    // Without padding: in place, parts begin inside of an image.
    check<std::uint8_t, simd::native>(
        {.c = 32, .h = 61, .w = 24, .o = 64, .kh = 3, .kw = 3, .stride_h = 2}, draw);
  }
  set_threads(before);
}

}  // namespace
}  // namespace adze
