// Elementary functions against the double versions of the C library: error in ulp over a sweep of
// all floats, edges, and the same result whatever the neighbouring lanes hold.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/simd/math.hpp>

namespace adze {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

// Distance in units of the last place of the float nearest to `exact`; infinite for a wrong kind.
double error_in_ulp(float got, double exact) {
  const double wrong = std::numeric_limits<double>::infinity();
  if (std::isnan(exact)) return std::isnan(got) ? 0 : wrong;
  const auto nearest = static_cast<float>(exact);
  if (std::isinf(nearest)) return got == nearest ? 0 : wrong;
  if (!std::isfinite(got) || (exact == 0 && std::signbit(got) != std::signbit(exact))) return wrong;
  int exponent = 0;
  static_cast<void>(std::frexp(exact, &exponent));
  const double unit = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::abs(static_cast<double>(got) - exact) / unit;
}

// The largest error of f over the floats with the codes 0, step, 2 step, ...
template <class V, class F, class G> double largest_error(F f, G exact, std::uint64_t step) {
  double largest = 0;
  float in[V::width], out[V::width];
  for (std::uint64_t code = 0; code < (std::uint64_t{1} << 32);) {
    for (float& x : in) {
      x = std::bit_cast<float>(static_cast<std::uint32_t>(code));
      code += step;
    }
    f(V::load(in)).store(out);
    for (std::size_t i = 0; i < V::width; ++i)
      largest = std::max(largest, error_in_ulp(out[i], exact(static_cast<double>(in[i]))));
  }
  return largest;
}

double exact_sigmoid(double x) {
  const double e = std::exp(-std::abs(x));
  return (x < 0 ? e : 1.0) / (1.0 + e);
}

template <class V> void check_bounds(std::uint64_t s) {
  CHECK(largest_error<V>([](V x) { return exp(x); }, [](double x) { return std::exp(x); }, s) <=
        1.1);
  CHECK(largest_error<V>([](V x) { return exp_nonpositive(minimum(x, V(0))); },
                         [](double x) { return std::exp(std::min(x, 0.0)); }, s) <= 1.1);
  CHECK(largest_error<V>([](V x) { return expm1(x); }, [](double x) { return std::expm1(x); }, s) <=
        1.8);
  CHECK(largest_error<V>([](V x) { return log(x); }, [](double x) { return std::log(x); }, s) <=
        1.0);
  CHECK(largest_error<V>([](V x) { return log2(x); }, [](double x) { return std::log2(x); }, s) <=
        2.0);
  CHECK(largest_error<V>([](V x) { return log1p(x); }, [](double x) { return std::log1p(x); }, s) <=
        1.6);
  CHECK(largest_error<V>([](V x) { return tanh(x); }, [](double x) { return std::tanh(x); }, s) <=
        2.5);
  CHECK(largest_error<V>([](V x) { return sigmoid(x); }, exact_sigmoid, s) <= 2.5);
  CHECK(largest_error<V>([](V x) { return erf(x); }, [](double x) { return std::erf(x); }, s) <=
        1.5);
  CHECK(largest_error<V>([](V x) { return sin(x); }, [](double x) { return std::sin(x); }, s) <=
        2.5);
  CHECK(largest_error<V>([](V x) { return cos(x); }, [](double x) { return std::cos(x); }, s) <=
        2.5);
  CHECK(largest_error<V>([](V x) { return rsqrt(x); }, [](double x) { return 1 / std::sqrt(x); },
                         s) <= 1.5);
  CHECK(largest_error<V>([](V x) { return pow(x, 3); }, [](double x) { return std::pow(x, 3); },
                         s) <= 1.5);
  CHECK(largest_error<V>([](V x) { return pow(x, 0.5); }, [](double x) { return std::pow(x, 0.5); },
                         s) <= 0.51);
  CHECK(largest_error<V>([](V x) { return pow(x, -1.7); },
                         [](double x) { return std::pow(x, -1.7); }, s) <= 0.51);
  CHECK(largest_error<V>([](V x) { return pow(x, V(2.5)); },
                         [](double x) { return std::pow(x, 2.5); }, s) <= 0.51);
}

using native_f32 = simd::pack<float, simd::native>;
using row_f32 = simd::pack<float>;
using native_f64 = simd::pack<double>;
using sse2_f32 = simd::pack<float, simd::sse2>;
using scalar_f32 = simd::pack<float, simd::scalar>;
using scalar_f64 = simd::pack<double, simd::scalar>;

}  // namespace

