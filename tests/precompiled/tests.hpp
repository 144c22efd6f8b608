// SPDX-License-Identifier: MIT
// Compiled once for all test files, as a file of its own (hence no guard; all below have theirs).
// Tests still include what they use.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#if __has_include(<adze/adze.hpp>)
#  include <adze/adze.hpp>
#endif
