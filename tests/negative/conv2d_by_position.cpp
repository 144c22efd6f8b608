// expect: write nn::conv2d{{.in = 3, .out = 16, .kernel = 3}}
// SPDX-License-Identifier: MIT
#include <adze/nn/conv.hpp>

const adze::nn::conv2d conv(3, 16, 3);
