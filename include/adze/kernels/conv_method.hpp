#pragma once
// SPDX-License-Identifier: MIT
// Which kernel computes a convolution of floats: one rule for each direction, by sizes and strides.
#include <adze/kernels/conv_few_pixels.hpp>
#include <adze/kernels/conv_pointwise.hpp>
#include <adze/kernels/conv_scatter.hpp>
#include <adze/kernels/conv_winograd.hpp>
#include <adze/kernels/depthwise3_conv.hpp>
#include <adze/kernels/winograd_gradient.hpp>

namespace adze::kernels::inline ADZE_ISA {

inline bool is_depthwise(const conv_shape& s) { return s.groups == s.c && s.o == s.c && s.c > 1; }

// How a convolution of floats is computed: `conv_method_name` says why.
enum class conv_method { pointwise, winograd, depthwise3, depthwise, scatter, few_pixels, windows };
inline const char* conv_method_name(conv_method m) {
  constexpr const char* names[] = {
      "product-of-pixels",    "winograd-3x3-stride-1", "depthwise-3x3-in-registers",
      "depthwise-by-windows", "scatter-few-inputs",    "weights-as-they-stand",
      "tiles-of-windows"};
  return names[static_cast<std::size_t>(m)];
}

// Whether results are stored once, finished: their residual may then lie where they do.
inline bool finishes_in_registers(conv_method m) { return m == conv_method::winograd; }

// Whether Winograd's filtering can compute a problem that reads x.
template <class T> bool allows_winograd(const conv_shape& s, image<const T> x) {
  return s.kh == 3 && s.kw == 3 && s.stride_h == 1 && s.stride_w == 1 && s.dil_h == 1 &&
         s.dil_w == 1 && s.groups == 1 && x.c_stride == 1 && s.c >= 16 && s.o >= 16 && !s.exact &&
         winograd_allowed.load(std::memory_order_relaxed);
}

// Whether Winograd's products are worth their transforms. Counted in multiplications for each
// weight (benchmarks/conv): transforming one costs as much as 200, as 400 where a panel at a time
// is transformed, and as 1300 where the transformed weights leave the L2 cache; as 100 where that
// happens in registers, which hold four tiles.
template <class T, class A>
bool prefers_winograd(const conv_shape& s, const winograd_plan<T, A, 4>& p, image<const T> x) {
  if (!allows_winograd(s, x)) return false;
  const index_t tiles = p.tiles(s.n), bytes = 36 * s.c * s.o * index_t(sizeof(T));
  if (p.by_rows(tiles)) return 9 * s.n * p.out_h * p.out_w > 42 * ((tiles + 3) / 4 * 4) + 100;
  const index_t transform = p.few(tiles) ? 400 : bytes > (index_t(1) << 20) ? 1300 : 200;
  return 9 * s.n * p.out_h * p.out_w > 40 * tiles + transform;
}

template <class T, class A> winograd_plan<T, A, 4> forward_winograd(const conv_shape& s) {
  return {s.c, s.o, s.h, s.w, s.out_h(), s.out_w(), s.pad_h, s.pad_w};
}
template <class T, class A> winograd_plan<T, A, 4> data_winograd(const conv_shape& s) {
  return {s.o, s.c, s.out_h(), s.out_w(), s.h, s.w, 2 - s.pad_h, 2 - s.pad_w};
}

template <class T, class A> winograd_gradient_plan<T, A> gradient_winograd(const conv_shape& s) {
  return {forward_winograd<T, A>(s)};
}

template <class T, class A = simd::native>
conv_method forward_method(const conv_shape& s, std::type_identity_t<image<const T>> x,
                           std::type_identity_t<image<const T>> y) {
  using tiles = simd::tile_tag<A>;
  if (is_depthwise(s))
    return has_depthwise3<T, tiles>(s, x) ? conv_method::depthwise3 : conv_method::depthwise;
  if (is_pointwise(s, x, y)) return conv_method::pointwise;
  const bool filter = prefers_winograd(s, forward_winograd<T, tiles>(s), x);
  return filter ? conv_method::winograd : conv_method::windows;
}

template <class T, class A = simd::native>
conv_method data_method(const conv_shape& s, std::type_identity_t<image<const T>> gx,
                        std::type_identity_t<image<const T>> gy) {
  using tiles = simd::tile_tag<A>;
  if (is_depthwise(s))
    return has_depthwise3<T, tiles>(s, gy) ? conv_method::depthwise3 : conv_method::depthwise;
  if (is_pointwise(s, gx, gy)) return conv_method::pointwise;
  if (prefers_winograd(s, data_winograd<T, tiles>(s), gy)) return conv_method::winograd;
  if (prefers_weights_as_they_stand(s)) return conv_method::few_pixels;
  return prefers_scatter(s) ? conv_method::scatter : conv_method::windows;
}

template <class T, class A = simd::native>
conv_method weight_method(const conv_shape& s, std::type_identity_t<image<const T>> x,
                          std::type_identity_t<image<const T>> gy) {
  if (is_depthwise(s)) {
    const bool direct = has_depthwise3<T, simd::tile_tag<A>>(s, x) && gy.c_stride == 1;
    return direct ? conv_method::depthwise3 : conv_method::depthwise;
  }
  if (is_pointwise(s, x, gy)) return conv_method::pointwise;
  // Its sums are passed over once for some tiles: many need sums that stay in the L2 cache.
  const index_t tiles = gradient_winograd<T, simd::tile_tag<A>>(s).tiles(s.n);
  const bool cheap = tiles <= 64 || 36 * s.c * s.o * index_t(sizeof(T)) <= (index_t(1) << 20);
  const bool filter = allows_winograd(s, x) && gy.c_stride == 1 && cheap &&
                      9 * s.n * s.out_h() * s.out_w() > 40 * tiles + 300;
  return filter ? conv_method::winograd : conv_method::windows;
}

}  // namespace adze::kernels::inline ADZE_ISA
