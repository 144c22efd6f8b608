#pragma once
// SPDX-License-Identifier: MIT
// The statically typed face of a tensor: element access, iteration and spans on the same storage,
// no copy in either direction. A dtype that does not match is one clear error.
#include <span>
#include <vector>

#include <adze/core/dispatch.hpp>
#include <adze/core/view.hpp>
#include <adze/tensor/tensor.hpp>

namespace adze {

namespace detail {
// Element `flat` of the row-major order of `sizes`, as an offset in elements.
inline index_t offset_of(index_t flat, const shape& sizes, const dims& strides) {
  index_t offset = 0;
  for (index_t i = sizes.rank() - 1; i >= 0; --i) {
    offset += flat % sizes[i] * strides[static_cast<std::size_t>(i)];
    flat /= sizes[i];
  }
  return offset;
}
}  // namespace detail

template <class T> class tensor_of {
 public:
  // Walks the elements in row-major order, whatever the strides.
  template <class E> class walker {
   public:
    using value_type = T;
    using difference_type = index_t;
    walker() = default;
    walker(const tensor_of* t, index_t i) : t_(t), i_(i) {}
    E& operator*() const {
      const detail::tensor_impl& p = t_->impl();
      return const_cast<E&>(
          t_->value_.template data_as<T>()[detail::offset_of(i_, p.sizes, p.strides)]);
    }
    walker& operator++() {
      ++i_;
      return *this;
    }
    walker operator++(int) { return {t_, i_++}; }
    bool operator==(const walker& o) const { return i_ == o.i_; }

   private:
    const tensor_of* t_ = nullptr;
    index_t i_ = 0;
  };

  tensor_of() = default;
  explicit tensor_of(const shape& sizes) : value_(empty(sizes, dtype_of<T>)) {}
  explicit tensor_of(tensor x) : value_(std::move(x)) {
    if (value_.dtype() != dtype_of<T>) {
      raise<dtype_error>("as: the tensor is ", value_.dtype(), ", not ", dtype_of<T>, "; got ",
                         value_, "; cast(x, ", dtype_of<T>, ") converts");
    }
  }
  // A row-major copy of the values.
  tensor_of(std::span<const T> values, const shape& sizes) : tensor_of(sizes) {
    if (static_cast<index_t>(values.size()) != sizes.numel()) {
      raise<shape_error>("tensor_of: ", values.size(), " values do not fill shape ", sizes);
    }
    T* out = value_.template data_as<T>();
    for (const T& v : values) *out++ = v;
  }
  tensor_of(std::initializer_list<T> values)
      : tensor_of(std::span(values.begin(), values.size()), {static_cast<index_t>(values.size())}) {
  }
  tensor_of(std::initializer_list<std::initializer_list<T>> rows)
      : tensor_of(adze::shape{static_cast<index_t>(rows.size()),
                              rows.size() == 0 ? 0 : static_cast<index_t>(rows.begin()->size())}) {
    T* out = value_.template data_as<T>();
    for (const auto& row : rows) {
      if (static_cast<index_t>(row.size()) != value_.shape()[1]) {
        raise<shape_error>("tensor_of: rows of ", value_.shape()[1], " and ", row.size(),
                           " values; all rows must have the same length");
      }
      for (const T& v : row) *out++ = v;
    }
  }

  operator const tensor&() const { return value_; }
  const tensor& untyped() const { return value_; }

  const adze::shape& shape() const { return value_.shape(); }
  index_t numel() const { return value_.numel(); }
  index_t size(index_t axis) const { return value_.size(axis); }

  // Element access by one index per axis; indices are checked, negative ones count from the end.
  template <class... I> const T& operator()(I... i) const {
    return value_.template data_as<T>()[offset(i...)];
  }
  template <class... I> T& operator()(I... i) { return value_.template data_as<T>()[offset(i...)]; }

  auto begin() const { return walker<const T>(this, 0); }
  auto end() const { return walker<const T>(this, numel()); }
  auto begin() { return walker<T>(this, 0); }
  auto end() { return walker<T>(this, numel()); }

  // The elements as one span; throws unless contiguous.
  std::span<const T> span() const { return {contiguous_data(), static_cast<std::size_t>(numel())}; }
  std::span<T> span() {
    return {const_cast<T*>(contiguous_data()), static_cast<std::size_t>(numel())};
  }
  std::vector<T> to_vector() const { return std::vector<T>(begin_copy()); }

  // A 2-d tensor as the canonical form of the kernels.
  matrix<const T> as_matrix() const {
    check_rank(2);
    const dims& s = value_.strides();
    return {value_.template data_as<T>(), shape()[0], shape()[1], s[0], s[1]};
  }
  matrix<T> as_matrix() {
    const matrix<const T> m = std::as_const(*this).as_matrix();
    return {const_cast<T*>(m.data), m.rows, m.cols, m.row_stride, m.col_stride};
  }

 private:
  friend class walker<T>;
  friend class walker<const T>;
  detail::tensor_impl& impl() const { return value_.impl(); }

  void check_rank(index_t rank) const {
    if (value_.rank() != rank) {
      raise<shape_error>("tensor_of: ", rank, " indices for ", value_.rank(), " axes; got ",
                         value_);
    }
  }
  template <class... I> index_t offset(I... i) const {
    check_rank(sizeof...(I));
    const index_t at[] = {static_cast<index_t>(i)..., 0};
    index_t sum = 0;
    for (index_t a = 0; a < value_.rank(); ++a) {
      const index_t n = shape()[a], k = at[a] < 0 ? at[a] + n : at[a];
      if (k < 0 || k >= n) {
        raise<value_error>("tensor_of: index ", at[a], " is out of range on axis ", a, "; got ",
                           value_);
      }
      sum += k * value_.strides()[static_cast<std::size_t>(a)];
    }
    return sum;
  }
  const T* contiguous_data() const {
    if (!value_.is_contiguous()) {
      raise<value_error>("span: the tensor is not contiguous; got ", value_,
                         "; contiguous(x) makes a dense copy");
    }
    return value_.template data_as<T>();
  }
  std::vector<T> begin_copy() const {
    std::vector<T> v;
    v.reserve(static_cast<std::size_t>(numel()));
    for (const T& e : *this) v.push_back(e);
    return v;
  }

  tensor value_;
};

using tensor_f32 = tensor_of<float>;
using tensor_f64 = tensor_of<double>;
using tensor_f16 = tensor_of<float16>;
using tensor_bf16 = tensor_of<bfloat16>;
using tensor_i8 = tensor_of<std::int8_t>;
using tensor_u8 = tensor_of<std::uint8_t>;
using tensor_i32 = tensor_of<std::int32_t>;
using tensor_i64 = tensor_of<std::int64_t>;
using tensor_bool8 = tensor_of<bool>;

template <element T> tensor_of<T> tensor::as() const { return tensor_of<T>(*this); }

namespace detail {

// The first element of a tensor of floats and of one of integers or bools: all of them exactly.
template <class = void> double first_real(const tensor& x) {
  using reals = types<float, double, float16, bfloat16>;
  return dispatch(reals{}, x.dtype(), "item", [&]<class E>() -> double {
    const E value = *x.data_as<E>();
    if constexpr (std::is_same_v<E, double>) {
      return value;
    } else {
      return static_cast<float>(value);
    }
  });
}
template <class = void> std::int64_t first_whole(const tensor& x) {
  using wholes = types<std::int64_t, std::int32_t, std::int8_t, std::uint8_t, bool>;
  return dispatch(wholes{}, x.dtype(), "item",
                  [&]<class E>() -> std::int64_t { return *x.data_as<E>(); });
}

}  // namespace detail

template <class T> T tensor::item() const {
  if (numel() != 1) {
    raise<shape_error>("item: needs exactly one element; got ", *this, "; reduce it first");
  }
  return is_floating(dtype()) ? static_cast<T>(detail::first_real(*this))
                              : static_cast<T>(detail::first_whole(*this));
}

}  // namespace adze
