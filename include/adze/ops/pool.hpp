#pragma once
// SPDX-License-Identifier: MIT
// Pooling. Gradients are ops of their own and each other's gradients, so that all derivatives
// exist: max pooling is a gather by the pixels it chose, averaging is linear. Row-major images stay
// row-major, all others give channels-last.
#include <adze/kernels/pool_gather.hpp>
#include <adze/ops/pool_windows.hpp>

namespace adze::inline ADZE_ISA {

// y[out] = x[pixel index[out]], 0 where index is -1; index i32 [n, c, oh, ow].
template <class = void> struct pool_gather_op {
  static constexpr std::string_view name = "pool_gather";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set keeps = values::input(1);
  static constexpr auto reads = gradient_reads(values::input(1), values::nothing);

  shape result(const shape&, const shape& index) const { return index; }
  tensor forward(const tensor& x, const tensor& index) const {
    detail::check_pixels(name, x, index);
    const dtype type = detail::floating_compute_type(name, x);
    const auto part = [&](const tensor& in, tensor& y, index_t first) {
      const shape& to = y.shape();
      const tensor at = detail::images_at(index, first, to[0]);
      dispatch(float_types{}, type, name, [&]<class T>() {
        kernels::pool_gather<T>({to[0], to[1], to[2], to[3], x.shape()[3]}, detail::image_of<T>(in),
                                detail::image_of<kernels::pixel_index>(at), detail::image_of<T>(y));
      });
    };
    return detail::over_images(x, index.shape(), detail::prefers_rows(x), part);
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const;
};

// The way back: gradients added up at the pixels of images h x w.
template <class = void> struct pool_scatter_op {
  size_2d size = 1;
  static constexpr std::string_view name = "pool_scatter";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set keeps = values::input(1);
  static constexpr auto reads = gradient_reads(values::input(1), values::nothing);

  shape result(const shape& g, const shape&) const { return {g[0], g[1], size[0], size[1]}; }
  tensor forward(const tensor& g, const tensor& index) const {
    detail::check_pixels(name, g, index);
    const dtype type = detail::floating_compute_type(name, g);
    const shape to = result(g.shape(), index.shape());
    const auto part = [&](const tensor& from, tensor& d, index_t first) {
      const tensor at = detail::images_at(index, first, from.shape()[0]);
      dispatch(float_types{}, type, name, [&]<class T>() {
        kernels::max_pool_backward<T>(
            detail::pool_sizes(d.shape(), from.shape()), detail::image_of<T>(from),
            detail::image_of<kernels::pixel_index>(at), detail::image_of<T>(d));
      });
    };
    return detail::over_images(g, to, detail::prefers_rows(index), part);
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& d) const {
    return {record(pool_gather_op<>{}, d, c.in(1)), tensor()};
  }
};

template <class A>
std::array<tensor, 2> pool_gather_op<A>::backward(backward_context& c, const tensor& g) const {
  const shape& x = c.in_shape(0);
  return {record(pool_scatter_op<>{{x[2], x[3]}}, g, c.in(1)), tensor()};
}

template <class = void> struct max_pool2d_op {
  pool_geometry geometry{};
  tensor index{};  // the pixels chosen, i32 [n, c, oh, ow]; filled by forward
  static constexpr std::string_view name = "max_pool2d";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr std::string_view axes = "nchw->ncyx";

  // What the user called.
  static std::string_view public_name(const pool_geometry& g) {
    return g.is_adaptive() ? "adaptive_max_pool2d" : g.lines ? "max_pool1d" : name;
  }
  shape result(const shape& x) const {
    return detail::pooled_shape(public_name(geometry), x, geometry);
  }
  tensor forward(const tensor& x) {
    const shape to = result(x.shape());
    const dtype type = detail::floating_compute_type(public_name(geometry), x);
    index = detail::empty_images(to, i32, x);
    const auto part = [&](const tensor& in, tensor& y, index_t first) {
      tensor at = detail::images_at(index, first, in.shape()[0]);
      dispatch(float_types{}, type, name, [&]<class T>() {
        kernels::max_pool<T>(detail::pool_shape_of(geometry, in.shape()), detail::image_of<T>(in),
                             detail::image_of<T>(y), detail::image_of<kernels::pixel_index>(at));
      });
    };
    return detail::over_images(x, to, detail::prefers_rows(x), part);
  }
  tensor backward(backward_context& c, const tensor& g) const {
    const shape& x = c.in_shape(0);
    return record(pool_scatter_op<>{{x[2], x[3]}}, g, index);
  }
};

template <class = void> struct avg_pool2d_op {
  pool_geometry geometry{};
  static constexpr std::string_view name = "avg_pool2d";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr std::string_view axes = "nchw->ncyx";

  // What the user called.
  static std::string_view public_name(const pool_geometry& g) {
    return g.is_adaptive() ? "adaptive_avg_pool2d" : g.lines ? "avg_pool1d" : name;
  }
  shape result(const shape& x) const {
    const size_2d& d = geometry.options.dilation;
    if (d[0] != 1 || d[1] != 1) {
      raise<value_error>(public_name(geometry), ": averages have no dilation; got ", d[0], " x ",
                         d[1]);
    }
    return detail::pooled_shape(public_name(geometry), x, geometry);
  }
  tensor forward(const tensor& x) const {
    const shape to = result(x.shape());
    const dtype type = detail::floating_compute_type(public_name(geometry), x);
    const auto part = [&](const tensor& in, tensor& y, index_t) {
      dispatch(float_types{}, type, name, [&]<class T>() {
        kernels::avg_pool<T>(detail::pool_shape_of(geometry, in.shape()), detail::image_of<T>(in),
                             detail::image_of<T>(y));
      });
    };
    return detail::over_images(x, to, detail::prefers_rows(x), part);
  }
  tensor backward(backward_context& c, const tensor& g) const;
};

template <class = void> struct avg_pool2d_gradient_op {
  pool_geometry geometry{};
  size_2d size = 1;  // of the images
  static constexpr std::string_view name = "avg_pool2d_gradient";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& g) const { return {g[0], g[1], size[0], size[1]}; }
  tensor forward(const tensor& g) const {
    const dtype type = detail::floating_compute_type(name, g);
    const shape to = result(g.shape());
    if (detail::pooled_shape(name, to, geometry) != g.shape()) {
      raise<shape_error>(name, ": images ", to, " do not pool to the gradient's shape; got ", g);
    }
    const auto part = [&](const tensor& from, tensor& d, index_t) {
      dispatch(float_types{}, type, name, [&]<class T>() {
        kernels::avg_pool_backward<T>(detail::pool_shape_of(geometry, d.shape()),
                                      detail::image_of<T>(from), detail::image_of<T>(d));
      });
    };
    return detail::over_images(g, to, detail::prefers_rows(g), part);
  }
  tensor backward(backward_context&, const tensor& d) const {
    return record(avg_pool2d_op<>{geometry}, d);
  }
};

template <class A> tensor avg_pool2d_op<A>::backward(backward_context& c, const tensor& g) const {
  const shape& x = c.in_shape(0);
  return record(avg_pool2d_gradient_op<>{geometry, {x[2], x[3]}}, g);
}

// The largest value of each window of kernel h x w, every `stride` pixels (0: the kernel's size);
// padding never wins, NaN does. x [n, c, h, w] or [c, h, w]; result of size
// (h + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded up in ceil_mode where the last
// window begins inside. Gradient: g to the pixel chosen (the first of equal ones). Floats. Throws
// value_error for options, shape_error where no window fits.
template <class> tensor max_pool2d(const tensor& x, const pool_options& o) {
  if (x.rank() == 3) return squeeze(max_pool2d(unsqueeze(x, 0), o), 0);
  return record(max_pool2d_op<>{{.options = o}}, x);
}

// The mean of each window; padding counts as zeros unless count_include_pad is false. Otherwise as
// max_pool2d; a dilation other than 1 is refused. Gradient: g shared out among the pixels.
template <class> tensor avg_pool2d(const tensor& x, const pool_options& o) {
  if (x.rank() == 3) return squeeze(avg_pool2d(unsqueeze(x, 0), o), 0);
  return record(avg_pool2d_op<>{{.options = o}}, x);
}

// The same along one axis: x [n, c, l] or [c, l].
template <class> tensor max_pool1d(const tensor& x, const pool1d_options& o) {
  detail::check_lines("max_pool1d", x);
  if (x.rank() == 2) return squeeze(max_pool1d(unsqueeze(x, 0), o), 0);
  const pool_geometry lines{.options = detail::line_options(o), .lines = true};
  return squeeze(record(max_pool2d_op<>{lines}, unsqueeze(x, -2)), -2);
}
template <class> tensor avg_pool1d(const tensor& x, const pool1d_options& o) {
  detail::check_lines("avg_pool1d", x);
  if (x.rank() == 2) return squeeze(avg_pool1d(unsqueeze(x, 0), o), 0);
  const pool_geometry lines{.options = detail::line_options(o), .lines = true};
  return squeeze(record(avg_pool2d_op<>{lines}, unsqueeze(x, -2)), -2);
}

// Means and maxima over windows chosen so that the result has the size `out`: pixels
// floor(i h / out) .. ceil((i + 1) h / out). {1, 1} is global pooling.
template <class> tensor adaptive_avg_pool2d(const tensor& x, const size_2d& out) {
  if (x.rank() == 3) return squeeze(adaptive_avg_pool2d(unsqueeze(x, 0), out), 0);
  return record(avg_pool2d_op<>{detail::adaptive_geometry("adaptive_avg_pool2d", out)}, x);
}
template <class> tensor adaptive_max_pool2d(const tensor& x, const size_2d& out) {
  if (x.rank() == 3) return squeeze(adaptive_max_pool2d(unsqueeze(x, 0), out), 0);
  return record(max_pool2d_op<>{detail::adaptive_geometry("adaptive_max_pool2d", out)}, x);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/layout.hpp>
