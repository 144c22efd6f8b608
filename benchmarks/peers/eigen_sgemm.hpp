#pragma once
// SPDX-License-Identifier: MIT
// Eigen's matrix product behind a C interface. scripts/bench_peers.sh builds it with each compiler
// it finds, as a library of its own, because the speed of Eigen's code depends on the compiler.
#include <cstdint>

#include <Eigen/Core>

extern "C" const char* adze_eigen_version() {
#define ADZE_TEXT(x) ADZE_TEXT_OF(x)
#define ADZE_TEXT_OF(x) #x
  return ADZE_TEXT(EIGEN_WORLD_VERSION) "." ADZE_TEXT(EIGEN_MAJOR_VERSION) "." ADZE_TEXT(
      EIGEN_MINOR_VERSION) ", compiler " __VERSION__;
}

extern "C" void adze_eigen_sgemm(int ta, int tb, std::int64_t m, std::int64_t n, std::int64_t k,
                                 const float* a, const float* b, float* c) {
  using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Map<const matrix> left(a, ta ? k : m, ta ? m : k), right(b, tb ? n : k, tb ? k : n);
  Eigen::Map<matrix> out(c, m, n);
  if (ta && tb) {
    out.noalias() = left.transpose() * right.transpose();
  } else if (ta) {
    out.noalias() = left.transpose() * right;
  } else if (tb) {
    out.noalias() = left * right.transpose();
  } else {
    out.noalias() = left * right;
  }
}
