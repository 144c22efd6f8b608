// SPDX-License-Identifier: MIT
// Windows on strides: which shapes are views, checked element by element.
#include <vector>

#include <doctest/doctest.h>

#include <adze/tensor/create.hpp>
#include <adze/tensor/index.hpp>

namespace adze {
namespace {

std::vector<index_t> elements(const tensor& x) { return x.as<index_t>().to_vector(); }

}  // namespace

TEST_CASE("view_strides: a view shows the elements in the same order, or there is none") {
  const tensor x = arange(48);
  const std::vector<tensor> sources{
      x,
      alias(x, {4, 12}, {12, 1}),
      alias(x, {4, 6}, {12, 1}),           // rows with gaps
      alias(x, {4, 6}, {12, 2}),           // every other element
      alias(x, {6, 4}, {1, 6}),            // transposed
      alias(x, {2, 3, 4}, {24, 4, 1}, 4),  // runs of runs
      alias(x, {2, 1, 12}, {12, 999, 1}),  // an axis of size 1 may have any stride
      alias(x, {3, 4}, {0, 1}),            // repeated
      alias(x, {6}, {-2}, 40),
      full({}, 3, i64),
  };
  const std::vector<std::vector<index_t>> factors{{1}, {2}, {3}, {4}, {6}, {8}, {12}, {24}, {48}};
  index_t views = 0, copies = 0;
  for (const tensor& s : sources) {
    const index_t n = s.numel();
    for (index_t a = 1; a <= n; ++a) {
      for (index_t b = 1; a * b <= n; ++b) {
        if (n % (a * b) != 0) continue;
        const shape to{a, b, n / (a * b)};
        const auto strides = detail::view_strides(s, to);
        if (!strides) {
          ++copies;
          continue;
        }
        ++views;
        CHECK(elements(alias(s, to, *strides)) == elements(s));
      }
    }
    CHECK(detail::view_strides(s, s.shape()).has_value());
  }
  CHECK(views > 150);
  CHECK(copies > 50);
  CHECK(detail::view_strides(alias(x, {4, 6}, {12, 1}), {2, 2, 3, 2}).has_value());
  CHECK_FALSE(detail::view_strides(alias(x, {4, 6}, {12, 1}), {24}).has_value());
  CHECK_FALSE(detail::view_strides(alias(x, {4, 6}, {12, 1}), {4, 2, 3}) == std::nullopt);
  CHECK(detail::view_strides(zeros({0, 3}), {3, 0}).has_value());
}

TEST_CASE("window and without_axis") {
  const tensor x = alias(arange(24), {2, 3, 4}, {12, 4, 1});
  CHECK(elements(detail::window(x, 1, 1, 2)) ==
        std::vector<index_t>{4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23});
  CHECK(elements(detail::window(detail::window(x, 0, 1, 1), 2, 3, 2, -2)) ==
        std::vector<index_t>{15, 13, 19, 17, 23, 21});
  CHECK(detail::window(x, 1, 3, 0).numel() == 0);
  CHECK(elements(detail::without_axis(detail::without_axis(x, 1, 2), 0, 1)) ==
        std::vector<index_t>{20, 21, 22, 23});
}

}  // namespace adze
