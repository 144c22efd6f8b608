#pragma once
// SPDX-License-Identifier: MIT
// Anomaly mode: every result and every gradient is checked, and the op that made the first NaN
// is named. Slow; for finding a fault.
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

// Throws when one of the values is NaN: `when` is "forward" or "backward".
[[gnu::cold]] inline void check_finite(const op_info& info, results& out, std::string_view when) {
  for (std::size_t k = 0; k < out.count; ++k) {
    if (holds_nan(out[k])) {
      raise<numeric_error>(info.name, ": ", when, " made the first NaN, in ",
                           when == "forward" ? "result " : "the gradient of input ", k, " (",
                           out[k], "); its inputs had none");
    }
  }
}

}  // namespace detail

// `detect_anomaly guard;`: ops and backward runs of this thread are checked while it lives.
class detect_anomaly {
 public:
  detect_anomaly() : before_(detail::state.anomaly) { detail::state.anomaly = true; }
  ~detect_anomaly() { detail::state.anomaly = before_; }
  detect_anomaly(const detect_anomaly&) = delete;
  detect_anomaly& operator=(const detect_anomaly&) = delete;

 private:
  bool before_;
};

}  // namespace adze
