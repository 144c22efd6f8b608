#pragma once
// SPDX-License-Identifier: MIT
// A recorded run as data: steps (an op struct and the ids of its inputs and outputs) over values,
// of which the constants are the model's parameters and buffers, shared with it. A graph is a
// module: it is called like the function it came from, and parameters(g), clone(g) and
// state_dict(g) work. It has the model's names, those of tied tensors and of buffers that no step
// reads too (counts of batches, which it does not move); parameters that no step reads are not part
// of it. Steps stand in an order in which they can run; edit.hpp changes them.
#include <cstdint>
#include <memory>
#include <string>
#include <typeinfo>
#include <vector>

#include <adze/autograd/record.hpp>
#include <adze/nn/module.hpp>

namespace adze::inline ADZE_ISA {

// An op struct of any type: its table, and a copy of its attributes.
class erased_op {
 public:
  erased_op() = default;
  erased_op(const detail::op_info& info, const void* op)
      : info_(&info), data_(detail::pool_get(info.bytes)) {
    detail::copy_op(info, data_, op);
  }
  // From an op struct: erased_op::of(linear_op<>{...}).
  template <class Op> static erased_op of(const Op& op) { return {detail::info_of<Op>, &op}; }

  erased_op(const erased_op& o) {
    if (o.info_ != nullptr) *this = erased_op(*o.info_, o.data_);
  }
  erased_op(erased_op&& o) noexcept { swap(o); }
  erased_op& operator=(erased_op o) noexcept {
    swap(o);
    return *this;
  }
  ~erased_op() {
    if (info_ == nullptr) return;
    detail::destroy_op(*info_, data_);
    detail::pool_put(data_, info_->bytes);
  }

  const detail::op_info& info() const { return *info_; }
  std::string_view name() const { return info_->name; }
  void* data() { return data_; }
  const void* data() const { return data_; }

  // The struct when it is of this type, else null.
  template <class Op> const Op* as() const {
    return info_ != nullptr && info_->type == &detail::op_identity<Op>
               ? static_cast<const Op*>(data_)
               : nullptr;
  }
  template <class Op> Op* as() { return const_cast<Op*>(std::as_const(*this).template as<Op>()); }

 private:
  void swap(erased_op& o) noexcept {
    std::swap(info_, o.info_);
    std::swap(data_, o.data_);
  }
  const detail::op_info* info_ = nullptr;
  void* data_ = nullptr;
};

using value_id = std::int32_t;
inline constexpr value_id no_value = -1;  // an input that is absent

struct graph_step {
  erased_op op{};
  std::vector<value_id> inputs{}, outputs{};
};

// What is known of a value: how it looked in the trace and, for a constant, the tensor itself.
struct graph_value {
  shape sizes{};
  dtype type = dtype::f32;
  std::string name{};
  std::vector<std::string> also{};  // other names of a constant that is tied in the model
  tensor constant{};
  bool parameter = false;  // a constant that is trained
};

class graph {
 public:
  std::vector<graph_step> steps{};
  std::vector<graph_value> values{};
  std::vector<value_id> inputs{}, outputs{};
  named_tensors unread{};  // buffers of the model that no step reads

  // Runs every step through record(): differentiable, under whatever precision rule is installed.
  // Sizes may differ from the trace's where the ops allow it. Throws value_error for another
  // number of inputs, and what ops throw, with the step and the sizes of the trace.
  template <class = void> std::vector<tensor> run(tensor_list x) const;

  // For graphs with one output.
  template <class... X>
  requires(std::is_convertible_v<const X&, const tensor&>&&...) tensor operator()(
      const X&... x) const {
    const tensor in[] = {x...};
    return one(run(in));
  }

  // The names and the tensor of each constant, parameters and buffers, what is unread, and the
  // state of ops, which is named after the op, its place and the op's own name for it:
  // "observe.3.low".
  void visit(auto&& f) {
    for (graph_value& v : values) {
      if (!v.constant.defined()) continue;
      visit_constant(f, v.name, v);
      for (const std::string& name : v.also) visit_constant(f, name, v);
    }
    for (auto& [name, x] : unread) f(name, nn::buffer{x});
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const detail::op_info& info = steps[i].op.info();
      if (info.visit == nullptr) continue;
      info.visit(steps[i].op.data(), [&](std::string_view name, tensor& x) {
        f(text(info.name, ".", i, ".", name), nn::buffer{x});
      });
    }
  }

  value_id add_value(graph_value v) {
    values.push_back(std::move(v));
    return static_cast<value_id>(values.size() - 1);
  }
  value_id add_constant(std::string name, const tensor& x, bool parameter) {
    return add_value({x.shape(), x.dtype(), std::move(name), {}, x, parameter});
  }
  graph_value& at(value_id id) { return values[static_cast<std::size_t>(id)]; }
  const graph_value& at(value_id id) const { return values[static_cast<std::size_t>(id)]; }
  // The tensor of a constant; undefined for an absent value and for one that is computed.
  tensor constant(value_id id) const { return id == no_value ? tensor() : at(id).constant; }

