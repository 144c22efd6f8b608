// SPDX-License-Identifier: MIT
// The generic suite leaves no op out, and docs/ops.md lists them as they are.
#include <algorithm>
#include <cstdio>
#include <string>

#include <doctest/doctest.h>

#include <adze/core/file.hpp>
#include <adze/ops/list.hpp>

#include "suite.hpp"

namespace adze::suite {
namespace {

struct named {
  std::string name;
  std::string axes{};
};
template <class Op> named named_op() {
  if constexpr (requires { Op::axes; }) return {std::string(Op::name), std::string(Op::axes)};
  return {std::string(Op::name), {}};
}
template <class... Op> std::vector<named> named_ops(types<Op...>) { return {named_op<Op>()...}; }

std::string counted(std::uint32_t n) { return n == detail::is_list ? "list" : std::to_string(n); }

// What the gradients of all inputs read, as x0, x1, ... and y0, y1, ...
std::string kept(const detail::op_info& info, const void* op) {
  const bool list = info.inputs == detail::is_list;
  const std::uint32_t bits = detail::reads_of(info, op, list ? 1 : (1u << info.inputs) - 1).bits;
  if (list) return bits != 0 ? "all" : "";
  std::string s;
  for (std::uint32_t i = 0; i < 32; ++i) {
    if ((bits >> i & 1) == 0 || (i < 24 && i >= info.inputs)) continue;
    s += (s.empty() ? "" : " ") + (i < 24 ? "x" + std::to_string(i) : "y" + std::to_string(i - 24));
  }
  return s;
}

std::string table() {
  constexpr std::string_view classes[] = {"low", "wide", "promote", "any"};
  constexpr std::string_view orders[] = {"twice", "once", "none"};
  const std::map<std::string, known> all = known_ops();
  std::string s = "| op | inputs | results | class | differentiable | keeps | axes |\n"
                  "|---|---|---|---|---|---|---|\n";
  for (const named& n : named_ops(op_list{})) {
    const auto at = all.find(n.name);
    if (at == all.end()) continue;
    const detail::op_info& info = at->second.op.info();
    const bool fused = info.composed != nullptr;
    s += text("| ", n.name, " | ", counted(info.inputs), " | ", counted(info.outputs), " | ",
              classes[static_cast<std::size_t>(info.precision)], " | ",
              orders[static_cast<std::size_t>(at->second.gradient)], fused ? ", fused" : "", " | ",
              kept(info, at->second.op.attributes()), " | ",
              n.axes.empty() ? "" : "`" + n.axes + "`", " |\n");
  }
  return s;
}

}  // namespace

TEST_CASE("suite: every op of the list has an entry, and every name is used once") {
  std::vector<std::string> names;
  for (const named& n : named_ops(op_list{})) names.push_back(n.name);
  const std::map<std::string, known> covered = known_ops();
  for (const std::string& name : names) {
    CAPTURE(name);
    CHECK(covered.count(name) == 1);
  }
  for (const auto& entry : covered) {
    const std::string& name = entry.first;
    CAPTURE(name);
    CHECK(std::find(names.begin(), names.end(), name) != names.end());
  }
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}

TEST_CASE("suite: docs/ops.md holds the table of the ops") {
  const std::string here = __FILE__, page = here.substr(0, here.rfind("tests/")) + "docs/ops.md";
  std::string contents;
  try {
    const auto bytes = read_file(page);
    contents.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  } catch (const io_error&) {
    MESSAGE("not run beside the sources: " << page);
    return;
  }
  const bool same = contents.find(table()) != std::string::npos;
  if (!same) std::printf("The table for docs/ops.md:\n\n%s", table().c_str());
  CHECK_MESSAGE(same, "replace the table in docs/ops.md by the one printed");
}

}  // namespace adze::suite
