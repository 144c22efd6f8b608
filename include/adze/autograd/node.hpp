#pragma once
// SPDX-License-Identifier: MIT
// A node of the graph of gradients: one block holding slots (one per result), edges (one per
// input), saved tensors and the op struct. Nodes point only upstream, so there are no cycles;
// teardown is a loop, so depth costs no stack. A leaf is a node without edges that holds `.grad`.
#include <functional>
#include <new>
#include <string>
#include <vector>

#include <adze/autograd/grad_mode.hpp>
#include <adze/tensor/tensor.hpp>

namespace adze::detail {

struct op_info;  // op.hpp

inline constexpr std::size_t max_results = 65535;  // what tensor_impl::output can count

struct slot {  // of one result: what flows back into it, and what that must look like
  tensor gradient;
  shape sizes;
  dtype type = dtype::f32;
};
struct node;
struct edge {  // to the producer of one input; null when the input wants no gradient
  node* to = nullptr;
  index_t output = 0;
};
struct saved_tensor {
  tensor value;
  std::uint32_t version = 0;
};
struct hook {
  index_t output;
  index_t id;
  std::function<tensor(const tensor&)> call;
};
struct hook_list {
  std::vector<hook> list;  // by id, which is never given again
  index_t next_id = 0;
};

struct node : node_head {
  bool freed = false;  // its saved tensors are gone after a run without retain_graph
  std::uint32_t bytes = 0;
  std::uint32_t inputs = 0, outputs = 0, saved_count = 0;
  std::uint32_t saved_bits = 0;  // which inputs and outputs are saved (op.hpp)
  std::uint64_t number = 0;      // greater than that of every input
  std::uint64_t mark = 0;        // the run that visited it
  std::uint64_t want_mark = 0;   // the run in which it leads to a captured tensor
  const op_info* info = nullptr;
  node* link = nullptr;  // teardown list
  hook_list* hooks = nullptr;

