#pragma once
// SPDX-License-Identifier: MIT
// compile(graph, example): the graph as it runs fastest, for inference at one set of sizes. Batch
// norms are folded, activations and residual adds fused, constants put into the form their kernels
// read, and all memory of a run lies in one arena with lifetimes overlapped. A plan is a snapshot:
// it does not see later changes of the model.
#include <memory>
#include <mutex>

#include <adze/autograd/accumulate.hpp>
#include <adze/graph/arena.hpp>
#include <adze/graph/fold.hpp>
#include <adze/graph/fuse.hpp>
#include <adze/graph/plan_steps.hpp>
#include <adze/graph/residual.hpp>
#include <adze/graph/trace.hpp>

namespace adze::detail::inline ADZE_ISA {

// What all runs of a plan share; const once compiled.
struct plan_body {
  graph g;
  std::vector<std::unique_ptr<prepared_step>> prepared;  // by step; null runs the op's forward
  std::vector<tensor> constants;                         // by value, those that are still read
  std::vector<index_t> readers;                          // by value
  arena_script script;
};

// What one run needs for itself.
struct plan_context {
  explicit plan_context(const plan_body& body)
      : memory(body.script), values(body.constants), left(body.readers) {}
  arena memory;
  std::vector<tensor> values;
  std::vector<index_t> left;
  std::vector<const tensor*> in{};
};

// Runs the steps on `v`, which holds constants and inputs; each value goes after its last reader.
[[gnu::noinline]] inline void run_steps(const plan_body& body, std::vector<tensor>& v,
                                        std::vector<index_t>& left,
                                        std::vector<const tensor*>& in) {
  static const tensor absent;
  std::copy(body.readers.begin(), body.readers.end(), left.begin());
  for (std::size_t i = 0; i < body.g.steps.size(); ++i) {
    const graph_step& s = body.g.steps[i];
    in.clear();
    for (const value_id id : s.inputs) {
      in.push_back(id == no_value ? &absent : &v[static_cast<std::size_t>(id)]);
    }
    results out;
    if (body.prepared[i] != nullptr) {
      body.prepared[i]->run(in.data(), out);
    } else {
      erased_op op = s.op;
      record_call(op.info(), op.data(), in.data(), in.size(), out);
    }
    for (std::size_t k = 0; k < s.outputs.size(); ++k) {
      const auto id = static_cast<std::size_t>(s.outputs[k]);
      if (s.outputs[k] != no_value && left[id] > 0) v[id] = std::move(out[k]);
    }
    for (const value_id id : s.inputs) {
      if (id == no_value || --left[static_cast<std::size_t>(id)] > 0) continue;
      if (!body.constants[static_cast<std::size_t>(id)].defined()) {
        v[static_cast<std::size_t>(id)] = {};
      }
    }
  }
}

template <class = void> void check_plan_inputs(const graph& g, tensor_list x) {
  check_graph_inputs(g, x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const graph_value& v = g.at(g.inputs[i]);
    if (x[i].shape() == v.sizes && x[i].dtype() == v.type) continue;
    raise<shape_error>("plan: input ", i, " must be ", v.type, v.sizes, ", as compiled; got ", x[i],
                       "; compile(graph, example) makes a plan for other sizes");
  }
}

// One run from inputs to outputs that own their memory, everything between in `memory`.
template <class = void>
std::vector<tensor> run_plan(const plan_body& body, plan_context& c, storage_source& memory,
                             tensor_list x) {
  const state_guard guard;
  state.no_grad = true;
  state.recomputing = true;  // observers and statistics stay as they are
  state.rule = nullptr;
  state.watch = nullptr;
  struct clear_values {
    const plan_body& body;
    plan_context& c;
    ~clear_values() {
      for (std::size_t i = 0; i < c.values.size(); ++i) {
        if (!body.constants[i].defined()) c.values[i] = {};
      }
    }
  } const clear{body, c};
  for (std::size_t i = 0; i < x.size(); ++i) {
    c.values[static_cast<std::size_t>(body.g.inputs[i])] = x[i];
  }
  {
    const use_storage_source arena_only(&memory);
    run_steps(body, c.values, c.left, c.in);
  }
  std::vector<tensor> y;
  for (const value_id id : body.g.outputs) {
    y.push_back(dense_copy(c.values[static_cast<std::size_t>(id)]));
  }
  return y;
}

template <class = void>
std::unique_ptr<prepared_step> prepare_step(const graph& g, const graph_step& s) {
  std::vector<tensor> constants;
  for (const value_id id : s.inputs) constants.push_back(g.constant(id));
  if (s.op.info().prepare != nullptr) return s.op.info().prepare(s.op.data(), constants);
  return prepare_core_step<>(g, s, constants);
}

// Sizes and dtypes of all values at these inputs: one run of the graph. Constants may have changed
// since the trace, by to(graph, dtype) for instance.
template <class = void> void resize_values(graph& g, const std::vector<tensor>& example) {
  tracer<> t;
  run_traced(
      t, [&g](const std::vector<tensor>& x) { return g.run(x); }, example);
  for (std::size_t i = 0; i < example.size(); ++i) {
    g.at(g.inputs[i]).sizes = example[i].shape();
    g.at(g.inputs[i]).type = example[i].dtype();
  }
  for (graph_value& v : g.values) {
    if (v.constant.defined()) v.sizes = v.constant.shape(), v.type = v.constant.dtype();
  }
  for (std::size_t i = 0; i < g.steps.size(); ++i) {
    for (std::size_t k = 0; k < g.steps[i].outputs.size(); ++k) {
      if (g.steps[i].outputs[k] == no_value) continue;
      graph_value& v = g.at(g.steps[i].outputs[k]);
      v.sizes = t.g.at(t.g.steps[i].outputs[k]).sizes;
      v.type = t.g.at(t.g.steps[i].outputs[k]).type;
    }
  }
}

template <class = void>
std::shared_ptr<plan_body> make_plan(graph g, const std::vector<tensor>& example) {
  check_graph_inputs(g, example);
  auto body = std::make_shared<plan_body>();
  resize_values(g, example);
  body->g = join_residuals(std::move(g));
  own_states(body->g);
  body->readers = use_counts(body->g);
  std::vector<char> read(body->g.values.size(), 0);
  for (const value_id id : body->g.outputs) read[static_cast<std::size_t>(id)] = 1;
  for (const graph_step& s : body->g.steps) {
    body->prepared.push_back(prepare_step(body->g, s));
    const prepared_step* own = body->prepared.back().get();
    for (std::size_t i = 0; i < s.inputs.size(); ++i) {
      const bool taken = own != nullptr && i < 32 && (own->taken >> i & 1) != 0;
      if (s.inputs[i] != no_value && !taken) read[static_cast<std::size_t>(s.inputs[i])] = 1;
    }
  }
  for (std::size_t i = 0; i < read.size(); ++i) {  // a copy: later training must not show
    graph_value& v = body->g.values[i];
    body->constants.push_back(v.constant.defined() && read[i] != 0 ? plain_copy(v.constant, v.type)
                                                                   : tensor());
    v.constant = {};
  }
  plan_context c(*body);
  arena_writer writer;
  run_plan(*body, c, writer, example);
  body->script = writer.finish();
  return body;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// A compiled graph. Copies share everything but nothing that a run changes: calls from several
// threads at once are safe, each with an arena of its own, kept for the next call.
class plan {
 public:
  explicit plan(std::shared_ptr<detail::plan_body> body)
      : body_(std::move(body)), idle_(std::make_shared<idle_contexts>()) {}

  // Inputs as compiled; outputs are new tensors. Nothing is recorded, no precision rule applies.
  template <class = void> std::vector<tensor> run(tensor_list x) const {
    detail::check_plan_inputs(body_->g, x);
    std::unique_ptr<detail::plan_context> c = take();
    c->memory.rewind();
    std::vector<tensor> y = detail::run_plan(*body_, *c, c->memory, x);
    const std::lock_guard guard(idle_->lock);
    idle_->list.push_back(std::move(c));
    return y;
  }
  // For plans with one output.
  template <class... X>
  requires(std::is_convertible_v<const X&, const tensor&>&&...) tensor operator()(
      const X&... x) const {
    const tensor in[] = {x...};
    std::vector<tensor> y = run(in);
    if (y.size() != 1) {
      raise<value_error>("plan: has ", y.size(), " outputs; run(inputs) returns them all");
    }
    return std::move(y[0]);
  }

  // Bytes of the arena that each concurrent run uses, and what it would be without overlap.
  index_t arena_bytes() const { return static_cast<index_t>(body_->script.bytes); }
  index_t unshared_bytes() const {
    index_t n = 0;
    for (const auto& e : body_->script.entries) n += static_cast<index_t>(e.bytes);
    return n;
  }
  // Bytes of all constants in the form that the steps read, and of what steps hold as state, shared
  // by all runs.
  index_t constant_bytes() const {
    index_t n = detail::state_bytes(body_->g);
    for (const auto& s : body_->prepared) n += s != nullptr ? s->held_bytes : 0;
    for (const tensor& c : body_->constants) {
      n += c.defined() ? c.numel() * size_of(c.dtype()) : 0;
    }
    return n;
  }
  // The steps as they run, folded and fused, at the compiled sizes; its constants are gone.
  const graph& steps() const { return body_->g; }
  const detail::plan_body& body() const { return *body_; }

 private:
  struct idle_contexts {
    std::mutex lock{};
    std::vector<std::unique_ptr<detail::plan_context>> list{};
  };
  template <class = void> std::unique_ptr<detail::plan_context> take() const {
    {
      const std::lock_guard guard(idle_->lock);
      if (!idle_->list.empty()) {
        std::unique_ptr<detail::plan_context> c = std::move(idle_->list.back());
        idle_->list.pop_back();
        return c;
      }
    }
    return std::make_unique<detail::plan_context>(*body_);
  }

  std::shared_ptr<const detail::plan_body> body_;
  std::shared_ptr<idle_contexts> idle_;
};

// The graph in evaluation (statistics frozen, no dropout), folded and fused, for inputs of the
// sizes and dtypes of the example. Throws what the ops throw at these sizes.
template <class = void> plan compile(graph g, const std::vector<tensor>& example) {
  return plan(detail::make_plan(fuse(fold(std::move(g))), example));
}
template <class = void> plan compile(graph g, const tensor& example) {
  return compile(std::move(g), std::vector<tensor>{example});
}

}  // namespace adze::inline ADZE_ISA
