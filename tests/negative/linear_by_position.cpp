// expect: write nn::linear{{.in = 784, .out = 128}}
// SPDX-License-Identifier: MIT
#include <adze/nn/linear.hpp>

const adze::nn::linear fc(784, 128);
