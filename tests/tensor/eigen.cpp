// SPDX-License-Identifier: MIT
// Eigen on tensors: maps with any strides both ways, and a decomposition through them.
#include <doctest/doctest.h>

#include <adze/tensor/create.hpp>
#include <adze/tensor/eigen.hpp>

namespace adze {

TEST_CASE("a tensor as an Eigen map, plain and strided, and back") {
  tensor_f64 x{{1, 2, 3}, {4, 5, 6}};
  const auto map = as_eigen(x);
  CHECK(map.rows() == 2);
  CHECK(map(1, 2) == 6.0);
  as_eigen(x)(0, 1) = 7.0;
  CHECK(x(0, 1) == 7.0);

  const tensor_f64 turned(alias(x, {3, 2}, {1, 3}));
  CHECK(as_eigen(turned)(1, 0) == 7.0);
  const tensor_f64 product = to_tensor(as_eigen(turned) * as_eigen(x));
  CHECK(product.shape() == shape{3, 3});
  CHECK(product(0, 2) == 1 * 3 + 4 * 6);

  const Eigen::MatrixXd column_major = as_eigen(x);
  const matrix<const double> m = kernels::from_eigen(column_major);
  CHECK(m.row_stride == 1);
  CHECK(m(1, 0) == 4.0);
  CHECK(to_tensor(column_major)(1, 0) == 4.0);
}

TEST_CASE("a singular value decomposition rebuilds the matrix") {
  generator g(3);
  const tensor_f64 x(randn({5, 3}, f64, g));
  const Eigen::JacobiSVD<Eigen::MatrixXd> svd(as_eigen(x),
                                              Eigen::ComputeThinU | Eigen::ComputeThinV);
  const tensor_f64 again =
      to_tensor(svd.matrixU() * svd.singularValues().asDiagonal() * svd.matrixV().transpose());
  CHECK((as_eigen(again) - as_eigen(x)).norm() < 1e-13);
}

TEST_CASE("only matrices have an Eigen form") {
  const auto refusal = [](tensor_f32 x) {
    try {
      static_cast<void>(as_eigen(x));
    } catch (const shape_error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(refusal({1, 2}) == "as_eigen: needs two axes; got f32[2]; reshape(x, {1, -1})");
  CHECK(refusal(tensor_f32(shape{4, 3, 3, 3})) ==
        "as_eigen: needs two axes; got f32[4,3,3,3]; flatten(x, 1)");
}

}  // namespace adze
