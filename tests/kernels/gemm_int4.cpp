// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/kernels/gemm_int4.hpp>
#include <adze/kernels/reference_int8.hpp>

namespace adze {
namespace {

struct int4_problem {
  index_t m, n, k, group;
  std::vector<float> x, scales, bias;
  std::vector<std::int8_t> codes;  // [n, k]

  int4_problem(index_t m_, index_t n_, index_t k_, index_t group_, std::mt19937& draw)
      : m(m_), n(n_), k(k_), group(group_) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (index_t i = 0; i < m * (k + 3); ++i) x.push_back(uniform(draw));
    for (index_t i = 0; i < (k + group - 1) / group * n; ++i)
      scales.push_back(0.01f + 0.01f * std::fabs(uniform(draw)));
    for (index_t i = 0; i < n; ++i) bias.push_back(uniform(draw));
    for (index_t i = 0; i < n * k; ++i)
      codes.push_back(static_cast<std::int8_t>(int(draw() % 16) - 8));
  }
  matrix<const float> in() const { return {x.data() + 1, m, k, k + 3, 1}; }
  matrix<const std::int8_t> weights() const {
    return dense_matrix(codes.data(), n, k).transposed();
  }
};

template <class A> void check_int4(const int4_problem& p, bool relu) {
  const kernels::int4_weights<A> w(p.weights(), p.scales.data(), p.group);
  std::vector<float> out(static_cast<std::size_t>(p.m * (p.n + 2)), 85.0f);
  const matrix<float> y{out.data(), p.m, p.n, p.n + 2, 1};
  kernels::int4_linear<A>(
      p.in(), w, y,
      {.bias = p.bias.data(),
       .activate = relu ? kernels::activation::relu : kernels::activation::none});
  for (index_t i = 0; i < p.m; ++i) {
    float most = 0;
    for (index_t q = 0; q < p.k; ++q) most = std::max(most, std::fabs(p.in()(i, q)));
    const auto side = kernels::symmetric_affine({0, most}, 127);
    for (index_t j = 0; j < p.n; ++j) {
      double sum = 0, size = 1;
      for (index_t q = 0; q < p.k; ++q) {
        const int code = kernels::reference::quantize<std::int8_t>(p.in()(i, q), side, {-127, 127});
        const double v = double(code * p.weights()(q, j)) * double(side.scale) *
                         double(p.scales[static_cast<std::size_t>(q / p.group * p.n + j)]);
        sum += v, size += std::fabs(v);
      }
      sum += double(p.bias[static_cast<std::size_t>(j)]);
      REQUIRE(std::fabs(double(y(i, j)) - (relu ? std::max(sum, 0.0) : sum)) <= 1e-6 * size);
    }
  }
  REQUIRE(std::count(out.begin(), out.end(), 85.0f) == 2 * p.m);
}

TEST_CASE(
    "int4_linear equals the sum over groups, any sizes and groups, and touches nothing else") {
  std::mt19937 draw(31);
  const auto size = [&](index_t most) { return index_t(draw()) % most + 1; };
  for (int i = 0; i < 120; ++i) {
    const int4_problem p(size(5), size(70), size(200), 8 * size(12), draw);
    check_int4<simd::native>(p, i % 2 == 0);
    if (i % 4 == 0) check_int4<simd::scalar>(p, false);
  }
  check_int4<simd::native>(int4_problem(1, 33, 4096, 128, draw), false);
}

TEST_CASE("int4_linear: the largest codes, and the same bits for any number of threads") {
  std::mt19937 draw(32);
  int4_problem p(3, 300, 8192, 64, draw);
  std::fill(p.x.begin(), p.x.end(), -1.0f);
  std::fill(p.codes.begin(), p.codes.end(), std::int8_t(-8));
  check_int4<simd::native>(p, false);
  const int4_problem other(2, 600, 4096, 128, draw);
  const kernels::int4_weights<> w(other.weights(), other.scales.data(), other.group);
  std::vector<std::vector<float>> found;
  for (const int threads : {1, 3}) {
    set_threads(threads);
    found.emplace_back(std::size_t(1200));
    kernels::int4_linear(other.in(), w, dense_matrix(found.back().data(), 2, 600));
  }
  set_threads(1);
  CHECK(found[0] == found[1]);
}

TEST_CASE("int4_weights refuses groups and codes that it cannot hold") {
  const std::vector<std::int8_t> codes{1, 2, 8, 3};
  const std::vector<float> scales(4, 1.0f);
  const auto b = dense_matrix(codes.data(), 2, 2);
  CHECK_THROWS_AS(kernels::int4_weights<>(b, scales.data(), 12), value_error);
  CHECK_THROWS_WITH_AS(kernels::int4_weights<>(b, scales.data(), 8),
                       "int4_weights: codes are -8 to 7; received 8 in row 1", value_error);
}

}  // namespace
}  // namespace adze
