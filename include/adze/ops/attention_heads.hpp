#pragma once
// SPDX-License-Identifier: MIT
// From the tensors of an attention call to the heads that its kernel takes: strides, batch axes,
// masks. Plain data only.
#include <adze/kernels/attention.hpp>
#include <adze/ops/dense.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::detail::inline ADZE_ISA {

// x in `type` with contiguous rows: itself where it is so already.
template <class = void> tensor with_rows(const tensor& x, dtype type) {
  const bool rows = x.size(-1) <= 1 || x.stride(-1) == 1;
  return x.dtype() == type && rows ? x : dense_as(x, type);
}

// Uninitialised, the axes but the last in the order in which `like` has them in memory: what came
// as a transposed view leaves as one, and the reshape that follows is free.
template <class = void> tensor empty_ordered(const shape& sizes, const tensor& like, dtype type) {
  std::array<index_t, max_rank> order{};
  const index_t n = sizes.rank();
  for (index_t i = 0; i < n; ++i) order[static_cast<std::size_t>(i)] = i;
  std::stable_sort(order.begin(), order.begin() + (n - 1), [&](index_t a, index_t b) {
    return like.strides()[static_cast<std::size_t>(a)] >
           like.strides()[static_cast<std::size_t>(b)];
  });
  dims strides{};
  index_t step = 1;
  for (index_t i = n - 1; i >= 0; --i) {
    const index_t a = order[static_cast<std::size_t>(i)];
    strides[static_cast<std::size_t>(a)] = step;
    step *= std::max<index_t>(1, sizes[a]);
  }
  return empty_strided(sizes, strides, type);
}

// The mask as something to add to scores: true is 0 and false is -infinity.
template <class T> tensor additive_mask(const tensor& mask) {
  if (mask.dtype() != bool8) return dense_as(mask, dtype_of<T>);
  tensor m = dense_as(mask, dtype_of<T>);
  if (m.numel() > 0) {
    T* p = m.data_as<T>();
    for (index_t i = 0; i < m.numel(); ++i) p[i] = p[i] != T(0) ? T(0) : T(kernels::minus_infinity);
  }
  return m;
}

// The last two axes of x at batch element `flat` of `batch`.
template <class T> matrix<T> head_of(const tensor& x, const shape& batch, index_t flat) {
  const index_t offset = offset_of(flat, batch, x.strides());
  T* data = const_cast<T*>(x.data_as<std::remove_const_t<T>>()) + offset;
  return {data, x.size(-2), x.size(-1), x.stride(-2), x.size(-1) == 1 ? 1 : x.stride(-1)};
}

inline shape batch_of(const tensor& x) {
  return shape(std::span(x.shape().begin(), static_cast<std::size_t>(x.rank() - 2)));
}
inline shape with_matrix(const shape& batch, index_t rows, index_t columns) {
  return batch.inserted(batch.rank(), rows).inserted(batch.rank() + 1, columns);
}

// The tensors of one call in the computing type, and its heads one by one.
template <class T> class attention_heads {
 public:
  tensor q, k, v, mask;
  shape batch;

  attention_heads(const std::array<tensor, 4>& in, const attention_options& o,
                  const random_state& random)
      : q(with_rows(in[0], dtype_of<T>)), k(with_rows(in[1], dtype_of<T>)),
        v(with_rows(in[2], dtype_of<T>)), batch(batch_of(in[0])) {
    const index_t t = q.size(-2), s = k.size(-2);
    if (in[3].defined()) {
      mask = additive_mask<T>(in[3]);
      mask_strides_ = broadcast_strides(mask, with_matrix(batch, t, s));
    }
    const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(-1)));
    common_.scale = static_cast<T>(o.scale != 0 ? o.scale : scale);
    common_.causal = o.causal;
    common_.dropout = o.dropout;
    common_.random = random;
  }

  kernels::attention_head<T> head(index_t i) const {
    kernels::attention_head<T> h = common_;
    h.q = head_of<const T>(q, batch, i);
    h.k = head_of<const T>(k, batch, i);
    h.v = head_of<const T>(v, batch, i);
    h.first_weight = i * h.q.rows * h.k.rows;
    if (mask.defined()) {
      const auto at = static_cast<std::size_t>(batch.rank());
      h.mask = {mask.data_as<T>() + offset_of(i, batch, mask_strides_), h.q.rows, h.k.rows,
                mask_strides_[at], mask_strides_[at + 1]};
    }
    return h;
  }

  // f(i, head, workspace) for every head; several threads where there is enough work.
  template <class F> void each(F f) const {
    const index_t work = q.size(-2) * k.size(-2) * (q.size(-1) + v.size(-1)) + 1;
    const index_t chunk = std::max<index_t>(1, kernels::parallel_work / work);
    parallel_for(batch.numel(), chunk, [&](index_t begin, index_t end) {
      T* workspace = kernels::scratch<T, kernels::scratch_use::window>(
          kernels::attention_workspace(head(begin)));
      for (index_t i = begin; i < end; ++i) f(i, head(i), workspace);
    });
  }

 private:
  kernels::attention_head<T> common_;
  dims mask_strides_{};
};

}  // namespace adze::detail::inline ADZE_ISA
