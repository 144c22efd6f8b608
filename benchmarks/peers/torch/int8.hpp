#pragma once
// SPDX-License-Identifier: MIT
// libtorch's quantized engines: ranges seen by `observer`, layers packed and run by `integers`.
// Activations u8 per tensor, weights s8 per channel, ReLU and addition fused, as its own
// conversion does.
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/quantized/PackedParams.h>

#include "layers.hpp"

namespace adze_torch {

struct scale_of_codes {
  double scale = 1;
  std::int64_t zero = 0;
};
inline scale_of_codes codes_for(const Tensor& x) {
  const double low = std::min(0.0, x.min().item<double>());
  const double high = std::max(0.0, x.max().item<double>());
  const double scale = std::max(high - low, 1e-8) / 255;
  return {scale, std::llround(-low / scale)};
}

// Every result in the order of the calls.
struct observer : eager {
  std::vector<scale_of_codes> seen;
  Tensor note(Tensor x) {
    seen.push_back(codes_for(x));
    return x;
  }
  Tensor conv(const layer& l, const Tensor& x, act a) override {
    return note(eager::conv(l, x, a));
  }
  Tensor linear(const layer& l, const Tensor& x, act a) override {
    return note(eager::linear(l, x, a));
  }
  Tensor add_relu(const Tensor& x, const Tensor& y) override { return note(eager::add_relu(x, y)); }
};

template <class F> auto operation(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<F>();
}

// [out, ...] in 8 bits by channel, after folding the batch norm into weight and bias.
inline std::pair<Tensor, Tensor> quantized_weight(const layer& l) {
  Tensor w = l.weight.detach().contiguous();
  Tensor b = l.bias.defined() ? l.bias.detach() : at::zeros({w.size(0)});
  if (l.gamma.defined()) {
    const Tensor factor = (l.gamma / at::sqrt(l.variance + 1e-5)).detach();
    w = w * factor.reshape({-1, 1, 1, 1});
    b = (b - l.mean) * factor + l.beta.detach();
  }
  const Tensor scales = std::get<0>(w.abs().reshape({w.size(0), -1}).max(1)).clamp_min(1e-8) / 127;
  const Tensor zeros = at::zeros({w.size(0)}, at::kLong);
  return {at::quantize_per_channel(w, scales.to(at::kDouble), zeros, 0, at::kQInt8), b};
}

class integers : public executor {
 public:
  explicit integers(std::vector<scale_of_codes> codes) : codes_(std::move(codes)) {}

  void restart() { at_ = 0; }
  Tensor conv(const layer& l, const Tensor& x, act a) override {
    auto& packed = convs_[&l];
    if (!packed) {
      using list = torch::List<std::int64_t>;
      using call = c10::intrusive_ptr<ConvPackedParamsBase<2>>(Tensor, c10::optional<Tensor>, list,
                                                               list, list, std::int64_t);
      static const auto prepack = operation<call>("quantized::conv2d_prepack");
      const auto [w, b] = quantized_weight(l);
      packed = prepack.call(w, b, list({l.stride, l.stride}), list({l.padding, l.padding}),
                            list({1, 1}), l.groups);
    }
    const auto [scale, zero] = codes_.at(at_++);
    // Beyond 6 there are no codes: relu6 needs nothing more.
    return a == act::none ? packed->apply(x, scale, zero) : packed->apply_relu(x, scale, zero);
  }
  Tensor linear(const layer& l, const Tensor& x, act a) override {
    auto& packed = linears_[&l];
    if (!packed) {
      using call = c10::intrusive_ptr<LinearPackedParamsBase>(Tensor, c10::optional<Tensor>);
      static const auto prepack = operation<call>("quantized::linear_prepack");
      const auto [w, b] = quantized_weight(l);
      packed = prepack.call(w, b);
    }
    const auto [scale, zero] = codes_.at(at_++);
    return a == act::none ? packed->apply(x, scale, zero) : packed->apply_relu(x, scale, zero);
  }
  Tensor add_relu(const Tensor& x, const Tensor& y) override {
    using call = Tensor(Tensor, Tensor, double, std::int64_t);
    static const auto add = operation<call>("quantized::add_relu");
    const auto [scale, zero] = codes_.at(at_++);
    return add.call(x, y, scale, zero);
  }

 private:
  std::vector<scale_of_codes> codes_;
  std::size_t at_ = 0;
  std::map<const layer*, c10::intrusive_ptr<ConvPackedParamsBase<2>>> convs_;
  std::map<const layer*, c10::intrusive_ptr<LinearPackedParamsBase>> linears_;
};

}  // namespace adze_torch
