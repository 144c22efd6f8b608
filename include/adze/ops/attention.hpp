#pragma once
// SPDX-License-Identifier: MIT
// Scaled dot-product attention over any batch axes, one head after the other (heads in parallel),
// without keeping the [t, s] weights. `composed` is the same in public ops.
#include <adze/ops/attention_heads.hpp>
#include <adze/ops/dropout.hpp>

namespace adze::inline ADZE_ISA {

template <class = void> struct attention_op {
  attention_options options{};
  random_state random{};  // of the dropout mask
  tensor log_sum_exp{};   // [..., t] of the scores, in the computing type

  static constexpr std::string_view name = "scaled_dot_product_attention";
  static constexpr numeric precision = numeric::low;
  static constexpr value_set keeps = values::input(3);
  static constexpr value_set all =
      values::input(0) | values::input(1) | values::input(2) | values::input(3);
  static constexpr auto reads = gradient_reads(all, all, all, all);

  shape result(const shape& q, const shape&, const shape& v, const shape&) const {
    return q.with(q.rank() - 1, v.back());
  }

  tensor forward(const tensor& q, const tensor& k, const tensor& v, const tensor& mask) {
    check(q, k, v, mask);
    const shape weights = detail::with_matrix(detail::batch_of(q), q.size(-2), k.size(-2));
    if (options.dropout > 0) random = kernels::reserve_mask(weights.numel());
    return q.dtype() == f64 ? run<double>(q, k, v, mask) : run<float>(q, k, v, mask);
  }

  std::array<tensor, 4> backward(backward_context& c, const tensor& g) const {
    return c.in(0).dtype() == f64 ? slopes<double>(c, g) : slopes<float>(c, g);
  }

  tensor composed(const tensor& q, const tensor& k, const tensor& v, const tensor& mask) const {
    const index_t t = q.size(-2), s = k.size(-2);
    const double lowest = kernels::minus_infinity;
    tensor scores = matmul(q * scale_of(q), transpose(k));
    if (mask.defined()) {
      scores = mask.dtype() == bool8 ? where(mask, scores, lowest) : scores + cast(mask, q.dtype());
    }
    if (options.causal) scores = where(visible(t, s), scores, lowest);
    tensor weights = scores;
    if (s > 0) {
      const tensor blind = amax(detach(scores), {-1}, true) == lowest;  // sees no key
      weights = where(blind, 0.0, softmax(where(blind, 0.0, scores), -1));
    }
    if (options.dropout > 0) {
      tensor keep = empty(weights.shape(), bool8);
      kernels::keep_mask(keep.data_as<bool>(), 0, keep.numel(), random, options.dropout);
      weights = weights * keep * kernels::keep_scale(options.dropout);
    }
    return matmul(weights, v);
  }

 private:
  double scale_of(const tensor& q) const {
    return options.scale != 0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(q.size(-1)));
  }
  // True on and below the diagonal.
  static tensor visible(index_t t, index_t s) {
    tensor m = empty({t, s}, bool8);
    for (index_t i = 0; i < t * s; ++i) m.data_as<bool>()[i] = i % s <= i / s;
    return m;
  }

  void check(const tensor& q, const tensor& k, const tensor& v, const tensor& mask) const {
    static_cast<void>(detail::floating_compute_type(name, q));
    if (k.size(-1) != q.size(-1) || v.size(-2) != k.size(-2)) {
      raise<shape_error>(name, ": needs q [..., t, d], k [..., s, d] and v [..., s, e]; got q ", q,
                         ", k ", k, ", v ", v);
    }
    if (!mask.defined()) return;
    if (mask.dtype() != bool8 && !is_floating(mask.dtype())) {
      raise<dtype_error>(
          name, ": the mask must be bool8 (true: may look) or floating (added); got ", mask);
    }
    const shape scores = detail::with_matrix(detail::batch_of(q), q.size(-2), k.size(-2));
    if (broadcast(scores, mask.shape(), name) != scores) {
      raise<shape_error>(name, ": the mask must broadcast to the scores ", scores, "; got ", mask);
    }
  }

