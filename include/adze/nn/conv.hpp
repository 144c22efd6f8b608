#pragma once
// SPDX-License-Identifier: MIT
// Convolution layers: nn::conv2d c{{.in = 3, .out = 16, .kernel = 3, .padding = 1}}; shapes of
// weights and their first values are PyTorch's. Sizes are one number or {height, width}.
#include <adze/nn/linear.hpp>
#include <adze/ops/conv.hpp>

namespace adze::nn {

struct conv2d_options {
  index_t in = 0, out = 0;
  size_2d kernel = 1, stride = 1, padding = 0, dilation = 1;
  index_t groups = 1;
  bool bias = true;
  dtype type = f32;
};

struct conv1d_options {
  index_t in = 0, out = 0;
  index_t kernel = 1, stride = 1, padding = 0, dilation = 1;
  index_t groups = 1;
  bool bias = true;
  dtype type = f32;
};

struct conv_transpose2d_options {
  index_t in = 0, out = 0;
  size_2d kernel = 1, stride = 1, padding = 0, output_padding = 0, dilation = 1;
  index_t groups = 1;
  bool bias = true;
  dtype type = f32;
};

}  // namespace adze::nn

namespace adze::detail::inline ADZE_ISA {

template <class O> [[gnu::cold]] void check_conv_layer(std::string_view layer, const O& o) {
  check_layer_size(layer, "in", o.in);
  check_layer_size(layer, "out", o.out);
  check_layer_size(layer, "groups", o.groups);
  const size_2d kernel = o.kernel;
  check_layer_size(layer, "kernel", std::min(kernel.height, kernel.width));
  if (o.in % o.groups != 0 || o.out % o.groups != 0) {
    raise<value_error>(layer, ": groups must divide in and out; got in ", o.in, ", out ", o.out,
                       ", groups ", o.groups);
  }
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::nn::inline ADZE_ISA {

// Images [n, in, h, w] to [n, out, ...]; weight [out, in / groups, kh, kw], bias [out].
struct conv2d {
  conv2d_options options{};
  tensor weight{}, bias{};

  [[gnu::cold]] explicit conv2d(const conv2d_options& o) : options(o) {
    detail::check_conv_layer("nn::conv2d", o);
    weight =
        detail::new_parameter({o.out, o.in / o.groups, o.kernel.height, o.kernel.width}, o.type);
    if (o.bias) bias = detail::new_parameter({o.out}, o.type);
    detail::start_weight_and_bias(weight, bias);
  }
  template <class... N>
  conv2d(index_t, index_t, N...) = delete;  // write nn::conv2d{{.in = 3, .out = 16, .kernel = 3}}
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::conv2d(x, weight, bias,
                        {.stride = options.stride,
                         .padding = options.padding,
                         .dilation = options.dilation,
                         .groups = options.groups});
  }
  void visit(auto&& f) {
    f("weight", weight);
    f("bias", bias);
  }
};

// Lines [n, in, l] to [n, out, ...]; weight [out, in / groups, k], bias [out].
struct conv1d {
  conv1d_options options{};
  tensor weight{}, bias{};

  explicit conv1d(const conv1d_options& o) : options(o) {
    detail::check_conv_layer("nn::conv1d", o);
    weight = detail::new_parameter({o.out, o.in / o.groups, o.kernel}, o.type);
    if (o.bias) bias = detail::new_parameter({o.out}, o.type);
    detail::start_weight_and_bias(weight, bias);
  }
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::conv1d(x, weight, bias,
                        {.stride = options.stride,
                         .padding = options.padding,
                         .dilation = options.dilation,
                         .groups = options.groups});
  }
  void visit(auto&& f) {
    f("weight", weight);
    f("bias", bias);
  }
};

// Images [n, in, h, w] to larger [n, out, ...]; weight [in, out / groups, kh, kw], bias [out].
struct conv_transpose2d {
  conv_transpose2d_options options{};
  tensor weight{}, bias{};

  explicit conv_transpose2d(const conv_transpose2d_options& o) : options(o) {
    detail::check_conv_layer("nn::conv_transpose2d", o);
    weight =
        detail::new_parameter({o.in, o.out / o.groups, o.kernel.height, o.kernel.width}, o.type);
    if (o.bias) bias = detail::new_parameter({o.out}, o.type);
    detail::start_weight_and_bias(weight, bias);
  }
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::conv_transpose2d(x, weight, bias,
                                  {.stride = options.stride,
                                   .padding = options.padding,
                                   .dilation = options.dilation,
                                   .groups = options.groups,
                                   .output_padding = options.output_padding});
  }
  void visit(auto&& f) {
    f("weight", weight);
    f("bias", bias);
  }
};

}  // namespace adze::nn::inline ADZE_ISA
