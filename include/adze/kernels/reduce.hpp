#pragma once
// SPDX-License-Identifier: MIT
// The driver of everything that folds axes away. An op gives one functor; this non-template code
// does axes, strides, other dtypes and threads. Sums run over lanes in blocks of 1024 and the
// blocks in double, in an order that depends on sizes and strides alone: the same bits for any
// number of threads, and 2^24 + 1 ones are counted right.
#include <adze/kernels/lanes.hpp>
#include <adze/kernels/map.hpp>

namespace adze::kernels::inline ADZE_ISA {

inline constexpr index_t reduce_block = 1024;  // elements summed in their own type
inline constexpr index_t reduce_width = 256;   // results that one thread works on at a time
inline constexpr index_t reduce_rows = 64;     // of a column, summed in their own type

// What is kept per result: 8 bytes, double for floats and int64 for integers.
// acc = f over n dense elements; centers: one slot, or null. A slot is what is kept per result: 8
// bytes, double for floats and int64 for integers.
using fold_row = void (*)(const void* functor, const void* x, index_t n, const void* center,
                          void* acc);
// acc[i] = f over x[i], x[i + step], ... (`rows` of them) for i < n.
using fold_columns = void (*)(const void* functor, const void* x, index_t step, index_t rows,
                              index_t n, const void* centers, void* acc);

struct fold_loops {
  fold_row row = nullptr;
  fold_columns columns = nullptr;
};
struct reduce_loops {
  fold_loops f32, f64, i64;
  void (*start)(dtype compute, void* acc, index_t n) = nullptr;
  void (*join)(dtype compute, void* acc, const void* more, index_t n) = nullptr;
  const fold_loops& of(dtype type) const {
    return type == dtype::f32 ? f32 : type == dtype::f64 ? f64 : i64;
  }
};

// Finishes n results, for instance divides a sum; not called for integers.
using finish_slots = void (*)(const void* data, double* acc, const double* centers, index_t n);

struct reduction {
  const reduce_loops* loops = nullptr;
  const void* functor = nullptr;
  finish_slots finish = nullptr;
  const void* finish_data = nullptr;
  dtype compute = dtype::f32;  // f32, f64 or i64
  std::uint32_t folded = 0;    // one bit per axis that goes away
  operand y{};                 // strides along the axes of x; those of folded axes do not count
  operand x{};
  operand center{};  // f64, one per result; null data: none
};

}  // namespace adze::kernels::inline ADZE_ISA

