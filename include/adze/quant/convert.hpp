#pragma once
// SPDX-License-Identifier: MIT
// convert: the prepared graph on integers. Codes flow from step to step; what cannot be quantized
// stays in floats and is listed with the reason.
#include <adze/quant/converter.hpp>
#include <adze/quant/freeze.hpp>

namespace adze::quant::inline ADZE_ISA {

struct conversion {
  graph g{};                       // integer steps; compile(g, example) makes it fast
  std::vector<float_step> left{};  // steps that could have been integers and are not
};

// A graph of integer steps that gives the codes that simulate(prepared) gives; where a float sum of
// the simulation is off by half a step, codes next to them. Inputs and outputs are floats. Throws
// state_error where an observer has seen nothing.
template <class = void> conversion convert_with_reasons(const graph& prepared) {
  const graph frozen = detail::frozen(prepared);
  detail::converter<> c(frozen);
  conversion r;
  r.g = c.run();
  r.left = std::move(c.left);
  return r;
}
template <class = void> graph convert(const graph& prepared) {
  return convert_with_reasons(prepared).g;
}

}  // namespace adze::quant::inline ADZE_ISA
