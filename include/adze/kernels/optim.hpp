#pragma once
// SPDX-License-Identifier: MIT
// One pass over all parameters of an optimizer step: each element of parameter, gradient and states
// is read and written once. A rule says what happens to the lanes; here are rows, 16-bit storage
// (held in float while it is worked on) and threads, which take pieces of the concatenation of all
// parameters, so that a hundred small ones cost no more than a large one.
#include <algorithm>
#include <array>
#include <span>

#include <adze/core/parallel.hpp>
#include <adze/kernels/lanes.hpp>
#include <adze/kernels/rows.hpp>

namespace adze::kernels::inline ADZE_ISA {

inline constexpr std::size_t max_states = 3;
// Elements a thread takes: 4 us of SGD, 10 us of Adam.
inline constexpr index_t update_chunk = 32768;
inline constexpr index_t update_block = 256;  // elements held in float at a time

// One parameter. All arrays are dense in one order. The states are double when the parameter is,
// else float; those that the rule does not use may be null.
template <class Rule> struct update_item {
  Rule rule;
  void* parameter = nullptr;
  const void* gradient = nullptr;
  std::array<void*, max_states> states{};
  dtype parameter_type = dtype::f32;
  dtype gradient_type = dtype::f32;
  index_t count = 0;
  index_t start = 0;  // its place in the concatenation; set by `update`
};

// What a rule sees of the states: state k at the present lanes.
template <class T, class Lanes> class state_lanes {
 public:
  using pack = typename Lanes::pack;
  state_lanes(T* const* at, index_t i, Lanes lanes) : at_(at), i_(i), lanes_(lanes) {}
  pack load(std::size_t k) const { return lanes_.load(at_[k] + i_); }
  void store(std::size_t k, pack x) const { lanes_.store(x, at_[k] + i_); }

 private:
  T* const* at_;
  index_t i_;
  Lanes lanes_;
};

// f(p, g, at, n) for rows of n elements from element `at` on, as T, by way of blocks that are
// converted, and of which p is stored back.
template <class T, class Item, class F>
[[gnu::noinline]] void update_blocks(const Item& item, index_t begin, index_t end, F f) {
  alignas(64) T p_block[update_block];
  alignas(64) T g_block[update_block];
  for (index_t at = begin; at < end; at += update_block) {
    auto* const p = static_cast<std::byte*>(item.parameter) + at * size_of(item.parameter_type);
    auto* const g = static_cast<const std::byte*>(item.gradient) + at * size_of(item.gradient_type);
    const index_t n = std::min(update_block, end - at);
    load_row(item.parameter_type, p, 1, n, p_block);
    load_row(item.gradient_type, g, 1, n, g_block);
    f(p_block, static_cast<const T*>(g_block), at, n);
    store_row(item.parameter_type, p, 1, n, p_block);
  }
}

// The same, straight from memory where the types agree.
template <class T, class Item, class F>
void update_rows(const Item& item, index_t begin, index_t end, F f) {
  if (item.parameter_type != dtype_of<T> || item.gradient_type != dtype_of<T>) {
    return update_blocks<T>(item, begin, end, f);
  }
  f(static_cast<T*>(item.parameter) + begin, static_cast<const T*>(item.gradient) + begin, begin,
    end - begin);
}

// The states of an item from element `at` on.
template <class T, class Item> std::array<T*, max_states> states_at(const Item& item, index_t at) {
  std::array<T*, max_states> s{};
  for (std::size_t k = 0; k < max_states; ++k) {
    if (item.states[k] != nullptr) s[k] = static_cast<T*>(item.states[k]) + at;
  }
  return s;
}

template <class T, unsigned variant, class Rule, class Lanes>
[[gnu::always_inline]] inline void update_lanes(const Rule& rule, T* p, const T* g,
                                                T* const* states, index_t i, Lanes lanes) {
  const state_lanes<T, Lanes> s(states, i, lanes);
  lanes.store(rule.template apply<variant>(lanes.load(p + i), lanes.load(g + i), s), p + i);
}

// Packs of AVX2 at most: those of AVX-512 are no faster in square roots and divisions, and slower
// where states come from the L2 cache (Adam 0.93). Everything is a local here and nothing is called
// with it, so that the compiler sees that no store changes the rule's numbers: the rest of the row,
// for which clang calls, reads the rule itself.
template <class T, unsigned variant, class Rule>
[[gnu::noinline]] void update_row(const Rule& rule, T* p, const T* g,
                                  const std::array<T*, max_states>& states, index_t n) {
  using tag = simd::pack_tag<simd::row_tag<T>>;
  constexpr index_t size = simd::pack<T, tag>::size;
  const Rule r = rule;
  T* const at[] = {states[0], states[1], states[2]};
  index_t i = 0;
  for (; i + size <= n; i += size) update_lanes<T, variant>(r, p, g, at, i, whole_lanes<T, tag>{});
  if constexpr (size > 1)
    if (i < n) update_lanes<T, variant>(rule, p, g, at, i, first_lanes<T, tag>{n - i});
}

// The loop without branches for the present options of the rule.
template <class T, class Rule, unsigned... variants>
auto choose_row(const Rule& rule, std::integer_sequence<unsigned, variants...>) {
  auto* row = &update_row<T, 0, Rule>;
  ((rule.variant() == variants ? void(row = &update_row<T, variants, Rule>) : void()), ...);
  return row;
}

template <class Rule> void update_range(const update_item<Rule>& item, index_t begin, index_t end) {
  const auto run = [&]<class T>(T) {
    const auto row =
        choose_row<T>(item.rule, std::make_integer_sequence<unsigned, Rule::variants>{});
    update_rows<T>(item, begin, end, [&](T* p, const T* g, index_t at, index_t n) {
      row(item.rule, p, g, states_at<T>(item, at), n);
    });
  };
  item.parameter_type == dtype::f64 ? run(double{}) : run(float{});
}

// f(item, begin, end) for ranges that cover every item, threaded. Ranges depend on the counts only
// and begin at multiples of 64 elements.
template <class Rule, class F> void over_items(std::span<update_item<Rule>> items, F f) {
  index_t total = 0;
  for (update_item<Rule>& item : items) {
    item.start = total;
    total += (item.count + 63) / 64 * 64;
  }
  parallel_for(total, update_chunk, [&](index_t begin, index_t end) {
    auto item = std::upper_bound(items.begin(), items.end(), begin,
                                 [](index_t at, const auto& x) { return at < x.start; });
    for (--item; item != items.end() && item->start < end; ++item) {
      const index_t from = std::max<index_t>(0, begin - item->start);
      const index_t to = std::min(item->count, end - item->start);
      if (from < to) f(*item, from, to);
    }
  });
}

// Applies each item's rule to its elements: `template <unsigned variant, class V, class S> V
// apply(V p, V g, const S& states) const` returns the new parameter lanes and may load and store
// states. `variant()`, below `variants`, is known in the loop: what it decides costs nothing per
// element.
template <class Rule> void update(std::span<update_item<Rule>> items) {
  over_items(items, [](const update_item<Rule>& item, index_t begin, index_t end) {
    update_range(item, begin, end);
  });
}

// f(begin, end), an array of sums, over at most 64 ranges of 0..count-1 that depend on count alone;
// the sums are added up in order.
template <std::size_t size, class F> std::array<double, size> ordered_sums(index_t count, F f) {
  constexpr index_t most = 64;
  const index_t chunk = std::max(update_chunk, (count / most / update_block + 1) * update_block);
  std::array<std::array<double, size>, static_cast<std::size_t>(most)> parts{};
  parallel_for(count, chunk, [&](index_t begin, index_t end) {
    parts[static_cast<std::size_t>(begin / chunk)] = f(begin, end);
  });
  std::array<double, size> all{};
  for (const std::array<double, size>& part : parts) {
    for (std::size_t k = 0; k < size; ++k) all[k] += part[k];
  }
  return all;
}

}  // namespace adze::kernels::inline ADZE_ISA
