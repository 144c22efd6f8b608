#pragma once
// SPDX-License-Identifier: MIT
// grad_scaler: dynamic scaling of the loss, so that small gradients survive f16. The states and the
// arithmetic are PyTorch's, on every machine; the scale is always a power of two, so that scaling
// and unscaling round nothing. Optimizers are anything with parameters() and step().
#include <concepts>
#include <string>
#include <utility>
#include <vector>

#include <adze/amp/scaler_options.hpp>
#include <adze/amp/unscale.hpp>
#include <adze/ops/pointwise.hpp>

namespace adze::amp {

template <class O>
concept optimizer = requires(O& o) {
  { o.parameters() } -> std::convertible_to<tensor_list>;
  o.step();
};

}  // namespace adze::amp

namespace adze::amp::inline ADZE_ISA {

// In a training step:
//   backward(scaler.scale(loss));
//   scaler.unscale_(opt);   // only where gradients are looked at, for instance to be clipped
//   scaler.step(opt);       // unscales if that was not done; skips opt.step() after an overflow
//   scaler.update();        // once, after all optimizers, also after a skipped step
// Losses and optimizers may be many. Gradients that are accumulated over several backward passes
// have one scale: unscale, step and update at the end of them. Micikevicius et al. 2018.
class grad_scaler {
 public:
  using state = std::vector<std::pair<std::string, double>>;

  // Errors: value_error for factors and bounds that are no powers of two or exclude each other.
  explicit grad_scaler(const grad_scaler_options& o = {}) : options_(o), scale_(o.init_scale) {
    detail::check_scaling(o, o.init_scale, "grad_scaler");
    left_ = o.hysteresis;
  }
  grad_scaler(const grad_scaler&) = delete;
  grad_scaler& operator=(const grad_scaler&) = delete;

  bool enabled() const { return options_.enabled; }
  // The present factor; 1 when disabled.
  double scale() const { return enabled() ? scale_ : 1.0; }
  index_t growth_tracker() const { return tracker_; }  // clean updates in a row
  const grad_scaler_options& options() const { return options_; }
  const scaler_statistics& statistics() const { return statistics_; }

  // x times the scale, recorded. 16-bit x are multiplied in f32, whose range they would leave.
  template <class = void> tensor scale(const tensor& x) const {
    if (!enabled()) return x;
    return (size_of(x.dtype()) == 2 ? cast(x, f32) : x) * scale_;
  }
  template <class = void> std::vector<tensor> scale(tensor_list x) const {
    std::vector<tensor> y;
    for (const tensor& t : x) y.push_back(scale(t));
    return y;
  }

  // Divides the gradients of all parameters by the scale and looks whether they are finite. Does
  // nothing where there are none.
  // Errors: state_error when that was done since the last update(), or after step(); dtype_error
  // for f16 gradients, which have no room for it: keep f32 parameters, or use master_weights.
  template <optimizer O> void unscale_(O& o) {
    constexpr bool collects = requires { o.collect_gradients(); };
    if (!enabled()) {
      if constexpr (collects) o.collect_gradients();
      return;
    }
    record& r = record_of(&o);
    if (r.stage != stage::ready) {
      raise<state_error>("grad_scaler.unscale_: called ",
                         r.stage == stage::unscaled ? "twice" : "after step()",
                         " for one optimizer; once between two calls of update()");
    }
    if constexpr (collects) o.collect_gradients();
    unscale_all(r, o.parameters());
  }

  // Calls o.step() unless a gradient of its parameters is infinite or NaN. Returns whether it did.
  // Errors: state_error when it was called since the last update(), or when no parameter has a
  // gradient; after that it can be called again.
  template <optimizer O> bool step(O& o) {
    if (!enabled()) {
      o.step();
      return true;
    }
    if (record_of(&o).stage == stage::stepped) {
      raise<state_error>("grad_scaler.step: called twice for one optimizer; call update() between");
    }
    if (record_of(&o).stage == stage::ready) unscale_(o);
    const record now = record_of(&o);
    if (!now.checked) {
      raise<state_error>("grad_scaler.step: no parameter of the optimizer has a gradient; call ",
                         "backward(scaler.scale(loss)) first");
    }
    if (!now.overflow) o.step();
    record_of(&o).stage = stage::stepped;
    ++(now.overflow ? statistics_.skipped_steps : statistics_.steps);
    return !now.overflow;
  }

  // Chooses the scale of the next step from what all optimizers saw, and begins a new one.
  // Errors: state_error when no gradient was checked since the last update(); numeric_error for an
  // overflow at the minimum, where the options ask for it.
  void update() {
    if (!enabled()) return;
    bool checked = false, overflow = false;
    for (const record& r : records_) {
      checked = checked || r.checked;
      overflow = overflow || r.overflow;
    }
    if (!checked) {
      raise<state_error>("grad_scaler.update: no gradient was checked since the last update(); ",
                         "call step(optimizer) first");
    }
    records_.clear();
    if (options_.dynamic) overflow ? lower() : raise_after_interval();
  }
  // Sets the scale; the count of clean updates goes on. Errors: value_error unless it is a power of
  // two between the bounds.
  void update(double new_scale) {
    if (!enabled()) return;
    detail::check_scaling(options_, new_scale, "grad_scaler.update");
    records_.clear();
    scale_ = new_scale;
  }

