#pragma once
// SPDX-License-Identifier: MIT
// Learning-rate schedules. A rule is a function of the step and of the group's own rate, with the
// names, defaults and closed forms of PyTorch; any such function will do. `scheduler` applies one
// to an optimizer. One-cycle and reduce-on-plateau have headers of their own.
#include <algorithm>
#include <functional>
#include <limits>

#include <adze/optim/optimizer.hpp>

namespace adze::optim::inline ADZE_ISA {

// Any callable rate(t, base): t counts from 0, base is the rate of the group before scheduling.
// A rule with a `check` is checked when it is taken.
class lr_rule {
 public:
  template <class Rule>
  requires std::is_invocable_r_v<double, const Rule&, double, double> &&
      (!std::is_same_v<Rule, lr_rule>)lr_rule(Rule rule) {
    if constexpr (requires { rule.check(); }) rule.check();
    call_ = std::move(rule);
  }
  double operator()(double t, double base) const { return call_(t, base); }

 private:
  std::function<double(double, double)> call_;
};

// Times gamma every step_size steps.
struct step_lr {
  index_t step_size = 0;
  double gamma = 0.1;
  void check() const { detail::check_count("step_lr", "step_size", step_size); }
  double operator()(double t, double base) const {
    return base * std::pow(gamma, std::floor(t / static_cast<double>(step_size)));
  }
};

// Times gamma at each milestone.
struct multi_step_lr {
  std::vector<double> milestones{};
  double gamma = 0.1;
  void check() const {
    if (!std::is_sorted(milestones.begin(), milestones.end())) {
      raise<value_error>("multi_step_lr: milestones must rise");
    }
  }
  double operator()(double t, double base) const {
    const auto passed = std::upper_bound(milestones.begin(), milestones.end(), t);
    return base * std::pow(gamma, static_cast<double>(passed - milestones.begin()));
  }
};

// Times gamma in every step.
struct exponential_lr {
  double gamma = 0.0;
  void check() const {
    if (!(gamma > 0.0)) raise<value_error>("exponential_lr: gamma must be above 0; got ", gamma);
  }
  double operator()(double t, double base) const { return base * std::pow(gamma, t); }
};

// Times `factor` for the first total_iters steps.
struct constant_lr {
  double factor = 1.0 / 3.0;
  index_t total_iters = 5;
  double operator()(double t, double base) const {
    return t < static_cast<double>(total_iters) ? base * factor : base;
  }
};

// Times a factor that goes from start_factor to end_factor in total_iters steps: a warm-up.
struct linear_lr {
  double start_factor = 1.0 / 3.0;
  double end_factor = 1.0;
  index_t total_iters = 5;
  void check() const { detail::check_count("linear_lr", "total_iters", total_iters); }
  double operator()(double t, double base) const {
    const auto all = static_cast<double>(total_iters);
    return base * (start_factor + (end_factor - start_factor) * std::min(t, all) / all);
  }
};

// base (1 - t / total_iters)^power, then 0.
struct polynomial_lr {
  index_t total_iters = 5;
  double power = 1.0;
  void check() const { detail::check_count("polynomial_lr", "total_iters", total_iters); }
  double operator()(double t, double base) const {
    const auto all = static_cast<double>(total_iters);
    return base * std::pow(1.0 - std::min(t, all) / all, power);
  }
};

// eta_min + (base - eta_min) (1 + cos(pi t / t_max)) / 2. Loshchilov & Hutter 2017, without
// restarts.
struct cosine_annealing_lr {
  index_t t_max = 0;
  double eta_min = 0.0;
  void check() const { detail::check_count("cosine_annealing_lr", "t_max", t_max); }
  double operator()(double t, double base) const {
    return rate(t, static_cast<double>(t_max), base, eta_min);
  }
  static double rate(double t, double t_max, double base, double eta_min) {
    const double phase = 3.14159265358979323846 * t / t_max;
    return eta_min + (base - eta_min) * (1.0 + std::cos(phase)) / 2.0;
  }
};

// The same from the start again after t_0 steps, then after t_mult times as many, and so on.
struct cosine_annealing_warm_restarts {
  index_t t_0 = 0;
  index_t t_mult = 1;
  double eta_min = 0.0;
  void check() const {
    detail::check_count("cosine_annealing_warm_restarts", "t_0", t_0);
    detail::check_count("cosine_annealing_warm_restarts", "t_mult", t_mult);
  }
  double operator()(double t, double base) const {
    auto period = static_cast<double>(t_0);  // a whole number of 64 bits would overflow
    if (t_mult == 1) t = std::fmod(t, period);
    for (; t >= period; period *= static_cast<double>(t_mult)) t -= period;
    return cosine_annealing_lr::rate(t, period, base, eta_min);
  }
};

// base times a function of the step.
struct lambda_lr {
  std::function<double(double t)> factor{};
  void check() const {
    if (factor == nullptr) raise<value_error>("lambda_lr: factor is empty; pass a function of t");
  }
  double operator()(double t, double base) const { return base * factor(t); }
};

// One rule after another; rule i + 1 starts from its own 0 at milestone i.
struct sequential_lr {
  std::vector<lr_rule> schedules{};
  std::vector<double> milestones{};
  void check() const {
    if (schedules.empty() || milestones.size() + 1 != schedules.size()) {
      raise<value_error>("sequential_lr: needs one milestone between two schedules; got ",
                         schedules.size(), " schedules, ", milestones.size(), " milestones");
    }
    if (!std::is_sorted(milestones.begin(), milestones.end())) {
      raise<value_error>("sequential_lr: milestones must rise");
    }
  }
  double operator()(double t, double base) const {
    const auto passed = std::upper_bound(milestones.begin(), milestones.end(), t);
    const auto i = static_cast<std::size_t>(passed - milestones.begin());
    return schedules[i](i == 0 ? t : t - milestones[i - 1], base);
  }
};

// Each rule takes the rate of the one before as its base. PyTorch's ChainedScheduler, for rules
// that multiply.
struct chained_scheduler {
  std::vector<lr_rule> schedules{};
  double operator()(double t, double base) const {
    for (const lr_rule& s : schedules) base = s(t, base);
    return base;
  }
};

// Sets the rate of every group to rule(t, its rate at construction): for t = 0 at once, for the
// next t in each step(), which is called after the optimizer's. The optimizer must outlive it; of
// several schedulers on one optimizer the last to step wins (chain rules instead).
class scheduler {
 public:
  template <class Rule> scheduler(optimizer& o, Rule rule) : optimizer_(&o), lr_(rule) {
    if constexpr (requires { rule.momentum(0.0); }) {
      if (rule.cycle_momentum) momentum_ = [rule](double t) { return rule.momentum(t); };
    }
    start();
  }

