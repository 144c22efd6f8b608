// SPDX-License-Identifier: MIT
// Products of 16-bit matrices equal the product of the widened ones, rounded once.
#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/random.hpp>
#include <adze/kernels/gemm_narrow.hpp>
#include <adze/kernels/reference.hpp>

namespace adze {
namespace {

// A matrix in some dtype with guard elements around it, and its values.
struct narrow_matrix {
  std::vector<std::uint16_t> codes;
  std::vector<float> values;  // row-major
  kernels::stored_matrix view;

  static constexpr index_t guard = 24;
  narrow_matrix(dtype type, index_t rows, index_t cols, bool transposed, std::uint64_t seed) {
    const index_t n = rows * cols, words = n * size_of(type) / 2;
    std::vector<float> dense(static_cast<std::size_t>(n));
    uniform_fill(dense.data(), 0, n, random_state{seed}, -1.0f, 1.0f);
    codes.assign(static_cast<std::size_t>(words + 2 * guard), 0xdead);
    kernels::store_row(type, codes.data() + guard, 1, n, dense.data());
    kernels::load_row(type, codes.data() + guard, 1, n, dense.data());
    view = {codes.data() + guard, type, rows, cols, cols, 1};
    values = dense;
    if (!transposed) return;
    view.row_stride = 1, view.col_stride = rows;
    for (index_t i = 0; i < n; ++i) {
      values[static_cast<std::size_t>(i)] =
          dense[static_cast<std::size_t>(i / cols + i % cols * rows)];
    }
  }
  bool guarded() const {
    const auto hit = [](std::uint16_t c) { return c != 0xdead; };
    return std::none_of(codes.begin(), codes.begin() + guard, hit) &&
           std::none_of(codes.end() - guard, codes.end(), hit);
  }
  matrix<const float> dense() const { return dense_matrix(values.data(), view.rows, view.cols); }
};

struct sizes {
  index_t m, n, k;
};

// The largest error over |a| |b|, in units of the rounding of the result and of f32.
double error_of(const narrow_matrix& a, const narrow_matrix& b, const narrow_matrix& c,
                const std::vector<float>& bias, bool relu) {
  const index_t m = c.view.rows, n = c.view.cols;
  std::vector<double> truth(static_cast<std::size_t>(m * n)), size(truth.size());
  kernels::reference::gemm(a.dense(), b.dense(), dense_matrix(truth.data(), m, n),
                           dense_matrix(size.data(), m, n));
  const double unit = c.view.type == bf16 ? 0x1p-8 : c.view.type == f16 ? 0x1p-11 : 0x1p-24;
  double worst = 0;
  for (index_t i = 0; i < m * n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    float got = 0;
    kernels::load_row(c.view.type, c.view.at(i / n, i % n), 1, 1, &got);
    double want = truth[at] + static_cast<double>(bias[static_cast<std::size_t>(i % n)]);
    if (relu) want = std::max(want, 0.0);
    const double allowed = 1.01 * unit * std::abs(want) + 6 * 0x1p-24 * (size[at] + 1) + 0x1p-25;
    worst = std::max(worst, std::abs(static_cast<double>(got) - want) / allowed);
  }
  return worst;
}

}  // namespace

TEST_CASE("products of 16-bit matrices are those of the wide ones, rounded once") {
  const sizes all[] = {
      {1, 1, 1},      {3, 5, 0},       {7, 10, 33},     {48, 32, 256}, {49, 33, 257},
      {130, 100, 70}, {300, 515, 520}, {1000, 40, 300}, {1, 130, 520}, {5, 515, 257},
      {16, 67, 4500}, {48, 100, 777}};  // dots where b is transposed
  for (const dtype type : {bf16, f16}) {
    for (const sizes& s : all) {
      for (int form = 0; form < 8; ++form) {
        const bool relu = form % 3 == 1;
        const dtype result = form == 5 ? f32 : type;
        const narrow_matrix a(type, s.m, s.k, (form & 1) != 0, 1);
        const narrow_matrix b(type, s.k, s.n, (form & 2) != 0, 2);
        const narrow_matrix c(result, s.m, s.n, false, 3);
        std::vector<float> bias(static_cast<std::size_t>(s.n), 0.0f);
        if ((form & 4) != 0) uniform_fill(bias.data(), 0, s.n, random_state{4}, -1.0f, 1.0f);
        kernels::gemm_narrow(a.view, b.view, c.view, (form & 4) != 0 ? bias.data() : nullptr,
                             relu ? kernels::activation::relu : kernels::activation::none);
        INFO(type, " ", s.m, " x ", s.n, " x ", s.k, ", form ", form);
        CHECK(error_of(a, b, c, bias, relu) <= 1.0);
        CHECK(c.guarded());
      }
    }
  }
}

TEST_CASE("products of 16-bit matrices are the same for any number of threads") {
  const auto before = threads();
  for (const index_t rows : {16, 300}) {
    const narrow_matrix a(bf16, rows, 520, false, 1), b(bf16, 520, 515, true, 2);
    const narrow_matrix one(bf16, rows, 515, false, 3), three(bf16, rows, 515, false, 4);
    set_threads(1);
    kernels::gemm_narrow(a.view, b.view, one.view);
    set_threads(3);
    kernels::gemm_narrow(a.view, b.view, three.view);
    CHECK(one.codes == three.codes);
  }
  set_threads(before);
}

}  // namespace adze
