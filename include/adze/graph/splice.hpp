#pragma once
// SPDX-License-Identifier: MIT
// Passes that write new steps as ordinary code: splice records a function of some values of a graph
// and adds its steps; fold_constants runs what depends on constants alone.
#include <adze/graph/edit.hpp>
#include <adze/graph/trace.hpp>

namespace adze::detail::inline ADZE_ISA {

// Adds the steps of f(in...) to `steps`, which will be those of g, and returns the ids of its
// results. f runs once, on zeros of the traced sizes in place of values that are not constants.
template <class = void>
[[gnu::noinline]] std::vector<value_id> splice(graph& g, std::vector<graph_step>& steps,
                                               const std::vector<value_id>& in,
                                               const traced_function& f) {
  std::vector<tensor> examples;
  for (const value_id id : in) {
    const graph_value& v = g.at(id);
    examples.push_back(v.constant.defined() ? v.constant : zeros_of(v.sizes, v.type));
  }
  tracer<> t;
  run_traced(t, f, examples);
  pointer_map known;
  for (std::size_t i = 0; i < g.values.size(); ++i) {
    if (g.values[i].constant.defined()) {
      known[&g.values[i].constant.impl()] = static_cast<index_t>(i);
    }
  }
  std::vector<value_id> here(t.g.values.size(), no_value);
  for (std::size_t i = 0; i < in.size(); ++i) here[static_cast<std::size_t>(t.g.inputs[i])] = in[i];
  for (std::size_t i = 0; i < here.size(); ++i) {
    if (here[i] != no_value) continue;
    const tensor c = t.g.values[i].constant;
    const auto found = c.defined() ? known.find(&c.impl()) : known.end();
    here[i] =
        found != known.end() ? static_cast<value_id>(found->second) : g.add_value(t.g.values[i]);
  }
  const auto moved = [&here](value_id id) {
    return id == no_value ? no_value : here[static_cast<std::size_t>(id)];
  };
  for (graph_step& s : t.g.steps) {
    for (value_id& id : s.inputs) id = moved(id);
    for (value_id& id : s.outputs) id = moved(id);
    steps.push_back(std::move(s));
  }
  std::vector<value_id> out;
  for (const value_id id : t.g.outputs) out.push_back(moved(id));
  return out;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// The graph with every step whose inputs are all constants replaced by its results, which are
// constants named after its first named input. Steps for which keep(step) is true, and those that
// change their inputs, stay.
template <class Keep> graph fold_constants(graph g, Keep keep) {
  const no_grad plain;
  for (graph_step& s : g.steps) {
    bool constant = s.op.info().writes.bits == 0 && !keep(s);
    std::string name;
    std::vector<tensor> in;
    for (const value_id id : s.inputs) {
      constant = constant && (id == no_value || g.at(id).constant.defined());
      in.push_back(g.constant(id));
      if (name.empty() && id != no_value) name = g.at(id).name;
    }
    if (!constant) continue;
    std::vector<const tensor*> at;
    for (const tensor& x : in) at.push_back(&x);
    erased_op op = s.op;
    detail::results out;
    detail::record_call(op.info(), op.data(), at.data(), at.size(), out);
    for (std::size_t k = 0; k < s.outputs.size(); ++k) {
      if (s.outputs[k] == no_value) continue;
      graph_value& v = g.at(s.outputs[k]);
      v.constant = detail::dense_copy(out[k]);
      v.name = name;
    }
  }
  std::erase_if(g.steps, [&g](const graph_step& s) {
    for (const value_id id : s.outputs) {
      if (id != no_value && !g.at(id).constant.defined()) return false;
    }
    return true;
  });
  detail::sweep(g);
  return g;
}

}  // namespace adze::inline ADZE_ISA