 private:
  static void visit_constant(auto& f, const std::string& name, graph_value& v) {
    if (v.parameter) {
      f(name, v.constant);
    } else {
      f(name, nn::buffer{v.constant});
    }
  }
  static tensor one(std::vector<tensor> y);
};

}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {

// How often each value is read, a graph's output counting as a reader.
template <class = void> std::vector<index_t> use_counts(const graph& g) {
  std::vector<index_t> n(g.values.size(), 0);
  const auto count = [&n](const std::vector<value_id>& ids) {
    for (const value_id id : ids) {
      if (id != no_value) ++n[static_cast<std::size_t>(id)];
    }
  };
  for (const graph_step& s : g.steps) count(s.inputs);
  count(g.outputs);
  return n;
}

template <class = void> void check_graph_inputs(const graph& g, tensor_list x) {
  if (x.size() == g.inputs.size()) return;
  raise<value_error>("graph: takes ", g.inputs.size(), " inputs; got ", x.size());
}

// Calls the op of one step on the values; `op` is a copy that the call may consume.
template <class = void>
void call_step(const graph_step& s, void* op, const std::vector<tensor>& v, results& out) {
  static const tensor absent;
  std::vector<const tensor*> in;
  in.reserve(s.inputs.size());
  for (const value_id id : s.inputs) {
    in.push_back(id == no_value ? &absent : &v[static_cast<std::size_t>(id)]);
  }
  record_call(s.op.info(), op, in.data(), in.size(), out);
  if (out.count != s.outputs.size()) {
    raise<state_error>("graph: ", s.op.name(), " gives ", out.count, " results at these sizes and ",
                       "gave ", s.outputs.size(), " in the trace");
  }
}

[[noreturn, gnu::cold]] inline void raise_no_mode(std::string_view op) {
  raise<state_error>(op, ": a graph has no training mode, it is as it was traced; fold(g) is its "
                         "evaluation; score a training in codes by quant::simulate(g)");
}

// Throws e with one clause more, where in the graph it was thrown; returns if it is no error of the
// library's own types.
template <class = void>
[[gnu::cold, gnu::noinline]] void throw_from(const graph& g, std::size_t step, const error& e) {
  std::string in;
  for (const value_id id : g.inputs) {
    in += text(in.empty() ? "" : ", ", g.at(id).type, g.at(id).sizes);
  }
  const auto as = [&]<class E>() {
    if (typeid(e) != typeid(E)) return;
    raise<E>(e.what(), "; step ", step, " (", g.steps[step].op.name(), ") of a graph traced with ",
             in);
  };
  as.template operator()<shape_error>();
  as.template operator()<dtype_error>();
  as.template operator()<value_error>();
  as.template operator()<state_error>();
  as.template operator()<numeric_error>();
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class> std::vector<tensor> graph::run(tensor_list x) const {
  detail::check_graph_inputs(*this, x);
  std::vector<index_t> left = detail::use_counts(*this);
  std::vector<tensor> v(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) v[i] = values[i].constant;
  for (std::size_t i = 0; i < x.size(); ++i) v[static_cast<std::size_t>(inputs[i])] = x[i];
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const graph_step& s = steps[i];
    detail::results out;
    erased_op op = s.op;
    try {
      detail::call_step(s, op.data(), v, out);
    } catch (const error& e) {
      detail::throw_from(*this, i, e);
      throw;
    }
    for (std::size_t k = 0; k < s.outputs.size(); ++k) {
      if (s.outputs[k] == no_value) continue;
      const auto id = static_cast<std::size_t>(s.outputs[k]);
      if (left[id] > 0) v[id] = std::move(out[k]);
    }
    for (const value_id id : s.inputs) {  // nobody reads it any more: its memory is free again
      if (id != no_value && --left[static_cast<std::size_t>(id)] == 0) {
        v[static_cast<std::size_t>(id)] = {};
      }
    }
  }
  std::vector<tensor> y;
  for (const value_id id : outputs) y.push_back(v[static_cast<std::size_t>(id)]);
  return y;
}

// Throw state_error: a graph is as it was traced, there is no flag to switch.
inline void train(graph&, bool on = true) { detail::raise_no_mode(on ? "train" : "eval"); }
inline void eval(graph&) { detail::raise_no_mode("eval"); }

inline tensor graph::one(std::vector<tensor> y) {
  if (y.size() != 1) {
    raise<value_error>("graph: has ", y.size(), " outputs; run(inputs) returns them all");
  }
  return std::move(y[0]);
}

}  // namespace adze::inline ADZE_ISA
