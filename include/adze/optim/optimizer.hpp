#pragma once
// SPDX-License-Identifier: MIT
// What all optimizers share: parameters in groups, their gradients, and the numbers that schedules
// turn. `optimizer` is the face that schedules and scalers see; method.hpp makes one from a rule.
#include <algorithm>
#include <string_view>

#include <adze/autograd/node.hpp>
#include <adze/optim/state.hpp>

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
    const std::size_t g = checked(group), begin = g == 0 ? 0 : ends_[g - 1];
    return tensor_list(parameters_).subspan(begin, ends_[g] - begin);
  }
  index_t group_count() const { return static_cast<index_t>(ends_.size()); }

  // The learning rate of a group, to read or to set.
  virtual double& lr(index_t group = 0) = 0;
  double lr(index_t group = 0) const { return const_cast<optimizer&>(*this).lr(group); }
  // Its momentum, or Adam's first beta; null for methods without either.
  virtual double* momentum(index_t group = 0) = 0;

  // Counters, moments and options, with PyTorch's names: "state.0.exp_avg", "param_groups.0.lr".
  virtual saved_state state_dict() const = 0;
  // Continues where that state was taken, bit for bit. Throws value_error, and changes nothing,
  // unless names, shapes, dtypes and group sizes are those of this optimizer.
  virtual void load_state_dict(const saved_state& from) = 0;

 protected:
  optimizer() = default;

  std::size_t checked(index_t group) const {
    if (group < 0 || group >= group_count()) {
      raise<value_error>("optimizer: there is no group ", group, "; the optimizer has ",
                         group_count());
    }
    return static_cast<std::size_t>(group);
  }

  void append(std::vector<tensor> parameters, std::string_view name) {
    if (parameters.empty()) {
      raise<value_error>(name, ": got an empty parameter list; pass parameters(model)");
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) check(parameters, i, name);
    parameters_.insert(parameters_.end(), parameters.begin(), parameters.end());
    ends_.push_back(parameters_.size());
  }

  std::vector<tensor> parameters_;
  std::vector<std::size_t> ends_;  // of the groups

 private:
  void check(const std::vector<tensor>& all, std::size_t i, std::string_view name) const {
    const tensor& p = all[i];
    if (!p.defined()) raise<value_error>(name, ": parameter ", i, " is undefined");
    if (!is_floating(p.dtype())) {
      raise<dtype_error>(name, ": parameter ", i, " must be floating; got ", p);
    }
    if (!p.is_leaf()) {
      raise<state_error>(name, ": parameter ", i, " (", p, ") is not a leaf but the result of an ",
                         "op; pass the leaf that it was computed from, or detach(x)");
    }
    const auto same = [&](const tensor& q) { return &q.impl() == &p.impl(); };
    const auto here = all.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::any_of(all.begin(), here, same) ||
        std::any_of(parameters_.begin(), parameters_.end(), same)) {
      raise<value_error>(name, ": parameter ", i, " (", p, ") is given twice; it would be ",
                         "changed twice in each step");
    }
  }
};

}  // namespace adze::optim::inline ADZE_ISA
