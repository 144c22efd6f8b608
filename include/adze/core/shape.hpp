#pragma once
// SPDX-License-Identifier: MIT
// Sizes of a tensor: up to 8 axes, stored inline; a default shape is 0-d (one element).
// Every size is >= 0 and the number of elements fits index_t: checked once, on construction.
#include <algorithm>
#include <array>
#include <initializer_list>
#include <span>
#include <string>

#include <adze/core/error.hpp>
#include <adze/fwd.hpp>

namespace adze {

inline constexpr index_t max_rank = 8;

// Strides, permutations, axes: as many leading entries count as the shape has axes.
using dims = std::array<index_t, static_cast<std::size_t>(max_rank)>;

// Up to 8 whole numbers, stored inline: axes, orders, and sizes as a call states them, where -1 may
// stand for "whatever fits". Not checked for meaning: the op that takes it does.
class index_list {
 public:
  index_list() = default;
  index_list(std::initializer_list<index_t> values)
      : index_list(std::span(values.begin(), values.size())) {}
  [[gnu::noinline]] explicit index_list(std::span<const index_t> values) {
    for (const index_t v : values) push_back(v);
  }
  index_list(const class shape& sizes);
  // One axis as a number: sum(x, 1).
  template <std::integral T>
  requires(!std::is_same_v<T, bool>) index_list(T value)
      : index_list({static_cast<index_t>(value)}) {}

  index_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  index_t operator[](index_t i) const { return values_[static_cast<std::size_t>(i)]; }
  index_t& operator[](index_t i) { return values_[static_cast<std::size_t>(i)]; }
  const index_t* begin() const { return values_.data(); }
  const index_t* end() const { return values_.data() + size_; }
  [[gnu::noinline]] void push_back(index_t value) {
    if (size_ == max_rank) raise<shape_error>("index_list: at most 8 values");
    values_[static_cast<std::size_t>(size_++)] = value;
  }
  bool operator==(const index_list& o) const {
    return std::equal(begin(), end(), o.begin(), o.end());
  }

 private:
  dims values_{};
  index_t size_ = 0;
};

class shape {
 public:
  shape() = default;
  shape(std::initializer_list<index_t> sizes) : shape(std::span(sizes.begin(), sizes.size())) {}
  [[gnu::noinline]] explicit shape(std::span<const index_t> sizes) {
    if (sizes.size() > sizes_.size()) {
      raise<shape_error>("shape: at most 8 axes; got ", sizes.size());
    }
    for (const index_t n : sizes) push_back(n);
    check();
  }

  index_t rank() const { return rank_; }
  // Axis i in 0..rank-1, unchecked; `axis` below resolves negative axes.
  index_t operator[](index_t i) const { return sizes_[static_cast<std::size_t>(i)]; }
  const index_t* begin() const { return sizes_.data(); }
  const index_t* end() const { return sizes_.data() + rank_; }
  index_t back() const { return sizes_[static_cast<std::size_t>(rank_ - 1)]; }

  [[gnu::noinline]] index_t numel() const {
    index_t n = 1;
    for (const index_t s : *this) n *= s;
    return n;
  }

  // Copies with one axis changed, added or removed.
  [[gnu::noinline]] shape with(index_t axis, index_t size) const {
    shape s = *this;
    s.sizes_[static_cast<std::size_t>(axis)] = size;
    s.check();
    return s;
  }
  [[gnu::noinline]] shape inserted(index_t axis, index_t size) const {
    shape s;
    if (rank_ == max_rank) raise<shape_error>("shape: at most 8 axes; got 9");
    for (index_t i = 0; i < rank_; ++i) {
      if (i == axis) s.push_back(size);
      s.push_back((*this)[i]);
    }
    if (axis == rank_) s.push_back(size);
    s.check();
    return s;
  }
  [[gnu::noinline]] shape erased(index_t axis) const {
    shape s;
    for (index_t i = 0; i < rank_; ++i) {
      if (i != axis) s.push_back((*this)[i]);
    }
    return s;
  }

