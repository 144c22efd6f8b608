// SPDX-License-Identifier: MIT
// Products of 16-bit matrices equal the product of the widened ones, rounded once.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/random.hpp>
#include <adze/kernels/gemm_narrow.hpp>
#include <adze/kernels/reference.hpp>

#include "guard_page.hpp"

namespace adze {
namespace {

// A matrix in some dtype with guard elements around it and between its rows, and its values.
struct narrow_matrix {
  std::vector<std::uint16_t> codes;
  std::vector<float> values;  // row-major
  kernels::stored_matrix view;
  index_t gap;  // elements between rows, or columns of a transposed one

  static constexpr index_t guard = 24;
  static constexpr std::uint16_t filler = 0xdead;
  narrow_matrix(dtype type, index_t rows, index_t cols, bool transposed, std::uint64_t seed,
                index_t between = 0)
      : gap(between) {
    const index_t lines = transposed ? cols : rows, n = transposed ? rows : cols, step = n + gap;
    const index_t word = size_of(type) / 2;
    std::vector<float> dense(static_cast<std::size_t>(rows * cols));
    uniform_fill(dense.data(), 0, rows * cols, random_state{seed}, -1.0f, 1.0f);
    codes.assign(static_cast<std::size_t>(lines * step * word + 2 * guard), filler);
    for (index_t i = 0; i < lines; ++i) {
      std::uint16_t* const line = codes.data() + guard + i * step * word;
      kernels::store_row(type, line, 1, n, dense.data() + i * n);
      kernels::load_row(type, line, 1, n, dense.data() + i * n);
    }
    view = {codes.data() + guard, type, rows, cols, step, 1};
    values = dense;
    if (!transposed) return;
    view.row_stride = 1, view.col_stride = step;
    for (index_t i = 0; i < rows * cols; ++i) {
      values[static_cast<std::size_t>(i)] =
          dense[static_cast<std::size_t>(i / cols + i % cols * rows)];
    }
  }
  // Of a matrix that is not transposed.
  bool guarded() const {
    const index_t word = size_of(view.type) / 2, inside = view.cols * word,
                  step = inside + gap * word;
    const index_t all = static_cast<index_t>(codes.size()) - 2 * guard;
    for (index_t i = -guard; i < all + guard; ++i) {
      const bool free = i < 0 || i >= all || i % step >= inside;
      if (free && codes[static_cast<std::size_t>(i + guard)] != filler) return false;
    }
    return true;
  }
  matrix<const float> dense() const { return dense_matrix(values.data(), view.rows, view.cols); }
};

// The copy of an operand that ends where no byte may be read.
class last_of_page {
 public:
  explicit last_of_page(const kernels::stored_matrix& x)
      : memory_(x.data, static_cast<std::size_t>(
                            ((x.rows - 1) * x.row_stride + (x.cols - 1) * x.col_stride + 1) *
                            size_of(x.type))),
        view_(x) {
    view_.data = memory_.data();
  }
  const kernels::stored_matrix& view() const { return view_; }

 private:
  guarded_memory memory_;
  kernels::stored_matrix view_;
};

float value_at(const kernels::stored_matrix& x, index_t i, index_t j) {
  float value = 0;
  kernels::load_row(x.type, x.at(i, j), 1, 1, &value);
  return value;
}
void set_value(const kernels::stored_matrix& x, index_t i, index_t j, float value) {
  kernels::store_row(x.type, x.at(i, j), 1, 1, &value);
}

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
    const float got = value_at(c.view, i / n, i % n);
    double want = truth[at] + static_cast<double>(bias[static_cast<std::size_t>(i % n)]);
    if (relu) want = std::max(want, 0.0);
    const double allowed = 1.01 * unit * std::abs(want) + 6 * 0x1p-24 * (size[at] + 1) + 0x1p-25;
    worst = std::max(worst, std::abs(static_cast<double>(got) - want) / allowed);
  }
  return worst;
}

// The sum of a row of a times a column of b as AVX512_BF16 makes it.
float sum_of_pairs(const narrow_matrix& a, const narrow_matrix& b, index_t i, index_t j) {
  const auto flushed = [](float x) { return std::abs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; };
  const auto product = [&](index_t k, float sum) {
    if (k == a.view.cols) return sum;
    return flushed(std::fma(flushed(value_at(a.view, i, k)), flushed(value_at(b.view, k, j)), sum));
  };
  float sum = 0;
  for (index_t k = 0; k < a.view.cols; k += 2) sum = product(k, product(k + 1, sum));
  return sum;
}

}  // namespace

