#pragma once
// SPDX-License-Identifier: MIT
// An exponential moving average of parameters, to evaluate with: the averages are swapped in, and
// the trained values back out.
#include <adze/optim/state.hpp>
#include <adze/optim/update.hpp>

namespace adze::optim {

struct ema_options {
  double decay = 0.999;
  bool warm_up = false;  // the n-th update decays by min(decay, (1 + n) / (10 + n)), n from 1
};

}  // namespace adze::optim

namespace adze::optim::detail::inline ADZE_ISA {

struct ema_rule {  // the average stands in the parameter's place, the parameter in the gradient's
  double enter;
  static constexpr unsigned variants = 1;
  unsigned variant() const { return 0; }
  template <unsigned, class V, class S> V apply(V average, V p, const S&) const {
    return average + (p - average) * enter;
  }
};

}  // namespace adze::optim::detail::inline ADZE_ISA

namespace adze::optim::inline ADZE_ISA {

// average = decay average + (1 - decay) p, from the values at construction on. Averages are kept in
// float (double for double parameters). Buffers may be averaged too: pass their handles. Of
// integers, such as a count of batches, the present values are kept.
class ema {
 public:
  // Errors: value_error for an empty list, a decay outside [0, 1] or a tensor that shows one
  // element in all places.
  explicit ema(std::vector<tensor> parameters, const ema_options& o = {})
      : parameters_(std::move(parameters)), options_(o) {
    if (parameters_.empty()) {
      raise<value_error>("ema: got an empty parameter list; pass parameters(model)");
    }
    if (!(o.decay >= 0.0 && o.decay <= 1.0)) {
      raise<value_error>("ema: decay must be in [0, 1]; got ", o.decay);
    }
    for (const tensor& p : parameters_) {
      if (p.numel() > 1 && p.strides() == dims{}) {
        raise<value_error>("ema: ", p, " has memory for one element only, as leaves of ",
                           "master_weights have between steps; pass parameters(model)");
      }
      averages_.push_back(
          empty_like(p, is_floating(p.dtype()) ? detail::state_type(p) : p.dtype()));
      detail::copy_values(averages_.back(), p);
    }
  }

  // Moves the averages towards the present values; call it after each step().
  template <class = void> void update() {
    refuse_swapped("update");
    ++updates_;
    const auto n = static_cast<double>(updates_);
    const double decay =
        options_.warm_up ? std::min(options_.decay, (1.0 + n) / (10.0 + n)) : options_.decay;
    items_.clear();
    std::vector<tensor> stand_ins;  // of parameters that lie in another order than their averages
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const tensor* p = &parameters_[i];
      if (!is_floating(p->dtype())) {
        detail::copy_values(averages_[i], *p);
        continue;
      }
      if (!detail::same_order(averages_[i], *p)) {
        stand_ins.push_back(empty_like(averages_[i], p->dtype()));
        detail::copy_values(stand_ins.back(), *p);
        p = &stand_ins.back();
      }
      kernels::update_item<detail::ema_rule> x{};
      x.rule = {1.0 - decay};
      x.parameter = averages_[i].impl().data;
      x.gradient = p->impl().data;
      x.parameter_type = averages_[i].dtype();
      x.gradient_type = p->dtype();
      x.count = p->numel();
      items_.push_back(x);
    }
    kernels::update(std::span<kernels::update_item<detail::ema_rule>>(items_));
  }

  // Puts the averages into the parameters, which are kept aside until swap_out().
  void swap_in() {
    refuse_swapped("swap_in");
    for (const tensor& p : parameters_) aside_.push_back(adze::detail::dense_copy(p));
    for (std::size_t i = 0; i < parameters_.size(); ++i) put(parameters_[i], averages_[i]);
  }
  // Puts the trained values back, bit for bit.
  void swap_out() {
    if (aside_.empty()) raise<state_error>("ema.swap_out: nothing is swapped in; call swap_in()");
    for (std::size_t i = 0; i < parameters_.size(); ++i) put(parameters_[i], aside_[i]);
    aside_.clear();
  }
  bool swapped_in() const { return !aside_.empty(); }

  const std::vector<tensor>& averages() const { return averages_; }

  // "averages.0", ..., "updates"; the averages are copies.
  template <class = void> saved_state state_dict() const {
    saved_state s;
    for (std::size_t i = 0; i < averages_.size(); ++i) {
      s.tensors.emplace_back(text("averages.", i), adze::detail::dense_copy(averages_[i]));
    }
    s.numbers.emplace_back("updates", static_cast<double>(updates_));
    return s;
  }
  // All or nothing, as with optimizers.
  template <class = void> void load_state_dict(const saved_state& from) {
    refuse_swapped("load_state_dict");
    detail::state_reader in(from, "ema.load_state_dict");
    const index_t updates = in.count("updates");
    std::vector<tensor> values;
    for (std::size_t i = 0; i < averages_.size(); ++i) {
      values.push_back(in.like(text("averages.", i), averages_[i].shape(), averages_[i].dtype()));
    }
    in.done();
    for (std::size_t i = 0; i < values.size(); ++i) detail::copy_values(averages_[i], values[i]);
    updates_ = updates;
  }

 private:
  static void put(tensor& p, const tensor& value) {
    detail::copy_values(p, value);
    detail::changed_in_place(p);
  }
  void refuse_swapped(std::string_view what) const {
    if (swapped_in()) {
      raise<state_error>("ema.", what, ": the averages are swapped in; call swap_out() first");
    }
  }

  std::vector<tensor> parameters_, averages_, aside_;
  std::vector<kernels::update_item<detail::ema_rule>> items_;
  ema_options options_;
  index_t updates_ = 0;
};

}  // namespace adze::optim::inline ADZE_ISA
