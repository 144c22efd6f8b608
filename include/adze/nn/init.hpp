#pragma once
// SPDX-License-Identifier: MIT
// Initial values of parameters, in place: PyTorch's initialisers by name. They draw from a
// generator, by the position of the element, so a seed gives the same weights on any machine.
// Gradients are not recorded; a leaf stays a leaf.
#include <adze/autograd/accumulate.hpp>
#include <adze/tensor/create.hpp>

namespace adze::nn::init {

// Which side of a layer keeps its variance.
enum class fan : std::uint8_t { in, out };
// What follows the layer: decides the gain.
enum class nonlinearity : std::uint8_t { linear, sigmoid, tanh, relu, leaky_relu, selu };

// The factor that keeps a standard deviation through a nonlinearity.
inline double gain(nonlinearity f, double negative_slope = 0.01) {
  switch (f) {
  case nonlinearity::tanh:
    return 5.0 / 3.0;
  case nonlinearity::relu:
    return std::sqrt(2.0);
  case nonlinearity::leaky_relu:
    return std::sqrt(2.0 / (1.0 + negative_slope * negative_slope));
  case nonlinearity::selu:
    return 0.75;
  default:
    return 1.0;
  }
}

struct fans {
  index_t in = 0, out = 0;
};
// Of a weight [out, in, ...]: inputs and outputs of a unit, times the pixels of the kernel.
[[gnu::cold]] inline fans fans_of(const tensor& weight) {
  if (weight.rank() < 2) {
    raise<shape_error>("init: needs a weight with at least two axes; got ", weight);
  }
  index_t area = 1;
  for (index_t i = 2; i < weight.rank(); ++i) area *= weight.shape()[i];
  return {weight.shape()[1] * area, weight.shape()[0] * area};
}

struct kaiming_options {
  fan mode = fan::in;
  nonlinearity after = nonlinearity::leaky_relu;
  double negative_slope = 0.0;  // of leaky_relu
};
struct truncated_normal {
  double mean = 0.0, deviation = 1.0;
  double low = -2.0, high = 2.0;
};

}  // namespace adze::nn::init

