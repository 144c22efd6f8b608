#pragma once
// SPDX-License-Identifier: MIT
// Layers of XNNPACK, found at run time and called without its headers: dense layers and forward
// convolutions of floats, whose weights are packed once and not timed. Images are channels-last, as
// ours. The numbers are those of its C interface of 2022; it may read 16 bytes past its operands.
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <adze/bench/library.hpp>
#include <adze/kernels/conv_plan.hpp>

namespace peers {

using adze::index_t;

class xnnpack {
 public:
  // y [m, n] = x [m, k] times w: [n, k] when by_output, else [k, n].
  struct dense_layer {
    index_t m, n, k;
    bool by_output;
    const float* w;
  };

  static xnnpack& found() {
    static xnnpack one;
    return one;
  }
  explicit operator bool() const { return ready_; }
  // Null where it has no such layer.
  void* make(const dense_layer& l) {
    void* made = nullptr;
    const auto k = static_cast<std::size_t>(l.k), n = static_cast<std::size_t>(l.n);
    return dense_(k, n, k, n, l.w, nullptr, -infinity, infinity, l.by_output ? 0 : 1, &made) == 0
               ? made
               : nullptr;
  }
  // w [o, c / groups, kh, kw], as in PyTorch.
  void* make(const adze::kernels::conv_shape& s, const float* w) {
    const index_t in = s.c / s.groups, taps = s.kh * s.kw;
    std::vector<float> by_tap(static_cast<std::size_t>(s.o * in * taps));
    for (index_t o = 0; o < s.o; ++o)
      for (index_t c = 0; c < in; ++c)
        for (index_t t = 0; t < taps; ++t)
          by_tap[static_cast<std::size_t>((o * taps + t) * in + c)] = w[(o * in + c) * taps + t];
    const auto u = [](index_t i) { return static_cast<std::uint32_t>(i); };
    const auto z = [](index_t i) { return static_cast<std::size_t>(i); };
    void* made = nullptr;
    return conv_(u(s.pad_h), u(s.pad_w), u(s.pad_h), u(s.pad_w), u(s.kh), u(s.kw), u(s.stride_h),
                 u(s.stride_w), u(s.dil_h), u(s.dil_w), u(s.groups), z(in), z(s.o / s.groups),
                 z(s.c), z(s.o), by_tap.data(), nullptr, -infinity, infinity, 0, &made) == 0
               ? made
               : nullptr;
  }

  // For these operands and so many threads; then run() as often as wanted. False: it cannot.
  bool prepare(void* layer, const dense_layer& l, const float* x, float* y, int threads) {
    return dense_setup_(layer, static_cast<std::size_t>(l.m), x, y, pool(threads)) == 0;
  }
  bool prepare(void* layer, const adze::kernels::conv_shape& s, const float* x, float* y,
               int threads) {
    return conv_setup_(layer, static_cast<std::size_t>(s.n), static_cast<std::size_t>(s.h),
                       static_cast<std::size_t>(s.w), x, y, pool(threads)) == 0;
  }
  bool run(void* layer, int threads) { return run_(layer, pool(threads)) == 0; }

 private:
  using status = int;
  static constexpr float infinity = std::numeric_limits<float>::infinity();

  xnnpack() {
    status (*start)(const void*) = nullptr;
    ready_ = find(library_, start, "xnn_initialize") &&
             find(library_, dense_, "xnn_create_fully_connected_nc_f32") &&
             find(library_, dense_setup_, "xnn_setup_fully_connected_nc_f32") &&
             find(library_, conv_, "xnn_create_convolution2d_nhwc_f32") &&
             find(library_, conv_setup_, "xnn_setup_convolution2d_nhwc_f32") &&
             find(library_, run_, "xnn_run_operator") &&
             find(pools_, pool_create_, "pthreadpool_create") && start(nullptr) == 0;
  }
  template <class F> static bool find(const adze::bench::library& in, F*& f, const char* name) {
    f = in.find<F>(name);
    return f != nullptr;
  }

  // One for each number of threads, never taken down.
  void* pool(int threads) {
    if (threads <= 1) return nullptr;
    const auto n = static_cast<std::size_t>(threads);
    if (made_.size() <= n) made_.resize(n + 1);
    if (made_[n] == nullptr) made_[n] = pool_create_(n);
    return made_[n];
  }

  adze::bench::library library_ = adze::bench::library::open({"libXNNPACK.so.0"});
  adze::bench::library pools_ = adze::bench::library::open({"libpthreadpool.so.0"});
  bool ready_ = false;
  std::vector<void*> made_{};

  status (*dense_)(std::size_t, std::size_t, std::size_t, std::size_t, const float*, const float*,
                   float, float, std::uint32_t, void**) = nullptr;
  status (*dense_setup_)(void*, std::size_t, const float*, float*, void*) = nullptr;
  status (*conv_)(std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t,
                  std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t,
                  std::uint32_t, std::size_t, std::size_t, std::size_t, std::size_t, const float*,
                  const float*, float, float, std::uint32_t, void**) = nullptr;
  status (*conv_setup_)(void*, std::size_t, std::size_t, std::size_t, const float*, float*,
                        void*) = nullptr;
  status (*run_)(void*, void*) = nullptr;
  void* (*pool_create_)(std::size_t) = nullptr;
};

}  // namespace peers
