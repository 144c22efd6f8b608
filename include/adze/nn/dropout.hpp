#pragma once
// SPDX-License-Identifier: MIT
// Dropout as a layer: active in training only.
#include <adze/nn/module.hpp>
#include <adze/ops/dropout.hpp>

namespace adze::nn {

struct dropout_options {
  double p = 0.5;  // of an element to become 0
};

}  // namespace adze::nn

namespace adze::nn::inline ADZE_ISA {

struct dropout {
  dropout_options options{};
  bool training = true;

  explicit dropout(const dropout_options& o = {}) : options(o) {
    detail::check_probability("nn::dropout", o.p);
  }
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::dropout(x, options.p, training);
  }
  void visit(auto&& f) { f("training", training); }
};

// Of whole channels of [n, c, h, w] or [n, c, l].
struct dropout2d {
  dropout_options options{};
  bool training = true;

  explicit dropout2d(const dropout_options& o = {}) : options(o) {
    detail::check_probability("nn::dropout2d", o.p);
  }
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::dropout2d(x, options.p, training);
  }
  void visit(auto&& f) { f("training", training); }
};

}  // namespace adze::nn::inline ADZE_ISA
