#pragma once
// SPDX-License-Identifier: MIT
// Layers with 4-bit weights that have a scale for each group of the depth, for few rows: inputs are
// quantized to s8 in each call, so that a weight is never widened to a float. Sums of a group are
// exact; the groups' floats are added in their order, whatever the number of threads.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include <adze/core/error.hpp>
#include <adze/core/parallel.hpp>
#include <adze/core/view.hpp>
#include <adze/kernels/epilogue.hpp>
#include <adze/kernels/gemm_pack.hpp>
#include <adze/kernels/quantize.hpp>
#include <adze/simd/dot.hpp>
#include <adze/simd/pages.hpp>

namespace adze::kernels {

struct int4_linear_options {
  const float* bias = nullptr;
  activation activate = activation::none;
};

inline namespace ADZE_ISA {

// Codes -8..7 of w[k, n], each meaning code * scales[k / group][n], as one stream of panels: for
// each group the scales of the panel's columns, then bytes of which the low half is a step of four
// codes and the high half is the next one. Codes are stored with 8 added.
template <class A = simd::native> class int4_weights {
 public:
  using lanes = simd::integers<simd::integer_tile_tag<A>>;
  static constexpr index_t panel = 2 * lanes::size;

  int4_weights() = default;
  // value_error: the group is not a positive multiple of 8, or a code is outside -8..7.
  int4_weights(matrix<const std::int8_t> codes, const float* scales, index_t group)
      : rows_(codes.rows), cols_(codes.cols), group_(group) {
    if (group < 8 || group % 8 != 0)
      raise<value_error>("int4_weights: a group is a positive multiple of 8; received ", group);
    for (index_t k = 0; k < rows_; ++k)
      for (index_t j = 0; j < cols_; ++j)
        if (codes(k, j) < -8 || codes(k, j) > 7)
          raise<value_error>("int4_weights: codes are -8 to 7; received ", int(codes(k, j)),
                             " in row ", k);
    stream_ = simd::allocate_pages(static_cast<std::size_t>(panels() * panel_bytes()));
    for (index_t p = 0; p < panels(); ++p)
      for (index_t g = 0; g < groups(); ++g) fill(codes, scales, p, g);
  }

  index_t rows() const { return rows_; }
  index_t cols() const { return cols_; }
  index_t group() const { return group_; }
  index_t groups() const { return (rows_ + group_ - 1) / group_; }
  index_t panels() const { return (cols_ + panel - 1) / panel; }
  index_t panel_bytes() const { return groups() * (1 + group_ / 8) * panel * 4; }
  const std::byte* panel_data(index_t p) const { return stream_.get() + p * panel_bytes(); }

 private:
  void fill(matrix<const std::int8_t> codes, const float* scales, index_t p, index_t g) {
    std::byte* const to = stream_.get() + p * panel_bytes() + g * (1 + group_ / 8) * panel * 4;
    const auto code = [&](index_t k, index_t j) {
      return static_cast<unsigned>(k < rows_ && j < cols_ ? codes(k, j) + 8 : 8);
    };
    for (index_t i = 0; i < panel; ++i) {
      const index_t j = p * panel + i;
      const float scale = j < cols_ ? scales[g * cols_ + j] : 0.0f;
      std::memcpy(to + i * 4, &scale, 4);
      for (index_t k = 0; k < group_; k += 8)
        for (index_t q = 0; q < 4; ++q)
          to[((1 + k / 8) * panel + i) * 4 + q] = static_cast<std::byte>(
              code(g * group_ + k + q, j) | code(g * group_ + k + 4 + q, j) << 4);
    }
  }

  index_t rows_ = 0, cols_ = 0, group_ = 8;
  simd::page_memory stream_{};
};

// Rows of inputs as codes, padded to whole groups; what the 8 in each weight adds up to, with the
// sign turned; and the scale of each row.
struct int4_inputs {
  const std::int8_t* codes = nullptr;
  index_t stride = 0;
  const std::int32_t* starts = nullptr;  // [row][group]
  const affine* sides = nullptr;
};

template <class A, int rows>
[[gnu::noinline]] void int4_tile(const int4_weights<A>& w, index_t p, const int4_inputs& x,
                                 float* out) {
  using I = typename int4_weights<A>::lanes;
  using P = decltype(to_float(I()));
  constexpr index_t size = I::size, panel = int4_weights<A>::panel;
  const std::byte* b = w.panel_data(p);
  const index_t groups = w.groups(), steps = w.group() / 8, stride = x.stride;
  registers<registers<P, 2>, rows> y;
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) y[r][0] = y[r][1] = P(0.0f);
  const std::int8_t* a = x.codes;
  for (index_t g = 0; g < groups; ++g) {
    const P scale[2] = {P::load(reinterpret_cast<const float*>(b)),
                        P::load(reinterpret_cast<const float*>(b) + size)};
    b += panel * 4;
    // Low and high halves have sums of their own: a product waits for the one before.
    registers<registers<registers<I, 2>, 2>, rows> sum;
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      sum[r][0][0] = sum[r][1][0] = I::all(x.starts[r * groups + g]);
      sum[r][0][1] = sum[r][1][1] = I::all(0);
    }
    for (index_t k = 0; k < steps; ++k, b += panel * 4, a += 8) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const I both = I::load(b + v * size * 4);
        const I low = low_nibbles(both), high = high_nibbles(both);
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          sum[r][v][0] = dot_bytes(sum[r][v][0], low, I::repeat(a + r * stride));
          sum[r][v][1] = dot_bytes(sum[r][v][1], high, I::repeat(a + r * stride + 4));
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v)
        y[r][v] = fma(to_float(sum[r][v][0] + sum[r][v][1]), scale[v], y[r][v]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) y[r][v].store(out + r * panel + v * size);
}

