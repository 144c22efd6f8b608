#pragma once
// SPDX-License-Identifier: MIT
// Matrix products whose right operand, the weights of a layer, is packed once for many calls.
#include <adze/kernels/gemm.hpp>
#include <adze/simd/pages.hpp>

namespace adze::kernels::inline ADZE_ISA {

// b[k, n], with any strides, as the panels that the tiles read: blocks in the order in which
// strip_product comes to them. Missing columns of the last panel are zeros.
template <class T, class A = simd::native> class packed_right {
 public:
  packed_right() = default;
  explicit packed_right(matrix<const T> b) : rows_(b.rows), cols_(b.cols) {
    if (rows_ == 0 || cols_ == 0) return;
    memory_ = simd::allocate_pages(static_cast<std::size_t>(bytes()));
    T* out = reinterpret_cast<T*>(memory_.get());
    over_blocks<T, tiles>(
        rows_, cols_, block_depth<T, tiles>(rows_),
        [&](index_t j, index_t k, index_t cols, index_t depth) {
          pack_panels<T, tiles>({&b(k, j), depth, cols, b.row_stride, b.col_stride}, out);
          out += panel_count<T, tiles>(cols) * panel * depth;
        });
  }

  index_t rows() const { return rows_; }
  index_t cols() const { return cols_; }
  index_t bytes() const {
    return rows_ * panel_count<T, tiles>(cols_) * panel * index_t(sizeof(T));
  }
  const T* data() const { return reinterpret_cast<const T*>(memory_.get()); }

  using tiles = simd::tile_tag<A>;

 private:
  static constexpr index_t panel = tile_shape<T, tiles>::panel;
  index_t rows_ = 0, cols_ = 0;
  simd::page_memory memory_{};
};

// gemm with b packed before; c with contiguous rows. 1.1 to 1.5 times as fast up to 128 rows.
template <class T, class A>
void gemm(matrix<const T> a, const packed_right<T, A>& b, std::type_identity_t<matrix<T>> c,
          std::type_identity_t<gemm_options<T>> o = {}) {
  if (c.rows == 0 || c.cols == 0) return;
  using tiles = typename packed_right<T, A>::tiles;
  const epilogue<T> finish{o.bias, o.row_bias, o.activate, o.residual, c.data};
  const index_t depth = o.alpha == T(0) ? 0 : b.rows();
  if (o.beta != T(0) ? o.beta != T(1) : depth == 0) scale_rows(c, o.beta);
  if (depth == 0) return finish_rows<T, A>(finish, c, 0, c.cols);
  const strips<T> s{.alpha = o.alpha, .accumulate = o.beta != T(0)};
  strip_product<T, tiles>(a, {nullptr, b.rows(), b.cols(), 0, 0}, c, s, true,
                          finish.empty() ? nullptr : &finish, b.data());
}

}  // namespace adze::kernels::inline ADZE_ISA
