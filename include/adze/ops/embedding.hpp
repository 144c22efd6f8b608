#pragma once
// SPDX-License-Identifier: MIT
// embedding: rows of a weight by index, with a dense gradient.
#include <adze/kernels/embedding.hpp>
#include <adze/ops/dense.hpp>

namespace adze::inline ADZE_ISA {

template <class = void> struct embedding_op {
  index_t padding_index = -1;

  static constexpr std::string_view name = "embedding";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set keeps = values::input(0);
  static constexpr auto reads = gradient_reads(values::nothing, values::input(0));
  static constexpr std::string_view axes = "...,rw->...w";

  shape result(const shape& index, const shape& weight) const {
    return index.inserted(index.rank(), weight[1]);
  }
  tensor forward(const tensor& index, const tensor& weight) const {
    check(index, weight);
    const tensor i = detail::dense_as(index, i64), w = detail::dense_as(weight, weight.dtype());
    check_range(i, weight);
    tensor y = empty(result(index.shape(), weight.shape()), weight.dtype());
    kernels::take_rows(w.data_as<std::byte>(), i.data_as<std::int64_t>(), i.numel(),
                       w.shape()[1] * size_of(w.dtype()), y.data_as<std::byte>());
    return y;
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    const tensor i = detail::dense_as(c.in(0), i64);
    const index_t rows = c.in_shape(1)[0], width = c.in_shape(1)[1];
    if (c.create()) {
      const tensor flat = reshape(i, {-1}), from = reshape(g, {flat.numel(), width});
      const tensor kept =
          padding_index < 0
              ? from
              : where(unsqueeze(flat != static_cast<double>(padding_index), 1), from, 0.0);
      return {tensor(), index_add(detail::zeros_of(c.in_shape(1), g.dtype()), 0, flat, kept)};
    }
    const dtype type = g.dtype() == f64 ? f64 : f32;
    const tensor from = detail::dense_as(g, type);
    tensor d = empty(c.in_shape(1), type);
    const auto add = [&]<class T>() {
      kernels::add_rows_at(from.data_as<T>(), i.data_as<std::int64_t>(), i.numel(), width,
                           d.data_as<T>(), rows, padding_index);
    };
    type == f32 ? add.template operator()<float>() : add.template operator()<double>();
    return {tensor(), detail::dense_as(d, g.dtype())};
  }

 private:
  void check(const tensor& index, const tensor& weight) const {
    if (!is_integral(index.dtype())) {
      raise<dtype_error>(name, ": indices must be integers; got index ", index, ", weight ",
                         weight);
    }
    if (weight.rank() != 2) {
      raise<shape_error>(name, ": the weight must be [rows, width]; got ", weight);
    }
    if (padding_index < -1 || padding_index >= weight.shape()[0]) {
      raise<value_error>(name, ": padding_index must be a row or -1 (none); got ", padding_index,
                         ", weight ", weight);
    }
  }
  static void check_range(const tensor& index, const tensor& weight) {
    const std::int64_t* p = index.data_as<std::int64_t>();
    for (index_t k = 0; k < index.numel(); ++k) {
      if (p[k] < 0 || p[k] >= weight.shape()[0]) {
        raise<value_error>(name, ": index ", p[k], " at position ", k, " is outside 0..",
                           weight.shape()[0] - 1, "; weight ", weight);
      }
    }
  }
};

// weight[index]: index of any shape (integers), weight [rows, width] of any dtype; the result is
// [index..., width]. Gradient of the weight: the gradients of each row's uses added up (16-bit ones
// in f32), 0 for the row padding_index (-1: none). Errors: dtype_error, shape_error; value_error
// for an index outside the weight, the padding's too.
template <class>
tensor embedding(const tensor& index, const tensor& weight, index_t padding_index) {
  return record(embedding_op<>{padding_index}, index, weight);
}

}  // namespace adze::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/compare.hpp>
#include <adze/ops/gather.hpp>
#include <adze/ops/layout.hpp>
