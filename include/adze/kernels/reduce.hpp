#pragma once
// SPDX-License-Identifier: MIT
// The driver of everything that folds axes away. An op gives one functor; this non-template code
// does axes, strides, other dtypes and threads. Sums run over lanes in blocks of 1024 and the
// blocks in double, in an order that depends on sizes and strides alone: the same bits for any
// number of threads, and 2^24 + 1 ones are counted right.
#include <adze/kernels/map.hpp>
#include <adze/simd/pack.hpp>

namespace adze::kernels::inline ADZE_ISA {

inline constexpr index_t reduce_block = 1024;  // elements summed in their own type
inline constexpr index_t reduce_width = 256;   // results that one thread works on at a time
inline constexpr index_t reduce_rows = 64;     // of a column, summed in their own type

// What is kept per result: 8 bytes, double for floats and int64 for integers.
template <class T> using slot_of = std::conditional_t<std::is_integral_v<T>, std::int64_t, double>;

// acc = f over n dense elements; centers: one slot, or null.
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

// The lanes a functor works on: packs of floats, or single integers.
template <class T, bool whole> struct lanes {
  using type = simd::pack<T, std::conditional_t<whole, simd::row_tag<T>, simd::scalar>>;
  static type load(const T* p) { return type::load(p); }
  static void store(const type& v, T* p) { v.store(p); }
};
template <bool whole> struct lanes<std::int64_t, whole> {
  using type = std::int64_t;
  static type load(const std::int64_t* p) { return *p; }
  static void store(type v, std::int64_t* p) { *p = v; }
};
template <class T, bool whole>
inline constexpr index_t lane_count = index_t(sizeof(typename lanes<T, whole>::type) / sizeof(T));

template <class F, class T>
void row_fold(const void* functor, const void* data, index_t n, const void* center, void* acc) {
  using wide = lanes<T, true>;
  using narrow = lanes<T, false>;
  using V = typename wide::type;
  using N = typename narrow::type;
  using S = slot_of<T>;
  constexpr index_t size = lane_count<T, true>;
  const F& f = *static_cast<const F*>(functor);
  const T* x = static_cast<const T*>(data);
  const T c = center != nullptr ? static_cast<T>(*static_cast<const S*>(center)) : T(0);
  S& total = *static_cast<S*>(acc);
  for (index_t begin = 0; begin < n; begin += reduce_block) {
    const index_t end = std::min(begin + reduce_block, n);
    V sum[4] = {F::template start<T>(), F::template start<T>(), F::template start<T>(),
                F::template start<T>()};
    index_t i = begin;
    for (; i + 4 * size <= end; i += 4 * size) {
#pragma GCC unroll 4
      for (index_t k = 0; k < 4; ++k)
        sum[k] = f.join(sum[k], f.take(wide::load(x + i + k * size), V(c)));
    }
    for (; i + size <= end; i += size) sum[0] = f.join(sum[0], f.take(wide::load(x + i), V(c)));
    T each[static_cast<std::size_t>(size)];
    wide::store(f.join(f.join(sum[0], sum[1]), f.join(sum[2], sum[3])), each);
    for (index_t half = size / 2; half > 0; half /= 2) {
      for (index_t k = 0; k < half; ++k) {
        narrow::store(f.join(narrow::load(each + k), narrow::load(each + k + half)), each + k);
      }
    }
    N rest = narrow::load(each);
    for (; i < end; ++i) rest = f.join(rest, f.take(narrow::load(x + i), N(c)));
    narrow::store(rest, each);
    using L = typename lanes<S, false>::type;
    const S more = static_cast<S>(each[0]);
    lanes<S, false>::store(f.join(L(total), L(more)), &total);
  }
}

// One group of columns: `count` lane groups side by side, summed down in registers.
template <class F, class T, bool whole, index_t count>
void column_group(const F& f, const T* x, index_t step, index_t rows, const slot_of<T>* centers,
                  slot_of<T>* acc) {
  using L = lanes<T, whole>;
  using V = typename L::type;
  using S = slot_of<T>;
  using W = typename lanes<S, false>::type;
  constexpr index_t size = lane_count<T, whole>, all = size * count;
  T each[static_cast<std::size_t>(all)] = {};
  V c[static_cast<std::size_t>(count)];
  for (index_t i = 0; i < all && centers != nullptr; ++i) each[i] = static_cast<T>(centers[i]);
  for (index_t k = 0; k < count; ++k) c[k] = L::load(each + k * size);
  for (index_t begin = 0; begin < rows; begin += reduce_rows) {
    const index_t end = std::min(begin + reduce_rows, rows);
    V sum[static_cast<std::size_t>(count)];
#pragma GCC unroll 4
    for (index_t k = 0; k < count; ++k) sum[k] = F::template start<T>();
    for (index_t r = begin; r < end; ++r) {
#pragma GCC unroll 4
      for (index_t k = 0; k < count; ++k)
        sum[k] = f.join(sum[k], f.take(L::load(x + r * step + k * size), c[k]));
    }
    for (index_t k = 0; k < count; ++k) L::store(sum[k], each + k * size);
    for (index_t i = 0; i < all; ++i) {
      lanes<S, false>::store(f.join(W(acc[i]), W(static_cast<S>(each[i]))), acc + i);
    }
  }
}

template <class F, class T>
void column_fold(const void* functor, const void* data, index_t step, index_t rows, index_t n,
                 const void* centers, void* acc) {
  using S = slot_of<T>;
  constexpr index_t size = lane_count<T, true>;
  const F& f = *static_cast<const F*>(functor);
  const T* x = static_cast<const T*>(data);
  const S* c = static_cast<const S*>(centers);
  S* to = static_cast<S*>(acc);
  const auto center = [&](index_t i) { return c != nullptr ? c + i : nullptr; };
  index_t i = 0;
  for (; i + 4 * size <= n; i += 4 * size)
    column_group<F, T, true, 4>(f, x + i, step, rows, center(i), to + i);
  for (; i + size <= n; i += size)
    column_group<F, T, true, 1>(f, x + i, step, rows, center(i), to + i);
  for (; i < n; ++i) column_group<F, T, false, 1>(f, x + i, step, rows, center(i), to + i);
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
  using L = lanes<S, false>;
  for (index_t i = 0; i < n; ++i) {
    S* to = static_cast<S*>(acc) + i;
    L::store(F{}.join(L::load(to), L::load(static_cast<const S*>(more) + i)), to);
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
