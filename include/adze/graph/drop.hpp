#pragma once
// SPDX-License-Identifier: MIT
// A graph without some of its channel groups: smaller constants, the same steps. Ops with sizes in
// attributes get new ones; what would not fit is refused before a graph is returned.
#include <adze/graph/couple.hpp>
#include <adze/graph/trace.hpp>
#include <adze/nn/rnn.hpp>

namespace adze::detail::inline ADZE_ISA {

// Which indices stay, and how large every value becomes.
template <class = void> class remaining {
 public:
  remaining(const graph& g, const coupling& c, const std::vector<index_t>& groups)
      : c_(c), gone_(c.groups.size(), 0) {
    for (const index_t i : groups) gone_[static_cast<std::size_t>(i)] = 1;
    for (std::size_t v = 0; v < g.values.size(); ++v) {
      shape s = g.values[v].sizes;
      for (index_t a = 0; a < s.rank(); ++a) {
        s = s.with(a, before(static_cast<value_id>(v), a, s[a]));
      }
      sizes_.push_back(s);
    }
  }
  bool stays(value_id v, index_t axis, index_t index) const {
    return gone_[static_cast<std::size_t>(
               c_.groups_of(v, axis)[static_cast<std::size_t>(index)])] == 0;
  }
  // How many of the first `end` indices of an axis stay.
  index_t before(value_id v, index_t axis, index_t end) const {
    index_t n = 0;
    for (index_t i = 0; i < end; ++i) n += stays(v, axis, i);
    return n;
  }
  const shape& sizes(value_id v) const { return sizes_[static_cast<std::size_t>(v)]; }

 private:
  const coupling& c_;
  std::vector<char> gone_;  // by group
  std::vector<shape> sizes_;
};

template <class = void>
void check_dropped(const graph& g, const coupling& c, const std::vector<index_t>& groups) {
  bool fits = c.of.size() == g.values.size();
  for (std::size_t v = 0; fits && v < g.values.size(); ++v) {
    const shape& s = g.values[v].sizes;
    fits = static_cast<index_t>(c.of[v].size()) == s.rank();
    for (index_t a = 0; fits && a < s.rank(); ++a) {
      fits = static_cast<index_t>(c.of[v][static_cast<std::size_t>(a)].size()) == s[a];
    }
  }
  if (!fits) {
    raise<value_error>("drop: the coupling is of another graph; call couple(g) for this one");
  }
  for (const index_t i : groups) {
    if (i < 0 || i >= static_cast<index_t>(c.groups.size())) {
      raise<value_error>("drop: there is no group ", i, "; the coupling has ", c.groups.size());
    }
    if (c.group(i).pinned) {
      raise<value_error>("drop: group ", i, " is pinned by ", c.group(i).why);
    }
  }
}

// No axis may lose its last index.
template <class = void> void check_left(const graph& g, const remaining<>& left) {
  for (std::size_t v = 0; v < g.values.size(); ++v) {
    const shape &old = g.values[v].sizes, &now = left.sizes(static_cast<value_id>(v));
    for (index_t a = 0; a < old.rank(); ++a) {
      if (old[a] == 0 || now[a] > 0) continue;
      raise<value_error>("drop: nothing would be left of axis ", a, " of ",
                         value_label(g, static_cast<value_id>(v)), " ", old,
                         "; keep one group of the family");
    }
  }
}

// The tensor without what leaves, as a new leaf.
template <class = void> tensor cut_constant(const tensor& x, value_id v, const remaining<>& left) {
  tensor from = x;
  for (index_t a = 0; a < x.rank(); ++a) {
    const index_t n = from.shape()[a];
    if (n == left.sizes(v)[a]) continue;
    tensor y = empty(from.shape().with(a, left.sizes(v)[a]), x.dtype());
    for (index_t i = 0, at = 0; i < n;) {
      index_t end = i;
      while (end < n && left.stays(v, a, end)) ++end;
      if (end > i) {
        const tensor part = window(from, a, i, end - i);
        kernels::copy(part.shape(), operand_of(window(y, a, at, end - i)), operand_of(part));
      }
      at += end - i;
      i = end + 1;
    }
    from = y;
  }
  if (x.requires_grad()) from.set_requires_grad();
  return from;
}

// New sizes in place of those that changed; -1 stays.
template <class = void> void refit_sizes(index_list& sizes, const shape& old, const shape& now) {
  for (index_t i = 0; i < sizes.size(); ++i) {
    if (old[i] != now[i] && sizes[i] == old[i]) sizes[i] = now[i];
  }
}

template <class = void> void refit_groups(index_t& groups, const shape& weight, const shape& now) {
  if (groups == 1) return;
  const index_t each = weight[0] / groups;
  if (weight[1] == 1 || each == 1) groups = now[0] / each;  // whole groups have left
}

// The range of a slice among the indices that stay.
template <class = void>
void refit_slice(slice_op<>& op, value_id from, const shape& old, const remaining<>& left) {
  const index_t a = resolve_axis(op.axis, old.rank(), op.name);
  if (left.sizes(from)[a] == old[a]) return;
  const taken part = resolve_range(op.range, old[a]);
  op.range.start = left.before(from, a, part.first);
  op.range.stop = left.before(from, a, part.first + part.count);
}

template <class = void>
void refit_pad(pad_op<>& op, value_id from, value_id to, const graph& g, const remaining<>& left) {
  const shape &x = g.at(from).sizes, &y = g.at(to).sizes;
  if (left.sizes(from) == x && left.sizes(to) == y) return;
  const index_t rank = x.rank();
  for (index_t a = 0; a < rank; ++a) {
    const index_t low = op.before(a, rank), high = op.after(a, rank);
    const auto amount = [&](index_t n, bool front) {
      if (n == 0) return index_t{0};
      const value_id v = n > 0 ? to : from;
      const index_t size = g.at(v).sizes[a], count = n > 0 ? n : -n;
      const index_t stay =
          front ? left.before(v, a, count) : left.sizes(v)[a] - left.before(v, a, size - count);
      return n > 0 ? stay : -stay;
    };
    const auto at = static_cast<std::size_t>(2 * (rank - 1 - a));
    if (op.amounts.size() < at + 2) continue;
    op.amounts[at] = amount(low, true);
    op.amounts[at + 1] = amount(high, false);
  }
}

// Attributes that state sizes.
template <class = void> void refit(graph_step& s, const graph& g, const remaining<>& left) {
  const auto old = [&](value_id id) -> const shape& { return g.at(id).sizes; };
  if (auto* reshaped = s.op.template as<reshape_op<>>()) {
    refit_sizes(reshaped->sizes, old(s.outputs[0]), left.sizes(s.outputs[0]));
  } else if (auto* expanded = s.op.template as<expand_op<>>()) {
    refit_sizes(expanded->sizes, old(s.outputs[0]), left.sizes(s.outputs[0]));
  } else if (auto* summed = s.op.template as<sum_to_op<>>()) {
    summed->sizes = left.sizes(s.outputs[0]);
  } else if (auto* parts = s.op.template as<split_op<>>()) {
    for (std::size_t k = 0; k < s.outputs.size(); ++k) {
      const shape& now = left.sizes(s.outputs[k]);
      parts->sizes[k] = now[resolve_axis(parts->axis, now.rank(), parts->name)];
    }
  } else if (auto* slice = s.op.template as<slice_op<>>()) {
    refit_slice(*slice, s.inputs[0], old(s.inputs[0]), left);
  } else if (auto* select = s.op.template as<select_op<>>()) {
    const shape& x = old(s.inputs[0]);
    const index_t a = resolve_axis(select->axis, x.rank(), select->name);
    if (x != left.sizes(s.inputs[0])) {
      select->index = left.before(s.inputs[0], a, select->place(x));
    }
  } else if (auto* pad = s.op.template as<pad_op<>>()) {
    refit_pad(*pad, s.inputs[0], s.outputs[0], g, left);
  } else if (auto* conv = s.op.template as<conv2d_op<>>()) {
    refit_groups(conv->o.groups, old(s.inputs[1]), left.sizes(s.inputs[1]));
  } else if (auto* turned = s.op.template as<conv_transpose2d_op<>>()) {
    refit_groups(turned->o.groups, old(s.inputs[1]), left.sizes(s.inputs[1]));
  } else if (auto* state = s.op.template as<nn::zero_state_op<>>()) {
    state->hidden = left.sizes(s.outputs[0])[1];
  } else if (auto* norm = s.op.template as<group_norm_op<>>()) {
    if (norm->groups == old(s.inputs[0])[1]) norm->groups = left.sizes(s.inputs[0])[1];
  }
}

[[noreturn]] inline void raise_refused(const graph_step& s, std::size_t step,
                                       const std::string& got) {
  raise<state_error>("drop: step ", step, " (", s.op.name(), ") does not follow its inputs; ", got,
                     "; it states sizes in attributes: pin those axes in its couple()");
}

// Runs the graph on zeros: every result must have its new sizes.
template <class = void> [[gnu::noinline]] void check_runs(const graph& g) {
  const dry_run guard;
  std::vector<tensor> v;
  for (const graph_value& value : g.values) v.push_back(value.constant);
  for (const value_id id : g.inputs) {
    v[static_cast<std::size_t>(id)] = zeros_of(g.at(id).sizes, g.at(id).type);
  }
  for (std::size_t i = 0; i < g.steps.size(); ++i) {
    const graph_step& s = g.steps[i];
    results out;
    erased_op op = s.op;
    try {
      call_step(s, op.data(), v, out);
    } catch (const error& e) {
      raise_refused(s, i, e.what());
    }
    for (std::size_t k = 0; k < s.outputs.size(); ++k) {
      if (s.outputs[k] == no_value) continue;
      if (out[k].shape() != g.at(s.outputs[k]).sizes) {
        raise_refused(s, i, text("gives ", out[k].shape(), ", not ", g.at(s.outputs[k]).sizes));
      }
      v[static_cast<std::size_t>(s.outputs[k])] = out[k];
    }
  }
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// The graph without the given groups of couple(g). Constants that lose indices are new leaves with
// the old values; the others stay shared with g. Where no op normalises over a group (its `shifts`
// is empty), and what lies between a channel and a sum over channels keeps zero (relu and tanh do,
// sigmoid and exp do not), the results are those of g with the group's constants set to zero.
// Throws value_error for a pinned group, for one that would leave an axis empty and for another
// graph's coupling; state_error for a custom op whose sizes do not follow.
template <class = void> graph drop(graph g, const coupling& c, const std::vector<index_t>& groups) {
  detail::check_dropped(g, c, groups);
  const detail::remaining<> left(g, c, groups);
  detail::check_left(g, left);
  for (graph_step& s : g.steps) detail::refit(s, g, left);
  std::unordered_map<const void*, tensor> cut;  // by memory: tied weights stay tied
  for (std::size_t i = 0; i < g.values.size(); ++i) {
    graph_value& v = g.values[i];
    const auto id = static_cast<value_id>(i);
    if (v.constant.defined() && v.sizes != left.sizes(id)) {
      tensor& now = cut[v.constant.data()];
      if (!now.defined()) now = detail::cut_constant(v.constant, id, left);
      v.constant = now;
    }
    v.sizes = left.sizes(id);
  }
  detail::check_runs(g);
  return g;
}

}  // namespace adze::inline ADZE_ISA
