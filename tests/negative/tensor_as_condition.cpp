// expect: deleted
// SPDX-License-Identifier: MIT
#include <adze/ops/fwd.hpp>

bool alike(const adze::tensor& a, const adze::tensor& b) {
  if (adze::all(a == b)) return true;
  return false;
}
