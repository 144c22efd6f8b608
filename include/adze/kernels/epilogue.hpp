#pragma once
// SPDX-License-Identifier: MIT
// What a product does to its finished rows while they are hot in cache: bias, residual, activation.
// A pass of its own, not a part of the register tiles: tiles are then the same for every epilogue.
#include <limits>

#include <adze/fwd.hpp>
#include <adze/kernels/lanes.hpp>
#include <adze/simd/arch.hpp>

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
// One function for every case: what is missing costs the pass nothing beside its loads.
template <class T, class A>
[[gnu::noinline]] void finish_row(T* out, index_t n, const T* bias, T row_bias, const T* residual,
                                  activation activate) {
  using P = simd::pack<T, A>;
  const P shift(row_bias), zero(T(0));
  const P least(activate == activation::relu ? T(0) : -std::numeric_limits<T>::infinity());
  const auto finish = [&](auto lanes, index_t i) {
    P x = lanes.load(out + i) + ((bias ? lanes.load(bias + i) : zero) + shift);
    if (residual) x = x + lanes.load(residual + i);
    lanes.store(where(x < least, least, x), out + i);  // NaN is not below zero: it stays
  };
  index_t i = 0;
  for (; i + P::size <= n; i += P::size) finish(whole_lanes<T, A>{}, i);
  if (i < n) finish(first_lanes<T, A>{n - i}, i);
}

// Row `row`, columns [column, column + n) of the whole result; `out` is at that element.
template <class T, class A>
void apply(const epilogue<T>& e, T* out, index_t row, index_t column, index_t n) {
  if (e.empty()) return;
  finish_row<T, A>(out, n, e.bias ? e.bias + column : nullptr, e.row_bias ? e.row_bias[row] : T(0),
                   e.residual ? e.residual + (out - e.result) : nullptr, e.activate);
}

// The same for rows from `row` on, `step` apart.
template <class T, class A>
void apply_rows(const epilogue<T>& e, T* out, index_t step, index_t rows, index_t row,
                index_t column, index_t n) {
  for (index_t r = 0; r < rows && !e.empty(); ++r)
    apply<T, A>(e, out + r * step, row + r, column, n);
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
