#pragma once
// SPDX-License-Identifier: MIT
// Sums over axes: sum, mean, sum_to, cumsum, and what all reductions share. Moments and norms are
// in statistics.hpp, extremes and products in extremes.hpp. Sums of f32 and 16-bit floats are
// carried in f32 blocks joined in double (kernels/reduce.hpp).
#include <adze/autograd/accumulate.hpp>
#include <adze/kernels/folds.hpp>
#include <adze/ops/fwd.hpp>
#include <adze/tensor/index.hpp>

namespace adze::detail::inline ADZE_ISA {

// The axes named, as bits; none named means all. A 0-d tensor has none, but may be told of one.
[[gnu::noinline]] inline std::uint32_t folded_axes(const shape& x, const index_list& over,
                                                   std::string_view op) {
  const std::uint32_t all = (std::uint32_t{1} << x.rank()) - 1;
  if (over.empty()) return all;
  std::uint32_t bits = 0;
  for (const index_t a : over) {
    const std::uint32_t bit = std::uint32_t{1}
                              << resolve_axis(a, std::max<index_t>(1, x.rank()), op);
    if ((bits & bit) != 0) raise<shape_error>(op, ": axis ", a, " is named twice; got ", over);
    bits |= bit;
  }
  return bits & all;
}

[[gnu::noinline]] inline shape folded_shape(const shape& x, std::uint32_t folded, bool keep) {
  index_list to;
  for (index_t i = 0; i < x.rank(); ++i) {
    const bool gone = (folded >> i & 1) != 0;
    if (!gone || keep) to.push_back(gone ? 1 : x[i]);
  }
  return shape(std::span(to.begin(), to.end()));
}
inline index_t folded_count(const shape& x, std::uint32_t folded) {
  index_t n = 1;
  for (index_t i = 0; i < x.rank(); ++i) n *= (folded >> i & 1) != 0 ? x[i] : 1;
  return n;
}

// Strides of the result (row-major over the axes left) along the axes of x.
inline dims folded_strides(const shape& x, std::uint32_t folded) {
  dims d{};
  index_t step = 1;
  for (index_t i = x.rank() - 1; i >= 0; --i) {
    if ((folded >> i & 1) != 0) continue;
    d[static_cast<std::size_t>(i)] = step;
    step *= x[i];
  }
  return d;
}

// What folds without members are called on.
inline constexpr struct {
} without_members{};

struct fold_options {
  const kernels::reduce_loops* loops = &kernels::folds::loops<kernels::folds::sum>();
  const void* functor = nullptr;  // for folds with members
  kernels::finish_slots finish = nullptr;
  const void* finish_data = nullptr;
  dtype result = f32;
  const tensor* center = nullptr;  // f64, row-major over the axes left
};

// x folded over some axes into a row-major tensor of shape `to`: that of the axes left, where
// axes of size 1 may come and go.
template <class = void>
tensor fold(const tensor& x, std::uint32_t folded, const shape& to, const fold_options& o) {
  tensor y = empty(to, o.result);
  const dims strides = folded_strides(x.shape(), folded);
  kernels::reduction r{.loops = o.loops,
                       .functor = o.functor != nullptr ? o.functor : &without_members,
                       .finish = o.finish,
                       .finish_data = o.finish_data,
                       .compute = !is_floating(x.dtype()) ? i64
                                  : x.dtype() == f64      ? f64
                                                          : f32,
                       .folded = folded,
                       .y = {y.data(), o.result, strides},
                       .x = operand_of(x)};
  if (o.center != nullptr) r.center = {o.center->data(), f64, strides};
  kernels::reduce(r, x.shape());
  return y;
}

// The gradient of a result, repeated along the axes that were folded away.
template <class = void>
tensor spread(const tensor& g, const index_list& over, bool keep, const shape& x,
              std::string_view op) {
  if (keep || over.empty() || g.rank() == 0) return expand(g, x);
  return expand(reshape(g, folded_shape(x, folded_axes(x, over, op), true)), x);
}

// Divides what was folded by *count.
inline void divide_slots(const void* count, double* acc, const double*, index_t n) {
  for (index_t i = 0; i < n; ++i) acc[i] /= *static_cast<const double*>(count);
}

template <class = void> void need_floating(const tensor& x, std::string_view op) {
  if (is_floating(x.dtype())) return;
  raise<dtype_error>(op, ": takes floating tensors; got ", x, "; cast(x, f32) first");
}

// One value per result in f64, row-major over the axes left: a center for a second pass.
template <class = void> tensor f64_fold(const tensor& x, std::uint32_t folded, fold_options o) {
  o.result = f64;
  return fold(x, folded, folded_shape(x.shape(), folded, false), o);
}
// g where it hits, divided by how many do. These are counted in f32 for 16-bit floats, which end at
// 65504; the quotient is rounded once.
template <class = void> tensor shared_among(const tensor& g, const tensor& hit, const axes& over) {
  const tensor one = cast(hit, g.dtype() == f64 ? f64 : f32);
  return cast(g * (one / sum(one, over, true)), g.dtype());
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class = void> struct sum_op {
  index_list over{};
  bool keep = false;
  static constexpr std::string_view name = "sum";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const {
    return detail::folded_shape(x, detail::folded_axes(x, over, name), keep);
  }
  tensor forward(const tensor& x) const {
    const dtype type = is_floating(x.dtype()) ? x.dtype() : i64;
    return detail::fold(x, detail::folded_axes(x.shape(), over, name), result(x.shape()),
                        {.result = type});
  }
  tensor backward(backward_context& c, const tensor& g) const {
    return detail::spread(g, over, keep, c.in_shape(0), name);
  }
};

template <class = void> struct mean_op {
  index_list over{};
  bool keep = false;
  static constexpr std::string_view name = "mean";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = gradient_reads(values::nothing);

  static double count(const shape& x, const index_list& over) {
    return static_cast<double>(detail::folded_count(x, detail::folded_axes(x, over, name)));
  }
  shape result(const shape& x) const { return sum_op<>{over, keep}.result(x); }
  tensor forward(const tensor& x) const {
    detail::need_floating(x, name);
    const double n = count(x.shape(), over);
    return detail::fold(x, detail::folded_axes(x.shape(), over, name), result(x.shape()),
                        {.finish = detail::divide_slots, .finish_data = &n, .result = x.dtype()});
  }
  tensor backward(backward_context& c, const tensor& g) const {
    const double share = 1.0 / count(c.in_shape(0), over);
    return detail::spread(g * share, over, keep, c.in_shape(0), name);
  }
};

template <class = void> struct sum_to_op {
  shape sizes{};
  static constexpr std::string_view name = "sum_to";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape&) const { return sizes; }
  tensor forward(const tensor& x) const {
    const index_t shift = x.rank() - sizes.rank();
    std::uint32_t folded = 0;
    for (index_t i = 0; i < x.rank(); ++i) {
      const index_t n = x.shape()[i], to = i < shift ? 1 : sizes[i - shift];
      if (shift < 0 || (to != 1 && to != n)) {
        raise<shape_error>("sum_to: ", x, " is not what ", sizes, " broadcasts to");
      }
      if (i < shift || (to == 1 && n != 1)) folded |= std::uint32_t{1} << i;
    }
    if (folded == 0) return x;
    const dtype type = is_floating(x.dtype()) ? x.dtype() : i64;
    return detail::fold(x, folded, sizes, {.result = type});
  }
  tensor backward(backward_context& c, const tensor& g) const { return expand(g, c.in_shape(0)); }
};

// Sum over the given axes, all when none are given: y = sum_i x_i; 0 over nothing. Gradient: g
// repeated. Floats keep their dtype, integers and bool give i64. Throws shape_error for an axis
// that is out of range or named twice.
template <class> tensor sum(const tensor& x, const axes& over, bool keep) {
  return record(sum_op<>{over, keep}, x);
}
// Sum divided by the number of elements; NaN over nothing. Gradient: g / n repeated. Floats only.
template <class> tensor mean(const tensor& x, const axes& over, bool keep) {
  return record(mean_op<>{over, keep}, x);
}
// How many elements are not zero along the given axes, all when none are given; i64. NaN is not
// zero.
template <class> tensor count_nonzero(const tensor& x, const axes& over) {
  return sum(x.dtype() == bool8 ? x : x != 0.0, over);
}
// The way back from broadcasting: x summed down to `sizes`, which must broadcast to its shape.
// Gradient: g expanded.
template <class> tensor sum_to(const tensor& x, const shape& sizes) {
  if (x.shape() == sizes && detail::state.watch == nullptr) return x;
  return record(sum_to_op<>{sizes}, x);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call, and the rest of the family.
#include <adze/ops/extremes.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/statistics.hpp>
#include <adze/ops/variance.hpp>
