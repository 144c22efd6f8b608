// expect: this layer has data but no public visit(auto&&)
// SPDX-License-Identifier: MIT
#include <functional>

#include <adze/nn/linear.hpp>

struct model {
  std::vector<std::function<adze::tensor(const adze::tensor&)>> layers;
  void visit(auto&& f) { f("layers", layers); }
};

auto trained(const model& m) { return adze::parameters(m); }
