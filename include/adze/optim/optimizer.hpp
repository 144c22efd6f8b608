#pragma once
// SPDX-License-Identifier: MIT
// What all optimizers share: parameters in groups, their gradients, and the numbers that schedules
// turn. `optimizer` is the face that schedules and scalers see; method.hpp makes one from a rule.
#include <algorithm>
#include <string_view>

#include <adze/autograd/node.hpp>
#include <adze/kernels/optim.hpp>
#include <adze/optim/state.hpp>
#include <adze/optim/update.hpp>

namespace adze::optim::inline ADZE_ISA {

// Holds handles on leaves: the tensors of a model are changed in place.
class optimizer {
 public:
  optimizer(const optimizer&) = delete;
  optimizer& operator=(const optimizer&) = delete;
  virtual ~optimizer() = default;

  // Changes every parameter that has a gradient, and counts the change in its version.
  virtual void step() = 0;
  // Forgets all gradients; the next backward() makes new ones from cached memory.
  void zero_grad() {
    for (const tensor& p : parameters_) {
      if (p.impl().owner != nullptr) adze::detail::leaf_of(adze::detail::owner_of(p)).gradient = {};
    }
  }

  // All parameters, group after group.
  const std::vector<tensor>& parameters() const { return parameters_; }
  tensor_list parameters(index_t group) const {
    const std::size_t g = checked(group);
    return tensor_list(parameters_).subspan(begin_of(g), end_of(g) - begin_of(g));
  }
  index_t group_count() const { return static_cast<index_t>(ends_.size()); }

  // The learning rate of a group, to read or to set.
  virtual double& lr(index_t group = 0) = 0;
  double lr(index_t group = 0) const { return const_cast<optimizer&>(*this).lr(group); }
  // Its momentum, or Adam's first beta; null for methods without either.
  virtual double* momentum(index_t group = 0) = 0;

  // Counters, moments and options, with PyTorch's names: "state.0.exp_avg", "param_groups.0.lr".
  template <class = void> saved_state state_dict() const;
  // Continues where that state was taken, bit for bit. Throws value_error, and changes nothing,
  // unless names, shapes, dtypes and group sizes are those of this optimizer.
  template <class = void> void load_state_dict(const saved_state& from);

 protected:
  // What is kept for one parameter.
  struct record {
    index_t step = 0;
    std::array<tensor, kernels::max_states> states{};
  };
  // The options of a group, with PyTorch's names.
  struct option_numbers {
    std::array<std::pair<std::string_view, double>, 12> list{};
    std::size_t count = 0;
    const auto* begin() const { return list.data(); }
    const auto* end() const { return list.data() + count; }
  };
  optimizer() = default;

  // What a method tells about itself, so that states are read and written by one function for all.
  virtual std::string_view name() const = 0;
  virtual std::span<const std::string_view> state_names() const = 0;
  virtual option_numbers numbers_of(std::size_t g) const = 0;
  // Whether every step makes state k. One that only some options want may have come later than the
  // steps that a state dictionary counts; where it is not there, the next step makes it.
  virtual bool always_kept(std::size_t k) const = 0;
  // Checks the options of a group with these numbers, then takes them if told so.
  virtual void use_options(std::size_t g, std::span<const double> numbers, bool take) = 0;

  std::size_t checked(index_t group) const {
    if (group < 0 || group >= group_count()) {
      raise<value_error>("optimizer: there is no group ", group, "; the optimizer has ",
                         group_count());
    }
    return static_cast<std::size_t>(group);
  }

  std::size_t begin_of(std::size_t g) const { return g == 0 ? 0 : end_of(g - 1); }
  std::size_t end_of(std::size_t g) const { return static_cast<std::size_t>(ends_[g]); }

  template <class = void>
  [[gnu::cold]] void append(std::vector<tensor> parameters, std::string_view name) {
    if (parameters.empty()) {
      raise<value_error>(name, ": got an empty parameter list; pass parameters(model)");
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) check(parameters, i, name);
    const std::size_t all = parameters_.size() + parameters.size();
    parameters_.reserve(all), ends_.reserve(ends_.size() + 1), records_.resize(all);
    for (tensor& p : parameters) parameters_.push_back(std::move(p));
    ends_.push_back(static_cast<index_t>(all));
  }

