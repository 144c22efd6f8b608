// SPDX-License-Identifier: MIT
// Trains once in each translation unit. Both must learn, and agree but for rounding. Prints every
// bit: run.sh links the two in both orders and compares, so code of one that the linker gave to the
// other shows.
#include <cmath>
#include <cstdio>

#include "outcome.hpp"

outcome train_baseline();
outcome train_wide();

int main() {
  const outcome a = train_baseline();
#if defined(__x86_64__)
  const bool wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  const bool wide = true;
#endif
  const outcome b = wide ? train_wide() : a;
  std::printf("baseline %a %a\nwide     %a %a\n", a.first, a.last, b.first, b.last);
  const bool learns = a.last < 0.9 * a.first && b.last < 0.9 * b.first;
  const bool agrees = std::abs(a.last - b.last) <= 1e-4 * std::abs(a.last);
  if (!learns) std::puts("the loss does not fall");
  if (!agrees) std::puts("the two translation units differ by more than rounding");
  return learns && agrees ? 0 : 1;
}
