#pragma once
// SPDX-License-Identifier: MIT
// Whether visit() names all that a model trains. A member that it forgets is not an error anywhere
// else: it works, but is neither trained nor saved.
#include <adze/graph/trace.hpp>

namespace adze::detail::inline ADZE_ISA {

template <class = void>
[[gnu::cold]] void check_constants(const graph& g, const std::vector<tensor>& known) {
  const auto named = [&](const tensor& x) {
    return std::any_of(known.begin(), known.end(),
                       [&](const tensor& k) { return &k.impl() == &x.impl(); });
  };
  std::string forgotten;
  for (const graph_step& s : g.steps) {
    for (const value_id id : s.inputs) {
      if (id == no_value || !g.at(id).parameter || named(g.at(id).constant)) continue;
      forgotten += text(forgotten.empty() ? "" : ", ", g.at(id).constant, " in ", s.op.name());
    }
  }
  if (forgotten.empty()) return;
  raise<state_error>("check_visited: the model uses tensors that want gradients and that visit() "
                     "does not name: ",
                     forgotten, "; name them, or the layers that hold them");
}

template <class = void> [[gnu::cold]] void check_trained(const named_tensors& parameters) {
  std::string still;
  for (const auto& [name, x] : parameters)
    if (is_floating(x.dtype()) && !x.requires_grad())
      still += text(still.empty() ? "" : ", ", name, " ", x);
  if (still.empty()) return;
  raise<state_error>("check_visited: visit() names tensors that want no gradient, so that nothing "
                     "will train them: ",
                     still, "; call set_requires_grad() where they are made, or name ",
                     "them as nn::buffer{x}; freeze layers after this check");
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// Runs the model once, as trace() does, and throws state_error unless visit() names every tensor
// that it reads and that wants gradients, and all that it names want them. For the first lines of a
// program or a test.
template <module M> void check_visited(M& model, const std::vector<tensor>& examples) {
  detail::check_trained(named_parameters(model));
  detail::check_constants(trace(model, examples), parameters(model));
}
template <module M> void check_visited(M& model, const tensor& example) {
  check_visited(model, std::vector<tensor>{example});
}

}  // namespace adze::inline ADZE_ISA
