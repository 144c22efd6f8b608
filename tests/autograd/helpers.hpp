// SPDX-License-Identifier: MIT
// What the engine's tests share: leaves from values, elements as doubles, the text of an error, and
// a guard that notices nodes left behind.
#pragma once
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/backward.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/tensor/typed.hpp>

namespace adze {

// A row of f64 that wants a gradient.
inline tensor leaf(std::initializer_list<double> values) {
  tensor x = tensor_f64(values);
  x.set_requires_grad();
  return x;
}
inline tensor scalar_leaf(double value) {
  tensor x = detail::filled({}, f64, value);
  x.set_requires_grad();
  return x;
}
// f64 values that vary over the elements and stay in [-1, 1] away from 0.
inline tensor varied(const shape& sizes, int kind = 0) {
  tensor x = empty(sizes, f64);
  for (index_t i = 0; i < x.numel(); ++i) {
    const double u = 0.5 + 0.5 * std::sin(1.7 * static_cast<double>(i) + 0.9 * kind + 0.3);
    x.data_as<double>()[i] = (i % 2 == 0 ? 1.0 : -1.0) * (0.1 + 0.9 * u);
  }
  return x;
}
inline tensor varied_leaf(const shape& sizes, int kind = 0) {
  return varied(sizes, kind).set_requires_grad();
}

// The elements in row-major order, whatever the dtype.
inline std::vector<double> elements(const tensor& x) {
  tensor y = empty(x.shape(), f64);
  kernels::copy(x.shape(), detail::operand_of(y), detail::operand_of(x));
  return std::vector<double>(y.data_as<double>(), y.data_as<double>() + y.numel());
}

// What f throws, as text; "nothing thrown" if it does not.
template <class E = error, class F> std::string thrown(F&& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing thrown";
}
inline bool says(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// Nodes alive at the end of the scope that were not there before are a leak, usually a cycle.
struct no_leaks {
  index_t before = live_nodes();
  no_leaks() = default;
  no_leaks(const no_leaks&) = delete;
  no_leaks& operator=(const no_leaks&) = delete;
  ~no_leaks() { CHECK(live_nodes() == before); }
};

}  // namespace adze
