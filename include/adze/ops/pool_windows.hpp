#pragma once
// SPDX-License-Identifier: MIT
// How the windows of pooling lie on images: options to tables, and the layout of the results. The
// ops are in pool.hpp.
#include <adze/kernels/pool.hpp>
#include <adze/ops/dense.hpp>

namespace adze {

// How windows lie on images: pool_options, or, for adaptive pooling, the size of the result.
struct pool_geometry {
  pool_options options{};
  std::array<index_t, 2> adaptive{0, 0};

  bool is_adaptive() const { return adaptive[0] > 0; }
  index_t stride(std::size_t axis) const {
    return options.stride[axis] > 0 ? options.stride[axis] : options.kernel[axis];
  }
};

}  // namespace adze

namespace adze::detail::inline ADZE_ISA {

inline tensor as_channels_last(const tensor& x, dtype type) {
  if (x.dtype() == type && is_channels_last(x)) return x;
  tensor y = empty_channels_last(x.shape(), type);
  kernels::copy(x.shape(), operand_of(y), operand_of(x));
  return y;
}
// y, channels last, as the op returns it: row-major where x is, in the dtype of x.
inline tensor pooled_like(const tensor& y, const tensor& x) {
  return x.is_contiguous() && !is_channels_last(x) ? dense_as(y, x.dtype())
                                                   : as_channels_last(y, x.dtype());
}

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
    if (o.padding[a] > o.kernel[a] / 2) {
      raise<value_error>(op, ": padding must be at most half of the kernel; got ", o.padding[a],
                         " and ", o.kernel[a]);
    }
  }
}

// The number of windows along one axis.
inline index_t pooled_size(const pool_geometry& p, index_t in, std::size_t axis) {
  if (p.is_adaptive()) return p.adaptive[axis];
  const pool_options& o = p.options;
  const index_t stride = p.stride(axis), pad = o.padding[axis];
  const index_t room = in + 2 * pad - o.dilation[axis] * (o.kernel[axis] - 1) - 1;
  if (room < 0) return 0;
  index_t out = (room + (o.ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (o.ceil_mode && (out - 1) * stride >= in + pad) --out;  // it would begin in the padding
  return out;
}

inline shape pooled_shape(std::string_view op, const shape& x, const pool_geometry& p) {
  check_pool(op, p);
  if (x.rank() != 4) {
    raise<shape_error>(op, ": takes images [n, c, h, w] or [c, h, w]; got ", x);
  }
  const shape to{x[0], x[1], pooled_size(p, x[2], 0), pooled_size(p, x[3], 1)};
  if (x[2] * x[3] == 0 || to[2] < 1 || to[3] < 1) {
    raise<shape_error>(op, ": the windows do not fit the image; got ", x, ", kernel ",
                       p.options.kernel[0], " x ", p.options.kernel[1]);
  }
  if (x[2] * x[3] > 0x7fffffff) {
    raise<shape_error>(op, ": at most 2^31 - 1 pixels an image; got ", x);
  }
  return to;
}

// The windows of one axis. Maxima skip the padding; averages may count it.
inline tensor pool_windows(const pool_geometry& p, index_t in, index_t out, std::size_t axis,
                           bool average) {
  static_assert(sizeof(kernels::pool_window) == 3 * sizeof(index_t));
  tensor table = empty({out, 3}, i64);
  auto* windows = reinterpret_cast<kernels::pool_window*>(table.data_as<std::int64_t>());
  const pool_options& o = p.options;
  const index_t pad = o.padding[axis], dilation = average ? 1 : o.dilation[axis];
  for (index_t i = 0; i < out; ++i) {
    kernels::pool_window& w = windows[i];
    if (p.is_adaptive()) {
      w = {i * in / out, ((i + 1) * in + out - 1) / out};
      w.size = w.end - w.begin;
      continue;
    }
    index_t begin = i * p.stride(axis) - pad;
    const index_t end = begin + dilation * (o.kernel[axis] - 1) + 1;
    w.size = std::min(end, in + pad) - begin;
    if (begin < 0) begin += (-begin + dilation - 1) / dilation * dilation;
    w.begin = begin;
    w.end = std::min(end, in);
    if (!o.count_include_pad) w.size = w.end - w.begin;
    w.size = std::max<index_t>(1, w.size);
  }
  return table;
}

// Everything a kernel needs; the tables live as long as this does.
struct pool_call {
  tensor rows, columns;
  kernels::pool_shape sizes;

  pool_call(const pool_geometry& p, const shape& x, const shape& y, bool average)
      : rows(pool_windows(p, x[2], y[2], 0, average)),
        columns(pool_windows(p, x[3], y[3], 1, average)),
        sizes{.n = x[0],
              .c = x[1],
              .h = x[2],
              .w = x[3],
              .out_h = y[2],
              .out_w = y[3],
              .rows = reinterpret_cast<const kernels::pool_window*>(rows.data()),
              .columns = reinterpret_cast<const kernels::pool_window*>(columns.data()),
              .step_h = average ? 1 : p.options.dilation[0],
              .step_w = average ? 1 : p.options.dilation[1]} {}
};

inline pool_geometry adaptive_geometry(std::string_view op, std::array<index_t, 2> out) {
  if (out[0] < 1 || out[1] < 1) {
    raise<value_error>(op, ": the size of the result must be at least 1; got ", out[0], " x ",
                       out[1]);
  }
  return {.adaptive = out};
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
  return {.n = x[0], .c = x[1], .h = x[2], .w = x[3], .out_h = y[2], .out_w = y[3]};
}

}  // namespace adze::detail::inline ADZE_ISA
