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

// A graph of integer steps that gives the codes that simulate(prepared) gives, or codes next to
// them where a float sum was rounded (the share is measured in tests: at most 1e-4). Inputs and
// outputs are floats. Throws state_error where an observer has seen nothing.
template <class = void> conversion convert_with_reasons(const graph& prepared) {
  const graph simulated = simulate(prepared);
  detail::converter c(simulated);
  conversion r;
  r.g = c.run();
  r.left = std::move(c.left);
  return r;
}
template <class = void> graph convert(const graph& prepared) {
  return convert_with_reasons(prepared).g;
}

}  // namespace adze::quant::inline ADZE_ISA
