#pragma once
// SPDX-License-Identifier: MIT
// trace(f, examples): one run of f, recorded as a graph. Every tensor that f reads and did not
// compute becomes a constant of the graph, shared with its owner and named as the model names it.
#include <functional>

#include <adze/core/pointer_map.hpp>
#include <adze/core/random.hpp>
#include <adze/graph/edit.hpp>

namespace adze::inline ADZE_ISA {

struct trace_options {
  named_tensors parameters{}, buffers{};  // names of constants where f is no module
  std::vector<tensor> second{};           // other examples: the graph must agree with f on them too
};

}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {

using traced_function = std::function<std::vector<tensor>(const std::vector<tensor>&)>;

// Builds the graph while f runs. Every tensor it has seen is held, so that no address is reused.
// A graph has no memory: a value that was changed by way of another handle or view is not the one
// that the graph knows, and throws where it is used.
template <class = void> class tracer : public observer {
 public:
  graph g;
  std::vector<tensor> held;  // by value id

  tracer() {
    before = [](observer& self, const op_info& info, const void* op, const tensor* const* in,
                std::size_t n) { static_cast<tracer&>(self).open(info, op, in, n); };
    after = [](observer& self, const op_info& info, results& out) {
      static_cast<tracer&>(self).close(info, out);
    };
    moved = [](observer& self, const tensor& value) { static_cast<tracer&>(self).move(value); };
  }
  void name(const named_tensors& list, bool parameter) {
    for (const auto& [text, x] : list) {
      if (names_.emplace(&x.impl(), static_cast<index_t>(known_.size())).second)
        known_.push_back({text, parameter});
    }
  }
  value_id add(const tensor& x, graph_value v) {
    v.sizes = x.shape();
    v.type = x.dtype();
    held.push_back(x);
    versions_.push_back(x.version());
    const value_id id = g.add_value(std::move(v));
    ids_[&x.impl()] = id;
    return id;
  }
  value_id id_of(const tensor& x) {
    if (!x.defined()) return no_value;
    if (const auto found = ids_.find(&x.impl()); found != ids_.end()) {
      const std::uint32_t known = versions_[static_cast<std::size_t>(found->second)];
      if (known != x.version()) raise_changed(x, known);
      return static_cast<value_id>(found->second);
    }
    if (x.impl().stamp != x.version() && written_.contains(x.impl().store)) {
      raise_changed(x, x.impl().stamp);
    }
    if (const auto found = names_.find(&x.impl()); found != names_.end()) {
      const known_name& known = known_[static_cast<std::size_t>(found->second)];
      return add(x, {.name = known.name, .constant = x, .parameter = known.trained});
    }
    const bool trained = x.requires_grad() && x.is_leaf();
    return add(x, {.name = text("constant", constants_++), .constant = x, .parameter = trained});
  }

 private:
  struct known_name {
    std::string name;
    bool trained;
  };
  void open(const op_info& info, const void* op, const tensor* const* in, std::size_t n) {
    graph_step s{erased_op(info, op), {}, {}};  // before forward: without what it saves
    for (std::size_t i = 0; i < n; ++i) s.inputs.push_back(id_of(*in[i]));
    g.steps.push_back(std::move(s));
  }
  void close(const op_info& info, results& out) {
    graph_step& s = g.steps.back();
    for (std::size_t i = 0; i < s.inputs.size() && i < 24; ++i) {
      if ((info.writes.bits >> i & 1) == 0 || s.inputs[i] == no_value) continue;
      const storage* changed = held[static_cast<std::size_t>(s.inputs[i])].impl().store;
      for (std::size_t id = 0; id < held.size(); ++id) {  // statistics: the graph writes them too
        if (held[id].impl().store == changed) versions_[id] = held[id].version();
      }
    }
    for (std::size_t k = 0; k < out.count; ++k) {
      g.steps.back().outputs.push_back(out[k].defined() ? add(out[k], {}) : no_value);
    }
  }
  void move(const tensor& value) {
    const auto found = ids_.find(&value.impl());
    if (found == ids_.end()) return;
    versions_[static_cast<std::size_t>(found->second)] = value.version();
    written_.emplace(value.impl().store, 0);
  }
  [[noreturn]] static void raise_changed(const tensor& x, std::uint32_t known) {
    raise<state_error>("trace: ", x,
                       " was changed in place through another handle or view, which a graph "
                       "cannot follow (version ",
                       known, ", now ", x.version(),
                       "); use the changed handle, or put the parts together with stack() or "
                       "concat()");
  }

  pointer_map ids_, names_;              // names_: places in known_
  pointer_map written_;                  // memory that f has changed
  std::vector<std::uint32_t> versions_;  // by value id, of its memory
  std::vector<known_name> known_;
  index_t constants_ = 0;
};

// A run that leaves no trace: no gradients, no change of running statistics or of the generator.
struct dry_run {
  state_guard engine{};
  random_state random = default_generator().state();
  dry_run() {
    state.no_grad = true;
    state.recomputing = true;
    state.rule = nullptr;
  }
  ~dry_run() { default_generator().set_state(random); }
};

template <class = void>
[[gnu::noinline]] void run_traced(tracer<>& t, const traced_function& f,
                                  const std::vector<tensor>& examples) {
  const dry_run guard;
  state.watch = &t;
  std::vector<tensor> x;
  for (const tensor& e : examples) x.push_back(alias(e));
  for (std::size_t i = 0; i < x.size(); ++i) {
    t.g.inputs.push_back(t.add(x[i], {.name = text("input", i)}));
  }
  for (const tensor& y : f(x)) {
    if (!y.defined()) {
      raise<value_error>("trace: result ", t.g.outputs.size(), " of the function is undefined");
    }
    t.g.outputs.push_back(t.id_of(y));
  }
}

template <class = void> bool same_values(const tensor& a, const tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const tensor x = dense_copy(a), y = dense_copy(b);
  return std::memcmp(x.data(), y.data(), checked_bytes(x.shape(), x.dtype())) == 0;
}

// Replays g on the second examples next to f itself, and names the first op that differs.
template <class = void>
[[gnu::noinline]] void check_second(const graph& g, const traced_function& f,
                                    const std::vector<tensor>& examples) {
  tracer<> other;
  run_traced(other, f, examples);
  std::vector<tensor> v(g.values.size());
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = g.values[i].constant;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    v[static_cast<std::size_t>(g.inputs[i])] = examples[i];
  }
  const dry_run guard;
  for (std::size_t i = 0; i < g.steps.size(); ++i) {
    const graph_step& s = g.steps[i];
    const std::string_view now = i < other.g.steps.size() ? other.g.steps[i].op.name() : "nothing";
    if (now != s.op.name()) {
      raise<state_error>("trace: the function takes another path on the second example; step ", i,
                         " was ", s.op.name(), ", now ", now,
                         "; a graph holds one path: no `if` on values or sizes");
    }
    results out;
    erased_op op = s.op;
    call_step(s, op.data(), v, out);
    for (std::size_t k = 0; k < s.outputs.size(); ++k) {
      if (s.outputs[k] == no_value) continue;
      const auto id = static_cast<std::size_t>(other.g.steps[i].outputs[k]);
      if (!same_values(out[k], other.held[id])) {
        raise<state_error>("trace: on the second example step ", i, " (", s.op.name(),
                           ") of the graph gives other values than the function; a number or "
                           "tensor that it uses was computed from data outside of the ops");
      }
      v[static_cast<std::size_t>(s.outputs[k])] = out[k];
    }
  }
  if (other.g.steps.size() != g.steps.size()) {
    raise<state_error>("trace: the function runs ", other.g.steps.size(),
                       " ops on the second example and ", g.steps.size(), " on the first");
  }
}

