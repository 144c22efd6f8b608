#pragma once
// SPDX-License-Identifier: MIT
// Transformer blocks with PyTorch's names, and a small language model made of them:
// nn::gpt net{{.vocabulary = 65, .context = 64, .embed = 96, .heads = 4, .layers = 4}};
// logits = net(tokens).
#include <adze/nn/attention.hpp>
#include <adze/nn/dropout.hpp>
#include <adze/nn/embedding.hpp>
#include <adze/nn/norm.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/softmax.hpp>
#include <adze/ops/sort.hpp>

namespace adze::nn {

enum class block_activation : std::uint8_t { relu, gelu };

struct transformer_block_options {
  index_t embed = 0, heads = 0;
  index_t feed_forward = 0;  // 0: 4 embed (PyTorch: 2048)
  double dropout = 0.1;
  block_activation activation = block_activation::relu;
  bool norm_first = false;  // normalise what goes into a branch, not what comes out
  bool causal = false;
  bool bias = true;
  double eps = 1e-5;
  dtype type = f32;
};

struct gpt_options {
  index_t vocabulary = 0;
  index_t context = 0;  // longest sequence
  index_t embed = 0, heads = 0, layers = 0;
  double dropout = 0.0;
  bool tied = false;  // the head uses the weight of the token embedding
  dtype type = f32;
};

struct generate_options {
  index_t count = 0;         // tokens to add
  double temperature = 1.0;  // 0: always the most likely
  index_t top_k = 0;         // choose among the k most likely; 0: among all
};

}  // namespace adze::nn

namespace adze::nn::inline ADZE_ISA {

// PyTorch's TransformerEncoderLayer over [..., t, e]: attention and a two-layer network, each with
// a residual and a layer norm.
struct transformer_block {
  transformer_block_options options{};
  multi_head_attention self_attn;
  linear linear1, linear2;
  layer_norm norm1, norm2;
  bool training = true;

  explicit transformer_block(const transformer_block_options& o)
      : options(o), self_attn({.embed = o.embed,
                               .heads = o.heads,
                               .bias = o.bias,
                               .dropout = o.dropout,
                               .type = o.type}),
        linear1({.in = o.embed, .out = inner(o), .bias = o.bias, .type = o.type}),
        linear2({.in = inner(o), .out = o.embed, .bias = o.bias, .type = o.type}),
        norm1({.sizes = {o.embed}, .eps = o.eps, .bias = o.bias, .type = o.type}),
        norm2({.sizes = {o.embed}, .eps = o.eps, .bias = o.bias, .type = o.type}) {}

  // mask: as in nn::attention_input.
  template <class = void> tensor operator()(const tensor& x, const tensor& mask = {}) const {
    if (options.norm_first) {
      const tensor y = x + attend(norm1(x), mask);
      return y + feed(norm2(y));
    }
    const tensor y = norm1(x + attend(x, mask));
    return norm2(y + feed(y));
  }
  void visit(auto&& f) {
    f("self_attn", self_attn);
    f("linear1", linear1);
    f("linear2", linear2);
    f("norm1", norm1);
    f("norm2", norm2);
    f("training", training);
  }

 private:
  static index_t inner(const transformer_block_options& o) {
    return o.feed_forward == 0 ? 4 * o.embed : o.feed_forward;
  }
  template <class = void> tensor dropped(const tensor& x) const {
    return adze::dropout(x, options.dropout, training);
  }
  template <class = void> tensor attend(const tensor& x, const tensor& mask) const {
    return dropped(self_attn(x, {.mask = mask, .causal = options.causal}));
  }
  template <class = void> tensor feed(const tensor& x) const {
    const tensor h = linear1(x);
    return dropped(linear2(
        dropped(options.activation == block_activation::relu ? adze::relu(h) : adze::gelu(h))));
  }
};

// A decoder-only language model (Radford et al. 2019): embeddings of tokens and places, causal
// blocks that normalise first, with gelu, a last norm and a linear head. Tokens [b, t] to logits
// [b, t, vocabulary]. First values: normal with deviation 0.02, the outputs of residual branches
// divided by sqrt(2 layers).
struct gpt {
  gpt_options options{};
  embedding token, position;
  dropout drop;
  std::vector<transformer_block> blocks;
  layer_norm norm;
  tensor head{};  // [vocabulary, embed]; undefined where it is the token embedding's weight

