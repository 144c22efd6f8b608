#pragma once
// SPDX-License-Identifier: MIT
// Which dtype the inputs of a call are cast to: the rule slot of the thread, and promotion of
// mixed floats where no rule is installed. `amp/` installs rules; nothing here names an op.
// The cast is a recorded op, so gradients come back in the dtype of what was cast.
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
};

// PyTorch's promotion: tensors with axes outrank 0-d ones of the same kind.
inline dtype result_type(const tensor& a, const tensor& b) {
  const dtype x = a.dtype(), y = b.dtype();
  if (x == y) return x;
  if (kind_of(x) == kind_of(y) && (a.rank() == 0) != (b.rank() == 0)) return a.rank() == 0 ? y : x;
  return promote(x, y);
}

// The common dtype of the floating inputs, and whether any of them differs from it.
inline precision_rule::answer promotion(const op_info& op, const tensor* const* in, std::size_t n) {
  precision_rule::answer a;
  bool first = true, first_wide = true, mixed = false;
  dtype narrow = f32, wide = f32;  // over 0-d inputs, over the others
  dtype seen = f32;
  for (std::size_t i = 0; i < n; ++i) {
    const tensor_impl* p = in[i]->impl_or_null();
    if (p == nullptr || !is_floating(p->type) || (i < 24 && (op.keeps.bits >> i & 1) != 0))
      continue;
    mixed = mixed || (!first && p->type != seen);
    seen = p->type;
    first = false;
    if (p->sizes.rank() == 0) {
      narrow = narrow == f32 ? p->type : promote(narrow, p->type);
    } else {
      wide = first_wide ? p->type : promote(wide, p->type);
      first_wide = false;
    }
  }
  a.cast = mixed;
  a.type = first_wide ? narrow : wide;
  return a;
}

}  // namespace adze::detail
