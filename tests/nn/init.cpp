// SPDX-License-Identifier: MIT
// Initial values: bounds and moments of the distributions, exact properties, the same from a seed.
#include <limits>

#include <doctest/doctest.h>

#include <adze/nn/init.hpp>

namespace adze::init_test {
namespace {

std::vector<double> values_of(const tensor& x) {
  tensor y = empty(x.shape(), f64);
  kernels::copy(x.shape(), detail::operand_of(y), detail::operand_of(x));
  return std::vector<double>(y.data_as<double>(), y.data_as<double>() + y.numel());
}

struct summary {
  double mean = 0, deviation = 0, low = 1e300, high = -1e300;
};
summary summary_of(const tensor& x) {
  summary s;
  const std::vector<double> v = values_of(x);
  const double n = static_cast<double>(v.size());
  for (const double e : v) {
    s.mean += e / n;
    s.low = std::min(s.low, e);
    s.high = std::max(s.high, e);
  }
  for (const double e : v) s.deviation += (e - s.mean) * (e - s.mean) / n;
  s.deviation = std::sqrt(s.deviation);
  return s;
}

void check_uniform(const tensor& x, double bound) {
  const summary s = summary_of(x);
  CHECK(s.low >= -bound);
  CHECK(s.high < bound);
  CHECK(s.low < -0.99 * bound);
  CHECK(s.high > 0.99 * bound);
  CHECK(std::abs(s.mean) < 0.02 * bound);
  CHECK(s.deviation == doctest::Approx(bound / std::sqrt(3.0)).epsilon(0.02));
}

}  // namespace

TEST_CASE("fans count inputs and outputs of a unit, kernels included") {
  CHECK(nn::init::fans_of(empty({30, 20})).in == 20);
  CHECK(nn::init::fans_of(empty({30, 20})).out == 30);
  CHECK(nn::init::fans_of(empty({30, 20, 3, 5})).in == 300);
  CHECK(nn::init::fans_of(empty({30, 20, 3, 5})).out == 450);
  CHECK_THROWS_AS(nn::init::fans_of(empty({30})), shape_error);
}

TEST_CASE("uniform and normal values in every floating dtype") {
  for (const dtype type : {f32, f64, f16, bf16}) {
    generator g(3);
    tensor x = empty({100, 80}, type);
    nn::init::uniform_(x, -2.0, 6.0, g);
    const summary u = summary_of(x);
    CHECK(u.low >= -2.0);
    CHECK(u.high <= 6.0);
    CHECK(u.mean == doctest::Approx(2.0).epsilon(0.03));
    nn::init::normal_(x, 3.0, 0.5, g);
    const summary n = summary_of(x);
    CHECK(n.mean == doctest::Approx(3.0).epsilon(0.01));
    CHECK(n.deviation == doctest::Approx(0.5).epsilon(0.03));
  }
  tensor whole = empty({3}, i32);
  CHECK_THROWS_AS(nn::init::normal_(whole), dtype_error);
}

TEST_CASE("a seed gives the same values, also through strides and in any number of threads") {
  tensor a = empty({300, 200}), b = empty({200, 300});
  generator g(11), h(11);
  nn::init::normal_(a, 0, 1, g);
  tensor turned = alias(b, {300, 200}, {1, 300});
  const int before = threads();
  set_threads(3);
  nn::init::normal_(turned, 0, 1, h);
  set_threads(before);
  CHECK(values_of(a) == values_of(turned));
  CHECK(g.state() == h.state());
  manual_seed(5);
  nn::init::kaiming_uniform_(a);
  const std::vector<double> first = values_of(a);
  nn::init::kaiming_uniform_(a);
  CHECK(values_of(a) != first);
  manual_seed(5);
  nn::init::kaiming_uniform_(a);
  CHECK(values_of(a) == first);
}

TEST_CASE("leaves stay leaves, and their version counts") {
  tensor x = empty({2, 2});
  x.set_requires_grad();
  const std::uint32_t version = x.version();
  nn::init::ones_(x);
  CHECK(values_of(x) == std::vector<double>{1, 1, 1, 1});
  nn::init::uniform_(x);
  CHECK(x.version() == version + 2);
  CHECK(x.is_leaf());
  CHECK(x.requires_grad());
}

TEST_CASE("xavier and kaiming bounds") {
  tensor w = empty({100, 50, 3, 2});  // fans 300 and 600
  nn::init::xavier_uniform_(w, 2.0);
  check_uniform(w, 2.0 * std::sqrt(6.0 / 900));
  nn::init::kaiming_uniform_(w, {.after = nn::init::nonlinearity::relu});
  check_uniform(w, std::sqrt(6.0 / 300));
  nn::init::kaiming_uniform_(w, {.negative_slope = std::sqrt(5.0)});
  check_uniform(w, 1.0 / std::sqrt(300.0));
  nn::init::xavier_normal_(w);
  CHECK(summary_of(w).deviation == doctest::Approx(std::sqrt(2.0 / 900)).epsilon(0.02));
  nn::init::kaiming_normal_(w, {.mode = nn::init::fan::out, .after = nn::init::nonlinearity::tanh});
  CHECK(summary_of(w).deviation == doctest::Approx(5.0 / 3 / std::sqrt(600.0)).epsilon(0.02));
  CHECK(nn::init::gain(nn::init::nonlinearity::leaky_relu, 0.0) == doctest::Approx(std::sqrt(2.0)));
}

TEST_CASE("truncated normal values have the right tails") {
  for (const double x : {-0.999999, -0.97, -0.3, 0.0, 1e-9, 0.5, 0.99, 0.9999999}) {
    CHECK(std::erf(nn::init::inverse_erf(x)) == doctest::Approx(x).epsilon(1e-13));
  }
  tensor x = empty({20000}, f64);
  nn::init::trunc_normal_(x, {.mean = 1.0, .deviation = 2.0, .low = 0.0, .high = 3.0});
  const summary s = summary_of(x);
  CHECK(s.low >= 0.0);
  CHECK(s.high <= 3.0);
  // Between -1/2 and 1 standard deviations: mean and deviation by the textbook.
  CHECK(s.mean == doctest::Approx(1.0 + 2.0 * 0.2066).epsilon(0.01));
  CHECK(s.deviation == doctest::Approx(2.0 * 0.4157).epsilon(0.01));
  CHECK_THROWS_AS(nn::init::trunc_normal_(x, {.low = 1, .high = 1}), value_error);
}

TEST_CASE("truncated normal values far in a tail") {
  const auto sample = [](double low, double high) {
    tensor x = empty({20000}, f64);
    generator g(4);
    nn::init::trunc_normal_(x, {.low = low, .high = high}, g);
    return x;
  };
  // Mean and deviation of a tail from a on, by numbers: a + 1 / a, 1 / a, and less the nearer it
  // is.
  const auto check = [&](double low, double high, double mean, double deviation) {
    const summary s = summary_of(sample(low, high));
    CHECK(s.low >= low);
    CHECK(s.high <= high);
    CHECK(s.mean - low == doctest::Approx(mean - low).epsilon(0.02));
    CHECK(s.deviation == doctest::Approx(deviation).epsilon(0.03));
  };
  check(4.0, 6.0, 4.22555, 0.21577);
  check(4.5, 5.0, 4.65989, 0.12642);
  check(9.0, 10.0, 9.10846, 0.10700);
  check(200.0, std::numeric_limits<double>::infinity(), 200.005, 0.005);
  const std::vector<double> up = values_of(sample(9.0, 10.0)),
                            down = values_of(sample(-10.0, -9.0));
  for (std::size_t i = 0; i < up.size(); ++i) REQUIRE(up[i] == -down[i]);
}

TEST_CASE("orthogonal rows or columns") {
  for (const shape& sizes :
       {shape{5, 8}, shape{8, 5}, shape{6, 6}, shape{4, 3, 2, 2}, shape{20, 3, 2}}) {
    tensor x = empty(sizes, f64);
    nn::init::orthogonal_(x, 3.0);
    const std::vector<double> v = values_of(x);
    const index_t rows = sizes[0], columns = x.numel() / rows;
    const bool wide = rows <= columns;
    const index_t count = std::min(rows, columns), length = std::max(rows, columns);
    const auto at = [&](index_t k, index_t i) {
      return v[static_cast<std::size_t>(wide ? k * columns + i : i * columns + k)];
    };
    for (index_t a = 0; a < count; ++a) {
      for (index_t b = 0; b < count; ++b) {
        double dot = 0;
        for (index_t i = 0; i < length; ++i) dot += at(a, i) * at(b, i);
        CHECK(dot == doctest::Approx(a == b ? 9.0 : 0.0).epsilon(1e-12));
      }
    }
  }
  tensor line = empty({5});
  CHECK_THROWS_AS(nn::init::orthogonal_(line), shape_error);
}

}  // namespace adze::init_test
