#pragma once
// SPDX-License-Identifier: MIT
// Eigen's view of our matrices: decompositions are its business, not ours. The only header that
// includes Eigen (3.3 or later); nothing light includes this one.
#include <type_traits>

// g++ 12 warns about its own AVX-512 intrinsics where Eigen uses them; each compiler is told not to
// mind the names of warnings that only the other one has.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <Eigen/Dense>
#pragma GCC diagnostic pop

#include <adze/core/view.hpp>

namespace adze::kernels {

// Row-major, with any strides; const elements give a map that cannot be written.
template <class T>
using eigen_matrix =
    Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using eigen_map =
    Eigen::Map<std::conditional_t<std::is_const_v<T>, const eigen_matrix<T>, eigen_matrix<T>>,
               Eigen::Unaligned, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;

// m as an Eigen expression on the same memory.
template <class T> eigen_map<T> as_eigen(matrix<T> m) {
  return {m.data, m.rows, m.cols, {m.row_stride, m.col_stride}};
}

// The way back: an Eigen matrix or map, in either order, as a matrix on the same memory.
template <class M> auto from_eigen(M& m) {
  using T = std::remove_reference_t<decltype(*m.data())>;
  const index_t outer = m.outerStride(), inner = m.innerStride();
  return M::IsRowMajor ? matrix<T>{m.data(), m.rows(), m.cols(), outer, inner}
                       : matrix<T>{m.data(), m.rows(), m.cols(), inner, outer};
}

}  // namespace adze::kernels
