#pragma once
// SPDX-License-Identifier: MIT
// The same small training, compiled by two translation units for different instruction sets.
#include <adze/adze.hpp>

#include "outcome.hpp"

namespace {  // each translation unit has its own, whatever the linker keeps of the library

outcome train() { return {2, 1}; }

}  // namespace
