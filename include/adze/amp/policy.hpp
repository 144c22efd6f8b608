#pragma once
// SPDX-License-Identifier: MIT
// Which op runs in which dtype under autocast. Every op states its class in its own struct; a
// policy says what is done with a class, and may say otherwise for single op types. It is a plain
// value: edit a copy of a ready one. docs/amp.md prints what comes out for every op.
#include <adze/autograd/precision.hpp>

namespace adze::amp {

// What is done with the floating inputs of an op. Where one of them is f64, none is narrowed: they
// are promoted. Integers are never cast, nor what an op `keeps` (indices, masks, statistics).
enum class action : std::uint8_t {
  low,      // all to the policy's low type
  wide,     // all to f32
  promote,  // all to the widest of them
  leading,  // all to the dtype of the first
  any,      // none is cast
  refuse,   // an error
};

class policy {
 public:
  static constexpr std::size_t most_exceptions = 24;

  // What the classes are named after: low ops in `low`, wide ones in f32, others as they say.
  // Errors: dtype_error unless low is f16 or bf16.
  explicit policy(dtype low) : low_(low) {
    if (low != adze::f16 && low != adze::bf16) {
      raise<dtype_error>("amp::policy: the low type must be f16 or bf16; got ", low);
    }
  }

  dtype low() const { return low_; }

  policy& set(numeric of_class, action a) {
    by_class_[static_cast<std::size_t>(of_class)] = a;
    return *this;
  }
  // For one op type, such as softmax_op<>, whatever its class. The type may be incomplete.
  // Errors: value_error for more than `most_exceptions` types.
  template <class Op> policy& set(action a) {
    const void* const type = &adze::detail::op_identity<Op>;
    std::size_t i = 0;
    while (i < count_ && exceptions_[i].type != type) ++i;
    if (i == most_exceptions) {
      raise<value_error>("amp::policy: at most ", most_exceptions, " op types can be set apart; ",
                         "set their class");
    }
    exceptions_[i] = {type, a};
    count_ = std::max(count_, i + 1);
    return *this;
  }

  action of(const adze::detail::op_info& op) const {
    for (std::size_t i = 0; i < count_; ++i) {
      if (exceptions_[i].type == op.type) return exceptions_[i].what;
    }
    return by_class_[static_cast<std::size_t>(op.precision)];
  }

 private:
  struct exception {
    const void* type = nullptr;
    action what = action::any;
  };
  dtype low_;
  std::array<action, 4> by_class_{action::low, action::wide, action::promote, action::any};
  std::array<exception, most_exceptions> exceptions_{};
  std::size_t count_ = 0;
};

}  // namespace adze::amp

namespace adze::inline ADZE_ISA {

// Named below; nothing of them is needed here.
template <class> struct cross_entropy_op;
template <class> struct nll_loss_op;
template <class> struct mse_loss_op;
template <class> struct binary_cross_entropy_op;
template <class> struct bce_with_logits_op;
template <class> struct prod_op;
template <bool> struct scatter_any;
template <bool> struct index_any;

}  // namespace adze::inline ADZE_ISA

namespace adze::amp::detail::inline ADZE_ISA {

// Both lists write sources into what they are added to in the widest type of the two.
template <class = void> policy with_common(policy p) {
  p.template set<scatter_any<false>>(action::promote);
  p.template set<scatter_any<true>>(action::promote);
  p.template set<index_any<true>>(action::promote);
  p.template set<index_any<false>>(action::promote);
  return p;
}

}  // namespace adze::amp::detail::inline ADZE_ISA

namespace adze::amp::inline ADZE_ISA {

// PyTorch's list for bf16 on CPU: products in bf16; losses and prod in f32; sums, norms, softmax
// and functions of the elements in the dtype that they are given, since bf16 has the range of f32
// (all kernels compute in f32 and round once). Needs no loss scaling.
template <class = void> policy bf16() {
  policy p = detail::with_common(policy(adze::bf16));
  p.set(numeric::wide, action::leading);
  p.template set<cross_entropy_op<void>>(action::wide);
  p.template set<nll_loss_op<void>>(action::wide);
  p.template set<mse_loss_op<void>>(action::wide);
  p.template set<binary_cross_entropy_op<void>>(action::wide);
  p.template set<bce_with_logits_op<void>>(action::wide);
  p.template set<prod_op<void>>(action::wide);
  return p;
}

// PyTorch's list for f16 on CUDA: products in f16; exp, log, powers, sums, norms, softmax and
// losses in f32; cross entropy of probabilities is refused, because its gradient leaves the range
// of f16. Small gradients need a grad_scaler.
template <class = void> policy fp16() {
  policy p = detail::with_common(policy(adze::f16));
  p.template set<binary_cross_entropy_op<void>>(action::refuse);
  return p;
}

}  // namespace adze::amp::inline ADZE_ISA
