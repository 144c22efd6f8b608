#pragma once
// SPDX-License-Identifier: MIT
// Anomaly mode: every result and every gradient is checked, and the op that made the first NaN is
// named, or the value that came with one. Slow; for finding a fault.
#include <cmath>

#include <adze/autograd/op.hpp>

namespace adze {

namespace detail {

inline bool holds_nan(const tensor& x) {
  if (!x.defined() || !is_floating(x.dtype())) return false;
  const tensor_impl& p = x.impl();
  for (index_t i = 0, n = x.numel(); i < n; ++i) {
    index_t at = 0, rest = i;
    for (index_t a = p.sizes.rank() - 1; a >= 0; --a) {
      at += rest % p.sizes[a] * p.strides[static_cast<std::size_t>(a)];
      rest /= p.sizes[a];
    }
    const bool nan = p.type == f32   ? std::isnan(x.data_as<float>()[at])
                     : p.type == f64 ? std::isnan(x.data_as<double>()[at])
                     : p.type == f16 ? std::isnan(static_cast<float>(x.data_as<float16>()[at]))
                                     : std::isnan(static_cast<float>(x.data_as<bfloat16>()[at]));
    if (nan) return true;
  }
  return false;
}

[[noreturn, gnu::cold, gnu::noinline]] inline void raise_nan(const op_info& info,
                                                             std::string_view when,
                                                             const std::string& where,
                                                             const std::string& before) {
  if (before.empty()) {
    raise<numeric_error>(info.name, ": ", when, " made the first NaN, in ", where,
                         "; its inputs had none");
  }
  raise<numeric_error>(info.name, ": ", when, " gives NaN, in ", where, "; ", before,
                       " had one already");
}

// Throws when a result is NaN; which input was so before, if any, is looked up only then.
[[gnu::cold]] inline void check_forward(const op_info& info, const tensor* const* in, std::size_t n,
                                        results& out) {
  for (std::size_t k = 0; k < out.count; ++k) {
    if (!holds_nan(out[k])) continue;
    std::string before;
    for (std::size_t i = n; i-- > 0;) {
      if (holds_nan(*in[i])) before = text("input ", i, " (", *in[i], ")");
    }
    raise_nan(info, "forward", text("result ", k, " (", out[k], ")"), before);
  }
}

// What backward is about to read and is NaN: the first gradient of a result, else a saved value.
[[gnu::cold]] inline std::string nan_before_backward(node* n) {
  for (std::uint32_t k = 0; k < n->outputs; ++k) {
    if (holds_nan(n->slots()[k].gradient)) return text("the gradient of result ", k);
  }
  for (std::uint32_t i = 0; i < n->saved_count; ++i) {
    const tensor& x = n->saved()[i].value;
    if (holds_nan(x)) return text("a value saved for it (", x, ")");
  }
  return {};
}
// Throws when the gradient of an input is NaN.
[[gnu::cold]] inline void check_backward(const op_info& info, results& out,
                                         const std::string& before) {
  for (std::size_t j = 0; j < out.count; ++j) {
    if (!holds_nan(out[j])) continue;
    raise_nan(info, "backward", text("the gradient of input ", j, " (", out[j], ")"), before);
  }
}

}  // namespace detail

// `detect_anomaly guard;`: ops and backward runs of this thread are checked while it lives.
class detect_anomaly {
 public:
  [[nodiscard]] detect_anomaly() : before_(detail::state.anomaly) { detail::state.anomaly = true; }
  ~detect_anomaly() { detail::state.anomaly = before_; }
  detect_anomaly(const detect_anomaly&) = delete;
  detect_anomaly& operator=(const detect_anomaly&) = delete;

 private:
  bool before_;
};

}  // namespace adze
