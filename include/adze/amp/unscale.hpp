#pragma once
// SPDX-License-Identifier: MIT
// Gradients divided by the loss scale in one pass, which also looks for what is not finite and
// counts what f16 would have lost without the scale. When that is done says grad_scaler.hpp.
#include <adze/autograd/accumulate.hpp>
#include <adze/kernels/optim.hpp>
#include <adze/tensor/layout.hpp>

namespace adze::amp::detail::inline ADZE_ISA {

struct unscaled {
  bool overflow = false;  // some element was not finite
  index_t nonzero = 0;    // elements other than 0
  index_t lost = 0;       // those of them that f16 rounds to 0 when they are not scaled
};

// x *= factor for n elements; sums of x * 0 (NaN unless all are finite), x != 0, and of the lost.
template <class T>
[[gnu::noinline]] std::array<double, 3> unscale_row(T* x, index_t n, double factor) {
  using pack = simd::pack<T>;
  pack bad(0), nonzero(0), lost(0);
  kernels::over_packs<T>(n, [&](index_t i, auto lanes) {
    const pack scaled = lanes.load(x + i), plain = scaled * pack(factor);
    lanes.store(plain, x + i);
    bad += scaled * pack(0);
    const auto counts = abs(scaled) > pack(0);
    nonzero += where(counts, pack(1), pack(0));
    lost += where(counts & (abs(plain) <= pack(0x1p-25)), pack(1), pack(0));
  });
  return {static_cast<double>(reduce_add(bad)), static_cast<double>(reduce_add(nonzero)),
          static_cast<double>(reduce_add(lost))};
}

// The elements begin..end of g, in place or, in 16 bits, by way of blocks.
template <class T>
std::array<double, 3> unscale_range(tensor& g, index_t begin, index_t end, double factor) {
  if (g.dtype() == dtype_of<T>) return unscale_row(g.data_as<T>() + begin, end - begin, factor);
  std::array<double, 3> sums{};
  alignas(64) T block[kernels::update_block];
  for (index_t at = begin; at < end; at += kernels::update_block) {
    const index_t n = std::min(kernels::update_block, end - at);
    std::byte* const data = g.data_as<std::byte>() + at * size_of(g.dtype());
    kernels::load_row(g.dtype(), data, 1, n, block);
    const std::array<double, 3> part = unscale_row(block, n, factor);
    kernels::store_row(g.dtype(), data, 1, n, block);
    for (std::size_t k = 0; k < 3; ++k) sums[k] += part[k];
  }
  return sums;
}

// The gradient of p times factor, in place.
template <class = void> unscaled unscale_gradient(tensor p, double factor) {
  if (!is_dense(p.grad())) p.set_grad(adze::detail::dense_copy(p.grad()));
  tensor g = p.grad();
  const auto sums = kernels::ordered_sums<3>(g.numel(), [&](index_t begin, index_t end) {
    return g.dtype() == f64 ? unscale_range<double>(g, begin, end, factor)
                            : unscale_range<float>(g, begin, end, factor);
  });
  g.impl().store->version.fetch_add(1, std::memory_order_relaxed);
  return {sums[0] != 0.0, static_cast<index_t>(sums[1]), static_cast<index_t>(sums[2])};
}

}  // namespace adze::amp::detail::inline ADZE_ISA
