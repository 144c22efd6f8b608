#pragma once
// SPDX-License-Identifier: MIT
// record(op, inputs...): the only door to the graph. It applies the precision rule, runs the
// forward on plain data and, where a gradient is wanted, keeps a node. Only the outermost shell is
// a template; needs `ops/` to link (the engine's own add, sum_to and cast are defined there).
#include <algorithm>

#include <adze/autograd/anomaly.hpp>
#include <adze/autograd/fwd.hpp>
#include <adze/autograd/precision.hpp>

namespace adze::detail::inline ADZE_ISA {

[[noreturn, gnu::cold, gnu::noinline]] inline void raise_stale(const op_info& info, std::size_t i,
                                                               const tensor& x) {
  raise<state_error>(info.name, ": input ", i, " (", x,
                     ") was changed in place through another handle or view ",
                     "after it was computed (version ", x.impl().stamp, ", now ", x.version(),
                     "); use the changed handle, or clone() before the change");
}

// A constant into whose memory a value of a graph was written after it was made.
inline bool is_overwritten(const tensor_impl& p) {
  return p.stamp < p.store->recorded.load(std::memory_order_relaxed);
}
[[noreturn, gnu::cold, gnu::noinline]] inline void raise_overwritten(std::string_view op,
                                                                     std::size_t i,
                                                                     const tensor& x) {
  raise<state_error>(op, ": input ", i, " (", x,
                     ") is a constant, but a value with a gradient was written into its memory "
                     "through another handle or view (version ",
                     x.impl().stamp, ", now ", x.version(),
                     "); use the changed handle, or put the parts together with stack() or "
                     "concat(), or detach() what is written");
}

// Which inputs want a gradient; checks that none is stale.
struct wanted {
  bool any = false;
  std::uint32_t bits = 0;  // of the first 24
};
inline wanted wanted_inputs(const op_info& info, const tensor* const* in, std::size_t n) {
  wanted w;
  if (state.no_grad) return w;
  for (std::size_t i = 0; i < n; ++i) {
    const tensor_impl* p = in[i]->impl_or_null();
    if (p == nullptr) continue;
    if (p->owner == nullptr || p->owner->frozen) {
      if (is_overwritten(*p)) raise_overwritten(info.name, i, *in[i]);
      continue;
    }
    if (!p->owner->leaf && p->stamp != p->store->version.load(std::memory_order_relaxed)) {
      raise_stale(info, i, *in[i]);
    }
    w.any = true;
    if (i < 24) w.bits |= std::uint32_t{1} << i;
  }
  return w;
}

inline void run_forward(const op_info& info, void* op, const tensor* const* in, std::size_t n,
                        results& out) {
  const no_grad plain;
  engine_state& s = state;
  if (s.rule == nullptr && s.watch == nullptr) return info.forward(op, in, n, out);
  const state_guard guard;
  s.rule = nullptr;
  s.watch = nullptr;
  info.forward(op, in, n, out);
}

// Edges, saved values and the op itself, into a new node; then the results are attached to it.
inline void keep_node(const op_info& info, void* op, const tensor* const* in, std::size_t n,
                      std::uint32_t wants, results& out) {
  const bool list = info.inputs == is_list;
  if (out.count > max_results) {
    raise<value_error>(info.name, ": too many results; got ", out.count, ", at most ", max_results);
  }
  const std::size_t named = std::min<std::size_t>(out.count, 8);  // those a value_set can name
  value_set bits = reads_of(info, op, wants != 0 || list ? wants | std::uint32_t{list} : 0);
  const std::uint32_t real = 0xffu >> (8 - named) << 24;
  bits.bits &= real | (list ? values::inputs.bits : (std::uint32_t{1} << n) - 1);
  const bool all = list && (bits.bits & values::inputs.bits) != 0;  // of a list all or none
  const auto saved = static_cast<std::uint32_t>(
      all ? n + static_cast<std::size_t>(__builtin_popcount(bits.bits & real))
          : static_cast<std::size_t>(__builtin_popcount(bits.bits)));
  node* node = make_node(static_cast<std::uint32_t>(n), static_cast<std::uint32_t>(out.count),
                         saved, info.bytes);
  node->info = &info;
  node->saved_bits = bits.bits;
  std::uint64_t number = state.clock;
  saved_tensor* save = node->saved();
  for (std::size_t i = 0; i < n; ++i) {
    const tensor_impl* p = in[i]->impl_or_null();
    if (list ? all : (bits.bits >> i & 1) != 0) {
      if (p != nullptr) *save = {*in[i], in[i]->version()};
      ++save;
    }
    if (p == nullptr || p->owner == nullptr || p->owner->frozen) continue;
    retain(p->owner);
    node->edges()[i] = {static_cast<struct node*>(p->owner), p->output};
    number = std::max(number, node->edges()[i].to->number);
  }
  for (std::size_t k = 0; k < named; ++k) {
    if ((bits.bits >> (24 + k) & 1) == 0) continue;
    save->value = out[k];
    save->version = out[k].version();
    ++save;
  }
  node->number = state.clock = number + 1;
  move_op(info, node->op(), op);
  bool held = false;  // a result has taken over the reference that make_node returned
  for (std::size_t k = 0; k < out.count; ++k) {
    tensor& y = out[k];
    if (!y.defined()) continue;
    node->slots()[k].sizes = y.shape();
    node->slots()[k].type = y.dtype();
    const bool constant = k < 8 && (info.nondifferentiable.bits >> (24 + k) & 1) != 0;
    if (constant || !is_floating(y.dtype())) continue;
    // Somebody else holds this record (a saved result, an op's member, an identity op's input):
    // the caller gets a twin that carries the node, so that nodes never point at themselves.
    if (y.impl().refs.load(std::memory_order_relaxed) != 1 || y.impl().owner != nullptr) {
      y = alias(y);
    }
    if (held) retain<node_head>(node);
    held = true;
    attach_owned(y, node, static_cast<std::uint32_t>(k));
  }
  if (!held) release(static_cast<node_head*>(node));
}

inline void refuse_writes(const op_info& info, const tensor* const* in, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    if ((info.writes.bits >> i & 1) == 0 || !in[i]->defined()) continue;
    if (in[i]->requires_grad() && !state.no_grad) {
      raise<state_error>(info.name, ": input ", i, " (", *in[i],
                         ") is changed in place and must not require grad");
    }
    in[i]->impl().store->version.fetch_add(1, std::memory_order_relaxed);
  }
}

