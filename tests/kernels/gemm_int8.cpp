// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/kernels/gemm_int8.hpp>
#include <adze/kernels/reference_int8.hpp>

#include "guard_page.hpp"

namespace adze::gemm_int8_test {
namespace {

using kernels::integer_finish;
using kernels::integer_layout;
using kernels::integer_weights;
using kernels::left_codes;

// Integers in memory, any strides, among bytes that belong to nobody.
template <class T> struct scattered {
  std::vector<T> memory;
  matrix<T> view;

  scattered(index_t rows, index_t cols, bool transposed, index_t gap, index_t step = 1) {
    const index_t inner = transposed ? rows : cols, outer = transposed ? cols : rows;
    memory.assign(static_cast<std::size_t>(outer * (inner * step + gap) + gap + 1), T(85));
    view = {memory.data() + gap, rows, cols, inner * step + gap, step};
    if (transposed) std::swap(view.row_stride, view.col_stride);
  }
  // Whether all memory is as it was made: after the view's elements have been set back.
  bool untouched() const {
    return std::all_of(memory.begin(), memory.end(), [](T x) { return x == T(85); });
  }
  void fill(std::mt19937& draw, int low, int high, bool extreme) {
    std::uniform_int_distribution<int> uniform(low, high);
    for (index_t i = 0; i < view.rows; ++i)
      for (index_t j = 0; j < view.cols; ++j) {
        const int x = uniform(draw);
        view(i, j) = static_cast<T>(extreme ? (x & 1 ? low : high) : x);
      }
  }
};

struct sizes {
  index_t m, n, k;
};
struct ranges {
  int a_low, a_high, b_low, b_high;
};

// Sums of one problem against the triple loop; `bits` choose strides, gaps and values.
template <class T, class W, class A>
void check_sums(sizes s, ranges r, const std::vector<integer_layout>& layouts, left_codes left,
                std::mt19937& draw) {
  const auto bits = draw();
  const bool extreme = (bits & 3) == 0, sparse = (bits & 28) == 0;
  scattered<T> a(s.m, s.k, (bits & 224) == 0, index_t(bits >> 8) % 5, sparse ? 3 : 1);
  scattered<W> b(s.k, s.n, (bits & 4096) != 0, index_t(bits >> 13) % 4, sparse ? 2 : 1);
  a.fill(draw, r.a_low, r.a_high, extreme);
  b.fill(draw, r.b_low, r.b_high, extreme);
  std::vector<std::int32_t> truth;
  for (index_t i = 0; i < s.m; ++i)
    for (index_t j = 0; j < s.n; ++j)
      truth.push_back(kernels::reference::product<T, W>(a.view, b.view, i, j));
  for (const integer_layout layout : layouts) {
    const integer_weights<A> weights(matrix<const W>(b.view), left, layout);
    scattered<std::int32_t> c(s.m, s.n, false, index_t(bits >> 16) % 4);
    kernels::gemm_int8<T, std::int32_t, A>(a.view, weights, c.view);
    const std::int32_t* t = truth.data();
    bool same = true;
    for (index_t i = 0; i < s.m; ++i)
      for (index_t j = 0; j < s.n; ++j) {
        same = same && c.view(i, j) == *t++;
        c.view(i, j) = 85;
      }
    INFO("m ", s.m, " n ", s.n, " k ", s.k, " layout ", int(layout), " bits ", bits);
    REQUIRE(same);
    REQUIRE(c.untouched());
  }
}

constexpr auto by_quads = integer_layout::quads, by_words = integer_layout::words;

template <class A> void check_kinds(sizes s, std::mt19937& draw) {
  using u8 = std::uint8_t;
  using s8 = std::int8_t;
  using s16 = std::int16_t;
  check_sums<u8, s8, A>(s, {0, 255, -64, 63}, {by_quads, by_words}, left_codes::u8, draw);
  check_sums<s8, s8, A>(s, {-128, 127, -64, 63}, {by_quads, by_words}, left_codes::s8, draw);
  check_sums<u8, s8, A>(s, {0, 127, -128, 127}, {by_quads, by_words}, left_codes::u7, draw);
  check_sums<u8, s8, A>(s, {0, 255, -128, 127}, {by_words}, left_codes::u8, draw);
  check_sums<s8, s8, A>(s, {-128, 127, -128, 127}, {by_words}, left_codes::s8, draw);
  check_sums<s16, s16, A>(s, {-32768, 32767, -32768, 32767}, {by_words}, left_codes::s16, draw);
  if (simd::integers<A>::bytes_exact) {
    check_sums<u8, s8, A>(s, {0, 255, -128, 127}, {by_quads}, left_codes::u8, draw);
    check_sums<s8, s8, A>(s, {-128, 127, -128, 127}, {by_quads}, left_codes::s8, draw);
  }
}

TEST_CASE("gemm_int8: random small shapes, kinds, layouts and strides equal the triple loop") {
  std::mt19937 draw(3);
  const auto size = [&](index_t most) { return index_t(draw()) % most + 1; };
  for (int i = 0; i < 400; ++i) {
    check_kinds<simd::native>({size(40), size(40), size(40)}, draw);
    if (i % 4 == 0) check_kinds<simd::odd>({size(20), size(20), size(30)}, draw);
    if (i % 4 == 1) check_kinds<simd::scalar>({size(20), size(20), size(30)}, draw);
  }
  for (index_t n = 1; n <= 40; ++n) {  // every size of each
    check_kinds<simd::native>({n, 17, 21}, draw);
    check_kinds<simd::native>({7, n, 9}, draw);
    check_kinds<simd::native>({3, 5, n}, draw);
  }
}

TEST_CASE("gemm_int8: sizes around the blocks of depth and columns") {
  std::mt19937 draw(4);
  for (const sizes s : {sizes{1, 1024, 1024},
                        {16, 530, 300},
                        {13, 100, 2049},
                        {40, 1, 5000},
                        {5, 520, 1023},
                        {6, 33, 4100},
                        {67, 16, 2048},
                        {2, 16, 2047}})
    check_kinds<simd::native>(s, draw);
}

TEST_CASE("gemm_int8: nothing is read behind the left operand") {
  std::mt19937 draw(5);
  for (const index_t m : {1, 3, 8, 16, 17, 32, 33, 50})
    for (const index_t k : {1, 63, 64, 65, 100, 255, 256, 1030})
      for (const index_t n : {1, 16, 33}) {
        std::vector<std::uint8_t> a(static_cast<std::size_t>(m * k));
        std::vector<std::int8_t> b(static_cast<std::size_t>(k * n));
        for (std::uint8_t& x : a) x = static_cast<std::uint8_t>(draw());
        for (std::int8_t& x : b) x = static_cast<std::int8_t>(draw());
        const guarded_memory left(a.data(), a.size());
        const matrix<const std::uint8_t> view{static_cast<const std::uint8_t*>(left.data()), m, k,
                                              k, 1};
        const matrix<const std::int8_t> right{b.data(), k, n, n, 1};
        std::vector<std::int32_t> c(static_cast<std::size_t>(m * n));
        kernels::gemm_int8<std::uint8_t>(view, integer_weights<>(right),
                                         matrix<std::int32_t>{c.data(), m, n, n, 1});
        INFO(m, " x ", n, " x ", k);
        bool same = true;
        for (index_t i = 0; i < m; ++i)
          for (index_t j = 0; j < n; ++j)
            same = same &&
                   c[static_cast<std::size_t>(i * n + j)] ==
                       kernels::reference::product<std::uint8_t, std::int8_t>(view, right, i, j);
        CHECK(same);
      }
}

TEST_CASE("gemm_int8: what is no number becomes the lowest code, whatever finishes it") {
  std::vector<std::uint8_t> a(std::size_t(40 * 64), 3);
  std::vector<std::int8_t> b(std::size_t(64 * 70), 2);
  for (const index_t m : {1, 2, 12, 13, 40})
    for (const index_t n : {1, 16, 32, 70})
      for (const bool per_row : {false, true}) {
        const std::vector<float> scales(std::size_t(n), std::numeric_limits<float>::quiet_NaN());
        const std::vector<kernels::affine> left(std::size_t(m), {1, 0});
        std::vector<std::uint8_t> c(std::size_t(m * n));
        const integer_weights<> w(matrix<const std::int8_t>{b.data(), 64, n, n, 1});
        kernels::gemm_int8<std::uint8_t>(matrix<const std::uint8_t>{a.data(), m, 64, 64, 1}, w,
                                         matrix<std::uint8_t>{c.data(), m, n, n, 1},
                                         {.left = {left.data(), per_row},
                                          .column_scales = scales.data(),
                                          .zero = 20,
                                          .codes = {7, 250}});
        INFO(m, " x ", n, ", per row ", per_row);
        CHECK(std::all_of(c.begin(), c.end(), [](std::uint8_t x) { return x == 7; }));
      }
}

TEST_CASE("gemm_int8: nothing to add, nothing to write") {
  std::mt19937 draw(4);
  for (const sizes s : {sizes{3, 20, 0}, {0, 20, 7}, {3, 0, 7}, {0, 0, 0}})
    check_kinds<simd::native>(s, draw);
}

TEST_CASE("gemm_int8: sums that fit in s32 are exact at any depth, others wrap") {
  const index_t k = 70000;
  const auto sum = [&](int x, int y, integer_layout layout) {
    std::vector<std::uint8_t> a(static_cast<std::size_t>(k), static_cast<std::uint8_t>(x));
    std::vector<std::int8_t> b(static_cast<std::size_t>(k), static_cast<std::int8_t>(y));
    const integer_weights<> w(matrix<const std::int8_t>{b.data(), k, 1, 1, 1}, left_codes::u8,
                              layout);
    std::int32_t c = 0;
    kernels::gemm_int8(dense_matrix<const std::uint8_t>(a.data(), 1, k), w, dense_matrix(&c, 1, 1));
    return std::int64_t(c);
  };
  for (const auto layout : {by_quads, by_words}) {
    CHECK(sum(255, -64, layout) == -64 * 255 * k);
    CHECK(sum(255, 63, layout) == 63 * 255 * k);
  }
  CHECK(sum(255, -128, by_words) == -128 * 255 * k + (std::int64_t(1) << 32));  // below -2^31
  CHECK(255 * 64 * std::int64_t(131586) < (std::int64_t(1) << 31));             // the stated limits
  CHECK(255 * 64 * std::int64_t(131587) >= (std::int64_t(1) << 31));
  CHECK(255 * 128 * std::int64_t(65793) < (std::int64_t(1) << 31));
  CHECK(255 * 128 * std::int64_t(65794) >= (std::int64_t(1) << 31));
}

TEST_CASE("gemm_int8: products of the smallest words and a sum of two of them") {
  std::vector<std::int16_t> a(2, -32768), b(2, -32768);
  const integer_weights<> w(matrix<const std::int16_t>{b.data(), 2, 1, 1, 1});
  std::int32_t c = 0;
  kernels::gemm_int8(dense_matrix<const std::int16_t>(a.data(), 1, 2), w, dense_matrix(&c, 1, 1));
  CHECK(c == std::numeric_limits<std::int32_t>::min());  // 2^31 wraps
}

// Zero points, bias, scales, activation, and every kind of result.
template <class T, class A> void check_finish(sizes s, std::mt19937& draw) {
  const auto bits = draw();
  const bool signed_left = std::is_signed_v<T>;
  scattered<T> a(s.m, s.k, false, 1);
  scattered<std::int8_t> b(s.k, s.n, true, 2);
  a.fill(draw, signed_left ? -128 : 0, signed_left ? 127 : 255, false);
  b.fill(draw, -64, 63, false);
  const integer_weights<A> w(matrix<const std::int8_t>(b.view),
                             signed_left ? left_codes::s8 : left_codes::u8);
  std::uniform_real_distribution<float> uniform(0.001f, 0.01f);
  std::vector<kernels::affine> left;
  for (index_t i = 0; i < s.m; ++i)
    left.push_back({uniform(draw), static_cast<int>(draw() % 256) - (signed_left ? 128 : 0)});
  std::vector<std::int32_t> bias;
  std::vector<float> scales, real_bias;
  for (index_t j = 0; j < s.n; ++j) {
    bias.push_back(static_cast<int>(draw() % 20001) - 10000);
    scales.push_back(uniform(draw));
    real_bias.push_back(100 * (uniform(draw) - 0.005f));
  }
  integer_finish f{.zero = 3, .codes = kernels::codes_s8};
  if (bits & 1) f.left = {left.data(), (bits & 2) != 0};
  if (bits & 4) f.bias = bias.data();
  if (bits & 8) f.column_scales = scales.data();
  if (bits & 16) f.real_bias = real_bias.data();
  if (bits & 32) f.activate = kernels::activation::relu;
  scattered<float> real(s.m, s.n, false, 3);
  scattered<std::int8_t> codes(s.m, s.n, false, 3);
  scattered<std::uint8_t> bytes(s.m, s.n, false, 1);
  scattered<std::int32_t> sums(s.m, s.n, false, 2);
  kernels::gemm_int8<T, float, A>(a.view, w, real.view, f);
  kernels::gemm_int8<T, std::int8_t, A>(a.view, w, codes.view, f);
  kernels::gemm_int8<T, std::int32_t, A>(a.view, w, sums.view, f);
  integer_finish g = f;
  g.zero = 100, g.codes = kernels::codes_u8;
  kernels::gemm_int8<T, std::uint8_t, A>(a.view, w, bytes.view, g);
  for (index_t i = 0; i < s.m; ++i)
    for (index_t j = 0; j < s.n; ++j) {
      const auto c = static_cast<std::size_t>(j);
      const kernels::affine l = f.left.each ? f.left(i) : kernels::affine{};
      const std::int32_t t =
          kernels::reference::product<T, std::int8_t>(a.view, b.view, i, j, l.zero) +
          (f.bias ? bias[c] : 0);
      const float scale = f.column_scales ? l.scale * scales[c] : l.scale;
      const float product = static_cast<float>(t) * scale;
      const bool relu = f.activate == kernels::activation::relu;
      double y = double(static_cast<float>(t)) * double(scale);
      if (f.real_bias) y += double(real_bias[c]);
      if (relu) y = std::max(y, 0.0);
      REQUIRE(sums.view(i, j) == t);
      REQUIRE(std::fabs(double(real.view(i, j)) - y) <=
              2e-7 * (std::fabs(double(product)) + std::fabs(double(real_bias[c]))));
      const auto code = [&](const integer_finish& o) {
        const double q = std::nearbyint(double(product)) + o.zero;
        return std::clamp<double>(q, relu ? std::max(o.codes.low, o.zero) : o.codes.low,
                                  o.codes.high);
      };
      REQUIRE(double(codes.view(i, j)) == code(f));
      REQUIRE(double(bytes.view(i, j)) == code(g));
      real.view(i, j) = 85, codes.view(i, j) = 85, bytes.view(i, j) = 85;
    }
  REQUIRE((real.untouched() && codes.untouched() && bytes.untouched()));
}

TEST_CASE("gemm_int8: zero points, bias, scales, relu; floats and codes as results") {
  std::mt19937 draw(9);
  const auto size = [&](index_t most) { return index_t(draw()) % most + 1; };
  for (int i = 0; i < 300; ++i) {
    check_finish<std::uint8_t, simd::native>({size(15), size(80), size(40)}, draw);
    check_finish<std::int8_t, simd::native>({size(15), size(80), size(40)}, draw);
    if (i % 5 == 0) check_finish<std::uint8_t, simd::odd>({size(9), size(30), size(20)}, draw);
    if (i % 5 == 1) check_finish<std::int8_t, simd::scalar>({size(9), size(30), size(20)}, draw);
  }
}

TEST_CASE("gemm_int8: the same for any number of threads") {
  std::mt19937 draw(10);
  for (const sizes s : {sizes{3, 1700, 2100}, {200, 300, 400}, {515, 16, 1100}}) {
    for (const int n : {1, 2, 5}) {
      set_threads(n);
      std::mt19937 again = draw;
      check_sums<std::uint8_t, std::int8_t, simd::native>(
          s, {0, 255, -64, 63}, {by_quads, by_words}, left_codes::u8, again);
    }
  }
  set_threads(1);
}

TEST_CASE("integer_weights: the layout is the fastest exact one") {
  std::vector<std::int8_t> seven{-64, 63, 0, 1}, eight{-65, 1, 0, 1}, above{0, 0, 64, 1};
  const auto layout = [](const std::vector<std::int8_t>& b, left_codes left) {
    return integer_weights<>(dense_matrix(b.data(), 2, 2), left).layout();
  };
  const bool all = simd::integers<>::bytes_exact;
  CHECK(layout(seven, left_codes::u8) == by_quads);
  CHECK(layout(seven, left_codes::s8) == by_quads);
  CHECK(layout(seven, left_codes::s16) == by_words);
  CHECK(layout(eight, left_codes::u7) == by_quads);
  CHECK(layout(eight, left_codes::u8) == (all ? by_quads : by_words));
  CHECK(layout(above, left_codes::s8) == (all ? by_quads : by_words));
  const integer_weights<> sums(dense_matrix<const std::int8_t>(eight.data(), 2, 2));
  CHECK(sums.column_sums()[0] == -65);
  CHECK(sums.column_sums()[1] == 2);
}

TEST_CASE("gemm_int8 refuses operands that do not belong together") {
  const std::vector<std::int8_t> b(6, 1);
  const integer_weights<> w(dense_matrix(b.data(), 3, 2));
  const std::vector<std::uint8_t> a(8, 1);
  std::vector<std::int32_t> c(4);
  CHECK_THROWS_WITH_AS(
      kernels::gemm_int8(dense_matrix(a.data(), 2, 4), w, dense_matrix(c.data(), 2, 2)),
      "gemm_int8: sizes differ; a [2,4], b [3,2], c [2,2]", shape_error);
  CHECK_THROWS_AS(kernels::gemm_int8(dense_matrix(b.data(), 2, 3), w, dense_matrix(c.data(), 2, 2)),
                  value_error);
  const std::vector<std::int16_t> wide(6, 300);
  CHECK_THROWS_AS(
      kernels::gemm_int8(dense_matrix(wide.data(), 2, 3), w, dense_matrix(c.data(), 2, 2)),
      value_error);
  CHECK_THROWS_AS(integer_weights<>(dense_matrix(wide.data(), 3, 2), left_codes::u8, by_quads),
                  value_error);
}

}  // namespace
}  // namespace adze::gemm_int8_test