template <class = void>
[[gnu::noinline]] graph trace_function(const traced_function& f,
                                       const std::vector<tensor>& examples,
                                       const trace_options& o) {
  tracer<> t;
  t.name(o.parameters, true);
  t.name(o.buffers, false);
  run_traced(t, f, examples);
  if (!o.second.empty()) check_second(t.g, f, o.second);
  sweep(t.g);
  return std::move(t.g);
}

// What a function returns, as a list: a tensor, a list of them, or the result of a recurrent layer.
template <class R> std::vector<tensor> result_list(R&& y) {
  if constexpr (std::is_convertible_v<R, const tensor&>) {
    return {std::forward<R>(y)};
  } else if constexpr (requires { y.output, y.h, y.c; }) {
    return {y.output, y.h, y.c};
  } else if constexpr (requires { y.output, y.h; }) {
    return {y.output, y.h};
  } else {
    return {y.begin(), y.end()};
  }
}

template <class F> std::vector<tensor> call_listed(F& f, const std::vector<tensor>& x) {
  if constexpr (std::is_invocable_v<F&, const std::vector<tensor>&> &&
                !std::is_invocable_v<F&, const tensor&>) {
    return result_list(f(x));
  } else {
    const std::size_t n = x.size();
    if constexpr (std::is_invocable_v<F&, const tensor&>) {
      if (n == 1) return result_list(f(x[0]));
    }
    if constexpr (std::is_invocable_v<F&, const tensor&, const tensor&>) {
      if (n == 2) return result_list(f(x[0], x[1]));
    }
    if constexpr (std::is_invocable_v<F&, const tensor&, const tensor&, const tensor&>) {
      if (n == 3) return result_list(f(x[0], x[1], x[2]));
    }
    raise<value_error>("trace: the function cannot be called with ", n, " tensors");
  }
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// The graph of f(examples...). f is a model or any function of one to three tensors, or of a
// vector of them, that returns a tensor, a list of tensors or the result of a recurrent layer; it
// runs once, without gradients, and without touching running statistics or the random generator;
// steps whose results it does not use are left out.
// With `second`, the same number of other examples, the graph is compared with f step by step:
// state_error names the first op on which they part (control flow on data, values read by item()).
template <class F> graph trace(F&& f, const std::vector<tensor>& examples, trace_options o = {}) {
  if constexpr (module<std::remove_cvref_t<F>>) {
    if (o.parameters.empty()) o.parameters = named_parameters(f);
    if (o.buffers.empty()) o.buffers = named_buffers(f);
  }
  if (!o.second.empty() && o.second.size() != examples.size()) {
    raise<value_error>("trace: as many second examples as first ones; got ", o.second.size(),
                       " and ", examples.size());
  }
  return detail::trace_function(
      [&f](const std::vector<tensor>& x) { return detail::call_listed(f, x); }, examples, o);
}
template <class F> graph trace(F&& f, const tensor& example, trace_options o = {}) {
  return trace(std::forward<F>(f), std::vector<tensor>{example}, std::move(o));
}

}  // namespace adze::inline ADZE_ISA
