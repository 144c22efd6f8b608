#pragma once
// SPDX-License-Identifier: MIT
// Pooling. Gradients are ops of their own and each other's gradients, so that all derivatives
// exist: max pooling is a gather by the pixels it chose, averaging is linear. Computed channels
// last; the layout of x is kept.
#include <adze/ops/pool_windows.hpp>

namespace adze::inline ADZE_ISA {

// y[out] = x[pixel index[out]], 0 where index is -1; index i32 [n, c, oh, ow].
struct pool_gather_op {
  static constexpr std::string_view name = "pool_gather";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set keeps = values::input(1);
  static constexpr auto reads = gradient_reads(values::input(1), values::nothing);

  shape result(const shape&, const shape& index) const { return index; }
  tensor forward(const tensor& x, const tensor& index) const {
    detail::check_pixels(name, x, index);
    const dtype type = detail::floating_compute_type(name, x);
    const tensor in = detail::as_channels_last(x, type);
    const tensor at = detail::as_channels_last(index, i32);
    tensor y = empty_channels_last(index.shape(), type);
    dispatch(float_types{}, type, name, [&]<class T>() {
      kernels::pool_gather(detail::pool_sizes(x.shape(), index.shape()), in.data_as<T>(),
                           at.data_as<std::int32_t>(), y.data_as<T>());
    });
    return detail::pooled_like(y, x);
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const;
};

// The way back: gradients added up at the pixels of images h x w.
struct pool_scatter_op {
  std::array<index_t, 2> size{1, 1};
  static constexpr std::string_view name = "pool_scatter";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set keeps = values::input(1);
  static constexpr auto reads = gradient_reads(values::input(1), values::nothing);

