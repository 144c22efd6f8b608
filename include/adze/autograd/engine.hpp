#pragma once
// SPDX-License-Identifier: MIT
// One backward run: collect the reachable nodes with an explicit stack, sort them newest first,
// let gradients flow through slots. A guard empties all slots on any exit. Nested runs (checkpoint,
// composed gradients) may reach nodes of the outer run: what they find is stashed and put back.
#include <atomic>

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
};

inline std::uint64_t next_run() {
  static std::atomic<std::uint64_t> counter{0};
  return counter.fetch_add(1, std::memory_order_relaxed) + 1;
}
inline std::uint64_t thread_tag() {
  static std::atomic<std::uint64_t> counter{0};
  static thread_local const std::uint64_t tag = counter.fetch_add(1) + 1;
  return tag;
}

}  // namespace adze::detail

namespace adze::detail::inline ADZE_ISA {

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

class backward_run {
 public:
  explicit backward_run(run_request& r)
      : request_(r), id_(next_run()), nested_(state.depth > 0), order_(take_spare()) {
    ++state.depth;
  }
  backward_run(const backward_run&) = delete;
  backward_run& operator=(const backward_run&) = delete;
  ~backward_run() {
    for (node* n : order_) {
      for (std::uint32_t k = 0; k < n->outputs; ++k) n->slots()[k].gradient = tensor();
      if (n->leaf && leaf_of(n).run == id_) {
        leaf_of(n).run = 0;
        leaf_of(n).user.store(0, std::memory_order_release);
      }
    }
    for (stashed& s : stash_) {
      s.at->mark = s.mark;
      s.at->want_mark = s.want_mark;
      for (std::uint32_t k = 0; k < s.at->outputs; ++k) {
        s.at->slots()[k].gradient = std::move(s.gradients[k]);
      }
    }
    --state.depth;
    order_.clear();
    if (!nested_) spare().swap(order_);
  }

  void go() {
    const enable_grad mode(request_.create);
    collect();
    for (std::size_t i = 0; i < request_.roots.size(); ++i) {
      node* n = owner_of(*request_.roots[i]);
      accumulate(n->slots()[request_.roots[i]->impl().output].gradient, request_.seeds[i],
                 request_.create);
    }
    for (std::size_t i = 0; i < order_.size(); ++i) visit(order_[i]);
  }

 private:
  struct stashed {
    node* at;
    std::uint64_t mark, want_mark;
    std::vector<tensor> gradients;
  };

  // Work vectors survive from run to run, so that a small step allocates nothing.
  static std::vector<node*>& spare() {
    static thread_local std::vector<node*> v;
    return v;
  }
  std::vector<node*> take_spare() {
    return nested_ ? std::vector<node*>() : std::exchange(spare(), {});
  }

  void add(node* n) {
    if (n->mark == id_) return;
    if (nested_) {
      stashed s{n, n->mark, n->want_mark, {}};
      for (std::uint32_t k = 0; k < n->outputs; ++k) {
        s.gradients.push_back(std::move(n->slots()[k].gradient));
      }
      stash_.push_back(std::move(s));
    }
    n->mark = id_;
    order_.push_back(n);
    if (n->leaf && !request_.capturing) claim(n);
  }

  void claim(node* n) {
    leaf_data& leaf = leaf_of(n);
    const std::uint64_t before = leaf.user.exchange(thread_tag(), std::memory_order_acquire);
    if (before == 0) {
      leaf.run = id_;
    } else if (before != thread_tag()) {
      leaf.user.store(before);
      raise<state_error>("backward: another thread is accumulating into the same leaf (",
                         n->slots()[0].type, n->slots()[0].sizes,
                         "); run one after the other, or use grad()");
    }
  }