TEST_CASE_TEMPLATE("float functions keep their error bound", V, native_f32, row_f32, sse2_f32,
                   scalar_f32) {
  check_bounds<V>(20'011);
}

TEST_SUITE("slow") {
  TEST_CASE("float functions keep their error bound, dense sweep") {
    check_bounds<native_f32>(101);
  }
}

TEST_CASE_TEMPLATE("edges follow the C library", V, native_f32, row_f32, sse2_f32, scalar_f32) {
  const auto at = [](auto f, float x) { return reduce_max(f(V(x))); };
  const auto kept = [&](auto f, double (*exact)(double)) {
    for (const float x : {0.0f,    -0.0f,   1.0f,   -1.0f,  infinity, -infinity, nan,
                          1e-45f,  -1e-45f, 1e-40f, 1e-38f, 88.7228f, 88.7229f,  -87.4f,
                          -103.9f, -104.1f, 3e38f,  -3e38f, 8192.5f,  -1e10f}) {
      CAPTURE(x);
      CHECK(error_in_ulp(at(f, x), exact(static_cast<double>(x))) <= 2.5);
    }
  };
  kept([](V x) { return exp(x); }, [](double x) { return std::exp(x); });
  kept([](V x) { return exp_nonpositive(minimum(x, V(0))); },
       [](double x) { return std::isnan(x) ? x : std::exp(std::min(x, 0.0)); });
  kept([](V x) { return expm1(x); }, [](double x) { return std::expm1(x); });
  kept([](V x) { return log(x); }, [](double x) { return std::log(x); });
  kept([](V x) { return log2(x); }, [](double x) { return std::log2(x); });
  for (int k = -149; k < 128; ++k) {
    CHECK(at([](V x) { return log2(x); }, std::ldexp(1.0f, k)) == static_cast<float>(k));
  }
  kept([](V x) { return log1p(x); }, [](double x) { return std::log1p(x); });
  kept([](V x) { return tanh(x); }, [](double x) { return std::tanh(x); });
  kept([](V x) { return sigmoid(x); }, exact_sigmoid);
  kept([](V x) { return erf(x); }, [](double x) { return std::erf(x); });
  kept([](V x) { return sin(x); }, [](double x) { return std::sin(x); });
  kept([](V x) { return cos(x); }, [](double x) { return std::cos(x); });
  for (const double p : {0.0, 1.0, 2.0, 3.0, -1.0, 0.5, -0.5, 7.0, 0.3})
    for (const float x : {0.0f, -0.0f, 2.0f, -2.0f, infinity, -infinity, nan}) {
      CAPTURE(x);
      CAPTURE(p);
      const float y = at([p](V v) { return pow(v, p); }, x);
      CHECK(error_in_ulp(y, std::pow(static_cast<double>(x), p)) <= 1.5);
    }
}

TEST_CASE_TEMPLATE("a lane does not depend on its neighbours", V, native_f32, row_f32, sse2_f32) {
  const auto alone = [](auto f, float x) { return reduce_max(f(V(x))); };
  const auto check = [&](auto f) {
    for (const float other : {0.0f, -1.0f, nan, infinity, 1e-40f, 1e6f}) {
      float in[V::width], out[V::width];
      for (std::size_t i = 0; i < V::width; ++i) in[i] = 0.37f * static_cast<float>(i) + 0.01f;
      constexpr std::size_t at = V::width / 2;
      in[at] = other;
      f(V::load(in)).store(out);
      for (std::size_t i = 0; i < V::width; ++i)
        if (i != at) CHECK(out[i] == alone(f, in[i]));
    }
  };
  check([](V x) { return exp(x); });
  check([](V x) { return log(x); });
  check([](V x) { return log2(x); });
  check([](V x) { return log1p(x); });
  check([](V x) { return tanh(x); });
  check([](V x) { return erf(x); });
  check([](V x) { return normal_cdf(x); });
  check([](V x) { return sin(x); });
  check([](V x) { return cos(x); });
}

TEST_CASE_TEMPLATE("doubles are those of the C library", V, native_f64, scalar_f64) {
  for (const double x : {-3.25, -0.5, -1e-9, -0.0, 0.0, 1e-300, 0.75, 2.0, 40.0, 1e5}) {
    CAPTURE(x);
    const auto value = [](V y) { return reduce_max(y); };
    const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    CHECK(same(value(exp(V(x))), std::exp(x)));
    CHECK(same(value(expm1(V(x))), std::expm1(x)));
    CHECK(same(value(log(V(x))), std::log(x)));
    CHECK(same(value(log2(V(x))), std::log2(x)));
    CHECK(same(value(log1p(V(x))), std::log1p(x)));
    CHECK(same(value(tanh(V(x))), std::tanh(x)));
    CHECK(same(value(erf(V(x))), std::erf(x)));
    CHECK(same(value(sin(V(x))), std::sin(x)));
    CHECK(same(value(cos(V(x))), std::cos(x)));
    CHECK(same(value(pow(V(x), 1.7)), std::pow(x, 1.7)));
    CHECK(same(value(pow(V(x), V(0.3))), std::pow(x, 0.3)));
    CHECK(same(value(rsqrt(V(x))), 1 / std::sqrt(x)));
    CHECK(value(sigmoid(V(x))) == doctest::Approx(exact_sigmoid(x)).epsilon(1e-15));
  }
}

TEST_CASE("plain numbers have the same functions") {
  CHECK(simd::exp(1.0) == std::exp(1.0));
  CHECK(simd::tanh(0.5f) == reduce_max(tanh(scalar_f32(0.5f))));
  CHECK(simd::pow(3.0f, 2.0) == 9.0f);
  CHECK(simd::sigmoid(0.0f) == 0.5f);
  CHECK(simd::rsqrt(4.0) == 0.5);
}

TEST_CASE_TEMPLATE("the normal distribution function is within 2^-23 everywhere", V, native_f32,
                   scalar_f32) {
  float x[V::width];
  std::fill_n(x, V::width, 0.0f);
  const auto value = [&](float at) {
    x[0] = at;
    float y[V::width];
    V(normal_cdf(V::load(x))).store(y);
    return static_cast<double>(y[0]);
  };
  double worst = 0;
  for (double at = -7; at <= 7; at += 1.0 / 8192) {
    const auto v = static_cast<float>(at);
    const double exact = 0.5 * std::erfc(static_cast<double>(-v) * std::sqrt(0.5));
    worst = std::max(worst, std::fabs(value(v) - exact));
  }
  CHECK(worst < 0x1p-23);
  CHECK(value(0.0f) == 0.5);
  CHECK(value(-0.0f) == 0.5);
  CHECK(value(6.0f) == 1.0);
  CHECK(value(-6.0f) == 0.0);
  CHECK(value(infinity) == 1.0);
  CHECK(value(-infinity) == 0.0);
  CHECK(std::isnan(value(nan)));
}

}  // namespace adze
