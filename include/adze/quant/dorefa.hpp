#pragma once
// SPDX-License-Identifier: MIT
// DoReFa-Net (Zhou et al. 2016): weights through tanh, activations in [0, 1], gradients with noise.
// All round straight through.
#include <adze/ops/activation.hpp>
#include <adze/ops/compare.hpp>
#include <adze/ops/extremes.hpp>
#include <adze/quant/fake_quant.hpp>
#include <adze/tensor/create.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

// round(v n) / n of v in [0, 1], n = 2^bits - 1; gradient g.
template <class = void> tensor unit_codes(const tensor& v, int bits) {
  const code_range codes = format{.bits = bits}.codes();
  const tensor step =
      adze::detail::filled({}, f32, static_cast<double>(1.0f / static_cast<float>(codes.high)));
  return record(snap_op<>{{per_tensor(), codes}}, v, step);
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// 2 q(tanh(w) / (2 max |tanh(w)|) + 1/2) - 1, the maximum taken as a constant; one bit:
// sign(w) mean |w|, with gradient g.
template <class = void> tensor dorefa_weight(const tensor& w, int bits) {
  if (bits == 1) {
    const tensor v = detach(w);
    return w + (where(v >= 0.0, 1.0, full({}, -1.0, w.dtype())) * mean(abs(v)) - v);
  }
  const tensor t = tanh(w);
  const tensor most = maximum(amax(abs(detach(t))), 1e-12);
  return 2.0 * detail::unit_codes(t / (2.0 * most) + 0.5, bits) - 1.0;
}

// q(clip(x, 0, 1)); gradient g inside [0, 1].
template <class = void> tensor dorefa_activation(const tensor& x, int bits) {
  const tensor clipped = where(x >= 0.0, where(x <= 1.0, x, 1.0), 0.0);
  return detail::unit_codes(clipped, bits);
}

// x; its gradient is quantized: with m the largest size in each sample (axis 0) and uniform noise
// of half a step, 2 m (q(g / (2 m) + 1/2 + noise) - 1/2). At least 6 bits are needed in practice.
// Random numbers: one 32-bit word per element from the default generator, reserved by each forward.
template <class = void> struct dorefa_gradient_op {
  int bits = 8;
  random_state at{};  // filled by forward
  static constexpr std::string_view name = "dorefa_gradient";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  tensor forward(const tensor& x) {
    at = default_generator().reserve_for<float>(x.numel());
    return alias(x);
  }
  tensor backward(backward_context&, const tensor& g) const {
    if (g.numel() == 0) return g;
    const tensor rows = reshape(g, {g.rank() > 0 ? g.size(0) : 1, -1});
    const tensor most = 2.0 * maximum(amax(abs(detach(rows)), {1}, true), 1e-30);
    generator noise(at);
    const double step = 1.0 / (double(std::int64_t{1} << bits) - 1);
    const tensor shift = (rand(rows.shape(), f32, noise) - 0.5) * step + 0.5;
    const tensor codes = detail::unit_codes(
        where(rows / most + shift >= 0.0, minimum(rows / most + shift, 1.0), 0.0), bits);
    return reshape(cast(most * (codes - 0.5), g.dtype()), g.shape());
  }
};
template <class = void> tensor dorefa_gradient(const tensor& x, int bits) {
  return record(dorefa_gradient_op<>{bits}, x);
}

}  // namespace adze::quant::inline ADZE_ISA
