#pragma once
// SPDX-License-Identifier: MIT
// One backward run: collect the reachable nodes with an explicit stack, sort them newest first,
// let gradients flow through slots. A guard empties all slots on any exit. Nested runs (checkpoint,
// composed gradients) may reach nodes of the outer run: what they find is stashed and put back.
#include <atomic>

#include <adze/autograd/gradients.hpp>

namespace adze::detail {

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
      // A run that is refused has put nothing in: what is there belongs to the one that goes on.
      for (std::uint32_t k = 0; flows_ && k < n->outputs; ++k) n->slots()[k].gradient = tensor();
      if (n->leaf && leaf_of(n).run == id_) {
        leaf_of(n).run = 0;
        leaf_of(n).user.store(0, std::memory_order_release);
      }
    }
    for (std::size_t i = 0, g = 0; i < stashed_.size(); ++i) {
      node* n = stashed_[i];
      n->mark = static_cast<std::uint64_t>(stashed_marks_[2 * i]);
      n->want_mark = static_cast<std::uint64_t>(stashed_marks_[2 * i + 1]);
      for (std::uint32_t k = 0; k < n->outputs; ++k) {
        n->slots()[k].gradient = std::move(stashed_gradients_[g++]);
      }
    }
    --state.depth;
    order_.clear();
    if (!nested_) spare().swap(order_);
  }

  void go() {
    const enable_grad mode(request_.create);
    collect();
    flows_ = true;
    for (std::size_t i = 0; i < request_.roots.size(); ++i) {
      node* n = owner_of(*request_.roots[i]);
      accumulate(n->slots()[request_.roots[i]->impl().output].gradient, request_.seeds[i],
                 request_.create);
    }
    for (std::size_t i = 0; i < order_.size(); ++i) visit(order_[i]);
  }

 private:
  // Work vectors survive from run to run, so that a small step allocates nothing.
  static std::vector<node*>& spare() {
    static thread_local std::vector<node*> v;
    return v;
  }
  std::vector<node*> take_spare() {
    return nested_ ? std::vector<node*>() : std::exchange(spare(), {});
  }

  void add(node* n) {
    if (n->leaf) claim(n);  // before its mark is read: another thread may be writing it
    if (n->mark == id_) return;
    if (nested_) {
      stashed_marks_.push_back(static_cast<index_t>(n->mark));
      stashed_marks_.push_back(static_cast<index_t>(n->want_mark));
      for (std::uint32_t k = 0; k < n->outputs; ++k) {
        stashed_gradients_.push_back(std::move(n->slots()[k].gradient));
      }
      stashed_.push_back(n);
    }
    n->mark = id_;
    order_.push_back(n);
  }

  // The slots of a leaf serve one run at a time, also when grad() does not add to `.grad`. Asked
  // before anything of the leaf is touched. Two runs at once over shared nodes above the leaves
  // are refused by the leaves too, but only when the first has begun to flow before the second
  // starts: what they write while they collect is not guarded.
  void claim(node* n) {
    leaf_data& leaf = leaf_of(n);
    std::uint64_t user = leaf.user.load(std::memory_order_acquire);
    if (user == thread_tag()) return;
    user = 0;
    if (leaf.user.compare_exchange_strong(user, thread_tag(), std::memory_order_acquire)) {
      leaf.run = id_;
    } else {
      raise<state_error>("backward: another thread runs back to the same leaf (",
                         n->slots()[0].type, n->slots()[0].sizes,
                         "); run one after the other, or give each thread its own leaves");
    }
  }

  bool captures(const node* n, index_t output) const {
    for (const capture& c : request_.captures) {
      if (c.at == n && c.output == output) return true;
    }
    return false;
  }

  // From one result of n. Under `partial` captured nodes are marked and not expanded, until they
  // are reached by a result beside the captured ones: then they are put on the stack once more.
  void reach(node* n, index_t output) {
    add(n);
    if (!request_.partial || n->want_mark != id_ || captures(n, output)) return;
    n->want_mark = 0;
    order_.push_back(n);
  }

  void collect() {
    for (const capture& c : request_.captures) {
      if (!request_.partial) continue;
      add(c.at);
      c.at->want_mark = id_;
    }
    for (const tensor* root : request_.roots) reach(owner_of(*root), root->impl().output);
    // `order_` is also the stack of what is to be expanded.
    for (std::size_t i = 0; i < order_.size(); ++i) {
      node* n = order_[i];
      if (request_.partial && n->want_mark == id_) continue;  // captured: not expanded
      for (std::uint32_t j = 0; j < n->inputs; ++j) {
        const edge& e = n->edges()[j];
        if (e.to != nullptr && !e.to->frozen) reach(e.to, e.output);
      }
    }
    sort_newest_first();
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

  // Shell's method, a fraction of std::sort's code: nodes come nearly in this order.
  void sort_newest_first() {
    node** const at = order_.data();
    const std::size_t n = order_.size();
    for (std::size_t gap = n / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11) {
      for (std::size_t i = gap; i < n; ++i) {
        node* const moved = at[i];
        std::size_t j = i;
        for (; j >= gap && at[j - gap]->number < moved->number; j -= gap) at[j] = at[j - gap];
        at[j] = moved;
      }
    }
  }

  void visit(node* n) {
    if (!has_gradient(n)) return;
    if (n->hooks != nullptr) call_hooks(n);
    bool captured = false;
    for (capture& c : request_.captures) {
      if (c.at != n) continue;
      c.gradient = n->slots()[c.output].gradient;
      captured = true;
    }
    if (captured && request_.partial) {
      for (const capture& c : request_.captures) {
        if (c.at == n) n->slots()[c.output].gradient = tensor();
      }
      if (!has_gradient(n)) return;
    }
    if (n->leaf) {
      if (!request_.capturing) accumulate_leaf(leaf_of(n).gradient, n->slots()[0].gradient);
      return;
    }
    if (!leads_on(n)) return clear_slots(n);  // it may come once more, see reach
    check_saved(n);
    results out;
    backward_context c(n, request_.create, request_.capturing ? id_ : 0);
    if (state.anomaly) {
      checked_gradients(n, c, out);
    } else {
      node_gradients(n, c, out);
    }
    deliver(n, c, out);
    clear_slots(n);
    if (!request_.retain && n->saved_count > 0) free_saved(n);
  }

  static void clear_slots(node* n) {
    for (std::uint32_t k = 0; k < n->outputs; ++k) n->slots()[k].gradient = tensor();
  }

  bool leads_on(node* n) const {
    const backward_context c(n, false, request_.capturing ? id_ : 0);
    for (std::uint32_t j = 0; j < n->inputs; ++j) {
      if (c.wants(j)) return true;
    }
    return false;
  }

  void deliver(node* n, const backward_context& c, results& out) {
    if (out.count != n->inputs) {
      raise<shape_error>(n->info->name, ": backward returned ", out.count, " gradients for ",
                         n->inputs, " inputs");
    }
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
  bool flows_ = false;  // the reachable nodes are collected, gradients are under way
  std::vector<node*> order_;
  // What the run outside had in nodes that both reach: two marks, and gradients of all results.
  std::vector<node*> stashed_;
  std::vector<index_t> stashed_marks_;
  std::vector<tensor> stashed_gradients_;
};

inline void run(run_request& r) {
  const state_guard guard;
  state.rule = nullptr;
  state.watch = nullptr;
  backward_run(r).go();
}

}  // namespace adze::detail::inline ADZE_ISA
