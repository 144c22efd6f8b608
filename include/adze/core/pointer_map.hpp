#pragma once
// SPDX-License-Identifier: MIT
// The hash map from addresses to numbers, mostly places in a vector. One type for all its uses:
// every further one would be compiled by each program.
#include <unordered_map>

#include <adze/fwd.hpp>

namespace adze {

using pointer_map = std::unordered_map<const void*, index_t>;

}  // namespace adze
