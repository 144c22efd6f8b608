#pragma once
// SPDX-License-Identifier: MIT
// Compiled once for all test files. Tests still include what they use.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#if __has_include(<adze/adze.hpp>)
#  include <adze/adze.hpp>
#endif
