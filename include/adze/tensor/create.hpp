#pragma once
// SPDX-License-Identifier: MIT
// Tensors from sizes, numbers, memory and chance. Plain data: no graph. Random values depend on
// the generator's state and on the position of the element, not on threads.
#include <memory>

#include <adze/core/parallel.hpp>
#include <adze/core/random.hpp>
#include <adze/core/scalar.hpp>
#include <adze/kernels/map.hpp>
#include <adze/tensor/layout.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::detail::inline ADZE_ISA {

inline void fill(tensor& y, double value) {
  const std::int64_t whole = is_floating(y.dtype()) ? 0 : simd::convert_to<std::int64_t>(value);
  const kernels::operand from = is_floating(y.dtype()) ? kernels::operand{&value, f64, {}}
                                                       : kernels::operand{&whole, i64, {}};
  kernels::copy(y.shape(), {y.data(), y.dtype(), y.strides()}, from);
}
[[gnu::noinline]] inline tensor filled(tensor y, double value) {
  fill(y, value);
  return y;
}

// y[i] = value(i) for a row-major y, computed in double or, for integers, in int64.
template <class F> tensor computed(index_t count, dtype type, F value) {
  using T = decltype(value(index_t{0}));
  tensor wide = empty({count}, dtype_of<T>);
  T* to = wide.data_as<T>();
  for (index_t i = 0; i < count; ++i) to[i] = value(i);
  if (type == dtype_of<T>) return wide;
  tensor y = empty({count}, type);
  kernels::copy(y.shape(), {y.data(), type, y.strides()},
                {wide.data(), dtype_of<T>, wide.strides()});
  return y;
}

inline constexpr index_t random_chunk = 16384;

