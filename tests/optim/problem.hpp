#pragma once
// SPDX-License-Identifier: MIT
// What the tests of optimizers share: tensors from plain numbers, a gradient to follow, and the
// comparison with an update rule that a test writes down as plain loops over doubles.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include <adze/optim/method.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::optim::testing {

using numbers = std::vector<double>;

inline tensor tensor_with(const shape& sizes, const numbers& values, dtype type = f64) {
  tensor x = empty(sizes, type);
  kernels::copy(sizes, adze::detail::operand_of(x), {values.data(), f64, dense_strides(sizes)});
  return x;
}
// One parameter with one element.
inline std::vector<tensor> one() { return {tensor_with({1}, {0.0}).set_requires_grad()}; }
inline numbers values_of(const tensor& x) {
  numbers v(static_cast<std::size_t>(x.numel()));
  kernels::copy(x.shape(), {v.data(), f64, dense_strides(x.shape())}, adze::detail::operand_of(x));
  return v;
}
inline bool same_bits(const tensor& a, const tensor& b) {
  const tensor x = adze::detail::dense_copy(a), y = adze::detail::dense_copy(b);
  return x.shape() == y.shape() && x.dtype() == y.dtype() &&
         std::memcmp(x.data(), y.data(),
                     static_cast<std::size_t>(x.numel() * size_of(x.dtype()))) == 0;
}

// Numbers without a pattern that a vector width could hide.
inline double wave(std::size_t i, double t) {
  return std::sin(1.7 * static_cast<double>(i) + 0.9 * t) + 0.3 * std::cos(5.1 * t);
}

// Sizes around the SIMD width, none, one element, several axes.
inline const std::vector<shape>& sizes() {
  static const std::vector<shape> all{{7, 5}, {3}, {}, {0}, {33}, {2, 2, 4}, {8}};
  return all;
}
inline std::vector<tensor> leaves(dtype type = f64) {
  std::vector<tensor> all;
  for (const shape& s : sizes()) {
    numbers v;
    for (index_t i = 0; i < s.numel(); ++i) {
      v.push_back(wave(static_cast<std::size_t>(i), static_cast<double>(all.size())));
    }
    all.push_back(tensor_with(s, v, type).set_requires_grad());
  }
  return all;
}

// The gradient that parameter k with the values p has at step t: a slope to a target, and noise.
inline numbers gradient_at(const numbers& p, std::size_t k, int t) {
  numbers g(p.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    g[i] = 0.4 * (p[i] - 0.25 * wave(i, static_cast<double>(k))) + 0.2 * wave(i + 3 * k, 0.11 * t);
  }
  return g;
}
inline void set_gradients(const std::vector<tensor>& all, int t) {
  for (std::size_t k = 0; k < all.size(); ++k) {
    tensor p = all[k];
    p.set_grad(tensor_with(p.shape(), gradient_at(values_of(p), k, t), p.dtype()));
  }
}

// One step of a reference: parameter k, its gradient, the step from 1 on.
using reference = std::function<void(std::size_t k, numbers& p, const numbers& g, int t)>;

// The largest difference, relative above 1, after each of 200 steps.
inline double difference(optimizer& o, const reference& rule, int steps = 200) {
  std::vector<numbers> p;
  for (const tensor& x : o.parameters()) p.push_back(values_of(x));
  double most = 0.0;
  for (int t = 1; t <= steps; ++t) {
    set_gradients(o.parameters(), t);
    o.step();
    for (std::size_t k = 0; k < p.size(); ++k) {
      rule(k, p[k], gradient_at(p[k], k, t), t);
      const numbers mine = values_of(o.parameters()[k]);
      for (std::size_t i = 0; i < mine.size(); ++i) {
        const double d = std::abs(mine[i] - p[k][i]) / std::max(1.0, std::abs(p[k][i]));
        if (!(d <= most)) most = d;
      }
    }
  }
  return most;
}

// A reference's memory: one array per parameter, made when first asked for.
struct memory {
  std::vector<numbers> of = std::vector<numbers>(16);
  numbers& at(std::size_t k, std::size_t n, double value = 0.0) {
    if (of[k].empty()) of[k].assign(n, value);
    return of[k];
  }
};

// A float optimizer stays near the double one.
template <class O> double float_difference(const typename O::options_type& options) {
  O exact(leaves(f64), options), rounded(leaves(f32), options);
  double most = 0.0;
  for (int t = 1; t <= 200; ++t) {
    set_gradients(exact.parameters(), t);
    set_gradients(rounded.parameters(), t);
    exact.step();
    rounded.step();
  }
  for (std::size_t k = 0; k < exact.parameters().size(); ++k) {
    const numbers a = values_of(exact.parameters()[k]), b = values_of(rounded.parameters()[k]);
    for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  }
  return most;
}

}  // namespace adze::optim::testing
