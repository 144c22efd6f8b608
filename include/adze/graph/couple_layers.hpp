#pragma once
// SPDX-License-Identifier: MIT
// Which axes belong together in products, norms and recurrent layers; then tie_axes for any op:
// what it says itself, the rules of these two headers, or its letters.
#include <adze/graph/couple_layout.hpp>
#include <adze/ops/attention.hpp>
#include <adze/ops/conv.hpp>
#include <adze/ops/gru.hpp>
#include <adze/ops/lstm.hpp>
#include <adze/ops/matmul.hpp>
#include <adze/ops/norm.hpp>
#include <adze/ops/rnn.hpp>
#include <adze/ops/softmax.hpp>

namespace adze::detail::inline ADZE_ISA {

// A weight between the channels `each` (one index per channel) and `shared` (one index per channel
// of a group): conv2d has its outputs in `each`, conv_transpose2d its inputs. Groups keep equal
// sizes: an index leaves all of them. Of a depthwise layer whole groups leave.
struct conv_axes {
  axis_place each_weight, shared_weight;      // axes of the weight
  axis_place each_channels, shared_channels;  // axes of the images
  index_t groups = 1;
};
template <class = void> void tie_conv(axis_ties& t, const conv_axes& c) {
  const index_t each = c.each_weight.size / c.groups, shared = c.shared_weight.size;
  t.same(c.each_weight, c.each_channels);
  if (c.groups == 1) return t.same(c.shared_weight, c.shared_channels);
  if (shared == 1 || each == 1) {  // depthwise: one channel is all that a group has on one side
    t.pin(c.shared_weight);
    return shared == 1 ? t.same(c.shared_channels, c.each_channels, {.block = each})
                       : t.same(c.each_channels, c.shared_channels, {.block = shared});
  }
  for (index_t k = 0; k < c.groups; ++k) {
    t.same(c.shared_weight, c.shared_channels, {.b = k * shared, .count = shared});
    t.same(c.each_channels, c.each_channels, {.b = k * each, .count = each});
  }
}

template <class = void> void tie_images(axis_ties& t) {
  t.same(t.input(0, 0), t.output(0, 0));
  t.pin_input_from(0, 2);
  t.pin_input_from(1, 2);
  t.pin_output_from(0, 2);
}

// `count` gates of one hidden unit each: their rows of the weights w [count h, c], u [count h, h]
// and biases, the column of u, the states and all results.
template <class = void> void tie_recurrent(axis_ties& t, index_t gates, index_t states) {
  const axis_place unit = t.input(1, 1);
  const index_t w = states + 1, h = unit.size;
  t.same(t.input(0, 0), t.output(0, 0));
  t.same(t.input(0, 1), t.output(0, 1));
  t.same(t.input(0, 2), t.input(w, 1));
  t.same(t.output(0, 2), unit);
  for (index_t s = 0; s < states; ++s) {
    t.same(t.input(1 + s, 0), t.input(0, 1));
    t.same(t.output(1 + s, 0), t.input(0, 1));
    t.same(t.input(1 + s, 1), unit);
    t.same(t.output(1 + s, 1), unit);
  }
  t.same(t.input(w + 1, 1), unit);
  for (index_t g = 0; g < gates; ++g) {
    for (index_t i = w; i < w + 4; ++i) {
      t.same(unit, t.input(i, 0), {.b = g * h});
    }
  }
}

template <class = void> void tie_row_norm(axis_ties& t, index_t axes_count) {
  t.same_but(0);
  const index_t rank = t.input_rank(0);
  for (index_t i = 0; i < axes_count; ++i) {
    const axis_place at = t.input(0, rank - axes_count + i);
    t.shifts(at);
    for (index_t k = 1; k < t.inputs(); ++k) {
      t.same(at, t.input(k, i));
    }
  }
}

template <class = void> void tie_group_norm(axis_ties& t, index_t groups) {
  const axis_place channels = t.input(0, 1);
  const index_t each = channels.size / groups;
  t.same_but(0);
  for (index_t a = 2; a < t.input_rank(0); ++a) t.pin(t.input(0, a));
  for (index_t k = 1; k < t.inputs(); ++k) {
    t.same(channels, t.input(k, 0));
  }
  if (each == 1 && groups > 1) return;  // a channel is a group, and leaves with it
  t.shifts(channels);
  for (index_t g = 1; g < groups; ++g) {
    t.same(channels, channels, {.b = g * each, .count = each});
  }
}

template <class = void> void tie_attention(axis_ties& t, const attention_options& o) {
  const index_t n = t.input_rank(0) - 2;  // batch axes, heads among them
  for (index_t i = 0; i < n; ++i) {
    for (index_t k = 0; k < 3; ++k) t.same(t.output(0, i), t.input(k, i));
  }
  t.same(t.output(0, n), t.input(0, n));
  t.same(t.input(1, n), t.input(2, n));
  t.pin(t.input(1, n));
  t.same(t.input(0, n + 1), t.input(1, n + 1));
  if (o.scale == 0) t.pin(t.input(0, n + 1));  // the scale is that of the head's size
  t.same(t.output(0, n + 1), t.input(2, n + 1));
  if (t.input_shape(3) == nullptr) return;
  const index_t rank = t.input_rank(3), shift = n + 2 - rank;
  if (rank > 0) t.pin(t.input(3, -1));
  for (index_t i = 0; i + 1 < rank; ++i) t.same(t.output(0, i + shift), t.input(3, i));
}

// Ops that normalise along axes; false for others.
template <class = void> bool tie_norm_op(const erased_op& op, axis_ties& t) {
  const index_t rank = t.inputs() > 0 ? t.input_rank(0) : 0;
  if (const auto* softmax = op.as<softmax_op<>>()) {
    t.same_but(std::uint32_t{1} << resolve_axis(softmax->axis, rank, softmax->name));
  } else if (const auto* log_softmax = op.as<log_softmax_op<>>()) {
    t.same_but(std::uint32_t{1} << resolve_axis(log_softmax->axis, rank, log_softmax->name));
  } else if (const auto* layer_norm = op.as<layer_norm_op<>>()) {
    tie_row_norm(t, layer_norm->axes_count);
  } else if (const auto* rms_norm = op.as<rms_norm_op<>>()) {
    tie_row_norm(t, rms_norm->axes_count);
  } else if (const auto* group_norm = op.as<group_norm_op<>>()) {
    tie_group_norm(t, group_norm->groups);
  } else {
    return false;
  }
  return true;
}

// Products and recurrent layers; false for others.
template <class = void> bool tie_product_op(const erased_op& op, axis_ties& t) {
  if (const auto* conv = op.as<conv2d_op<>>()) {
    tie_images(t);
    t.same(t.input(2, 0), t.output(0, 1));
    tie_conv(t, {t.input(1, 0), t.input(1, 1), t.output(0, 1), t.input(0, 1), conv->o.groups});
  } else if (const auto* turned = op.as<conv_transpose2d_op<>>()) {
    tie_images(t);
    t.same(t.input(2, 0), t.output(0, 1));
    tie_conv(t, {t.input(1, 0), t.input(1, 1), t.input(0, 1), t.output(0, 1), turned->o.groups});
  } else if (op.as<matmul_op<>>() != nullptr) {  // of vectors too
    const bool row = t.input_rank(0) == 1, column = t.input_rank(1) == 1;
    return t.letters(row ? (column ? "k,k->" : "k,...kn->...n")
                         : (column ? "...mk,k->...m" : matmul_op<>::axes));
  } else if (const auto* attention = op.as<attention_op<>>()) {
    tie_attention(t, attention->options);
  } else if (op.as<lstm_op<>>() != nullptr) {
    tie_recurrent(t, 4, 2);
  } else if (op.as<gru_op<>>() != nullptr) {
    tie_recurrent(t, 3, 1);
  } else if (op.as<rnn_op<>>() != nullptr) {
    tie_recurrent(t, 1, 1);
  } else {
    return false;
  }
  return true;
}

// Ties the axes of one call. False where nothing is known of the op.
template <class = void> bool tie_axes(const erased_op& op, axis_ties& t) {
  if (op.info().couple != nullptr) {
    op.info().couple(op.data(), t);
    return true;
  }
  if (tie_product_op(op, t) || tie_norm_op(op, t) || tie_layout_op(op, t) ||
      tie_folding_op(op, t)) {
    return true;
  }
  return !op.info().axes.empty() && t.letters(op.info().axes);
}

}  // namespace adze::detail::inline ADZE_ISA
