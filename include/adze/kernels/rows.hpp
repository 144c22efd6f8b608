#pragma once
// SPDX-License-Identifier: MIT
// Loads and stores between any dtype and the three types that kernels compute in (float, double,
// int64): here a dtype is nothing but load and store. Casts are a load and a store.
#include <adze/core/dispatch.hpp>
#include <adze/simd/codes.hpp>
#include <adze/simd/convert.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Dense codes to floats; bool8 is the codes 0 and 1.
template <simd::code Code> void widen_codes(const Code* in, float* out, index_t n) {
  using P = simd::pack<float>;
  index_t i = 0;
  for (; i + P::size <= n; i += P::size) {
    P x;
    simd::load_codes(in + i, x);
    x.store(out + i);
  }
  for (; i < n; ++i) out[i] = static_cast<float>(in[i]);
}

// out[i] = the float in[i] is not zero (NaN is not).
template <class = void> void store_truths(const void* from, std::uint8_t* out, index_t n) {
  using P = simd::pack<float>;
  const float* const in = static_cast<const float*>(from);
  index_t i = 0;
  for (; i + 4 * P::size <= n; i += 4 * P::size) {
    P x[4];
#pragma GCC unroll 4
    for (index_t p = 0; p < 4; ++p) x[p] = where(P::load(in + i + p * P::size) == P(0), P(0), P(1));
    simd::store_codes(x, 0, out + i);
  }
  for (; i < n; ++i) out[i] = in[i] != 0;
}

// What T is loaded from and stored to: i64 is computed in where all are whole numbers.
template <class T>
using row_types =
    std::conditional_t<std::is_integral_v<T>,
                       types<std::int8_t, std::uint8_t, std::int32_t, std::int64_t, bool>,
                       all_types>;

// out[i] = in[i * stride], from `type` to T.
template <class T>
[[gnu::noinline]] void load_row(dtype type, const void* in, index_t stride, index_t n, T* out) {
  dispatch(row_types<T>{}, type, "load", [&]<class E>() {
    const E* x = static_cast<const E*>(in);
    if constexpr (std::is_same_v<T, float> &&
                  (std::is_same_v<E, float16> || std::is_same_v<E, bfloat16>)) {
      if (stride == 1) return simd::convert(x, out, n);
    }
    if constexpr (std::is_same_v<T, float> && std::is_integral_v<E> && sizeof(E) == 1) {
      using code = std::conditional_t<std::is_signed_v<E>, std::int8_t, std::uint8_t>;
      if (stride == 1) return widen_codes(static_cast<const code*>(in), out, n);
    }
    for (index_t i = 0; i < n; ++i) out[i] = simd::convert_to<T>(x[i * stride]);
  });
}

// out[i * stride] = in[i], from T to `type`.
template <class T>
[[gnu::noinline]] void store_row(dtype type, void* out, index_t stride, index_t n, const T* in) {
  dispatch(row_types<T>{}, type, "store", [&]<class E>() {
    E* y = static_cast<E*>(out);
    if constexpr (std::is_same_v<T, float> &&
                  (std::is_same_v<E, float16> || std::is_same_v<E, bfloat16>)) {
      if (stride == 1) return simd::convert(in, y, n);
    }
    if constexpr (std::is_same_v<T, float> && std::is_same_v<E, bool>)
      if (stride == 1) return store_truths(in, static_cast<std::uint8_t*>(out), n);
    for (index_t i = 0; i < n; ++i) y[i * stride] = simd::convert_to<E>(in[i]);
  });
}

// The same where what is computed in, f32, f64 or i64, is known at run time.
template <class = void>
[[gnu::noinline]] void load_row_in(dtype compute, dtype type, const void* in, index_t stride,
                                   index_t n, void* out) {
  if (compute == f32) return load_row(type, in, stride, n, static_cast<float*>(out));
  if (compute == f64) return load_row(type, in, stride, n, static_cast<double*>(out));
  load_row(type, in, stride, n, static_cast<std::int64_t*>(out));
}
template <class = void>
[[gnu::noinline]] void store_row_in(dtype compute, dtype type, void* out, index_t stride, index_t n,
                                    const void* in) {
  if (compute == f32) return store_row(type, out, stride, n, static_cast<const float*>(in));
  if (compute == f64) return store_row(type, out, stride, n, static_cast<const double*>(in));
  store_row(type, out, stride, n, static_cast<const std::int64_t*>(in));
}

// A block of rows of contiguous elements, which are `step` apart on the other side of the copy.
struct row_block {
  index_t rows = 0, cols = 0, step = 0;
};

// Rows of f16 or bf16 to rows of floats `out_step` apart, and back.
template <class = void>
[[gnu::noinline]] void widen_rows(dtype type, const void* in, const row_block& b, float* out,
                                  index_t out_step) {
  dispatch(types<float16, bfloat16>{}, type, "load", [&]<class E>() {
    const E* x = static_cast<const E*>(in);
    for (index_t i = 0; i < b.rows; ++i) simd::convert(x + i * b.step, out + i * out_step, b.cols);
  });
}
template <class = void>
[[gnu::noinline]] void narrow_rows(dtype type, void* out, const row_block& b, const float* in,
                                   index_t in_step) {
  dispatch(types<float16, bfloat16>{}, type, "store", [&]<class E>() {
    E* y = static_cast<E*>(out);
    for (index_t i = 0; i < b.rows; ++i) simd::convert(in + i * in_step, y + i * b.step, b.cols);
  });
}

// The type in which a cast from a to b is carried out: exact for every value that b can hold.
constexpr dtype cast_type(dtype a, dtype b) {
  if (a == f64 || b == f64) return f64;
  return is_floating(a) || is_floating(b) ? f32 : i64;
}

}  // namespace adze::kernels::inline ADZE_ISA
