#pragma once
// SPDX-License-Identifier: MIT
// master_weights: any optimizer on models held in 16 bits, where most updates are smaller than half
// a unit of the last place and would be lost. What is kept so that they are not is a choice: f32
// copies, what was rounded off, or nothing but a random rounding.
#include <algorithm>
#include <limits>
#include <string>

#include <adze/amp/rounding.hpp>

namespace adze::amp {

enum class keep : std::uint8_t {
  master,      // an f32 copy: 4 bytes a weight
  rest,        // what was rounded off, in 16 bits (Kahan 1965): 2 bytes
  stochastic,  // nothing: steps round at random, right in the mean (Gupta et al. 2015)
};

struct master_options {
  keep kept = keep::master;
  std::uint64_t seed = 0;  // of stochastic rounding
};

}  // namespace adze::amp

namespace adze::amp::inline ADZE_ISA {

// An optimizer of type O whose arithmetic is in f32 while the parameters stay in 16 bits:
//   to(model, bf16);
//   amp::master_weights<optim::adamw> opt(parameters(model), {.lr = 1e-3});
// parameters() are the f32 leaves that O changes: what clipping and grad_scaler work on, after
// collect_gradients(), which unscale_() and step() call; without masters they read as NaN between
// steps. Parameters in f32 or f64 are O's own. An element that is changed from outside is where
// its next step begins; one that has its value again, as after ema's swaps, keeps what was kept of
// it. Moments are f32, as always.
template <class O> class master_weights {
 public:
  using options_type = typename O::options_type;

  explicit master_weights(std::vector<tensor> parameters, const options_type& o = {},
                          const master_options& how = {})
      : how_(how), random_(how.seed), inner_(take(std::move(parameters)), o) {
    rest();
  }

  // The optimizer itself: schedules turn its lr.
  O& inner() { return inner_; }
  const O& inner() const { return inner_; }
  const std::vector<tensor>& parameters() const { return inner_.parameters(); }

  // Gradients of the model, in f32, to parameters(); the last call before step() counts.
  void collect_gradients() {
    for (entry& e : entries_) {
      if (!e.narrow) continue;
      const tensor g = e.model.grad();
      tensor wide;
      if (g.defined()) {
        wide = empty_like(e.model, f32);
        kernels::copy(g.shape(), operand(wide), operand(g));
      }
      e.wide.set_grad(wide);
    }
    collected_ = true;
  }

  // The step of O in f32, and its result in the model. Gradients in f32 end here.
  void step() {
    if (!collected_) collect_gradients();
    for (entry& e : entries_) {
      if (moves(e)) widen(e);
    }
    inner_.step();
    for (entry& e : entries_) {
      if (moves(e)) narrow(e);
      if (e.narrow) e.wide.set_grad({});
    }
    rest();
  }

  void zero_grad() {
    for (const entry& e : entries_) {  // what never required a gradient has none to forget
      if (e.model.impl().owner != nullptr) tensor(e.model).set_grad({});
    }
    inner_.zero_grad();
    collected_ = false;
  }

  // What O knows, and "master.0", ... or "rest.0", ... by the place of the parameter, or "random":
  // the seed and the offset of stochastic rounding.
  auto state_dict() const {
    auto s = inner_.state_dict();
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (kept_of(entries_[i]).defined()) {
        s.tensors.emplace_back(name_of(i), adze::detail::dense_copy(kept_of(entries_[i])));
      }
    }
    if (how_.kept == keep::stochastic) {
      const random_state& at = random_.state();
      tensor words = empty({2}, i64);
      std::int64_t* const to = words.template data_as<std::int64_t>();
      to[0] = static_cast<std::int64_t>(at.seed), to[1] = static_cast<std::int64_t>(at.offset);
      s.tensors.emplace_back("random", words);
    }
    return s;
  }
  // The state of the same optimizer and set-up; the model's own values are loaded before.
  // Errors: value_error, and nothing is changed, when names, shapes or dtypes differ.
  void load_state_dict(const decltype(std::declval<const O&>().state_dict())& from) {
    auto rest_of_it = from;
    const auto taken = [&](const std::string& name, dtype type, const shape& sizes) {
      const auto found = std::find_if(rest_of_it.tensors.begin(), rest_of_it.tensors.end(),
                                      [&](const auto& t) { return t.first == name; });
      const tensor x = found == rest_of_it.tensors.end() ? tensor() : found->second;
      if (!x.defined() || x.shape() != sizes || x.dtype() != type) {
        raise<value_error>("master_weights.load_state_dict: ", name, " must be ", type, sizes,
                           "; got ", x.defined() ? to_text(x) : "nothing");
      }
      rest_of_it.tensors.erase(found);
      return x;
    };
    std::vector<tensor> kept(entries_.size());
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const tensor& own = kept_of(entries_[i]);
      if (own.defined()) kept[i] = taken(name_of(i), own.dtype(), own.shape());
    }
    tensor random;
    if (how_.kept == keep::stochastic) random = adze::detail::dense_copy(taken("random", i64, {2}));
    {
      const lying_as_in_a_step guard(*this);
      inner_.load_state_dict(rest_of_it);
    }
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (!kept[i].defined()) continue;
      tensor to = kept_of(entries_[i]);
      kernels::copy(to.shape(), operand(to), operand(kept[i]));
      entries_[i].version = entries_[i].model.version();
    }
    if (random.defined()) {
      const std::int64_t* words = random.template data_as<std::int64_t>();
      random_.set_state(
          {static_cast<std::uint64_t>(words[0]), static_cast<std::uint64_t>(words[1])});
    }
  }

 private:
  struct entry {
    tensor model;
    tensor wide;           // the leaf that O changes: f32, or the model's own
    dims strides{};        // of it, during a step
    tensor rounded_off{};  // keep::rest
    std::uint32_t version = 0;
    bool narrow = false;
  };

  static kernels::operand operand(const tensor& x) { return adze::detail::operand_of(x); }
  std::string name_of(std::size_t i) const {
    return text(how_.kept == keep::master ? "master." : "rest.", i);
  }
  const tensor& kept_of(const entry& e) const {
    static const tensor none;
    if (!e.narrow || how_.kept == keep::stochastic) return none;
    return how_.kept == keep::master ? e.wide : e.rounded_off;
  }
  bool moves(const entry& e) const { return e.narrow && e.wide.grad().defined(); }

  // The leaves for O.
  std::vector<tensor> take(std::vector<tensor> parameters) {
    std::vector<tensor> leaves;
    for (tensor& p : parameters) {
      entry e{.model = p, .wide = p};
      e.narrow = p.defined() && p.impl().owner != nullptr && p.is_leaf() &&
                 (p.dtype() == adze::f16 || p.dtype() == adze::bf16);
      if (e.narrow) {
        e.wide = empty_like(p, f32);
        e.strides = e.wide.strides();
        kernels::copy(p.shape(), operand(e.wide), operand(p));
        e.wide.set_requires_grad();
        e.version = p.version();
        if (how_.kept == keep::rest) {
          e.rounded_off = empty_like(p);
          const double zero = 0.0;
          kernels::copy(p.shape(), operand(e.rounded_off), {&zero, f64, {}});
        }
      }
      leaves.push_back(e.wide);
      entries_.push_back(std::move(e));
    }
    return leaves;
  }

  // An f32 leaf that is needed during a step only has memory of its own then; between steps all of
  // its elements are one NaN.
  static void reallocate(const tensor& x, index_t elements, const dims& strides) {
    adze::detail::tensor_impl& p = x.impl();
    adze::detail::storage* const fresh =
        adze::detail::make_storage(static_cast<std::size_t>(elements * size_of(f32)));
    const bool counted = p.counted;
    adze::detail::count_leaf(p, false);
    adze::detail::release(std::exchange(p.store, fresh));
    adze::detail::count_leaf(p, counted);
    p.data = fresh->data;
    p.strides = strides;
  }
  // Moments lie like the parameter they belong to: while O makes new ones, leaves without memory
  // show the strides that they have in a step.
  class lying_as_in_a_step {
   public:
    explicit lying_as_in_a_step(master_weights& o) : of_(o) {
      for (entry& e : of_.entries_) {
        if (e.narrow) e.wide.impl().strides = e.strides;
      }
    }
    ~lying_as_in_a_step() {
      for (entry& e : of_.entries_) {
        if (e.narrow && of_.how_.kept != keep::master) e.wide.impl().strides = dims{};
      }
    }
    lying_as_in_a_step(const lying_as_in_a_step&) = delete;
    lying_as_in_a_step& operator=(const lying_as_in_a_step&) = delete;

   private:
    master_weights& of_;
  };
  void rest() {
    collected_ = false;
    if (how_.kept == keep::master) return;
    for (entry& e : entries_) {
      if (!e.narrow) continue;
      reallocate(e.wide, 1, dims{});
      *e.wide.template data_as<float>() = std::numeric_limits<float>::quiet_NaN();
    }
  }

  // The value that the step begins with.
  void widen(entry& e) {
    const bool changed = e.version != e.model.version();
    if (how_.kept == keep::master) {
      if (changed) detail::widen_changed(e.wide, dense(e));
      return;
    }
    reallocate(e.wide, e.wide.numel(), e.strides);
    if (how_.kept == keep::rest) {
      detail::widen_with_rest(e.wide, dense(e), e.rounded_off, changed);
    } else {
      kernels::copy(e.wide.shape(), operand(e.wide), operand(e.model));
    }
  }
  // The model gets the value that the step has reached.
  void narrow(entry& e) {
    tensor p = is_dense(e.model) ? e.model : empty_like(e.model);
    if (how_.kept == keep::master) {
      kernels::copy(p.shape(), operand(p), operand(e.wide));
    } else if (how_.kept == keep::rest) {
      detail::narrow_with_rest(p, e.rounded_off, e.wide);
    } else {
      detail::narrow_stochastic(p, e.wide, random_);
    }
    if (!is_dense(e.model)) kernels::copy(p.shape(), operand(e.model), operand(p));
    e.version = e.model.impl().store->version.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  // The values of the model in the order of its f32 leaf.
  static tensor dense(const entry& e) {
    return is_dense(e.model) ? e.model : adze::detail::dense_copy(e.model);
  }

  master_options how_;
  generator random_;
  bool collected_ = false;
  std::vector<entry> entries_;
  O inner_;
};

}  // namespace adze::amp::inline ADZE_ISA