  void step() { step_to(t_ + 1.0); }
  // Any place, also between two steps. Nothing changes when the rule throws.
  void step_to(double t) { set_rates(t, base_); }
  double position() const { return t_; }

  // "last_epoch" and "base_lrs.0", ...; the rule itself is not saved.
  template <class = void> saved_state state_dict() const {
    saved_state s;
    s.numbers.emplace_back("last_epoch", t_);
    for (std::size_t g = 0; g < base_.size(); ++g) {
      s.numbers.emplace_back(text("base_lrs.", g), base_[g]);
    }
    return s;
  }
  // Sets the rates of that place, too.
  template <class = void> void load_state_dict(const saved_state& from) {
    detail::state_reader in(from, "scheduler.load_state_dict");
    const double t = in.number("last_epoch");
    if (!(t >= 0.0 && t <= std::numeric_limits<double>::max())) {
      raise<value_error>("scheduler.load_state_dict: last_epoch must be finite and from 0 on; got ",
                         t);
    }
    std::vector<double> base;
    for (std::size_t g = 0; g < base_.size(); ++g) {
      base.push_back(in.number(text("base_lrs.", g)));
    }
    in.done();
    set_rates(t, base);
    base_.swap(base);
  }

 private:
  void set_rates(double t, const std::vector<double>& bases) {
    if (static_cast<index_t>(bases.size()) != optimizer_->group_count()) {
      raise<state_error>("scheduler: made for ", bases.size(), " groups of parameters, and the ",
                         "optimizer has ", optimizer_->group_count(), " now; make the scheduler ",
                         "after add_group");
    }
    std::vector<double> rates;
    for (const double base : bases) rates.push_back(lr_(t, base));
    const double momentum = momentum_ != nullptr ? momentum_(t) : 0.0;
    for (std::size_t g = 0; g < rates.size(); ++g) {
      optimizer_->lr(static_cast<index_t>(g)) = rates[g];
      if (momentum_ != nullptr) *optimizer_->momentum(static_cast<index_t>(g)) = momentum;
    }
    t_ = t;
  }
  template <class = void> [[gnu::cold]] void start() {
    for (index_t g = 0; g < optimizer_->group_count(); ++g) {
      if (momentum_ != nullptr && optimizer_->momentum(g) == nullptr) {
        raise<value_error>("scheduler: the rule cycles momentum, and the optimizer has none; set ",
                           ".cycle_momentum = false");
      }
      base_.push_back(double(optimizer_->lr(g)));
    }
    step_to(0.0);
  }

  optimizer* optimizer_;
  lr_rule lr_;
  std::function<double(double)> momentum_;
  std::vector<double> base_;  // one per group
  double t_ = 0.0;
};

}  // namespace adze::optim::inline ADZE_ISA
