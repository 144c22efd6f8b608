#pragma once
// SPDX-License-Identifier: MIT
// autocast: the region in which a policy chooses the dtypes of ops, and the casts of leaves that it
// keeps. A cast is a recorded op: parameters stay f32 and their gradients come back in f32, while
// the backward pass runs in the dtypes of the forward pass, inside or outside of the region.
#include <adze/amp/policy.hpp>
#include <adze/autograd/record.hpp>

namespace adze::amp::detail::inline ADZE_ISA {

// The casts of f32 leaves made in a region, so that a weight used in many places is cast once. An
// entry serves only the version of the values that it was made of, and only calls that want the
// gradient as it was made: a cast made under no_grad would hide the leaf from a recorded call.
class cast_cache {
 public:
  tensor cast(const tensor& leaf, dtype type) {
    if (used_ * 2 >= slots_.size()) grow();
    const bool recorded = leaf.requires_grad() && grad_enabled();
    entry& e = find(leaf, type, recorded);
    if (!e.leaf.defined()) {
      e.leaf = leaf;
      e.type = type;
      e.recorded = recorded;
      ++used_;
    }
    if (!e.value.defined() || e.version != leaf.version()) {
      e.value = adze::cast(leaf, type);
      e.version = leaf.version();
      ++casts_;
    }
    return e.value;
  }
  // Lets go of all casts; the memory of the table stays for the next region.
  void clear() {
    if (used_ > 0) std::fill(slots_.begin(), slots_.end(), entry{});
    used_ = casts_ = 0;
  }
  std::size_t size() const { return used_; }
  std::size_t casts() const { return casts_; }  // made, since it was last cleared

 private:
  struct entry {
    tensor leaf;  // held, so that no other leaf gets its address
    tensor value;
    std::uint32_t version = 0;
    dtype type = f32;
    bool recorded = false;
  };

  // Its entry, or the free one where it belongs. By open addressing; at most half is used.
  entry& find(const tensor& leaf, dtype type, bool recorded) {
    const auto address = reinterpret_cast<std::uintptr_t>(leaf.impl_or_null());
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t i = address / 64 * 0x9e3779b1u;; ++i) {
      entry& e = slots_[i & mask];
      const bool same = e.leaf.impl_or_null() == leaf.impl_or_null();
      if (!e.leaf.defined() || (same && e.type == type && e.recorded == recorded)) return e;
    }
  }
  void grow() {
    std::vector<entry> old(std::max<std::size_t>(64, slots_.size() * 2));
    old.swap(slots_);
    for (entry& e : old) {
      if (e.leaf.defined()) find(e.leaf, e.type, e.recorded) = std::move(e);
    }
  }

  std::vector<entry> slots_;  // a power of two
  std::size_t used_ = 0, casts_ = 0;
};

// The cache of this thread is open while a region that caches is.
inline cast_cache& thread_cache() {
  static thread_local cast_cache cache;
  return cache;
}
inline constinit thread_local cast_cache* open_cache = nullptr;

struct policy_rule : adze::detail::precision_rule {
  amp::policy policy;

  explicit policy_rule(const amp::policy& p) : policy(p) {
    choose = chosen;
    cast = cast_input;
    copy = [](const precision_rule& rule) -> std::shared_ptr<precision_rule> {
      return std::make_shared<policy_rule>(static_cast<const policy_rule&>(rule));
    };
  }

  static answer chosen(const precision_rule& rule, const adze::detail::op_info& op,
                       const tensor* const* in, std::size_t n) {
    const amp::policy& p = static_cast<const policy_rule&>(rule).policy;
    const action a = p.of(op);
    if (a == action::any) return {};
    if (a == action::refuse) refuse(op, p);
    const tensor* first = nullptr;
    bool mixed = false, wide = false;
    for (std::size_t i = 0; i < n; ++i) {
      if (!adze::detail::casts_input(op, *in[i], i)) continue;
      if (first == nullptr) first = in[i];
      mixed = mixed || in[i]->impl().type != first->impl().type;
      wide = wide || in[i]->impl().type == f64;
    }
    if (first == nullptr || (wide && !mixed)) return {};
    if (wide || a == action::promote) return adze::detail::promotion(op, in, n);
    const dtype own = first->impl().type;
    const dtype type = a == action::low ? p.low() : a == action::wide ? f32 : own;
    return {mixed || own != type, type};
  }

  static tensor cast_input(precision_rule&, const tensor& x, dtype type) {
    const adze::detail::tensor_impl& p = x.impl();
    // Of the user: the leaves that a checkpoint makes for its second run serve it alone.
    const bool leaf = p.owner != nullptr && p.owner->leaf && (p.counted || p.owner->frozen);
    return leaf && p.type == f32 && open_cache != nullptr ? open_cache->cast(x, type)
                                                          : adze::cast(x, type);
  }

  [[noreturn, gnu::cold, gnu::noinline]] static void refuse(const adze::detail::op_info& op,
                                                            const amp::policy& p) {
    raise<dtype_error>(op.name, ": not under autocast to ", p.low(),
                       ": its gradient leaves the range of that type; use the form that takes ",
                       "logits, or open a region with .enabled = false around it");
  }
};

}  // namespace adze::amp::detail::inline ADZE_ISA

namespace adze::amp::inline ADZE_ISA {

struct autocast_options {
  bool enabled = true;  // false: ops run as if there were no region around
  bool cache = true;    // keep the casts of leaves until the outermost region of the thread ends
};

// Ops of this thread run in the dtypes that the policy says, as long as the guard lives:
//   {
//     const amp::autocast guard(amp::bf16());
//     loss = cross_entropy(model(x), y);
//   }
//   backward(loss);
// Guards nest, the innermost holds, and an exception restores what was before. Changes in place
// keep the dtype of what they change. Micikevicius et al. 2018.
class autocast {
 public:
  [[nodiscard]] explicit autocast(const policy& p, const autocast_options& o = {})
      : rule_(p), before_(adze::detail::state.rule), cache_before_(detail::open_cache) {
    adze::detail::state.rule = o.enabled ? &rule_ : nullptr;
    if (!o.enabled) return;
    if (!o.cache) {
      detail::open_cache = nullptr;
    } else if (cache_before_ == nullptr) {
      detail::open_cache = &detail::thread_cache();
      opened_ = true;
    }
  }
  ~autocast() {
    adze::detail::state.rule = before_;
    detail::open_cache = cache_before_;
    if (opened_) detail::thread_cache().clear();
  }
  autocast(const autocast&) = delete;
  autocast& operator=(const autocast&) = delete;

 private:
  detail::policy_rule rule_;
  adze::detail::precision_rule* before_;
  detail::cast_cache* cache_before_;
  bool opened_ = false;
};

// Whether ops of this thread are under a rule at present.
inline bool autocast_enabled() { return adze::detail::state.rule != nullptr; }

}  // namespace adze::amp::inline ADZE_ISA
