#pragma once
// SPDX-License-Identifier: MIT
// The arithmetic of affine.hpp as row loops for kernels/map: any dtype, layout and granularity, and
// what straight-through gradients need. Parameters are read beside the data, or are the same for
// all. Loops of whole u8 and s8 memory are in quantize.hpp and give the same codes.
#include <adze/kernels/affine.hpp>
#include <adze/kernels/lanes.hpp>
#include <adze/kernels/map.hpp>

namespace adze::kernels::inline ADZE_ISA {

// The functor of all loops here. Inputs are data, then scale and zero point unless `whole`.
struct code_call {
  code_range codes{};
  bool whole = false;      // scale and zero point are these
  bool real_zero = false;  // added before rounding; f64 only
  double scale = 1, zero = 0;
};

// What a loop makes of one or two inputs.
namespace code_bodies {

struct value {  // fake quantization
  static constexpr int inputs = 1;
  template <class L, class P> static P of(const L& q, P x, P) { return q.value(x); }
};
struct code {
  static constexpr int inputs = 1;
  template <class L, class P> static P of(const L& q, P x, P) { return q.code(x); }
};
struct value_of_code {
  static constexpr int inputs = 1;
  template <class L, class P> static P of(const L& q, P code, P) { return q.value_of(code); }
};
struct inside {  // 1 where a straight-through gradient passes, else 0
  static constexpr int inputs = 1;
  template <class L, class P> static P of(const L& q, P x, P) {
    return where(q.inside(x), P(1), P(0));
  }
};
struct passed {  // a straight-through gradient y
  static constexpr int inputs = 2;
  template <class L, class P> static P of(const L& q, P x, P y) {
    return where(q.inside(x), y, P(0));
  }
};
struct scale_slope {  // y times d value / d scale
  static constexpr int inputs = 2;
  template <class L, class P> static P of(const L& q, P x, P y) { return q.scale_slope(x) * y; }
};

}  // namespace code_bodies

template <class Body, class L, class T>
[[gnu::always_inline]] inline void code_row(const L& lanes_at, const void* const* in, T* out,
                                            index_t n) {
  using P = simd::pack<T>;
  const T* x = static_cast<const T*>(in[0]);
  const T* y = static_cast<const T*>(in[Body::inputs - 1]);
  over_packs<T>(
      n, [&](index_t i, auto io) __attribute__((always_inline)) {
        io.store(
            Body::of(lanes_at(i, io), io.load(x + i), Body::inputs == 2 ? io.load(y + i) : P(0)),
            out + i);
      });
}

template <class Body, class T, template <class> class Lanes>
void code_rows_with(const code_call& c, const void* const* in, T* out, index_t n) {
  using P = simd::pack<T>;
  if (c.whole) {
    const Lanes<P> q(static_cast<T>(c.scale), static_cast<T>(c.zero), c.codes);
    return code_row<Body>([&](index_t, auto) -> const Lanes<P>& { return q; }, in, out, n);
  }
  const T* scale = static_cast<const T*>(in[Body::inputs]);
  const T* zero = static_cast<const T*>(in[Body::inputs + 1]);
  code_row<Body>(
      [&](index_t i, auto io) {
        return Lanes<P>(io.load(scale + i, 1.0), io.load(zero + i), c.codes);
      },
      in, out, n);
}

template <class Body, class T>
void code_rows(const void* functor, const void* const* in, void* out, index_t n, flow) {
  const code_call& c = *static_cast<const code_call*>(functor);
  T* y = static_cast<T*>(out);
  if constexpr (std::is_same_v<T, double>) {
    if (c.real_zero) return code_rows_with<Body, T, real_zero_lanes>(c, in, y, n);
  }
  code_rows_with<Body, T, code_lanes>(c, in, y, n);
}

template <class Body>
inline constexpr map_loops code_loops{code_rows<Body, float>, code_rows<Body, double>, nullptr};

}  // namespace adze::kernels::inline ADZE_ISA
