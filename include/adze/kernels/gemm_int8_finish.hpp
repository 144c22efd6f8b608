#pragma once
// SPDX-License-Identifier: MIT
// What an integer product does to its sums while they are hot in cache: zero points, bias, then
// sums, floats or codes. All integers are modulo 2^32; floats are computed in the order stated.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <adze/kernels/epilogue.hpp>
#include <adze/kernels/quantize.hpp>
#include <adze/simd/dot.hpp>

namespace adze::kernels {

// t(i, j) = sum over k of (a(i, k) - left(i).zero) b(k, j) + bias[j]; scale(i, j) =
// left(i).scale * column_scales[j]; then, for results of
//   s32     t
//   f32     activate(fma(t, scale, real_bias[j]))
//   codes   clamp(round((t * scale) * inverse) + zero, low, high), low being at least zero after a
//           relu: with inverse = 1 / the scale of the codes this is dequantize, then quantize
struct integer_finish {
  row_codes left{};
  const std::int32_t* bias = nullptr;
  const float* column_scales = nullptr;  // null: ones
  const float* real_bias = nullptr;
  activation activate = activation::none;
  float inverse = 1;
  std::int32_t zero = 0;
  code_range codes{};
};

inline namespace ADZE_ISA {

// Columns whose sums and terms stay in the L1 cache: whole panels.
inline constexpr index_t integer_block_columns = 512;

struct column_run {
  index_t first = 0, count = 0;
};

// What finishing needs of the columns: t = sum + offset, scale and real bias for a left side that
// is the same for all rows; else without the row's scale and zero point.
struct column_terms {
  alignas(64) std::int32_t offset[integer_block_columns];
  alignas(64) float scale[integer_block_columns];
  alignas(64) float bias[integer_block_columns];

  // From columns of the product; where there are fewer than `places`, zeros.
  [[gnu::noinline]] void prepare(const integer_finish& f, const std::int32_t* column_sums,
                                 affine left, column_run columns, index_t places) {
    const index_t first = columns.first, n = columns.count;
    const auto zero = static_cast<std::uint32_t>(left.zero);
    for (index_t j = 0; j < n; ++j)
      offset[j] =
          static_cast<std::int32_t>(0 - zero * static_cast<std::uint32_t>(column_sums[first + j]));
    for (index_t j = 0; f.bias && j < n; ++j)
      offset[j] = static_cast<std::int32_t>(static_cast<std::uint32_t>(offset[j]) +
                                            static_cast<std::uint32_t>(f.bias[first + j]));
    std::fill_n(scale, n, left.scale);
    for (index_t j = 0; f.column_scales && j < n; ++j) scale[j] *= f.column_scales[first + j];
    fill_zeros(bias, n);
    if (f.real_bias) std::copy_n(f.real_bias + first, n, bias);
    std::fill(offset + n, offset + places, 0);
    std::fill(scale + n, scale + places, 0.0f);
    std::fill(bias + n, bias + places, 0.0f);
  }
};

inline float least_result(const integer_finish& f) {
  return f.activate == activation::relu ? 0.0f : -std::numeric_limits<float>::infinity();
}

// The range of codes, in steps from their zero point.
inline simd::code_steps steps_of(const integer_finish& f) {
  const bool relu = f.activate == activation::relu;
  const std::int32_t low = relu ? std::max(f.codes.low, f.zero) : f.codes.low;
  return {low - f.zero, f.codes.high - f.zero, f.zero};
}
// The real number behind a sum, in steps of codes, inside of their range.
template <class P> struct code_rounding {
  P inverse, low, high;

  explicit code_rounding(const integer_finish& f)
      : inverse(f.inverse), low(static_cast<float>(steps_of(f).low)),
        high(static_cast<float>(steps_of(f).high)) {}
  template <class I> [[gnu::always_inline]] P operator()(I t, P scale) const {
    return less_of(greater_of(to_float(t) * scale * inverse, low), high);
  }
};

// Some rows of `cols` columns: sums of whole panels with their offsets,
// [row][integer_block_columns], and terms of the same columns from place `first` on. Rows have
// sides of their own unless `left` is null: then column_sums are those of the first column.
struct sums_block {
  const std::int32_t* sums = nullptr;
  index_t rows = 0, first = 0, cols = 0;
  const affine* left = nullptr;
  const std::int32_t* column_sums = nullptr;
};

template <class I, class P> struct finished_terms {
  I t;
  P scale;
};
// t and scale of one register of columns.
template <class I, class P>
finished_terms<I, P> exact_terms(const sums_block& x, const column_terms& terms, index_t row,
                                 index_t j) {
  const I t = I::load(x.sums + row * integer_block_columns + j);
  const P scale = P::load(terms.scale + x.first + j);
  if (x.left == nullptr) return {t, scale};
  return {t - I::all(x.left[row].zero) * I::load(x.column_sums + j), P(x.left[row].scale) * scale};
}

template <class Out, class A>
requires(!simd::code<Out>)
    [[gnu::noinline]] void finish_rows(const integer_finish& f, const sums_block& x,
                                       const column_terms& terms, Out* out, index_t out_stride) {
  using I = simd::integers<A>;
  using P = simd::pack<float, A>;
  const P least(least_result(f));
  for (index_t r = 0; r < x.rows; ++r, out += out_stride) {
    const auto each = [&](index_t j, auto store) __attribute__((always_inline)) {
      const auto [t, scale] = exact_terms<I, P>(x, terms, r, j);
      if constexpr (std::is_same_v<Out, float>)
        store(greater_of(least, fma(to_float(t), scale, P::load(terms.bias + x.first + j))));
      else
        store(t);
    };
    index_t j = 0;
    for (; j + I::size <= x.cols; j += I::size) each(j, [&](auto y) { y.store(out + j); });
    if (j < x.cols) each(j, [&](auto y) { y.store_partial(out + j, x.cols - j); });
  }
}

// The same to codes, of which four packs make one.
template <class Out, class A>
requires(simd::code<Out>)
    [[gnu::noinline]] void finish_rows(const integer_finish& f, sums_block x,
                                       const column_terms& terms, Out* out, index_t out_stride) {
  using I = simd::integers<A>;
  using P = simd::pack<float, A>;
  const code_rounding<P> rounding(f);
  constexpr index_t block = 4 * P::size;
  for (index_t r = 0; r < x.rows; ++r, out += out_stride) {
    const auto real = [&](index_t j) {
      const auto [t, scale] = exact_terms<I, P>(x, terms, r, j);
      return rounding(t, scale);
    };
    index_t j = 0;
    for (; j + block <= x.cols; j += block) {
      const P y[4] = {real(j), real(j + P::size), real(j + 2 * P::size), real(j + 3 * P::size)};
      simd::store_codes(y, f.zero, out + j);
    }
    if (j == x.cols) continue;
    P y[4];
    for (index_t v = 0; v < 4; ++v)
      y[v] = j + v * P::size < x.cols ? real(j + v * P::size) : P(0.0f);
    Out some[static_cast<std::size_t>(block)];
    simd::store_codes(y, f.zero, some);
    std::copy_n(some, x.cols - j, out + j);
  }
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
