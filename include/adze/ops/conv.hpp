#pragma once
// SPDX-License-Identifier: MIT
// Convolutions. Three ops are each other's gradients, so that all derivatives exist: conv2d,
// conv_transpose2d (the gradient of conv2d's input) and conv2d_weight_gradient. Results are
// channels-last in memory; x may have any strides.
#include <adze/kernels/conv.hpp>
#include <adze/ops/images.hpp>

namespace adze::detail::inline ADZE_ISA {

// What all three share, from the sizes of the larger image, the weight and the batch.
[[gnu::noinline]] inline kernels::conv_shape conv_shape_of(const shape& x, const shape& w,
                                                           const conv_options& o) {
  return {.n = x[0],
          .c = x[1],
          .h = x[2],
          .w = x[3],
          .o = w[0],
          .kh = w[2],
          .kw = w[3],
          .stride_h = o.stride[0],
          .stride_w = o.stride[1],
          .pad_h = o.padding[0],
          .pad_w = o.padding[1],
          .dil_h = o.dilation[0],
          .dil_w = o.dilation[1],
          .groups = o.groups,
          .exact = o.exact};
}

inline void check_conv_options(std::string_view op, const conv_options& o) {
  const auto check = [op](std::string_view what, index_t value, index_t least) {
    if (value < least || value > 0x7fffffff) {
      raise<value_error>(op, ": ", what, " must be at least ", least, "; got ", value);
    }
  };
  for (const std::size_t i : {0u, 1u}) {
    check("stride", o.stride[i], 1);
    check("padding", o.padding[i], 0);
    check("dilation", o.dilation[i], 1);
    check("output_padding", o.output_padding[i], 0);
  }
  check("groups", o.groups, 1);
}

// x [n, c, h, w] with channels c on the side of `x_axis` of the weight [o, i, kh, kw].
template <class = void>
void check_conv(std::string_view op, const tensor& x, const tensor& w, const tensor& bias,
                const conv_options& o, bool transposed) {
  check_conv_options(op, o);
  floating_compute_type(op, x);
  floating_compute_type(op, w);
  if (x.rank() != 4 || w.rank() != 4) {
    raise<shape_error>(op, ": takes x [n, c, h, w] and a weight of four axes; got ", x, " and ", w);
  }
  const index_t in = transposed ? w.shape()[0] : w.shape()[1] * o.groups;
  const index_t out = transposed ? w.shape()[1] * o.groups : w.shape()[0];
  if (x.shape()[1] != in) {
    raise<shape_error>(op, ": x has ", x.shape()[1], " channels but the weight takes ", in,
                       "; got x ", x, ", weight ", w, ", groups ", o.groups);
  }
  if (w.shape()[0] % o.groups != 0) {
    raise<shape_error>(op, ": ", o.groups, " groups do not divide the weight's first axis; got ",
                       w);
  }
  if (bias.defined() && (bias.rank() != 1 || bias.shape()[0] != out)) {
    raise<shape_error>(op, ": the bias must be [", out, "]; got ", bias);
  }
  if (w.shape()[2] * w.shape()[3] == 0) {
    raise<shape_error>(op, ": the kernel must not be empty; got ", w);
  }
}

// The bias alone: what a sum over no channels gives.
template <class = void> tensor bias_image(const shape& sizes, const tensor& bias, dtype type) {
  tensor y = zeros_of(sizes, type);
  return bias.defined() ? y + reshape(bias, {1, -1, 1, 1}) : y;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class = void> struct conv2d_op {
  conv_options o{};
  kernels::activation act = kernels::activation::none;  // where a graph has fused one
  static constexpr std::string_view name = "conv2d";
  static constexpr numeric precision = numeric::low;

  auto reads() const {
    const value_set y = act != kernels::activation::none ? values::output(0) : values::nothing;
    return gradient_reads(values::input(1) | y, values::input(0) | y, y);
  }

  shape result(const shape& x, const shape& w, const shape&) const {
    const kernels::conv_shape s = detail::conv_shape_of(x, w, o);
    const index_t need_h = s.dil_h * (s.kh - 1) + 1, need_w = s.dil_w * (s.kw - 1) + 1;
    if (s.h + 2 * s.pad_h < need_h || s.w + 2 * s.pad_w < need_w) {
      raise<shape_error>("conv2d: the kernel covers ", need_h, " x ", need_w,
                         " pixels but the padded input has ", s.h + 2 * s.pad_h, " x ",
                         s.w + 2 * s.pad_w, "; got x ", x, ", weight ", w);
    }
    return {s.n, s.o, s.out_h(), s.out_w()};
  }
  tensor forward(const tensor& x, const tensor& w, const tensor& bias) const {
    return onto({}, x, w, bias);
  }
  // A residual is of images that are not empty. `packed`: the weight made ready, for f32.
  tensor onto(const detail::residual_input& residual, const tensor& x, const tensor& w,
              const tensor& bias, const kernels::packed_filter<float>* packed = nullptr) const {
    detail::check_conv(name, x, w, bias, o, false);
    const shape to = result(x.shape(), w.shape(), {});
    const dtype type = x.dtype() == f64 ? f64 : f32;
    if (x.numel() == 0) {
      const tensor y = detail::bias_image(to, bias, x.dtype());
      return act == kernels::activation::relu ? relu(y) : y;
    }
    if (to.numel() == 0) return empty_channels_last(to, x.dtype());
    const tensor weight = detail::dense_as(w, type);
    const tensor b = bias.defined() ? detail::dense_as(bias, type) : tensor();
    const auto run = [&](const tensor& in, tensor& y) {
      const tensor more =
          residual.value.defined() ? detail::dense_like(residual.value, y, type) : tensor();
      const auto call = [&]<class T>(const kernels::packed_filter<T>* ready) {
        kernels::conv_forward<T>(detail::conv_shape_of(in.shape(), w.shape(), o),
                                 detail::image_of<T>(in), weight.data_as<T>(),
                                 detail::image_of<T>(y),
                                 {.bias = b.defined() ? b.data_as<T>() : nullptr,
                                  .activate = act,
                                  .residual = more.defined() ? more.data_as<T>() : nullptr,
                                  .result = y.data_as<T>()},
                                 ready);
      };
      type == f64 ? call(static_cast<const kernels::packed_filter<double>*>(nullptr))
                  : call(packed);
    };
    if (residual.spent && replaces(residual.value, x, w)) {
      tensor y = alias(residual.value, to, channels_last_strides(to));
      run(x, y);
      return y;
    }
    return detail::over_images(x, to, false,
                               [&](const tensor& in, tensor& y, index_t) { run(in, y); });
  }
  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const;

 private:
  // Whether the result may be written over the residual.
  bool replaces(const tensor& residual, const tensor& x, const tensor& w) const {
    if (x.dtype() != f32 || !is_channels_last(residual)) return false;
    const auto s = detail::conv_shape_of(x.shape(), w.shape(), o);
    return kernels::finishes_in_registers(kernels::forward_method<float>(
        s, detail::image_of<float>(x), detail::image_of<float>(residual)));
  }
};

// x [n, o, h, w] and the conv2d weight [o, c / groups, kh, kw] give [n, c, size].
template <class = void> struct conv_transpose2d_op {
  conv_options o{};
  size_2d size = 1;  // of the result
  static constexpr std::string_view name = "conv_transpose2d";
  static constexpr numeric precision = numeric::low;
  static constexpr auto reads = gradient_reads(values::input(1), values::input(0), values::nothing);

  shape result(const shape& x, const shape& w, const shape&) const {
    const shape to{x[0], w[1] * o.groups, size[0], size[1]};
    const kernels::conv_shape s = detail::conv_shape_of(to, w, o);
    if (s.out_h() != x[2] || s.out_w() != x[3]) {
      raise<shape_error>("conv_transpose2d: a convolution of ", size[0], " x ", size[1],
                         " pixels gives ", s.out_h(), " x ", s.out_w(), ", not those of x ", x);
    }
    return to;
  }
  tensor forward(const tensor& x, const tensor& w, const tensor& bias) const {
    detail::check_conv(name, x, w, bias, o, true);
    const shape to = result(x.shape(), w.shape(), {});
    const dtype type = x.dtype() == f64 ? f64 : f32;
    if (x.numel() == 0) return detail::bias_image(to, bias, x.dtype());
    if (to.numel() == 0) return empty_channels_last(to, x.dtype());
    const tensor weight = detail::dense_as(w, type);
    const tensor b = bias.defined() ? detail::dense_as(bias, type) : tensor();
    return detail::over_images(x, to, false, [&](const tensor& in, tensor& y, index_t) {
      dispatch(float_types{}, type, name, [&]<class T>() {
        kernels::conv_backward_data<T>(detail::conv_shape_of(y.shape(), w.shape(), o),
                                       detail::image_of<T>(in), weight.data_as<T>(),
                                       detail::image_of<T>(y),
                                       {.bias = b.defined() ? b.data_as<T>() : nullptr});
      });
    });
  }
  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const;
};

// From x [n, c, h, w] and the gradient g [n, o, oh, ow] of the result: [o, c / groups, kh, kw].
template <class = void> struct conv2d_weight_gradient_op {
  conv_options o{};
  size_2d kernel = 1;
  static constexpr std::string_view name = "conv2d_weight_gradient";
  static constexpr numeric precision = numeric::low;
  static constexpr auto reads = gradient_reads(values::input(1), values::input(0));

  shape result(const shape& x, const shape& g) const {
    return {g[1], x[1] / o.groups, kernel[0], kernel[1]};
  }
  tensor forward(const tensor& x, const tensor& g) const {
    const shape to = result(x.shape(), g.shape());
    const kernels::conv_shape s = detail::conv_shape_of(x.shape(), to, o);
    if (s.out_h() != g.shape()[2] || s.out_w() != g.shape()[3] || x.shape()[0] != g.shape()[0]) {
      raise<shape_error>(name, ": x ", x, " gives ", s.out_h(), " x ", s.out_w(),
                         " pixels; got a gradient ", g);
    }
    const dtype type = x.dtype() == f64 ? f64 : f32;
    if (x.numel() == 0 || g.numel() == 0) return detail::zeros_of(to, x.dtype());
    if (size_of(x.dtype()) > 2) return summed(x, detail::computed_as(g, type), to);
    tensor y;
    const index_t step = detail::images_at_once(x.shape(), g.shape());
    for (index_t first = 0; first < x.shape()[0]; first += step) {
      const index_t n = std::min(step, x.shape()[0] - first);
      const tensor part = summed(detail::dense_keeping(detail::images_at(x, first, n), f32),
                                 detail::dense_keeping(detail::images_at(g, first, n), f32), to);
      if (first == 0) {
        y = part;
      } else {
        detail::add_into(y, part);
      }
    }
    return detail::dense_as(y, x.dtype());
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& d) const;

 private:
  // Of images in f32 or f64.
  tensor summed(const tensor& x, const tensor& g, const shape& to) const {
    tensor y = empty(to, x.dtype());
    dispatch(float_types{}, x.dtype(), name, [&]<class T>() {
      kernels::conv_backward_weight<T>(detail::conv_shape_of(x.shape(), to, o),
                                       detail::image_of<T>(x), detail::image_of<T>(g),
                                       y.data_as<T>());
    });
    return y;
  }
};

template <class A>
std::array<tensor, 3> conv2d_op<A>::backward(backward_context& c, const tensor& gy) const {
  const tensor g = act == kernels::activation::relu ? detail::relu_gradient(c, gy) : gy;
  std::array<tensor, 3> d;
  if (c.wants(0)) {
    const shape& x = c.in_shape(0);
    d[0] = record(conv_transpose2d_op<>{o, {x[2], x[3]}}, g, c.in(1), tensor());
  }
  if (c.wants(1)) {
    const shape& w = c.in_shape(1);
    d[1] = record(conv2d_weight_gradient_op<>{o, {w[2], w[3]}}, c.in(0), g);
  }
  if (c.wants(2)) d[2] = sum(g, {0, 2, 3});
  return d;
}

template <class A>
std::array<tensor, 3> conv_transpose2d_op<A>::backward(backward_context& c, const tensor& g) const {
  std::array<tensor, 3> d;
  if (c.wants(0)) d[0] = record(conv2d_op<>{o}, g, c.in(1), tensor());
  if (c.wants(1)) {
    const shape& w = c.in_shape(1);
    d[1] = record(conv2d_weight_gradient_op<>{o, {w[2], w[3]}}, g, c.in(0));
  }
  if (c.wants(2)) d[2] = sum(g, {0, 2, 3});
  return d;
}

template <class A>
std::array<tensor, 2> conv2d_weight_gradient_op<A>::backward(backward_context& c,
                                                             const tensor& d) const {
  std::array<tensor, 2> r;
  if (c.wants(0)) {
    const shape& x = c.in_shape(0);
    r[0] = record(conv_transpose2d_op<>{o, {x[2], x[3]}}, c.in(1), d, tensor());
  }
  if (c.wants(1)) r[1] = record(conv2d_op<>{o}, c.in(0), d, tensor());
  return r;
}

// Whether 3 x 3 convolutions with stride 1 may go by Winograd's filtering, for the whole process:
// two times the speed, with errors up to 5e-5 of the largest output instead of 1e-6. On by default;
// f64 is always direct.
inline void allow_winograd(bool on) { kernels::winograd_allowed.store(on); }

// y[n, o, i, j] = bias[o] + sum over c, k, l of w[o, c, k, l] x[n, c, i s - p + k d, j s - p + l
// d], x being 0 outside of the image. x [n, c, h, w] or [c, h, w], w [o, c / groups, kh, kw], bias
// [o] or undefined; output o reads the input channels of its group. Size of the result (h + 2 p - d
// (kh - 1) - 1) / s + 1. Gradients are convolutions again. Any floating dtype, 16-bit ones are
// computed in f32. Throws shape_error, value_error, dtype_error.
template <class>
tensor conv2d(const tensor& x, const tensor& w, const tensor& bias, const conv_options& o) {
  if (x.rank() == 3) return squeeze(conv2d(unsqueeze(x, 0), w, bias, o), 0);
  return record(conv2d_op<>{o}, x, w, bias);
}

// The same along one axis: x [n, c, l], w [o, c / groups, k].
template <class>
tensor conv1d(const tensor& x, const tensor& w, const tensor& bias, const conv1d_options& o) {
  if (x.rank() != 3 || w.rank() != 3) {
    raise<shape_error>("conv1d: takes x [n, c, l] and a weight [o, c / groups, k]; got ", x,
                       " and ", w);
  }
  const conv_options line{.stride = {1, o.stride},
                          .padding = {0, o.padding},
                          .dilation = {1, o.dilation},
                          .groups = o.groups};
  return squeeze(conv2d(unsqueeze(x, 2), unsqueeze(w, 2), bias, line), 2);
}

// The linear map that is transposed to conv2d with the same weight and options: every input pixel
// spreads w over the result. x [n, c, h, w], w [c, o / groups, kh, kw], bias [o]. Size of the
// result (h - 1) s - 2 p + d (kh - 1) + output_padding + 1, where output_padding < s (PyTorch also
// takes one from s to below d, which no conv2d leaves over). Gradient of x: conv2d.
template <class>
tensor conv_transpose2d(const tensor& x, const tensor& w, const tensor& bias,
                        const conv_options& o) {
  if (x.rank() == 3) return squeeze(conv_transpose2d(unsqueeze(x, 0), w, bias, o), 0);
  detail::check_conv("conv_transpose2d", x, w, bias, o, true);
  size_2d size;
  for (const std::size_t i : {0u, 1u}) {
    const index_t in = x.shape()[2 + static_cast<index_t>(i)];
    const index_t kernel = w.shape()[2 + static_cast<index_t>(i)];
    size[i] = (in - 1) * o.stride[i] - 2 * o.padding[i] + o.dilation[i] * (kernel - 1) +
              o.output_padding[i] + 1;
    if (o.output_padding[i] >= o.stride[i]) {
      raise<value_error>("conv_transpose2d: output_padding must be less than the stride; got ",
                         o.output_padding[i], " and ", o.stride[i]);
    }
    if (in < 1 || size[i] < 1) {
      raise<shape_error>("conv_transpose2d: the result would have ", size[i], " pixels on axis ",
                         2 + i, "; got x ", x, ", weight ", w);
    }
  }
  return record(conv_transpose2d_op<>{o, size}, x, w, bias);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/activation.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/reduce.hpp>