namespace adze::nn::init::inline ADZE_ISA {

// The given values into x, converted; users of the old ones will notice.
template <class = void> tensor& overwrite(tensor& x, const tensor& values) {
  kernels::copy(x.shape(), detail::operand_of(x), detail::operand_of(values));
  x.impl().store->version.fetch_add(1, std::memory_order_relaxed);
  return x;
}

// fill(out, first, count, state) draws elements, in f64 for f64 and in f32 for the other floats.
template <class F> tensor& draw(std::string_view op, tensor& x, generator& g, F fill) {
  if (!is_floating(x.dtype())) {
    raise<dtype_error>(op, ": initialises floating tensors; got ", x);
  }
  return dispatch(float_types{}, x.dtype() == f64 ? f64 : f32, op, [&]<class T>() -> tensor& {
    const random_state at = g.reserve_for<T>(x.numel());
    return overwrite(x, detail::drawn<T>(x.shape(), [&](index_t first, index_t count, T* out) {
                       fill(out, first, count, at);
                     }));
  });
}

template <class = void> tensor& constant_(tensor& x, double value) {
  detail::fill(x, value);
  x.impl().store->version.fetch_add(1, std::memory_order_relaxed);
  return x;
}
template <class = void> tensor& zeros_(tensor& x) { return constant_(x, 0.0); }
template <class = void> tensor& ones_(tensor& x) { return constant_(x, 1.0); }

// Uniform on [low, high).
template <class = void>
tensor& uniform_(tensor& x, double low = 0.0, double high = 1.0,
                 generator& g = default_generator()) {
  return draw("uniform_", x, g,
              [=]<class T>(T* out, index_t first, index_t count, const random_state& at) {
                uniform_fill(out, first, count, at, static_cast<T>(low), static_cast<T>(high));
              });
}

template <class = void>
tensor& normal_(tensor& x, double mean = 0.0, double deviation = 1.0,
                generator& g = default_generator()) {
  return draw("normal_", x, g,
              [=]<class T>(T* out, index_t first, index_t count, const random_state& at) {
                normal_fill(out, first, count, at, mean, deviation);
              });
}

inline constexpr double root_two = 1.4142135623730951, root_half = 0.70710678118654752;

// y with erf(y) = x, -1 < x < 1: a start by Giles (2010), polished by Newton's method.
inline double inverse_erf(double x) {
  double w = -std::log((1.0 - x) * (1.0 + x)), y = 0.0;
  const auto polynomial = [&w](std::initializer_list<double> c) {
    double sum = 0.0;
    for (const double a : c) sum = sum * w + a;
    return sum;
  };
  if (w < 5.0) {
    w -= 2.5;
    y = x * polynomial({2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06,
                        0.00021858087, -0.00125372503, -0.00417768164, 0.246640727, 1.50140941});
  } else {
    w = std::sqrt(w) - 3.0;
    y = x * polynomial({-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844,
                        0.00573950773, -0.0076224613, 0.00943887047, 1.00167406, 2.83297682});
  }
  for (int i = 0; i < 2; ++i) {
    y -= (std::erf(y) - x) * 0.88622692545275801 * std::exp(y * y);  // sqrt(pi) / 2
  }
  return y;
}

// exp(z^2) erfc(z) for z from 3 on.
inline double scaled_erfc(double z) {
  constexpr double root_pi = 1.7724538509055159;
  return z < 25.0 ? std::exp(z * z) * std::erfc(z) : (1.0 - 0.5 / (z * z)) / (z * root_pi);
}
// The z where erfc has gone the share u of the way from erfc(a) to erfc(b), 3 <= a < b. Ratios
// only: so far out erfc itself may be smaller than any number, and 1 - erf is 0 from 6 on.
inline double tail_value(double a, double b, double u) {
  const double start = scaled_erfc(a);
  const double rest = std::exp((a - b) * (a + b)) * scaled_erfc(b) / start;
  const double square = a * a - std::log(1.0 - u * (1.0 - rest));
  double z = std::sqrt(square);
  for (int i = 0; i < 12; ++i) z = std::sqrt(square + std::log(scaled_erfc(z) / start));
  return z;
}

// Normal, but only values in [low, high]: one uniform number each, through the inverse of the
// distribution function.
template <class = void>
tensor& trunc_normal_(tensor& x, const truncated_normal& o = {},
                      generator& g = default_generator()) {
  if (!(o.low < o.high) || !(o.deviation > 0.0)) {
    raise<value_error>("trunc_normal_: needs low < high and a deviation above 0; got ", o.low, ", ",
                       o.high, " and ", o.deviation);
  }
  const auto position = [&o](double v) { return (v - o.mean) / o.deviation * root_half; };
  const double low = position(o.low), high = position(o.high);
  const double side = low > 3.0 ? 1.0 : high < -3.0 ? -1.0 : 0.0;  // of a window in one tail
  const double near = side < 0.0 ? -high : low, far = side < 0.0 ? -low : high;
  const double first = std::erf(low), last = std::erf(high);
  const auto value = [=](double u) {
    if (side != 0.0) return side * tail_value(near, far, u);
    return inverse_erf(std::clamp(first + (last - first) * u, -1.0 + 1e-15, 1.0 - 1e-15));
  };
  return draw("trunc_normal_", x, g,
              [=]<class T>(T* out, index_t begin, index_t count, const random_state& at) {
                uniform_fill(out, begin, count, at, T(0), T(1));
                for (index_t i = 0; i < count; ++i) {
                  const double z = value(static_cast<double>(out[i]));
                  const double v = o.mean + o.deviation * root_two * z;
                  out[i] = static_cast<T>(std::clamp(v, o.low, o.high));
                }
              });
}

// Glorot, Bengio 2010: variance gain^2 2 / (in + out).
template <class = void>
tensor& xavier_uniform_(tensor& weight, double gain = 1.0, generator& g = default_generator()) {
  const fans f = fans_of(weight);
  const double bound = gain * std::sqrt(6.0 / static_cast<double>(f.in + f.out));
  return uniform_(weight, -bound, bound, g);
}
template <class = void>
tensor& xavier_normal_(tensor& weight, double gain = 1.0, generator& g = default_generator()) {
  const fans f = fans_of(weight);
  return normal_(weight, 0.0, gain * std::sqrt(2.0 / static_cast<double>(f.in + f.out)), g);
}

// He et al. 2015: variance gain^2 / fan.
inline double kaiming_deviation(const tensor& weight, const kaiming_options& o) {
  const fans f = fans_of(weight);
  const index_t n = o.mode == fan::in ? f.in : f.out;
  return n == 0 ? 0.0 : gain(o.after, o.negative_slope) / std::sqrt(static_cast<double>(n));
}
template <class = void>
tensor& kaiming_uniform_(tensor& weight, const kaiming_options& o = {},
                         generator& g = default_generator()) {
  const double bound = std::sqrt(3.0) * kaiming_deviation(weight, o);
  return uniform_(weight, -bound, bound, g);
}
template <class = void>
tensor& kaiming_normal_(tensor& weight, const kaiming_options& o = {},
                        generator& g = default_generator()) {
  return normal_(weight, 0.0, kaiming_deviation(weight, o), g);
}

// Rows, or columns where there are fewer, that are orthogonal to each other and of length `gain`,
// of [rows, everything else] (Saxe, McClelland, Ganguli 2014): a normal matrix made orthogonal
// column by column, twice, which keeps the uniform distribution over such matrices.
template <class = void>
tensor& orthogonal_(tensor& x, double gain = 1.0, generator& g = default_generator()) {
  if (x.rank() < 2) {
    raise<shape_error>("orthogonal_: needs at least two axes; got ", x);
  }
  const index_t rows = x.shape()[0], columns = rows == 0 ? 0 : x.numel() / rows;
  const index_t count = std::min(rows, columns), length = std::max(rows, columns);
  tensor vectors = empty({count, length}, f64);
  normal_(vectors, 0.0, 1.0, g);
  double* v = vectors.data_as<double>();
  const auto dot = [length](const double* a, const double* b) {
    double s = 0.0;
    for (index_t i = 0; i < length; ++i) s += a[i] * b[i];
    return s;
  };
  for (index_t j = 0; j < count; ++j) {
    double* own = v + j * length;
    for (index_t k = 0; k < 2 * j; ++k) {
      const double* other = v + k % j * length;
      const double s = dot(own, other);
      for (index_t i = 0; i < length; ++i) own[i] -= s * other[i];
    }
    const double scale = 1.0 / std::sqrt(dot(own, own));
    for (index_t i = 0; i < length; ++i) own[i] *= scale;
  }
  for (index_t i = 0; i < count * length; ++i) v[i] *= gain;
  dims strides = dense_strides(x.shape());  // of the vectors as x: its columns where x is tall
  if (rows > columns) {
    for (index_t a = 0; a < x.rank(); ++a) {
      strides[static_cast<std::size_t>(a)] =
          a == 0 ? 1 : strides[static_cast<std::size_t>(a)] * length;
    }
  }
  return overwrite(x, alias(vectors, x.shape(), strides));
}

}  // namespace adze::nn::init::inline ADZE_ISA
