// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/kernels/gemm_packed.hpp>
#include <adze/kernels/reference.hpp>

#include "guard_page.hpp"

namespace adze {
namespace {

using kernels::activation;
using kernels::gemm_options;

// Matrices in memory with NaN around every element that belongs to them.
template <class T> struct guarded {
  std::vector<T> memory;
  matrix<T> view;

  guarded(index_t rows, index_t cols, bool transposed, index_t gap, bool sparse = false) {
    const index_t inner = transposed ? rows : cols, outer = transposed ? cols : rows;
    const index_t step = sparse ? 2 : 1, row = inner * step + gap;
    memory.assign(static_cast<std::size_t>(outer * row + 2 * gap + 1),
                  std::numeric_limits<T>::quiet_NaN());
    view = {memory.data() + gap, rows, cols, row, step};
    if (transposed) std::swap(view.row_stride, view.col_stride);
  }
  template <class F> void fill(F f) {
    for (index_t i = 0; i < view.rows; ++i)
      for (index_t j = 0; j < view.cols; ++j) view(i, j) = f();
  }
  index_t numbers() const {
    index_t n = 0;
    for (T x : memory) n += !std::isnan(x);
    return n;
  }
};

struct problem {
  index_t m, n, k;
  bool a_transposed = false, b_transposed = false, c_transposed = false, sparse = false;
  double alpha = 1, beta = 0;
  bool positive = false, bias = false, row_bias = false, relu = false, residual = false;
  bool packed = false;
  index_t a_gap = 3, b_gap = 5;
};

// The largest error in units of u |A||B|; fails on a NaN, and on a number written outside c.
template <class T, class A = simd::native> double error_of(const problem& p, std::mt19937& draw) {
  using wide = kernels::reference::wide<T>;
  std::uniform_real_distribution<T> uniform(p.positive ? T(0) : T(-1), T(1));
  const auto next = [&] { return uniform(draw); };
  guarded<T> a(p.m, p.k, p.a_transposed, p.a_gap, p.sparse),
      b(p.k, p.n, p.b_transposed, p.b_gap, p.sparse);
  guarded<T> c(p.m, p.n, p.c_transposed, 2), more(p.m, p.n, p.c_transposed, 2);
  a.fill(next), b.fill(next);
  if (p.residual) more.fill(next);
  if (p.beta != 0) c.fill(next);
  const auto cells = static_cast<std::size_t>(p.m * p.n);
  std::vector<wide> exact(cells), size(cells);
  std::vector<T> bias(static_cast<std::size_t>(p.n)), row_bias(static_cast<std::size_t>(p.m));
  for (T& x : bias) x = next();
  for (T& x : row_bias) x = next();
  const auto out = dense_matrix(exact.data(), p.m, p.n),
             scale = dense_matrix(size.data(), p.m, p.n);
  for (index_t i = 0; i < p.m; ++i)
    for (index_t j = 0; j < p.n; ++j) out(i, j) = c.view(i, j);
  kernels::reference::gemm<T>(a.view, b.view, out, scale, wide(T(p.alpha)), wide(T(p.beta)));
  gemm_options<T> o{.alpha = T(p.alpha), .beta = T(p.beta)};
  if (p.bias) o.bias = bias.data();
  if (p.row_bias) o.row_bias = row_bias.data();
  if (p.relu) o.activate = activation::relu;
  if (p.residual) o.residual = more.view.data;
  if (p.packed) {
    kernels::gemm<T, A>(a.view, kernels::packed_right<T, A>(b.view), c.view, o);
  } else {
    kernels::gemm<T, A>(a.view, b.view, c.view, o);
  }
  double worst = 0;
  for (index_t i = 0; i < p.m; ++i) {
    for (index_t j = 0; j < p.n; ++j) {
      wide x = out(i, j), room = scale(i, j);
      if (p.bias) x += bias[static_cast<std::size_t>(j)], room += 1;
      if (p.row_bias) x += row_bias[static_cast<std::size_t>(i)], room += 1;
      if (p.residual) x += more.view(i, j), room += 1;
      if (p.relu) x = std::max(x, wide(0));
      const auto error = std::abs(wide(c.view(i, j)) - x);
      const wide unit = std::numeric_limits<T>::epsilon() / 2 * room;
      const double e = error == 0 ? 0 : double(error / unit);
      worst = e <= worst ? worst : e;  // a NaN becomes the worst
    }
  }
  CHECK(c.numbers() == p.m * p.n);
  return worst;
}

template <class A> void check_small_shapes() {
  std::mt19937 draw(7);
  double worst = 0;
  for (index_t m = 0; m <= 13; ++m)
    for (index_t n = 0; n <= 18; ++n)
      for (index_t k = 0; k <= 9; ++k) {
        const auto bits = draw();
        const problem p{.m = m,
                        .n = n,
                        .k = k,
                        .a_transposed = (bits & 1) != 0,
                        .b_transposed = (bits & 2) != 0,
                        .c_transposed = (bits & 28) == 0,
                        .sparse = (bits & 96) == 0,
                        .alpha = (bits & 128) ? 1.0 : 0.7,
                        .beta = (bits & 256)   ? 0.0
                                : (bits & 512) ? 1.0
                                               : 1.3,
                        .bias = (bits & 1024) != 0,
                        .row_bias = (bits & 6144) == 0,
                        .relu = (bits & 8192) != 0,
                        .residual = (bits & 3 << 14) == 0,
                        .packed = (bits & 28) != 0 && (bits & 1 << 16) != 0};
        worst = std::max(worst, error_of<float, A>(p, draw));
        if constexpr (!std::is_same_v<A, simd::scalar>)
          worst = std::max(worst, error_of<double, A>(p, draw));
      }
  CHECK(worst <= 6);
}

TEST_CASE("gemm: every small shape, any strides and options, in every tile") {
  check_small_shapes<simd::native>();
  check_small_shapes<simd::scalar>();
  check_small_shapes<simd::odd>();
}

TEST_CASE("gemm: shapes around the edges of tiles, blocks and paths") {
  std::mt19937 draw(11);
  const index_t rows[] = {1, 2, 4, 5, 6, 7, 12, 13, 16, 17, 31, 61, 64};
  const index_t cols[] = {1, 7, 8, 10, 15, 16, 17, 33, 64, 100, 127, 511, 512, 513};
  const index_t depths[] = {1, 8, 15, 16, 64, 127, 128, 129, 255, 256, 257, 641};
  double worst = 0, positive = 0;
  for (index_t m : rows)
    for (index_t n : cols)
      for (index_t k : depths) {
        const auto bits = draw();
        if (m * n * k > 400000 && bits % 8 != 0) continue;
        problem p{.m = m,
                  .n = n,
                  .k = k,
                  .a_transposed = (bits & 16) != 0,
                  .b_transposed = (bits & 32) != 0,
                  .beta = (bits & 192) ? 0.0 : 1.3};
        worst = std::max(worst, error_of<float>(p, draw));
        if (bits & 256) worst = std::max(worst, error_of<double>(p, draw));
        p.packed = true;
        worst = std::max(worst, error_of<float>(p, draw));
        p.positive = true;
        positive = std::max(positive, error_of<float>(p, draw) / std::min(4 + std::sqrt(k), 20.0));
      }
  CHECK(worst <= 6);
  CHECK(positive <= 1);
}

TEST_CASE("gemm: results with few columns or few rows, any transposes and options") {
  std::mt19937 draw(29);
  double worst = 0;
  for (index_t m : {31, 32, 48, 49, 257, 300})
    for (index_t n : {1, 2, 5, 6, 9, 10, 11, 12, 13})
      for (index_t k : {1, 63, 64, 65, 263})
        for (const bool turned : {false, true}) {
          const auto bits = draw();
          const problem p{.m = turned ? n : m,
                          .n = turned ? m : n,
                          .k = k,
                          .a_transposed = (bits & 1) != 0,
                          .b_transposed = (bits & 2) != 0,
                          .sparse = (bits & 28) == 0,
                          .alpha = (bits & 32) ? 1.0 : 0.7,
                          .beta = (bits & 64)    ? 0.0
                                  : (bits & 128) ? 1.0
                                                 : 1.3,
                          .bias = (bits & 256) != 0,
                          .row_bias = (bits & 512) != 0,
                          .relu = (bits & 1024) != 0,
                          .residual = (bits & 3 << 14) == 0};
          worst = std::max(worst, error_of<float>(p, draw));
          if ((bits & 6144) == 0) worst = std::max(worst, error_of<double>(p, draw));
        }
  CHECK(worst <= 6);
}

TEST_CASE("gemm: few rows times a large matrix whose rows may share a cache set") {
  std::mt19937 draw(41);
  double worst = 0;
  for (index_t m : {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13})
    for (index_t n : {1024, 1100, 1500})
      for (const bool aligned : {false, true}) {
        problem p{.m = m, .n = n, .k = 270 + index_t(draw() % 9), .alpha = 0.7, .beta = 1.3};
        p.b_gap = aligned ? (1024 - n % 1024) % 1024 : 5;
        p.a_transposed = draw() % 2 != 0;
        p.row_bias = p.relu = draw() % 2 != 0;
        worst = std::max(worst, error_of<float>(p, draw));
      }
  CHECK(worst <= 6);
}

TEST_CASE("gemm: narrow results of deep products, whose operands are read where they stand") {
  std::mt19937 draw(43);
  double worst = 0;
  for (index_t m : {14, 25, 35, 36, 37})
    for (index_t n : {17, 96, 319, 320, 321})
      for (index_t k : {129, 411, 800}) {
        problem p{.m = m, .n = n, .k = k, .a_transposed = draw() % 2 != 0};
        p.bias = p.residual = draw() % 2 != 0;
        p.beta = draw() % 2 != 0 ? 1 : 0;
        worst = std::max(worst, error_of<float>(p, draw));
        if (k == 411) worst = std::max(worst, error_of<double>(p, draw));
      }
  CHECK(worst <= 6);
}

TEST_CASE("gemm: a left operand whose rows share a cache set, or that is transposed") {
  std::mt19937 draw(31);
  double worst = 0;
  for (index_t m : {25, 31, 40, 61, 130, 257})
    for (index_t n : {256, 300, 520})
      for (index_t k : {249, 411})
        for (int options = 0; options < 8; ++options) {
          problem p{.m = m, .n = n, .k = k, .a_transposed = (options & 1) != 0};
          p.a_gap = p.a_transposed ? 3 : 1024 - k;
          p.packed = (options & 2) != 0;
          p.row_bias = p.residual = p.relu = (options & 4) != 0;
          p.beta = (options & 4) ? 1.3 : 0;
          worst = std::max(worst, error_of<float>(p, draw));
          if (options == 4) worst = std::max(worst, error_of<float, simd::odd>(p, draw));
        }
  CHECK(worst <= 6);
}

TEST_CASE(
    "gemm: rows give the same bits together, in copies made once for all columns, and alone") {
  const index_t m = 4200, n = 520, k = 300;
  std::mt19937 draw(37);
  for (const bool transposed : {false, true}) {
    guarded<float> a(m, k, transposed, transposed ? 0 : 1024 - k), b(k, n, false, 0);
    const auto next = [&] { return static_cast<float>(draw() % 1000) * 0.01f - 5; };
    a.fill(next), b.fill(next);
    std::vector<float> together(static_cast<std::size_t>(m * n)), alone(together.size());
    kernels::gemm<float>(a.view, b.view, dense_matrix(together.data(), m, n));
    for (index_t i = 0; i < m; i += 24)
      kernels::gemm<float>(
          {&a.view(i, 0), std::min<index_t>(24, m - i), k, a.view.row_stride, a.view.col_stride},
          b.view, dense_matrix(alone.data() + i * n, std::min<index_t>(24, m - i), n));
    CHECK(std::memcmp(together.data(), alone.data(), alone.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("gemm: small products touch no byte beyond their matrices, and are exact") {
  std::mt19937 draw(37);
  const auto next = [&] { return static_cast<float>(static_cast<int>(draw() % 15) - 7); };
  for (const index_t m : {2, 3, 8, 11, 12, 13, 16, 17, 25, 31})
    for (const index_t n : {2, 6, 13, 16, 17, 31, 32, 33, 49})
      for (const index_t k : {1, 9, 70})
        for (const bool turned : {false, true}) {
          std::vector<float> a(static_cast<std::size_t>(m * k)), b(static_cast<std::size_t>(k * n));
          std::vector<float> c(static_cast<std::size_t>(m * n), 1.0f);
          for (float& x : a) x = next();
          for (float& x : b) x = next();
          const guarded_memory left(a.data(), a.size() * 4), right(b.data(), b.size() * 4);
          const guarded_memory out(c.data(), c.size() * 4);
          const auto* first = reinterpret_cast<const float*>(left.data());
          const matrix<const float> x =
              turned ? dense_matrix(first, k, m).transposed() : dense_matrix(first, m, k);
          const auto y = dense_matrix(reinterpret_cast<const float*>(right.data()), k, n);
          const auto z = dense_matrix(reinterpret_cast<float*>(out.data()), m, n);
          const float alpha = draw() % 2 ? 1.0f : 0.5f, beta = draw() % 2 ? 1.0f : 0.0f;
          kernels::gemm<float>(x, y, z, {.alpha = alpha, .beta = beta});
          index_t wrong = 0;
          for (index_t i = 0; i < m; ++i)
            for (index_t j = 0; j < n; ++j) {
              float sum = 0;
              for (index_t q = 0; q < k; ++q) sum += x(i, q) * y(q, j);
              wrong += z(i, j) != alpha * sum + beta;
            }
          CHECK(wrong == 0);
        }
}

TEST_CASE("gemm: long sums stay accurate on every path") {
  std::mt19937 draw(13);
  for (index_t m : {1, 3, 9, 20})
    for (bool transposed : {false, true}) {
      problem p{.m = m, .n = 9, .k = 16384, .b_transposed = transposed, .positive = true};
      CHECK(error_of<float>(p, draw) <= 20);
      p.n = 1;
      CHECK(error_of<float>(p, draw) <= 20);
    }
}

TEST_CASE("gemm: small integers are exact on every instruction set") {
  std::mt19937 draw(17);
  for (int round = 0; round < 60; ++round) {
    const auto size = [&] { return static_cast<index_t>(draw() % 70 + 1); };
    const index_t m = size(), n = size(), k = size();
    guarded<float> a(m, k, draw() % 2, 1), b(k, n, draw() % 2, 1);
    const auto next = [&] { return static_cast<float>(static_cast<int>(draw() % 15) - 7); };
    a.fill(next), b.fill(next);
    guarded<float> x(m, n, false, 1), y = x, z = x;
    x.view.data = x.memory.data(), y.view.data = y.memory.data(), z.view.data = z.memory.data();
    kernels::gemm<float, simd::native>(a.view, b.view, x.view);
    kernels::gemm<float, simd::scalar>(a.view, b.view, y.view);
    kernels::gemm<float, simd::odd>(a.view, b.view, z.view);
    index_t wrong = 0;
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < n; ++j) {
        float sum = 0;
        for (index_t q = 0; q < k; ++q) sum += a.view(i, q) * b.view(q, j);
        wrong += x.view(i, j) != sum || y.view(i, j) != sum || z.view(i, j) != sum;
      }
    CHECK(wrong == 0);
  }
}

TEST_CASE("gemm: the same bits for any number of threads") {
  std::mt19937 draw(19);
  struct size {
    index_t m, n, k;
    bool transposed, left_transposed = false;
  };
  for (const size s :
       {size{150, 170, 333, false}, size{150, 170, 333, true}, size{9, 900, 700, true},
        size{1, 3000, 1100, false}, size{3, 1500, 800, false}, size{20, 1500, 300, false},
        size{300, 64, 300, true}, size{2500, 1, 1500, false}, size{3000, 10, 200, false},
        size{3000, 11, 200, true}, size{3000, 10, 200, false, true}, size{3000, 9, 300, true, true},
        size{130, 600, 400, false, true}, size{100, 600, 800, false, true},
        size{100, 600, 1024, true}, size{100, 600, 1024, false}, size{8, 1024, 700, false},
        size{33, 300, 3000, false, true}}) {
    guarded<float> a(s.m, s.k, s.left_transposed, 0), b(s.k, s.n, s.transposed, 0);
    const auto next = [&] { return static_cast<float>(draw() % 1000) * 0.01f - 5; };
    a.fill(next), b.fill(next);
    std::vector<float> one(static_cast<std::size_t>(s.m * s.n)), many(one.size());
    const kernels::packed_right<float> packed(b.view);
    for (const bool before : {false, true}) {
      const auto run = [&](std::vector<float>& to) {
        const auto c = dense_matrix(to.data(), s.m, s.n);
        return before ? kernels::gemm<float>(a.view, packed, c)
                      : kernels::gemm<float>(a.view, b.view, c);
      };
      set_threads(1);
      run(one);
      for (int n : {2, 3, 7}) {
        set_threads(n);
        run(many);
        CHECK(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)) == 0);
      }
    }
  }
  set_threads(2);
}

TEST_CASE("gemm: beta 0 does not read the result, alpha 0 does not read the operands") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> a(12, 1.0f), b(12, 2.0f), c(9, nan), bad(12, nan);
  const auto left = dense_matrix(a.data(), 3, 4), right = dense_matrix(b.data(), 4, 3);
  const auto out = dense_matrix(c.data(), 3, 3);
  kernels::gemm<float>(left, right, out);
  for (float x : c) CHECK(x == 8.0f);
  const auto nans = dense_matrix(bad.data(), 3, 4);
  kernels::gemm<float>(nans, nans.transposed(), out, {.alpha = 0, .beta = 0.5f});
  for (float x : c) CHECK(x == 4.0f);
  kernels::gemm<float>(nans, nans.transposed(), out, {.alpha = 0});
  for (float x : c) CHECK(x == 0.0f);
  const float bias[] = {1, -2, 3};
  kernels::gemm<float>({a.data(), 3, 0, 1, 1}, {b.data(), 0, 3, 1, 1}, out,
                       {.bias = bias, .activate = activation::relu});
  for (index_t i = 0; i < 9; ++i) CHECK(out(i / 3, i % 3) == std::max(bias[i % 3], 0.0f));
}

TEST_CASE("gemm: NaN and infinity reach exactly the outputs that read them, also through relu") {
  for (index_t m : {1, 5, 40}) {
    guarded<float> a(m, 70, false, 0), b(70, 21, false, 0), c(m, 21, false, 0);
    a.fill([] { return 1.0f; }), b.fill([] { return 1.0f; });
    a.view(m - 1, 69) = std::numeric_limits<float>::quiet_NaN();
    b.view(3, 20) = -std::numeric_limits<float>::infinity();
    kernels::gemm<float>(a.view, b.view, c.view, {.activate = activation::relu});
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < 21; ++j) {
        if (i == m - 1)
          CHECK(std::isnan(c.view(i, j)));
        else
          CHECK(c.view(i, j) == (j == 20 ? 0.0f : 70.0f));
      }
  }
}

TEST_CASE("gemm_batched: any batch axes, with repeated matrices") {
  std::mt19937 draw(23);
  const index_t m = 7, n = 9, k = 11;
  for (const index_t outer : {0, 1, 3}) {
    const index_t inner = 4;
    std::vector<double> a(static_cast<std::size_t>(inner * m * k));  // the same for each outer
    std::vector<double> b(static_cast<std::size_t>(3 * inner * k * n));
    std::vector<double> c(static_cast<std::size_t>(3 * inner * m * n), -1), one(m * n);
    for (double& x : a) x = static_cast<double>(draw() % 100);
    for (double& x : b) x = static_cast<double>(draw() % 100);
    const kernels::batch_axis axes[] = {{outer, 0, inner * k * n, inner * m * n},
                                        {inner, m * k, k * n, m * n}};
    kernels::gemm_batched<double>(axes, dense_matrix(a.data(), m, k), dense_matrix(b.data(), k, n),
                                  dense_matrix(c.data(), m, n));
    for (index_t i = 0; i < 3 * inner; ++i) {
      kernels::gemm<double>(dense_matrix(a.data() + i % inner * m * k, m, k),
                            dense_matrix(b.data() + i * k * n, k, n),
                            dense_matrix(one.data(), m, n));
      for (index_t j = 0; j < m * n; ++j)
        CHECK(c[static_cast<std::size_t>(i * m * n + j)] ==
              (i < outer * inner ? one[static_cast<std::size_t>(j)] : -1));
    }
  }
}

TEST_SUITE("slow") {
  // The published bound of the library: 6 u |A||B|, whatever the shapes, strides and options.
  TEST_CASE("gemm: 200,000 random problems") {
    std::mt19937 draw(17);
    const auto size = [&](double most) {  // uniform in the logarithm
      return static_cast<index_t>(std::pow(most, std::uniform_real_distribution<>(0, 1)(draw)));
    };
    const double factors[] = {0.0, 1.0, 1.3, -0.7};
    double worst = 0;
    for (int i = 0; i < 200000; ++i) {
      const double most = i % 64 == 0 ? 300 : 49;
      const auto bits = draw();
      worst = std::max(worst, error_of<float>({.m = size(most),
                                               .n = size(most),
                                               .k = size(most),
                                               .a_transposed = (bits & 1) != 0,
                                               .b_transposed = (bits & 2) != 0,
                                               .c_transposed = (bits & 28) == 0,
                                               .sparse = (bits & 480) == 0,
                                               .alpha = factors[bits >> 9 & 3],
                                               .beta = factors[bits >> 11 & 3],
                                               .bias = (bits & 1 << 13) != 0,
                                               .row_bias = (bits & 3 << 14) == 0,
                                               .relu = (bits & 1 << 16) != 0,
                                               .residual = (bits & 3 << 17) == 0},
                                              draw));
    }
    CHECK(worst <= 6);
  }
}

}  // namespace
}  // namespace adze
