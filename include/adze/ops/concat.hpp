#pragma once
// SPDX-License-Identifier: MIT
// Tensors side by side, and tensors rearranged into new memory: concat, stack, flip, pad and the
// triangles of matrices.
#include <adze/autograd/accumulate.hpp>
#include <adze/core/scalar.hpp>
#include <adze/ops/fwd.hpp>
#include <adze/tensor/index.hpp>
#include <adze/tensor/layout.hpp>

namespace adze::inline ADZE_ISA {

template <class = void> struct concat_op {
  index_t axis = 0;
  std::vector<index_t> sizes{};  // of the inputs along the axis; filled by forward
  static constexpr std::string_view name = "concat";
  static constexpr numeric precision = numeric::promote;
  static constexpr value_set reads = values::nothing;

  shape result(tensor_list x) const {
    if (x.empty()) raise<shape_error>("concat: needs at least one tensor; got none");
    const shape& first = x[0].shape();
    const index_t a = resolve_axis(axis, first.rank(), name);
    index_t n = 0;
    for (const tensor& t : x) {
      if (t.rank() != first.rank() || t.shape().with(a, 0) != first.with(a, 0)) {
        raise<shape_error>("concat: all sizes but axis ", axis, " must agree; got ", x[0], " and ",
                           t);
      }
      n += t.shape()[a];
    }
    return first.with(a, n);
  }
  tensor forward(tensor_list x) {
    const shape to = result(x);
    const index_t a = resolve_axis(axis, to.rank(), name);
    dtype type = x[0].dtype();
    for (const tensor& t : x) type = promote(type, t.dtype());
    const bool last = to.rank() == 4 && !x[0].is_contiguous() &&
                      x[0].strides() == channels_last_strides(x[0].shape());
    tensor y = last ? empty_channels_last(to, type) : empty(to, type);
    index_t first = 0;
    sizes.clear();
    for (const tensor& t : x) {
      const index_t n = t.shape()[a];
      kernels::copy(t.shape(), detail::operand_of(detail::window(y, a, first, n)),
                    detail::operand_of(t));
      sizes.push_back(n);
      first += n;
    }
    return y;
  }
  std::vector<tensor> backward(backward_context& c, const tensor& g) const {
    std::vector<tensor> parts(sizes.size());
    index_t first = 0;
    for (std::size_t j = 0; j < parts.size(); ++j) {
      if (c.wants(j)) parts[j] = slice(g, axis, {first, first + sizes[j]});
      first += sizes[j];
    }
    return parts;
  }
};

template <class = void> struct flip_op {
  index_list which{};
  static constexpr std::string_view name = "flip";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) const {
    tensor from = x;
    std::uint32_t seen = 0;
    for (const index_t axis : which) {
      const index_t a = resolve_axis(axis, std::max<index_t>(1, x.rank()), name);
      if ((seen >> a & 1) != 0) raise<shape_error>("flip: axis ", axis, " is named twice");
      seen |= std::uint32_t{1} << a;
      if (x.rank() == 0) continue;  // one element
      from = detail::window(from, a, x.shape()[a] - 1, x.shape()[a], -1);
    }
    tensor y = empty_like(x);
    kernels::copy(x.shape(), detail::operand_of(y), detail::operand_of(from));
    return y;
  }
  tensor backward(backward_context&, const tensor& g) const { return flip(g, which); }
};

// Amounts in PyTorch's order: before and after the last axis, then the one before it, and so on.
// A negative amount takes elements away.
template <class = void> struct pad_op {
  std::vector<index_t> amounts{};
  double value = 0.0;
  static constexpr std::string_view name = "pad";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  index_t before(index_t axis, index_t rank) const { return amount(2 * (rank - 1 - axis)); }
  index_t after(index_t axis, index_t rank) const { return amount(2 * (rank - 1 - axis) + 1); }
  shape result(const shape& x) const {
    const auto pairs = static_cast<index_t>(amounts.size());
    if (pairs % 2 != 0 || pairs > 2 * x.rank()) {
      raise<shape_error>("pad: needs two amounts per axis, from the last axis on; got ", pairs,
                         " for ", x);
    }
    shape to = x;
    for (index_t a = 0; a < x.rank(); ++a) {
      const index_t low = before(a, x.rank()), high = after(a, x.rank());
      if (std::max(low, high) > far || std::min(low, high) < -far) {
        raise<shape_error>("pad: no axis is that long; got ", low, " and ", high, " for ", x);
      }
      if (x[a] + low + high < 0 || x[a] + low < 0 || x[a] + high < 0) {
        raise<shape_error>("pad: takes more than axis ", a, " has; got ", low, " and ", high,
                           " for ", x);
      }
      to = to.with(a, x[a] + low + high);
    }
    return to;
  }
  tensor forward(const tensor& x) const {
    const shape to = result(x.shape());
    tensor y = is_dense(x) && !x.is_contiguous() && x.rank() == 4 &&
                       x.strides() == channels_last_strides(x.shape())
                   ? empty_channels_last(to, x.dtype())
                   : empty(to, x.dtype());
    kernels::copy(to, detail::operand_of(y), {&value, f64, {}});
    tensor from = x, into = y;
    for (index_t a = 0; a < x.rank(); ++a) {
      const index_t low = before(a, x.rank()), high = after(a, x.rank());
      const index_t n = x.shape()[a] + std::min<index_t>(low, 0) + std::min<index_t>(high, 0);
      from = detail::window(from, a, std::max<index_t>(-low, 0), n);
      into = detail::window(into, a, std::max<index_t>(low, 0), n);
    }
    kernels::copy(from.shape(), detail::operand_of(into), detail::operand_of(from));
    return y;
  }
  tensor backward(backward_context&, const tensor& g) const {
    std::vector<index_t> back;
    for (const index_t n : amounts) back.push_back(-n);
    return pad(g, back);
  }

 private:
  static constexpr index_t far = index_t{1} << 60;  // sums of sizes and of these do not overflow
  index_t amount(index_t i) const {
    return i < static_cast<index_t>(amounts.size()) ? amounts[static_cast<std::size_t>(i)] : 0;
  }
};

