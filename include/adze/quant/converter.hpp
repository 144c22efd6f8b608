#pragma once
// SPDX-License-Identifier: MIT
// The walk of convert over a simulated graph with constant parameters: which values exist as codes,
// and the integer step for each step whose inputs do.
#include <optional>

#include <adze/graph/trace.hpp>
#include <adze/quant/dynamic_recurrent.hpp>
#include <adze/quant/fake_quant.hpp>
#include <adze/quant/float_steps.hpp>
#include <adze/quant/integer_conv.hpp>
#include <adze/quant/integer_linear.hpp>
#include <adze/quant/integer_softmax.hpp>
#include <adze/quant/placement.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

struct coded_value {
  value_id id = no_value;
  edge e{};
};

template <class = void> class converter {
 public:
  explicit converter(const graph& from)
      : from_(from), to_{{}, from.values, from.inputs, {}}, coded_(from.values.size()),
        floats_(from.values.size(), no_value), uses_(adze::detail::use_counts(from)) {
    for (std::size_t i = 0; i < from.values.size(); ++i) {
      if (from.values[i].constant.defined()) floats_[i] = static_cast<value_id>(i);
    }
    for (const value_id id : from.inputs) floats_[at(id)] = id;
    for (const graph_step& s : from.steps) {
      if (s.op.template as<fake_quantize_op<>>() != nullptr) quantizer_[s.inputs[0]] = &s;
      if (clamp_of(s) != nullptr) clamp_[s.inputs[0]] = &s;
    }
  }

  graph run() {
    for (const graph_step& s : from_.steps) {
      if (!quantizer(s) && !integer(s)) keep(s);
    }
    for (const value_id id : from_.outputs) to_.outputs.push_back(float_of(id));
    left = refused_.listed(to_, kept_);
    adze::detail::sweep(to_);
    return std::move(to_);
  }
  std::vector<float_step> left{};

 private:
  static std::size_t at(value_id id) { return static_cast<std::size_t>(id); }
  const std::optional<coded_value>& coded(value_id id) const { return coded_[at(id)]; }

  // ---- parameters of fake quantizers, which are constants here
  std::optional<edge> edge_of(const graph_step& fake) const {
    const parameters p = parameters_of(from_, fake);
    if (!p.scale.defined() || p.scale.numel() != 1 || p.codes.low < -128 || p.codes.high > 255 ||
        (p.codes.low < 0 && p.codes.high > 127)) {
      return std::nullopt;
    }
    const auto zero = p.zero_point.defined() ? p.zero_point.template item<std::int32_t>() : 0;
    return edge{p.scale.template item<float>(), zero, p.codes};
  }
  // The quantizer that is the only reader of a value.
  std::optional<edge> edge_after(value_id id) const {
    const auto found = quantizer_.find(id);
    if (found == quantizer_.end() || uses_[at(id)] != 1) return std::nullopt;
    return edge_of(*found->second);
  }
  // A clamp that alone reads a layer's result, and whose own result becomes codes.
  const graph_step* clamp_after(value_id id) const {
    const auto found = clamp_.find(id);
    if (found == clamp_.end() || uses_[at(id)] != 1) return nullptr;
    return edge_after(found->second->outputs[0]) ? found->second : nullptr;
  }
  // The quantizer that made a constant what a layer reads; null for any other value.
  const graph_step* weight_quantizer(value_id id) const {
    const auto found = weights_.find(id);
    return found == weights_.end() ? nullptr : found->second;
  }

  // ---- building
  template <class Op>
  value_id emit(const Op& op, std::vector<value_id> in, const graph_value& like) {
    graph_value v{like.sizes, like.type};
    const value_id out = to_.add_value(std::move(v));
    to_.steps.push_back({erased_op::of(op), std::move(in), {out}});
    return out;
  }
  graph_value codes_like(value_id id, const edge& e) const {
    return {from_.at(id).sizes, e.storage()};
  }
  value_id constant(const std::string& name, const tensor& x) {
    return to_.add_constant(name, x, false);
  }
  // The codes of a weight: one constant for all layers that read it in the same codes.
  value_id codes_of(value_id weight, const parameters& p) {
    const graph_value& w = from_.at(weight);
    const tensor codes = quantize(w.constant, p);
    std::vector<value_id>& made = codes_[weight];
    for (const value_id id : made) {
      if (adze::detail::same_values(to_.at(id).constant, codes)) return id;
    }
    return made.emplace_back(constant(w.name, codes));
  }
  // The value in floats, dequantized where it exists as codes only.
  value_id float_of(value_id id) {
    if (id == no_value) return no_value;
    value_id& known = floats_[at(id)];
    if (known != no_value) return known;
    if (const graph_step* w = weight_quantizer(id)) {
      keep(*w);
      return floats_[at(id)];
    }
    const coded_value& c = *coded(id);
    return known = emit(dequantize_op<>{c.e}, {c.id}, from_.at(id));
  }
  void keep(const graph_step& s) {
    graph_step copy = s;
    for (value_id& id : copy.inputs) id = float_of(id);
    for (const value_id id : s.outputs) {
      if (id != no_value) floats_[at(id)] = id;
    }
    kept_[to_.steps.size()] = &s;
    to_.steps.push_back(std::move(copy));
  }

  // ---- steps
  bool quantizer(const graph_step& s) {
    if (s.op.template as<fake_quantize_op<>>() == nullptr) return false;
    if (from_.constant(s.inputs[0]).defined()) {
      weights_[s.outputs[0]] = &s;
      return true;
    }
    const std::optional<edge> e = edge_of(s);
    if (!e) return false;
    std::optional<coded_value>& made = coded_[at(s.inputs[0])];  // by an integer step, for us
    coded_[at(s.outputs[0])] = made && made->e == *e
                                   ? *made
                                   : coded_value{emit(quantize_op<>{*e}, {float_of(s.inputs[0])},
                                                      codes_like(s.inputs[0], *e)),
                                                 *e};
    return true;
  }

  // Weights in codes, activations by their range in each call; what simulated them had no codes.
  bool recurrent(const graph_step& s) {
    const bool lstm = s.op.template as<lstm_op<>>() != nullptr;
    if (!lstm && s.op.template as<gru_op<>>() == nullptr) return false;
    const std::size_t first = lstm ? 3 : 2;
    std::vector<value_id> in;
    for (std::size_t k = 0; k < first; ++k) in.push_back(float_of(s.inputs[k]));
    for (const std::size_t k : {first, first + 1}) {
      const graph_step* w = weight_quantizer(s.inputs[k]);
      if (w == nullptr || !weight_refusal(parameters_of(from_, *w), 2).empty()) return false;
      const parameters p = parameters_of(from_, *w);
      const graph_value& from = from_.at(w->inputs[0]);
      in.push_back(codes_of(w->inputs[0], p));
      in.push_back(constant(from.name + "_scale",
                            sum_scales(1, adze::detail::dense_as(p.scale, f32), from.sizes[0])));
    }
    for (const std::size_t k : {first + 2, first + 3}) in.push_back(float_of(s.inputs[k]));
    kept_[to_.steps.size()] = &s;  // floats in and out
    to_.steps.push_back(
        {lstm ? erased_op::of(dynamic_lstm_op<>{}) : erased_op::of(dynamic_gru_op<>{}),
         std::move(in), s.outputs});
    for (const value_id id : s.outputs) {
      if (id != no_value) floats_[at(id)] = id;
    }
    return true;
  }

  bool integer(const graph_step& s) {
    if (clamp_of(s) != nullptr && coded(s.outputs[0])) return true;  // by its layer
    if (recurrent(s)) return true;
    const step_kind kind = is_layer_op(s) ? step_kind::layer : kind_of(from_, s);
    if (kind == step_kind::other) return refuse(s, kind, "it has no integer form");
    if (kind == step_kind::layer && weight_quantizer(s.inputs[1]) == nullptr) {
      return refuse(s, kind, "its weight is computed, or kept in floats by the config");
    }
    for (std::size_t i = 0; i < activation_count(s, kind); ++i) {
      if (s.inputs[i] == no_value || !coded(s.inputs[i])) {
        return refuse(s, kind, "its input is not quantized");
      }
    }
    if (kind == step_kind::layer) return layer(s);
    if (kind == step_kind::same) return same(s);
    const std::optional<edge> y = edge_after(s.outputs[0]);
    if (!y) return refuse(s, kind, "its result is not quantized");
    return own(s, *y);
  }
  bool refuse(const graph_step& s, step_kind kind, std::string reason) {
    refused_.add(from_, s, kind, std::move(reason));
    return false;
  }
  bool made(const graph_step& s, value_id codes, const edge& e) {
    coded_[at(s.outputs[0])] = coded_value{codes, e};
    return true;
  }

  bool layer(const graph_step& s) {
    const graph_step* weight = weight_quantizer(s.inputs[1]);
    const parameters p = parameters_of(from_, *weight);
    const tensor w = from_.constant(weight->inputs[0]);
    if (const std::string why = weight_refusal(p, w.rank()); !why.empty())
      return refuse(s, step_kind::layer, why);
    const coded_value x = *coded(s.inputs[0]);
    const graph_step* clamp = clamp_after(s.outputs[0]);
    const value_id result = clamp != nullptr ? clamp->outputs[0] : s.outputs[0];
    const std::optional<edge> y = edge_after(result);
    const std::string& name = from_.at(weight->inputs[0]).name;
    const tensor sums = sum_scales(x.e.scale, adze::detail::dense_as(p.scale, f32), w.shape()[0]);
    const tensor b = bias_of(s, sums, !y);
    layer_finish finish{.x = x.e, .real = !y};
    if (y) finish.y = *y;
    if (clamp != nullptr) finish.most = static_cast<float>(clamp_of(*clamp)->high);
    const value_id codes = codes_of(weight->inputs[0], p);
    const value_id by = constant(name + "_sum_scale", sums);
    const value_id bias = b.defined() ? constant(adze::detail::bias_name(name), b) : no_value;
    const graph_value like =
        y ? codes_like(s.outputs[0], *y) : graph_value{from_.at(s.outputs[0]).sizes, f32};
    value_id out = no_value;
    if (const auto* linear = s.op.template as<linear_op<>>()) {
      finish.act = clamp != nullptr ? kernels::activation::relu : linear->act;
      out = emit(integer_linear_op<>{finish}, {x.id, codes, by, bias}, like);
    } else {
      const auto* conv = s.op.template as<conv2d_op<>>();
      finish.act = clamp != nullptr ? kernels::activation::relu : conv->act;
      out = emit(integer_conv2d_op<>{finish, conv->o}, {x.id, codes, by, bias}, like);
    }
    if (y) coded_[at(result)] = coded_value{out, *y};
    if (!y) floats_[at(s.outputs[0])] = out;
    return true;
  }

  // In steps of the sums' scale, as s32 or back as floats.
  tensor bias_of(const graph_step& s, const tensor& sum_scale, bool real) const {
    if (s.inputs[2] == no_value) return {};
    const graph_step* quantized = weight_quantizer(s.inputs[2]);
    const tensor b = from_.constant(quantized != nullptr ? quantized->inputs[0] : s.inputs[2]);
    const parameters p{sum_scale, {}, per_axis(0), bias_codes};
    const tensor codes = quantize(b, p);
    return real ? dequantize(codes, p) : codes;
  }

  bool same(const graph_step& s) {
    const coded_value x = *coded(s.inputs[0]);
    const graph_value like = codes_like(s.outputs[0], x.e);
    if (const auto* pool = s.op.template as<max_pool2d_op<>>()) {
      return made(s, emit(integer_max_pool2d_op<>{x.e, pool->geometry}, {x.id}, like), x.e);
    }
    if (s.op.template as<unary<functors::relu_f>>() != nullptr) {
      return made(s, emit(table(s.op, x.e, x.e), {x.id}, like), x.e);
    }
    const value_id out = to_.add_value({like.sizes, like.type});
    to_.steps.push_back({s.op, {x.id}, {out}});
    return made(s, out, x.e);
  }
  // The table of any op of one value: the op itself, on the value of every code.
  static table_op<> table(const erased_op& op, const edge& x, const edge& y) {
    tensor values = empty({256}, f32);
    for (int byte = 0; byte < 256; ++byte) {
      const int code = x.is_signed() ? static_cast<std::int8_t>(byte) : byte;
      values.data_as<float>()[byte] = static_cast<float>(code - x.zero) * x.scale;
    }
    erased_op copy = op;
    const tensor* const in[] = {&values};
    adze::detail::results out;
    adze::detail::record_call(copy.info(), copy.data(), in, 1, out);
    const tensor codes = quant::quantize(out[0], make_parameters(y.affine(), y.codes));
    tensor bytes = empty({256}, u8);
    std::memcpy(bytes.data(), codes.data(), 256);
    return {x, y, bytes};
  }

  bool own(const graph_step& s, const edge& y) {
    const graph_value like = codes_like(s.outputs[0], y);
    const coded_value x = *coded(s.inputs[0]);
    const bool relu = s.op.template as<binary<functors::add_relu_f>>() != nullptr;
    if (relu || s.op.template as<binary<functors::add_f>>() != nullptr) {
      const coded_value b = *coded(s.inputs[1]);
      return made(s, emit(integer_add_op<>{x.e, b.e, y, relu}, {x.id, b.id}, like), y);
    }
    if (const auto* concat = s.op.template as<concat_op<>>()) return join(s, *concat, y);
    if (const auto* pool = s.op.template as<avg_pool2d_op<>>()) {
      return mean(s, pool->geometry, y, false);
    }
    if (const auto* all = s.op.template as<mean_op<>>()) {
      return mean(s, {.adaptive = {1, 1}}, y, !all->keep);
    }
    if (const auto* softmax = s.op.template as<softmax_op<>>()) {
      return made(s, emit(integer_softmax_op<>{x.e, y, softmax->axis}, {x.id}, like), y);
    }
    return made(s, emit(table(s.op, x.e, y), {x.id}, like), y);
  }
  // Every input through a table, whether or not it has the scale of the result: another graph's
  // scales may be loaded, and steps must not depend on them. Plans leave out those that do nothing.
  bool join(const graph_step& s, const concat_op<>& op, const edge& y) {
    std::vector<value_id> in;
    for (const value_id id : s.inputs) {
      const coded_value x = *coded(id);
      in.push_back(emit(table(erased_op::of(clone_op<>{}), x.e, y), {x.id}, codes_like(id, y)));
    }
    return made(s, emit(concat_op<>{op.axis, {}}, in, codes_like(s.outputs[0], y)), y);
  }
  bool mean(const graph_step& s, const pool_geometry& geometry, const edge& y, bool flat) {
    const coded_value x = *coded(s.inputs[0]);
    if (x.e.storage() != y.storage()) return refuse(s, step_kind::own, "its codes change sign");
    const shape& from = from_.at(s.inputs[0]).sizes;
    const shape pooled = adze::detail::pooled_shape("avg_pool2d", from, geometry);
    const value_id codes =
        emit(integer_avg_pool2d_op<>{x.e, y, geometry}, {x.id}, {pooled, y.storage()});
    if (!flat) return made(s, codes, y);
    return made(s, emit(flatten_op<>{1, -1}, {codes}, codes_like(s.outputs[0], y)), y);
  }

  const graph& from_;
  graph to_;
  std::vector<std::optional<coded_value>> coded_;
  std::vector<value_id> floats_;
  std::vector<index_t> uses_;
  refusals<> refused_;
  std::unordered_map<std::size_t, const graph_step*> kept_;  // with floats, by step of to_
  std::unordered_map<value_id, const graph_step*> quantizer_, clamp_, weights_;
  std::unordered_map<value_id, std::vector<value_id>> codes_;  // of weights
};

}  // namespace adze::quant::detail::inline ADZE_ISA
