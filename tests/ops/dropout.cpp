// dropout: what it keeps and how often, that the mask follows the generator alone, gradients
// through the same mask, also when a checkpoint runs it again.
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/checkpoint.hpp>
#include <adze/autograd/gradcheck.hpp>
#include <adze/ops/dropout.hpp>
#include <adze/ops/reduce.hpp>

#include "numbers.hpp"

namespace adze {
namespace {

using namespace test;

tensor ones_of(const shape& sizes, dtype type = f32) {
  tensor x = empty(sizes, f64);
  for (index_t i = 0; i < x.numel(); ++i) x.data_as<double>()[i] = 1.0;
  return cast(x, type);
}

}  // namespace

TEST_CASE("dropout zeroes a share p of the elements and scales the others") {
  for (const double p : {0.1, 0.5, 0.9}) {
    manual_seed(7);
    const auto y = numbers(dropout(ones_of({100, 1000}), p));
    double kept = 0, wrong = 0;
    for (const double v : y) {
      wrong += v != 0 && std::abs(v - 1 / (1 - p)) > 1e-5;
      kept += v != 0;
    }
    CHECK(wrong == 0);
    const double n = 100000, deviation = std::sqrt(p * (1 - p) / n);
    CHECK(std::abs(kept / n - (1 - p)) < 4 * deviation);
  }
}

TEST_CASE("dropout returns x itself in evaluation and for p = 0; p = 1 gives zeros") {
  tensor x = leaf({3, 4});
  const random_state before = default_generator().state();
  CHECK(dropout(x, 0.5, false).impl_or_null() == x.impl_or_null());
  CHECK(dropout(x, 0.0).impl_or_null() == x.impl_or_null());
  CHECK(default_generator().state() == before);
  const tensor y = dropout(x, 1.0);
  CHECK(numbers(y) == std::vector<double>(12, 0.0));
  backward(sum(y));
  CHECK(numbers(x.grad()) == std::vector<double>(12, 0.0));
  CHECK(dropout(empty({0, 2}), 0.5).shape() == shape{0, 2});
  CHECK(dropout(smooth({}), 0.5).rank() == 0);
}

TEST_CASE("the mask depends on the generator alone: not on threads, dtype or layout") {
  const tensor x = ones_of({64, 300});
  const auto draw = [&](const tensor& v) {
    manual_seed(3);
    std::vector<double> y = numbers(dropout(v, 0.5));
    return y;
  };
  const int before = threads();
  set_threads(1);
  const auto expected = draw(x);
  set_threads(4);
  CHECK(draw(x) == expected);
  set_threads(before);
  CHECK(draw(cast(x, f64)) == expected);
  CHECK(draw(cast(x, bf16)) == expected);
  CHECK(draw(transpose(contiguous(transpose(x)))) == expected);
  manual_seed(4);
  CHECK(numbers(dropout(x, 0.5)) != expected);
  manual_seed(3);
  static_cast<void>(dropout(x, 0.5));
  CHECK(numbers(dropout(x, 0.5)) != expected);  // the generator has moved on
}

TEST_CASE("a mask drawn in parts is the mask drawn at once, wherever a part begins") {
  const random_state at{5, 7};
  bool whole[64], part[64];
  kernels::keep_mask(whole, 0, 64, at, 0.4);
  for (index_t first = 0; first < 9; ++first) {
    for (index_t n = 0; n < 12; ++n) {
      kernels::keep_mask(part, first, n, at, 0.4);
      CHECK(std::equal(part, part + n, whole + first));
    }
  }
}

TEST_CASE("gradients go through the mask of the forward, twice") {
  const auto f = [](const std::vector<tensor>& in) {
    manual_seed(11);
    return square(dropout(in[0], 0.4));
  };
  const tensor x = leaf({5, 9});
  CHECK(gradcheck(f, {x}).ok);
  CHECK(gradgradcheck(f, {x}).ok);
  tensor low = ones_of({40}, bf16);
  low.set_requires_grad();
  const tensor y = dropout(low, 0.5);
  backward(sum(y));
  CHECK(numbers(low.grad()) == numbers(y));
}

TEST_CASE("a checkpoint that runs dropout again gets the same mask, and moves no generator") {
  const auto f = [](const std::vector<tensor>& in) { return square(dropout(in[0], 0.5)); };
  const tensor start = smooth({50});
  const auto gradient = [&](bool kept) {
    tensor x = clone(start);
    x.set_requires_grad();
    manual_seed(5);
    const tensor y = kept ? f({x}) : checkpoint(f, {x});
    static_cast<void>(dropout(start, 0.5));
    const random_state before = default_generator().state();
    backward(sum(y));
    CHECK(default_generator().state() == before);
    return numbers(x.grad());
  };
  CHECK(gradient(true) == gradient(false));
}

TEST_CASE("dropout2d keeps or zeroes whole channels, in every layout") {
  const tensor ones = ones_of({40, 50, 3, 2}, f64);
  manual_seed(4);
  const tensor y = dropout2d(ones, 0.25), sums = sum(y, {2, 3});
  double kept = 0;
  for (const double s : numbers(sums)) {
    REQUIRE((s == 0 || std::abs(s - 8.0) < 1e-12));
    kept += s != 0;
  }
  CHECK(std::abs(kept / 2000 - 0.75) < 0.04);
  manual_seed(4);
  const tensor last = clone(permute(clone(permute(ones, {0, 2, 3, 1})), {0, 3, 1, 2}));
  CHECK(distance(dropout2d(last, 0.25), y) == 0.0);
  manual_seed(4);
  CHECK(distance(dropout2d(select(ones, 3, 0), 0.25), select(y, 3, 0)) == 0.0);  // lines
  CHECK(dropout2d(ones, 0.25, false).impl_or_null() == ones.impl_or_null());
  CHECK_THROWS_AS(dropout2d(ones_of({2, 3})), shape_error);
  const auto f = [](const std::vector<tensor>& in) {
    manual_seed(9);
    return square(dropout2d(in[0], 0.4));
  };
  CHECK(gradcheck(f, {leaf({2, 3, 2, 2})}).ok);
  CHECK(gradgradcheck(f, {leaf({2, 3, 2, 2})}).ok);
}

TEST_CASE("dropout says what does not fit") {
  CHECK_THROWS_WITH_AS(dropout(smooth({2}), 1.5),
                       "dropout: the probability must be in 0..1; got 1.5", value_error);
  CHECK_THROWS_AS(dropout(smooth({2}), std::nan("")), value_error);
  CHECK_THROWS_AS(dropout(smooth({2}), -0.1, false), value_error);
  CHECK_THROWS_AS(dropout(tensor_i64{1}, 0.5), dtype_error);
}

}  // namespace adze
