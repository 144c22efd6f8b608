// SPDX-License-Identifier: MIT
// Products of tensors against a triple loop: vectors, batches, broadcasting, strides, dtypes, empty
// sizes, both derivatives.
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include <adze/ops/matmul.hpp>

#include "checks.hpp"

namespace adze {
namespace {

using namespace test;

// a [batches of] m x k times b [batches of] k x n, by index arithmetic on f64.
tensor naive(const tensor& a, const tensor& b) {
  const tensor x = cast(a.rank() == 1 ? unsqueeze(a, 0) : a, f64);
  const tensor y = cast(b.rank() == 1 ? unsqueeze(b, 1) : b, f64);
  const index_t m = x.size(-2), k = x.size(-1), n = y.size(-1);
  const tensor rows = reshape(x, {-1, m, 1, k}), columns = reshape(transpose(y), {-1, 1, n, k});
  shape batch = broadcast(shape(std::span(x.shape().begin(), x.shape().end() - 2)),
                          shape(std::span(y.shape().begin(), y.shape().end() - 2)), "naive");
  index_list full = batch;
  full.push_back(m);
  full.push_back(n);
  tensor z = zeros(shape(std::span(full.begin(), full.end())), f64);
  index_list xs = batch, ys = batch;
  for (const index_t s : {m, k}) xs.push_back(s);
  for (const index_t s : {k, n}) ys.push_back(s);
  const tensor xe = contiguous(expand(x, xs)), ye = contiguous(expand(y, ys));
  for (index_t i = 0; i < batch.numel(); ++i) {
    for (index_t r = 0; r < m; ++r) {
      for (index_t c = 0; c < n; ++c) {
        double sum = 0;
        for (index_t d = 0; d < k; ++d) {
          sum +=
              xe.data_as<double>()[(i * m + r) * k + d] * ye.data_as<double>()[(i * k + d) * n + c];
        }
        z.data_as<double>()[(i * m + r) * n + c] = sum;
      }
    }
  }
  if (a.rank() == 1) z = squeeze(z, -2);
  if (b.rank() == 1) z = squeeze(z, -1);
  return z;
}

}  // namespace

TEST_CASE("every combination of ranks, broadcast batches and strides equals the loop") {
  const std::vector<std::pair<shape, shape>> problems{{{5}, {5}},
                                                      {{5}, {5, 3}},
                                                      {{4, 5}, {5}},
                                                      {{4, 5}, {5, 3}},
                                                      {{2, 4, 5}, {5, 3}},
                                                      {{2, 4, 5}, {2, 5, 3}},
                                                      {{4, 5}, {2, 5, 3}},
                                                      {{2, 1, 4, 5}, {3, 5, 3}},
                                                      {{5}, {2, 3, 5, 7}},
                                                      {{2, 3, 4, 5}, {5}},
                                                      {{1, 4, 5}, {3, 1, 5, 2}},
                                                      {{17, 33}, {33, 70}}};
  for (const auto& [left, right] : problems) {
    for (const dtype type : {f64, f32, f16, bf16}) {
      const tensor a = smooth(left, type), b = smooth(right, type, 1.0, 0.8);
      const tensor expected = naive(a, b), y = matmul(a, b);
      CHECK(y.dtype() == type);
      CHECK(y.shape() == expected.shape());
      const double bound = type == f64 ? 1e-13 : type == f32 ? 1e-5 : type == f16 ? 5e-3 : 4e-2;
      CHECK(distance(y, expected) < bound);
      if (left.rank() < 2 || right.rank() < 2) continue;
      const tensor at = transpose(contiguous(transpose(a)));
      const tensor bt = transpose(contiguous(transpose(b)));
      CHECK(distance(matmul(at, b), expected) < bound);
      CHECK(distance(matmul(a, bt), expected) < bound);
      CHECK(distance(matmul(at, bt), expected) < bound);
    }
  }
  const tensor spread = expand(smooth({4, 1}), {4, 6}), gaps = slice(smooth({6, 10}), 1, {0, 9, 3});
  CHECK(distance(matmul(spread, gaps), naive(spread, gaps)) < 1e-14);
  const tensor batch = transpose(smooth({4, 3, 5}), 0, 1);  // rows that do not merge
  CHECK(distance(matmul(batch, smooth({5, 2})), naive(batch, smooth({5, 2}))) < 1e-14);
}

TEST_CASE("empty sizes") {
  CHECK(matmul(zeros({0, 3}), zeros({3, 2})).shape() == shape{0, 2});
  CHECK(distance(matmul(zeros({2, 0}), zeros({0, 3})), zeros({2, 3})) == 0.0);
  CHECK(matmul(zeros({0}), zeros({0})).item() == 0.0);
  CHECK(matmul(zeros({0, 2, 3}), zeros({3, 4})).shape() == shape{0, 2, 4});
  CHECK(matmul(zeros({2, 3, 0}), zeros({0, 4})).numel() == 24);
}

TEST_CASE("gradients, twice, for every combination of ranks") {
  const std::vector<std::pair<shape, shape>> problems{
      {{3}, {3}},          {{3}, {3, 2}},    {{2, 3}, {3}},    {{2, 3}, {3, 4}},
      {{2, 2, 3}, {3, 4}}, {{3}, {2, 3, 2}}, {{2, 2, 3}, {3}}, {{2, 1, 2, 3}, {2, 3, 2}},
      {{2, 3}, {2, 3, 2}}};
  for (const auto& [left, right] : problems) {
    check_gradients([](const list& x) { return square(matmul(x[0], x[1])); },
                    {leaf(left), leaf(right, 1.0, 0.8)});
  }
  CHECK(live_nodes() == 0);
}

TEST_CASE("a frozen factor keeps nothing of the other one") {
  const tensor a = leaf({2, 3}), w = smooth({3, 4});
  const tensor y = matmul(a, w);
  CHECK(detail::owner_of(y)->saved_count == 1);
  CHECK(detail::owner_of(y)->saved()[0].value.data() == w.data());
}

TEST_CASE("sizes, ranks and dtypes that do not fit") {
  CHECK(message_of([] {
          return matmul(zeros({32, 784}), zeros({100, 784}));
        }) == "matmul: inner sizes differ (784 vs 100); a [32,784], b [100,784]; did you mean "
              "transpose(b)?");
  CHECK_THROWS_AS(matmul(zeros({2, 3}), zeros({2})), shape_error);
  CHECK_THROWS_AS(matmul(zeros({2, 2, 3}), zeros({3, 3, 2})), shape_error);
  CHECK_THROWS_AS(matmul(zeros({}), zeros({2})), shape_error);
  CHECK_THROWS_AS(matmul(tensor_i32{1, 2}, tensor_i32{1, 2}), dtype_error);
  CHECK(matmul(zeros({2, 3}), zeros({3, 2}, f64)).dtype() == f64);
}

}  // namespace adze
