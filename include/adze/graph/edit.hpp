#pragma once
// SPDX-License-Identifier: MIT
// What passes over graphs share: who makes a value, redirecting its readers, and sweeping away
// what nobody reads. Steps keep an order in which they can run.
#include <set>
#include <utility>

#include <adze/graph/graph.hpp>

namespace adze::detail::inline ADZE_ISA {

// The step that makes each value, -1 for inputs and constants.
template <class = void> std::vector<index_t> producers(const graph& g) {
  std::vector<index_t> by(g.values.size(), -1);
  for (std::size_t i = 0; i < g.steps.size(); ++i) {
    for (const value_id id : g.steps[i].outputs) {
      if (id != no_value) by[static_cast<std::size_t>(id)] = static_cast<index_t>(i);
    }
  }
  return by;
}

// Bytes of what the op of a step, or of all steps, holds as state: scales, tables, statistics.
template <class = void> index_t state_bytes(const graph_step& s) {
  index_t n = 0;
  if (s.op.info().visit == nullptr) return n;
  erased_op op = s.op;  // visit is for writers too
  op.info().visit(op.data(), [&n](std::string_view, const tensor& x) {
    if (x.defined()) n += x.numel() * size_of(x.dtype());
  });
  return n;
}
template <class = void> index_t state_bytes(const graph& g) {
  index_t n = 0;
  for (const graph_step& s : g.steps) n += state_bytes(s);
  return n;
}

template <class = void> bool is_constant_or_absent(const graph& g, value_id id) {
  return id == no_value || g.constant(id).defined();
}
// A layer (x, weight, bias) whose weight and bias, if it has one, are constants.
template <class = void> bool has_constant_weight(const graph& g, const graph_step& s) {
  return g.constant(s.inputs[1]).defined() && is_constant_or_absent(g, s.inputs[2]);
}

// Every reader of `from`, the graph's outputs too, reads `to` instead.
template <class = void> void redirect(graph& g, value_id from, value_id to) {
  for (graph_step& s : g.steps) std::replace(s.inputs.begin(), s.inputs.end(), from, to);
  std::replace(g.outputs.begin(), g.outputs.end(), from, to);
}

// Where the step from `to` to `from` is to go: `uses` counts the readers of `to` as if it were
// gone.
inline void redirect(graph& g, value_id from, value_id to, std::vector<index_t>& uses) {
  redirect(g, from, to);
  uses[static_cast<std::size_t>(to)] += std::exchange(uses[static_cast<std::size_t>(from)], 0) - 1;
}

// Names of constants occur once, so that they can be saved: the second "w" becomes "w.1".
template <class = void> void number_names(graph& g) {
  std::set<std::string> taken;
  for (graph_value& v : g.values) {
    if (!v.constant.defined()) continue;
    const std::string name = v.name;
    for (index_t i = 1; !taken.insert(v.name).second; ++i) v.name = text(name, ".", i);
  }
  for (const auto& [name, x] : g.unread) taken.insert(name);
  for (graph_value& v : g.values) {
    std::erase_if(v.also, [&](const std::string& name) { return !taken.insert(name).second; });
  }
}

// Removes steps whose results nobody reads, and values that are gone; ids change.
template <class = void> void sweep(graph& g) {
  std::vector<index_t> left = use_counts(g);
  std::vector<graph_step> kept;
  for (std::size_t i = g.steps.size(); i-- > 0;) {
    graph_step& s = g.steps[i];
    bool read = false;
    for (const value_id id : s.outputs) {
      read = read || (id != no_value && left[static_cast<std::size_t>(id)] > 0);
    }
    if (read) {
      kept.push_back(std::move(s));
      continue;
    }
    for (const value_id id : s.inputs) {
      if (id != no_value) --left[static_cast<std::size_t>(id)];
    }
  }
  g.steps.clear();
  for (; !kept.empty(); kept.pop_back()) g.steps.push_back(std::move(kept.back()));

  std::vector<char> named(g.values.size(), 0);
  const auto mark = [&named](const std::vector<value_id>& ids) {
    for (const value_id id : ids) {
      if (id != no_value) named[static_cast<std::size_t>(id)] = 1;
    }
  };
  mark(g.inputs);
  mark(g.outputs);
  for (const graph_step& s : g.steps) mark(s.inputs), mark(s.outputs);
  std::vector<value_id> moved(g.values.size(), no_value);
  std::vector<graph_value> values;
  for (std::size_t i = 0; i < g.values.size(); ++i) {
    if (named[i] == 0) continue;
    moved[i] = static_cast<value_id>(values.size());
    values.push_back(std::move(g.values[i]));
  }
  g.values = std::move(values);
  const auto renumber = [&moved](std::vector<value_id>& ids) {
    for (value_id& id : ids) {
      if (id != no_value) id = moved[static_cast<std::size_t>(id)];
    }
  };
  renumber(g.inputs);
  renumber(g.outputs);
  for (graph_step& s : g.steps) renumber(s.inputs), renumber(s.outputs);
  number_names(g);
}

// The step that makes `id` when it has one result and only one reader; null otherwise.
template <class = void>
graph_step* sole_producer(graph& g, value_id id, const std::vector<index_t>& by,
                          const std::vector<index_t>& uses) {
  if (id == no_value || by[static_cast<std::size_t>(id)] < 0) return nullptr;
  if (uses[static_cast<std::size_t>(id)] != 1) return nullptr;
  graph_step& s = g.steps[static_cast<std::size_t>(by[static_cast<std::size_t>(id)])];
  return s.outputs.size() == 1 ? &s : nullptr;
}

}  // namespace adze::detail::inline ADZE_ISA
