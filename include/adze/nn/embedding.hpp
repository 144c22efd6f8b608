#pragma once
// SPDX-License-Identifier: MIT
// A table of vectors looked up by index: nn::embedding e{{.rows = 1000, .width = 64}};
#include <adze/nn/linear.hpp>
#include <adze/ops/embedding.hpp>

namespace adze::nn {

struct embedding_options {
  index_t rows = 0, width = 0;
  index_t padding_index = -1;  // this row is zero and stays so; -1: none
  dtype type = f32;
};

}  // namespace adze::nn

namespace adze::nn::inline ADZE_ISA {

// Indices of any shape to [..., width]; weight [rows, width], standard normal at first.
struct embedding {
  embedding_options options{};
  tensor weight{};

  template <class = void> explicit embedding(const embedding_options& o) : options(o) {
    detail::check_layer_size("nn::embedding", "rows", o.rows);
    detail::check_layer_size("nn::embedding", "width", o.width);
    if (o.padding_index < -1 || o.padding_index >= o.rows) {
      raise<value_error>("nn::embedding: padding_index must be a row or -1; got ", o.padding_index,
                         " of ", o.rows);
    }
    weight = detail::new_parameter({o.rows, o.width}, o.type);
    init::normal_(weight);
    if (o.padding_index >= 0) {
      tensor row = alias(weight, {o.width}, {1}, o.padding_index * o.width);
      init::zeros_(row);
    }
  }
  template <class = void> tensor operator()(const tensor& index) const {
    return adze::embedding(index, weight, options.padding_index);
  }
  void visit(auto&& f) { f("weight", weight); }
};

}  // namespace adze::nn::inline ADZE_ISA