  void collect() {
    for (const tensor* root : request_.roots) add(owner_of(*root));
    // `order_` is also the stack of what is to be expanded: everything in it is expanded once.
    for (std::size_t i = 0; i < order_.size(); ++i) {
      node* n = order_[i];
      for (std::uint32_t j = 0; j < n->inputs; ++j) {
        node* to = n->edges()[j].to;
        if (to != nullptr && !to->frozen) add(to);
      }
    }
    std::sort(order_.begin(), order_.end(),
              [](const node* a, const node* b) { return a->number > b->number; });
    if (!request_.capturing) return;
    for (const capture& c : request_.captures) {
      if (c.at->mark == id_) c.at->want_mark = id_;
    }
    for (std::size_t i = order_.size(); i-- > 0;) {
      node* n = order_[i];
      for (std::uint32_t j = 0; j < n->inputs && n->want_mark != id_; ++j) {
        node* to = n->edges()[j].to;
        if (to != nullptr && to->mark == id_ && to->want_mark == id_) n->want_mark = id_;
      }
    }
  }

  void visit(node* n) {
    bool any = false;
    for (std::uint32_t k = 0; k < n->outputs; ++k) any = any || n->slots()[k].gradient.defined();
    if (!any) return;
    if (n->hooks != nullptr) call_hooks(n);
    for (capture& c : request_.captures) {
      if (c.at == n) c.gradient = n->slots()[c.output].gradient;
    }
    if (n->leaf) {
      if (!request_.capturing) accumulate_leaf(leaf_of(n).gradient, n->slots()[0].gradient);
      return;
    }
    if (!leads_on(n)) return;
    check_saved(n);
    results out;
    call_backward(n, out);
    deliver(n, out);
    for (std::uint32_t k = 0; k < n->outputs; ++k) n->slots()[k].gradient = tensor();
    if (!request_.retain && n->saved_count > 0) free_saved(n);
  }

  bool leads_on(node* n) const {
    const backward_context c(n, false, request_.capturing ? id_ : 0);
    for (std::uint32_t j = 0; j < n->inputs; ++j) {
      if (c.wants(j)) return true;
    }
    return false;
  }

  void call_hooks(node* n) {
    for (std::size_t i = 0; n->hooks != nullptr && i < n->hooks->size(); ++i) {
      const hook h = (*n->hooks)[i];
      tensor& g = n->slots()[h.output].gradient;
      if (!g.defined()) continue;
      const tensor changed = h.call(g);
      if (!changed.defined()) continue;
      if (changed.shape() != g.shape() || changed.dtype() != g.dtype()) {
        raise<shape_error>("hook: must return a gradient like the one it got; got ", g,
                           ", returned ", changed);
      }
      g = changed;
    }
  }

  void check_saved(node* n) {
    if (n->freed) {
      raise<state_error>("backward: the graph of ", n->info->name, " was freed by an earlier run; ",
                         "pass retain_graph = true there");
    }
    for (std::uint32_t i = 0; i < n->saved_count; ++i) {
      const saved_tensor& s = n->saved()[i];
      if (s.value.defined() && s.value.version() != s.version) {
        raise<state_error>(n->info->name, ": a value saved for its gradient (", s.value,
                           ") was changed in place (version ", s.version, ", now ",
                           s.value.version(), "); clone() it before the change");
      }
    }
  }

  static void free_saved(node* n) {
    for (std::uint32_t i = 0; i < n->saved_count; ++i) n->saved()[i].value = tensor();
    n->freed = true;
  }

  void call_backward(node* n, results& out) {
    const std::uint64_t want = request_.capturing ? id_ : 0;
    backward_context c(n, request_.create, want);
    if (request_.create && n->info->composed != nullptr) return call_composed(n, c, out);
    if (n->outputs == 1) {
      tensor g = std::move(n->slots()[0].gradient);
      return backward_of(n, c, {&g, 1}, out);
    }
    std::vector<tensor> g;
    for (std::uint32_t k = 0; k < n->outputs; ++k) {
      g.push_back(std::move(n->slots()[k].gradient));
    }
    backward_of(n, c, g, out);
  }

