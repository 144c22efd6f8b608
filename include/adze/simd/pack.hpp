#pragma once
// SPDX-License-Identifier: MIT
// pack<T, A>: a register of T = float or double on the instruction set A, and its comparisons.
// Without xsimd, and for the tags `scalar` and `odd`, a pack has one lane and the same interface.
// Operators and functions are found by argument: code that calls exp(x) or where(x > 0.0, x, 0.0)
// reads the same for packs and tensors.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <adze/fwd.hpp>
#include <adze/simd/arch.hpp>
#include <adze/simd/avx2.hpp>
#include <adze/simd/avx512.hpp>
#include <adze/simd/registers.hpp>

namespace adze::simd::inline ADZE_ISA {

template <class T, class A> class mask;
template <class T, class A> class pack;

// The result of a comparison: one truth value for each lane.
template <class T, class A> class mask {
 public:
  using lane_type = typename detail::lanes<T, A>::mask;
  lane_type v;

  explicit mask(lane_type m) : v(m) {}
  friend mask operator&(mask a, mask b) { return mask(lane_type(a.v & b.v)); }
  friend mask operator|(mask a, mask b) { return mask(lane_type(a.v | b.v)); }
  friend mask operator&&(mask a, mask b) { return a & b; }  // as of tensors
  friend mask operator!(mask a) { return mask(!a.v); }
  friend bool any(mask a) {
    using detail::any;
    return any(a.v);
  }
  // a where the mask holds, b elsewhere; either may be a number.
  friend pack<T, A> where(mask m, pack<T, A> a, pack<T, A> b) {
    using detail::select;
    return pack<T, A>(select(m.v, a.v, b.v));
  }
};

// What code that runs along rows is made for. One lane for doubles: they check gradients, and the
// time to compile each kernel for them too counts more there. Products name their tag.
template <class T> using row_tag = std::conditional_t<sizeof(T) == 4, tile_tag<native>, scalar>;

template <class T, class A = row_tag<T>> class pack {
 public:
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
  using value_type = T;
  using arch = A;
  using mask_type = mask<T, A>;
  using lane_type = detail::lanes_of<T, A>;
  static constexpr std::size_t width = sizeof(lane_type) / sizeof(T);
  static constexpr auto size = static_cast<index_t>(width);

  lane_type v;

  pack() = default;
  template <class N>
  requires std::is_arithmetic_v<N> pack(N x)
      : v(static_cast<T>(x)) {}  // every lane; implicit, so that 1.0 - x works
  explicit pack(lane_type x) requires(size > 1) : v(x) {}

  static pack load(const T* p) { return pack(detail::load_lanes<lane_type>(p)); }
  void store(T* p) const { detail::store_lanes(v, p); }
  // The same by a flow; p is aligned to 64 bytes where it is streamed.
  static pack load(const T* p, flow how) {
    if constexpr (on_avx2 || on_avx512)
      if (how == flow::streamed) __builtin_prefetch(p + read_ahead);
    return load(p);
  }
  void store(T* p, flow how) const {
    if constexpr (on_avx2 || on_avx512)
      if (how == flow::streamed) return stream_lanes(v, p);
    store(p);
  }
  // The first n elements, 0 <= n <= size: the others are loaded as zero or `rest`, and not stored.
  static pack load_partial(const T* p, index_t n) {
    if constexpr (on_avx2) {
      return pack(lane_type(load_first(p, n)));
    } else if constexpr (on_avx512) {
      return pack(lane_type(load_first_wide(p, n)));
    } else if constexpr (size == 1) {
      return n > 0 ? load(p) : pack(0);
    } else {
      return load_some(p, n);
    }
  }
  static pack load_partial(const T* p, index_t n, pack rest) {
    return load_partial(p, n).with_rest(n, rest);
  }
  void store_partial(T* p, index_t n) const {
    if constexpr (on_avx2 || on_avx512) {
      store_first(v, p, n);
    } else if constexpr (size == 1) {
      if (n > 0) store(p);
    } else {
      store_some(p, n);
    }
  }

  // The first n lanes, 0 <= n <= size, before those of `rest`.
  pack with_rest(index_t n, pack rest) const {
    if constexpr (on_avx2 || on_avx512) {
      return pack(lane_type(replace_first(rest.v, v, n)));
    } else {
      T all[width], first[width];
      rest.store(all);
      store(first);
      for (index_t i = 0; i < n; ++i) all[i] = first[i];
      return load(all);
    }
  }

  friend pack operator+(pack a, pack b) { return pack(lane_type(a.v + b.v)); }
  friend pack operator-(pack a, pack b) { return pack(lane_type(a.v - b.v)); }
  friend pack operator*(pack a, pack b) { return pack(lane_type(a.v * b.v)); }
  friend pack operator/(pack a, pack b) { return pack(lane_type(a.v / b.v)); }
  friend pack operator-(pack a) { return from_bits(bits(a) ^ word(sign_bit)); }
  pack& operator+=(pack b) { return *this = *this + b; }
  pack& operator-=(pack b) { return *this = *this - b; }
  pack& operator*=(pack b) { return *this = *this * b; }
  pack& operator/=(pack b) { return *this = *this / b; }

  friend mask_type operator<(pack a, pack b) { return mask_type(a.v < b.v); }
  friend mask_type operator<=(pack a, pack b) { return mask_type(a.v <= b.v); }
  friend mask_type operator>(pack a, pack b) { return mask_type(a.v > b.v); }
  friend mask_type operator>=(pack a, pack b) { return mask_type(a.v >= b.v); }
  friend mask_type operator==(pack a, pack b) { return mask_type(a.v == b.v); }
  friend mask_type operator!=(pack a, pack b) { return !(a == b); }  // xsimd 8 loses NaN here
  friend mask_type isnan(pack a) { return a != a; }

  // a * b + c: rounded once where the instruction set has it.
  friend pack fma(pack a, pack b, pack c) {
    using detail::fma;
    if constexpr (on_avx512)
      return pack(lane_type(fma_lanes(a.v, b.v, c.v)));
    else
      return pack(lane_type(fma(a.v, b.v, c.v)));
  }
  friend pack sqrt(pack a) {
    using detail::sqrt;
    if constexpr (on_avx512)
      return pack(lane_type(sqrt_lanes(a.v)));
    else
      return pack(lane_type(sqrt(a.v)));
  }
  friend pack round(pack a) {  // half to even
    using detail::nearbyint;
    if constexpr (on_avx512)
      return pack(lane_type(round_lanes(a.v)));
    else
      return pack(lane_type(nearbyint(a.v)));
  }
  friend pack floor(pack a) {  // from round, because it keeps -0 on every instruction set
    const pack r = round(a);
    return where(r > a, r - pack(1), r);
  }
  friend pack ceil(pack a) { return -floor(-a); }

  // a > b ? a : b and a < b ? a : b, to the letter: if either is NaN, the result is b.
  friend pack greater_of(pack a, pack b) {
    if constexpr (on_avx2 || on_avx512)
      return pack(lane_type(max_lanes(a.v, b.v)));
    else
      return where(a > b, a, b);
  }
  friend pack less_of(pack a, pack b) {
    if constexpr (on_avx2 || on_avx512)
      return pack(lane_type(min_lanes(a.v, b.v)));
    else
      return where(a < b, a, b);
  }
  // NaN in either operand gives NaN.
  friend pack maximum(pack a, pack b) { return where(a == a, greater_of(a, b), a); }
  friend pack minimum(pack a, pack b) { return where(a == a, less_of(a, b), a); }
  template <class N>
  requires std::is_arithmetic_v<N>
  friend pack maximum(pack a, N b) { return b == b ? greater_of(pack(b), a) : pack(b); }
  template <class N>
  requires std::is_arithmetic_v<N>
  friend pack minimum(pack a, N b) { return b == b ? less_of(pack(b), a) : pack(b); }
  friend pack clamp(pack a, pack low, pack high) { return minimum(maximum(a, low), high); }
  friend pack step(pack a) { return where(a > pack(0), pack(1), pack(0)); }  // NaN gives 0

  friend pack abs(pack a) { return from_bits(bits(a) & word(~sign_bit)); }
  // The size of a with the sign of b.
  friend pack copysign(pack a, pack b) {
    return from_bits((bits(a) & word(~sign_bit)) | (bits(b) & word(sign_bit)));
  }
  // -1, 0 or 1; NaN stays.
  friend pack sign(pack a) { return where(abs(a) > pack(0), copysign(pack(1), a), a); }

  // The lanes as unsigned integers of their size, for code on the representation.
  using word = detail::lanes_of<detail::word_of<T>, A>;
  friend word bits(pack a) { return std::bit_cast<word>(a.v); }
  static pack from_bits(word w) { return pack(std::bit_cast<lane_type>(w)); }

  // Over the lanes, in halves: ((0+4)+(2+6)) + ((1+5)+(3+7)) for eight. Maximum keeps NaN.
  friend T reduce_add(pack a) {
    return a.fold([](auto x, auto y) { return x + y; });
  }
  friend T reduce_max(pack a) {
    return a.fold([](auto x, auto y) { return maximum(x, y); });
  }
  friend T reduce_min(pack a) {
    return a.fold([](auto x, auto y) { return minimum(x, y); });
  }
  // The same with f of packs, which may have one lane.
  template <class F> T fold(F f) const {
    if constexpr (on_avx2 || on_avx512) {
      pack x = *this;
      if constexpr (size == 16) x = f(x, pack(lane_type(exchanged<8>(x.v))));
      if constexpr (size >= 8) x = f(x, pack(lane_type(exchanged<4>(x.v))));
      x = f(x, pack(lane_type(exchanged<2>(x.v))));
      return first_lane(f(x, pack(lane_type(exchanged<1>(x.v)))).v);
    } else {
      using one = pack<T, scalar>;
      T all[width];
      store(all);
      for (index_t half = size / 2; half > 0; half /= 2)
        for (index_t i = 0; i < half; ++i) all[i] = f(one(all[i]), one(all[i + half])).v;
      return all[0];
    }
  }

 private:
  // Out of line: every rest of a row has it, and no rest of one is long.
  [[gnu::noinline]] static pack load_some(const T* p, index_t n) {
    T all[width] = {};
    for (index_t i = 0; i < n; ++i) all[i] = p[i];
    return load(all);
  }
  [[gnu::noinline]] void store_some(T* p, index_t n) const {
    T all[width];
    store(all);
    for (index_t i = 0; i < n; ++i) p[i] = all[i];
  }

  static constexpr bool on_avx2 = size > 1 && std::is_same_v<A, avx2>;
  static constexpr bool on_avx512 = size > 1 && std::is_same_v<A, avx512>;
  static constexpr index_t read_ahead = 2048 / sizeof(T);
  static constexpr auto sign_bit =
      static_cast<detail::word_of<T>>(detail::word_of<T>{1} << (sizeof(T) * 8 - 1));
};

}  // namespace adze::simd::inline ADZE_ISA
