#pragma once
// SPDX-License-Identifier: MIT
// Winograd's minimal filtering F(4 x 4, 3 x 3) of few tiles with many weights, where 32 registers
// hold the sums of four tiles over a row of six planes: weights are transformed in registers, each
// time that they are multiplied, and never stored. Their factors wait for the sums.
#include <adze/kernels/winograd_input.hpp>

namespace adze::kernels::inline ADZE_ISA {

// What each line of the transform of weights leaves out, see winograd_lines<4>::weight.
template <class T>
inline constexpr T winograd_scale[6] = {T(1) / 4, T(-1) / 6, T(-1) / 6, T(1) / 24, T(1) / 24, T(1)};

// Row i of planes: sums [plane][tile][lane] (+)= images [channel block][tile][plane][channel] times
// the transforms of taps [channel][tap][lane].
template <class T, class A, int i>
[[gnu::noinline]] void winograd_row(const T* taps, const T* v, index_t depth, bool first, bool last,
                                    T* sums, index_t plane) {
  using P = simd::pack<T, A>;
  constexpr int side = 6, tiles = 4;
  constexpr index_t lanes = P::size;
  registers<registers<P, side>, tiles> sum;
  const auto each = [&](auto f) __attribute__((always_inline)) {
    simd::unroll<side>([&](auto j) __attribute__((always_inline)) {
      simd::unroll<tiles>([&](auto t) __attribute__((always_inline)) {
        f(sum[t][j], sums + j * plane + t * lanes, j);
      });
    });
  };
  if (first)
    each([](P & s, const T*, auto) __attribute__((always_inline)) { s = P(T(0)); });
  else
    each([](P & s, const T* from, auto) __attribute__((always_inline)) { s = P::load(from); });
  const auto column = [&](auto j) __attribute__((always_inline)) {
    const auto tap = [&](int r) __attribute__((always_inline)) {
      return P::load(taps + (3 * r + j) * lanes);
    };
    if constexpr (i == 0) return tap(0);
    if constexpr (i == 1) return tap(0) + tap(2) + tap(1);
    if constexpr (i == 2) return tap(0) + tap(2) - tap(1);
    if constexpr (i == 3 || i == 4) {
      const P middle = tap(1), far = fma(P(T(4)), tap(2), tap(0)), near = middle + middle;
      return i == 3 ? far + near : far - near;
    }
    if constexpr (i == 5) return tap(2);
  };
  for (index_t n = 0; depth > 0; depth -= n, v += side * tiles * lanes - n) {
    n = std::min(depth, lanes);
    for (index_t q = 0; q < n; ++q, ++v, taps += 9 * lanes) {
      const auto add = [&](auto j, P u) __attribute__((always_inline)) {
        simd::unroll<tiles>([&](auto t) __attribute__((always_inline)) {
          sum[t][j] = fma(P(v[(t * side + j) * lanes]), u, sum[t][j]);
        });
      };
      using std::integral_constant;
      const P m0 = column(integral_constant<int, 0>{}), m1 = column(integral_constant<int, 1>{});
      const P m2 = column(integral_constant<int, 2>{});
      add(integral_constant<int, 0>{}, m0);
      add(integral_constant<int, 5>{}, m2);
      const P near = m0 + m2;
      add(integral_constant<int, 1>{}, near + m1);
      add(integral_constant<int, 2>{}, near - m1);
      const P far = fma(P(T(4)), m2, m0), odd = m1 + m1;
      add(integral_constant<int, 3>{}, far + odd);
      add(integral_constant<int, 4>{}, far - odd);
    }
  }
  if (last)
    each([](P & s, const T*, auto j) __attribute__((always_inline)) {
      s = P(winograd_scale<T>[i] * winograd_scale<T>[j]) * s;
    });
  each([](P & s, T * to, auto) __attribute__((always_inline)) { s.store(to); });
}

// Taps of inputs [first, last) and the vector of outputs from `out` on, as [input][tap][lane].
template <class T, class A, int m>
void winograd_row_taps(const winograd_plan<T, A, m>& p, const winograd_weights<T>& w, index_t out,
                       index_t first, index_t last, T* to) {
  using P = simd::pack<T, A>;
  constexpr index_t lanes = P::size;
  const T* from = w.data + out * w.o_step + first * w.k_step;
  if (p.outs < lanes) {
    for (index_t k = first; k < last; ++k, from += w.k_step, to += 9 * lanes)
      for (index_t t = 0; t < 9; ++t)
        for (index_t o = 0; o < lanes; ++o)
          to[t * lanes + o] = o < p.outs ? from[(w.flipped ? 8 - t : t) + o * w.o_step] : T(0);
    return;
  }
  // The taps of an output's inputs may be neighbours: one run of them, else nine at a time.
  const index_t run = w.k_step == 9 && !w.flipped ? 9 * (last - first) : 9;
  const index_t step = w.flipped ? -lanes : lanes;
  for (index_t k = first; k < last; k += run / 9, from += w.k_step, to += run * lanes) {
    T* const begin = w.flipped ? to + 8 * lanes : to;
    if (run == 9)  // short runs far apart, which the processor does not see coming
      for (index_t i = 0; i < run * lanes; i += lanes) __builtin_prefetch(from + 8 * w.k_step + i);
    for (index_t t = 0; t < run; t += 4) {
      const index_t at = std::min(t, run - 4);
      registers<P, 4> columns;
      simd::load_columns(from + at, w.o_step, columns);
      for (index_t i = 0; i < 4; ++i) columns[i].store(begin + (at + i) * step);
    }
  }
}

template <class T, class A, int m>
void winograd_by_rows(const winograd_plan<T, A, m>& p, index_t images, image<const T> x,
                      const winograd_weights<T>& w, image<T> y, const epilogue<T>& finish) {
  constexpr index_t lanes = simd::pack<T, A>::size, group = 4, side = 6;
  constexpr index_t deep = 64;  // inputs whose taps stay in the L1 cache
  constexpr index_t block = group * side * lanes;
  const index_t tiles = p.tiles(images), groups = (tiles + group - 1) / group;
  const index_t row = (p.in + lanes - 1) / lanes * block, plane = spread<T>(groups * group * lanes);
  T* const v = scratch<T, scratch_use::window>(groups * side * row + p.in);
  T* const zeros = v + groups * side * row;
  fill_zeros(zeros, p.in);
  if (tiles % group > 0) fill_zeros(v + (groups - 1) * side * row, side * row);
  const winograd_source<T> source{x, p.h, p.w, p.pad_h, p.pad_w, p.in, side * lanes};
  for (index_t g = 0; g < groups; ++g)
    winograd_spread<side>(p, source, g * group, std::min((g + 1) * group, tiles), zeros,
                          v + g * side * row, {lanes, row, block});
  static constexpr decltype(&winograd_row<T, A, 0>) rows[] = {
      winograd_row<T, A, 0>, winograd_row<T, A, 1>, winograd_row<T, A, 2>,
      winograd_row<T, A, 3>, winograd_row<T, A, 4>, winograd_row<T, A, 5>};
  split_work(
      (p.outs + lanes - 1) / lanes, tiles * 36 * p.in * p.outs, [&](index_t begin, index_t end) {
        T* const taps = scratch<T, scratch_use::panels>(9 * deep * lanes);
        T* const sums = scratch<T, scratch_use::partial>(36 * plane);
        for (index_t q = begin; q < end; ++q) {
          // The last vector begins early enough to be whole.
          const index_t first = q * lanes,
                        out = std::max<index_t>(std::min(first, p.outs - lanes), 0);
          for (index_t k = 0; k < p.in; k += deep) {
            const index_t depth = std::min(deep, p.in - k);
            winograd_row_taps(p, w, out, k, k + depth, taps);
            for (index_t g = 0; g < groups; ++g)
              for (index_t i = 0; i < side; ++i)
                rows[i](taps, v + (g * side + i) * row + k / lanes * block, depth, k == 0,
                        k + depth == p.in, sums + i * side * plane + g * group * lanes, plane);
          }
          winograd_output(p, sums + first - out, lanes, plane, first,
                          std::min(first + lanes, p.outs), 0, tiles, y, finish);
        }
      });
}

}  // namespace adze::kernels::inline ADZE_ISA