  void backward_of(node* n, backward_context& c, std::span<tensor> g, results& out) {
    if (!request_.create) return n->info->backward(n->op(), c, g, out);
    // A gradient is linear in g: what does not follow a leaf put here is a constant to the graph,
    // and its derivative would be lost without a word.
    std::vector<tensor> probes;
    for (tensor& x : g) {
      if (!x.defined() || x.impl().owner != nullptr) continue;
      x = alias(x);
      probes.push_back(x.set_requires_grad());
    }
    n->info->backward(n->op(), c, g, out);
    for (std::size_t j = 0; j < out.count; ++j) {
      if (out[j].defined() && !out[j].requires_grad() && c.wants(j)) {
        raise<state_error>(n->info->name, ": not twice differentiable; its gradient is a kernel ",
                           "without a recorded form, so create_graph would lose terms");
      }
    }
    for (tensor& x : probes) x.set_requires_grad(false);
  }

  // The gradient of a fused op by way of its forward in public ops.
  void call_composed(node* n, backward_context& c, results& out);

  void deliver(node* n, results& out) {
    if (state.anomaly) check_finite(*n->info, out, "backward");
    if (out.count != n->inputs) {
      raise<shape_error>(n->info->name, ": backward returned ", out.count, " gradients for ",
                         n->inputs, " inputs");
    }
    const backward_context c(n, request_.create, request_.capturing ? id_ : 0);
    for (std::uint32_t j = 0; j < n->inputs; ++j) {
      if (!out[j].defined() || !c.wants(j)) continue;
      const edge& e = n->edges()[j];
      slot& s = e.to->slots()[e.output];
      tensor g = std::move(out[j]);
      if (n->info->broadcasts && g.shape() != s.sizes) g = sum_to(g, s.sizes);
      if (g.shape() != s.sizes || g.dtype() != s.type) {
        raise<shape_error>(n->info->name, ": the gradient of input ", j, " is ", g,
                           " but the input is ", s.type, s.sizes);
      }
      accumulate(s.gradient, std::move(g), request_.create);
    }
  }

  run_request& request_;
  std::uint64_t id_;
  bool nested_;
  std::vector<node*> order_;
  std::vector<stashed> stash_;
};

inline void run(run_request& r) {
  const state_guard guard;
  state.rule = nullptr;
  state.watch = nullptr;
  backward_run(r).go();
}

inline void backward_run::call_composed(node* n, backward_context& c, results& out) {
  std::vector<tensor> inputs(n->inputs);
  std::vector<const tensor*> at;
  std::vector<capture> wanted;
  for (std::uint32_t j = 0; j < n->inputs; ++j) {
    if ((n->saved_bits >> j & 1) != 0) inputs[j] = c.in(j);
    at.push_back(&inputs[j]);
  }
  results forward;
  n->info->composed(n->op(), at.data(), at.size(), forward);
  std::vector<const tensor*> roots;
  std::vector<tensor> seeds;
  for (std::uint32_t k = 0; k < n->outputs; ++k) {
    if (!n->slots()[k].gradient.defined()) continue;
    roots.push_back(&forward[k]);
    seeds.push_back(n->slots()[k].gradient);
  }
  for (std::uint32_t j = 0; j < n->inputs; ++j) {
    if (c.wants(j)) wanted.push_back({owner_of(inputs[j]), inputs[j].impl().output, {}});
  }
  run_request r{.roots = roots,
                .seeds = seeds,
                .captures = wanted,
                .retain = true,
                .create = true,
                .capturing = true};
  run(r);
  out.count = n->inputs;
  if (out.count > out.few.size()) out.many.resize(out.count);
  for (std::uint32_t j = 0, w = 0; j < n->inputs; ++j) {
    if (c.wants(j)) out[j] = std::move(wanted[w++].gradient);
  }
}

}  // namespace adze::detail::inline ADZE_ISA
