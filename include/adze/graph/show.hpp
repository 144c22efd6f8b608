#pragma once
// SPDX-License-Identifier: MIT
// Graphs for people: one line per step, and DOT for drawing.
#include <adze/graph/residual.hpp>

namespace adze::detail::inline ADZE_ISA {

// The op, and what has been fused into it.
template <class = void> std::string step_label(const graph_step& s) {
  bool relu = false;
  if (const auto* linear = layer_of<linear_op<>>(s.op)) {
    relu = linear->act == kernels::activation::relu;
  } else if (const auto* conv = layer_of<conv2d_op<>>(s.op)) {
    relu = conv->act == kernels::activation::relu;
  }
  return text(s.op.name(), relu ? "+relu" : "");
}

template <class = void> std::string value_label(const graph& g, value_id id) {
  if (id == no_value) return "-";
  const graph_value& v = g.at(id);
  return v.name.empty() ? text("%", id) : v.name;
}

template <class = void> std::string quoted(const std::string& words) {
  std::string s = "\"";
  for (const char c : words) {
    if (c == '"' || c == '\\') s += '\\';
    s += c;
  }
  return s + '"';
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// One line per step: `%4 = conv2d(input0, conv1.weight, conv1.bias) f32[1,20,24,24]`.
template <class = void> std::string show(const graph& g) {
  std::string s;
  const auto list = [&g](const std::vector<value_id>& ids) {
    std::string all;
    for (const value_id id : ids) {
      if (!all.empty()) all += ", ";
      all += detail::value_label(g, id);
    }
    return all;
  };
  for (const value_id id : g.inputs) {
    s += text("input ", detail::value_label(g, id), " ", g.at(id).type, g.at(id).sizes, "\n");
  }
  for (const graph_step& step : g.steps) {
    s += text(list(step.outputs), " = ", detail::step_label(step), "(", list(step.inputs), ")");
    for (const value_id id : step.outputs) {
      if (id != no_value) s += text(" ", g.at(id).type, g.at(id).sizes);
    }
    s += '\n';
  }
  return s + text("return ", list(g.outputs), "\n");
}

// The same as a drawing in Graphviz' DOT language; constants stand in their step's label.
template <class = void> std::string to_dot(const graph& g) {
  std::string s = "digraph adze {\n  node [shape=box, fontname=monospace];\n";
  const auto arrow = [&](value_id id, const std::string& to) {
    const std::string label = text(g.at(id).type, g.at(id).sizes);
    s += text("  v", id, " -> ", to, " [label=", detail::quoted(label), "];\n");
  };
  for (const value_id id : g.inputs) {
    s += text("  v", id, " [label=", detail::quoted(detail::value_label(g, id)),
              ", shape=ellipse];\n");
  }
  for (std::size_t i = 0; i < g.steps.size(); ++i) {
    const graph_step& step = g.steps[i];
    std::string label = detail::step_label(step);
    for (const value_id id : step.inputs) {
      if (g.constant(id).defined()) label += text("\\n", g.at(id).name, " ", g.at(id).sizes);
    }
    const std::string node = text("s", i);
    s += text("  ", node, " [label=\"", label, "\"];\n");
    for (const value_id id : step.inputs) {
      if (id != no_value && !g.constant(id).defined()) arrow(id, node);
    }
    for (const value_id id : step.outputs) {
      if (id == no_value) continue;
      s += text("  v", id, " [label=\"\", shape=point];\n  ", node, " -> v", id, ";\n");
    }
  }
  for (const value_id id : g.outputs) arrow(id, "output");
  return s + "  output [shape=ellipse];\n}\n";
}

}  // namespace adze::inline ADZE_ISA