// y = activate(x w + bias): x m x k with contiguous rows, each quantized to -127..127 by its
// largest size; y m x n with contiguous rows. Weights are read once for every two rows.
// shape_error: sizes differ.
template <class A = simd::native>
void int4_linear(matrix<const float> x, const int4_weights<A>& w, matrix<float> y,
                 const int4_linear_options& o = {}) {
  if (x.cols != w.rows() || y.rows != x.rows || y.cols != w.cols())
    raise<shape_error>("int4_linear: sizes differ; x [", x.rows, ",", x.cols, "], w [", w.rows(),
                       ",", w.cols(), "], y [", y.rows, ",", y.cols, "]");
  const index_t groups = w.groups(), depth = (groups * w.group() + 63) / 64 * 64;
  constexpr index_t panel = int4_weights<A>::panel;
  const index_t row_bytes = depth + groups * 4 + index_t(sizeof(affine));
  auto* const codes = scratch<std::int8_t, scratch_use::codes>(x.rows * row_bytes);
  auto* const starts = reinterpret_cast<std::int32_t*>(codes + x.rows * depth);
  auto* const sides = reinterpret_cast<affine*>(starts + x.rows * groups);
  for (index_t i = 0; i < x.rows; ++i) {
    const float* row = x.data + i * x.row_stride;
    std::int8_t* to = codes + i * depth;
    sides[i] = symmetric_affine(extent_of<A>(row, x.cols), 127.0f);
    quantize_row<std::int8_t, A>(row, to, x.cols, sides[i], {-127, 127});
    std::fill(to + x.cols, to + depth, std::int8_t(0));
    for (index_t g = 0; g < groups; ++g) {
      std::int32_t sum = 0;
      for (index_t k = 0; k < w.group(); ++k) sum += to[g * w.group() + k];
      starts[i * groups + g] = -8 * sum;
    }
  }
  const float least =
      o.activate == activation::relu ? 0.0f : -std::numeric_limits<float>::infinity();
  const auto run = [&](index_t p0, index_t p1) {
    for (index_t p = p0; p < p1; ++p) {
      const index_t first = p * panel, n = std::min(panel, w.cols() - first);
      for (index_t i = 0; i < x.rows; i += 2) {
        alignas(64) float part[static_cast<std::size_t>(2 * panel)];
        const index_t rows = std::min<index_t>(2, x.rows - i);
        const int4_inputs in{codes + i * depth, depth, starts + i * groups, sides + i};
        (rows == 1 ? int4_tile<A, 1> : int4_tile<A, 2>)(w, p, in, part);
        for (index_t r = 0; r < rows; ++r) {
          float* to = y.data + (i + r) * y.row_stride + first;
          for (index_t j = 0; j < n; ++j) {
            const float v = part[r * panel + j] * in.sides[r].scale;
            const float shifted = o.bias ? v + o.bias[first + j] : v;
            to[j] = shifted < least ? least : shifted;
          }
        }
      }
    }
  };
  const index_t work = x.rows * x.cols * w.cols(), task = index_t(1) << 21;
  if (work < 2 * task) return run(0, w.panels());
  const index_t parts = std::min(w.panels(), work / task);
  parallel_for(w.panels(), (w.panels() + parts - 1) / parts, run);
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
