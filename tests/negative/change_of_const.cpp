// expect: no matching function for call to
// SPDX-License-Identifier: MIT
#include <adze/ops/fwd.hpp>

void change(const adze::tensor& x) { adze::add_(x, 1.0); }
