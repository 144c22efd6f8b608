// SPDX-License-Identifier: MIT
// Entries of the generic suite: arithmetic, functions of one tensor, comparisons.
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <adze/ops/inplace.hpp>
#include <adze/ops/pointwise.hpp>

#include "suite.hpp"

namespace adze::suite {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
using x1 = const std::vector<double>&;

double larger(double a, double b) { return std::isnan(a) || std::isnan(b) ? nan : a > b ? a : b; }
double smaller(double a, double b) { return std::isnan(a) || std::isnan(b) ? nan : a < b ? a : b; }

// y = f(a, b).
void two(const any_op& op, double (*f)(double, double), const elementwise_options& o = {}) {
  add("pointwise", elementwise(
                       op, 2, [f](x1 x) { return f(x[0], x[1]); }, o));
}
// y = f(x).
void one(const any_op& op, double (*f)(double), const elementwise_options& o = {}) {
  add("pointwise", elementwise(
                       op, 1, [f](x1 x) { return f(x[0]); }, o));
}
template <class F> any_op f1(F f = {}) { return op_of(unary<F>{f}); }
template <class F> any_op f2() { return op_of(binary<F>{}); }
template <class F> any_op with(double b) { return op_of(unary<F>{F{{.b = b}}}); }

void arithmetic() {
  using namespace functors;
  const elementwise_options plain{.allowed = exact, .signed_zero = true, .integers = true};
  const elementwise_options ordered{.allowed = exact, .integers = true};
  const drawn divisor{.low = 0.4, .high = 2.5}, base{.low = 0.3, .high = 2.5};
  two(
      f2<add_f>(), [](double a, double b) { return a + b; }, plain);
  two(
      f2<sub_f>(), [](double a, double b) { return a - b; }, plain);
  two(
      f2<mul_f>(), [](double a, double b) { return a * b; }, plain);
  two(f2<div_f>(), [](double a, double b) { return a / b; },
      {.inputs = {{}, divisor, {}}, .allowed = exact, .signed_zero = true});
  two(f2<pow_f>(), [](double a, double b) { return std::pow(a, b); },
      {.inputs = {base, {}, {}}, .allowed = {16, 0}});
  two(f2<maximum_f>(), larger, ordered);
  two(f2<minimum_f>(), smaller, ordered);
  // Without special values: between the ends of f32, b - a is infinite, as in PyTorch.
  two(op_of(binary<lerp_f>{{0.25}}), [](double a, double b) { return a + (b - a) * 0.25; },
      {.allowed = {4, 4}, .special = false});
  two(op_of(binary<lerp_f>{{0.75}}), [](double a, double b) { return b - (b - a) * 0.25; },
      {.allowed = {4, 4}, .special = false});

  one(
      with<add_scalar_f>(3.0), [](double x) { return x + 3.0; }, plain);
  one(
      with<mul_scalar_f>(-2.0), [](double x) { return x * -2.0; }, plain);
  one(with<div_scalar_f>(4.0), [](double x) { return x / 4.0; }, {.allowed = exact});
  one(
      with<from_scalar_f>(3.0), [](double x) { return 3.0 - x; }, plain);
  one(with<scalar_div_f>(3.0), [](double x) { return 3.0 / x; },
      {.input = divisor, .allowed = exact});
  one(with<pow_scalar_f>(3.0), [](double x) { return std::pow(x, 3.0); }, {.allowed = {8, 0}});
  one(with<pow_scalar_f>(2.0), [](double x) { return x * x; }, {.allowed = {4, 0}});
  one(with<pow_scalar_f>(-1.5), [](double x) { return std::pow(x, -1.5); },
      {.input = base, .allowed = {16, 0}});
  one(with<maximum_scalar_f>(1.0), [](double x) { return larger(x, 1.0); },
      {.input = {.kinks = {1.0}}, .allowed = exact, .integers = true});
  one(with<minimum_scalar_f>(-1.0), [](double x) { return smaller(x, -1.0); },
      {.input = {.kinks = {-1.0}}, .allowed = exact, .integers = true});
  one(op_of(unary<clamp_f>{{-1.0, 1.0}}), [](double x) { return smaller(larger(x, -1.0), 1.0); },
      {.input = {.kinks = {-1.0, 1.0}}, .allowed = exact, .integers = true});
  one(op_of(fill_op<>{0.25}), [](double) { return 0.25; },
      {.allowed = exact, .gradient = smoothness::none});
}

void functions() {
  using namespace functors;
  const elementwise_options plain{.allowed = exact, .signed_zero = true, .integers = true};
  const drawn kink{.kinks = {0.0}},
      steps{.low = -3, .high = 3, .kinks = {-2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5}};
  const drawn positive{.low = 0.3, .high = 4.0};
  const elementwise_options stepped{.input = steps, .allowed = exact, .signed_zero = true};
  one(
      f1<neg_f>(), [](double x) { return -x; }, plain);
  one(f1<abs_f>(), [](double x) { return std::abs(x); },
      {.input = kink, .allowed = exact, .signed_zero = true, .integers = true});
  one(f1<sign_f>(), [](double x) { return x > 0   ? 1.0
                                          : x < 0 ? -1.0
                                                  : x; },
      {.input = kink, .allowed = exact, .integers = true});
  one(f1<step_f>(), [](double x) { return x > 0 ? 1.0 : 0.0; }, {.input = kink, .allowed = exact});
  one(
      f1<floor_f>(), [](double x) { return std::floor(x); }, stepped);
  one(
      f1<ceil_f>(), [](double x) { return std::ceil(x); }, stepped);
  one(
      f1<round_f>(), [](double x) { return std::nearbyint(x); }, stepped);
  one(f1<square_f>(), [](double x) { return x * x; }, {.allowed = exact, .integers = true});
  one(f1<sqrt_f>(), [](double x) { return std::sqrt(x); },
      {.input = positive, .allowed = exact, .signed_zero = true});
  one(f1<rsqrt_f>(), [](double x) { return 1.0 / std::sqrt(x); },
      {.input = positive, .allowed = {2, 0}});
  one(f1<reciprocal_f>(), [](double x) { return 1.0 / x; }, {.input = positive, .allowed = exact});
  one(f1<exp_f>(), [](double x) { return std::exp(x); }, {.allowed = {4, 0x1p-100}});
  one(f1<expm1_f>(), [](double x) { return std::expm1(x); }, {.allowed = {4, 0x1p-100}});
  one(f1<log_f>(), [](double x) { return std::log(x); }, {.input = positive, .allowed = {4, 0}});
  one(f1<log2_f>(), [](double x) { return std::log2(x); }, {.input = positive, .allowed = {4, 0}});
  one(f1<log1p_f>(), [](double x) { return std::log1p(x); },
      {.input = {.low = -0.7, .high = 3}, .allowed = {4, 0}});
  one(f1<sin_f>(), [](double x) { return std::sin(x); }, {.allowed = {4, 0}});
  one(f1<cos_f>(), [](double x) { return std::cos(x); }, {.allowed = {4, 0}});
  one(f1<erf_f>(), [](double x) { return std::erf(x); }, {.allowed = {4, 0}});
}

void comparisons() {
  using namespace functors;
  const elementwise_options o{.input = {.low = -1, .high = 1, .grid = 0.5},
                              .allowed = exact,
                              .gradient = smoothness::none,
                              .integers = true,
                              .result = bool8};
  const auto compared = [&](const any_op& op, double (*f)(double, double)) { two(op, f, o); };
  compared(op_of(comparison<equal_f>{}), [](double a, double b) { return double(a == b); });
  compared(op_of(comparison<not_equal_f>{}), [](double a, double b) { return double(a != b); });
  compared(op_of(comparison<less_f>{}), [](double a, double b) { return double(a < b); });
  compared(op_of(comparison<less_equal_f>{}), [](double a, double b) { return double(a <= b); });
  elementwise_options truth = o;
  truth.inputs = {{.type = bool8}, {.type = bool8}, {}};
  truth.special = false;
  add("pointwise", elementwise(
                       op_of(comparison<and_f>{}), 2,
                       [](x1 x) { return double(x[0] != 0 && x[1] != 0); }, truth));
  add("pointwise", elementwise(
                       op_of(comparison<or_f>{}), 2,
                       [](x1 x) { return double(x[0] != 0 || x[1] != 0); }, truth));
  add("pointwise", elementwise(op_of(where_op<>{}), 3, [](x1 x) { return x[0] != 0 ? x[1] : x[2]; },
                               {.inputs = {{.type = bool8}, {}, {}},
                                .allowed = exact,
                                .signed_zero = true,
                                .integers = true}));
}

const bool registered = (arithmetic(), functions(), comparisons(), true);

}  // namespace

