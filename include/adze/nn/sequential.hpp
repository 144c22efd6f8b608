#pragma once
// SPDX-License-Identifier: MIT
// Layers one after the other: nn::sequential net{nn::linear{{.in = 4, .out = 8}}, nn::relu{}, f};
// where f may be any function from tensor to tensor, lambdas too. Names are "0", "1", ...
// Braces, not parentheses: only in braces does the language make layers, and so draw their weights,
// from left to right; in parentheses g++ goes the other way.
#include <tuple>

#include <adze/nn/module.hpp>

namespace adze::nn::inline ADZE_ISA {

// Trap of the language: sequential(s) with one sequential s copies s instead of wrapping it.
template <class... L>
requires(sizeof...(L) > 0) struct sequential {
  std::tuple<L...> layers;

  explicit sequential(L... l) : layers(std::move(l)...) {}

  tensor operator()(const tensor& x) { return run(layers, x); }
  tensor operator()(const tensor& x) const { return run(layers, x); }

  void visit(auto&& f) {
    index_t i = 0;
    std::apply([&](auto&... layer) { (f(std::to_string(i++), layer), ...); }, layers);
  }

  static constexpr std::size_t size() { return sizeof...(L); }
  // The i-th layer, e.g. net.get<0>().weight.
  template <std::size_t I> auto& get() { return std::get<I>(layers); }
  template <std::size_t I> const auto& get() const { return std::get<I>(layers); }

 private:
  template <class Layers> static tensor run(Layers& layers, const tensor& x) {
    tensor y = x;
    std::apply([&](auto&... layer) { ((y = layer(y)), ...); }, layers);
    return y;
  }
};

}  // namespace adze::nn::inline ADZE_ISA