// One triangle of each matrix over the last two axes, zeros elsewhere.
template <class = void> struct triangle_op {
  bool upper = false;
  index_t diagonal = 0;
  static constexpr std::string_view name = "triangle";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);

  shape result(const shape& x) const {
    if (x.rank() < 2) {
      raise<shape_error>(upper ? "triu" : "tril", ": takes matrices, at least two axes; got ", x);
    }
    return x;
  }
  tensor forward(const tensor& x) const {
    const index_t rank = result(x.shape()).rank();
    tensor y = detail::dense_copy(x);
    const index_t rows = x.shape()[rank - 2], columns = x.shape()[rank - 1];
    const index_t shift = std::clamp(diagonal, -rows, columns) + (upper ? 0 : 1);
    const index_t size = size_of(x.dtype()), all = columns > 0 ? x.numel() / columns : 0;
    auto* data = static_cast<std::byte*>(y.data());
    for (index_t r = 0; r < all; ++r) {  // zero is all bits zero in every dtype
      const index_t edge = std::clamp<index_t>(r % rows + shift, 0, columns);
      const index_t first = upper ? 0 : edge, last = upper ? edge : columns;
      std::memset(data + (r * columns + first) * size, 0,
                  static_cast<std::size_t>((last - first) * size));
    }
    return y;
  }
  tensor backward(backward_context&, const tensor& g) const {
    return record(triangle_op<>{*this}, g);
  }
};

// The tensors one after the other along an axis; all other sizes agree. Mixed dtypes promote.
// Gradient: each its part of g. Throws shape_error.
template <class> tensor concat(tensor_list x, index_t axis) { return record(concat_op<>{axis}, x); }
template <class> tensor concat(std::initializer_list<tensor> x, index_t axis) {
  return concat(tensor_list(x.begin(), x.size()), axis);
}
// The tensors, all of one shape, along a new axis. Gradient: each its place of g.
template <class> tensor stack(tensor_list x, index_t axis) {
  std::vector<tensor> parts;
  for (const tensor& t : x) {
    if (t.shape() != x[0].shape()) {
      raise<shape_error>("stack: all shapes must agree; got ", x[0], " and ", t);
    }
    parts.push_back(unsqueeze(t, resolve_axis(axis, t.rank() + 1, "stack")));
  }
  if (parts.empty()) raise<shape_error>("stack: needs at least one tensor; got none");
  return concat(parts, axis);
}
template <class> tensor stack(std::initializer_list<tensor> x, index_t axis) {
  return stack(tensor_list(x.begin(), x.size()), axis);
}
// The axes named in reverse order: a copy. Gradient: g flipped.
template <class> tensor flip(const tensor& x, const axes& which) {
  return record(flip_op<>{which}, x);
}
// x with `value`, which its dtype must hold, around it: amounts before and after the last axis,
// then the one before it, ...; negative amounts crop. Gradient: g cropped.
template <class> tensor pad(const tensor& x, const std::vector<index_t>& amounts, double value) {
  return record(pad_op<>{amounts, detail::stored_scalar_of("pad", x.dtype(), value)}, x);
}
// The lower and upper triangle of the last two axes, with the diagonal shifted by `diagonal`
// columns. Gradient: the same triangle of g.
template <class> tensor tril(const tensor& x, index_t diagonal) {
  return record(triangle_op<>{false, diagonal}, x);
}
template <class> tensor triu(const tensor& x, index_t diagonal) {
  return record(triangle_op<>{true, diagonal}, x);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/layout.hpp>
#include <adze/ops/slice.hpp>
