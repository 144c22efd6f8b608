#pragma once
// SPDX-License-Identifier: MIT
// Pooling layers: nn::max_pool2d{{.kernel = 2}}. Sizes are one number or {height, width}.
#include <adze/ops/pool.hpp>

namespace adze::nn {

struct max_pool2d_options {
  size_2d kernel = 2, stride = 0, padding = 0, dilation = 1;  // stride 0: that of the kernel
  bool ceil_mode = false;
};
struct avg_pool2d_options {
  size_2d kernel = 2, stride = 0, padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
};
struct adaptive_pool2d_options {
  size_2d out = 1;  // size of the result
};

}  // namespace adze::nn

namespace adze::nn::inline ADZE_ISA {

struct max_pool2d {
  max_pool2d_options options{};
  static constexpr bool stateless = true;
  explicit max_pool2d(const max_pool2d_options& o = {}) : options(o) {}
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::max_pool2d(x, {.kernel = options.kernel,
                                .stride = options.stride,
                                .padding = options.padding,
                                .dilation = options.dilation,
                                .ceil_mode = options.ceil_mode});
  }
};

struct avg_pool2d {
  avg_pool2d_options options{};
  static constexpr bool stateless = true;
  explicit avg_pool2d(const avg_pool2d_options& o = {}) : options(o) {}
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::avg_pool2d(x, {.kernel = options.kernel,
                                .stride = options.stride,
                                .padding = options.padding,
                                .ceil_mode = options.ceil_mode,
                                .count_include_pad = options.count_include_pad});
  }
};

// Along lines [n, c, l].
struct max_pool1d {
  pool1d_options options{};
  static constexpr bool stateless = true;
  explicit max_pool1d(const pool1d_options& o = {}) : options(o) {}
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::max_pool1d(x, options);
  }
};

struct avg_pool1d {
  pool1d_options options{};
  static constexpr bool stateless = true;
  explicit avg_pool1d(const pool1d_options& o = {}) : options(o) {}
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::avg_pool1d(x, options);
  }
};

struct adaptive_avg_pool2d {
  adaptive_pool2d_options options{};
  static constexpr bool stateless = true;
  explicit adaptive_avg_pool2d(const adaptive_pool2d_options& o = {}) : options(o) {}
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::adaptive_avg_pool2d(x, options.out);
  }
};

struct adaptive_max_pool2d {
  adaptive_pool2d_options options{};
  static constexpr bool stateless = true;
  explicit adaptive_max_pool2d(const adaptive_pool2d_options& o = {}) : options(o) {}
  template <class = void> tensor operator()(const tensor& x) const {
    return adze::adaptive_max_pool2d(x, options.out);
  }
};

}  // namespace adze::nn::inline ADZE_ISA
