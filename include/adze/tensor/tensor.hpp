#pragma once
// SPDX-License-Identifier: MIT
// The one value type: a handle on a record of shape, strides, dtype, storage and gradient.
// Copying shares the record. Members say what a tensor is; everything that computes is a free
// function (`ops/`). Light: no kernel, no SIMD, no threads behind this header.
#include <utility>

#include <adze/core/shape.hpp>
#include <adze/core/types.hpp>
#include <adze/tensor/storage.hpp>

namespace adze {

namespace detail {

// The head of a graph node, all that a tensor needs to know of it; the rest is in autograd/.
struct node_head {
  std::atomic<std::uint32_t> refs{1};
  bool leaf = false;    // holds the .grad of a tensor, has no inputs
  bool frozen = false;  // a leaf that at present wants no gradient
  void (*destroy)(node_head*) noexcept = nullptr;
};
inline void release(node_head* n) noexcept {
  if (n != nullptr && release_last(n)) n->destroy(n);
}

struct tensor_impl {
  std::atomic<std::uint32_t> refs{1};
  adze::dtype type = dtype::f32;
  bool counted = false;        // among the leaves of `store`
  std::uint16_t output = 0;    // which result of `owner` this is
  std::uint32_t stamp = 0;     // the storage's version when this was made or changed
  node_head* owner = nullptr;  // the node that made it, or its leaf node
  storage* store = nullptr;
  std::byte* data = nullptr;  // first element
  shape sizes;
  dims strides{};
};

// Whether x counts as a leaf that requires grad in the memory it lives in.
inline void count_leaf(tensor_impl& x, bool on) noexcept {
  if (x.counted == on) return;
  x.counted = on;
  x.store->leaves.fetch_add(on ? 1U : 0U - 1U, std::memory_order_relaxed);
}

// Out of line, the count too: every handle of every op ends here, hundreds in a program.
[[gnu::noinline]] inline void release(tensor_impl* x) noexcept {
  if (!release_last(x)) return;
  count_leaf(*x, false);
  release(x->owner);
  release(x->store);
  x->~tensor_impl();
  pool_put(x, sizeof(tensor_impl));
}

// Puts `x` in the place of what a handle had; out of line for the same reason.
[[gnu::noinline]] inline void replace(tensor_impl*& handle, tensor_impl* x) noexcept {
  tensor_impl* const before = std::exchange(handle, x);
  if (before != nullptr) release(before);
}

// A call without arguments, for the thousand places that read a tensor.
[[noreturn, gnu::cold, gnu::noinline]] inline void raise_undefined() {
  raise<state_error>("tensor: undefined tensor used; assign a value first");
}

}  // namespace detail

class tensor {
 public:
  tensor() noexcept {}
  tensor(const tensor& o) noexcept : impl_(o.impl_) { detail::retain(impl_); }
  tensor(tensor&& o) noexcept : impl_(std::exchange(o.impl_, nullptr)) {}
  tensor& operator=(const tensor& o) noexcept {
    detail::retain(o.impl_);
    detail::replace(impl_, o.impl_);
    return *this;
  }
  tensor& operator=(tensor&& o) noexcept {
    detail::replace(impl_, std::exchange(o.impl_, nullptr));
    return *this;
  }
  ~tensor() {
    if (impl_ != nullptr) detail::release(impl_);
  }

  // A default-constructed tensor is undefined: it has no shape, dtype or data.
  bool defined() const noexcept { return impl_ != nullptr; }
  // Not a condition: "is it defined" and "is its element not 0" are both asked in this way.
  explicit operator bool() const = delete;  // x.defined(), x.item<bool>()

  const adze::shape& shape() const { return impl().sizes; }
  adze::dtype dtype() const { return impl().type; }
  index_t rank() const { return impl().sizes.rank(); }
  index_t numel() const { return impl().sizes.numel(); }
  // Size and stride (in elements) of one axis; negative axes count from the end.
  index_t size(index_t axis) const { return shape()[resolve_axis(axis, rank(), "size")]; }
  index_t stride(index_t axis) const {
    return strides()[static_cast<std::size_t>(resolve_axis(axis, rank(), "stride"))];
  }
  const dims& strides() const { return impl().strides; }

  const void* data() const { return impl().data; }
  void* data() { return impl().data; }
  // Unchecked: the caller has dispatched on dtype(). `as<T>()` in typed.hpp checks.
  template <class T> const T* data_as() const { return reinterpret_cast<const T*>(impl().data); }
  template <class T> T* data_as() { return reinterpret_cast<T*>(impl().data); }