TEST_CASE("suite: pointwise ops") {
  CHECK(registered);
  run_family("pointwise");
}

// All pairs of shapes with up to three axes of sizes 0 to 3, against the rule as NumPy states it.
TEST_CASE("suite: broadcasting of every pair of small shapes") {
  std::vector<shape> all{{}};
  for (std::size_t first = 0, rank = 0; rank < 3; ++rank) {
    const std::size_t last = all.size();
    for (; first < last; ++first) {
      for (index_t n = 0; n <= 3; ++n) all.push_back(all[first].inserted(all[first].rank(), n));
    }
  }
  REQUIRE(all.size() == 85);
  index_t stretched = 0, refused = 0;
  for (const shape& a : all) {
    for (const shape& b : all) {
      tensor x = empty(a, f32), y = empty(b, f32);
      for (index_t i = 0; i < x.numel(); ++i) x.data_as<float>()[i] = static_cast<float>(100 * i);
      for (index_t i = 0; i < y.numel(); ++i) y.data_as<float>()[i] = static_cast<float>(i);
      const index_t rank = std::max(a.rank(), b.rank());
      std::vector<index_t> to(static_cast<std::size_t>(rank));
      bool fits = true;
      const auto size = [&](const shape& s, index_t i) {
        const index_t own = i - (rank - s.rank());
        return own < 0 ? 1 : s[own];
      };
      for (index_t i = 0; i < rank; ++i) {
        const index_t n = size(a, i), m = size(b, i);
        fits = fits && (n == m || n == 1 || m == 1);
        to[static_cast<std::size_t>(i)] = n == 1 ? m : n;
      }
      if (!fits) {
        ++refused;
        CHECK_THROWS_AS(add(x, y), shape_error);
        continue;
      }
      ++stretched;
      const tensor z = add(x, y);
      REQUIRE(z.shape() == shape(to));
      for (index_t i = 0; i < z.numel(); ++i) {
        index_t at_x = 0, at_y = 0, step_x = 1, step_y = 1, rest = i;
        for (index_t k = rank - 1; k >= 0; --k) {
          const index_t at_axis = rest % z.shape()[k];
          rest /= z.shape()[k];
          at_x += size(a, k) == 1 ? 0 : at_axis * step_x;
          at_y += size(b, k) == 1 ? 0 : at_axis * step_y;
          step_x *= size(a, k);
          step_y *= size(b, k);
        }
        if (z.data_as<float>()[i] != static_cast<float>(100 * at_x + at_y)) {
          FAIL_CHECK(to_text(a) << " + " << to_text(b) << " at " << i);
          break;
        }
      }
    }
  }
  CHECK(stretched + refused == 85 * 85);
  CHECK(stretched > 2000);
  CHECK(refused > 2000);
}

}  // namespace adze::suite
