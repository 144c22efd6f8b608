#pragma once
// SPDX-License-Identifier: MIT
// What the networks of graph tests are made of: a convolution without bias and its batch norm.
#include <adze/nn/conv.hpp>
#include <adze/nn/norm.hpp>

namespace adze::test {

struct conv_norm {
  nn::conv2d conv;
  nn::batch_norm2d norm;
  conv_norm(index_t in, index_t out, index_t kernel, index_t stride = 1, index_t groups = 1)
      : conv({.in = in,
              .out = out,
              .kernel = kernel,
              .stride = stride,
              .padding = kernel / 2,
              .groups = groups,
              .bias = false}),
        norm({.channels = out}) {}
  tensor operator()(const tensor& x) const { return norm(conv(x)); }
  void visit(auto&& f) { f("conv", conv), f("norm", norm); }
};

}  // namespace adze::test
