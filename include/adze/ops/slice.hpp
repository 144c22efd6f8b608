#pragma once
// SPDX-License-Identifier: MIT
// Parts of a tensor as views: slice, select, split, chunk. The gradient of a part is the whole
// with zeros elsewhere.
#include <adze/autograd/accumulate.hpp>
#include <adze/ops/fwd.hpp>
#include <adze/tensor/index.hpp>
#include <adze/tensor/layout.hpp>

namespace adze::detail::inline ADZE_ISA {

// What a range takes of an axis of n elements: the first one and how many.
struct taken {
  index_t first = 0, count = 0, step = 1;
};
template <class = void> taken resolve_range(const slice_range& r, index_t n) {
  if (r.step < 1) raise<value_error>("slice: the step must be positive; got ", r.step, "; flip(x)");
  const auto place = [&](index_t i) { return std::clamp<index_t>(i < 0 ? i + n : i, 0, n); };
  const index_t first = place(r.start), last = place(r.stop);
  const index_t count = last > first ? (last - first - 1) / r.step + 1 : 0;
  return {first, count, count > 1 ? r.step : 1};  // the step of none or one may be huge
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// Zeros with g in the place of a slice: the gradient of `slice`, whose gradient is a slice again.
template <class = void> struct unslice_op {
  index_t axis = 0;
  slice_range range{};
  index_t size = 0;  // of the axis in the whole
  static constexpr std::string_view name = "unslice";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& g) const { return g.with(resolve_axis(axis, g.rank(), name), size); }
  tensor forward(const tensor& g) const {
    const index_t a = resolve_axis(axis, g.rank(), name);
    tensor y = detail::zeros_of(result(g.shape()), g.dtype());
    const auto [first, count, step] = detail::resolve_range(range, size);
    const tensor part = detail::window(y, a, first, count, step);
    if (count != g.shape()[a]) {
      raise<shape_error>("unslice: the range takes ", count, " of ", size, " elements; got ", g);
    }
    kernels::copy(g.shape(), detail::operand_of(part), detail::operand_of(g));
    return y;
  }
  tensor backward(backward_context&, const tensor& g) const { return slice(g, axis, range); }
};

template <class = void> struct slice_op {
  index_t axis = 0;
  slice_range range{};
  static constexpr std::string_view name = "slice";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const {
    const index_t a = resolve_axis(axis, x.rank(), name);
    return x.with(a, detail::resolve_range(range, x[a]).count);
  }
  tensor forward(const tensor& x) const {
    const index_t a = resolve_axis(axis, x.rank(), name);
    const auto [first, count, step] = detail::resolve_range(range, x.shape()[a]);
    return detail::window(x, a, first, count, step);
  }
  tensor backward(backward_context& c, const tensor& g) const {
    const shape& x = c.in_shape(0);
    return record(unslice_op<>{axis, range, x[resolve_axis(axis, x.rank(), name)]}, g);
  }
};

template <class = void> struct select_op {
  index_t axis = 0;
  index_t index = 0;
  static constexpr std::string_view name = "select";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const { return x.erased(resolve_axis(axis, x.rank(), name)); }
  index_t place(const shape& x) const {
    const index_t n = x[resolve_axis(axis, x.rank(), name)], i = index < 0 ? index + n : index;
    if (i < 0 || i >= n) {
      raise<value_error>("select: index ", index, " is out of range for axis ", axis, " of size ",
                         n, "; got ", x);
    }
    return i;
  }
  tensor forward(const tensor& x) const {
    return detail::without_axis(x, resolve_axis(axis, x.rank(), name), place(x.shape()));
  }
  tensor backward(backward_context& c, const tensor& g) const {
    const shape& x = c.in_shape(0);
    const index_t a = resolve_axis(axis, x.rank(), name), i = place(x);
    return record(unslice_op<>{a, {i, i + 1}, x[a]}, unsqueeze(g, a));
  }
};

template <class = void> struct split_op {
  std::vector<index_t> sizes{};
  index_t axis = 0;
  static constexpr std::string_view name = "split";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  std::vector<tensor> forward(const tensor& x) const {
    const index_t a = resolve_axis(axis, x.rank(), name);
    std::vector<tensor> parts;
    index_t first = 0;
    for (const index_t n : sizes) {
      if (n < 0 || n > x.shape()[a] - first) break;
      parts.push_back(detail::window(x, a, first, n));
      first += n;
    }
    if (first != x.shape()[a] || parts.size() != sizes.size()) {
      raise<shape_error>("split: the sizes must be >= 0 and add up to ", x.shape()[a], " on axis ",
                         axis, " of ", x);
    }
    return parts;
  }
  tensor backward(backward_context& c, tensor_list g) const {
    std::vector<tensor> parts;
    for (std::size_t k = 0; k < g.size(); ++k) {
      parts.push_back(g[k].defined() ? g[k] : detail::zeros_of(c.out_shape(k), c.out_type(k)));
    }
    return concat(parts, axis);
  }
};

// Elements start, start + step, ... before stop of one axis: a view. Negative places count from the
// end, places beyond the axis are clipped. Gradient: zeros with g in their place. Throws
// value_error for a step below 1.
template <class> tensor slice(const tensor& x, index_t axis, const slice_range& range) {
  return record(slice_op<>{axis, range}, x);
}
// One place of an axis, which goes away: a view. Gradient: zeros with g there. Throws value_error
// for an index out of range; -1 is the last.
template <class> tensor select(const tensor& x, index_t axis, index_t index) {
  return record(select_op<>{axis, index}, x);
}
// `length` places of an axis from `start` on: a view. As slice, but nothing is clipped: throws
// value_error for places that are not there.
template <class> tensor narrow(const tensor& x, index_t axis, index_t start, index_t length) {
  const index_t n = x.shape()[resolve_axis(axis, x.rank(), "narrow")];
  const index_t first = start < 0 ? start + n : start;
  if (length < 0 || first < 0 || first > n || length > n - first) {
    raise<value_error>("narrow: no ", length, " places from ", start, " on axis ", axis, " of ", x);
  }
  if (start + length != 0 || start >= 0) return slice(x, axis, {start, start + length});
  return slice(x, axis, {.start = start});  // counted from the end, also when a graph runs
}
// Consecutive parts of an axis, of the given sizes, or of one size with a rest: views. Gradient:
// the parts' gradients side by side. Throws shape_error when the sizes do not add up.
template <class>
std::vector<tensor> split(const tensor& x, const std::vector<index_t>& sizes, index_t axis) {
  return record(split_op<>{sizes, axis}, x);
}
template <class> std::vector<tensor> split(const tensor& x, index_t size, index_t axis) {
  if (size < 1) raise<value_error>("split: the size must be positive; got ", size);
  std::vector<index_t> sizes;
  const index_t n = x.shape()[resolve_axis(axis, x.rank(), "split")];
  for (index_t rest = n; rest > 0; rest -= size) sizes.push_back(std::min(size, rest));
  if (sizes.empty()) sizes.push_back(0);
  return split(x, sizes, axis);
}
// `count` parts of equal size, the last one smaller where it must be; fewer when they run out.
template <class> std::vector<tensor> chunk(const tensor& x, index_t count, index_t axis) {
  if (count < 1) raise<value_error>("chunk: the count must be positive; got ", count);
  const index_t n = x.shape()[resolve_axis(axis, x.rank(), "chunk")];
  return split(x, std::max<index_t>(1, n / count + (n % count != 0 ? 1 : 0)), axis);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/concat.hpp>
#include <adze/ops/layout.hpp>
