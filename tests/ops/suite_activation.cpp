// SPDX-License-Identifier: MIT
// Entries of the generic suite: activations and dropout.
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <adze/core/random.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/dropout.hpp>

#include "suite.hpp"

namespace adze::suite::suite_activation_test {
namespace {

using namespace functors;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
double bounded(double x, double low, double high) {
  return std::isnan(x) ? nan : x < low ? low : x > high ? high : x;
}
double logistic(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double soft(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

template <class F>
void one(F functor, const std::function<double(double)>& f, const elementwise_options& o = {}) {
  add("activation",
      elementwise(
          op_of(unary<F>{functor}), 1, [f](const std::vector<double>& x) { return f(x[0]); }, o));
}

void activations() {
  const drawn kink{.kinks = {0.0}}, wide{.low = -4, .high = 4};
  const elementwise_options smooth{.input = wide};
  one(relu_f{}, [](double x) { return bounded(x, 0, HUGE_VAL); },
      {.input = kink, .allowed = exact, .integers = true});
  one(hardtanh_f{}, [](double x) { return bounded(x, -1, 1); },
      {.input = {.kinks = {-1, 1}}, .allowed = exact});
  one(hardtanh_f{0.0, 6.0}, [](double x) { return bounded(x, 0, 6); },
      {.input = {.low = -3, .high = 9, .kinks = {0, 6}}, .allowed = exact});
  one(leaky_relu_f{0.25}, [](double x) { return x > 0 ? x : 0.25 * x; },
      {.input = kink, .allowed = exact});
  one(elu_f{}, [](double x) { return x > 0 ? x : std::expm1(x); }, {.input = kink});
  one(elu_f{1.6732632423543772, 1.0507009873554805},
      [](double x) {
        return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * std::expm1(x));
      },
      {.input = kink});
  one(elu_f{1.5, 1.0, 1 / 1.5}, [](double x) { return x > 0 ? x : 1.5 * std::expm1(x / 1.5); },
      {.input = kink});
  one(sigmoid_f{}, logistic, smooth);
  one(tanh_f{}, [](double x) { return std::tanh(x); }, {.input = wide, .allowed = {4, 0}});
  // inf * 0 is NaN below: PyTorch gives it, too.
  one(
      gelu_f{}, [](double x) { return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }, smooth);
  one(
      gelu_tanh_f{},
      [](double x) {
        return x * 0.5 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      },
      smooth);
  one(
      silu_f{}, [](double x) { return x * logistic(x); }, smooth);
  one(softplus_f{}, soft, {.input = wide});
  one(softplus_f{2.0, 3.0}, [](double x) { return 2 * x > 3 ? x : soft(2 * x) / 2; },
      {.input = {.low = -4, .high = 4, .kinks = {1.5}}, .special = false});
  one(
      log_sigmoid_f{}, [](double x) { return -soft(-x); }, smooth);
  one(
      mish_f{}, [](double x) { return x * std::tanh(soft(x)); }, smooth);
  one(softsign_f{}, [](double x) { return x / (1 + std::abs(x)); }, {.input = {.kinks = {0.0}}});
  one(hardsigmoid_f{}, [](double x) { return bounded(x + 3, 0, 6) / 6; },
      {.input = {.low = -5, .high = 5, .kinks = {-3, 3}}});
  one(hardswish_f{}, [](double x) { return x * (bounded(x + 3, 0, 6) / 6); },
      {.input = {.low = -5, .high = 5, .kinks = {-3, 3}}});
  add("activation",
      elementwise(op_of(binary<prelu_f>{}), 2,
                  [](const std::vector<double>& x) { return x[0] > 0 ? x[0] : x[0] * x[1]; },
                  {.input = kink, .allowed = exact}));
}

// Which elements stay is part of the contract: one 32-bit word per element, in row-major order.
void dropouts() {
  for (const double p : {0.5, 0.2}) {
    entry e = elementwise(op_of(dropout_op<>{p}), 1,
                          [](const std::vector<double>& x) { return x[0]; }, {});
    const auto samples = e.samples;
    e.elementwise = false;
    e.samples = [samples, p](index_t n) {
      std::vector<sample> all = samples(n);
      for (sample& s : all) {
        s.expected = [p](const arrays& x) {
          array y = x[0];
          for (index_t i = 0; i < y.numel(); ++i) {
            const auto k = static_cast<std::uint32_t>(i);
            const std::uint32_t word = philox4x32({k / 4, 0, 0, 0}, {11, 0})[k % 4];
            y[i] = word < p * 0x1p32 ? 0.0 : y[i] / (1 - p);
          }
          return arrays{y};
        };
      }
      return all;
    };
    add("activation", e);
  }
}

const bool registered = (activations(), dropouts(), true);

}  // namespace

TEST_CASE("suite: activations") {
  CHECK(registered);
  run_family("activation");
}

}  // namespace adze::suite::suite_activation_test