  slot* slots() { return reinterpret_cast<slot*>(this + 1); }
  edge* edges() { return reinterpret_cast<edge*>(slots() + outputs); }
  saved_tensor* saved() { return reinterpret_cast<saved_tensor*>(edges() + inputs); }
  std::byte* op() {
    const auto at = reinterpret_cast<std::uintptr_t>(saved() + saved_count);
    return reinterpret_cast<std::byte*>((at + 15) & ~std::uintptr_t{15});
  }
};

struct leaf_data {  // in place of the op struct
  tensor gradient;
  std::atomic<std::uint64_t> user{0};  // the thread whose backward run accumulates here
  std::uint64_t run = 0;               // the run that claimed it
};
inline leaf_data& leaf_of(node* n) { return *reinterpret_cast<leaf_data*>(n->op()); }
inline node* owner_of(const tensor& x) { return static_cast<node*>(x.impl().owner); }

void destroy_op(const op_info& info, void* op) noexcept;  // op.hpp

inline std::atomic<index_t> live_node_count{0};

// Destroys what the node owns. Releasing its edges may queue more nodes.
inline void dismantle(node* n) noexcept {
  for (std::uint32_t i = 0; i < n->outputs; ++i) n->slots()[i].~slot();
  for (std::uint32_t i = 0; i < n->saved_count; ++i) n->saved()[i].~saved_tensor();
  if (n->leaf) {
    leaf_of(n).~leaf_data();
  } else {
    destroy_op(*n->info, n->op());
  }
  for (std::uint32_t i = 0; i < n->inputs; ++i) release(n->edges()[i].to);
  delete n->hooks;
  const std::size_t bytes = n->bytes;
  n->~node();
  pool_put(n, bytes);
  live_node_count.fetch_sub(1, std::memory_order_relaxed);
}

inline constinit thread_local node* teardown_list = nullptr;
inline constinit thread_local bool tearing_down = false;

inline void destroy_node(node_head* head) noexcept {
  auto* n = static_cast<node*>(head);
  n->link = teardown_list;
  teardown_list = n;
  if (tearing_down) return;
  tearing_down = true;
  while (node* next = teardown_list) {
    teardown_list = next->link;
    dismantle(next);
  }
  tearing_down = false;
}

[[gnu::noinline]] inline node* make_node(std::uint32_t inputs, std::uint32_t outputs,
                                         std::uint32_t saved, std::size_t op_bytes) {
  const std::size_t bytes = sizeof(node) + outputs * sizeof(slot) + inputs * sizeof(edge) +
                            saved * sizeof(saved_tensor) + 15 + op_bytes;
  auto* n = ::new (pool_get(bytes)) node;
  n->destroy = destroy_node;
  n->bytes = static_cast<std::uint32_t>(bytes);
  n->inputs = inputs;
  n->outputs = outputs;
  n->saved_count = saved;
  for (std::uint32_t i = 0; i < outputs; ++i) ::new (n->slots() + i) slot;
  for (std::uint32_t i = 0; i < inputs; ++i) ::new (n->edges() + i) edge;
  for (std::uint32_t i = 0; i < saved; ++i) ::new (n->saved() + i) saved_tensor;
  live_node_count.fetch_add(1, std::memory_order_relaxed);
  return n;
}

// Makes x the k-th result of n, of which it takes over one reference.
inline void attach_owned(tensor& x, node* n, std::uint32_t k) {
  tensor_impl& p = x.impl();
  p.owner = n;
  p.output = static_cast<std::uint16_t>(k);
  p.stamp = p.store->version.load(std::memory_order_relaxed);
  n->slots()[k].sizes = p.sizes;
  n->slots()[k].type = p.type;
}

inline void attach(tensor& x, node* n, std::uint32_t k) {
  retain<node_head>(n);
  attach_owned(x, n, k);
}

// Not counted in its memory: a leaf for the engine's own use may be another view of a user's
// tensor, which stays changeable.
inline tensor& make_leaf(tensor& x) {
  node* n = make_node(0, 1, 0, sizeof(leaf_data));
  n->leaf = true;
  ::new (n->op()) leaf_data;
  attach_owned(x, n, 0);
  return x;
}

}  // namespace adze::detail

namespace adze {

// Nodes alive in the whole program; zero when every graph and every leaf is gone.
inline index_t live_nodes() { return detail::live_node_count.load(std::memory_order_relaxed); }

inline tensor& tensor::set_requires_grad(bool on) {
  detail::tensor_impl& p = impl();
  if (p.owner != nullptr && !p.owner->leaf) {
    raise<state_error>("set_requires_grad: only leaves can change; got a result of ", *this,
                       "; detach(x) makes a leaf");
  }
  if (on && !is_floating(p.type)) {
    raise<dtype_error>("set_requires_grad: only floating tensors have gradients; got ", *this);
  }
  if (on && p.owner == nullptr) detail::make_leaf(*this);
  if (p.owner != nullptr) p.owner->frozen = !on;
  detail::count_leaf(p, on);
  return *this;
}

inline tensor tensor::grad() const {
  auto* n = static_cast<detail::node*>(impl().owner);
  return n != nullptr && n->leaf ? detail::leaf_of(n).gradient : tensor();
}

inline void tensor::set_grad(const tensor& g) {
  auto* n = static_cast<detail::node*>(impl().owner);
  if (n == nullptr || !n->leaf) {
    raise<state_error>("set_grad: only a leaf that requires grad holds one; got ", *this);
  }
  if (g.defined() && (g.shape() != shape() || g.dtype() != dtype())) {
    raise<shape_error>("set_grad: the gradient must look like the tensor; tensor ", *this,
                       ", gradient ", g);
  }
  // Plain, as backward() leaves it: with its graph it would hold what holds it.
  detail::leaf_of(n).gradient = g.defined() && g.impl().owner != nullptr ? alias(g) : g;
}

}  // namespace adze
