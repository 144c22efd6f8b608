#pragma once
// SPDX-License-Identifier: MIT
// The weight of a convolution forward in the form that its kernel reads, made once for many calls:
// panels for products of pixels, transformed planes for Winograd's products.
#include <adze/kernels/conv_method.hpp>
#include <adze/kernels/gemm_packed.hpp>

namespace adze::kernels::inline ADZE_ISA {

template <class T, class A = simd::native> class packed_filter {
 public:
  packed_filter() = default;
  // weight [o, c / groups, kh, kw] dense, for images of these sizes with channels last. Nothing
  // where the kernel reads the weight as it stands, or transforms it faster than it would read it.
  packed_filter(const conv_shape& s, const T* weight) {
    using tiles = simd::tile_tag<A>;
    const auto x = channels_last<const T>(nullptr, s.c, s.h, s.w);
    const auto y = channels_last<const T>(nullptr, s.o, s.out_h(), s.out_w());
    const conv_method method = forward_method<T, A>(s, x, y);
    if (method == conv_method::pointwise) pixels_ = packed_right<T, A>({weight, s.c, s.o, 1, s.c});
    const auto p = forward_winograd<T, tiles>(s);
    if (method != conv_method::winograd || p.few(p.tiles(s.n))) return;
    plane_bytes_ = p.weights() * index_t(sizeof(T));
    planes_ = simd::allocate_pages(static_cast<std::size_t>(plane_bytes_));
    winograd_transform(p, {weight, 9, s.c * 9, false}, reinterpret_cast<T*>(planes_.get()));
  }

  index_t bytes() const { return pixels_.bytes() + plane_bytes_; }
  const packed_right<T, A>* pixels() const { return pixels_.bytes() > 0 ? &pixels_ : nullptr; }
  const T* planes() const { return reinterpret_cast<const T*>(planes_.get()); }

 private:
  packed_right<T, A> pixels_{};
  index_t plane_bytes_ = 0;
  simd::page_memory planes_{};
};

}  // namespace adze::kernels::inline ADZE_ISA
