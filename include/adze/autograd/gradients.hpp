#pragma once
// SPDX-License-Identifier: MIT
// The gradients of one node: by the op's backward, or, when they are to be differentiated again,
// by way of its composed forward; with the checks that keep silent faults out. engine.hpp decides
// which nodes, and in which order.
#include <adze/autograd/accumulate.hpp>
#include <adze/autograd/record.hpp>

namespace adze::detail {

struct capture {  // a value whose gradient is asked for
  node* at = nullptr;
  index_t output = 0;
  tensor gradient;
};

struct run_request {
  std::span<const tensor* const> roots{};
  std::span<const tensor> seeds{};
  std::span<capture> captures{};
  bool retain = false;
  bool create = false;
  bool capturing = false;
  bool partial = false;  // nothing flows on through what is captured
};

}  // namespace adze::detail

namespace adze::detail::inline ADZE_ISA {

void run(run_request& r);  // engine.hpp

// The gradient of a root: the given one, or 1 for a single element.
inline tensor seed_for(const tensor& root, const tensor& given, std::string_view op) {
  if (!root.requires_grad()) {
    raise<state_error>(op, ": ", root, " does not require grad; set_requires_grad() on a leaf and ",
                       "compute it outside no_grad");
  }
  if (given.defined()) {
    if (given.shape() != root.shape() || given.dtype() != root.dtype()) {
      raise<shape_error>(op, ": the gradient must look like the root; root ", root, ", gradient ",
                         given);
    }
    return given;
  }
  if (root.numel() != 1) {
    raise<shape_error>(op, ": needs a single element or a gradient; got ", root,
                       "; take sum(x) or pass .gradient");
  }
  return filled(root.shape(), root.dtype(), 1.0);
}

inline bool has_gradient(node* n) {
  for (std::uint32_t k = 0; k < n->outputs; ++k) {
    if (n->slots()[k].gradient.defined()) return true;
  }
  return false;
}

// The hooks that there are when the gradients arrive, in order. A hook may remove itself or others,
// and add some for later runs, so each is found anew: ids only grow.
[[gnu::cold]] inline void call_hooks(node* n) {
  const index_t end = n->hooks->next_id;
  for (index_t id = 0; id < end; ++id) {
    const std::vector<hook>& all = n->hooks->list;
    const auto found =
        std::find_if(all.begin(), all.end(), [id](const hook& h) { return h.id >= id; });
    if (found == all.end() || found->id >= end) return;
    const hook h = *found;  // a copy: the list may change while it runs
    id = h.id;
    tensor& g = n->slots()[h.output].gradient;
    if (!g.defined()) continue;
    const tensor changed = h.call(g);
    if (!changed.defined()) continue;
    if (changed.shape() != g.shape() || changed.dtype() != g.dtype()) {
      raise<shape_error>("hook: must return a gradient like the one it got; got ", g, ", returned ",
                         changed);
    }
    g = changed;
  }
}

// A saved value must be the one that was saved.
inline void check_saved(node* n) {
  if (n->freed) {
    raise<state_error>("backward: the graph of ", n->info->name, " was freed by an earlier run; ",
                       "pass retain_graph = true there");
  }
  for (std::uint32_t i = 0; i < n->saved_count; ++i) {
    const saved_tensor& s = n->saved()[i];
    if (s.value.defined() && s.value.version() != s.version) {
      raise<state_error>(n->info->name, ": a value saved for its gradient (", s.value,
                         ") was changed in place (version ", s.version, ", now ", s.value.version(),
                         "); clone() it before the change");
    }
  }
}

inline void free_saved(node* n) {
  for (std::uint32_t i = 0; i < n->saved_count; ++i) n->saved()[i].value = tensor();
  n->freed = true;
}

// The op's own backward. Under create_graph, g is given a leaf where it has none: a gradient is
// linear in g, so what does not follow that leaf would be a constant to the graph, and its
// derivative would be lost without a word.
inline void own_gradients(node* n, backward_context& c, std::span<tensor> g, results& out) {
  if (!c.create()) return n->info->backward(n->op(), c, g, out);
  std::vector<tensor> probes(g.size());
  for (std::size_t k = 0; k < g.size(); ++k) {
    if (!g[k].defined() || g[k].requires_grad()) continue;
    g[k] = alias(g[k]);
    probes[k] = make_leaf(g[k]);
  }
  n->info->backward(n->op(), c, g, out);
  for (std::size_t j = 0; j < out.count; ++j) {
    if (out[j].defined() && !out[j].requires_grad() && c.wants(j)) {
      raise<state_error>(n->info->name, ": not twice differentiable; its gradient is a kernel ",
                         "without a recorded form, so create_graph would lose terms");
    }
  }
  for (tensor& x : probes) {
    if (!x.defined()) continue;
    x.set_requires_grad(false);
    for (std::size_t j = 0; j < out.count; ++j) {  // handed through: plain again
      if (out[j].defined() && out[j].impl().owner == x.impl().owner) out[j] = alias(out[j]);
    }
  }
}

// x again, as the result of a node of its own: gradients can be asked for at one place where a
// tensor is used, apart from all others, and still be differentiated on through x.
struct pass_op {
  static constexpr std::string_view name = "pass";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  tensor forward(const tensor& x) const { return x; }
  tensor backward(backward_context&, const tensor& g) const { return g; }
};

// The gradient of a fused op by way of its forward in public ops.
[[gnu::cold]] inline void composed_gradients(node* n, const backward_context& c, results& out) {
  std::vector<tensor> inputs(n->inputs);
  std::vector<const tensor*> at(n->inputs);
  for (std::uint32_t j = 0; j < n->inputs; ++j) {
    if ((n->saved_bits >> j & 1) != 0) inputs[j] = c.in(j);
    if (c.wants(j)) inputs[j] = record(pass_op{}, inputs[j]);
    at[j] = &inputs[j];
  }
  results forward;
  n->info->composed(n->op(), at.data(), at.size(), forward);
  std::vector<const tensor*> roots(n->outputs);
  std::vector<tensor> seeds(n->outputs);
  std::vector<capture> wanted(n->inputs);
  std::size_t given = 0, captures = 0;
  for (std::uint32_t k = 0; k < n->outputs; ++k) {
    // A result may be a constant to the inputs that are wanted.
    if (!n->slots()[k].gradient.defined() || !forward[k].requires_grad()) continue;
    roots[given] = &forward[k];
    seeds[given++] = n->slots()[k].gradient;
  }
  for (std::uint32_t j = 0; j < n->inputs; ++j) {
    if (c.wants(j)) wanted[captures++] = {owner_of(inputs[j]), inputs[j].impl().output, {}};
  }
  run_request r{.roots = {roots.data(), given},
                .seeds = {seeds.data(), given},
                .captures = {wanted.data(), captures},
                .retain = true,
                .create = true,
                .capturing = true,
                .partial = true};
  run(r);
  out.count = n->inputs;
  if (out.count > out.few.size()) out.many.resize(out.count);
  for (std::uint32_t j = 0, w = 0; j < n->inputs; ++j) {
    if (c.wants(j)) out[j] = std::move(wanted[w++].gradient);
  }
}

// What flows from the slots of n to its inputs; the slots are emptied.
inline void node_gradients(node* n, backward_context& c, results& out) {
  if (c.create() && n->info->composed != nullptr) return composed_gradients(n, c, out);
  if (n->outputs <= 4) {
    std::array<tensor, 4> g;
    for (std::uint32_t k = 0; k < n->outputs; ++k) g[k] = std::move(n->slots()[k].gradient);
    return own_gradients(n, c, std::span(g.data(), n->outputs), out);
  }
  std::vector<tensor> g(n->outputs);
  for (std::uint32_t k = 0; k < n->outputs; ++k) g[k] = std::move(n->slots()[k].gradient);
  own_gradients(n, c, g, out);
}

// Under anomaly mode, which is off meanwhile: n is named, not an op it is made of.
[[gnu::cold, gnu::noinline]] inline void checked_gradients(node* n, backward_context& c,
                                                           results& out) {
  const std::string before = nan_before_backward(n);
  state.anomaly = false;  // the run puts it back where this throws
  node_gradients(n, c, out);
  state.anomaly = true;
  check_backward(*n->info, out, before);
}

}  // namespace adze::detail::inline ADZE_ISA
