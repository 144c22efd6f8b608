#pragma once
// SPDX-License-Identifier: MIT
// What trace() watches a run with: an observer that writes every recorded call down as a step of a
// graph.
#include <functional>

#include <adze/core/pointer_map.hpp>
#include <adze/core/random.hpp>
#include <adze/graph/edit.hpp>

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
      const auto place = names_.emplace(&x.impl(), static_cast<index_t>(known_.size()));
      if (place.second) {
        known_.push_back({text, parameter, {}});
      } else {
        known_[static_cast<std::size_t>(place.first->second)].also.push_back(text);
      }
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
      return add(
          x, {.name = known.name, .also = known.also, .constant = x, .parameter = known.trained});
    }
    const bool trained = x.requires_grad() && x.is_leaf();
    return add(x, {.name = text("constant", constants_++), .constant = x, .parameter = trained});
  }

 private:
  struct known_name {
    std::string name;
    bool trained;
    std::vector<std::string> also;
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

}  // namespace adze::detail::inline ADZE_ISA
