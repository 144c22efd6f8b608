#pragma once
// SPDX-License-Identifier: MIT
// PACT: activations clipped at a learned bound, then quantized (Choi et al. 2018).
#include <adze/ops/compare.hpp>
#include <adze/quant/fake_quant.hpp>

namespace adze::quant::inline ADZE_ISA {

// y = clamp(x, 0, alpha) in 2^bits equal steps of alpha / (2^bits - 1). alpha is a 0-d tensor, 10
// or 8 to begin with, and wants weight decay. Gradient of x: g where 0 <= x < alpha; of alpha: the
// sum of g where x >= alpha. Errors: value_error for bits or an alpha that is not positive.
template <class = void> tensor pact(const tensor& x, const tensor& alpha, int bits = 8) {
  const code_range codes = format{.bits = bits}.codes();
  if (alpha.numel() != 1 || !(alpha.item() > 0)) {
    raise<value_error>("pact: alpha is one positive number; got ", alpha);
  }
  const tensor clipped = where(x < alpha, where(x >= 0.0, x, 0.0), alpha);
  const no_grad plain;
  const parameters p = make_parameters(
      {static_cast<float>(alpha.item() / static_cast<double>(codes.high)), 0}, codes);
  const enable_grad again;
  return fake_quantize(clipped, p);
}

}  // namespace adze::quant::inline ADZE_ISA
