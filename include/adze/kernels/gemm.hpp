#pragma once
// SPDX-License-Identifier: MIT
// Matrix products of float and double: one call that chooses between tiles on the operand as it
// stands, dot products, sweeps and packed blocks. The choice and every split depend on sizes and
// strides alone, and no split changes the order of a sum: the same bits for any thread count.
#include <algorithm>
#include <span>
#include <type_traits>

#include <adze/core/parallel.hpp>
#include <adze/core/view.hpp>
#include <adze/kernels/epilogue.hpp>
#include <adze/kernels/gemm_panels.hpp>
#include <adze/kernels/gemm_small.hpp>
#include <adze/kernels/gemm_sweep.hpp>

namespace adze::kernels {

// c = activate(alpha a b + beta c + (bias[column] + row_bias[row]) + residual). beta = 0 never
// reads c, alpha = 0 never reads a and b. The residual has the sizes and strides of c in memory of
// its own.
template <class T> struct gemm_options {
  T alpha = T(1), beta = T(0);
  const T* bias = nullptr;
  const T* row_bias = nullptr;
  activation activate = activation::none;
  const T* residual = nullptr;
};

inline namespace ADZE_ISA {

// A right operand of this many bytes is read where it stands: packing would cost more.
inline constexpr index_t small_right = index_t(1) << 16;

// A product whose right operand is one block as it stands.
template <class T, class A>
strips<T> direct_strips(const matrix<const T>& a, const matrix<const T>& b, const matrix<T>& c,
                        T alpha, bool accumulate, const epilogue<T>& finish) {
  return {.rows = c.rows,
          .cols = c.cols,
          .depth = b.rows,
          .a = a.data,
          .a_row_step = a.row_stride,
          .a_col_step = a.col_stride,
          .b = b.data,
          .b_step = b.row_stride,
          .b_panel = tile_shape<T, A>::panel,
          .c = c.data,
          .c_row_step = c.row_stride,
          .alpha = alpha,
          .accumulate = accumulate,
          .finish = finish.empty() ? nullptr : &finish};
}

template <class T, class A>
void finish_rows(const epilogue<T>& e, matrix<T> c, index_t first, index_t last) {
  apply_rows<T, A>(e, c.data + first, c.row_stride, c.rows, 0, first, last - first);
}

// c = beta c, without reading c when beta = 0.
template <class T> [[gnu::noinline]] void scale_rows(matrix<T> c, T beta) {
  for (index_t i = 0; i < c.rows; ++i) {
    T* row = c.data + i * c.row_stride;
    if (beta == T(0)) {
      fill_zeros(row, c.cols);
    } else {
      for (index_t j = 0; j < c.cols; ++j) row[j] *= beta;
    }
  }
}

// Few columns: dot products where the rows of a are contiguous, else tiles along its columns.
template <class T, class A>
void thin_gemm(matrix<const T> a, matrix<const T> b, matrix<T> c, T alpha, bool accumulate,
               const epilogue<T>& finish, index_t work) {
  const bool dots = a.col_stride == 1;
  if (dots && b.row_stride != 1) {  // the columns of b, one after the other
    T* columns = scratch<T, scratch_use::panels>(b.rows * b.cols);
    for (index_t k = 0; k < b.rows; ++k)
      for (index_t j = 0; j < b.cols; ++j) columns[j * b.rows + k] = b(k, j);
    b = {columns, b.rows, b.cols, 1, b.rows};
  }
  const index_t block = dots ? 48 : 256;  // rows that stay in the L2 cache
  split_work((c.rows + block - 1) / block, work, [&](index_t i0, index_t i1) {
    for (index_t i = i0 * block; i < std::min(i1 * block, c.rows); i += block) {
      const index_t rows = std::min(block, c.rows - i);
      const matrix<const T> left{a.data + i * a.row_stride, rows, a.cols, a.row_stride,
                                 a.col_stride};
      const matrix<T> out{c.data + i * c.row_stride, rows, c.cols, c.row_stride, 1};
      if (dots) {
        dot_product<T, A>(left, b, out, alpha, accumulate, 0, c.cols);
      } else {
        thin_product<T, simd::tile_tag<A>>(left, b, out, alpha, accumulate);
      }
      apply_rows<T, A>(finish, out.data, c.row_stride, rows, i, 0, c.cols);
    }
  });
}

// A small product, the right operand as it stands; a tile alone is entered without strips.
template <class T, class A>
void small_product(const matrix<const T>& a, const matrix<const T>& b, const matrix<T>& c, T alpha,
                   bool accumulate, const epilogue<T>& finish) {
  using tiles = plain_tiles<T, A>;
  if (c.cols <= simd::pack<T, A>::size && c.rows <= tiles::most_single && finish.empty()) {
    static constexpr auto table = tiles::table();
    return table[0][static_cast<std::size_t>(c.rows - 1) / tiles::step](
        a.data, a.row_stride, a.col_stride, b.data, b.row_stride,
        {b.rows, c.data, c.row_stride, c.rows, c.cols, 0, alpha, accumulate, alpha != T(1)});
  }
  plain_rows<T, A>(direct_strips<T, A>(a, b, c, alpha, accumulate, finish), 0, c.rows);
}

// Columns so few that dot products along the rows of a beat tiles, which would fill few lanes.
template <class T, class A>
constexpr bool prefers_dots(index_t cols, index_t depth, bool adjacent) {
  return plain_tiles<T, simd::tile_tag<A>>::exist && adjacent
             ? cols <= 10 && depth >= (cols <= 5 ? 64 : 129)
             : cols <= thin_columns && depth >= 64;
}

// gemm but for the small products that it begins itself.
template <class T, class A>
[[gnu::noinline]] void any_gemm(matrix<const T> a, matrix<const T> b, matrix<T> c,
                                gemm_options<T> o) {
  if (c.rows == 0 || c.cols == 0) return;
  if (c.col_stride != 1 || (c.cols == 1 && c.row_stride == 1 && c.rows > 1)) {
    std::swap(o.bias, o.row_bias);  // the same product, seen transposed
    std::swap(a, b);
    a = a.transposed(), b = b.transposed(), c = c.transposed();
    c.col_stride = 1;
  }
  const epilogue<T> finish{o.bias, o.row_bias, o.activate, o.residual, c.data};
  const index_t depth = o.alpha == T(0) ? 0 : a.cols, work = c.rows * c.cols * depth;
  if (o.beta != T(0) ? o.beta != T(1) : depth == 0) scale_rows(c, o.beta);
  if (depth == 0) return finish_rows<T, A>(finish, c, 0, c.cols);
  const bool accumulate = o.beta != T(0);
  const index_t right_bytes = depth * c.cols * index_t(sizeof(T));
  using tiles = simd::tile_tag<A>;
  const bool thin = a.col_stride == 1
                        ? c.rows > 1 && prefers_dots<T, A>(c.cols, depth, b.col_stride == 1)
                        : c.cols <= thin_columns && a.row_stride == 1 && c.rows >= 32;
  if (b.col_stride == 1 && c.rows > 1 && !thin && right_bytes <= small_right &&
      work < 2 * parallel_work && depth <= tile_shape<T, tiles>::depth_block)
    return run_strips<T, tiles>(direct_strips<T, tiles>(a, b, c, o.alpha, accumulate, finish), 0,
                                strip_count<T, tiles>(c.rows));

  const bool rows_adjacent = b.col_stride == 1;
  // Rows for which a sweep beats tiles, more where rows of b share a set of the cache, and tiles on
  // b as it stands beat packed panels.
  constexpr index_t page = 4096 / index_t(sizeof(T)), few = tiles::bytes == 64 ? 32 : 12;
  const index_t swept = tiles::bytes == 64 ? 2 : b.row_stride % page == 0 ? most_swept : 4;
  if constexpr (sizeof(T) == 4) {  // double, which checks gradients, has tiles alone
    const auto by_columns = [&](auto product) {
      split_work((c.cols + 63) / 64, work, [&](index_t j0, index_t j1) {
        const index_t first = j0 * 64, last = std::min(j1 * 64, c.cols);
        product(a, b, c, o.alpha, accumulate, first, last);
        finish_rows<T, A>(finish, c, first, last);
      });
    };
    if (b.col_stride != 1 && b.row_stride == 1 && a.col_stride == 1 &&
        c.rows <= (depth < 128 ? 4 : dot_shape<T, A>::most_rows))
      return by_columns(dot_product<T, A>);
    if (thin) return thin_gemm<T, A>(a, b, c, o.alpha, accumulate, finish, work);
    if (rows_adjacent && (c.rows == 1 || (c.rows <= swept && right_bytes > (index_t(1) << 20))))
      return by_columns(sweep_product<T, A>);
  }
  const bool direct = rows_adjacent && (c.rows <= few || right_bytes <= small_right ||
                                        is_narrow<T, tiles>(c.rows, c.cols));
  if (direct && c.rows <= few && c.cols >= 512)  // threads share columns: there are few strips
    return split_work((c.cols + 255) / 256, work, [&](index_t j0, index_t j1) {
      const index_t j = j0 * 256, n = std::min(j1 * 256, c.cols) - j;
      epilogue<T> part = finish;
      if (part.bias != nullptr) part.bias += j;
      strips<T> s{.alpha = o.alpha, .accumulate = accumulate};
      strip_product<T, tiles>(a, {b.data + j, b.rows, n, b.row_stride, 1},
                              {c.data + j, c.rows, n, c.row_stride, 1}, s, false,
                              part.empty() ? nullptr : &part);
    });
  strips<T> s{.alpha = o.alpha, .accumulate = accumulate};
  strip_product<T, tiles>(a, b, c, s, !direct, finish.empty() ? nullptr : &finish);
}

// Matrix product c = alpha a b + beta c, then bias, residual and activation. a is m x k and b is k
// x n with any strides (transposes are strides); c is m x n, rows or columns contiguous, and shares
// no memory with a and b. Sizes are the caller's promise. float and double.
template <class T, class A = simd::native>
void gemm(const matrix<const T>& a, const matrix<const T>& b,
          const std::type_identity_t<matrix<T>>& c,
          const std::type_identity_t<gemm_options<T>>& o = {}) {
  using tiles = plain_tiles<T, simd::tile_tag<A>>;
  if constexpr (tiles::exist) {
    // Small products take no longer than to find their way: they begin at once.
    const index_t depth = b.rows, right = depth * c.cols;
    if (a.col_stride == 1 && b.col_stride == 1 && c.col_stride == 1 && c.rows > 1 && c.cols > 1 &&
        depth > 0 && depth <= tile_shape<T, simd::tile_tag<A>>::depth_block &&
        right <= small_right / index_t(sizeof(T)) && right * c.rows < 2 * parallel_work &&
        !prefers_dots<T, A>(c.cols, depth, true) && o.alpha != T(0) &&
        (o.beta == T(0) || o.beta == T(1)))
      return small_product<T, simd::tile_tag<A>>(
          a, b, c, o.alpha, o.beta != T(0), {o.bias, o.row_bias, o.activate, o.residual, c.data});
  }
  // Copied by their parts: a matrix that is nowhere used as a whole never goes through memory.
  const auto copy = [](const auto& x) {
    return std::remove_cvref_t<decltype(x)>{x.data, x.rows, x.cols, x.row_stride, x.col_stride};
  };
  any_gemm<T, A>(copy(a), copy(b), copy(c),
                 {o.alpha, o.beta, o.bias, o.row_bias, o.activate, o.residual});
}

// One axis of a batch: its size and the steps of a, b and c along it; step 0 repeats a matrix.
struct batch_axis {
  index_t size = 1, a_step = 0, b_step = 0, c_step = 0;
};

// gemm for every index of the axes (the last one runs fastest). Small products run side by side,
// large ones one after the other on all threads. Biases are the same for each.
template <class T, class A = simd::native>
void gemm_batched(std::span<const batch_axis> axes, matrix<const T> a, matrix<const T> b,
                  std::type_identity_t<matrix<T>> c, std::type_identity_t<gemm_options<T>> o = {}) {
  index_t count = 1;
  for (const batch_axis& axis : axes) count *= axis.size;
  auto run = [&](index_t first, index_t last) {  // not const: both calls share one body
    for (index_t i = first; i < last; ++i) {
      auto left = a, right = b;
      auto out = c;
      index_t rest = i;
      for (std::size_t d = axes.size(); d-- > 0;) {
        const index_t at = rest % axes[d].size;
        rest /= axes[d].size;
        left.data += at * axes[d].a_step;
        right.data += at * axes[d].b_step;
        out.data += at * axes[d].c_step;
      }
      gemm<T, A>(left, right, out, o);
    }
  };
  const index_t work = a.rows * a.cols * b.cols;
  if (work >= 16 * parallel_work) return serial_for(count, count, run);
  split_work(count, work * count, run);
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
