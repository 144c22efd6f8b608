// SPDX-License-Identifier: MIT
// Order along axes against std::stable_sort: ties, NaN, layouts, dtypes, gradients at the places.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <doctest/doctest.h>

#include <adze/ops/reduce.hpp>
#include <adze/ops/sort.hpp>

#include "checks.hpp"

namespace adze::sort_test {
namespace {

using namespace test;
using values_of = std::vector<double>;

const double nan = std::nan("");

bool same(const tensor& a, const tensor& b) { return distance(a, b) == 0.0; }

// Places of a row in order, NaN as the largest.
std::vector<index_t> naive(const values_of& x, bool descending) {
  std::vector<index_t> at(x.size());
  std::iota(at.begin(), at.end(), index_t{0});
  const auto key = [&](index_t i) {
    const double v = x[static_cast<std::size_t>(i)];
    return std::isnan(v) ? HUGE_VAL : v;
  };
  std::stable_sort(at.begin(), at.end(), [&](index_t a, index_t b) {
    return descending ? key(a) > key(b) : key(a) < key(b);
  });
  return at;
}

}  // namespace

TEST_CASE("sort, topk, max and min agree with a stable sort, for every axis and layout") {
  generator g(5);
  tensor x = cast(randint(0, 6, {4, 5, 9}, g), f32);  // many ties
  for (const index_t i : {3, 40, 41, 100}) x.data_as<float>()[i] = static_cast<float>(nan);
  for (const tensor& v : {x, transpose(x, 0, 2), channels_last(reshape(x, {4, 5, 9, 1}))}) {
    for (index_t axis = 0; axis < v.rank(); ++axis) {
      const index_t n = v.size(axis), k = (n + 1) / 2;
      for (const bool descending : {false, true}) {
        const auto all_sorted = sort(v, axis, descending);
        const auto few = topk(v, k, axis, descending);
        CHECK(same(gather(v, axis, all_sorted[1]), all_sorted[0]));
        CHECK(same(slice(all_sorted[1], axis, {0, k}), few[1]));
        CHECK(same(slice(all_sorted[0], axis, {0, k}), few[0]));
        const tensor rows = contiguous(transpose(v, axis, -1));
        const tensor places = contiguous(transpose(all_sorted[1], axis, -1));
        index_t wrong = 0;
        for (index_t r = 0; r < v.numel() / n; ++r) {
          values_of row;
          for (index_t i = 0; i < n; ++i) row.push_back(rows.data_as<float>()[r * n + i]);
          const auto expected = naive(row, descending);
          for (index_t i = 0; i < n; ++i) {
            wrong += places.data_as<index_t>()[r * n + i] != expected[static_cast<std::size_t>(i)];
          }
        }
        CHECK(wrong == 0);
      }
      const auto largest = max(v, axis);
      CHECK(same(largest[1], select(topk(v, 1, axis)[1], axis, 0)));
      CHECK(same(argmax(v, axis), largest[1]));
      CHECK(same(max(v, axis, true)[0], unsqueeze(largest[0], axis)));
      CHECK(same(largest[0], amax(v, {axis})));
      CHECK(same(min(v, axis)[0], amin(v, {axis})));
      CHECK(same(argmin(v, axis, true), min(v, axis, true)[1]));
    }
  }
}

TEST_CASE("the first of equals; NaN wins in both directions, the first one") {
  const tensor x = tensor_f32{3, 1, 3, 1};
  CHECK(argmax(x).item<index_t>() == 0);
  CHECK(argmin(x).item<index_t>() == 1);
  const tensor y = tensor_f64{3, nan, 1, nan};
  CHECK(argmax(y).item<index_t>() == 1);
  CHECK(argmin(y).item<index_t>() == 1);
  CHECK(std::isnan(min(y, 0)[0].item()));
  CHECK(numbers(sort(y)[1]) == values_of{2, 0, 1, 3});
  CHECK(numbers(sort(y, 0, true)[1]) == values_of{1, 3, 0, 2});
  CHECK(std::signbit(sort(tensor_f32{0.0f, -0.0f})[0].as<float>()(1)));  // equal: order kept
}

TEST_CASE("argsort gives the places of sort, stable") {
  const tensor x = tensor_f32{{3, 1, 2, 1}, {0, 5, 5, -1}};
  CHECK(numbers(argsort(x)) == values_of{1, 3, 2, 0, 3, 0, 1, 2});
  CHECK(numbers(argsort(x, 1, true)) == values_of{0, 2, 1, 3, 1, 2, 0, 3});
  CHECK(numbers(argsort(x, 0)) == numbers(sort(x, 0)[1]));
  CHECK(argsort(x).dtype() == i64);
  CHECK_FALSE(argsort(leaf({3})).requires_grad());
}

TEST_CASE("integers, bool and 16-bit floats; i64 beyond 2^53") {
  const index_t big = index_t{1} << 53;
  CHECK(argmax(tensor_i64{big, big + 1}).item<index_t>() == 1);
  CHECK(argmin(tensor_i64{big + 1, big}).item<index_t>() == 1);
  CHECK(numbers(sort(tensor_u8{200, 3, 100})[0]) == values_of{3, 100, 200});
  CHECK(sort(tensor_u8{2, 1})[0].dtype() == u8);
  CHECK(argmax(tensor_bool8{false, true}).item<index_t>() == 1);
  CHECK(max(cast(tensor_f32{1.5f, 2.5f}, bf16), 0)[0].dtype() == bf16);
}

TEST_CASE("long rows of every dtype, random, rising and falling, in part and as a whole") {
  generator g(7);
  const index_t n = 5000;
  const tensor drawn = cast(randint(-90, 90, {n}, g), f64) * 1.25 + randn({n}, f64, g) * 1e-7;
  const tensor rising = arange(0.0, 5000.0) - 2500.0;
  for (const dtype type : {f32, f64, f16, bf16, i8, u8, i32, i64, bool8}) {
    CAPTURE(static_cast<int>(type));
    for (tensor x : {drawn, rising, -rising, zeros({n}, f64)}) {
      x = cast(is_floating(type) ? x : abs(floor(x)) * (type == i64 ? 1e12 : 1.0), type);
      if (is_floating(type)) x = masked_fill(x, arange(n) == 77.0, nan);
      const values_of values = numbers(x);
      for (const bool descending : {false, true}) {
        const auto expected = naive(values, descending);
        for (const index_t k : {index_t{1}, index_t{10}, index_t{700}, n - 1, n}) {
          const tensor places = k == n ? argsort(x, 0, descending) : topk(x, k, 0, descending)[1];
          CHECK(std::equal(places.data_as<index_t>(), places.data_as<index_t>() + k,
                           expected.begin()));
        }
      }
    }
  }
}

TEST_CASE("nothing, one, and what cannot be chosen") {
  CHECK_THROWS_AS(max(zeros({3, 0}), 1), value_error);
  CHECK(message_of([] { return argmin(zeros({0})); }) ==
        "argmin: nothing to choose from on axis -1; got f32[0]");
  CHECK(max(zeros({0, 3}), 1)[0].shape() == shape{0});
  CHECK(sort(zeros({3, 0}))[1].shape() == shape{3, 0});
  CHECK(topk(ones({4}), 0)[0].shape() == shape{0});
  CHECK_THROWS_AS(topk(ones({4}), 5), value_error);
  CHECK_THROWS_AS(topk(ones({4}), -1), value_error);
  CHECK(message_of([] { return sort(ones({4}), 1); }).starts_with("sort: axis 1 is"));
  CHECK(message_of([] { return topk(ones({4}), 1, 1); }).starts_with("topk: axis 1 is"));
  CHECK(max(full({}, 2.0), 0)[0].item() == 2.0);
  CHECK(sort(full({}, 2.0))[1].item<index_t>() == 0);
}

TEST_CASE("gradients go to the places, twice") {
  const list x{leaf({2, 4, 3}, 1.0, 0.4)};
  check_gradients([](const list& v) { return square(max(v[0], 1)[0]); }, x);
  check_gradients([](const list& v) { return square(min(v[0], -1, true)[0]); }, x);
  check_gradients([](const list& v) { return square(topk(v[0], 2, 1)[0]); }, x);
  check_gradients([](const list& v) { return square(sort(v[0], 0)[0]); }, x);
  check_gradients([](const list& v) { return square(max(v[0], 0)[0]); }, {leaf({})});
  CHECK_FALSE(max(x[0], 1)[1].requires_grad());
  CHECK_FALSE(argmax(x[0]).requires_grad());
}

}  // namespace adze::sort_test