inline void record_plain(const op_info& info, void* op, const tensor* const* in, std::size_t n,
                         results& out) {
  const wanted want = wanted_inputs(info, in, n);
  if (info.writes.bits != 0) refuse_writes(info, in, n);
  run_forward(info, op, in, n, out);
  if (state.anomaly) check_forward(info, in, n, out);
  if (want.any) keep_node(info, op, in, n, want.bits, out);
}

// The call with its floating inputs cast to one dtype.
[[gnu::noinline]] inline void record_cast(const op_info& info, void* op, const tensor* const* in,
                                          std::size_t n, dtype type, results& out) {
  std::vector<tensor> x = list_of(in, n);
  std::vector<const tensor*> at(n);
  observer* const watch = std::exchange(state.watch, nullptr);
  precision_rule* const rule = std::exchange(state.rule, nullptr);
  struct restore {
    observer* watch;
    precision_rule* rule;
    ~restore() {
      state.watch = watch;
      state.rule = rule;
    }
  };
  {
    const restore guard{watch, rule};
    for (std::size_t i = 0; i < n; ++i) {
      at[i] = &x[i];
      const bool keep = i < 24 && (info.keeps.bits >> i & 1) != 0;
      if (!x[i].defined() || keep || !is_floating(x[i].dtype()) || x[i].dtype() == type) continue;
      x[i] = rule != nullptr && rule->cast != nullptr ? rule->cast(*rule, x[i], type)
                                                      : cast(x[i], type);
    }
  }
  record_plain(info, op, at.data(), n, out);
}

inline void record_call(const op_info& info, void* op, const tensor* const* in, std::size_t n,
                        results& out) {
  observer* const watch = state.watch;
  if (watch != nullptr) watch->before(*watch, info, op, in, n);
  precision_rule::answer a;
  if (state.rule != nullptr) {
    a = state.rule->choose(*state.rule, info, in, n);
  } else if (n > 1 && info.precision != numeric::any) {
    a = promotion(info, in, n);
  }
  if (a.cast) {
    record_cast(info, op, in, n, a.type, out);
  } else {
    record_plain(info, op, in, n, out);
  }
  if (watch == nullptr || watch->after == nullptr) return;
  for (std::size_t k = 0; k < out.count; ++k) {  // one id per value: a result is never its input
    for (std::size_t i = 0; i < n; ++i) {
      if (out[k].defined() && out[k].impl_or_null() == in[i]->impl_or_null())
        out[k] = alias(out[k]);
    }
  }
  watch->after(*watch, info, out);
}

// Stated, not deduced, so that a call can be compiled without the body of `record`.
template <class Op> struct op_result { using type = tensor; };  // for what check_protocol refuses
template <has_forward Op> struct op_result<Op> {
  using type = typename signature<decltype(&Op::forward)>::result;
};
template <class Op> using result_of = typename op_result<Op>::type;

// The call of an op with one result, without its type: one function for nearly all ops.
[[gnu::noinline]] inline tensor record_one(const op_info& info, void* op, const tensor* const* in,
                                           std::size_t n) {
  results out;
  record_call(info, op, in, n, out);
  return std::move(out.few[0]);
}
template <class R>
R record_as(const op_info& info, void* op, const tensor* const* in, std::size_t n) {
  if constexpr (std::is_same_v<R, tensor>) {
    return record_one(info, op, in, n);
  } else {
    results out;
    record_call(info, op, in, n, out);
    if constexpr (std::is_same_v<R, std::vector<tensor>>) {
      return {std::make_move_iterator(out.data()), std::make_move_iterator(out.data() + out.count)};
    } else {
      R r;
      for (std::size_t k = 0; k < r.size(); ++k) r[k] = std::move(out.few[k]);
      return r;
    }
  }
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// Runs op on the inputs and, where one of them wants a gradient, records it. Returns what the
// op's forward returns: a tensor, an array of them or a vector.
template <class Op, class... X>
requires(std::is_convertible_v<const X&, const tensor&>&&...) auto record(Op op, const X&... x)
    -> detail::result_of<Op> {
  detail::check_protocol<Op, sizeof...(X)>();
  const tensor* const in[] = {&static_cast<const tensor&>(x)...};
  return detail::record_as<detail::result_of<Op>>(detail::info_of<Op>, &op, in, sizeof...(X));
}

// The same for ops that take a list.
template <class Op> auto record(Op op, tensor_list x) -> detail::result_of<Op> {
  detail::check_protocol<Op, 1>();
  std::vector<const tensor*> in;
  in.reserve(x.size());
  for (const tensor& t : x) in.push_back(&t);
  return detail::record_as<detail::result_of<Op>>(detail::info_of<Op>, &op, in.data(), in.size());
}

}  // namespace adze::inline ADZE_ISA