namespace adze::kernels::detail::inline ADZE_ISA {

template <class F, class T>
void row_fold(const void* functor, const void* data, index_t n, const void* center, void* acc) {
  using V = simd::pack<T>;
  using W = simd::pack<double, simd::scalar>;
  constexpr index_t size = V::size;
  const F& f = *static_cast<const F*>(functor);
  const T* x = static_cast<const T*>(data);
  const T c = center != nullptr ? static_cast<T>(*static_cast<const double*>(center)) : T(0);
  double& total = *static_cast<double*>(acc);
  for (index_t begin = 0; begin < n; begin += reduce_block) {
    const index_t end = std::min(begin + reduce_block, n);
    V sum[4] = {F::template start<T>(), F::template start<T>(), F::template start<T>(),
                F::template start<T>()};
    index_t i = begin;
    for (; i + 4 * size <= end; i += 4 * size) {
#pragma GCC unroll 4
      for (index_t k = 0; k < 4; ++k)
        sum[k] = f.join(sum[k], f.take(V::load(x + i + k * size), V(c)));
    }
    for (; i + size <= end; i += size) sum[0] = f.join(sum[0], f.take(V::load(x + i), V(c)));
    if (size > 1 && i < end) {
      const V more = f.join(sum[1], f.take(V::load_partial(x + i, end - i), V(c)));
      sum[1] = more.with_rest(end - i, sum[1]);
    }
    const V all = f.join(f.join(sum[0], sum[1]), f.join(sum[2], sum[3]));
    const T folded = all.fold([&](auto a, auto b) { return f.join(a, b); });
    total = f.join(W(total), W(static_cast<double>(folded))).v;
  }
}

// One group of columns, n of them: `count` packs side by side, or one pack of four rows at a time,
// summed down in registers.
template <class F, class T, index_t count, class Lanes>
void column_group(const F& f, const T* x, index_t step, index_t rows, Lanes lanes, index_t n,
                  const double* centers, double* acc) {
  using V = simd::pack<T>;
  using W = simd::pack<double, simd::scalar>;
  constexpr index_t size = V::size;
  static_assert(count == 1 || count == 4);
  T each[static_cast<std::size_t>(size * count)] = {};
  V c[static_cast<std::size_t>(count)];
  for (index_t i = 0; i < n && centers != nullptr; ++i) each[i] = static_cast<T>(centers[i]);
  for (index_t k = 0; k < count; ++k) c[k] = V::load(each + k * size);
  const auto add = [&](V & to, const T* from, index_t k) __attribute__((always_inline)) {
    to = f.join(to, f.take(lanes.load(from + k * size), c[k]));
  };
  for (index_t begin = 0; begin < rows; begin += reduce_rows) {
    const index_t end = std::min(begin + reduce_rows, rows);
    V sum[4] = {F::template start<T>(), F::template start<T>(), F::template start<T>(),
                F::template start<T>()};
    const T* row = x + begin * step;
    index_t r = begin;
    for (; count == 1 && r + 4 <= end; r += 4, row += 4 * step) {
#pragma GCC unroll 4
      for (index_t k = 0; k < 4; ++k) add(sum[k], row + k * step, 0);
    }
    for (; r < end; ++r, row += step) {
#pragma GCC unroll 4
      for (index_t k = 0; k < count; ++k) add(sum[k], row, k);
    }
    if (count == 1) sum[0] = f.join(f.join(sum[0], sum[1]), f.join(sum[2], sum[3]));
    for (index_t k = 0; k < count; ++k) sum[k].store(each + k * size);
    for (index_t i = 0; i < n; ++i) acc[i] = f.join(W(acc[i]), W(static_cast<double>(each[i]))).v;
  }
}

template <class F, class T>
void column_fold(const void* functor, const void* data, index_t step, index_t rows, index_t n,
                 const void* centers, void* acc) {
  constexpr index_t size = simd::pack<T>::size;
  const F& f = *static_cast<const F*>(functor);
  const T* x = static_cast<const T*>(data);
  const double* c = static_cast<const double*>(centers);
  double* to = static_cast<double*>(acc);
  const auto center = [&](index_t i) { return c != nullptr ? c + i : nullptr; };
  constexpr whole_lanes<T> whole;
  index_t i = 0;
  for (; i + 4 * size <= n; i += 4 * size)
    column_group<F, T, 4>(f, x + i, step, rows, whole, 4 * size, center(i), to + i);
  for (; i + size <= n; i += size)
    column_group<F, T, 1>(f, x + i, step, rows, whole, size, center(i), to + i);
  if constexpr (size > 1)
    if (i < n)
      column_group<F, T, 1>(f, x + i, step, rows, first_lanes<T>{n - i}, n - i, center(i), to + i);
}

// Integers one by one, as compilers widen best: of several sums side by side in 64-byte registers
// g++ 12 loses some (-O3 for Zen 4).
template <class F>
void whole_row_fold(const void* functor, const void* data, index_t n, const void*, void* acc) {
  const F& f = *static_cast<const F*>(functor);
  const auto* x = static_cast<const std::int64_t*>(data);
  std::int64_t total = *static_cast<std::int64_t*>(acc);
  for (index_t i = 0; i < n; ++i) total = f.join(total, f.take(x[i], std::int64_t{0}));
  *static_cast<std::int64_t*>(acc) = total;
}
template <class F>
void whole_column_fold(const void* functor, const void* data, index_t step, index_t rows, index_t n,
                       const void*, void* acc) {
  const F& f = *static_cast<const F*>(functor);
  const auto* x = static_cast<const std::int64_t*>(data);
  auto* to = static_cast<std::int64_t*>(acc);
  for (index_t r = 0; r < rows; ++r) {
    for (index_t i = 0; i < n; ++i) to[i] = f.join(to[i], f.take(x[r * step + i], std::int64_t{0}));
  }
}

template <class F, class S> void start_slots(void* acc, index_t n) {
  std::fill_n(static_cast<S*>(acc), n, static_cast<S>(F::template start<S>()));
}
template <class F, class S> void join_slots(void* acc, const void* more, index_t n) {
  S* to = static_cast<S*>(acc);
  const S* from = static_cast<const S*>(more);
  for (index_t i = 0; i < n; ++i) {
    if constexpr (std::is_integral_v<S>)
      to[i] = F{}.join(to[i], from[i]);
    else
      to[i] = F{}.join(simd::pack<S, simd::scalar>(to[i]), simd::pack<S, simd::scalar>(from[i])).v;
  }
}

}  // namespace adze::kernels::detail::inline ADZE_ISA

namespace adze::kernels::inline ADZE_ISA {

// The loops of a functor with `start<T>()`, `take(x, center)` and `join(a, b)`, the last two
// generic in lanes. `join` may use no members.
template <class F> struct loops_of {
  static void start(dtype compute, void* acc, index_t n) {
    if (compute == dtype::i64) return detail::start_slots<F, std::int64_t>(acc, n);
    detail::start_slots<F, double>(acc, n);
  }
  static void join(dtype compute, void* acc, const void* more, index_t n) {
    if (compute == dtype::i64) return detail::join_slots<F, std::int64_t>(acc, more, n);
    detail::join_slots<F, double>(acc, more, n);
  }
  template <class T> static constexpr fold_loops of() {
    return {detail::row_fold<F, T>, detail::column_fold<F, T>};
  }
  static constexpr reduce_loops make() {
    reduce_loops l{of<float>(), of<double>(), {}, start, join};
    if constexpr (F::whole) l.i64 = {detail::whole_row_fold<F>, detail::whole_column_fold<F>};
    return l;
  }
};

}  // namespace adze::kernels::inline ADZE_ISA

#include <adze/kernels/reduce_driver.hpp>
