#pragma once
// SPDX-License-Identifier: MIT
// backward() and grad(): one iterative run over the nodes that lead to the roots, newest first.
// backward() accumulates into `.grad` of leaves; grad() captures and touches no leaf, and is the
// only one that can build a graph of gradients. engine.hpp holds the run itself.
#include <adze/autograd/engine.hpp>

namespace adze::detail::inline ADZE_ISA {

// One gradient per root, each possibly undefined, or none at all.
inline std::vector<tensor> seeds_for(tensor_list roots, tensor_list gradients,
                                     std::string_view op) {
  if (!gradients.empty() && gradients.size() != roots.size()) {
    raise<value_error>(op, ": needs one gradient per root, or none; got ", gradients.size(),
                       " gradients for ", roots.size(), " roots");
  }
  std::vector<tensor> seeds;
  for (std::size_t i = 0; i < roots.size(); ++i) {
    seeds.push_back(seed_for(roots[i], gradients.empty() ? tensor() : gradients[i], op));
  }
  return seeds;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

struct backward_options {
  tensor gradient{};          // of the root; ones for a single element
  bool retain_graph = false;  // keep saved values for another run
};

// Adds d(root)/d(leaf) to `.grad` of every leaf that root depends on.
// Errors: state_error when root does not require grad or its graph was freed; shape_error when the
// root has more than one element and no gradient is given.
inline void backward(const tensor& root, const backward_options& o = {}) {
  const tensor held = root;  // a hook may let go of the caller's handle
  const tensor* const roots[] = {&held};
  const tensor seed = detail::seed_for(root, o.gradient, "backward");
  detail::run_request r{.roots = roots, .seeds = {&seed, 1}, .retain = o.retain_graph};
  detail::run(r);
}

// Several roots at once: the gradients of their sum. Errors: as above; value_error for another
// number of gradients than of roots.
inline void backward(tensor_list roots, tensor_list gradients = {}, bool retain_graph = false) {
  const std::vector<tensor> held(roots.begin(), roots.end());
  const std::vector<tensor> seeds = detail::seeds_for(roots, gradients, "backward");
  std::vector<const tensor*> at;
  for (const tensor& root : held) at.push_back(&root);
  detail::run_request r{.roots = at, .seeds = seeds, .retain = retain_graph};
  detail::run(r);
}

inline void backward(std::initializer_list<tensor> roots,
                     std::initializer_list<tensor> gradients = {}, bool retain_graph = false) {
  backward(tensor_list(roots.begin(), roots.size()),
           tensor_list(gradients.begin(), gradients.size()), retain_graph);
}

struct grad_options {
  std::vector<tensor> gradients{};  // of the outputs; ones for single elements
  bool create_graph = false;        // the gradients can be differentiated again
  bool retain_graph = false;        // implied by create_graph
  bool partial = false;             // the inputs vary on their own: nothing flows through them
};

// d(sum of outputs)/d(inputs[i]), one per input; undefined where the outputs do not depend on it.
// Inputs may be leaves or intermediate results. No `.grad` is touched. Errors: as backward's.
[[nodiscard]] inline std::vector<tensor> grad(tensor_list outputs, tensor_list inputs,
                                              const grad_options& o = {}) {
  const std::vector<tensor> held(outputs.begin(), outputs.end());
  const std::vector<tensor> seeds = detail::seeds_for(outputs, o.gradients, "grad");
  std::vector<const tensor*> roots;
  for (const tensor& root : held) roots.push_back(&root);
  std::vector<detail::capture> captures;
  for (const tensor& x : inputs) {
    if (!x.requires_grad()) {
      raise<state_error>("grad: input ", captures.size(), " (", x, ") does not require grad; ",
                         "call set_requires_grad() before using it");
    }
    captures.push_back({detail::owner_of(x), x.impl().output, {}});
  }
  detail::run_request r{.roots = roots,
                        .seeds = seeds,
                        .captures = captures,
                        .retain = o.retain_graph || o.create_graph,
                        .create = o.create_graph,
                        .capturing = true,
                        .partial = o.partial};
  detail::run(r);
  std::vector<tensor> result;
  for (detail::capture& c : captures) result.push_back(std::move(c.gradient));
  return result;
}

[[nodiscard]] inline tensor grad(const tensor& output, const tensor& input,
                                 const grad_options& o = {}) {
  return grad(tensor_list(&output, 1), tensor_list(&input, 1), o)[0];
}

// grad(loss, {w, b}) and grad({a, b}, {w}).
[[nodiscard]] inline std::vector<tensor> grad(const tensor& output, tensor_list inputs,
                                              const grad_options& o = {}) {
  return grad(tensor_list(&output, 1), inputs, o);
}
[[nodiscard]] inline std::vector<tensor> grad(const tensor& output,
                                              std::initializer_list<tensor> inputs,
                                              const grad_options& o = {}) {
  return grad(output, tensor_list(inputs.begin(), inputs.size()), o);
}
[[nodiscard]] inline std::vector<tensor> grad(std::initializer_list<tensor> outputs,
                                              std::initializer_list<tensor> inputs,
                                              const grad_options& o = {}) {
  return grad(tensor_list(outputs.begin(), outputs.size()),
              tensor_list(inputs.begin(), inputs.size()), o);
}

// Calls f(gradient) with the whole gradient of x in each run; what it returns, if defined, takes
// its place. Returns an id for remove_hook.
template <class = void> index_t add_hook(const tensor& x, std::function<tensor(const tensor&)> f) {
  if (!x.requires_grad()) raise<state_error>("add_hook: the tensor does not require grad; got ", x);
  detail::node* n = detail::owner_of(x);
  if (n->hooks == nullptr) n->hooks = new detail::hook_list;
  const index_t id = n->hooks->next_id++;
  n->hooks->list.push_back({x.impl().output, id, std::move(f)});
  return id;
}
template <class = void> void remove_hook(const tensor& x, index_t id) {
  detail::node* n = x.requires_grad() ? detail::owner_of(x) : nullptr;
  if (n != nullptr && n->hooks != nullptr) {
    std::erase_if(n->hooks->list, [&](const detail::hook& h) { return h.id == id; });
  }
}

}  // namespace adze::inline ADZE_ISA
