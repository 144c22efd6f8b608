#pragma once
// SPDX-License-Identifier: MIT
// The dynamically quantized linear layer: floats in, floats out, integers between. The range of the
// inputs is found in each call, for all of them or for each row.
#include <cstdint>

#include <adze/kernels/gemm_int8.hpp>
#include <adze/kernels/gemm_pack.hpp>
#include <adze/kernels/quantize.hpp>

namespace adze::kernels {

struct dynamic_linear_options {
  const float* bias = nullptr;
  activation activate = activation::none;
  bool per_row = false;  // a range for each row of x, not one for all: less error, a little slower
};

inline namespace ADZE_ISA {

// y = activate(dequantize(quantize(x) w) + bias): x m x k with contiguous rows; w k x n, packed for
// u8 or u7 codes, column j meaning w(k, j) * scales[j]; y m x n with contiguous rows. The codes of
// x are those of dynamic_affine. value_error: w is packed for other codes; shape_error: sizes.
template <class A = simd::native>
void dynamic_linear(matrix<const float> x, const integer_weights<A>& w, const float* scales,
                    matrix<float> y, const dynamic_linear_options& o = {}) {
  if (w.left() != left_codes::u8 && w.left() != left_codes::u7)
    raise<value_error>("dynamic_linear: the weights are packed for signed codes; pack them for u8");
  const index_t parts = o.per_row ? x.rows : 1;
  const index_t code_bytes = (x.rows * x.cols + 63) / 64 * 64;
  auto* const codes =
      scratch<std::uint8_t, scratch_use::codes>(code_bytes + parts * index_t(sizeof(affine)));
  auto* const sides = reinterpret_cast<affine*>(codes + code_bytes);
  const code_range range = w.left() == left_codes::u7 ? codes_u7 : codes_u8;
  const index_t rows = std::max<index_t>(codes_chunk / std::max<index_t>(x.cols, 1), 1);
  const auto row = [&](index_t i) { return x.data + i * x.row_stride; };
  if (o.per_row) {
    parallel_for(x.rows, rows, [&](index_t i0, index_t i1) {
      for (index_t i = i0; i < i1; ++i) {
        sides[i] = dynamic_affine(extent_of<A>(row(i), x.cols), range);
        quantize_row<std::uint8_t, A>(row(i), codes + i * x.cols, x.cols, sides[i], range);
      }
    });
  } else {
    extent all;  // holds 0, as dynamic_affine wants
    if (x.row_stride == x.cols) {
      all = extent_of_all<A>(x.data, x.rows * x.cols);
    } else {
      for (index_t i = 0; i < x.rows; ++i) {
        const extent one = extent_of<A>(row(i), x.cols);
        all = {std::min(all.low, one.low), std::max(all.high, one.high)};
      }
    }
    *sides = dynamic_affine(all, range);
    quantize<std::uint8_t, A>(x, dense_matrix(codes, x.rows, x.cols), {sides, false}, range);
  }
  gemm_int8<std::uint8_t, float, A>(dense_matrix<const std::uint8_t>(codes, x.rows, x.cols), w, y,
                                    {.left = {sides, o.per_row},
                                     .column_scales = scales,
                                     .real_bias = o.bias,
                                     .activate = o.activate});
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
