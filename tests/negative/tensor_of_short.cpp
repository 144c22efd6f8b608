// expect: constraints not satisfied
// SPDX-License-Identifier: MIT
#include <adze/tensor/typed.hpp>

auto typed(const adze::tensor& x) { return x.as<short>(); }
