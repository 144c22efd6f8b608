#pragma once
// SPDX-License-Identifier: MIT
// How a functor becomes an op: unary<F> from `f` and `df`, binary<F> from `f` and `gradients`.
// `f` and `df` are generic in V: SIMD lanes in the kernels, and for `df` also `tensor`, which is
// how second derivatives exist without being written. Users add their own functors the same way.
#include <concepts>

#include <adze/autograd/accumulate.hpp>
#include <adze/core/scalar.hpp>
#include <adze/ops/fwd.hpp>
#include <adze/simd/math.hpp>
#include <adze/tensor/layout.hpp>

namespace adze::detail::inline ADZE_ISA {

// A scalar next to an integer tensor must be whole: integers never become floats silently.
template <class = void> double scalar_of(std::string_view op, const tensor& x, double b) {
  const bool whole = b == std::floor(b) && std::abs(b) < 9.0e15;
  if (!is_floating(x.dtype()) && !whole) {
    raise<dtype_error>(op, ": an integer tensor takes whole scalars between -9e15 and 9e15; got ",
                       x, " and ", b, "; cast(x, f32) first");
  }
  return b;
}

// A number of no axes, to be stored in a tensor of the dtype.
template <class = void> tensor one_number(std::string_view op, dtype type, double b) {
  return filled({}, type, stored_scalar_of(op, type, b));
}

template <class F>
concept whole_unary = requires(const F& f, std::int64_t x) {
  f.whole(x);
};
template <class F>
concept whole_binary = requires(const F& f, std::int64_t x) {
  f.whole(x, x);
};

// y = f(x) over dense rows; the tail runs the same code on a partly filled pack.
template <class F, class T>
void unary_rows(const void* functor, const void* const* in, void* out, index_t n,
                kernels::flow how) {
  using pack = simd::pack<T>;
  const F f = *static_cast<const F*>(functor);
  const T* x = static_cast<const T*>(in[0]);
  T* y = static_cast<T*>(out);
  index_t i = 0;
  for (; i + pack::size <= n; i += pack::size) pack(f.f(pack::load(x + i, how))).store(y + i, how);
  if constexpr (pack::size > 1)
    if (i < n) pack(f.f(pack::load_partial(x + i, n - i))).store_partial(y + i, n - i);
}

// dx = g * df(x, y).
template <class F, class T>
void slope_rows(const void* functor, const void* const* in, void* out, index_t n,
                kernels::flow how) {
  using pack = simd::pack<T>;
  const F f = *static_cast<const F*>(functor);
  const T* g = static_cast<const T*>(in[0]);
  const T* x = static_cast<const T*>(in[1]);
  const T* y = static_cast<const T*>(in[2]);
  T* d = static_cast<T*>(out);
  index_t i = 0;
  for (; i + pack::size <= n; i += pack::size) {
    pack(pack::load(g + i, how) * f.df(pack::load(x + i, how), pack::load(y + i, how)))
        .store(d + i, how);
  }
  if (pack::size > 1 && i < n) {
    const index_t m = n - i;
    const pack px = pack::load_partial(x + i, m), py = pack::load_partial(y + i, m);
    pack(pack::load_partial(g + i, m) * f.df(px, py)).store_partial(d + i, m);
  }
}

// Whether df is one number.
template <class F>
concept constant_slope = F::reads.bits == 0 && requires(const F& f, const simd::pack<float>& x) {
  { f.df(x, x) } -> std::same_as<double>;
};

template <class F, class T>
void binary_rows(const void* functor, const void* const* in, void* out, index_t n,
                 kernels::flow how) {
  using pack = simd::pack<T>;
  const F f = *static_cast<const F*>(functor);
  const T* a = static_cast<const T*>(in[0]);
  const T* b = static_cast<const T*>(in[1]);
  T* y = static_cast<T*>(out);
  index_t i = 0;
  for (; i + pack::size <= n; i += pack::size) {
    pack(f.f(pack::load(a + i, how), pack::load(b + i, how))).store(y + i, how);
  }
  if (pack::size > 1 && i < n) {
    const index_t m = n - i;
    pack(f.f(pack::load_partial(a + i, m), pack::load_partial(b + i, m))).store_partial(y + i, m);
  }
}

template <class F>
void whole_rows(const void* functor, const void* const* in, void* out, index_t n, kernels::flow) {
  const F& f = *static_cast<const F*>(functor);
  const auto* a = static_cast<const std::int64_t*>(in[0]);
  const auto* b = static_cast<const std::int64_t*>(in[1]);
  auto* y = static_cast<std::int64_t*>(out);
  for (index_t i = 0; i < n; ++i) {
    if constexpr (whole_binary<F>) {
      y[i] = f.whole(a[i], b[i]);
    } else {
      y[i] = f.whole(a[i]);
    }
  }
}

template <class F> constexpr kernels::row_loop whole_loop() {
  if constexpr (whole_unary<F> || whole_binary<F>) {
    return whole_rows<F>;
  } else {
    return nullptr;
  }
}

// The type an elementwise op computes in: f32 also for 16-bit floats, i64 for integers and bool.
inline dtype compute_type(dtype type) { return type == f64 ? f64 : is_floating(type) ? f32 : i64; }

inline kernels::operand operand_of(const tensor& x, const shape& sizes) {
  return {x.impl().data, x.impl().type, broadcast_strides(x, sizes)};
}

// All inputs have the layout of the first, which is dense, and the computing type: one plain loop.
inline bool alike(const tensor_impl& first, const tensor_impl& x, dtype compute) {
  if (x.type != compute) return false;
  if (&x == &first) return true;
  if (x.sizes != first.sizes) return false;
  for (std::size_t i = 0; i < static_cast<std::size_t>(x.sizes.rank()); ++i) {
    if (x.strides[i] != first.strides[i]) return false;
  }
  return true;
}

struct map_inputs {
  const tensor* const* x;
  int count;
};

template <class = void>
tensor map_dense(kernels::row_loop loop, const void* functor, const map_inputs& in, dtype result) {
  tensor y = empty_strided(in.x[0]->shape(), in.x[0]->strides(), result);
  const index_t n = y.numel(), size = size_of(result);
  const void* at[kernels::max_operands];
  for (int i = 0; i < in.count; ++i) at[i] = in.x[i]->data();
  if (n <= kernels::map_chunk) {
    loop(functor, at, y.data(), n, kernels::flow::cached);
    return y;
  }
  const bool far = n * size >= kernels::map_streamed;
  const auto how = far ? kernels::flow::streamed : kernels::flow::cached;
  parallel_for(n, kernels::map_chunk, [&](index_t begin, index_t end) {
    const void* from[kernels::max_operands];
    for (int i = 0; i < in.count; ++i) {
      from[i] = static_cast<const std::byte*>(at[i]) + begin * size;
    }
    loop(functor, from, static_cast<std::byte*>(y.data()) + begin * size, end - begin, how);
    if (far) simd::finish_streamed();
  });
  return y;
}

template <class = void>
[[gnu::noinline]] tensor map_general(std::string_view op, const kernels::map_loops& loops,
                                     const void* functor, const map_inputs& in, dtype compute,
                                     dtype result) {
  shape sizes = in.x[0]->shape();
  for (int i = 1; i < in.count; ++i) sizes = broadcast(sizes, in.x[i]->shape(), op);
  const tensor* like = nullptr;
  for (int i = in.count - 1; i >= 0; --i) {
    if (in.x[i]->shape() == sizes) like = in.x[i];
  }
  tensor y = like != nullptr ? empty_like(*like, result) : empty(sizes, result);
  kernels::operand all[kernels::max_operands] = {operand_of(y)};
  for (int i = 0; i < in.count; ++i) all[i + 1] = operand_of(*in.x[i], sizes);
  kernels::map(loops, functor, compute, sizes, all, in.count + 1);
  return y;
}

// y = loops(x...) elementwise with broadcasting; computed for inputs of `type`, stored as `result`.
template <class = void>
tensor map_tensors(std::string_view op, const kernels::map_loops& loops, const void* functor,
                   std::initializer_list<const tensor*> x, dtype type, dtype result) {
  const map_inputs in{x.begin(), static_cast<int>(x.size())};
  const dtype compute = compute_type(type);
  const kernels::row_loop loop = loops.of(compute);
  if (loop == nullptr) {
    raise<dtype_error>(op, ": takes floating tensors; got ", type, in.x[0]->shape(),
                       "; cast(x, f32) first");
  }
  const tensor_impl& first = in.x[0]->impl();
  bool dense = result == compute && is_dense(*in.x[0]);
  for (int i = 0; dense && i < in.count; ++i) dense = alike(first, in.x[i]->impl(), compute);
  return dense ? map_dense(loop, functor, in, result)
               : map_general(op, loops, functor, in, compute, result);
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// An op of one tensor from a functor with `name`, `reads` (what df uses: values::input(0),
// values::output(0), both or nothing), f(x) and df(x, y), where y = f(x).
template <class F> struct unary {
  F f{};
  static constexpr std::string_view name = F::name;
  static constexpr numeric precision = F::precision;
  static constexpr auto reads = gradient_reads(F::reads);
  static constexpr std::string_view axes = "...->...";
  static constexpr kernels::map_loops loops{detail::unary_rows<F, float>,
                                            detail::unary_rows<F, double>, detail::whole_loop<F>()};
  static constexpr kernels::map_loops slopes{detail::slope_rows<F, float>,
                                             detail::slope_rows<F, double>, nullptr};

  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const {
    return detail::map_tensors(name, loops, &f, {&x}, x.dtype(), x.dtype());
  }
  tensor backward(backward_context& c, const tensor& g) const {
    constexpr bool reads_x = F::reads.has(values::input(0));
    constexpr bool reads_y = F::reads.has(values::output(0));
    const tensor x = reads_x ? c.in(0) : tensor(), y = reads_y ? c.out(0) : tensor();
    if constexpr (!detail::constant_slope<F>)
      if (!c.create())
        return detail::map_tensors(name, slopes, &f, {&g, reads_x ? &x : &g, reads_y ? &y : &g},
                                   g.dtype(), g.dtype());
    // Numbers of a `where` make f32.
    if constexpr (std::is_same_v<decltype(f.df(x, y)), tensor>)
      return g * cast(f.df(x, y), g.dtype());
    return g * f.df(x, y);
  }
};

// An op of two tensors from a functor with `name`, `reads`, f(a, b) and
// gradients(context, g) in public ops.
template <class F> struct binary {
  F f{};
  static constexpr std::string_view name = F::name;
  static constexpr numeric precision = numeric::promote;
  static constexpr bool broadcasts = true;
  static constexpr auto reads = F::reads;
  static constexpr std::string_view axes = "...,...->...";
  static constexpr kernels::map_loops loops{
      detail::binary_rows<F, float>, detail::binary_rows<F, double>, detail::whole_loop<F>()};

  shape result(const shape& a, const shape& b) const { return broadcast(a, b, name); }
  tensor forward(const tensor& a, const tensor& b) const {
    const dtype type = detail::result_type(a, b);
    return detail::map_tensors(name, loops, &f, {&a, &b}, type, type);
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    return f.gradients(c, g);
  }
};

}  // namespace adze::inline ADZE_ISA
