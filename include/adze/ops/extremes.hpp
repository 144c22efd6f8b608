#pragma once
// SPDX-License-Identifier: MIT
// The largest, the smallest and the product along axes, and the truth of all or any elements.
// Places of extremes (max, argmax, sort) are in sort.hpp.
#include <adze/ops/dense.hpp>
#include <adze/ops/reduce.hpp>

namespace adze::detail::inline ADZE_ISA {

inline void need_elements(const tensor& x, std::uint32_t folded, std::string_view op) {
  if (folded_count(x.shape(), folded) == 0) {
    raise<value_error>(op, ": nothing to choose from; got ", x);
  }
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

template <class Fold> struct extreme {
  index_list over{};
  bool keep = false;
  static constexpr bool largest = std::is_same_v<Fold, kernels::folds::largest>;
  static constexpr std::string_view name = largest ? "amax" : "amin";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::input(0) | values::output(0));

  shape result(const shape& x) const { return sum_op<>{over, keep}.result(x); }
  tensor forward(const tensor& x) const {
    const std::uint32_t folded = detail::folded_axes(x.shape(), over, name);
    detail::need_elements(x, folded, name);
    return detail::fold(x, folded, result(x.shape()),
                        {.loops = &kernels::folds::loops<Fold>(), .result = x.dtype()});
  }
  tensor backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0);
    const tensor y = detail::spread(c.out(0), over, keep, x.shape(), name);
    const tensor hit = x == y || isnan(x);  // NaN wins
    return detail::shared_among(detail::spread(g, over, keep, x.shape(), name), hit, over);
  }
};

template <class = void> struct prod_op {
  index_list over{};
  bool keep = false;
  static constexpr std::string_view name = "prod";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = gradient_reads(values::input(0));

  shape result(const shape& x) const { return sum_op<>{over, keep}.result(x); }
  tensor forward(const tensor& x) const {
    const dtype type = is_floating(x.dtype()) ? x.dtype() : i64;
    const std::uint32_t folded = detail::folded_axes(x.shape(), over, name);
    // In double: a product of floats may leave their range on the way.
    const tensor wide = is_floating(type) ? detail::dense_as(x, f64) : x;
    return detail::fold(
        wide, folded, result(x.shape()),
        {.loops = &kernels::folds::loops<kernels::folds::product>(), .result = type});
  }
  // The product of the others, by running products from both ends: right also with zeros.
  tensor backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0);
    const std::uint32_t folded = detail::folded_axes(x.shape(), over, name);
    const index_t n = detail::folded_count(x.shape(), folded);
    const tensor wide = detail::dense_as(permute(x, kept_first(x.shape(), folded)), f64);
    tensor others = empty(wide.shape(), f64);
    const double* from = wide.data_as<double>();
    double* to = others.data_as<double>();
    for (index_t row = 0; row < x.numel(); row += n) {
      double left = 1.0, right = 1.0;
      for (index_t i = row; i < row + n; left *= from[i++]) to[i] = left;
      for (index_t i = row + n; i-- > row; right *= from[i]) to[i] *= right;
    }
    const tensor back = permute(others, inverse(kept_first(x.shape(), folded)));
    return detail::spread(g, over, keep, x.shape(), name) * detail::dense_as(back, g.dtype());
  }
  // Halves multiplied until one element is left.
  tensor composed(const tensor& x) const {
    const std::uint32_t folded = detail::folded_axes(x.shape(), over, name);
    const shape left = detail::folded_shape(x.shape(), folded, false);
    index_list rows = left;
    rows.push_back(-1);
    index_t n = detail::folded_count(x.shape(), folded);
    if (n == 0) return sum(x, over, keep) + 1.0;
    tensor y = reshape(permute(x, kept_first(x.shape(), folded)), rows);
    for (; n > 1; n = (n + 1) / 2) {
      const index_t half = n / 2;
      tensor folded_half = slice(y, -1, {0, half}) * slice(y, -1, {half, 2 * half});
      if (n % 2 == 1) {
        const tensor parts[] = {folded_half, slice(y, -1, {n - 1, n})};
        folded_half = concat(parts, -1);
      }
      y = folded_half;
    }
    return reshape(y, detail::folded_shape(x.shape(), folded, keep));
  }

 private:
  static index_list kept_first(const shape& x, std::uint32_t folded) {
    index_list order;
    for (index_t i = 0; i < x.rank(); ++i) {
      if ((folded >> i & 1) == 0) order.push_back(i);
    }
    for (index_t i = 0; i < x.rank(); ++i) {
      if ((folded >> i & 1) != 0) order.push_back(i);
    }
    return order;
  }
  static index_list inverse(const index_list& order) {
    index_list back = order;
    for (index_t i = 0; i < order.size(); ++i) back[order[i]] = i;
    return back;
  }
};

// Whether all, or any, elements are not zero. NaN is not zero.
template <class Fold> struct truth_op {
  static constexpr std::string_view name =
      std::is_same_v<Fold, kernels::folds::smallest> ? "all" : "any";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr value_set nondifferentiable = values::output(0);

  shape result(const shape&) const { return {}; }
  tensor forward(const tensor& x) const {
    const tensor true_or_not = x.dtype() == bool8 ? x : x != 0.0;
    if (x.numel() == 0) return detail::filled({}, bool8, name == "all" ? 1.0 : 0.0);
    return detail::fold(true_or_not, detail::folded_axes(x.shape(), {}, name), {},
                        {.loops = &kernels::folds::loops<Fold>(), .result = bool8});
  }
  tensor backward(backward_context&, const tensor&) const { return {}; }
};

// The largest (smallest) element along the given axes, all when none are given; NaN wins. Gradient:
// g, shared equally by those that reach it. Any dtype. Throws value_error over nothing.
template <class> tensor amax(const tensor& x, const axes& over, bool keep) {
  return record(extreme<kernels::folds::largest>{over, keep}, x);
}
template <class> tensor amin(const tensor& x, const axes& over, bool keep) {
  return record(extreme<kernels::folds::smallest>{over, keep}, x);
}
// Those of all elements.
template <class> tensor max(const tensor& x) { return amax(x); }
template <class> tensor min(const tensor& x) { return amin(x); }
// Product along the given axes; 1 over nothing. Gradient: g times the product of the others, right
// also with zeros. Floats keep their dtype, integers and bool give i64.
template <class> tensor prod(const tensor& x, const axes& over, bool keep) {
  return record(prod_op<>{over, keep}, x);
}
// bool8, 0-d: whether all elements are nonzero (true over nothing), or any (false over nothing).
template <class> tensor all(const tensor& x) {
  return record(truth_op<kernels::folds::smallest>{}, x);
}
template <class> tensor any(const tensor& x) {
  return record(truth_op<kernels::folds::largest>{}, x);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/compare.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