  // PyTorch's five keys, and what is left of the hysteresis where there is one; empty when
  // disabled. Take it after update().
  template <class = void> state state_dict() const {
    if (!enabled()) return {};
    state s{{"scale", scale_},
            {"growth_factor", options_.growth_factor},
            {"backoff_factor", options_.backoff_factor},
            {"growth_interval", static_cast<double>(options_.growth_interval)},
            {"_growth_tracker", static_cast<double>(tracker_)}};
    if (options_.hysteresis > 1) s.emplace_back("_hysteresis", static_cast<double>(left_));
    return s;
  }
  // All or nothing; a disabled scaler reads nothing. Errors: value_error for an empty state (of a
  // disabled scaler), names that are missing, unknown or given twice, and values out of range.
  template <class = void> void load_state_dict(const state& from);

 private:
  enum class stage : std::uint8_t { ready, unscaled, stepped };
  struct record {  // of one optimizer, since the last update()
    const void* key = nullptr;
    enum stage stage = stage::ready;
    bool checked = false, overflow = false;
  };

  template <class = void> record& record_of(const void* key) {
    for (record& r : records_) {
      if (r.key == key) return r;
    }
    return records_.emplace_back(record{.key = key});
  }

  template <class = void> void unscale_all(record& r, tensor_list parameters) {
    for (const tensor& p : parameters) {
      const tensor g = p.grad();
      if (g.defined() && g.dtype() == f16) {
        raise<dtype_error>("grad_scaler.unscale_: a gradient is ", g,
                           "; f16 gradients are not unscaled: keep the parameters in f32 under ",
                           "autocast, or wrap the optimizer in master_weights");
      }
    }
    for (const tensor& p : parameters) {
      if (!p.grad().defined()) continue;
      const detail::unscaled u = detail::unscale_gradient(p, 1.0 / scale_);
      r.checked = true;
      r.overflow = r.overflow || u.overflow;
      statistics_.gradients += u.nonzero;
      statistics_.saved += u.lost;
    }
    if (r.checked) r.stage = stage::unscaled;  // else nothing was done, and it may come again
  }

  void lower() {
    tracker_ = 0;
    if (left_ > 1) {
      --left_;
      return;
    }
    if (options_.error_at_minimum && scale_ <= options_.minimum) {
      raise<numeric_error>("grad_scaler.update: overflow at the smallest scale, ", scale_,
                           "; the gradients themselves overflow: look at the loss, or clip");
    }
    const double next = std::max(scale_ * options_.backoff_factor, options_.minimum);
    if (next < scale_) ++statistics_.backoffs;
    scale_ = next;
  }
  void raise_after_interval() {
    if (options_.consecutive_hysteresis) left_ = options_.hysteresis;
    if (++tracker_ < options_.growth_interval) return;
    tracker_ = 0;
    left_ = options_.hysteresis;
    const double next = std::min(scale_ * options_.growth_factor, options_.maximum);
    if (next > scale_) ++statistics_.growths;
    scale_ = next;
  }

  grad_scaler_options options_;
  double scale_;
  index_t tracker_ = 0;
  index_t left_ = 1;  // overflows until the scale is lowered
  std::vector<record> records_;
  scaler_statistics statistics_;
};

template <class> void grad_scaler::load_state_dict(const state& from) {
  if (!enabled()) return;
  constexpr std::string_view op = "grad_scaler.load_state_dict";
  if (from.empty()) {
    raise<value_error>(op, ": the state is empty; was it saved by a disabled scaler?");
  }
  grad_scaler_options o = options_;
  double scale = 0.0, interval = 0.0, tracker = 0.0, left = static_cast<double>(o.hysteresis);
  struct entry {
    std::string_view name;
    double* to;
    bool needed, found = false;
  };
  entry entries[] = {{"scale", &scale, true},
                     {"growth_factor", &o.growth_factor, true},
                     {"backoff_factor", &o.backoff_factor, true},
                     {"growth_interval", &interval, true},
                     {"_growth_tracker", &tracker, true},
                     {"_hysteresis", &left, false}};
  for (const auto& given : from) {
    const std::string& name = given.first;
    entry* const at = std::find_if(std::begin(entries), std::end(entries),
                                   [&](const entry& e) { return e.name == name; });
    if (at == std::end(entries)) raise<value_error>(op, ": unexpected ", name);
    if (at->found) raise<value_error>(op, ": ", name, " appears twice");
    at->found = true;
    *at->to = given.second;
  }
  for (const entry& e : entries) {
    if (e.needed && !e.found) raise<value_error>(op, ": ", e.name, " is missing");
  }
  const auto whole = [&](std::string_view name, double x, double low, double high) {
    if (!(x >= low && x <= high) || std::floor(x) != x) {
      raise<value_error>(op, ": ", name, " must be a whole number from ", low, " to ", high,
                         "; got ", x);
    }
    return static_cast<index_t>(x);
  };
  o.growth_interval = whole("growth_interval", interval, 1, 0x1p53);
  const index_t clean = whole("_growth_tracker", tracker, 0, interval - 1);
  const index_t rest = whole("_hysteresis", left, 1, static_cast<double>(o.hysteresis));
  detail::check_scaling(o, scale, op);
  options_ = o;
  scale_ = scale;
  tracker_ = clean;
  left_ = rest;
  records_.clear();
}

}  // namespace adze::amp::inline ADZE_ISA