  // Row-major without gaps; axes of size 1 may have any stride.
  [[gnu::noinline]] bool is_contiguous() const {
    const detail::tensor_impl& x = impl();
    index_t step = 1;
    for (index_t i = x.sizes.rank() - 1; i >= 0; --i) {
      if (x.sizes[i] == 0) return true;
      if (x.sizes[i] != 1 && x.strides[static_cast<std::size_t>(i)] != step) return false;
      step *= x.sizes[i];
    }
    return true;
  }

  // The single element, converted to T; throws for any other number of elements. In typed.hpp.
  template <class T = double> T item() const;
  // The statically typed face of the same storage; throws on another dtype. In typed.hpp.
  template <element T> tensor_of<T> as() const;

  // Gradients: in autograd/node.hpp. A leaf collects `.grad`; results of ops on it are attached.
  bool requires_grad() const noexcept {
    return impl_ != nullptr && impl_->owner != nullptr && !impl_->owner->frozen;
  }
  bool is_leaf() const { return impl().owner == nullptr || impl().owner->leaf; }
  // Makes this tensor, and every copy of the handle, a leaf that wants gradients (or stops).
  tensor& set_requires_grad(bool on = true);
  // The accumulated gradient of a leaf; undefined before the first backward().
  tensor grad() const;
  // Replaces it by g as plain data; the shape and dtype must be the leaf's. An undefined g clears.
  void set_grad(const tensor& g);
  // Counts the changes in place of the storage; shared by all its views.
  std::uint32_t version() const { return impl().store->version.load(std::memory_order_relaxed); }

  // For the engine and for kernels.
  detail::tensor_impl& impl() const {
    if (impl_ == nullptr) detail::raise_undefined();
    return *impl_;
  }
  detail::tensor_impl* impl_or_null() const noexcept { return impl_; }
  static tensor adopt(detail::tensor_impl* p) noexcept {
    tensor t;
    t.impl_ = p;
    return t;
  }

 private:
  detail::tensor_impl* impl_ = nullptr;
};

using tensor_list = std::span<const tensor>;

// "f32[2,3]".
inline std::string to_text(const tensor& x) {
  return x.defined() ? text(x.dtype(), x.shape()) : std::string("undefined");
}

namespace detail {

// A record on `s`, which it takes over. Out of line, as tensors are made everywhere.
[[gnu::noinline]] inline tensor make_record(storage* s, std::byte* data, dtype type,
                                            const shape& sizes, const dims& strides) {
  auto* p = ::new (pool_get(sizeof(tensor_impl)))
      tensor_impl{.type = type, .store = s, .data = data, .sizes = sizes, .strides = strides};
  return tensor::adopt(p);
}

inline std::size_t checked_bytes(const shape& sizes, dtype type) {
  index_t bytes = 0;
  if (__builtin_mul_overflow(sizes.numel(), size_of(type), &bytes)) {
    raise<shape_error>("empty: too many bytes; got ", type, sizes);
  }
  return static_cast<std::size_t>(bytes);
}

}  // namespace detail

// Uninitialised memory with the given strides, which must be those of a dense layout.
[[gnu::noinline]] inline tensor empty_strided(const shape& sizes, const dims& strides, dtype type) {
  detail::storage* s = detail::make_storage(detail::checked_bytes(sizes, type));
  return detail::make_record(s, s->data, type, sizes, strides);
}
// Uninitialised memory, row-major.
[[gnu::noinline]] inline tensor empty(const shape& sizes, dtype type = f32) {
  return empty_strided(sizes, dense_strides(sizes), type);
}

// Another window on the storage of x: plain data, no gradient record. Offset in elements.
[[gnu::noinline]] inline tensor alias(const tensor& x, const shape& sizes, const dims& strides,
                                      index_t offset = 0) {
  detail::tensor_impl& p = x.impl();
  detail::retain(p.store);
  tensor y =
      detail::make_record(p.store, p.data + offset * size_of(p.type), p.type, sizes, strides);
  y.impl().stamp = p.store->version.load(std::memory_order_relaxed);
  return y;
}
// A second record of the same elements, without the gradient record.
inline tensor alias(const tensor& x) { return alias(x, x.shape(), x.strides()); }

}  // namespace adze
