// SPDX-License-Identifier: MIT
// The generic suite leaves no op out.
#include <algorithm>

#include <doctest/doctest.h>

#include <adze/ops/list.hpp>

#include "suite.hpp"

namespace adze::suite {

namespace {
template <class... Op> std::vector<std::string> names_of(types<Op...>) {
  return {std::string(Op::name)...};
}
}  // namespace

TEST_CASE("suite: every op of the list has an entry, and every name is used once") {
  std::vector<std::string> names = names_of(op_list{});
  const std::vector<std::string> covered = registered_names();
  for (const std::string& name : names) {
    CAPTURE(name);
    CHECK(std::binary_search(covered.begin(), covered.end(), name));
  }
  for (const std::string& name : covered) {
    CAPTURE(name);
    CHECK(std::find(names.begin(), names.end(), name) != names.end());
  }
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}

}  // namespace adze::suite
