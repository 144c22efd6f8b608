#pragma once
// SPDX-License-Identifier: MIT
// Examples in memory: features and labels, one row each, handed out as batches. A run of rows is a
// view (nothing is copied); any other choice of rows is gathered into new tensors.
// The order of rows and the threads are the loader's business.
#include <algorithm>
#include <concepts>
#include <cstring>
#include <span>
#include <utility>

#include <adze/tensor/tensor.hpp>

namespace adze::data {

// What a training step gets: for (auto& [x, y] : loader.epoch(e)).
struct batch {
  tensor x;
  tensor y;
};

// Anything that a loader can draw from.
template <class D>
concept dataset = requires(const D& d, std::span<const index_t> indices) {
  { d.size() } -> std::convertible_to<index_t>;
  { d.gather(indices) } -> std::same_as<batch>;
};

namespace detail {

inline void check_rows(const tensor& x, const char* what) {
  if (x.rank() < 1) {
    raise<shape_error>("tensor_dataset: the ", what, " need an axis of examples; got ", x,
                       "; reshape to [n, ...]");
  }
  if (!x.is_contiguous()) {
    raise<value_error>("tensor_dataset: the ", what, " are not contiguous; got ", x,
                       "; contiguous(x) makes a dense copy");
  }
}

// Elements of one row of axis 0.
inline index_t row_numel(const tensor& x) { return x.shape().erased(0).numel(); }

// Rows first .. first + count of a contiguous tensor, as a view of the same storage.
inline tensor view_rows(const tensor& x, index_t first, index_t count) {
  return alias(x, x.shape().with(0, count), x.strides(), first * row_numel(x));
}

// The given rows of a contiguous tensor, copied. The indices are in range.
inline tensor gather_rows(const tensor& x, std::span<const index_t> indices) {
  tensor out = empty(x.shape().with(0, static_cast<index_t>(indices.size())), x.dtype());
  const auto bytes = static_cast<std::size_t>(row_numel(x) * size_of(x.dtype()));
  if (bytes == 0) return out;
  const auto* from = x.data_as<std::byte>();
  auto* to = out.data_as<std::byte>();
  for (const index_t i : indices) {
    std::memcpy(to, from + static_cast<std::size_t>(i) * bytes, bytes);
    to += bytes;
  }
  return out;
}

}  // namespace detail

// features[i] belongs to labels[i]; both contiguous, of any dtype and row shape. Shares the storage
// of the tensors it is given.
class tensor_dataset {
 public:
  // shape_error: 0-d, or different counts of rows; value_error: not contiguous.
  tensor_dataset(tensor features, tensor labels)
      : features_(std::move(features)), labels_(std::move(labels)) {
    detail::check_rows(features_, "features");
    detail::check_rows(labels_, "labels");
    if (features_.size(0) != labels_.size(0)) {
      raise<shape_error>("tensor_dataset: one label per example is needed; features ", features_,
                         ", labels ", labels_, "; their first axes must be equal");
    }
  }

  index_t size() const { return features_.size(0); }
  const tensor& features() const { return features_; }
  const tensor& labels() const { return labels_; }

  // Rows first .. first + count without a copy: changing them changes the dataset.
  batch slice(index_t first, index_t count) const {
    check_range("tensor_dataset.slice", first, count);
    return {detail::view_rows(features_, first, count), detail::view_rows(labels_, first, count)};
  }

  // The same rows as a dataset of its own, for a validation part.
  tensor_dataset part(index_t first, index_t count) const {
    check_range("tensor_dataset.part", first, count);
    return {detail::view_rows(features_, first, count), detail::view_rows(labels_, first, count)};
  }

  // The given rows, copied, in the given order; repetitions are fine. value_error: out of range.
  batch gather(std::span<const index_t> indices) const {
    for (const index_t i : indices) {
      if (i < 0 || i >= size()) {
        raise<value_error>("tensor_dataset.gather: index out of range; got ", i, " of ", size(),
                           " examples; 0 to size - 1 are allowed");
      }
    }
    return {detail::gather_rows(features_, indices), detail::gather_rows(labels_, indices)};
  }

 private:
  void check_range(const char* op, index_t first, index_t count) const {
    if (first < 0 || count < 0 || first > size() - count) {
      raise<value_error>(op, ": rows out of range; got ", count, " from ", first, " of ", size(),
                         " examples; stay inside");
    }
  }

  tensor features_;
  tensor labels_;
};

}  // namespace adze::data
