#pragma once
// Inputs and comparisons that tests of ops share.
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include <adze/ops/layout.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::test {

// Values in -size..size without a pattern; `seed` gives others.
inline tensor smooth(const shape& sizes, dtype type = f64, double size = 1.0, double seed = 0.3) {
  tensor x = empty(sizes, f64);
  for (index_t i = 0; i < x.numel(); ++i) {
    x.data_as<double>()[i] = size * std::sin(1.7 * static_cast<double>(i) + seed);
  }
  return cast(x, type);
}

// The same, as a leaf that wants gradients.
inline tensor leaf(const shape& sizes, double size = 1.0, double seed = 0.3) {
  tensor x = smooth(sizes, f64, size, seed);
  x.set_requires_grad();
  return x;
}

// The elements in row-major order.
inline std::vector<double> numbers(const tensor& x) {
  const no_grad guard;
  return cast(x, f64).as<double>().to_vector();
}

// The largest difference; NaN where only one has NaN.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (a[i] != b[i] && !(std::abs(a[i] - b[i]) <= worst)) worst = std::abs(a[i] - b[i]);
  }
  return worst;
}
inline double distance(const tensor& a, const tensor& b) {
  REQUIRE(a.shape() == b.shape());
  return distance(numbers(a), numbers(b));
}

}  // namespace adze::test
