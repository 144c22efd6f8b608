#pragma once
// SPDX-License-Identifier: MIT
// What tests of layers' ops share: random tensors, both derivatives at once, texts of errors.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/tensor/create.hpp>

#include "numbers.hpp"

namespace adze::test {

inline generator& source() {
  static generator g(7);
  return g;
}
inline tensor random(const shape& sizes, dtype type = f64) { return randn(sizes, type, source()); }
inline tensor random_leaf(const shape& sizes) {
  tensor x = random(sizes);
  return x.set_requires_grad();
}

// The same values with channels next to each other in memory.
inline tensor channels_last(const tensor& x) {
  tensor y = empty_channels_last(x.shape(), x.dtype());
  kernels::copy(x.shape(), detail::operand_of(y), detail::operand_of(x));
  return y;
}

// The largest difference from values in row-major order.
inline double off_by(const tensor& y, const std::vector<double>& expected) {
  return distance(numbers(y), expected);
}

using list = std::vector<tensor>;

// First and second derivatives against differences.
inline void check_gradients(const tensor_function& f, const list& x) {
  const gradcheck_result first = gradcheck(f, x), second = gradgradcheck(f, x);
  CHECK_MESSAGE(first.ok, first.where);
  CHECK_MESSAGE(second.ok, second.where);
}

template <class F> std::string message_of(F f) {
  try {
    f();
  } catch (const error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace adze::test
