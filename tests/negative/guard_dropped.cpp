// expect: nodiscard
// SPDX-License-Identifier: MIT
#include <adze/autograd/grad_mode.hpp>

#pragma GCC diagnostic error "-Wunused-result"
#pragma GCC diagnostic error "-Wunused-value"

void evaluate() { adze::no_grad(); }
