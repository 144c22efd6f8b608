#pragma once
// SPDX-License-Identifier: MIT
// What convert leaves in floats, with names and reasons.
#include <set>
#include <unordered_map>

#include <adze/ops/attention.hpp>
#include <adze/ops/matmul.hpp>
#include <adze/quant/placement.hpp>

namespace adze::quant {

// A step that stays in floats, and why.
struct float_step {
  std::string op{}, name{}, reason{};
};

}  // namespace adze::quant

namespace adze::quant::detail::inline ADZE_ISA {

inline bool is_layer_op(const graph_step& s) {
  return s.op.as<linear_op<>>() != nullptr || s.op.as<conv2d_op<>>() != nullptr;
}

// The first constant that a value is made of; empty where there is none.
template <class = void> std::string constant_behind(const graph& g, value_id id) {
  const std::vector<index_t> by = adze::detail::producers(g);
  std::set<value_id> seen{no_value};
  for (std::vector<value_id> next{id}; !next.empty();) {
    const value_id now = next.back();
    next.pop_back();
    if (!seen.insert(now).second) continue;
    if (g.at(now).constant.defined()) return g.at(now).name;
    const index_t step = by[static_cast<std::size_t>(now)];
    if (step < 0) continue;
    const std::vector<value_id>& in = g.steps[static_cast<std::size_t>(step)].inputs;
    next.insert(next.end(), in.rbegin(), in.rend());
  }
  return {};
}

// The weight of a layer, else the first parameter that a step reads.
template <class = void> std::string weight_name(const graph& g, const graph_step& s) {
  std::string name = is_layer_op(s) ? constant_behind(g, s.inputs[1]) : std::string();
  for (const value_id id : s.inputs) {
    if (name.empty() && id != no_value && g.at(id).parameter) name = g.at(id).name;
  }
  return name;
}

// Steps that were refused, in their order.
template <class = void> class refusals {
 public:
  // What only moves values is not worth a line.
  void add(const graph& g, const graph_step& s, step_kind kind, std::string reason) {
    if (is_any(s.op, moving_ops{})) return;
    std::string name = weight_name(g, s);
    const bool product =
        s.op.template as<matmul_op<>>() != nullptr || s.op.template as<attention_op<>>() != nullptr;
    const bool worth = kind == step_kind::layer || kind == step_kind::own || product ||
                       (kind == step_kind::other && !name.empty());
    all_.push_back({&s, {std::string(s.op.name()), std::move(name), std::move(reason)}, worth});
  }

  // Layers, products and functions, and any step that stands between integer steps, which costs
  // them a way through floats. `kept`: steps of `to` that stayed, with what they were.
  std::vector<float_step> listed(
      const graph& to, const std::unordered_map<std::size_t, const graph_step*>& kept) const {
    std::vector<char> made(to.values.size(), 0), read(to.values.size(), 0);  // by integer steps
    for (std::size_t i = 0; i < to.steps.size(); ++i) {
      const graph_step& s = to.steps[i];
      if (!kept.contains(i) || any(s.inputs, made)) mark(s.outputs, made);
    }
    std::set<const graph_step*> between;
    for (std::size_t i = to.steps.size(); i-- > 0;) {
      const graph_step& s = to.steps[i];
      const auto stayed = kept.find(i);
      if (stayed != kept.end() && !any(s.outputs, read)) continue;
      mark(s.inputs, read);
      if (stayed != kept.end() && any(s.inputs, made)) between.insert(stayed->second);
    }
    std::vector<float_step> list;
    for (const refusal& r : all_) {
      if (r.worth || between.contains(r.step)) list.push_back(r.why);
    }
    return list;
  }

 private:
  struct refusal {
    const graph_step* step;
    float_step why;
    bool worth;  // a line wherever it stands
  };
  static bool any(const std::vector<value_id>& ids, const std::vector<char>& of) {
    return std::any_of(ids.begin(), ids.end(), [&of](value_id id) {
      return id != no_value && of[static_cast<std::size_t>(id)] != 0;
    });
  }
  static void mark(const std::vector<value_id>& ids, std::vector<char>& of) {
    for (const value_id id : ids) {
      if (id != no_value) of[static_cast<std::size_t>(id)] = 1;
    }
  }
  std::vector<refusal> all_;
};

}  // namespace adze::quant::detail::inline ADZE_ISA
