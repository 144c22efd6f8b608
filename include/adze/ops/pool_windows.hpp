#pragma once
// SPDX-License-Identifier: MIT
// How the windows of pooling lie on images: from options to what the kernels take, with all
// checks. The ops are in pool.hpp.
#include <adze/kernels/pool_max.hpp>
#include <adze/ops/images.hpp>

namespace adze {

// pool_options, or, for adaptive pooling, the size of the result.
struct pool_geometry {
  pool_options options{};
  size_2d adaptive = 0;
  bool lines = false;  // images of one row that stand for lines

  bool is_adaptive() const { return adaptive[0] > 0; }
  index_t stride(std::size_t axis) const {
    return options.stride[axis] > 0 ? options.stride[axis] : options.kernel[axis];
  }
};

}  // namespace adze

namespace adze::detail::inline ADZE_ISA {

inline void check_pool(std::string_view op, const pool_geometry& p) {
  if (p.is_adaptive()) return;
  const pool_options& o = p.options;
  const auto check = [op](std::string_view what, index_t value, index_t least) {
    if (value < least || value > 0x7fffffff) {
      raise<value_error>(op, ": ", what, " must be at least ", least, "; got ", value);
    }
  };
  for (const std::size_t a : {0u, 1u}) {
    check("kernel", o.kernel[a], 1);
    check("stride", o.stride[a], 0);
    check("padding", o.padding[a], 0);
    check("dilation", o.dilation[a], 1);
    const index_t reach = o.dilation[a] * (o.kernel[a] - 1) + 1;
    if (o.padding[a] > reach / 2) {
      raise<value_error>(op, ": padding must be at most half of the kernel; got ", o.padding[a],
                         " and ", reach);
    }
  }
}

template <class = void>
kernels::pool_axis pool_axis_of(const pool_geometry& p, index_t in, std::size_t axis) {
  if (p.is_adaptive()) return kernels::adaptive_axis(in, p.adaptive[axis]);
  const pool_options& o = p.options;
  return kernels::fixed_axis(in, {.kernel = o.kernel[axis],
                                  .stride = p.stride(axis),
                                  .pad = o.padding[axis],
                                  .dilation = o.dilation[axis],
                                  .ceil_mode = o.ceil_mode});
}

// What the kernels need for images of shape x.
template <class = void> kernels::pool_shape pool_shape_of(const pool_geometry& p, const shape& x) {
  return {.n = x[0],
          .c = x[1],
          .h = pool_axis_of(p, x[2], 0),
          .w = pool_axis_of(p, x[3], 1),
          .count_include_pad = p.options.count_include_pad};
}

template <class = void>
shape pooled_shape(std::string_view op, const shape& x, const pool_geometry& p) {
  check_pool(op, p);
  if (x.rank() != 4) {
    raise<shape_error>(op, ": takes images [n, c, h, w] or [c, h, w]; got ", x);
  }
  const pool_options& o = p.options;
  bool fits = x[2] * x[3] > 0;
  for (const std::size_t a : {0u, 1u}) {
    const index_t in = x[2 + static_cast<index_t>(a)];
    const index_t beyond = o.ceil_mode ? p.stride(a) - 1 : 0;  // what a window may hang over
    fits = fits &&
           (p.is_adaptive() || in + 2 * o.padding[a] + beyond > o.dilation[a] * (o.kernel[a] - 1));
  }
  if (fits && x[2] > 0x7fffffff / x[3]) {
    raise<shape_error>(op, ": an image must be smaller than 2^31 pixels; got ", x);
  }
  if (!fits && p.lines) {
    raise<shape_error>(op, ": the windows do not fit the line; got ", x.erased(2), ", kernel ",
                       o.kernel[1]);
  }
  if (!fits) {
    raise<shape_error>(op, ": the windows do not fit the image; got ", x, ", kernel ", o.kernel[0],
                       " x ", o.kernel[1]);
  }
  const kernels::pool_shape s = pool_shape_of(p, x);
  return {x[0], x[1], s.h.out, s.w.out};
}

inline pool_geometry adaptive_geometry(std::string_view op, const size_2d& out) {
  if (out[0] < 1 || out[1] < 1) {
    raise<value_error>(op, ": the size of the result must be at least 1; got ", out[0], " x ",
                       out[1]);
  }
  return {.adaptive = out};
}

// Lines as images of one row, and their options.
inline void check_lines(std::string_view op, const tensor& x) {
  if (x.rank() == 2 || x.rank() == 3) return;
  raise<shape_error>(op, ": takes lines [n, c, l] or [c, l]; got ", x);
}
inline pool_options line_options(const pool1d_options& o) {
  return {.kernel = {1, o.kernel},
          .stride = {1, o.stride},
          .padding = {0, o.padding},
          .dilation = {1, o.dilation},
          .ceil_mode = o.ceil_mode,
          .count_include_pad = o.count_include_pad};
}

// Pixels chosen of the images x, or for the gradients x.
inline void check_pixels(std::string_view op, const tensor& x, const tensor& index) {
  if (x.rank() != 4 || index.rank() != 4 || index.dtype() != i32 ||
      x.shape()[0] != index.shape()[0] || x.shape()[1] != index.shape()[1]) {
    raise<shape_error>(op, ": takes [n, c, h, w] and i32 pixels of the same images; got ", x,
                       " and ", index);
  }
}

// Sizes alone, for gathers and scatters by pixel.
inline kernels::pool_shape pool_sizes(const shape& x, const shape& y) {
  return {.n = x[0], .c = x[1], .h = {.in = x[2], .out = y[2]}, .w = {.in = x[3], .out = y[3]}};
}

}  // namespace adze::detail::inline ADZE_ISA
