#pragma once
// SPDX-License-Identifier: MIT
// Which parameters weight decay is for: weights of products and embeddings, not biases and norms.
//   auto [decayed, rest] = optim::decay_groups(parameters(model));
//   optim::adamw opt(decayed, {.lr = 1e-3, .weight_decay = 0.1});
//   opt.add_group(rest, {.lr = 1e-3, .weight_decay = 0.0});
#include <vector>

#include <adze/simd/arch.hpp>
#include <adze/tensor/tensor.hpp>

namespace adze::optim::inline ADZE_ISA {

struct decay_split {
  std::vector<tensor> decayed{}, rest{};
};

// Tensors of two or more axes are decayed; those of one or none are the rest. Both keep the order.
template <class = void> decay_split decay_groups(const std::vector<tensor>& parameters) {
  decay_split split;
  for (const tensor& p : parameters) (p.rank() > 1 ? split.decayed : split.rest).push_back(p);
  return split;
}

}  // namespace adze::optim::inline ADZE_ISA
