// SPDX-License-Identifier: MIT
// Copies between layouts: every element size, permutation and size around the tiles, equal to a
// loop; conversions in between.
#include <numeric>
#include <vector>

#include <doctest/doctest.h>

#include <adze/kernels/transpose.hpp>

namespace adze {
namespace {

// Element i of x, for all places in row-major order of `sizes`, at the strides of each side.
template <class T> void check_copy(const shape& sizes, const dims& order) {
  const dims from = dense_strides(sizes);
  dims to{};  // dense in another order of the axes
  index_t step = 1;
  for (index_t i = sizes.rank() - 1; i >= 0; --i) {
    const auto axis = static_cast<std::size_t>(order[static_cast<std::size_t>(i)]);
    to[axis] = step;
    step *= sizes[static_cast<index_t>(axis)];
  }
  std::vector<T> x(static_cast<std::size_t>(sizes.numel())), y(x.size(), T(0));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i * 7 + 1);
  kernels::copy(sizes, {y.data(), dtype_of<T>, to}, {x.data(), dtype_of<T>, from});
  index_t wrong = 0;
  for (index_t i = 0; i < sizes.numel(); ++i) {
    index_t rest = i, at = 0;
    for (index_t a = sizes.rank() - 1; a >= 0; --a) {
      at += rest % sizes[a] * to[static_cast<std::size_t>(a)];
      rest /= sizes[a];
    }
    wrong += y[static_cast<std::size_t>(at)] != x[static_cast<std::size_t>(i)];
  }
  CHECK(wrong == 0);
  std::vector<T> back(x.size(), T(0));
  kernels::copy(sizes, {back.data(), dtype_of<T>, from}, {y.data(), dtype_of<T>, to});
  CHECK(back == x);
}

}  // namespace

TEST_CASE_TEMPLATE("copies into every order of the axes", T, std::uint8_t, std::int32_t, float,
                   double, std::int64_t) {
  for (const index_t rows : {1, 3, 4, 15, 16, 17, 33, 100}) {
    for (const index_t cols : {1, 2, 5, 8, 16, 31, 64, 65, 200})
      check_copy<T>({rows, cols}, {1, 0});
  }
  for (const dims& order :
       {dims{0, 1, 2, 3}, dims{0, 2, 3, 1}, dims{3, 2, 1, 0}, dims{2, 0, 3, 1}}) {
    check_copy<T>({3, 17, 5, 20}, order);
    check_copy<T>({2, 64, 9, 8}, order);
    check_copy<T>({1, 3, 1, 40}, order);
  }
}

TEST_CASE("16-bit codes travel untouched, also signalling NaN") {
  std::vector<std::uint16_t> x(65536), y(65536);
  std::iota(x.begin(), x.end(), std::uint16_t{0});
  for (const dtype type : {f16, bf16}) {
    kernels::copy({256, 256}, {y.data(), type, {1, 256}}, {x.data(), type, {256, 1}});
    index_t wrong = 0;
    for (std::size_t i = 0; i < 65536; ++i) wrong += y[i % 256 * 256 + i / 256] != x[i];
    CHECK(wrong == 0);
  }
}

TEST_CASE("repeated, strided and converting copies") {
  const float one[] = {1, 2, 3};
  float y[6] = {};
  kernels::copy({2, 3}, {y, f32, {3, 1}}, {one, f32, {0, 1}});
  CHECK(std::vector<float>(y, y + 6) == std::vector<float>{1, 2, 3, 1, 2, 3});
  kernels::copy({2, 3}, {y, f32, {3, 1}}, {one + 2, f32, {0, 0}});
  CHECK(std::vector<float>(y, y + 6) == std::vector<float>{3, 3, 3, 3, 3, 3});
  kernels::copy({3}, {y, f32, {2}}, {one + 2, f32, {-1}});
  CHECK(std::vector<float>(y, y + 6) == std::vector<float>{3, 3, 2, 3, 1, 3});
  std::int8_t z[3] = {};
  kernels::copy({3}, {z, i8, {1}}, {y, f32, {2}});
  CHECK(std::vector<int>(z, z + 3) == std::vector<int>{3, 2, 1});
  kernels::copy({0, 3}, {y, f32, {3, 1}}, {one, f32, {3, 1}});  // nothing
  CHECK(y[0] == 3.0f);
}

}  // namespace adze