  [[gnu::noinline]] bool operator==(const shape& o) const {
    if (rank_ != o.rank_) return false;
    for (index_t i = 0; i < rank_; ++i) {
      if ((*this)[i] != o[i]) return false;
    }
    return true;
  }

 private:
  void push_back(index_t n) { sizes_[static_cast<std::size_t>(rank_++)] = n; }
  // Out of line, as what makes shapes is: they are made everywhere.
  [[gnu::noinline]] void check() const {
    index_t n = 1;
    bool overflow = false;
    for (const index_t s : *this) {
      if (s < 0) raise<shape_error>("shape: sizes must be >= 0; got ", s, " in ", text_of());
      overflow = overflow || __builtin_mul_overflow(n, s == 0 ? 1 : s, &n);
    }
    if (overflow) raise<shape_error>("shape: too many elements; got ", text_of());
  }
  std::string text_of() const;

  std::array<index_t, static_cast<std::size_t>(max_rank)> sizes_{};
  index_t rank_ = 0;
};

// "[2,3]"; 0-d is "[]".
[[gnu::cold]] inline std::string to_text(const shape& s) {
  std::string r = "[";
  for (index_t i = 0; i < s.rank(); ++i) {
    if (i > 0) r += ',';
    r += std::to_string(s[i]);
  }
  return r += ']';
}
inline std::string shape::text_of() const { return to_text(*this); }

inline index_list::index_list(const shape& sizes)
    : index_list(std::span(sizes.begin(), sizes.end())) {}
[[gnu::cold]] inline std::string to_text(const index_list& values) {
  std::string r = "[";
  for (const index_t v : values) {
    if (r.size() > 1) r += ',';
    r += std::to_string(v);
  }
  return r += ']';
}

// Resolves a negative axis (-1 is the last) and checks it.
[[gnu::noinline]] inline index_t resolve_axis(index_t axis, index_t rank, std::string_view op) {
  const index_t a = axis < 0 ? axis + rank : axis;
  if (a < 0 || a >= rank) {
    raise<shape_error>(op, ": axis ", axis, " is out of range; the tensor has ", rank, " axes");
  }
  return a;
}

// Row-major strides in elements.
[[gnu::noinline]] inline dims dense_strides(const shape& s) {
  dims d{};
  index_t step = 1;
  for (index_t i = s.rank() - 1; i >= 0; --i) {
    d[static_cast<std::size_t>(i)] = step;
    step *= s[i] > 0 ? s[i] : 1;
  }
  return d;
}

// The axes whose size is not 1, in the order of memory: largest stride first, ties as they come.
// Returns how many there are.
[[gnu::noinline]] inline index_t memory_order(const shape& s, const dims& strides, dims& order) {
  index_t n = 0;
  for (index_t axis = 0; axis < s.rank(); ++axis) {
    if (s[axis] == 1) continue;
    const index_t stride = strides[static_cast<std::size_t>(axis)];
    index_t at = n++;
    for (; at > 0; --at) {
      const index_t other = order[static_cast<std::size_t>(at - 1)];
      if (strides[static_cast<std::size_t>(other)] >= stride) break;
      order[static_cast<std::size_t>(at)] = other;
    }
    order[static_cast<std::size_t>(at)] = axis;
  }
  return n;
}

// NumPy's rule: sizes are aligned at the right; equal sizes stay, 1 stretches.
[[gnu::noinline]] inline shape broadcast(const shape& a, const shape& b, std::string_view op) {
  const shape& longer = a.rank() >= b.rank() ? a : b;
  const shape& other = a.rank() >= b.rank() ? b : a;
  if (a == b) return a;
  shape r = longer;
  const index_t shift = longer.rank() - other.rank();
  for (index_t i = 0; i < other.rank(); ++i) {
    const index_t n = longer[i + shift], m = other[i];
    if (n == m || m == 1) continue;
    if (n != 1) {
      raise<shape_error>(op, ": shapes ", a, " and ", b, " do not broadcast (", n, " vs ", m,
                         " on axis ", i + shift, "); sizes must be equal or 1");
    }
    r = r.with(i + shift, m);
  }
  return r;
}

}  // namespace adze
