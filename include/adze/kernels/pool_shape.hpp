#pragma once
// SPDX-License-Identifier: MIT
// The geometry of pooling: windows along two axes, fixed or adaptive, and PyTorch's output sizes.
#include <algorithm>
#include <cstdint>

#include <adze/fwd.hpp>

namespace adze::kernels {

// The place y * w + x of a pixel in its image; images are smaller than 2^31 pixels.
using pixel_index = std::int32_t;

// The windows along one axis. Adaptive ones are floor(i in / out) to ceil((i + 1) in / out).
struct pool_axis {
  index_t in = 1, out = 1, kernel = 1, stride = 1, pad = 0, dilation = 1;
  bool adaptive = false;

  index_t start(index_t i) const { return i * stride - pad; }
  // The first position inside the image, and one past the last.
  index_t begin(index_t i) const {
    if (adaptive) return i * in / out;
    const index_t s = start(i);
    return s >= 0 ? s : s + (-s + dilation - 1) / dilation * dilation;
  }
  index_t end(index_t i) const {
    if (adaptive) return ((i + 1) * in + out - 1) / out;
    return std::min(start(i) + (kernel - 1) * dilation + 1, in);
  }
  index_t inside(index_t i) const { return std::max<index_t>(0, end(i) - begin(i)); }
  // With the padding, but not what lies beyond it.
  index_t with_padding(index_t i) const {
    return adaptive ? inside(i) : std::min(start(i) + kernel, in + pad) - start(i);
  }
};

struct pool_window {
  index_t kernel = 1, stride = 1, pad = 0, dilation = 1;
  bool ceil_mode = false;
};

// PyTorch's output size: floor, or ceiling without windows that begin in the right padding.
inline pool_axis fixed_axis(index_t in, const pool_window& w) {
  const index_t free = in + 2 * w.pad - w.dilation * (w.kernel - 1) - 1;
  index_t out = (free + (w.ceil_mode ? w.stride - 1 : 0)) / w.stride + 1;
  if (w.ceil_mode && (out - 1) * w.stride >= in + w.pad) --out;
  return {in, out, w.kernel, w.stride, w.pad, w.dilation, false};
}
inline pool_axis adaptive_axis(index_t in, index_t out) { return {in, out, 1, 1, 0, 1, true}; }

struct pool_shape {
  index_t n = 1, c = 1;
  pool_axis h{}, w{};
  bool count_include_pad = true;  // averages divide by the padded window
  index_t divisor = 0;            // or by this, when not 0

  index_t work() const { return n * c * h.out * w.out * h.kernel * w.kernel; }
  index_t divide_by(index_t y, index_t x) const {
    if (divisor != 0) return divisor;
    return count_include_pad ? h.with_padding(y) * w.with_padding(x) : h.inside(y) * w.inside(x);
  }
};

}  // namespace adze::kernels
