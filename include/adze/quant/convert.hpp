#pragma once
// SPDX-License-Identifier: MIT
// convert: the prepared graph on integers. Codes flow from step to step; what cannot be quantized
// stays in floats and is listed with the reason.
#include <adze/quant/converter.hpp>
#include <adze/quant/freeze.hpp>

namespace adze::quant::inline ADZE_ISA {

struct conversion {
  graph g{};                       // integer steps; compile(g, example) makes it fast
  std::vector<float_step> left{};  // steps that could have been integers, or stand between them
};

}  // namespace adze::quant::inline ADZE_ISA

namespace adze::quant::detail::inline ADZE_ISA {

// Quantizers, estimators, or weights in codes.
template <class = void> bool has_codes(const graph& g) {
  for (const graph_step& s : g.steps) {
    if (is_any(s.op, types<observe_op<>, fake_quantize_op<>, lsq_op<>>{})) return true;
  }
  return std::any_of(g.values.begin(), g.values.end(), [](const graph_value& v) {
    return v.constant.defined() && (v.type == i8 || v.type == u8);
  });
}

// A graph of which everything was left in floats stays as it is.
template <class = void> conversion converted(const graph& prepared) {
  const graph g = frozen(prepared, "quant::convert");
  converter<> c(g);
  conversion r;
  r.g = c.run();
  r.left = std::move(c.left);
  return r;
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// A graph of integer steps that gives the codes that simulate(prepared) gives; where a float sum of
// the simulation is off by half a step, codes next to them. Inputs and outputs are floats. Throws
// state_error where an observer has seen nothing, and for a graph in which nothing is quantized.
template <class = void> conversion convert_with_reasons(const graph& prepared) {
  if (!detail::has_codes(prepared)) {
    raise<state_error>("quant::convert: nothing is prepared, or no step could be quantized; "
                       "quant::calibrated(graph, config, batches) comes first");
  }
  return detail::converted(prepared);
}
template <class = void> graph convert(const graph& prepared) {
  return convert_with_reasons(prepared).g;
}

}  // namespace adze::quant::inline ADZE_ISA
