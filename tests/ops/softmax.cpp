// softmax and log_softmax against loops in double: every axis, length and layout, gradients of
// gradients, 16-bit floats, infinities.
#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/ops/softmax.hpp>
#include <adze/tensor/create.hpp>

#include "numbers.hpp"

namespace adze::softmax_test {
namespace {

using namespace test;

constexpr double inf = std::numeric_limits<double>::infinity();

// Softmax over the middle of [outer, n, inner].
std::vector<double> naive(const std::vector<double>& x, std::size_t outer, std::size_t n,
                          std::size_t inner, bool logarithm) {
  std::vector<double> y(x.size());
  for (std::size_t o = 0; o < outer; ++o) {
    for (std::size_t j = 0; j < inner; ++j) {
      const auto at = [&](std::size_t i) { return (o * n + i) * inner + j; };
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i) sum += std::exp(x[at(i)]);
      for (std::size_t i = 0; i < n; ++i) {
        y[at(i)] = logarithm ? x[at(i)] - std::log(sum) : std::exp(x[at(i)]) / sum;
      }
    }
  }
  return y;
}

tensor apply(const tensor& x, index_t axis, bool logarithm) {
  return logarithm ? log_softmax(x, axis) : softmax(x, axis);
}

}  // namespace

TEST_CASE("softmax and log_softmax equal a double loop for every axis, length and dtype") {
  for (const bool logarithm : {false, true}) {
    for (const index_t n : {1, 2, 7, 8, 9, 31, 130}) {
      for (const index_t inner : {1, 3, 64, 67}) {
        for (const dtype type : {f32, f64, f16, bf16}) {
          const tensor x = smooth({2, n, inner}, type, 3.0);
          const auto expected = naive(numbers(x), 2, static_cast<std::size_t>(n),
                                      static_cast<std::size_t>(inner), logarithm);
          const tensor y = apply(x, 1, logarithm);
          CHECK(y.dtype() == type);
          const double bound = type == f64 ? 1e-13 : type == f32 ? 4e-6 : type == f16 ? 6e-3 : 5e-2;
          CAPTURE(n);
          CAPTURE(inner);
          CAPTURE(name_of(type));
          CHECK(distance(numbers(y), expected) < bound);
        }
      }
    }
  }
}

TEST_CASE("softmax does not depend on the layout, and keeps it") {
  const tensor x = smooth({3, 4, 5, 6});
  for (const index_t axis : {0, 1, 2, 3, -1, -4}) {
    const tensor expected = softmax(x, axis);
    const tensor last = contiguous(permute(x, {0, 2, 3, 1}));
    const tensor view = permute(last, {0, 3, 1, 2});  // channels last
    const tensor y = softmax(view, axis);
    CHECK(y.strides() == view.strides());
    CHECK(distance(numbers(y), numbers(expected)) < 1e-15);
    const tensor wide = expand(smooth({3, 1, 5, 6}), {3, 4, 5, 6});
    CHECK(distance(numbers(softmax(wide, axis)), numbers(softmax(contiguous(wide), axis))) == 0.0);
  }
}

TEST_CASE("gradients of softmax and of its gradient, for rows and columns") {
  for (const bool logarithm : {false, true}) {
    for (const index_t axis : {0, 1, 2}) {
      const tensor x = leaf({2, 5, 3}, 3.0);
      const auto f = [&](const std::vector<tensor>& in) { return apply(in[0], axis, logarithm); };
      CHECK_MESSAGE(gradcheck(f, {x}), gradcheck(f, {x}).where);
      CHECK_MESSAGE(gradgradcheck(f, {x}), gradgradcheck(f, {x}).where);
    }
    tensor view = permute(contiguous(permute(smooth({2, 70, 3}), {0, 2, 1})), {0, 2, 1});
    view.set_requires_grad();
    CHECK(gradcheck([&](const std::vector<tensor>& in) { return apply(in[0], 2, logarithm); },
                    {view}));
    const tensor scalar = leaf({});
    CHECK(gradcheck([&](const std::vector<tensor>& in) { return apply(in[0], 0, logarithm); },
                    {scalar}));
  }
}

TEST_CASE("large logits do not overflow; infinities and NaN act as in the definition") {
  const tensor_f64 big{{1000.0, 1001.0, -1000.0}};
  CHECK(numbers(softmax(big, 1))[1] == doctest::Approx(1 / (1 + std::exp(-1.0))));
  CHECK(numbers(log_softmax(big, 1))[2] == doctest::Approx(-2001 - std::log1p(std::exp(-1.0))));
  const tensor_f64 masked{{-inf, 2.0, -inf, 2.0}};
  CHECK(numbers(softmax(masked, 1)) == std::vector<double>{0, 0.5, 0, 0.5});
  CHECK(numbers(log_softmax(masked, 1))[0] == -inf);
  for (const tensor_f64& x : {tensor_f64{{-inf, -inf}}, tensor_f64{{1.0, std::nan("")}}}) {
    for (const double y : numbers(softmax(x, 1))) CHECK(std::isnan(y));
    for (const double y : numbers(log_softmax(transpose(expand(x, {2, 2})), 0)))
      CHECK(std::isnan(y));
  }
}

TEST_CASE("softmax of nothing, of one element, and of wrong arguments") {
  CHECK(softmax(empty({0, 3}), 1).shape() == shape{0, 3});
  CHECK(softmax(empty({3, 0}), 1).shape() == shape{3, 0});
  const tensor repeated = expand(zeros({1, 0}), {3, 0});  // of strides 0
  CHECK(softmax(repeated, 0).shape() == shape{3, 0});
  CHECK(log_softmax(repeated, 0).shape() == shape{3, 0});
  tensor nothing = zeros({1, 0});
  nothing.set_requires_grad();
  backward(sum(softmax(expand(nothing, {3, 0}), 0)));
  CHECK(nothing.grad().shape() == shape{1, 0});
  CHECK(softmax(smooth({}), -1).item() == 1.0);
  CHECK(log_softmax(smooth({}), 0).item() == 0.0);
  CHECK_THROWS_WITH_AS(softmax(tensor_i64{1, 2}, 0),
                       "softmax: takes floating tensors; got i64[2]; cast(x, f32) first",
                       dtype_error);
  CHECK_THROWS_WITH_AS(log_softmax(empty({2, 3}), 2),
                       "log_softmax: axis 2 is out of range; the tensor has 2 axes", shape_error);
}

TEST_CASE("softmax has the same bits for any number of threads") {
  const tensor x = smooth({64, 40, 70}, f32);
  const int before = threads();
  std::vector<std::vector<double>> seen;
  for (const int n : {1, 2, 5}) {
    set_threads(n);
    for (const index_t axis : {0, 1, 2}) seen.push_back(numbers(softmax(x, axis)));
  }
  set_threads(before);
  for (std::size_t i = 3; i < seen.size(); ++i) CHECK(seen[i] == seen[i % 3]);
}

}  // namespace adze::softmax_test
