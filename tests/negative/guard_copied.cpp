// expect: deleted
// SPDX-License-Identifier: MIT
#include <adze/autograd/grad_mode.hpp>

void twice() {
  const adze::no_grad one;
  const adze::no_grad two = one;
}
