#pragma once
// SPDX-License-Identifier: MIT
// Multi-head attention with PyTorch's parameters: nn::multi_head_attention a{{.embed = 64,
// .heads = 4}}; y = a(x) or a(x, {.key = memory}).
#include <adze/nn/linear.hpp>
#include <adze/ops/attention.hpp>
#include <adze/ops/slice.hpp>

namespace adze::nn {

struct multi_head_attention_options {
  index_t embed = 0, heads = 0;
  bool bias = true;
  double dropout = 0.0;  // of the attention weights, in training
  dtype type = f32;
};

// What the queries look at.
struct attention_input {
  tensor key{};    // [..., s, e]; the queries themselves when undefined
  tensor value{};  // [..., s, e]; the key when undefined
  tensor mask{};  // broadcasts to [..., heads, t, s]; bool8 (true: may look) or added to the scores
  bool causal = false;
};

}  // namespace adze::nn

namespace adze::nn::inline ADZE_ISA {

// softmax(Q K^T / sqrt(e / heads)) V per head, projected in and out (Vaswani et al. 2017); queries
// [..., t, e] to [..., t, e]. Parameters: in_proj_weight [3e, e] for q, k and v in this order,
// in_proj_bias [3e], out_proj.
struct multi_head_attention {
  multi_head_attention_options options{};
  tensor in_proj_weight{}, in_proj_bias{};
  linear out_proj;
  bool training = true;

  explicit multi_head_attention(const multi_head_attention_options& o)
      : options(checked(o)),
        out_proj({.in = o.embed, .out = o.embed, .bias = o.bias, .type = o.type}) {
    in_proj_weight = detail::new_parameter({3 * o.embed, o.embed}, o.type);
    init::xavier_uniform_(in_proj_weight);
    if (!o.bias) return;
    in_proj_bias = zeros({3 * o.embed}, o.type).set_requires_grad();
    init::zeros_(out_proj.bias);
  }

  template <class = void>
  tensor operator()(const tensor& query, const attention_input& in = {}) const {
    const std::vector<tensor> p =
        in.key.defined() || in.value.defined() ? of_others(query, in) : of_itself(query);
    const attention_options o{.causal = in.causal, .dropout = training ? options.dropout : 0.0};
    const tensor y =
        scaled_dot_product_attention(by_heads(p[0]), by_heads(p[1]), by_heads(p[2]), in.mask, o);
    return out_proj(adze::flatten(transpose(y, -3, -2), -2, -1));
  }
  void visit(auto&& f) {
    f("in_proj_weight", in_proj_weight);
    f("in_proj_bias", in_proj_bias);
    f("out_proj", out_proj);
    f("training", training);
  }

 private:
  static const multi_head_attention_options& checked(const multi_head_attention_options& o) {
    detail::check_layer_size("nn::multi_head_attention", "embed", o.embed);
    detail::check_layer_size("nn::multi_head_attention", "heads", o.heads);
    detail::check_probability("nn::multi_head_attention", o.dropout);
    if (o.embed % o.heads != 0) {
      raise<value_error>("nn::multi_head_attention: heads must divide embed; got ", o.heads,
                         " and ", o.embed);
    }
    return o;
  }
  // [..., t, e] to [..., heads, t, e / heads], a view.
  template <class = void> tensor by_heads(const tensor& x) const {
    index_list sizes = x.shape();
    sizes[x.rank() - 1] = options.heads;
    sizes.push_back(options.embed / options.heads);
    return transpose(reshape(x, sizes), -3, -2);
  }
  // q, k and v of the same tensor: one product.
  template <class = void> std::vector<tensor> of_itself(const tensor& x) const {
    return split(adze::linear(x, in_proj_weight, in_proj_bias), options.embed, -1);
  }
  template <class = void>
  std::vector<tensor> of_others(const tensor& query, const attention_input& in) const {
    const tensor& key = in.key.defined() ? in.key : query;
    const tensor& value = in.value.defined() ? in.value : key;
    const std::vector<tensor> w = split(in_proj_weight, options.embed, 0);
    const std::vector<tensor> b =
        in_proj_bias.defined() ? split(in_proj_bias, options.embed, 0) : std::vector<tensor>(3);
    return {adze::linear(query, w[0], b[0]), adze::linear(key, w[1], b[1]),
            adze::linear(value, w[2], b[2])};
  }
};

}  // namespace adze::nn::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/layout.hpp>
