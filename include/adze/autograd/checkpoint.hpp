#pragma once
// SPDX-License-Identifier: MIT
// checkpoint(f, inputs): keeps the inputs instead of everything that f saves, and runs f again in
// the backward pass, with the same precision rule and the same numbers of the default generator (of
// another one that f draws from it would get new ones), and without updating running statistics
// twice. Tensors that f captures get their gradients too.
#include <functional>

#include <adze/autograd/backward.hpp>
#include <adze/core/random.hpp>

namespace adze::inline ADZE_ISA {}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {

// Collects what a run of f touches that wants a gradient. Its own inputs are passed as plain data.
struct capture_finder : observer {
  explicit capture_finder(tensor_list inputs)
      : known(inputs.begin(), inputs.end()), inputs_count(inputs.size()) {
    before = [](observer& self, const op_info&, const void*, const tensor* const* in,
                std::size_t n) {
      auto& finder = static_cast<capture_finder&>(self);
      for (std::size_t i = 0; i < n; ++i) finder.see(*in[i]);
    };
  }
  void see(const tensor& x) {
    if (!x.requires_grad()) return;
    for (std::size_t i = inputs_count; i < known.size(); ++i) {
      if (known[i].impl_or_null() == x.impl_or_null()) return;
    }
    known.push_back(x);
  }
  std::vector<tensor> known;  // the inputs, then the captured ones
  std::size_t inputs_count;
};

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

struct checkpoint_op {
  using function = std::function<tensor(const std::vector<tensor>&)>;
  function f{};
  std::size_t inputs = 0;    // of f; the others are captured by it
  tensor result_of_first{};  // handed over by forward
  random_state random{};     // of the default generator before the first run
  detail::precision_rule* rule = nullptr;
  std::shared_ptr<detail::precision_rule> kept_rule{};  // what `rule` points to, where it must last

  static constexpr std::string_view name = "checkpoint";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set reads = values::inputs;

  tensor forward(tensor_list) { return std::move(result_of_first); }

  std::vector<tensor> backward(backward_context& c, const tensor& g) const {
    std::vector<tensor> x(c.inputs());
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = c.in(i);
      if (i >= inputs || !c.wants(i)) continue;
      if (c.create()) {
        x[i] = record(detail::pass_op{}, x[i]);
      } else {
        x[i] = alias(x[i]);
        detail::make_leaf(x[i]);
      }
    }
    const tensor y =
        run_again(std::vector<tensor>(x.begin(), x.begin() + static_cast<index_t>(inputs)));
    std::vector<tensor> wanted;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (c.wants(i)) wanted.push_back(x[i]);
    }
    std::vector<tensor> found =
        y.requires_grad() ? grad(tensor_list(&y, 1), wanted,
                                 {.gradients = {g}, .create_graph = c.create(), .partial = true})
                          : std::vector<tensor>(wanted.size());
    std::vector<tensor> gradients(x.size());
    for (std::size_t i = 0, w = 0; i < x.size(); ++i) {
      if (c.wants(i)) gradients[i] = std::move(found[w++]);
    }
    return gradients;
  }

 private:
  tensor run_again(const std::vector<tensor>& x) const {
    const detail::state_guard guard;
    detail::state.no_grad = false;
    detail::state.recomputing = true;
    detail::state.rule = rule;
    struct restore_random {
      random_state before = default_generator().state();
      ~restore_random() { default_generator().set_state(before); }
    } restore;
    default_generator().set_state(random);
    return f(x);
  }
};

// f(inputs), with gradients through f and what it captures. The backward pass runs f under the
// precision rule that is installed here, also when its region has ended by then.
template <class = void>
tensor checkpoint(const checkpoint_op::function& f, const std::vector<tensor>& inputs) {
  if (detail::state.no_grad) return f(inputs);
  checkpoint_op op{.f = f, .inputs = inputs.size(), .rule = detail::state.rule};
  if (op.rule != nullptr && op.rule->copy != nullptr) {
    op.kept_rule = op.rule->copy(*op.rule);
    op.rule = op.kept_rule.get();
  }
  op.random = default_generator().state();
  detail::capture_finder finder(inputs);
  {
    const detail::state_guard guard;
    detail::state.no_grad = true;
    detail::state.watch = &finder;
    std::vector<tensor> plain = inputs;
    for (tensor& x : plain) {
      if (x.defined()) x = alias(x);
    }
    op.result_of_first = f(plain);
  }
  return record(std::move(op), tensor_list(finder.known));
}

}  // namespace adze::inline ADZE_ISA
