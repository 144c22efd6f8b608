// expect: this layer has data but no public visit(auto&&)
// SPDX-License-Identifier: MIT
#include <adze/nn/linear.hpp>

class branch {
  adze::nn::linear fc{{.in = 2, .out = 2}};
  void visit(auto&& f) { f("fc", fc); }

 public:
  adze::tensor operator()(const adze::tensor& x) const { return fc(x); }
};
struct model {
  branch first;
  void visit(auto&& f) { f("first", first); }
};

auto trained(const model& m) { return adze::parameters(m); }
