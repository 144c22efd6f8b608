#pragma once
// SPDX-License-Identifier: MIT
// How gradients are added up: in place when nobody else can see the sum so far, else by `add`.
#include <adze/autograd/record.hpp>
#include <adze/kernels/map.hpp>
#include <adze/simd/pack.hpp>

namespace adze::detail::inline ADZE_ISA {

template <class T>
void add_rows(const void*, const void* const* in, void* out, index_t n, kernels::flow) {
  using pack = simd::pack<T>;
  const T* a = static_cast<const T*>(in[0]);
  const T* b = static_cast<const T*>(in[1]);
  T* y = static_cast<T*>(out);
  index_t i = 0;
  for (; i + pack::size <= n; i += pack::size) (pack::load(a + i) + pack::load(b + i)).store(y + i);
  for (; i < n; ++i) y[i] = a[i] + b[i];
}
inline constexpr kernels::map_loops add_loops{add_rows<float>, add_rows<double>, nullptr};

[[gnu::noinline]] inline kernels::operand operand_of(const tensor& x) {
  return {x.impl().data, x.impl().type, x.impl().strides};
}

// y += x for tensors of one shape and dtype, on plain data.
[[gnu::noinline]] inline void add_into(tensor& y, const tensor& x) {
  const kernels::operand all[] = {operand_of(y), operand_of(y), operand_of(x)};
  kernels::map(add_loops, nullptr, y.dtype() == f64 ? f64 : f32, y.shape(), all, 3);
}

// A dense copy with the same dtype.
[[gnu::noinline]] inline tensor dense_copy(const tensor& x) {
  tensor y = empty(x.shape(), x.dtype());
  kernels::copy(x.shape(), operand_of(y), operand_of(x));
  return y;
}

[[gnu::noinline]] inline tensor filled(const shape& sizes, dtype type, double value) {
  tensor y = empty(sizes, type);
  const float narrow = static_cast<float>(value);
  const bool exact = type != f64 && static_cast<double>(narrow) == value;  // f32 is faster
  kernels::copy(sizes, operand_of(y),
                exact ? kernels::operand{&narrow, f32, {}} : kernels::operand{&value, f64, {}});
  return y;
}
[[gnu::noinline]] inline tensor zeros_of(const shape& sizes, dtype type) {
  return filled(sizes, type, 0.0);
}

// Nobody else sees the elements of x, and each has its own place.
inline bool owned_alone(const tensor& x) {
  const tensor_impl& p = x.impl();
  return p.refs.load(std::memory_order_relaxed) == 1 &&
         p.store->refs.load(std::memory_order_relaxed) == 1 && x.is_contiguous();
}

// sum += g, where an undefined sum is zero.
[[gnu::noinline]] inline void accumulate(tensor& sum, tensor g, bool create) {
  if (!sum.defined()) {
    sum = std::move(g);
  } else if (!create && owned_alone(sum)) {
    add_into(sum, g);
  } else {
    sum = add(sum, g);
  }
}

// `.grad` += g: always plain; a gradient that nobody else sees is taken over, else copied.
inline void accumulate_leaf(tensor& gradient, tensor& g) {
  if (gradient.defined()) {
    if (owned_alone(gradient)) return add_into(gradient, g);
    tensor sum = dense_copy(gradient);
    add_into(sum, g);
    gradient = sum;
  } else if (owned_alone(g) && g.impl().owner == nullptr) {
    gradient = std::move(g);
  } else {
    gradient = dense_copy(g);
  }
}

}  // namespace adze::detail::inline ADZE_ISA
