// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/kernels/gemm_int8_linear.hpp>
#include <adze/kernels/reference_int8.hpp>

namespace adze {
namespace {

using kernels::left_codes;

// Weights of [in, out] floats, quantized and packed.
struct layer {
  std::vector<std::int8_t> codes;
  std::vector<float> scales;
  matrix<const std::int8_t> view;
  kernels::integer_weights<> packed;

  layer(matrix<const float> w, int most, left_codes left)
      : codes(static_cast<std::size_t>(w.rows * w.cols)), scales(static_cast<std::size_t>(w.cols)) {
    const auto out = dense_matrix(codes.data(), w.rows, w.cols);
    kernels::quantize_columns(w, out, scales.data(), most);
    view = out;
    packed = kernels::integer_weights<>(view, left);
  }
};

std::vector<float> random_floats(index_t n, float low, float high, std::mt19937& draw) {
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& v : x) v = uniform(draw);
  return x;
}

TEST_CASE("quantize_columns: symmetric codes and a scale for each column") {
  const std::vector<float> w{0.75f, 0, -2, 0, 0.5f, 0, 2, 0};  // [4, 2]
  std::vector<std::int8_t> codes(8);
  std::vector<float> scales(2);
  kernels::quantize_columns(dense_matrix(w.data(), 4, 2), dense_matrix(codes.data(), 4, 2),
                            scales.data(), 63);
  CHECK(scales[0] == 2 / 63.0f);
  CHECK(codes == std::vector<std::int8_t>{24, 0, -63, 0, 16, 0, 63, 0});
}

void check_linear(index_t m, index_t n, index_t k, std::mt19937& draw) {
  const auto bits = draw();
  const bool per_row = bits & 1, relu = bits & 2, with_bias = bits & 4;
  const left_codes left = bits & 8 ? left_codes::u7 : left_codes::u8;
  const index_t gap = bits & 16 ? 3 : 0;
  const auto x = random_floats(m * (k + gap) + 1, -1, bits & 32 ? -0.5f : 3, draw);
  const auto w = random_floats(k * n, -1, 1, draw);
  const auto bias = random_floats(n, -1, 1, draw);
  const layer l(dense_matrix<const float>(w.data(), n, k).transposed(), 63, left);
  const matrix<const float> in{x.data() + 1, m, k, k + gap, 1};
  std::vector<float> out(static_cast<std::size_t>(m * (n + 2)), 85.0f);
  const matrix<float> y{out.data(), m, n, n + 2, 1};
  kernels::dynamic_linear(in, l.packed, l.scales.data(), y,
                          {.bias = with_bias ? bias.data() : nullptr,
                           .activate = relu ? kernels::activation::relu : kernels::activation::none,
                           .per_row = per_row});
  const auto range = left == left_codes::u7 ? kernels::codes_u7 : kernels::codes_u8;
  const auto side = [&](index_t first, index_t last) {
    float low = 0, high = 0;
    for (index_t i = first; i < last; ++i)
      for (index_t j = 0; j < k; ++j)
        low = std::min(low, in(i, j)), high = std::max(high, in(i, j));
    return kernels::dynamic_affine({low, high}, range);
  };
  for (index_t i = 0; i < m; ++i) {
    const kernels::affine a = per_row ? side(i, i + 1) : side(0, m);
    for (index_t j = 0; j < n; ++j) {
      std::int64_t sum = 0;
      double real = 0, bound = 0;
      for (index_t q = 0; q < k; ++q) {
        sum += (kernels::reference::quantize<std::uint8_t>(in(i, q), a, range) - a.zero) *
               std::int64_t(l.view(q, j));
        real += double(in(i, q)) * double(w[static_cast<std::size_t>(j * k + q)]);
        bound += 0.51 * double(a.scale) + (std::fabs(double(in(i, q))) + double(a.scale)) * 0.51 *
                                              double(l.scales[static_cast<std::size_t>(j)]);
      }
      const auto c = static_cast<std::size_t>(j);
      const double shift = with_bias ? double(bias[c]) : 0;
      const auto finished = [&](double v) { return relu ? std::max(v + shift, 0.0) : v + shift; };
      const double product = double(sum) * double(a.scale * l.scales[c]);
      const double exact = finished(product);
      REQUIRE(std::fabs(double(y(i, j)) - exact) <= 2e-7 * (std::fabs(product) + 1));
      REQUIRE(std::fabs(double(y(i, j)) - finished(real)) <= bound + 1e-6);
    }
  }
  REQUIRE(std::count(out.begin(), out.end(), 85.0f) >= 2 * m);
}

TEST_CASE("dynamic_linear: equals the slow twin, and the real product within its rounding") {
  std::mt19937 draw(21);
  const auto size = [&](index_t most) { return index_t(draw()) % most + 1; };
  for (int i = 0; i < 150; ++i) check_linear(size(20), size(70), size(60), draw);
  check_linear(1, 1000, 300, draw);
  check_linear(130, 70, 1030, draw);
  check_linear(2, 3, 0, draw);
}

TEST_CASE("dynamic_linear: the same bits for any number of threads") {
  std::mt19937 draw(22);
  const index_t m = 260, n = 300, k = 700;
  const auto x = random_floats(m * k, -1, 3, draw), w = random_floats(k * n, -1, 1, draw);
  const layer l(dense_matrix<const float>(w.data(), k, n), 63, left_codes::u8);
  for (const bool per_row : {false, true}) {
    std::vector<std::vector<float>> found;
    for (const int threads : {1, 3}) {
      set_threads(threads);
      found.emplace_back(static_cast<std::size_t>(m * n));
      kernels::dynamic_linear(dense_matrix<const float>(x.data(), m, k), l.packed, l.scales.data(),
                              dense_matrix(found.back().data(), m, n), {.per_row = per_row});
    }
    set_threads(1);
    CHECK(found[0] == found[1]);
  }
}

TEST_CASE("dynamic_linear refuses weights for signed codes") {
  const std::vector<std::int8_t> b(6, 1);
  const kernels::integer_weights<> w(dense_matrix(b.data(), 3, 2), left_codes::s8);
  std::vector<float> x(3), y(2), scales(2);
  CHECK_THROWS_AS(kernels::dynamic_linear(dense_matrix<const float>(x.data(), 1, 3), w,
                                          scales.data(), dense_matrix(y.data(), 1, 2)),
                  value_error);
}

}  // namespace
}  // namespace adze
