#pragma once
// SPDX-License-Identifier: MIT
// over_packs: one loop body for whole packs and for the rest of a row, which is loaded with a
// neutral value in the lanes that do not exist. For kernels that make several passes over a row.
#include <adze/simd/pack.hpp>

namespace adze::kernels::inline ADZE_ISA {

// All lanes exist.
template <class T, class A = simd::row_tag<T>> struct whole_lanes {
  using pack = simd::pack<T, A>;
  pack load(const T* p, double = 0.0) const { return pack::load(p); }
  void store(pack x, T* p) const { x.store(p); }
};

// The first `count` lanes exist; the others read as `fill` and are not stored.
template <class T, class A = simd::row_tag<T>> struct first_lanes {
  using pack = simd::pack<T, A>;
  index_t count;
  pack load(const T* p) const { return pack::load_partial(p, count); }
  pack load(const T* p, double fill) const { return pack::load_partial(p, count, pack(fill)); }
  void store(pack x, T* p) const { x.store_partial(p, count); }
};

// f(i, lanes) for the packs of 0..n-1; `lanes` loads and stores element i and those after it.
template <class T, class F> [[gnu::always_inline]] inline void over_packs(index_t n, const F& f) {
  constexpr index_t size = simd::pack<T>::size;
  index_t i = 0;
  for (; i + size <= n; i += size) f(i, whole_lanes<T>{});
  if constexpr (size > 1)
    if (i < n) f(i, first_lanes<T>{n - i});
}

}  // namespace adze::kernels::inline ADZE_ISA
