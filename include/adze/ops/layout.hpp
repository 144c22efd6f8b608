#pragma once
// SPDX-License-Identifier: MIT
// The same values in another dtype, memory or order of the axes. Everything but cast and copies
// shares the storage of its input; gradients are the way back. Other shapes are in reshape.hpp,
// slices in slice.hpp, joins in concat.hpp.
#include <adze/autograd/accumulate.hpp>
#include <adze/ops/fwd.hpp>
#include <adze/tensor/index.hpp>
#include <adze/tensor/layout.hpp>

namespace adze::inline ADZE_ISA {

template <class = void> struct cast_op {
  dtype type = f32;
  static constexpr std::string_view name = "cast";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr std::string_view axes = "...->...";

  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const {
    if (x.dtype() == type) return x;
    tensor y = empty_like(x, type);
    kernels::copy(x.shape(), detail::operand_of(y), detail::operand_of(x));
    return y;
  }
  tensor backward(backward_context& c, const tensor& g) const { return cast(g, c.in_type(0)); }
};

template <class = void> struct clone_op {
  static constexpr std::string_view name = "clone";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr std::string_view axes = "...->...";

  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const {
    tensor y = empty_like(x);
    kernels::copy(x.shape(), detail::operand_of(y), detail::operand_of(x));
    return y;
  }
  tensor backward(backward_context&, const tensor& g) const { return g; }
};

template <class = void> struct contiguous_op {
  static constexpr std::string_view name = "contiguous";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr std::string_view axes = "...->...";

  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const { return x.is_contiguous() ? x : detail::dense_copy(x); }
  tensor backward(backward_context&, const tensor& g) const { return g; }
};

template <class = void> struct detach_op {
  static constexpr std::string_view name = "detach";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr value_set nondifferentiable = values::output(0);
  static constexpr std::string_view axes = "...->...";

  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const { return alias(x); }
  tensor backward(backward_context&, const tensor&) const { return {}; }
};

template <class = void> struct transpose_op {
  index_t a = -2, b = -1;
  static constexpr std::string_view name = "transpose";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const {
    const index_t i = resolve_axis(a, x.rank(), name), j = resolve_axis(b, x.rank(), name);
    index_list to = x;
    std::swap(to[i], to[j]);
    return shape(std::span(to.begin(), to.end()));
  }
  tensor forward(const tensor& x) const {
    const shape to = result(x.shape());
    dims d = x.strides();
    std::swap(d[static_cast<std::size_t>(resolve_axis(a, x.rank(), name))],
              d[static_cast<std::size_t>(resolve_axis(b, x.rank(), name))]);
    return alias(x, to, d);
  }
  tensor backward(backward_context&, const tensor& g) const { return transpose(g, a, b); }
};

template <class = void> struct permute_op {
  index_list order{};
  static constexpr std::string_view name = "permute";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  // The order with every axis counted from the front; checked to name each axis once.
  index_list resolved(const shape& x) const {
    index_list axes;
    std::uint32_t seen = 0;
    for (const index_t a : order) axes.push_back(resolve_axis(a, x.rank(), name));
    for (const index_t a : axes) seen |= std::uint32_t{1} << a;
    if (axes.size() != x.rank() || seen != (std::uint32_t{1} << x.rank()) - 1) {
      raise<shape_error>("permute: the order must name each axis once; got ", order, " for ", x);
    }
    return axes;
  }
  shape result(const shape& x) const {
    index_list to;
    for (const index_t a : resolved(x)) to.push_back(x[a]);
    return shape(std::span(to.begin(), to.end()));
  }
  tensor forward(const tensor& x) const {
    dims d{};
    std::size_t i = 0;
    for (const index_t a : resolved(x.shape())) d[i++] = x.strides()[static_cast<std::size_t>(a)];
    return alias(x, result(x.shape()), d);
  }
  tensor backward(backward_context& c, const tensor& g) const {
    index_list back = c.in_shape(0);  // for its length
    index_t i = 0;
    for (const index_t a : resolved(c.in_shape(0))) back[a] = i++;
    return permute(g, back);
  }
};

template <class = void> struct expand_op {
  index_list sizes{};
  static constexpr std::string_view name = "expand";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const {
    index_list to = sizes;
    const index_t shift = to.size() - x.rank();
    for (index_t i = 0; i < to.size(); ++i) {
      const index_t n = i < shift ? -1 : x[i - shift];
      if (to[i] == -1 && n >= 0) to[i] = n;
      if (to[i] < 0 || (n >= 0 && n != 1 && n != to[i]) || shift < 0) {
        raise<shape_error>("expand: ", x, " does not stretch to ", sizes,
                           "; only axes of size 1 do, and new ones in front need a size");
      }
    }
    if (shift < 0) raise<shape_error>("expand: ", x, " has more axes than ", sizes);
    return shape(std::span(to.begin(), to.end()));
  }
  tensor forward(const tensor& x) const {
    const shape to = result(x.shape());
    return alias(x, to, broadcast_strides(x, to));
  }
  tensor backward(backward_context& c, const tensor& g) const { return sum_to(g, c.in_shape(0)); }
};

// x in another dtype; x itself when it has it. Floats become integers by truncation and saturate,
// NaN becomes 0, anything but 0 is true. Gradient: cast back; none through integers.
template <class> tensor cast(const tensor& x, dtype type) {
  if (x.dtype() == type && detail::state.watch == nullptr) return x;
  return record(cast_op<>{type}, x);
}
// A copy with its own storage; it keeps the order of a dense layout. Gradient: g.
template <class> tensor clone(const tensor& x) { return record(clone_op<>{}, x); }
// x in row-major order without gaps; x itself when it is so already. Gradient: g.
template <class> tensor contiguous(const tensor& x) {
  if (x.is_contiguous() && detail::state.watch == nullptr) return x;
  return record(contiguous_op<>{}, x);
}
// The same elements, cut off from the graph. Gradient: none.
template <class> tensor detach(const tensor& x) {
  const no_grad guard;
  return record(detach_op<>{}, x);
}
// Axes a and b exchanged: a view. Gradient: g with them exchanged.
template <class> tensor transpose(const tensor& x, index_t a, index_t b) {
  return record(transpose_op<>{a, b}, x);
}
// Axis i of the result is axis order[i] of x: a view. Gradient: g in the inverse order.
template <class> tensor permute(const tensor& x, const axes& order) {
  return record(permute_op<>{order}, x);
}
// Axes of size 1 repeated, and new ones in front, without a copy (stride 0); -1 keeps a size.
// Gradient: g summed over what was repeated.
template <class> tensor expand(const tensor& x, const index_list& sizes) {
  return record(expand_op<>{sizes}, x);
}
// x counts[i] times along each axis, one after the other; fewer counts are those of the last axes,
// more make new axes in front, so that this is PyTorch's repeat and its tile. A copy. Gradient: the
// sum of g over the copies.
template <class> tensor repeat(const tensor& x, const index_list& counts) {
  shape to = x.shape();
  while (to.rank() < counts.size()) to = to.inserted(0, 1);
  const index_t first = to.rank() - counts.size();
  tensor y = x;
  for (index_t i = 0; i < counts.size(); ++i) {
    const index_t axis = first + i, count = counts[i];
    if (count < 0) raise<value_error>("repeat: counts must not be negative; got ", counts);
    if (count == 1) continue;
    index_t outer = 1;
    for (index_t a = 0; a < axis; ++a) outer *= to[a];
    const index_t rest = outer == 0 ? 0 : to.numel() / outer;
    y = expand(reshape(y, {outer, 1, rest}), {outer, count, rest});
    to = to.with(axis, count * to[axis]);
    y = reshape(y, to);
  }
  if (y.shape() != to) y = reshape(y, to);
  return y.impl().store == x.impl().store ? clone(y) : y;
}

// The elements moved on by shifts[i] along which[i], those that leave at the end coming back at the
// start; without axes, along all of x as one row. A copy. Gradient: g moved back.
template <class> tensor roll(const tensor& x, const index_list& shifts, const axes& which) {
  if (which.empty() && shifts.size() == 1) {
    return reshape(roll(flatten(x), shifts, {0}), x.shape());
  }
  if (which.size() != shifts.size()) {
    raise<value_error>("roll: needs one shift for each axis; got ", shifts, " and ", which);
  }
  tensor y = x;
  for (index_t i = 0; i < which.size(); ++i) {
    const index_t n = x.shape()[resolve_axis(which[i], x.rank(), "roll")];
    const index_t by = n == 0 ? 0 : (shifts[i] % n + n) % n;
    if (by == 0) continue;
    const tensor parts[] = {slice(y, which[i], {.start = n - by}),
                            slice(y, which[i], {.stop = n - by})};
    y = concat(parts, which[i]);
  }
  return y.impl_or_null() == x.impl_or_null() ? clone(x) : y;
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call, and the rest of the family.
#include <adze/ops/concat.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/ops/reshape.hpp>
#include <adze/ops/slice.hpp>