TEST_CASE("products of 16-bit matrices are those of the wide ones, rounded once") {
  const sizes all[] = {{1, 1, 1},     {3, 5, 0},      {7, 10, 33},     {48, 32, 256},
                       {49, 33, 257}, {130, 100, 70}, {300, 515, 520}, {1000, 40, 300},
                       {1, 130, 520}, {5, 515, 257},  {16, 67, 4500},  {48, 100, 777},
                       {30, 23, 1001}};  // dots where b is transposed
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

TEST_CASE("products of 16-bit matrices of any size and stride are those of the wide ones") {
  const sizes all[] = {{1, 1, 1},        {2, 3, 5},    {3, 16, 31},    {15, 17, 32},
                       {16, 16, 33},     {17, 31, 63}, {31, 33, 64},   {32, 32, 65},
                       {33, 1, 127},     {37, 64, 1},  {65, 97, 2},    {127, 129, 257},
                       {129, 130, 1025}, {5, 9, 4097}, {515, 3, 8300}, {37, 520, 2100}};
  for (const dtype type : {bf16, f16})
    for (const sizes& s : all)
      for (int form = 0; form < 8; ++form) {
        const dtype result = form % 3 == 2 ? f32 : type;
        const index_t gap = (form & 4) != 0 ? 7 : 0;
        const narrow_matrix a(type, s.m, s.k, (form & 1) != 0, 1, gap);
        const narrow_matrix b(type, s.k, s.n, (form & 2) != 0, 2, gap);
        const narrow_matrix c(result, s.m, s.n, false, 3, gap);
        const std::vector<float> bias(static_cast<std::size_t>(s.n), 0.0f);
        kernels::gemm_narrow(a.view, b.view, c.view);
        INFO(type, " ", s.m, " x ", s.n, " x ", s.k, ", form ", form);
        CHECK(error_of(a, b, c, bias, false) <= 1.0);
        CHECK(c.guarded());
      }
}

TEST_CASE("operands of 16-bit products may have gaps along both axes") {
  const narrow_matrix a(bf16, 35, 2 * 67, false, 1), b(bf16, 67, 2 * 41, false, 2);
  const narrow_matrix dense_a(bf16, 35, 67, false, 3), dense_b(bf16, 67, 41, false, 4);
  kernels::stored_matrix every = a.view, other = b.view;
  every.cols = 67, every.col_stride = 2, other.cols = 41, other.col_stride = 2;
  for (index_t k = 0; k < 67; ++k) {
    for (index_t i = 0; i < 35; ++i) set_value(every, i, k, value_at(dense_a.view, i, k));
    for (index_t j = 0; j < 41; ++j) set_value(other, k, j, value_at(dense_b.view, k, j));
  }
  const narrow_matrix got(bf16, 35, 41, false, 5), want(bf16, 35, 41, false, 6);
  kernels::gemm_narrow(every, other, got.view);
  kernels::gemm_narrow(dense_a.view, dense_b.view, want.view);
  CHECK(got.codes == want.codes);
}

TEST_CASE("16-bit products read nothing behind their operands") {
  for (const dtype type : {bf16, f16})
    for (const sizes& s : {sizes{1, 1, 1},
                           {2, 5, 33},
                           {17, 3, 31},
                           {33, 47, 65},
                           {65, 33, 1100},
                           {5, 7, 131},
                           {3, 6, 160}})
      for (int form = 0; form < 4; ++form) {
        const narrow_matrix a(type, s.m, s.k, (form & 1) != 0, 1, 3);
        const narrow_matrix b(type, s.k, s.n, (form & 2) != 0, 2, 5);
        const narrow_matrix want(type, s.m, s.n, false, 3), got(type, s.m, s.n, false, 4);
        const last_of_page left(a.view), right(b.view), result(got.view);
        kernels::gemm_narrow(a.view, b.view, want.view);
        kernels::gemm_narrow(left.view(), right.view(), result.view());
        INFO(type, " ", s.m, " x ", s.n, " x ", s.k, ", form ", form);
        CHECK(std::memcmp(result.view().data, want.view.data,
                          static_cast<std::size_t>(s.m * s.n * 2)) == 0);
      }
}

TEST_CASE("infinities and NaN reach the results of their row and column, and no other") {
  constexpr float infinite = std::numeric_limits<float>::infinity();
  for (const sizes& s : {sizes{35, 19, 37}, {5, 19, 133}})  // the second one by dots
    for (int form = 0; form < 4; ++form) {
      const narrow_matrix a(bf16, s.m, s.k, (form & 1) != 0, 1);
      const narrow_matrix b(bf16, s.k, s.n, (form & 2) != 0, 2), c(f32, s.m, s.n, false, 3);
      const index_t row = s.m - 1, column = s.n - 1, end = s.k - 1;
      for (index_t k = 0; k < s.k; ++k) set_value(a.view, row, k, k == end ? infinite : 0.5f);
      for (index_t k = 0; k < s.k; ++k)
        set_value(b.view, k, column, k == end ? std::nanf("") : 0.5f);
      for (index_t j = 0; j < column; ++j) set_value(b.view, end, j, j % 2 == 0 ? 1.0f : -1.0f);
      kernels::gemm_narrow(a.view, b.view, c.view);
      for (index_t i = 0; i < s.m; ++i)
        for (index_t j = 0; j < s.n; ++j) {
          const float got = value_at(c.view, i, j);
          INFO(i, ", ", j, ", form ", form);
          if (j == column)
            CHECK(std::isnan(got));
          else if (i == row)
            CHECK(got == (j % 2 == 0 ? infinite : -infinite));
          else
            CHECK(std::isfinite(got));
        }
    }
}

TEST_CASE("products by an instruction for bf16, and no others, take subnormal numbers for zero") {
  for (const index_t rows : {1, 3, 40}) {  // three by dots
    const narrow_matrix a(bf16, rows, 100, false, 1), b(bf16, 100, 24, true, 2);
    const narrow_matrix c(f32, rows, 24, false, 3), small(f32, rows, 24, false, 4);
    for (index_t k = 0; k < 100; ++k) {
      for (index_t i = 0; i < rows; ++i) set_value(a.view, i, k, 0x1p-130f);
      for (index_t j = 0; j < 24; ++j) set_value(b.view, k, j, 0x1p20f);
    }
    kernels::gemm_narrow(a.view, b.view, c.view);
    for (index_t k = 0; k < 100; ++k) {
      for (index_t i = 0; i < rows; ++i) set_value(a.view, i, k, 0x1p-70f);
      for (index_t j = 0; j < 24; ++j) set_value(b.view, k, j, 0x1p-70f);
    }
    kernels::gemm_narrow(a.view, b.view, small.view);
    const bool flushed = rows > 2 && kernels::by_bf16<simd::native>(a.view, b.view);
    CHECK(value_at(c.view, rows - 1, 23) == (flushed ? 0.0f : 100 * 0x1p-110f));
    CHECK(value_at(small.view, rows - 1, 23) == (flushed ? 0.0f : 100 * 0x1p-140f));
  }
}

TEST_CASE("products of pairs of bf16 have the bits of their twin") {
  if (!simd::bf16_pairs::exist) return;
  const sizes all[] = {{3, 1, 1},    {4, 5, 2},       {5, 16, 31},    {8, 17, 32},  {9, 33, 33},
                       {12, 31, 63}, {13, 32, 64},    {31, 33, 65},   {32, 65, 97}, {33, 47, 131},
                       {61, 3, 257}, {130, 37, 1030}, {129, 66, 2111}};
  // Ranges of exponents: sums become subnormal, stay as they are, and overflow.
  struct exponents {
    int lowest, range;
  };
  for (const exponents& e : {exponents{-76, 32}, {-10, 20}, {-80, 160}})
    for (const sizes& s : all)
      for (int form = 0; form < 4; ++form) {
        const narrow_matrix a(bf16, s.m, s.k, (form & 1) != 0, 1, 3);
        const narrow_matrix b(bf16, s.k, s.n, (form & 2) != 0, 2, 5);
        const narrow_matrix c(f32, s.m, s.n, false, 3);
        std::vector<float> random(static_cast<std::size_t>((s.m + s.n) * s.k));
        uniform_fill(random.data(), 0, (s.m + s.n) * s.k, random_state{4}, -1.0f, 1.0f);
        const float* x = random.data();
        const auto fill = [&](const kernels::stored_matrix& to, index_t i, index_t j) {
          const auto word = static_cast<int>(std::abs(*x) * 1e6f);
          set_value(to, i, j, std::ldexp(*x++, e.lowest + word % e.range));
        };
        for (index_t k = 0; k < s.k; ++k) {
          for (index_t i = 0; i < s.m; ++i) fill(a.view, i, k);
          for (index_t j = 0; j < s.n; ++j) fill(b.view, k, j);
        }
        kernels::gemm_narrow(a.view, b.view, c.view);
        INFO(s.m, " x ", s.n, " x ", s.k, ", form ", form, ", from 2^", e.lowest);
        index_t wrong = 0;
        for (index_t i = 0; i < s.m; ++i)
          for (index_t j = 0; j < s.n; ++j) {
            const float want = sum_of_pairs(a, b, i, j), got = value_at(c.view, i, j);
            wrong += !(std::isnan(want) ? std::isnan(got) : got == want);
          }
        CHECK(wrong == 0);
      }
}

TEST_CASE("products of 16-bit matrices are the same for any number of threads") {
  const auto before = threads();
  for (const dtype type : {bf16, f16})
    for (const bool turned : {false, true})
      for (const sizes& s :
           {sizes{16, 515, 520}, {300, 515, 520}, {150, 100, 2600}, {70, 1030, 90}}) {
        const narrow_matrix a(type, s.m, s.k, turned, 1), b(type, s.k, s.n, !turned, 2);
        const narrow_matrix one(type, s.m, s.n, false, 3), several(type, s.m, s.n, false, 4);
        set_threads(1);
        kernels::gemm_narrow(a.view, b.view, one.view);
        for (const int count : {2, 3, 7}) {
          set_threads(count);
          kernels::gemm_narrow(a.view, b.view, several.view);
          CHECK(one.codes == several.codes);
        }
      }
  set_threads(before);
}

}  // namespace adze
