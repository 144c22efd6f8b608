#pragma once
// SPDX-License-Identifier: MIT
// Ops on eight-bit codes that need no product: sums of two, tables, and pooling. Every float on the
// way is the one that dequantize, the op and quantize would give, in their order, so codes are
// those of the simulation; means are exact sums, divided once.
#include <cstring>

#include <adze/kernels/pool.hpp>
#include <adze/kernels/quantize.hpp>
#include <adze/simd/codes.hpp>
#include <adze/simd/tile.hpp>

namespace adze::kernels {

// How one operand of eight bits is read.
struct code_operand {
  const void* data = nullptr;
  bool is_signed = false;
  affine a{};
};

// How results become codes; relu raises the lowest one to the zero point.
struct code_result {
  affine a{};
  code_range codes{};
  bool relu = false;
  std::int32_t lowest() const { return relu ? std::max(codes.low, a.zero) : codes.low; }
};

inline namespace ADZE_ISA {

inline constexpr index_t code_ops_chunk = 16384;  // elements worth a task

// The product is rounded for itself: a compiler may not make one fma of it and a sum that follows.
template <class Code, class P> P values_of(const void* data, index_t i, const affine& a) {
  P x;
  simd::load_codes(static_cast<const Code*>(data) + i, x);
  P product = (x - P(static_cast<float>(a.zero))) * P(a.scale);
  simd::pin(product);
  return product;
}
template <class P> P values_of(const code_operand& x, index_t i) {
  return x.is_signed ? values_of<std::int8_t, P>(x.data, i, x.a)
                     : values_of<std::uint8_t, P>(x.data, i, x.a);
}

// out[i] = the code of x[i] + y[i] for a run of n.
template <class Out, class A>
void add_codes_run(const code_operand& x, const code_operand& y, Out* out, index_t n,
                   const code_result& r) {
  using P = simd::pack<float, simd::tile_tag<A>>;
  constexpr index_t block = 4 * P::size;
  const P inverse(1.0f / r.a.scale), low(static_cast<float>(r.lowest() - r.a.zero)),
      high(static_cast<float>(r.codes.high - r.a.zero));
  const auto store = [&](const code_operand& a, const code_operand& b, index_t i, Out* to) {
    P sum[4];
    for (index_t v = 0; v < 4; ++v) {
      const P both = values_of<P>(a, i + v * P::size) + values_of<P>(b, i + v * P::size);
      sum[v] = less_of(high, greater_of(low, both * inverse));
    }
    simd::store_codes(sum, r.a.zero, to);
  };
  index_t i = 0;
  for (; i + block <= n; i += block) store(x, y, i, out + i);
  if (i == n) return;
  std::byte a[block] = {}, b[block] = {};
  Out some[block];
  const auto rest = static_cast<std::size_t>(n - i);
  std::memcpy(a, static_cast<const std::byte*>(x.data) + i, rest);
  std::memcpy(b, static_cast<const std::byte*>(y.data) + i, rest);
  store({a, x.is_signed, x.a}, {b, y.is_signed, y.a}, 0, some);
  std::memcpy(out + i, some, rest);
}

// out = code of (x + y), x and y of the same dense layout.
template <class Out, class A = simd::native>
void add_codes(const code_operand& x, const code_operand& y, Out* out, index_t n,
               const code_result& r) {
  parallel_for(n, code_ops_chunk, [&](index_t i0, index_t i1) {
    const auto at = [i0](const code_operand& o) {
      return code_operand{static_cast<const std::byte*>(o.data) + i0, o.is_signed, o.a};
    };
    add_codes_run<Out, A>(at(x), at(y), out + i0, i1 - i0, r);
  });
}

// out[i] = table[x[i]], the codes of both as bytes.
inline void map_bytes(const std::uint8_t* x, std::uint8_t* out, index_t n,
                      const std::array<std::uint8_t, 256>& table) {
  parallel_for(n, code_ops_chunk, [&](index_t i0, index_t i1) {
    for (index_t i = i0; i < i1; ++i) out[i] = table[x[i]];
  });
}

// f(c, lanes) for blocks of 32, 16, 8, 4 channels, one after the other, then single ones: loops
// over a constant number of lanes become registers.
template <class F> void over_channels(index_t c0, index_t c1, bool adjacent, F f) {
  const auto blocks = [&](auto lanes) {
    for (; adjacent && c0 + lanes <= c1; c0 += lanes) f(c0, lanes);
  };
  blocks(std::integral_constant<index_t, 32>{});
  blocks(std::integral_constant<index_t, 16>{});
  blocks(std::integral_constant<index_t, 8>{});
  blocks(std::integral_constant<index_t, 4>{});
  for (; c0 < c1; ++c0) f(c0, std::integral_constant<index_t, 1>{});
}

// The largest code of each window, `lowest` where it has no pixel: the zero point's neighbour of
// minus infinity is the lowest code there is.
template <class Code>
void max_pool_codes(const pool_shape& s, std::type_identity_t<image<const Code>> x, image<Code> y,
                    Code lowest) {
  const bool adjacent = x.c_stride == 1 && y.c_stride == 1;
  each_output(s, adjacent, [&](const pool_span& p, index_t c0, index_t c1) {
    const Code* from = x.at(p.n, 0, 0);
    Code* to = y.at(p.n, p.i, p.j);
    over_channels(c0, c1, adjacent, [&](index_t c, auto lanes) {
      Code best[lanes];
      for (index_t k = 0; k < lanes; ++k) best[k] = lowest;
      each_pixel(p, x, from + c * x.c_stride, [&](const Code* pixel, index_t, index_t) {
        for (index_t k = 0; k < lanes; ++k) best[k] = pixel[k] > best[k] ? pixel[k] : best[k];
      });
      std::memcpy(to + c * y.c_stride, best, sizeof(best));
    });
  });
}

// sum[k] += the codes of a window in channel k minus their zero points; four pixels of a row at a
// time, since clang 14 keeps sums in memory (8 x 8 windows of 320 channels: 490 to 120 us, g++ 12
// 124 to 83).
template <index_t lanes, class Code>
void sum_codes(const pool_span& p, const image<const Code>& x, const Code* from, std::int32_t zero,
               std::int32_t* sum) {
  const index_t step = p.x_step * x.w_stride;
  for (index_t row = p.y0; row < p.y1; row += p.y_step) {
    const Code* pixel = from + row * x.h_stride + p.x0 * x.w_stride;
    index_t column = p.x0;
    for (; column + 3 * p.x_step < p.x1; column += 4 * p.x_step, pixel += 4 * step)
      for (index_t k = 0; k < lanes; ++k)
        sum[k] += pixel[k] + pixel[step + k] + pixel[2 * step + k] + pixel[3 * step + k] - 4 * zero;
    for (; column < p.x1; column += p.x_step, pixel += step)
      for (index_t k = 0; k < lanes; ++k) sum[k] += pixel[k] - zero;
  }
}

// The mean of each window: the exact sum of codes minus zero points, times the scale over
// s.divide_by, as a code. Padding counts as zeros.
template <class Code>
void avg_pool_codes(const pool_shape& s, std::type_identity_t<image<const Code>> x, affine in,
                    image<Code> y, const code_result& r) {
  const bool adjacent = x.c_stride == 1 && y.c_stride == 1;
  const float inverse = 1.0f / r.a.scale;
  const auto low = static_cast<float>(r.lowest() - r.a.zero);
  const auto high = static_cast<float>(r.codes.high - r.a.zero);
  each_output(s, adjacent, [&](const pool_span& p, index_t c0, index_t c1) {
    const Code* from = x.at(p.n, 0, 0);
    Code* to = y.at(p.n, p.i, p.j);
    const float scale = in.scale / static_cast<float>(s.divide_by(p.i, p.j));
    over_channels(c0, c1, adjacent, [&](index_t c, auto lanes) {
      std::int32_t sum[lanes] = {};
      sum_codes<lanes()>(p, x, from + c * x.c_stride, in.zero, sum);
      for (index_t k = 0; k < lanes; ++k) {
        const float mean = static_cast<float>(sum[k]) * scale;
        const float step = std::nearbyint(std::clamp(mean * inverse, low, high));
        to[c * y.c_stride + k] = static_cast<Code>(static_cast<std::int32_t>(step) + r.a.zero);
      }
    });
  });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