  template <class = void>
  explicit gpt(const gpt_options& o)
      : options(o), token({.rows = o.vocabulary, .width = o.embed, .type = o.type}),
        position({.rows = o.context, .width = o.embed, .type = o.type}), drop({.p = o.dropout}),
        norm({.sizes = {o.embed}, .type = o.type}) {
    detail::check_layer_size("nn::gpt", "layers", o.layers);
    constexpr double deviation = 0.02;
    init::normal_(token.weight, 0.0, deviation);
    init::normal_(position.weight, 0.0, deviation);
    for (index_t i = 0; i < o.layers; ++i) {
      transformer_block& b =
          blocks.emplace_back(transformer_block_options{.embed = o.embed,
                                                        .heads = o.heads,
                                                        .dropout = o.dropout,
                                                        .activation = block_activation::gelu,
                                                        .norm_first = true,
                                                        .causal = true,
                                                        .type = o.type});
      const double out = deviation / std::sqrt(2.0 * static_cast<double>(o.layers));
      init::normal_(b.self_attn.in_proj_weight, 0.0, deviation);
      init::normal_(b.self_attn.out_proj.weight, 0.0, out);
      init::normal_(b.linear1.weight, 0.0, deviation);
      init::normal_(b.linear2.weight, 0.0, out);
      init::zeros_(b.linear1.bias);
      init::zeros_(b.linear2.bias);
    }
    if (o.tied) return;
    head = detail::new_parameter({o.vocabulary, o.embed}, o.type);
    init::normal_(head, 0.0, deviation);
  }

  template <class = void> tensor operator()(const tensor& tokens) const {
    if (tokens.rank() != 2 || tokens.size(1) > options.context) {
      raise<shape_error>("nn::gpt: takes tokens [b, t] with t <= ", options.context, "; got ",
                         tokens);
    }
    tensor x = token(tokens) + slice(position.weight, 0, {.stop = tokens.size(1)});
    x = drop(x);
    for (const transformer_block& b : blocks) x = b(x);
    return adze::linear(norm(x), head.defined() ? head : token.weight);
  }
  void visit(auto&& f) {
    f("token", token);
    f("position", position);
    f("drop", drop);
    f("blocks", blocks);
    f("norm", norm);
    f("head", head);
  }
};

// Continues a sequence: tokens [t] (t >= 1) to [t + count], each drawn from g by
// softmax(logits / temperature) of the last place. Only the last `context` tokens are looked at.
// The model runs as it is: eval(model) before turns its dropout off.
template <class = void>
tensor generate(const gpt& model, const tensor& tokens, const generate_options& o,
                generator& g = default_generator()) {
  if (tokens.rank() != 1 || tokens.numel() == 0 || o.count < 0 || !(o.temperature >= 0.0)) {
    raise<value_error>("nn::generate: needs tokens [t], t >= 1, count >= 0, temperature >= 0; got ",
                       tokens, ", ", o.count, ", ", o.temperature);
  }
  const no_grad guard;
  tensor all = empty({tokens.numel() + o.count}, i64);
  kernels::copy(tokens.shape(), {all.data(), i64, all.strides()}, detail::operand_of(tokens));
  for (index_t n = tokens.numel(); n < all.numel(); ++n) {
    const index_t first = std::max<index_t>(0, n - model.options.context);
    const tensor logits = model(unsqueeze(slice(all, 0, {first, n}), 0));
    const tensor last = cast(select(select(logits, 0, 0), 0, -1), f64);
    const index_t k = o.temperature == 0.0 ? 1 : o.top_k == 0 ? last.numel() : o.top_k;
    const auto [best, which] = topk(last, std::min(k, last.numel()), 0);
    const tensor p = adze::softmax(o.temperature > 0.0 ? best / o.temperature : best, 0);
    double left = g.uniform();
    index_t i = 0;
    while (i + 1 < p.numel() && (left -= p.data_as<double>()[i]) >= 0) ++i;
    all.data_as<std::int64_t>()[n] = which.data_as<std::int64_t>()[i];
  }
  return all;
}

}  // namespace adze::nn::inline ADZE_ISA
