#pragma once
// SPDX-License-Identifier: MIT
// Channel coupling: which indices of which axes of a graph's values leave together when a channel
// is removed, and which cannot leave. Every op ties axes of its inputs and results; groups are what
// hangs together by (value, axis, index). drop.hpp removes groups.
#include <map>
#include <unordered_map>

#include <adze/core/table.hpp>
#include <adze/graph/index_sets.hpp>
#include <adze/graph/show.hpp>

namespace adze::inline ADZE_ISA {

// Indices of one axis of one value, ascending.
struct axis_indices {
  value_id value = no_value;
  index_t axis = 0;
  std::vector<index_t> indices{};
};

// What leaves together.
struct channel_group {
  std::vector<axis_indices> members{};  // by value, then axis
  bool pinned = false;                  // cannot leave
  std::string why{};                    // if pinned: inputs, outputs and ops that hold it
  std::string shifts{};  // ops that normalise over it: without it their other results change
  index_t family = 0;    // groups with the same values and axes, such as the channels of a layer
};

struct coupling {
  std::vector<channel_group> groups{};
  index_t families = 0;

  // The group of each index of an axis.
  const std::vector<index_t>& groups_of(value_id v, index_t axis) const {
    const auto& axes = of[static_cast<std::size_t>(v)];
    return axes[static_cast<std::size_t>(
        resolve_axis(axis, static_cast<index_t>(axes.size()), "groups_of"))];
  }
  const channel_group& group(index_t i) const { return groups[static_cast<std::size_t>(i)]; }

  std::vector<std::vector<std::vector<index_t>>> of{};  // by value, axis and index
};

// The value of this name, any of a tied tensor's: a parameter, a buffer or an input. Throws
// value_error if there is none.
template <class = void> value_id value_named(const graph& g, std::string_view name) {
  for (std::size_t i = 0; i < g.values.size(); ++i) {
    const graph_value& v = g.values[i];
    const bool tied = std::find(v.also.begin(), v.also.end(), name) != v.also.end();
    if (v.name == name || tied) return static_cast<value_id>(i);
  }
  raise<value_error>("value_named: the graph has no value ", name,
                     "; named_parameters(g) lists those it has");
}

}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {

// Adds words to a list of them unless they are in it.
template <class = void> void add_words(std::string& list, const std::string& words) {
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(", ", at), list.size());
    if (std::string_view(list).substr(at, end - at) == words) return;
    at = end + 2;
  }
  list += list.empty() ? words : ", " + words;
}

template <class = void> coupling groups_from(const graph& g, index_sets<>& sets) {
  coupling c;
  std::unordered_map<std::size_t, index_t> numbers;
  for (std::size_t v = 0; v < g.values.size(); ++v) {
    const shape& s = g.values[v].sizes;
    auto& axes = c.of.emplace_back();
    for (index_t a = 0; a < s.rank(); ++a) {
      std::vector<index_t>& of = axes.emplace_back();
      for (index_t i = 0; i < s[a]; ++i) {
        const auto [found, fresh] =
            numbers.try_emplace(sets.root(sets.at(static_cast<value_id>(v), a, i)),
                                static_cast<index_t>(c.groups.size()));
        if (fresh) c.groups.emplace_back();
        channel_group& group = c.groups[static_cast<std::size_t>(found->second)];
        if (group.members.empty() || group.members.back().value != static_cast<value_id>(v) ||
            group.members.back().axis != a) {
          group.members.push_back({static_cast<value_id>(v), a, {}});
        }
        group.members.back().indices.push_back(i);
        of.push_back(found->second);
      }
    }
  }
  const auto group_at = [&](std::size_t at) -> channel_group& {
    return c.groups[static_cast<std::size_t>(numbers.at(sets.root(at)))];
  };
  for (const auto& [at, why] : sets.pins) add_words(group_at(at).why, why);
  for (const auto& [at, op] : sets.shifts) add_words(group_at(at).shifts, op);
  return c;
}

