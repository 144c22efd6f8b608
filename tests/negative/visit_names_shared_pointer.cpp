// expect: nor an optional, unique_ptr, vector, array or map
// SPDX-License-Identifier: MIT
#include <memory>

#include <adze/nn/linear.hpp>

struct model {
  std::shared_ptr<adze::nn::linear> fc;
  void visit(auto&& f) { f("fc", fc); }
};

auto trained(const model& m) { return adze::parameters(m); }