  template <class T>
  tensor run(const tensor& q, const tensor& k, const tensor& v, const tensor& mask) {
    const detail::attention_heads<T> heads({q, k, v, mask}, options, random);
    tensor y = detail::empty_ordered(result(q.shape(), {}, v.shape(), {}), q, dtype_of<T>);
    log_sum_exp = empty(q.shape().erased(q.rank() - 1), dtype_of<T>);
    T* lse = log_sum_exp.data_as<T>();
    heads.each([&](index_t i, const kernels::attention_head<T>& h, T* work) {
      kernels::attend(h, detail::head_of<T>(y, heads.batch, i), lse + i * h.q.rows, work);
    });
    return detail::dense_keeping(y, q.dtype());
  }

  template <class T>
  std::array<tensor, 4> slopes(const backward_context& c, const tensor& g) const {
    const detail::attention_heads<T> heads({c.in(0), c.in(1), c.in(2), c.in(3)}, options, random);
    const tensor out = detail::with_rows(g, dtype_of<T>);
    std::array<tensor, 4> d;
    const std::array<const tensor*, 3> like{&heads.q, &heads.k, &heads.v};
    for (std::size_t j = 0; j < 3; ++j) {
      if (c.wants(j)) d[j] = detail::empty_ordered(c.in_shape(j), *like[j], dtype_of<T>);
    }
    if (c.wants(3)) {
      const shape weights = detail::with_matrix(heads.batch, heads.q.size(-2), heads.k.size(-2));
      d[3] = detail::zeros_of(weights, dtype_of<T>);
    }
    const T* lse = log_sum_exp.data_as<T>();
    heads.each([&](index_t i, const kernels::attention_head<T>& h, T* work) {
      const auto at = [&](std::size_t j) {
        return d[j].defined() ? detail::head_of<T>(d[j], heads.batch, i) : matrix<T>{};
      };
      kernels::attend_back(
          h, {detail::head_of<const T>(out, heads.batch, i), at(0), at(1), at(2), at(3)},
          lse + i * h.q.rows, work);
    });
    if (c.wants(3)) d[3] = sum_to(d[3], c.in_shape(3));
    for (std::size_t j = 0; j < 4; ++j) {
      if (d[j].defined()) d[j] = detail::dense_keeping(d[j], c.in_type(j));
    }
    return d;
  }
};

// softmax(scale q k^T + mask) v for q [..., t, d], k [..., s, d], v [..., s, e]; batch axes
// broadcast, scale 1 / sqrt(d) by default. The mask broadcasts to [..., t, s]: bool8 (true: may
// look) or floating (added; it gets a gradient); `causal` lets query i see keys 0..i only. A query
// that sees no key gives zeros. Dropout zeroes weights, with one random word each. 16-bit inputs
// are computed in f32. Memory: one number per query beside inputs and result. Errors: shape_error,
// dtype_error; value_error for dropout outside 0..1.
template <class>
tensor scaled_dot_product_attention(const tensor& q, const tensor& k, const tensor& v,
                                    const tensor& mask, const attention_options& o) {
  constexpr std::string_view name = attention_op<>::name;
  detail::check_probability(name, o.dropout);
  if (q.rank() < 2 || k.rank() < 2 || v.rank() < 2) {
    raise<shape_error>(name, ": needs q [..., t, d], k [..., s, d] and v [..., s, e]; got q ", q,
                       ", k ", k, ", v ", v);
  }
  const shape batch = broadcast(broadcast(detail::batch_of(q), detail::batch_of(k), name),
                                detail::batch_of(v), name);
  const auto wide = [&](const tensor& x) {
    return detail::batch_of(x) == batch
               ? x
               : expand(x, detail::with_matrix(batch, x.size(-2), x.size(-1)));
  };
  return record(attention_op<>{o}, wide(q), wide(k), wide(v), mask);
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/compare.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/matmul.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/ops/softmax.hpp>
