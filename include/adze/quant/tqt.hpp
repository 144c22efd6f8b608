#pragma once
// SPDX-License-Identifier: MIT
// TQT: scales that are powers of two, with a learned threshold (Jain et al. 2020).
#include <adze/quant/lsq.hpp>

namespace adze::quant::inline ADZE_ISA {

// The scale 2^ceil(log2_t) / 2^(bits - 1) (unsigned: / 2^bits) as a function of log2_t whose
// rounding up passes gradients: d scale / d log2_t = scale ln 2.
template <class = void> struct tqt_scale_op {
  int shift = 7;
  static constexpr std::string_view name = "tqt_scale";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = gradient_reads(values::output(0));
  tensor forward(const tensor& log2_t) const {
    tensor s = adze::detail::dense_copy(log2_t);
    const auto each = [&]<class T>(T* v) {
      for (index_t i = 0; i < s.numel(); ++i) {
        if (std::isnan(v[i])) continue;
        const T power = std::clamp(std::ceil(v[i]), T(-4096), T(4096));  // beyond both types
        v[i] = std::ldexp(T(1), static_cast<int>(power) - shift);
      }
    };
    if (s.dtype() == f64) {
      each(s.data_as<double>());
    } else {
      each(s.data_as<float>());
    }
    return s;
  }
  tensor backward(backward_context& c, const tensor& g) const {
    return g * (c.out(0) * 0.69314718055994531);
  }
};

// x in codes of a power-of-two scale, log2_t (0-d) the logarithm of the clipping threshold.
// Gradients: as lsq's without its factor, that of log2_t times scale ln 2.
template <class = void> tensor tqt(const tensor& x, const tensor& log2_t, lsq_options o = {}) {
  o.scale_gradient = false;
  const tensor scale = record(tqt_scale_op<>{o.is_signed ? o.bits - 1 : o.bits}, log2_t);
  return lsq(x, scale, o);
}

}  // namespace adze::quant::inline ADZE_ISA
