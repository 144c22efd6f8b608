// SPDX-License-Identifier: MIT
// The dtypes of the results of every op under each policy, as docs/amp.md prints them; and sums of
// 16-bit numbers, which are added up in f32.
#include <cstdio>
#include <string>

#include <doctest/doctest.h>

#include <adze/amp/autocast.hpp>
#include <adze/core/file.hpp>
#include <adze/ops/list.hpp>
#include <adze/tensor/create.hpp>
#include <adze/tensor/typed.hpp>

#include "ops/suite.hpp"

namespace adze {
namespace {

template <class... Op> std::vector<std::string> names_of(types<Op...>) {
  return {std::string(Op::name)...};
}

// The dtypes of the results, each named once in order.
std::string results_of(const suite::any_op& op, const std::vector<tensor>& x) {
  std::string s;
  try {
    for (const tensor& y : op(x)) {
      const std::string type = y.defined() ? to_text(y.dtype()) : "none";
      if (s.find(type) != 0) s += (s.empty() ? "" : ", ") + type;
    }
  } catch (const dtype_error&) {
    return "refused";
  } catch (const error& e) {
    return text("**", e.what(), "**");
  }
  return s;
}

// One cell: all inputs of a type, or the first of them only and f32 for the others.
std::string cell(const std::string& name, dtype type, bool mixed) {
  suite::example e = suite::example_of(name, type);
  bool first = true, any = false;
  for (std::size_t j = 0; mixed && j < e.x.size(); ++j) {
    if (!e.x[j].defined() || e.own[j]) continue;
    if (!first) e.x[j] = cast(e.x[j], f32), any = true;
    first = false;
  }
  if (e.x.empty() || (mixed && !any)) return "";
  return results_of(e.op, e.x);
}

constexpr std::string_view class_names[] = {"low", "wide", "promote", "any"};

std::string table(const std::vector<std::string>& names, const amp::policy& p) {
  const dtype low = p.low();
  std::string s = text("| op | class | f32 | f16 | bf16 | f64 | ", low, " with f32 | i32 |\n",
                       "|---|---|---|---|---|---|---|---|\n");
  const std::map<std::string, suite::known> all = suite::known_ops();
  for (const std::string& name : names) {
    const detail::op_info& info = all.at(name).op.info();
    const amp::autocast guard(p);
    s += text("| ", name, " | ", class_names[static_cast<std::size_t>(info.precision)], " | ",
              cell(name, f32, false), " | ", cell(name, f16, false), " | ", cell(name, bf16, false),
              " | ", cell(name, f64, false), " | ", cell(name, low, true), " | ",
              cell(name, i32, false), " |\n");
  }
  return s;
}

std::string page() {
  const std::string here = __FILE__, path = here.substr(0, here.rfind("tests/")) + "docs/amp.md";
  const auto bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("amp: docs/amp.md holds the dtypes of all ops under both policies") {
  std::string contents;
  try {
    contents = page();
  } catch (const io_error&) {
    MESSAGE("not run beside the sources");
    return;
  }
  const std::vector<std::string> names = names_of(op_list{});
  CHECK(names.size() >= 125);
  for (const amp::policy& p : {amp::bf16(), amp::fp16()}) {
    const std::string t = table(names, p);
    const bool same = contents.find(t) != std::string::npos;
    if (!same) std::printf("The table for %s:\n\n%s\n", to_text(p.low()).c_str(), t.c_str());
    CHECK_MESSAGE(same, "replace the table in docs/amp.md by the one printed");
    CHECK(t.find("**") == std::string::npos);
  }
}

TEST_CASE("amp: f64 stays f64, integers stay integers, whatever the policy") {
  for (const amp::policy& p : {amp::bf16(), amp::fp16()}) {
    for (const std::string& name : names_of(op_list{})) {
      CAPTURE(name);
      const std::string plain = cell(name, f64, false), whole = cell(name, i32, false);
      const amp::autocast guard(p);
      const std::string cast_64 = cell(name, f64, false);
      CHECK((cast_64 == plain || cast_64 == "refused"));
      CHECK(cell(name, i32, false) == whole);
    }
  }
}

TEST_CASE("amp: 65,536 ones are added up exactly from 16 bits") {
  constexpr index_t n = 65536;
  for (const dtype type : {bf16, f16}) {
    CAPTURE(type);
    const tensor ones = full({n}, 1.0, type);
    const amp::autocast wide(amp::fp16());  // results in f32, since f16 ends at 65,504
    CHECK(sum(ones).item() == n);
    CHECK(mean(ones).item() == 1.0);
    CHECK(sum(full({n, 2}, 1.0, type), {0}).as<float>()(1) == n);
    CHECK(norm(ones).item() == 256.0);
    const amp::autocast none(amp::fp16(), {.enabled = false});
    if (type == bf16) CHECK(sum(ones).item() == n);
    // Products: 65,536 in bf16; f16 takes halves, so that the result is in its range.
    const double factor = type == bf16 ? 1.0 : 0.5;
    CHECK(matmul(ones, full({n}, factor, type)).item() == n * factor);
    const tensor y = matmul(reshape(ones, {1, n}), full({n, 3}, factor, type));
    CHECK(y.dtype() == type);
    CHECK(sum(cast(y, f64)).item() == 3 * n * factor);
    CHECK(sum(cast(linear(reshape(ones, {1, n}), full({3, n}, factor, type)), f64)).item() ==
          3 * n * factor);
  }
}

}  // namespace adze
