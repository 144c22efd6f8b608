// expect: nodiscard
// SPDX-License-Identifier: MIT
#include <adze/ops/fwd.hpp>

#pragma GCC diagnostic error "-Wunused-result"

void mask(const adze::tensor& w, const adze::tensor& kept) { adze::mul(w, kept); }
