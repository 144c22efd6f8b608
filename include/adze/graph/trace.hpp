#pragma once
// SPDX-License-Identifier: MIT
// trace(f, examples): one run of f, recorded as a graph. Every tensor that f reads and did not
// compute becomes a constant of the graph, shared with its owner and named as the model names it.
#include <adze/graph/tracer.hpp>

namespace adze::inline ADZE_ISA {

struct trace_options {
  named_tensors parameters{}, buffers{};  // names of constants where f is no module
  std::vector<tensor> second{};           // other examples: the graph must agree with f on them too
};

}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {

// The examples are the user's: what f writes into its inputs goes into copies.
template <class = void> std::vector<tensor> copies_of(const std::vector<tensor>& examples) {
  std::vector<tensor> x;
  for (const tensor& e : examples) x.push_back(plain_copy(e, e.dtype()));
  return x;
}

template <class = void> bool same_values(const tensor& a, const tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const tensor x = dense_copy(a), y = dense_copy(b);
  return std::memcmp(x.data(), y.data(), checked_bytes(x.shape(), x.dtype())) == 0;
}

[[noreturn, gnu::cold, gnu::noinline]] inline void raise_path(std::size_t step,
                                                              std::string_view was,
                                                              std::string_view now) {
  raise<state_error>("trace: the function takes another path on the second example; step ", step,
                     " was ", was, ", now ", now,
                     "; a graph holds one path: no `if` on values or sizes");
}
// Which results a step has, an absent one as a dash: " -> 1 - 3".
template <class = void> std::string present(const graph_step& s) {
  std::string list = " ->";
  for (std::size_t k = 0; k < s.outputs.size(); ++k) {
    list += s.outputs[k] == no_value ? " -" : text(" ", k + 1);
  }
  return list;
}

// Replays g on the second examples next to f itself, and names the first op that differs.
template <class = void>
[[gnu::noinline]] void check_second(const graph& g, const traced_function& f,
                                    const std::vector<tensor>& examples) {
  tracer<> other;
  run_traced(other, f, copies_of(examples));
  std::vector<tensor> v(g.values.size());
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = g.values[i].constant;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    v[static_cast<std::size_t>(g.inputs[i])] = examples[i];
  }
  const dry_run guard;
  for (std::size_t i = 0; i < g.steps.size(); ++i) {
    const graph_step& s = g.steps[i];
    const std::string_view now = i < other.g.steps.size() ? other.g.steps[i].op.name() : "nothing";
    if (now != s.op.name()) raise_path(i, s.op.name(), now);
    const std::string results_then = present(s), results_now = present(other.g.steps[i]);
    if (results_then != results_now) {
      raise_path(i, text(now, results_then), text(now, results_now));
    }
    results out;
    erased_op op = s.op;
    call_step(s, op.data(), v, out);
    for (std::size_t k = 0; k < s.outputs.size(); ++k) {
      if (s.outputs[k] == no_value) continue;
      const auto id = static_cast<std::size_t>(other.g.steps[i].outputs[k]);
      if (!same_values(out[k], other.held[id])) {
        raise<state_error>("trace: on the second example step ", i, " (", s.op.name(),
                           ") of the graph gives other values than the function; a number or "
                           "tensor that it uses was computed from data outside of the ops");
      }
      v[static_cast<std::size_t>(s.outputs[k])] = out[k];
    }
  }
  if (other.g.steps.size() != g.steps.size()) {
    raise<state_error>("trace: the function runs ", other.g.steps.size(),
                       " ops on the second example and ", g.steps.size(), " on the first");
  }
}

// Buffers that no step reads, such as counts of batches, are state of the model all the same.
template <class = void> void keep_unread(graph& g, const named_tensors& buffers) {
  pointer_map read;
  for (const graph_value& v : g.values) {
    if (v.constant.defined()) read.emplace(&v.constant.impl(), 0);
  }
  for (const auto& [name, x] : buffers) {
    if (!read.contains(&x.impl())) g.unread.emplace_back(name, x);
  }
}

template <class = void>
[[gnu::noinline]] graph trace_function(const traced_function& f,
                                       const std::vector<tensor>& examples,
                                       const trace_options& o) {
  tracer<> t;
  t.name(o.parameters, true);
  t.name(o.buffers, false);
  run_traced(t, f, copies_of(examples));
  if (!o.second.empty()) check_second(t.g, f, o.second);
  sweep(t.g);
  keep_unread(t.g, o.buffers);
  return std::move(t.g);
}

// What a function returns, as a list: a tensor, a list of them, or the result of a recurrent layer.
template <class R> std::vector<tensor> result_list(R&& y) {
  if constexpr (std::is_convertible_v<R, const tensor&>) {
    return {std::forward<R>(y)};
  } else if constexpr (requires { y.output, y.h, y.c; }) {
    return {y.output, y.h, y.c};
  } else if constexpr (requires { y.output, y.h; }) {
    return {y.output, y.h};
  } else {
    return {y.begin(), y.end()};
  }
}

template <class F> std::vector<tensor> call_listed(F& f, const std::vector<tensor>& x) {
  if constexpr (std::is_invocable_v<F&, const std::vector<tensor>&> &&
                !std::is_invocable_v<F&, const tensor&>) {
    return result_list(f(x));
  } else {
    const std::size_t n = x.size();
    if constexpr (std::is_invocable_v<F&, const tensor&>) {
      if (n == 1) return result_list(f(x[0]));
    }
    if constexpr (std::is_invocable_v<F&, const tensor&, const tensor&>) {
      if (n == 2) return result_list(f(x[0], x[1]));
    }
    if constexpr (std::is_invocable_v<F&, const tensor&, const tensor&, const tensor&>) {
      if (n == 3) return result_list(f(x[0], x[1], x[2]));
    }
    raise<value_error>("trace: the function cannot be called with ", n, " tensors");
  }
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// The graph of f(examples...). f is a model or any function of one to three tensors, or of a
// vector of them, that returns a tensor, a list of tensors or the result of a recurrent layer; it
// runs once, without gradients, and without touching the examples (it gets copies), running
// statistics or the random generator; steps whose results it does not use are left out.
// With `second`, the same number of other examples, the graph is compared with f step by step:
// state_error names the first op on which they part (control flow on data, values read by item()).
template <class F> graph trace(F&& f, const std::vector<tensor>& examples, trace_options o = {}) {
  if constexpr (module<std::remove_cvref_t<F>>) {
    if (o.parameters.empty()) o.parameters = named_parameters(f);
    if (o.buffers.empty()) o.buffers = named_buffers(f);
  }
  if (!o.second.empty() && o.second.size() != examples.size()) {
    raise<value_error>("trace: as many second examples as first ones; got ", o.second.size(),
                       " and ", examples.size());
  }
  return detail::trace_function(
      [&f](const std::vector<tensor>& x) { return detail::call_listed(f, x); }, examples, o);
}
template <class F> graph trace(F&& f, const tensor& example, trace_options o = {}) {
  return trace(std::forward<F>(f), std::vector<tensor>{example}, std::move(o));
}

}  // namespace adze::inline ADZE_ISA
