#pragma once
// SPDX-License-Identifier: MIT
// Union-find over every index of every axis of a graph's values, and what each step says about
// them. couple.hpp makes groups of it.
#include <map>
#include <numeric>

#include <adze/graph/couple_layers.hpp>

namespace adze::detail::inline ADZE_ISA {

// Union-find over every index of every axis of every value, and what is said about the sets.
template <class = void> class index_sets {
 public:
  explicit index_sets(const graph& g) {
    std::size_t n = 0;
    for (const graph_value& v : g.values) {
      std::vector<std::size_t>& axes = first_.emplace_back();
      for (const index_t size : v.sizes) {
        axes.push_back(n);
        n += static_cast<std::size_t>(size);
      }
    }
    parent_.resize(n);
    std::iota(parent_.begin(), parent_.end(), std::size_t{0});
  }

  std::size_t at(value_id v, index_t axis, index_t index) const {
    return first_[static_cast<std::size_t>(v)][static_cast<std::size_t>(axis)] +
           static_cast<std::size_t>(index);
  }
  std::size_t root(std::size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(std::size_t a, std::size_t b) { parent_[root(b)] = root(a); }

  // Notes about an index; they become those of its set.
  struct note {
    std::size_t at;
    std::string text;
  };
  std::vector<note> pins, shifts;

  void pin_value(const graph& g, value_id v, const std::string& why) {
    const shape& s = g.at(v).sizes;
    for (index_t a = 0; a < s.rank(); ++a) {
      for (index_t i = 0; i < s[a]; ++i) pins.push_back({at(v, a, i), why});
    }
  }
  void join_values(const graph& g, value_id v, value_id w) {
    const shape& s = g.at(v).sizes;
    for (index_t a = 0; a < s.rank(); ++a) {
      for (index_t i = 0; i < s[a]; ++i) join(at(v, a, i), at(w, a, i));
    }
  }

 private:
  std::vector<std::vector<std::size_t>> first_;  // by value and axis
  std::vector<std::size_t> parent_;
};

// What one step says, into the sets.
template <class = void> void add_ties(const graph& g, const graph_step& s, index_sets<>& sets) {
  std::vector<value_id> ids = s.inputs;
  ids.insert(ids.end(), s.outputs.begin(), s.outputs.end());
  std::vector<const shape*> sizes;
  for (const value_id id : ids) sizes.push_back(id == no_value ? nullptr : &g.at(id).sizes);
  axis_ties t(std::move(sizes), static_cast<index_t>(s.inputs.size()));
  std::string why(s.op.name());
  if (!tie_axes(s.op, t)) {
    t.pin_all();
    why += " (declares no axes)";
  }
  const auto index = [&](const axis_place& p, index_t i) {
    return sets.at(ids[static_cast<std::size_t>(p.value)], p.axis, i);
  };
  for (const axis_ties::tie& e : t.ties()) {
    for (index_t i = 0; i < e.run.count; ++i) {
      for (index_t k = 0; k < e.run.block; ++k) {
        sets.join(index(e.a, e.run.a + i), index(e.b, e.run.b + i * e.run.block + k));
      }
    }
  }
  const auto note = [&](const std::vector<axis_ties::span>& spans,
                        std::vector<index_sets<>::note>& to) {
    for (const axis_ties::span& p : spans) {
      for (index_t i = 0; i < p.count; ++i) to.push_back({index(p.at, p.first + i), why});
    }
  };
  note(t.pins(), sets.pins);
  note(t.shifted(), sets.shifts);
}

// Constants that share memory: the same tensor twice, such as tied weights, is one; others that
// overlap cannot be cut.
template <class = void> void join_shared(const graph& g, index_sets<>& sets) {
  std::map<const storage*, std::vector<value_id>> by_memory;
  for (std::size_t i = 0; i < g.values.size(); ++i) {
    const tensor& c = g.values[i].constant;
    if (c.defined()) by_memory[c.impl().store].push_back(static_cast<value_id>(i));
  }
  for (const auto& [memory, ids] : by_memory) {
    for (std::size_t i = 1; i < ids.size(); ++i) {
      const tensor &a = g.at(ids[0]).constant, &b = g.at(ids[i]).constant;
      const bool same = a.data() == b.data() && a.shape() == b.shape() &&
                        a.strides() == b.strides() && a.dtype() == b.dtype();
      if (same) {
        sets.join_values(g, ids[0], ids[i]);
        continue;
      }
      sets.pin_value(g, ids[0], text("memory shared with ", g.at(ids[i]).name));
      sets.pin_value(g, ids[i], text("memory shared with ", g.at(ids[0]).name));
    }
  }
}

}  // namespace adze::detail::inline ADZE_ISA
