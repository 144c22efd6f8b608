#pragma once
// SPDX-License-Identifier: MIT
// optimizer_of<Method>: parameter groups, states and checkpoints around an update rule. A method
// gives its options, the names and checks of them, which states it keeps, and the rule of one
// parameter at one step; the pass over memory is kernels/optim.hpp.
#include <cmath>

#include <adze/nn/module.hpp>
#include <adze/optim/optimizer.hpp>
#include <adze/optim/update.hpp>

namespace adze::optim::detail::inline ADZE_ISA {

// When a rule is applied: the first step of a parameter is 1; `fresh` states were made for it.
struct step_moment {
  index_t step = 1;
  bool fresh = false;
};

// "sgd: lr must be at least 0; got -1". NaN is refused too.
inline void check_at_least(std::string_view method, std::string_view name, double x, double low) {
  if (!(x >= low)) {
    raise<value_error>(method, ": ", name, " must be at least ", low, "; got ", x);
  }
}
inline void check_beta(std::string_view method, std::string_view name, double x) {
  if (!(x >= 0.0 && x < 1.0)) {
    raise<value_error>(method, ": ", name, " must be in [0, 1); got ", x);
  }
}

}  // namespace adze::optim::detail::inline ADZE_ISA

namespace adze::optim::inline ADZE_ISA {

template <class Method> class optimizer_of final : public optimizer {
 public:
  using options_type = typename Method::options;

  // Errors: value_error for an empty list, a tensor given twice or an option out of its range;
  // state_error for a tensor that is not a leaf; dtype_error for one that is not floating.
  [[gnu::cold, gnu::noinline]] explicit optimizer_of(std::vector<tensor> parameters,
                                                     const options_type& o = {}) {
    add_group(std::move(parameters), o);
  }
  // All parameters of a model.
  template <module M>
  explicit optimizer_of(const M& model, const options_type& o = {})
      : optimizer_of(adze::parameters(model), o) {}

  // More parameters, with options of their own.
  [[gnu::cold]] void add_group(std::vector<tensor> parameters, const options_type& o = {}) {
    Method::check(o);
    append(std::move(parameters), Method::name);
    options_.push_back(o);
  }

  // The options of a group, to read or to change between steps.
  options_type& options(index_t group = 0) { return options_[checked(group)]; }
  const options_type& options(index_t group = 0) const { return options_[checked(group)]; }

  double& lr(index_t group = 0) override { return options(group).lr; }
  double* momentum(index_t group = 0) override { return Method::momentum(options(group)); }

  void step() override {
    items_.clear();
    stand_ins_.clear();
    due_.clear();
    // All memory is had before a count moves: a step that throws has not begun.
    for (std::size_t g = 0; g < ends_.size(); ++g) collect(options_[g], begin_of(g), end_of(g));
    for (std::size_t g = 0, k = 0; g < ends_.size(); ++g) k = count(options_[g], k, end_of(g));
    run();
    for (std::size_t i = 0; i < stand_ins_.size(); i += 3) {
      if (!is_dense(stand_ins_[i])) detail::copy_values(stand_ins_[i], stand_ins_[i + 1]);
    }
    stand_ins_.clear();
  }

 private:
  using rule = typename Method::rule;
  using item = kernels::update_item<rule>;

  // A parameter that has a gradient, and the states that it did not have yet.
  struct due_one {
    std::size_t parameter = 0;
    std::array<tensor, kernels::max_states> made{};
  };

  // Items of the parameters begin..end that have gradients. Takes memory, and changes nothing.
  void collect(const options_type& o, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const tensor& g = detail::gradient_of(parameters_[i]);
      if (!g.defined()) {
        if (parameters_[i].impl().refs.load(std::memory_order_relaxed) == 1) refuse_alone(i);
        continue;
      }
      due_one& next = due_.emplace_back(due_one{i});
      for (std::size_t k = 0; k < Method::states.size(); ++k) {
        if (records_[i].states[k].defined() || !Method::keeps(o, k)) continue;
        next.made[k] = detail::filled_state(parameters_[i], Method::initial(o));
      }
      items_.push_back(item_of(parameters_[i], g, next));
    }
  }

