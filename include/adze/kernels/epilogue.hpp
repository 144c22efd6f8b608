#pragma once
// SPDX-License-Identifier: MIT
// What a product does to its finished rows while they are hot in cache: bias, residual, activation.
// A pass of its own, not a part of the register tiles: tiles are then the same for every epilogue.
// Only stems (conv_stem.hpp), whose rows are a few floats, finish in registers.
#include <adze/fwd.hpp>
#include <adze/simd/arch.hpp>
#include <adze/simd/pack.hpp>

namespace adze::kernels {

enum class activation : std::uint8_t { none, relu };

// out = activate(out + (bias[column] + row_bias[row]) + residual); null adds nothing. The residual
// has a value for each output, in memory of the same layout, but not in the same: results that
// begin at `result` have theirs from `residual` on.
template <class T> struct epilogue {
  const T* bias = nullptr;
  const T* row_bias = nullptr;
  activation activate = activation::none;
  const T* residual = nullptr;
  const T* result = nullptr;

  bool empty() const { return !bias && !row_bias && !residual && activate == activation::none; }
};

inline namespace ADZE_ISA {

// NaN is not below zero: it stays.
template <class P> P rectified(P x) {
  const P zero(0);
  return where(x < zero, zero, x);
}

// One row of n contiguous outputs; `bias` and `residual` are at the row's first column already.
template <class T, class A, bool adds, bool relu>
[[gnu::noinline]] void finish_row(T* out, index_t n, const T* bias, T row_bias, const T* residual) {
  using P = simd::pack<T, A>;
  const P shift(row_bias), zero(T(0));
  const auto finish = [&](P x, P b, auto more) {
    x = x + (b + shift);
    if constexpr (adds) x = x + more();
    if constexpr (relu) x = rectified(x);
    return x;
  };
  index_t i = 0;
  for (; i + P::size <= n; i += P::size)
    finish(P::load(out + i), bias ? P::load(bias + i) : zero, [&] {
      return P::load(residual + i);
    }).store(out + i);
  if (const index_t rest = n - i; rest > 0)
    finish(P::load_partial(out + i, rest), bias ? P::load_partial(bias + i, rest) : zero, [&] {
      return P::load_partial(residual + i, rest);
    }).store_partial(out + i, rest);
}

// Row `row`, columns [column, column + n) of the whole result; `out` is at that element.
template <class T, class A>
void apply(const epilogue<T>& e, T* out, index_t row, index_t column, index_t n) {
  const T* bias = e.bias ? e.bias + column : nullptr;
  const T row_bias = e.row_bias ? e.row_bias[row] : T(0);
  const bool relu = e.activate == activation::relu;
  if (e.residual) {
    const T* residual = e.residual + (out - e.result);
    return relu ? finish_row<T, A, true, true>(out, n, bias, row_bias, residual)
                : finish_row<T, A, true, false>(out, n, bias, row_bias, residual);
  }
  if (relu) return finish_row<T, A, false, true>(out, n, bias, row_bias, nullptr);
  if (bias || e.row_bias) finish_row<T, A, false, false>(out, n, bias, row_bias, nullptr);
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
