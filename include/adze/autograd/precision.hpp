#pragma once
// SPDX-License-Identifier: MIT
// Which dtype the inputs of a call are cast to: the rule slot of the thread, and promotion of
// mixed floats where no rule is installed. `amp/` installs rules; nothing here names an op.
// The cast is a recorded op, so gradients come back in the dtype of what was cast.
#include <memory>

#include <adze/autograd/op.hpp>

namespace adze::detail {

// A rule says per call in which floating dtype to run, or that the inputs stay as they are.
struct precision_rule {
  struct answer {
    bool cast = false;
    dtype type = dtype::f32;
  };
  answer (*choose)(const precision_rule& rule, const op_info& op, const tensor* const* in,
                   std::size_t n) = nullptr;
  // Casts one input; where the rule keeps a cache of cast leaves, it is used here.
  tensor (*cast)(precision_rule& rule, const tensor& x, dtype type) = nullptr;
  // A copy for a backward pass that installs the rule again after its region has ended; null: the
  // rule lives as long as that.
  std::shared_ptr<precision_rule> (*copy)(const precision_rule& rule) = nullptr;
};

// PyTorch's promotion: tensors with axes outrank 0-d ones of the same kind.
[[gnu::noinline]] inline dtype result_type(const tensor& a, const tensor& b) {
  const dtype x = a.dtype(), y = b.dtype();
  if (x == y) return x;
  if (kind_of(x) == kind_of(y) && (a.rank() == 0) != (b.rank() == 0)) return a.rank() == 0 ? y : x;
  return promote(x, y);
}

inline bool casts_input(const op_info& op, const tensor& x, std::size_t i) {
  const tensor_impl* p = x.impl_or_null();
  return p != nullptr && is_floating(p->type) && (i >= 24 || (op.keeps.bits >> i & 1) == 0);
}

// The dtype that the floating inputs are cast to, if they differ.
inline precision_rule::answer promotion(const op_info& op, const tensor* const* in, std::size_t n) {
  const tensor* first = nullptr;
  bool mixed = false;
  for (std::size_t i = 0; i < n; ++i) {
    if (!casts_input(op, *in[i], i)) continue;
    if (first == nullptr) first = in[i];
    mixed = mixed || in[i]->impl().type != first->impl().type;
  }
  if (!mixed) return {};
  const tensor* widest = first;  // 0-d tensors give way to others
  dtype type = first->dtype();
  for (std::size_t i = 0; i < n; ++i) {
    if (!casts_input(op, *in[i], i)) continue;
    const bool flat = in[i]->rank() == 0, was_flat = widest->rank() == 0;
    type = flat == was_flat ? promote(type, in[i]->dtype()) : was_flat ? in[i]->dtype() : type;
    if (was_flat) widest = in[i];
  }
  return {true, type};
}

}  // namespace adze::detail