  // Counts their step, from item k on; the first item of the next group.
  std::size_t count(const options_type& o, std::size_t k, std::size_t end) {
    detail::step_moment last{0, false};
    rule r{};
    for (; k < due_.size() && due_[k].parameter < end; ++k) {
      const std::size_t i = due_[k].parameter;
      bool fresh = false;
      for (std::size_t s = 0; s < Method::states.size(); ++s) {
        if (!due_[k].made[s].defined()) continue;
        records_[i].states[s] = std::move(due_[k].made[s]);
        fresh = true;
      }
      const detail::step_moment now{++records_[i].step, fresh};
      if (now.step != last.step || now.fresh != last.fresh) r = Method::make_rule(o, now);
      last = now;
      items_[k].rule = r;
      detail::changed_in_place(parameters_[i]);
    }
    return k;
  }

  item item_of(const tensor& p, const tensor& g, const due_one& due) {
    const tensor* parameter = &p;
    const tensor* gradient = &g;
    if (!detail::same_order(p, g)) make_stand_ins(parameter, gradient);
    item x{};
    x.parameter = parameter->impl().data;
    x.gradient = gradient->impl().data;
    for (std::size_t k = 0; k < Method::states.size(); ++k) {
      const tensor& kept = records_[due.parameter].states[k];
      const tensor& s = kept.defined() ? kept : due.made[k];
      if (s.defined()) x.states[k] = s.impl().data;
    }
    x.parameter_type = p.dtype();
    x.gradient_type = g.dtype();
    x.count = p.numel();
    return x;
  }

  // Where the layouts of parameter and gradient differ, or the parameter has gaps, dense copies
  // work in their places.
  [[gnu::cold, gnu::noinline]] void make_stand_ins(const tensor*& p, const tensor*& g) {
    tensor parameter = is_dense(*p) ? *p : adze::detail::dense_copy(*p);
    tensor gradient = *g;
    if (!detail::same_order(parameter, *g)) {
      gradient = empty_like(parameter, g->dtype());
      detail::copy_values(gradient, *g);
    }
    const std::size_t at = stand_ins_.size();
    stand_ins_.resize(at + 3);
    stand_ins_[at] = *p;
    p = &(stand_ins_[at + 1] = std::move(parameter));
    g = &(stand_ins_[at + 2] = std::move(gradient));
  }

  void run() {
    if constexpr (requires { Method::run(std::span<item>(items_)); }) {
      Method::run(std::span<item>(items_));
    } else {
      kernels::update(std::span<item>(items_));
    }
  }

  std::string_view name() const override { return Method::name; }
  std::span<const std::string_view> state_names() const override { return Method::states; }
  option_numbers numbers_of(std::size_t g) const override {
    option_numbers all;
    Method::visit(options_[g], [&](std::string_view what, auto value) {
      all.list.at(all.count++) = {what, static_cast<double>(value)};
    });
    return all;
  }
  bool always_kept(std::size_t k) const override { return Method::keeps(options_type{}, k); }
  void use_options(std::size_t g, std::span<const double> numbers, bool take) override {
    options_type o = options_[g];
    auto next = numbers.begin();
    Method::visit(o, [&]<class T>(std::string_view, T& value) { value = static_cast<T>(*next++); });
    Method::check(o);
    if (take) options_[g] = o;
  }

  std::vector<options_type> options_;
  // Of the present step; members, so that their memory is used again.
  std::vector<item> items_;
  std::vector<due_one> due_;       // by item
  std::vector<tensor> stand_ins_;  // by threes: a parameter, and what works in place of it and of g
};

}  // namespace adze::optim::inline ADZE_ISA
