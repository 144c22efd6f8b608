#pragma once
// SPDX-License-Identifier: MIT
// The same elements in the same order under another shape: views where strides allow it, else
// copies. Gradients are reshapes back.
#include <adze/autograd/accumulate.hpp>
#include <adze/ops/fwd.hpp>
#include <adze/tensor/index.hpp>

namespace adze::inline ADZE_ISA {

template <class = void> struct reshape_op {
  index_list sizes{};
  static constexpr std::string_view name = "reshape";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  // The -1 is what the other sizes leave over.
  shape result(const shape& x) const {
    index_list to = sizes;
    index_t open = -1;
    for (index_t i = 0; i < to.size(); ++i) {
      if (to[i] >= 0) continue;
      if (to[i] != -1 || open >= 0) {
        raise<shape_error>("reshape: sizes must be >= 0, with -1 at most once; got ", sizes);
      }
      to[open = i] = 1;
    }
    const index_t known = shape(std::span(to.begin(), to.end())).numel();
    if (open >= 0) to[open] = known > 0 ? x.numel() / known : 0;
    const shape s{std::span(to.begin(), to.end())};
    if (s.numel() != x.numel()) {
      raise<shape_error>("reshape: ", sizes, " does not hold the ", x.numel(), " elements of ", x);
    }
    return s;
  }
  tensor forward(const tensor& x) const {
    const shape to = result(x.shape());
    if (const auto strides = detail::view_strides(x, to)) return alias(x, to, *strides);
    return alias(detail::dense_copy(x), to, dense_strides(to));
  }
  tensor backward(backward_context& c, const tensor& g) const { return reshape(g, c.in_shape(0)); }
};

template <class = void> struct flatten_op {
  index_t first = 0, last = -1;
  static constexpr std::string_view name = "flatten";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const {
    if (x.rank() == 0) return {1};
    const index_t a = resolve_axis(first, x.rank(), name), b = resolve_axis(last, x.rank(), name);
    if (a > b) {
      raise<shape_error>("flatten: the first axis must not come after the last; got ", first,
                         " and ", last, " for ", x);
    }
    index_list to;
    for (index_t i = 0; i < x.rank(); ++i) {
      if (i <= a || i > b) {
        to.push_back(x[i]);
      } else {
        to[a] *= x[i];
      }
    }
    return shape(std::span(to.begin(), to.end()));
  }
  tensor forward(const tensor& x) const { return reshape_op<>{result(x.shape())}.forward(x); }
  tensor backward(backward_context& c, const tensor& g) const { return reshape(g, c.in_shape(0)); }
};

template <class = void> struct squeeze_op {
  index_t axis = 0;
  static constexpr std::string_view name = "squeeze";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const {
    const index_t a = resolve_axis(axis, x.rank(), name);
    if (x[a] != 1) {
      raise<shape_error>("squeeze: axis ", axis, " must have size 1; got ", x,
                         "; select(x, axis, i) takes one of several");
    }
    return x.erased(a);
  }
  tensor forward(const tensor& x) const {
    static_cast<void>(result(x.shape()));
    return detail::without_axis(x, resolve_axis(axis, x.rank(), name));
  }
  tensor backward(backward_context& c, const tensor& g) const { return reshape(g, c.in_shape(0)); }
};

template <class = void> struct unsqueeze_op {
  index_t axis = 0;
  static constexpr std::string_view name = "unsqueeze";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const {
    return x.inserted(resolve_axis(axis, x.rank() + 1, name), 1);
  }
  tensor forward(const tensor& x) const {
    const shape to = result(x.shape());
    const index_t a = resolve_axis(axis, to.rank(), name);
    dims d{};
    for (index_t i = 0; i < to.rank(); ++i) {
      const index_t from = i < a ? i : i - 1;
      d[static_cast<std::size_t>(i)] = i == a ? 1 : x.strides()[static_cast<std::size_t>(from)];
    }
    return alias(x, to, d);
  }
  tensor backward(backward_context& c, const tensor& g) const { return reshape(g, c.in_shape(0)); }
};

// The elements in row-major order under other sizes, of which one may be -1: what is left over. A
// view where strides allow it, else a copy. Gradient: g in the old shape. Throws shape_error when
// the number of elements differs.
template <class> tensor reshape(const tensor& x, const index_list& sizes) {
  return record(reshape_op<>{sizes}, x);
}
// Axes first..last as one; a 0-d tensor becomes [1]. Gradient: g in the old shape.
template <class> tensor flatten(const tensor& x, index_t first, index_t last) {
  return record(flatten_op<>{first, last}, x);
}
// Without an axis of size 1; with a new one. Views. Throws shape_error for another size.
template <class> tensor squeeze(const tensor& x, index_t axis) {
  return record(squeeze_op<>{axis}, x);
}
template <class> tensor unsqueeze(const tensor& x, index_t axis) {
  return record(unsqueeze_op<>{axis}, x);
}

// The axes `from` moved to the places `to`, the others in their order around them: a view.
// Gradient: g with them moved back.
template <class> tensor movedim(const tensor& x, const axes& from, const axes& to) {
  if (from.size() != to.size()) {
    raise<value_error>("movedim: needs one place for each axis; got ", from, " and ", to);
  }
  index_list order, named;
  for (index_t i = 0; i < x.rank(); ++i) order.push_back(-1), named.push_back(0);
  for (index_t i = 0; i < from.size(); ++i) {
    const index_t a = resolve_axis(from[i], x.rank(), "movedim");
    const index_t b = resolve_axis(to[i], x.rank(), "movedim");
    if (named[a] == 1 || order[b] != -1) {
      raise<value_error>("movedim: an axis is named twice; got ", from, " and ", to);
    }
    named[a] = 1;
    order[b] = a;
  }
  for (index_t a = 0, b = 0; a < x.rank(); ++a) {
    if (named[a] == 1) continue;
    while (order[b] != -1) ++b;
    order[b] = a;
  }
  return permute(x, order);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/layout.hpp>
