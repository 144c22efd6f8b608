#pragma once
// SPDX-License-Identifier: MIT
// The same small training, compiled by two translation units for different instruction sets.
#include <cmath>

#include <adze/adze.hpp>

#include "outcome.hpp"

namespace {  // each translation unit has its own, whatever the linker keeps of the library

adze::tensor waves(const adze::shape& sizes, double step) {
  adze::tensor x = adze::empty(sizes, adze::f32);
  float* values = x.data_as<float>();
  for (adze::index_t i = 0; i < x.numel(); ++i) {
    values[i] = static_cast<float>(std::sin(step * static_cast<double>(i + 1)));
  }
  return x;
}

// Fits tanh(x w) to waves by gradient descent.
outcome train() {
  const adze::tensor x = waves({32, 12}, 0.7);
  const adze::tensor target = waves({32, 5}, 0.3);
  adze::tensor w = waves({12, 5}, 1.1);
  w.set_requires_grad();
  outcome result;
  for (int step = 0; step < 500; ++step) {
    const adze::tensor loss = mse_loss(tanh(matmul(x, w)), target);
    result.last = loss.item();
    if (step == 0) result.first = result.last;
    backward(loss);
    const adze::tensor gradient = w.grad();
    float* values = w.data_as<float>();
    for (adze::index_t i = 0; i < w.numel(); ++i) values[i] -= gradient.data_as<float>()[i];
    w.set_grad({});
  }
  return result;
}

}  // namespace
