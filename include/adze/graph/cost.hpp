#pragma once
// SPDX-License-Identifier: MIT
// What a graph costs, step by step: parameters, multiply-adds, bytes moved and bytes of results,
// at the sizes of the trace.
#include <numeric>

#include <adze/core/table.hpp>
#include <adze/graph/show.hpp>
#include <adze/ops/attention.hpp>
#include <adze/ops/gru.hpp>
#include <adze/ops/lstm.hpp>
#include <adze/ops/matmul.hpp>
#include <adze/ops/rnn.hpp>

namespace adze::inline ADZE_ISA {

struct step_cost {
  std::string label{};
  shape result{};
  // Elements of trained constants, each counted at its first reader. Codes are not trained.
  index_t parameters = 0;
  // Of all constants (weights, codes, scales, statistics), likewise, and of the op's own state.
  index_t constant_bytes = 0;
  index_t macs = 0;          // multiply-adds of products; pointwise work is not counted
  index_t bytes_moved = 0;   // inputs and constants read, results written
  index_t result_bytes = 0;  // what the step's results occupy; views count nothing
};

struct graph_cost {
  std::vector<step_cost> steps{};
  index_t parameters = 0, parameter_bytes = 0, constant_bytes = 0;
  index_t macs = 0, bytes_moved = 0;
  index_t peak_bytes = 0;  // of results alive at once, when each is dropped after its last reader
};

}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {

template <class = void> index_t bytes_of(const graph_value& v) {
  if (v.constant.defined()) return v.constant.numel() * size_of(v.constant.dtype());
  return v.sizes.numel() * size_of(v.type);
}

inline bool is_any_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Multiply-adds by the definition of the op: results times the depth of their sums. Layers of
// converted graphs, whose ops stand above this folder, are known by name.
template <class = void> index_t macs_of(const graph& g, const graph_step& s) {
  const auto sizes = [&](std::size_t i) { return g.at(s.inputs[i]).sizes; };
  const auto out = [&] { return g.at(s.outputs[0]).sizes; };
  const std::string_view name = s.op.name();
  if (layer_of<linear_op<>>(s.op) != nullptr ||
      is_any_of(name, {"integer_linear", "dynamic_linear", "int4_linear"})) {
    return out().numel() * sizes(0).back();
  }
  if (layer_of<conv2d_op<>>(s.op) != nullptr || name == "integer_conv2d") {
    return out().numel() * sizes(1)[1] * sizes(1)[2] * sizes(1)[3];
  }
  if (s.op.as<conv_transpose2d_op<>>() != nullptr) {
    return sizes(0).numel() * sizes(1)[1] * sizes(1)[2] * sizes(1)[3];
  }
  if (s.op.as<matmul_op<>>() != nullptr) return out().numel() * sizes(0).back();
  if (s.op.as<attention_op<>>() != nullptr) {  // scores, then their weighted sum
    return sizes(0).numel() * sizes(1)[sizes(1).rank() - 2] +
           out().numel() * sizes(1)[sizes(1).rank() - 2];
  }
  const bool recurrent = s.op.as<lstm_op<>>() != nullptr || s.op.as<gru_op<>>() != nullptr ||
                         s.op.as<rnn_op<>>() != nullptr;
  const bool coded = is_any_of(name, {"dynamic_lstm", "dynamic_gru"});
  if (!recurrent && !coded) return 0;
  // x [t, b, i], states, two matrices (each with its scales where it is in codes), two biases
  const std::size_t n = s.inputs.size(), first = coded ? n - 6 : n - 4;
  const index_t weights = sizes(first).numel() + sizes(coded ? first + 2 : first + 1).numel();
  return sizes(0)[0] * sizes(0)[1] * weights;
}

// Results that are views cost nothing; known by name, since no attribute says so.
template <class = void> bool is_view(std::string_view name) {
  return is_any_of(name, {"reshape", "flatten", "transpose", "permute", "expand", "squeeze",
                          "unsqueeze", "slice", "select", "split", "detach"});
}

// The bytes of values alive at once; a view keeps the memory of what it looks at.
class live_values {
 public:
  explicit live_values(const graph& g) : g_(g), base_(g.values.size()), holders_(base_.size(), 0) {
    std::iota(base_.begin(), base_.end(), value_id{0});
  }
  void add(value_id id, value_id base) {
    base_[at(id)] = base = base_[at(base)];
    if (holders_[at(base)]++ == 0) bytes_ += own_bytes(base);
  }
  void drop(value_id id) {
    const value_id base = base_[at(id)];
    if (--holders_[at(base)] == 0) bytes_ -= own_bytes(base);
  }
  index_t bytes() const { return bytes_; }

 private:
  static std::size_t at(value_id id) { return static_cast<std::size_t>(id); }
  index_t own_bytes(value_id id) const {
    return g_.at(id).constant.defined() ? 0 : bytes_of(g_.at(id));
  }
  const graph& g_;
  std::vector<value_id> base_;    // whose memory a value is
  std::vector<index_t> holders_;  // values alive in it
  index_t bytes_ = 0;
};

template <class = void> index_t peak_of(const graph& g) {
  std::vector<index_t> left = use_counts(g);
  live_values live(g);
  index_t peak = 0;
  for (const value_id id : g.inputs) live.add(id, id);
  for (const graph_step& s : g.steps) {
    const bool view = is_view(s.op.name());
    for (const value_id id : s.outputs) {
      if (id != no_value) live.add(id, view ? s.inputs[0] : id);
    }
    peak = std::max(peak, live.bytes());
    for (const value_id id : s.inputs) {
      if (id == no_value || g.at(id).constant.defined()) continue;
      if (--left[static_cast<std::size_t>(id)] == 0) live.drop(id);
    }
    for (const value_id id : s.outputs) {  // read by nobody
      if (id != no_value && left[static_cast<std::size_t>(id)] == 0) live.drop(id);
    }
  }
  return peak;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// Bytes of all constants, of what steps hold as state, and of buffers that no step reads: what the
// graph takes on disk and, at least, in memory.
template <class = void> index_t constant_bytes(const graph& g) {
  index_t n = detail::state_bytes(g);
  for (const graph_value& v : g.values) {
    if (v.constant.defined()) n += detail::bytes_of(v);
  }
  for (const auto& [name, x] : g.unread) n += x.numel() * size_of(x.dtype());
  return n;
}

// The cost of every step and of the whole graph. MACs are those of the definition, whatever
// algorithm runs; biases and pointwise ops count none.
template <class = void> graph_cost cost(const graph& g) {
  graph_cost c;
  std::vector<char> counted(g.values.size(), 0);
  for (const graph_step& s : g.steps) {
    step_cost now{.label = detail::step_label(s),
                  .constant_bytes = detail::state_bytes(s),
                  .macs = detail::macs_of(g, s)};
    for (const value_id id : s.inputs) {
      if (id == no_value) continue;
      const graph_value& v = g.at(id);
      now.bytes_moved += detail::is_view(s.op.name()) ? 0 : detail::bytes_of(v);
      if (!v.constant.defined() || counted[static_cast<std::size_t>(id)]) continue;
      counted[static_cast<std::size_t>(id)] = 1;
      now.constant_bytes += detail::bytes_of(v);
      if (!v.parameter) continue;
      now.parameters += v.constant.numel();
      c.parameter_bytes += detail::bytes_of(v);
    }
    for (const value_id id : s.outputs) {
      if (id == no_value) continue;
      if (now.result.rank() == 0) now.result = g.at(id).sizes;
      if (!detail::is_view(s.op.name())) now.result_bytes += detail::bytes_of(g.at(id));
    }
    now.bytes_moved += now.result_bytes;
    c.parameters += now.parameters;
    c.constant_bytes += now.constant_bytes;
    c.macs += now.macs;
    c.bytes_moved += now.bytes_moved;
    c.steps.push_back(std::move(now));
  }
  c.peak_bytes = detail::peak_of(g);
  return c;
}

// A row per step and a last one with the sums.
template <class = void> report::table to_table(const graph_cost& c) {
  report::table t({"step", "op", "result", "parameters", "constant bytes", "MACs", "bytes moved",
                   "result bytes"});
  for (std::size_t i = 0; i < c.steps.size(); ++i) {
    const step_cost& s = c.steps[i];
    t.add(i, s.label, text(s.result), s.parameters, s.constant_bytes, s.macs, s.bytes_moved,
          s.result_bytes);
  }
  t.add("", "all", "", c.parameters, c.constant_bytes, c.macs, c.bytes_moved,
        text("peak ", c.peak_bytes));
  return t;
}

}  // namespace adze::inline ADZE_ISA
