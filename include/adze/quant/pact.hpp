#pragma once
// SPDX-License-Identifier: MIT
// PACT: activations clipped at a learned bound, then quantized (Choi et al. 2018).
#include <adze/ops/compare.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/quant/fake_quant.hpp>

namespace adze::quant::inline ADZE_ISA {

// clamp(x, 0, alpha); alpha is 0-d. NaN stays.
template <class = void> struct pact_clip_op {
  static constexpr std::string_view name = "pact_clip";
  static constexpr numeric precision = numeric::promote;
  static constexpr auto reads =
      gradient_reads(values::input(0) | values::input(1), values::input(0) | values::input(1));
  shape result(const shape& x, const shape&) const { return x; }
  tensor forward(const tensor& x, const tensor& alpha) const {
    return where(x >= alpha, alpha, where(x < 0.0, 0.0, x));
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0), over = where(x >= c.in(1), g, 0.0);
    return {c.wants(0) ? where(x >= c.in(1), 0.0, where(x < 0.0, 0.0, g)) : tensor(),
            c.wants(1) ? reshape(sum(over), c.in_shape(1)) : tensor()};
  }
};

// x, clipped, in steps of alpha / codes.high; the step's own gradient is none.
template <class = void>
tensor pact_codes(const tensor& x, const tensor& alpha, code_range codes, bool simulate) {
  const tensor step = detach(alpha) * (1.0 / codes.high);
  return record(fake_quantize_op<>{per_tensor(), codes, simulate},
                record(pact_clip_op<>{}, x, alpha), cast(step, f32), tensor());
}

// y = clamp(x, 0, alpha) in 2^bits equal steps of alpha / (2^bits - 1). alpha is a 0-d tensor, 10
// or 8 to begin with, and wants weight decay. Gradient of x: g where 0 <= x < alpha; of alpha: the
// sum of g where x >= alpha. Errors: value_error for bits or an alpha that is not positive.
template <class = void> tensor pact(const tensor& x, const tensor& alpha, int bits = 8) {
  const code_range codes = format{.bits = bits}.codes();
  if (alpha.numel() != 1 || !(alpha.item() > 0)) {
    raise<value_error>("pact: alpha is one positive number; got ", alpha);
  }
  return pact_codes(x, reshape(alpha, {}), codes, true);
}

}  // namespace adze::quant::inline ADZE_ISA
