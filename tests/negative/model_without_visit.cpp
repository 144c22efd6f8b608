// expect: this type has no public visit(auto&&): add, for example
// SPDX-License-Identifier: MIT
#include <adze/nn/linear.hpp>

struct model {
  adze::nn::linear fc{{.in = 2, .out = 2}};
};

auto trained(const model& m) { return adze::parameters(m); }