// Pins what holds no constant: nothing would be smaller. Then numbers the families.
template <class = void> void number_families(const graph& g, coupling& c) {
  std::map<std::vector<std::pair<value_id, index_t>>, index_t> known;
  for (channel_group& group : c.groups) {
    bool constant = false;
    std::vector<std::pair<value_id, index_t>> key;
    for (const axis_indices& m : group.members) {
      constant = constant || g.at(m.value).constant.defined();
      key.emplace_back(m.value, m.axis);
    }
    if (!constant) add_words(group.why, "holds no constant");
    group.pinned = !group.why.empty();
    key.emplace_back(group.pinned ? 1 : 0, 0);
    group.family =
        known.try_emplace(std::move(key), static_cast<index_t>(known.size())).first->second;
  }
  c.families = static_cast<index_t>(known.size());
}

// Sizes of a value without the indices of a group.
template <class = void>
shape sizes_without(const graph& g, value_id v, const channel_group& group) {
  shape s = g.at(v).sizes;
  for (const axis_indices& m : group.members) {
    if (m.value == v) s = s.with(m.axis, s[m.axis] - static_cast<index_t>(m.indices.size()));
  }
  return s;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// Which channels of a graph leave together (Fang et al. 2023, "DepGraph"), through whatever ops it
// has. Two indices are in one group when an op ties them: a linear's outputs with its bias, the
// batch norm after it and the columns of the next weight, both sides of a residual add, a place in
// a concatenation, all pixels of a flattened channel, the four gates of an LSTM's hidden unit, a
// whole attention head, the i-th channel of every group of a grouped convolution. Pinned, with the
// reason: graph inputs and outputs, axes of which an op needs every index (softmax, windows of
// convolutions and pools, rows of an embedding, means), all axes of ops that declare none, and what
// holds no constant. The sizes are those of the trace.
template <class = void> coupling couple(const graph& g) {
  detail::index_sets<> sets(g);
  for (const value_id id : g.inputs) sets.pin_value(g, id, g.at(id).name);
  for (const graph_step& s : g.steps) detail::add_ties(g, s, sets);
  for (const value_id id : g.outputs) sets.pin_value(g, id, "output");
  detail::join_shared(g, sets);
  coupling c = detail::groups_from(g, sets);
  detail::number_families(g, c);
  return c;
}

// The groups of some output channels of a layer (axis 0 of its weight), each once and ascending:
// what drop() takes. Throws value_error for an unknown name and for channels that there are not.
template <class = void>
std::vector<index_t> groups_at(const graph& g, const coupling& c, std::string_view weight,
                               std::span<const index_t> channels) {
  const value_id id = value_named(g, weight);
  const std::vector<index_t>& of = c.groups_of(id, 0);
  std::vector<index_t> groups;
  for (const index_t i : channels) {
    if (i < 0 || i >= static_cast<index_t>(of.size())) {
      raise<value_error>("groups_at: ", weight, " ", g.at(id).sizes, " has no channel ", i);
    }
    groups.push_back(of[static_cast<std::size_t>(i)]);
  }
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  return groups;
}

// Elements of trained constants that leave with a group when it leaves alone.
template <class = void> index_t parameters_of(const graph& g, const channel_group& group) {
  index_t n = 0;
  value_id last = no_value;
  for (const axis_indices& m : group.members) {
    if (!g.at(m.value).parameter || m.value == last) continue;
    last = m.value;
    n += g.at(last).sizes.numel() - detail::sizes_without(g, last, group).numel();
  }
  return n;
}

// A row per family that holds constants: how many groups, parameters of each, the axes of the
// constants that it cuts, and what pins it.
template <class = void> report::table to_table(const graph& g, const coupling& c) {
  report::table t({"family", "groups", "parameters each", "cuts", "pinned by", "shifts"});
  std::vector<index_t> count(static_cast<std::size_t>(c.families), 0);
  for (const channel_group& group : c.groups) ++count[static_cast<std::size_t>(group.family)];
  for (const channel_group& group : c.groups) {
    index_t& n = count[static_cast<std::size_t>(group.family)];
    std::string cuts;
    for (const axis_indices& m : group.members) {
      if (!g.at(m.value).constant.defined()) continue;
      cuts += text(cuts.empty() ? "" : ", ", g.at(m.value).name, "[", m.axis, "]");
      if (m.indices.size() > 1) cuts += text(" x", m.indices.size());
    }
    if (n > 0 && !cuts.empty()) {
      t.add(group.family, n, parameters_of(g, group), cuts, group.why, group.shifts);
    }
    n = 0;
  }
  return t;
}

}  // namespace adze::inline ADZE_ISA