  // A parameter without a gradient whose only handle is the optimizer's will never have one.
  template <class = void> [[noreturn, gnu::cold]] void refuse_alone(std::size_t i) const {
    raise<state_error>(name(), ".step: nothing but the optimizer holds parameter ", i, " (",
                       parameters_[i], "), and it has no gradient: the model was given another ",
                       "tensor; write into this one (copy_ under no_grad), or make the optimizer ",
                       "of the new ones");
  }

  std::vector<tensor> parameters_;
  std::vector<index_t> ends_;    // of the groups
  std::vector<record> records_;  // one per parameter

 private:
  static std::string state_name(std::size_t i, std::string_view what) {
    return text("state.", i, ".", what);
  }
  static std::string group_name(std::size_t g, std::string_view what) {
    return text("param_groups.", g, ".", what);
  }
  std::size_t size_of_group(std::size_t g) const { return end_of(g) - begin_of(g); }

  template <class = void>
  [[gnu::cold]] void check(const std::vector<tensor>& all, std::size_t i,
                           std::string_view name) const {
    const tensor& p = all[i];
    if (!p.defined()) raise<value_error>(name, ": parameter ", i, " is undefined");
    if (!is_floating(p.dtype())) {
      raise<dtype_error>(name, ": parameter ", i, " must be floating; got ", p);
    }
    if (!p.is_leaf()) {
      raise<state_error>(name, ": parameter ", i, " (", p, ") is not a leaf but the result of an ",
                         "op; pass the leaf that it was computed from, or detach(x)");
    }
    const auto holds = [&](tensor_list list) {
      for (const tensor& q : list)
        if (&q.impl() == &p.impl()) return true;
      return false;
    };
    if (holds(tensor_list(all.data(), i)) || holds(parameters_)) {
      raise<value_error>(name, ": parameter ", i, " (", p, ") is given twice; it would be ",
                         "changed twice in each step");
    }
  }
};

template <class> saved_state optimizer::state_dict() const {
  saved_state s;
  for (std::size_t i = 0; i < records_.size(); ++i) {
    if (records_[i].step == 0) continue;
    s.numbers.emplace_back(state_name(i, "step"), static_cast<double>(records_[i].step));
    for (std::size_t k = 0; k < state_names().size(); ++k) {
      const tensor& x = records_[i].states[k];
      if (x.defined()) {
        s.tensors.emplace_back(state_name(i, state_names()[k]), adze::detail::dense_copy(x));
      }
    }
  }
  for (std::size_t g = 0; g < ends_.size(); ++g) {
    s.numbers.emplace_back(group_name(g, "params"), static_cast<double>(size_of_group(g)));
    for (const auto& [what, value] : numbers_of(g)) {
      s.numbers.emplace_back(group_name(g, what), value);
    }
  }
  return s;
}

template <class> void optimizer::load_state_dict(const saved_state& from) {
  detail::state_reader in(from, text(name(), ".load_state_dict"));
  std::vector<std::vector<double>> options(ends_.size());
  std::vector<record> records(records_.size());
  for (std::size_t g = 0, i = 0; g < ends_.size(); ++g) {
    const auto own = static_cast<index_t>(size_of_group(g));
    const index_t given = in.count(group_name(g, "params"));
    if (own != given) {
      raise<value_error>(name(), ".load_state_dict: group ", g, " has ", own, " parameters, but ",
                         given, " in the state");
    }
    for (const auto& [what, value] : numbers_of(g)) {
      options[g].push_back(in.number(group_name(g, what)));
    }
    use_options(g, options[g], false);
    for (; i < end_of(g); ++i) {
      if (!in.has(state_name(i, "step"))) continue;
      const tensor& p = parameters_[i];
      records[i].step = in.count(state_name(i, "step"));
      for (std::size_t k = 0; k < state_names().size(); ++k) {
        const std::string what = state_name(i, state_names()[k]);
        if (!in.has(what) && !always_kept(k)) continue;
        records[i].states[k] = empty_like(p, detail::state_type(p));
        detail::copy_values(records[i].states[k], in.like(what, p.shape(), detail::state_type(p)));
      }
    }
  }
  in.done();
  for (std::size_t g = 0; g < ends_.size(); ++g) use_options(g, options[g], true);
  records_ = std::move(records);
}

}  // namespace adze::optim::inline ADZE_ISA
