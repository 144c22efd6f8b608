// SPDX-License-Identifier: MIT
// Tensors from sizes, numbers, memory and chance: values, dtypes, layouts, refusals, and random
// numbers that depend on neither threads nor chunks.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/dispatch.hpp>
#include <adze/tensor/create.hpp>

namespace adze {
namespace {

using values_of = std::vector<double>;

values_of numbers(const tensor& x) { return detail::rounded_to(x, f64).as<double>().to_vector(); }
double mean_of(const values_of& v) {
  double s = 0;
  for (const double x : v) s += x;
  return s / static_cast<double>(v.size());
}
struct thread_count {
  int before = threads();
  explicit thread_count(int n) { set_threads(n); }
  thread_count(const thread_count&) = delete;
  thread_count& operator=(const thread_count&) = delete;
  ~thread_count() { set_threads(before); }
};

}  // namespace

TEST_CASE("tensors of one value, in every dtype and layout") {
  for (const dtype type : {f32, f64, f16, bf16, i8, u8, i32, i64}) {
    CHECK(numbers(full({2, 3}, 5.0, type)) == values_of(6, 5.0));
    CHECK(numbers(zeros({3}, type)) == values_of(3, 0.0));
    CHECK(ones({}, type).dtype() == type);
  }
  CHECK(full({1}, 9007199254740993.0, i64).item<index_t>() == 9007199254740992);
  CHECK(numbers(full({2}, 3.0, bool8)) == values_of{1, 1});
  CHECK(std::isnan(full({1}, std::nan("")).item()));
  CHECK(full({}, 255, u8).item() == 255);
  CHECK(full({}, -0x1p63, i64).item<index_t>() == std::numeric_limits<index_t>::min());
  CHECK_THROWS_AS(full({1}, 256, u8), value_error);
  CHECK_THROWS_AS(full({1}, -129, i8), value_error);
  CHECK_THROWS_AS(full({1}, 0x1p31, i32), value_error);
  CHECK_THROWS_AS(full({1}, 0x1p63, i64), value_error);
  CHECK_THROWS_AS(full({1}, 0.5, i32), dtype_error);
  CHECK_THROWS_AS(full_like(full({1}, 1, u8), -1), value_error);
  const tensor x = empty_channels_last({2, 3, 4, 5}, bf16);
  CHECK(ones_like(x).strides() == x.strides());
  CHECK(ones_like(x).dtype() == bf16);
  CHECK(numbers(full_like(x, 2.0)) == values_of(120, 2.0));
  CHECK(zeros_like(alias(x, {2, 2}, {1, 7})).is_contiguous());
  CHECK(zeros({0, 3}).numel() == 0);
  CHECK_THROWS_AS(zeros({-1}), shape_error);
  CHECK_THROWS_AS(zeros({index_t{1} << 62}), shape_error);
}

TEST_CASE("ranges") {
  CHECK(numbers(arange(4)) == values_of{0, 1, 2, 3});
  CHECK(arange(4).dtype() == i64);
  CHECK(numbers(arange(5, -2, -3)) == values_of{5, 2, -1});
  CHECK(numbers(arange(0.0, 1.0, 0.25)) == values_of{0, 0.25, 0.5, 0.75});
  CHECK(arange(0.0, 1.0, 0.25).dtype() == f32);
  CHECK(arange(0, 3, 1, f16).dtype() == f16);
  CHECK(arange(0).numel() == 0);
  CHECK(arange(3, 1).numel() == 0);
  const index_t big = index_t{1} << 60;
  CHECK(arange(big, big + 2).as<index_t>()(1) == big + 1);
  CHECK_THROWS_AS(arange(0, 3, 0), value_error);
  const double endless = std::numeric_limits<double>::infinity();
  for (const double step : {endless, -endless}) {
    CHECK_THROWS_AS(arange(0.0, 3.0, step), value_error);
    CHECK_THROWS_AS(arange(3.0, 0.0, step), value_error);
  }
  CHECK_THROWS_AS(arange(0.0, 1.0, std::nan("")), value_error);
  CHECK(numbers(linspace(-1, 1, 5)) == values_of{-1, -0.5, 0, 0.5, 1});
  CHECK(numbers(linspace(0.1, 0.7, 2, f64)) == values_of{0.1, 0.7});
  CHECK(linspace(0, 1, 11, f64).as<double>()(10) == 1.0);
  CHECK(numbers(linspace(3, 4, 1)) == values_of{3});
  CHECK(linspace(3, 4, 0).numel() == 0);
  CHECK_THROWS_AS(linspace(0, 1, -1), value_error);
  CHECK(numbers(eye(2, 3)) == values_of{1, 0, 0, 0, 1, 0});
  CHECK(numbers(eye(3, 2, i8)) == values_of{1, 0, 0, 1, 0, 0});
  CHECK(eye(0).numel() == 0);
}

TEST_CASE("values from memory, copied and borrowed") {
  const std::vector<float> v{1, 2, 3, 4};
  CHECK(numbers(from_vector(v)) == values_of{1, 2, 3, 4});
  CHECK(from_vector(std::vector<bool>{true, false}).dtype() == bool8);
  CHECK(from_span(std::span<const float>(v), {2, 2}).shape() == shape{2, 2});
  CHECK_THROWS_AS(from_span(std::span<const float>(v), {3}), shape_error);

  alignas(8) float memory[4] = {1, 2, 3, 4};
  int released = 0;
  {
    tensor x = from_blob(memory, {2, 2}, f32, [&] { ++released; });
    const tensor view = alias(x, {2}, {2}, 1);
    x = tensor();
    CHECK(released == 0);
    memory[3] = 9;
    CHECK(numbers(view) == values_of{2, 9});
  }
  CHECK(released == 1);
  CHECK(from_blob(memory, {4}).data() == memory);
  CHECK_THROWS_AS(from_blob(nullptr, {1}), value_error);
  CHECK(from_blob(nullptr, {0}).numel() == 0);
  CHECK_THROWS_AS(from_blob(reinterpret_cast<char*>(memory) + 1, {1}, f32), value_error);
}

TEST_CASE("random tensors: range, moments and the dtype's own grid") {
  generator g(11);
  for (const dtype type : {f32, f64, f16, bf16}) {
    const values_of u = numbers(rand({20000}, type, g));
    CHECK(*std::min_element(u.begin(), u.end()) >= 0.0);
    CHECK(*std::max_element(u.begin(), u.end()) < 1.0);
    CHECK(std::abs(mean_of(u) - 0.5) < 0.01);
    values_of n = numbers(randn({20000}, type, g));
    CHECK(std::abs(mean_of(n)) < 0.03);
    for (double& x : n) x *= x;
    CHECK(std::abs(mean_of(n) - 1.0) < 0.05);
  }
  const values_of k = numbers(randint(-2, 3, {10000}, g));
  for (const double v : {-2.0, -1.0, 0.0, 1.0, 2.0}) {
    CHECK(std::abs(static_cast<double>(std::count(k.begin(), k.end(), v)) - 2000.0) < 200.0);
  }
  CHECK(*std::max_element(k.begin(), k.end()) == 2.0);
  const index_t low = std::numeric_limits<index_t>::min();
  CHECK(randint(low, low + 1, {}, g).item<index_t>() == low);
  CHECK(randint(low, std::numeric_limits<index_t>::max(), {2}, g).numel() == 2);
  values_of p = numbers(randperm(100, g));
  std::sort(p.begin(), p.end());
  CHECK(p == numbers(arange(100)));
  CHECK(std::abs(mean_of(numbers(bernoulli({20000}, 0.3, f32, g))) - 0.3) < 0.01);
  CHECK(mean_of(numbers(bernoulli({100}, 0.0, u8, g))) == 0.0);
  CHECK(mean_of(numbers(bernoulli({100}, 1.0, bool8, g))) == 1.0);
}

TEST_CASE("random tensors depend on the seed and not on threads; two draws differ") {
  const shape sizes{100000};
  const auto draw = [&](int count) {
    const thread_count guard(count);
    manual_seed(7);
    return std::vector<values_of>{numbers(rand(sizes)), numbers(randn(sizes, f64)),
                                  numbers(randint(0, 1000, sizes)), numbers(bernoulli(sizes, 0.5)),
                                  numbers(rand(sizes))};
  };
  const auto one = draw(1), four = draw(4);
  CHECK(one == four);
  CHECK(one[0] != one[4]);
}

TEST_CASE("random tensors like another have its shape, dtype and layout") {
  const tensor x = empty_channels_last({2, 3, 4, 5}, f64);
  for (const bool normal : {false, true}) {
    const auto like = normal ? randn_like : rand_like;
    generator a(3), b(3);
    const tensor y = like(x, a), same = (normal ? randn : rand)({2, 3, 4, 5}, f64, b);
    CHECK(y.strides() == x.strides());
    CHECK(y.dtype() == f64);
    CHECK(numbers(y) == numbers(same));
    CHECK(like(empty({7}, f16), a).dtype() == f16);
  }
  CHECK_THROWS_AS(randn_like(empty({2}, i64)), dtype_error);
}

TEST_CASE("what no random tensor is made of") {
  CHECK_THROWS_AS(rand({2}, i32), dtype_error);
  CHECK_THROWS_AS(randn({2}, bool8), dtype_error);
  CHECK_THROWS_AS(randint(3, 3, {1}), value_error);
  CHECK_THROWS_AS(randperm(-1), value_error);
  CHECK_THROWS_AS(bernoulli({1}, 1.5), value_error);
  CHECK_THROWS_AS(bernoulli({1}, std::nan("")), value_error);
}

TEST_CASE("dispatch calls for one dtype, or says all that it takes") {
  const auto size = []<class T>() { return sizeof(T); };
  CHECK(dispatch(types<float, double, std::int64_t>{}, i64, "op", size) == 8);
  try {
    static_cast<void>(dispatch(types<float, double, std::int64_t>{}, i8, "op", size));
    FAIL("no error");
  } catch (const dtype_error& e) {
    CHECK(std::string(e.what()) ==
          "op: dtype i8 is not supported; it takes f32, f64, i64; cast it first");
  }
}

}  // namespace adze
