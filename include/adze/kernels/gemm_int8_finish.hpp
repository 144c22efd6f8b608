#pragma once
// SPDX-License-Identifier: MIT
// What an integer product does to its sums while they are hot in cache: zero points, bias, then
// sums, floats or codes. All integers are modulo 2^32; floats are computed in the order stated.
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <adze/kernels/epilogue.hpp>
#include <adze/kernels/quantize.hpp>
#include <adze/simd/dot.hpp>

namespace adze::kernels {

// t(i, j) = sum over k of (a(i, k) - left(i).zero) b(k, j) + bias[j]; scale(i, j) =
// left(i).scale * column_scales[j]; then, for results of
//   s32     t
//   f32     activate(fma(t, scale, real_bias[j]))
//   codes   clamp(round(t * scale) + zero, low, high), low being at least zero after a relu
struct integer_finish {
  row_codes left{};
  const std::int32_t* bias = nullptr;
  const float* column_scales = nullptr;  // null: ones
  const float* real_bias = nullptr;
  activation activate = activation::none;
  std::int32_t zero = 0;
  code_range codes{};
};

inline namespace ADZE_ISA {

// A row of n results of the product, from column `column` on. `sums` and `column_sums` can be read
// up to a whole panel.
template <class Out, class A>
[[gnu::noinline]] void finish_integers(const integer_finish& f, const std::int32_t* sums,
                                       const std::int32_t* column_sums, affine left, index_t column,
                                       index_t n, Out* out) {
  using I = simd::integers<A>;
  using P = simd::pack<float, A>;
  const I zero = I::all(left.zero);
  const P left_scale(left.scale);
  // t and scale of the lanes from j on; `count` of them are there.
  const auto exact = [&](index_t j, index_t count) {
    I t = I::load(sums + j);
    if (left.zero != 0) t = t - zero * I::load(column_sums + column + j);
    if (f.bias)
      t = t + (count < I::size ? I::load_partial(f.bias + column + j, count)
                               : I::load(f.bias + column + j));
    return t;
  };
  const auto floats = [&](const float* from, index_t j, index_t count) {
    return count < P::size ? P::load_partial(from + column + j, count) : P::load(from + column + j);
  };
  const auto scale = [&](index_t j, index_t count) {
    return f.column_scales ? left_scale * floats(f.column_scales, j, count) : left_scale;
  };
  if constexpr (std::is_same_v<Out, std::int32_t>) {
    for (index_t j = 0; j < n; j += I::size) {
      const index_t count = std::min(I::size, n - j);
      count < I::size ? exact(j, count).store_partial(out + j, count)
                      : exact(j, count).store(out + j);
    }
  } else if constexpr (std::is_same_v<Out, float>) {
    for (index_t j = 0; j < n; j += P::size) {
      const index_t count = std::min(P::size, n - j);
      const P t = to_float(exact(j, count));
      P y = f.real_bias ? fma(t, scale(j, count), floats(f.real_bias, j, count))
                        : t * scale(j, count);
      if (f.activate == activation::relu) y = where(y < 0.0, P(0.0f), y);
      count < P::size ? y.store_partial(out + j, count) : y.store(out + j);
    }
  } else {
    const std::int32_t lowest =
        f.activate == activation::relu ? std::max(f.codes.low, f.zero) : f.codes.low;
    const P low(static_cast<float>(lowest - f.zero));
    const P high(static_cast<float>(f.codes.high - f.zero));
    for (index_t j = 0; j < n; j += 4 * P::size) {
      P y[4];
      for (index_t v = 0; v < 4; ++v) {
        const index_t at = j + v * P::size, count = std::clamp<index_t>(n - at, 0, P::size);
        y[v] = 0.0f;
        if (count > 0)
          y[v] = less_of(greater_of(to_float(exact(at, count)) * scale(at, count), low), high);
      }
      if (n - j >= 4 * P::size) {
        simd::store_codes(y, f.zero, out + j);
      } else {
        Out some[static_cast<std::size_t>(4 * P::size)];
        simd::store_codes(y, f.zero, some);
        std::copy_n(some, n - j, out + j);
      }
    }
  }
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