// f(first, count, out) fills a part of a row-major tensor of float or double.
template <class T, class F> tensor drawn(const shape& sizes, F f) {
  tensor y = empty(sizes, dtype_of<T>);
  T* to = y.data_as<T>();
  parallel_for(y.numel(), random_chunk,
               [&](index_t begin, index_t end) { f(begin, end - begin, to + begin); });
  return y;
}
inline tensor rounded_to(tensor x, dtype type) {
  if (x.dtype() == type) return x;
  tensor y = empty(x.shape(), type);
  kernels::copy(x.shape(), {y.data(), type, y.strides()}, {x.data(), x.dtype(), x.strides()});
  return y;
}
inline tensor laid_out_like(const tensor& x, tensor values) {
  tensor y = empty_like(x);
  if (y.strides() == values.strides()) return values;
  kernels::copy(x.shape(), {y.data(), y.dtype(), y.strides()},
                {values.data(), values.dtype(), values.strides()});
  return y;
}
inline void need_random_float(dtype type, std::string_view op) {
  if (!is_floating(type)) {
    raise<dtype_error>(op, ": makes floating tensors; got ", type, "; randint makes integers");
  }
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// Tensors of one value; value_error for one that the dtype cannot hold, dtype_error for an integer
// dtype and a number that is not whole. The `like` forms take shape, dtype and dense layout from x.
inline tensor full(const shape& sizes, double value, dtype type = f32) {
  return detail::filled(empty(sizes, type), detail::stored_scalar_of("full", type, value));
}
inline tensor zeros(const shape& sizes, dtype type = f32) { return full(sizes, 0.0, type); }
inline tensor ones(const shape& sizes, dtype type = f32) { return full(sizes, 1.0, type); }
inline tensor full_like(const tensor& x, double value) {
  return detail::filled(empty_like(x), detail::stored_scalar_of("full_like", x.dtype(), value));
}
inline tensor zeros_like(const tensor& x) { return full_like(x, 0.0); }
inline tensor ones_like(const tensor& x) { return full_like(x, 1.0); }

// start, start + step, ... before stop: i64 from integers, f32 from floating bounds unless `type`
// says otherwise. Throws value_error for a zero or infinite step and for too many elements.
template <class T>
requires std::is_arithmetic_v<T> tensor arange(T start, T stop, std::type_identity_t<T> step = T(1),
                                               dtype type = std::is_integral_v<T> ? i64 : f32) {
  const auto first = static_cast<double>(start), last = static_cast<double>(stop);
  const auto by = static_cast<double>(step);
  const double estimate = std::ceil((last - first) / by);
  if (!(estimate < 1e15) || by == 0.0 || !std::isfinite(by)) {
    raise<value_error>("arange: no such range; got start ", first, ", stop ", last, ", step ", by);
  }
  if constexpr (std::is_integral_v<T>) {  // exact also beyond 2^53
    const auto low = static_cast<std::uint64_t>(step > 0 ? start : stop);
    const auto high = static_cast<std::uint64_t>(step > 0 ? stop : start);
    const auto stride = static_cast<std::uint64_t>(step);
    const std::uint64_t width = step > 0 ? stride : 0 - stride;
    const bool none = step > 0 ? start >= stop : start <= stop;
    const auto count = none ? 0 : static_cast<index_t>((high - low - 1) / width + 1);
    return detail::computed(count, type, [&](index_t i) {
      return static_cast<std::int64_t>(start) + i * static_cast<std::int64_t>(step);
    });
  } else {
    const index_t count = estimate > 0 ? static_cast<index_t>(estimate) : 0;
    return detail::computed(count, type,
                            [&](index_t i) { return first + static_cast<double>(i) * by; });
  }
}
// 0, 1, ... before stop.
template <class T>
requires std::is_arithmetic_v<T> tensor arange(T stop) { return arange(T(0), stop); }

// `count` numbers evenly spaced from first to last, both included exactly.
template <class = void>
tensor linspace(double first, double last, index_t count, dtype type = f32) {
  if (count < 0) raise<value_error>("linspace: the count must not be negative; got ", count);
  const double step = count > 1 ? (last - first) / static_cast<double>(count - 1) : 0.0;
  return detail::computed(count, type, [&](index_t i) {
    const bool upper = i >= count / 2 && count > 1;  // from the nearer end
    return upper ? last - step * static_cast<double>(count - 1 - i)
                 : first + step * static_cast<double>(i);
  });
}

// Ones on the diagonal: rows x rows, or rows x columns.
inline tensor eye(index_t rows, index_t columns, dtype type = f32) {
  tensor y = zeros({rows, columns}, type);
  const index_t n = std::min(rows, columns);
  const double one = 1.0;
  kernels::copy({n}, {y.data(), type, {columns + 1}}, {&one, f64, {}});
  return y;
}
inline tensor eye(index_t rows) { return eye(rows, rows); }

// Row-major copies of values in memory. Throws shape_error when they do not fill the shape.
template <element T> tensor from_span(std::span<const T> values, const shape& sizes) {
  return tensor_of<T>(values, sizes);
}
template <element T> tensor from_vector(const std::vector<T>& values) {
  const shape sizes{static_cast<index_t>(values.size())};
  if constexpr (std::is_same_v<T, bool>) {
    tensor y = empty(sizes, bool8);
    std::copy(values.begin(), values.end(), y.data_as<bool>());
    return y;
  } else {
    return tensor_of<T>(std::span<const T>(values), sizes);
  }
}

// Somebody else's memory as a row-major tensor, without a copy. `release()` is called when the last
// tensor on it is gone; without it the memory must outlive them all. Throws value_error for a null
// or misaligned pointer.
template <class F> tensor from_blob(void* data, const shape& sizes, dtype type, F release) {
  const std::size_t bytes = detail::checked_bytes(sizes, type);
  if (reinterpret_cast<std::uintptr_t>(data) % static_cast<std::size_t>(size_of(type)) != 0 ||
      (data == nullptr && bytes > 0)) {
    raise<value_error>("from_blob: the pointer must be aligned to ", size_of(type),
                       " bytes and not null; for ", type, sizes);
  }
  auto held = std::make_unique<F>(std::move(release));
  detail::storage* s = detail::borrow_storage(
      data, bytes,
      [](void* context) {
        const std::unique_ptr<F> last(static_cast<F*>(context));
        (*last)();
      },
      held.get());
  static_cast<void>(held.release());
  return detail::make_record(s, s->data, type, sizes, dense_strides(sizes));
}
inline tensor from_blob(void* data, const shape& sizes, dtype type = f32) {
  return from_blob(data, sizes, type, [] {});
}

// Uniform on [0, 1): 24 random bits for f32, 53 for f64, 11 and 8 for f16 and bf16.
inline tensor rand(const shape& sizes, dtype type = f32, generator& g = default_generator()) {
  detail::need_random_float(type, "rand");
  const auto draw = [&]<class T>(T steps) {
    const random_state at = g.reserve_for<T>(sizes.numel());
    return detail::drawn<T>(sizes, [&](index_t first, index_t n, T* to) {
      uniform_fill(to, first, n, at);
      if (steps == T(0)) return;
      for (index_t i = 0; i < n; ++i) to[i] = std::floor(to[i] * steps) / steps;
    });
  };
  if (type == f64) return draw(0.0);
  return detail::rounded_to(draw(type == f16 ? 2048.0f : type == bf16 ? 256.0f : 0.0f), type);
}
// Standard normal.
inline tensor randn(const shape& sizes, dtype type = f32, generator& g = default_generator()) {
  detail::need_random_float(type, "randn");
  const auto draw = [&]<class T>(T) {
    const random_state at = g.reserve_for<T>(sizes.numel());
    return detail::drawn<T>(
        sizes, [&](index_t first, index_t n, T* to) { normal_fill(to, first, n, at); });
  };
  return type == f64 ? draw(0.0) : detail::rounded_to(draw(0.0f), type);
}
// The same with the shape, dtype and dense layout of x: the values of rand(x.shape(), x.dtype()).
inline tensor rand_like(const tensor& x, generator& g = default_generator()) {
  return detail::laid_out_like(x, rand(x.shape(), x.dtype(), g));
}
inline tensor randn_like(const tensor& x, generator& g = default_generator()) {
  return detail::laid_out_like(x, randn(x.shape(), x.dtype(), g));
}
// i64 on [low, high), every value equally likely. Throws value_error for an empty range.
inline tensor randint(index_t low, index_t high, const shape& sizes,
                      generator& g = default_generator()) {
  if (low >= high) {
    raise<value_error>("randint: needs low < high; got ", low, " and ", high);
  }
  const std::uint64_t bound = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  const random_state at = g.reserve(static_cast<std::uint64_t>(sizes.numel()));
  return detail::drawn<std::int64_t>(sizes, [&](index_t first, index_t n, std::int64_t* to) {
    for (index_t i = 0; i < n; ++i) {
      const std::uint64_t k = random_below(at, static_cast<std::uint64_t>(first + i), bound);
      to[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + k);
    }
  });
}
// 0 .. count - 1 in random order, i64.
template <class = void> tensor randperm(index_t count, generator& g = default_generator()) {
  if (count < 0) raise<value_error>("randperm: the count must not be negative; got ", count);
  tensor y = arange(count);
  g.shuffle(y.data_as<index_t>(), count);
  return y;
}
// 1 with probability p, else 0.
inline tensor bernoulli(const shape& sizes, double p, dtype type = f32,
                        generator& g = default_generator()) {
  if (!(p >= 0.0 && p <= 1.0)) {
    raise<value_error>("bernoulli: the probability must be in [0, 1]; got ", p);
  }
  const random_state at = g.reserve_for<float>(sizes.numel());
  return detail::rounded_to(detail::drawn<float>(sizes,
                                                 [&](index_t first, index_t n, float* to) {
                                                   uniform_fill(to, first, n, at);
                                                   for (index_t i = 0; i < n; ++i)
                                                     to[i] = static_cast<double>(to[i]) < p;
                                                 }),
                            type);
}

}  // namespace adze::inline ADZE_ISA
