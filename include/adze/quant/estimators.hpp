#pragma once
// SPDX-License-Identifier: MIT
// The estimators with parameters of their own as prepare_qat places them: LSQ, TQT, PACT, DoReFa.
// As functions for code of one's own they stand in files of their own.
#include <adze/quant/config.hpp>
#include <adze/quant/dorefa.hpp>
#include <adze/quant/pact.hpp>
#include <adze/quant/tqt.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

// A new trained number.
inline tensor new_parameter(double x) {
  return adze::detail::filled({}, f32, x).set_requires_grad();
}

// Codes 1 - 2^bits to 2^bits - 1 in steps of two, as DoReFa makes them.
template <class = void> tensor tanh_weight(const tensor& w, int bits) {
  if (bits > 7) {
    raise<value_error>("quant::prepare: DoReFa's codes fit s8 with seven bits at most; got ", bits);
  }
  const std::int32_t n = (std::int32_t(1) << bits) - 1;
  return fake_quantize(dorefa_weight(w, bits),
                       make_parameters({1.0f / static_cast<float>(n), 0}, {-n, n}));
}

template <class = void> tensor estimated_weight(const tensor& w, statistic kind, const format& f) {
  const double most = amax(abs(detach(w))).item();
  if (f.scheme != scheme::symmetric || most == 0) {
    raise<value_error>("quant::prepare: estimators are for weights other than zeros, in a "
                       "symmetric format");
  }
  const code_range codes = f.codes();
  if (kind == statistic::tanh_weights) return tanh_weight(w, f.bits);
  if (kind == statistic::power_of_two) {
    const tensor step = record(tqt_scale_op<>{f.bits - 1}, new_parameter(std::log2(most)));
    return record(lsq_op<>{per_tensor(), codes, false}, w, step);
  }
  if (kind != statistic::learned) {
    raise<value_error>("quant::prepare: activations are clipped, not weights; take min_max or an "
                       "estimator of weights");
  }
  const tensor step = lsq_start(w, {.bits = f.bits, .grain = f.grain});
  return record(lsq_op<>{f.grain, codes}, w, step);
}

// Of values that are not negative.
template <class = void>
tensor estimated_activation(const tensor& x, const observer_options& o, bool simulate) {
  const code_range codes = o.format.codes();
  const double most = o.range.high;
  if (!(most > 0)) {
    raise<value_error>(
        "quant::prepare: estimators of activations begin with a positive range; got ", most);
  }
  if (o.kind == statistic::clipped) return pact_codes(x, new_parameter(most), codes, simulate);
  if (o.kind == statistic::unit) {
    return pact_codes(x, adze::detail::filled({}, f32, most), codes, simulate);
  }
  if (o.kind == statistic::power_of_two) {
    const tensor step = record(tqt_scale_op<>{o.format.bits}, new_parameter(std::log2(most)));
    return record(lsq_op<>{per_tensor(), codes, false}, x, step);
  }
  return record(lsq_op<>{per_tensor(), codes}, x, new_parameter(most / codes.high));
}

}  // namespace adze::quant::detail::inline ADZE_ISA
