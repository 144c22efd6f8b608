#pragma once
// SPDX-License-Identifier: MIT
// The ops that layers are made of, declared, with their options; see fwd.hpp.
#include <array>
#include <cstdint>
#include <optional>

#include <adze/autograd/fwd.hpp>
#include <adze/ops/size_2d.hpp>

namespace adze::inline ADZE_ISA {

// conv.hpp, pool.hpp: the last one or two axes are spatial; sizes are (h, w), or one for both.
struct conv_options {
  size_2d stride = 1, padding = 0, dilation = 1;
  index_t groups = 1;
  size_2d output_padding = 0;  // transposed convolution only
  bool exact = false;  // only algorithms whose error is that of the sum: no Winograd filtering
};
struct conv1d_options {
  index_t stride = 1, padding = 0, dilation = 1, groups = 1;
};
template <class = void>
[[nodiscard]] tensor conv2d(const tensor& x, const tensor& w, const tensor& bias = {},
                            const conv_options& o = {});
template <class = void>
[[nodiscard]] tensor conv1d(const tensor& x, const tensor& w, const tensor& bias = {},
                            const conv1d_options& o = {});
template <class = void>
[[nodiscard]] tensor conv_transpose2d(const tensor& x, const tensor& w, const tensor& bias = {},
                                      const conv_options& o = {});
struct pool_options {
  size_2d kernel = 2, stride = 0, padding = 0;  // stride 0: the kernel
  size_2d dilation = 1;                         // max pooling only
  bool ceil_mode = false;
  bool count_include_pad = true;  // average only
};
template <class = void>
[[nodiscard]] tensor max_pool2d(const tensor& x, const pool_options& o = {});
template <class = void>
[[nodiscard]] tensor avg_pool2d(const tensor& x, const pool_options& o = {});
struct pool1d_options {
  index_t kernel = 2, stride = 0, padding = 0;  // stride 0: the kernel
  index_t dilation = 1;                         // max pooling only
  bool ceil_mode = false;
  bool count_include_pad = true;  // average only
};
template <class = void>
[[nodiscard]] tensor max_pool1d(const tensor& x, const pool1d_options& o = {});
template <class = void>
[[nodiscard]] tensor avg_pool1d(const tensor& x, const pool1d_options& o = {});
template <class = void>
[[nodiscard]] tensor adaptive_avg_pool2d(const tensor& x, const size_2d& out);
template <class = void>
[[nodiscard]] tensor adaptive_max_pool2d(const tensor& x, const size_2d& out);

// norm.hpp; weight and bias may be undefined.
struct batch_norm_options {
  bool training = false;
  double momentum = 0.1;
  double eps = 1e-5;
};
template <class = void>
[[nodiscard]] tensor batch_norm(const tensor& x, const tensor& weight, const tensor& bias,
                                const tensor& running_mean, const tensor& running_var,
                                const batch_norm_options& o = {});
// batch_norm_act.hpp
enum class norm_activation : std::uint8_t { relu, relu6 };
struct batch_norm_act_options {
  norm_activation act = norm_activation::relu;
  bool training = false;
  double momentum = 0.1;
  double eps = 1e-5;
};
template <class = void>
[[nodiscard]] tensor batch_norm_act(const tensor& x, const tensor& weight, const tensor& bias,
                                    const tensor& running_mean, const tensor& running_var,
                                    const tensor& residual = {},
                                    const batch_norm_act_options& o = {});
template <class = void>
[[nodiscard]] tensor layer_norm(const tensor& x, index_t axes_count, const tensor& weight = {},
                                const tensor& bias = {}, double eps = 1e-5);
template <class = void>
[[nodiscard]] tensor group_norm(const tensor& x, index_t groups, const tensor& weight = {},
                                const tensor& bias = {}, double eps = 1e-5);
template <class = void>
[[nodiscard]] tensor instance_norm(const tensor& x, const tensor& weight = {},
                                   const tensor& bias = {}, double eps = 1e-5);
template <class = void>
[[nodiscard]] tensor rms_norm(const tensor& x, index_t axes_count, const tensor& weight = {},
                              std::optional<double> eps = {});  // none: the epsilon of x's dtype
template <class = void>
[[nodiscard]] tensor normalize(const tensor& x, double p = 2.0, index_t axis = 1,
                               double eps = 1e-12);

// softmax.hpp, embedding.hpp, dropout.hpp
template <class = void> [[nodiscard]] tensor softmax(const tensor& x, index_t axis = -1);
template <class = void> [[nodiscard]] tensor log_softmax(const tensor& x, index_t axis = -1);
template <class = void>
[[nodiscard]] tensor embedding(const tensor& index, const tensor& weight,
                               index_t padding_index = -1);
template <class = void>
[[nodiscard]] tensor dropout(const tensor& x, double p = 0.5, bool training = true);
template <class = void>
[[nodiscard]] tensor dropout2d(const tensor& x, double p = 0.5, bool training = true);

// attention.hpp
struct attention_options {
  bool causal = false;
  double scale = 0.0;    // 0: 1 / sqrt(head size)
  double dropout = 0.0;  // of the attention weights
};
template <class = void>
[[nodiscard]] tensor scaled_dot_product_attention(const tensor& q, const tensor& k, const tensor& v,
                                                  const tensor& mask = {},
                                                  const attention_options& o = {});

// rnn.hpp, lstm.hpp, gru.hpp: one layer, one direction, over [t, b, c]; weights [gates * h, c] and
// [gates * h, h].
struct rnn_weights {
  tensor input, hidden;            // w_ih, w_hh
  tensor input_bias, hidden_bias;  // b_ih, b_hh; may be undefined
};
enum class rnn_activation : std::uint8_t { tanh, relu };
template <class = void>
[[nodiscard]] std::array<tensor, 2> rnn(
    const tensor& x, const tensor& h, const rnn_weights& w,
    rnn_activation activation = rnn_activation::tanh);  // outputs, last h
template <class = void>
[[nodiscard]] std::array<tensor, 3> lstm(const tensor& x, const tensor& h, const tensor& c,
                                         const rnn_weights& w);  // outputs, last h, last c
template <class = void>
[[nodiscard]] std::array<tensor, 2> gru(const tensor& x, const tensor& h, const rnn_weights& w);
// One step, x [b, c] or [c].
template <class = void>
[[nodiscard]] std::array<tensor, 2> lstm_cell(const tensor& x, const tensor& h, const tensor& c,
                                              const rnn_weights& w);  // h, c
template <class = void>
[[nodiscard]] tensor gru_cell(const tensor& x, const tensor& h, const rnn_weights& w);

}  // namespace adze::inline ADZE_ISA