  shape result(const shape& g, const shape&) const { return {g[0], g[1], size[0], size[1]}; }
  tensor forward(const tensor& g, const tensor& index) const {
    detail::check_pixels(name, g, index);
    const dtype type = detail::floating_compute_type(name, g);
    const tensor from = detail::as_channels_last(g, type);
    const tensor at = detail::as_channels_last(index, i32);
    tensor d = empty_channels_last(result(g.shape(), index.shape()), type);
    dispatch(float_types{}, type, name, [&]<class T>() {
      kernels::pool_scatter(detail::pool_sizes(d.shape(), g.shape()), from.data_as<T>(),
                            at.data_as<std::int32_t>(), d.data_as<T>());
    });
    return detail::pooled_like(d, g);
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& d) const {
    return {record(pool_gather_op{}, d, c.in(1)), tensor()};
  }
};

inline std::array<tensor, 2> pool_gather_op::backward(backward_context& c, const tensor& g) const {
  const shape& x = c.in_shape(0);
  return {record(pool_scatter_op{{x[2], x[3]}}, g, c.in(1)), tensor()};
}

struct max_pool2d_op {
  pool_geometry geometry{};
  tensor index{};  // the pixels chosen, i32 [n, c, oh, ow]; filled by forward
  static constexpr std::string_view name = "max_pool2d";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const {
    return detail::pooled_shape(geometry.is_adaptive() ? "adaptive_max_pool2d" : name, x, geometry);
  }
  tensor forward(const tensor& x) {
    const shape to = result(x.shape());
    const detail::pool_call call(geometry, x.shape(), to, false);
    dtype type = detail::floating_compute_type(name, x);
    if (call.sizes.pixels() >= index_t(1) << 24) type = f64;  // f32 does not count that far
    const tensor in = detail::as_channels_last(x, type);
    tensor y = empty_channels_last(to, type);
    index = empty_channels_last(to, i32);
    dispatch(float_types{}, type, name, [&]<class T>() {
      kernels::max_pool(call.sizes, in.data_as<T>(), y.data_as<T>(), index.data_as<std::int32_t>());
    });
    return detail::pooled_like(y, x);
  }
  tensor backward(backward_context& c, const tensor& g) const {
    const shape& x = c.in_shape(0);
    return record(pool_scatter_op{{x[2], x[3]}}, g, index);
  }
};

struct avg_pool2d_op {
  pool_geometry geometry{};
  static constexpr std::string_view name = "avg_pool2d";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const {
    return detail::pooled_shape(geometry.is_adaptive() ? "adaptive_avg_pool2d" : name, x, geometry);
  }
  tensor forward(const tensor& x) const {
    const shape to = result(x.shape());
    const detail::pool_call call(geometry, x.shape(), to, true);
    const dtype type = detail::floating_compute_type(name, x);
    const tensor in = detail::as_channels_last(x, type);
    tensor y = empty_channels_last(to, type);
    dispatch(float_types{}, type, name,
             [&]<class T>() { kernels::avg_pool(call.sizes, in.data_as<T>(), y.data_as<T>()); });
    return detail::pooled_like(y, x);
  }
  tensor backward(backward_context& c, const tensor& g) const;
};

struct avg_pool2d_gradient_op {
  pool_geometry geometry{};
  std::array<index_t, 2> size{1, 1};  // of the images
  static constexpr std::string_view name = "avg_pool2d_gradient";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& g) const { return {g[0], g[1], size[0], size[1]}; }
  tensor forward(const tensor& g) const {
    const dtype type = detail::floating_compute_type(name, g);
    const shape to = result(g.shape());
    const detail::pool_call call(geometry, to, g.shape(), true);
    const tensor from = detail::as_channels_last(g, type);
    tensor d = empty_channels_last(to, type);
    dispatch(float_types{}, type, name, [&]<class T>() {
      kernels::avg_pool_gradient(call.sizes, from.data_as<T>(), d.data_as<T>());
    });
    return detail::pooled_like(d, g);
  }
  tensor backward(backward_context&, const tensor& d) const {
    return record(avg_pool2d_op{geometry}, d);
  }
};

inline tensor avg_pool2d_op::backward(backward_context& c, const tensor& g) const {
  const shape& x = c.in_shape(0);
  return record(avg_pool2d_gradient_op{geometry, {x[2], x[3]}}, g);
}

// The largest value of each window of kernel h x w, every `stride` pixels (0: the kernel's size);
// padding never wins, NaN does. x [n, c, h, w] or [c, h, w]; result of size
// (h + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded up in ceil_mode where the last
// window begins inside. Gradient: g to the pixel chosen (the first of equal ones). Floats. Throws
// value_error for options, shape_error where no window fits.
inline tensor max_pool2d(const tensor& x, const pool_options& o) {
  if (x.rank() == 3) return squeeze(max_pool2d(unsqueeze(x, 0), o), 0);
  return record(max_pool2d_op{{.options = o}}, x);
}

// The mean of each window; padding counts as zeros unless count_include_pad is false. Otherwise as
// max_pool2d, without dilation. Gradient: g shared out among the pixels.
inline tensor avg_pool2d(const tensor& x, const pool_options& o) {
  if (x.rank() == 3) return squeeze(avg_pool2d(unsqueeze(x, 0), o), 0);
  pool_options plain = o;
  plain.dilation = {1, 1};
  return record(avg_pool2d_op{{.options = plain}}, x);
}

// Means and maxima over windows chosen so that the result has the size `out`: pixels
// floor(i h / out) .. ceil((i + 1) h / out). {1, 1} is global pooling.
inline tensor adaptive_avg_pool2d(const tensor& x, std::array<index_t, 2> out) {
  if (x.rank() == 3) return squeeze(adaptive_avg_pool2d(unsqueeze(x, 0), out), 0);
  return record(avg_pool2d_op{detail::adaptive_geometry("adaptive_avg_pool2d", out)}, x);
}
inline tensor adaptive_max_pool2d(const tensor& x, std::array<index_t, 2> out) {
  if (x.rank() == 3) return squeeze(adaptive_max_pool2d(unsqueeze(x, 0), out), 0);
  return record(max_pool2d_op{detail::adaptive_geometry("adaptive_max_pool2d", out)}, x);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/layout.hpp>
