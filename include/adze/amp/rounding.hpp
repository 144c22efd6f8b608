#pragma once
// SPDX-License-Identifier: MIT
// From f32 to 16 bits and back in the ways that training needs beyond rounding to nearest: at
// random without bias, and with what was rounded off kept beside. Dense tensors in one order.
#include <adze/autograd/accumulate.hpp>
#include <adze/core/random.hpp>
#include <adze/kernels/rows.hpp>
#include <adze/tensor/layout.hpp>

namespace adze::amp {

// One of the two neighbours of x in T, so that the mean is x; u is uniform in [0, 1). What T holds
// exactly, infinity and NaN stay; beyond the largest finite number it rounds to nearest.
template <class T> T round_stochastic(float x, float u) {
  const T near(x);
  const float r = static_cast<float>(near);
  if (r == x || !(std::abs(x) < std::numeric_limits<float>::infinity())) return near;
  const bool beyond = std::abs(r) > std::abs(x);
  const T other = T::from_bits(static_cast<std::uint16_t>(near.bits + (beyond ? 0xffff : 1)));
  const float gap = static_cast<float>(other) - r;  // a power of two; x - r is exact, too
  if (!(std::abs(gap) < std::numeric_limits<float>::infinity())) return near;
  return u < (x - r) / gap ? other : near;
}

}  // namespace adze::amp

namespace adze::amp::detail::inline ADZE_ISA {

inline constexpr index_t rounding_block = 256;
inline constexpr index_t rounding_chunk = 16384;  // 10 us of the slower way

// f(begin, count) for blocks of the elements of x, threaded.
template <class F> void over_blocks(const tensor& x, F f) {
  parallel_for(x.numel(), rounding_chunk, [&](index_t begin, index_t end) {
    for (index_t at = begin; at < end; at += rounding_block) {
      f(at, std::min(rounding_block, end - at));
    }
  });
}
inline std::byte* at(const tensor& x, index_t i) { return x.impl().data + i * size_of(x.dtype()); }
// Values of a block as they are in 16 bits.
inline void round_row(dtype type, index_t n, float* values) {
  std::uint16_t narrow[rounding_block];
  kernels::store_row(type, reinterpret_cast<std::byte*>(narrow), 1, n, values);
  kernels::load_row(type, reinterpret_cast<const std::byte*>(narrow), 1, n, values);
}

// y = x, at random; x is f32, y f16 or bf16. Element i depends on the generator and i alone.
inline void narrow_stochastic(tensor& y, const tensor& x, generator& g) {
  const random_state source = g.reserve_for<float>(x.numel());
  over_blocks(x, [&](index_t begin, index_t n) {
    float u[rounding_block];
    uniform_fill(u, begin, n, source);
    const float* from = x.data_as<float>() + begin;
    const auto run = [&]<class T>(T* to) {
      for (index_t i = 0; i < n; ++i) to[i] = round_stochastic<T>(from[i], u[i]);
    };
    y.dtype() == f16 ? run(y.data_as<float16>() + begin) : run(y.data_as<bfloat16>() + begin);
  });
}

// y = x to nearest, and rest = x - y to nearest, both in the dtype of y.
inline void narrow_with_rest(tensor& y, tensor& rest, const tensor& x) {
  over_blocks(x, [&](index_t begin, index_t n) {
    float block[rounding_block];
    const float* from = x.data_as<float>() + begin;
    kernels::store_row(y.dtype(), at(y, begin), 1, n, from);
    kernels::load_row(y.dtype(), at(y, begin), 1, n, block);
    for (index_t i = 0; i < n; ++i) {  // an infinite y has no rest
      const float d = from[i] - block[i];
      block[i] = std::abs(d) < std::numeric_limits<float>::infinity() ? d : 0.0f;
    }
    kernels::store_row(rest.dtype(), at(rest, begin), 1, n, block);
  });
}
// x = y + rest. With `checked` only where that rounds to y, and x = y elsewhere: y may be another
// one than that of which the rest is.
inline void widen_with_rest(tensor& x, const tensor& y, const tensor& rest, bool checked) {
  over_blocks(x, [&](index_t begin, index_t n) {
    float block[rounding_block];
    float* to = x.data_as<float>() + begin;
    kernels::load_row(y.dtype(), at(y, begin), 1, n, to);
    kernels::load_row(rest.dtype(), at(rest, begin), 1, n, block);
    if (checked) {
      float sums[rounding_block] = {};
      // A rest that was itself rounded up, to half a unit, must not fall to the other side.
      for (index_t i = 0; i < n; ++i) sums[i] = to[i] + 0.99f * block[i];
      round_row(y.dtype(), n, sums);
      for (index_t i = 0; i < n; ++i) block[i] = sums[i] == to[i] ? block[i] : 0.0f;
    }
    for (index_t i = 0; i < n; ++i) to[i] += block[i];
  });
}
// x = y where x does not round to y.
inline void widen_changed(tensor& x, const tensor& y) {
  over_blocks(x, [&](index_t begin, index_t n) {
    float block[rounding_block], rounded[rounding_block];
    float* to = x.data_as<float>() + begin;
    kernels::load_row(y.dtype(), at(y, begin), 1, n, block);
    std::copy(to, to + n, rounded);
    round_row(y.dtype(), n, rounded);
    for (index_t i = 0; i < n; ++i) to[i] = rounded[i] == block[i] ? to[i] : block[i];
  });
}

}  // namespace adze::amp::detail::inline ADZE_ISA
