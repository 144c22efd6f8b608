#pragma once
// SPDX-License-Identifier: MIT
// Every public op, declared (each is defined in its family's header, so that one family can call
// another without including it first). Names, argument meaning and defaults are PyTorch's.
// Docstrings stand at the definitions. All are templates, with nothing to choose, because a
// compiler instantiates all that plain inline functions mention, called or not: a file pays for
// the ops it uses (`#include <adze/adze.hpp>` 4.4 -> 2.8 s).
#include <array>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include <adze/autograd/fwd.hpp>
#include <adze/ops/size_2d.hpp>

namespace adze {

using axes = index_list;  // a few axes; empty means all where that makes sense

enum class reduction : std::uint8_t { mean, sum, none };
enum class gelu_form : std::uint8_t { erf, tanh };

class generator;
generator& default_generator();  // core/random.hpp

}  // namespace adze

namespace adze::inline ADZE_ISA {

// arithmetic.hpp: with broadcasting; a double stands for a scalar of the tensor's type.
template <class = void> tensor sub(const tensor& a, const tensor& b);
template <class = void> tensor div(const tensor& a, const tensor& b);
template <class = void> tensor pow(const tensor& a, const tensor& b);
template <class = void> tensor maximum(const tensor& a, const tensor& b);
template <class = void> tensor minimum(const tensor& a, const tensor& b);
template <class = void> tensor add(const tensor& a, double b);
template <class = void> tensor mul(const tensor& a, double b);
template <class = void> tensor pow(const tensor& a, double b);
template <class = void> tensor maximum(const tensor& a, double b);
template <class = void> tensor minimum(const tensor& a, double b);
template <class = void> tensor clamp(const tensor& x, double low, double high);
template <class = void> tensor lerp(const tensor& a, const tensor& b, double weight);
template <class = void> tensor operator+(const tensor& a, const tensor& b);
template <class = void> tensor operator-(const tensor& a, const tensor& b);
template <class = void> tensor operator*(const tensor& a, const tensor& b);
template <class = void> tensor operator/(const tensor& a, const tensor& b);
template <class = void> tensor operator+(const tensor& a, double b);
template <class = void> tensor operator-(const tensor& a, double b);
template <class = void> tensor operator*(const tensor& a, double b);
template <class = void> tensor operator/(const tensor& a, double b);
template <class = void> tensor operator+(double a, const tensor& b);
template <class = void> tensor operator-(double a, const tensor& b);
template <class = void> tensor operator*(double a, const tensor& b);
template <class = void> tensor operator/(double a, const tensor& b);
template <class = void> tensor operator-(const tensor& x);
// pointwise.hpp: functions of one tensor.
template <class = void> tensor neg(const tensor& x);
template <class = void> tensor abs(const tensor& x);
template <class = void> tensor sign(const tensor& x);
template <class = void> tensor step(const tensor& x);
template <class = void> tensor floor(const tensor& x);
template <class = void> tensor ceil(const tensor& x);
template <class = void> tensor round(const tensor& x);
template <class = void> tensor square(const tensor& x);
template <class = void> tensor sqrt(const tensor& x);
template <class = void> tensor rsqrt(const tensor& x);
template <class = void> tensor reciprocal(const tensor& x);
template <class = void> tensor exp(const tensor& x);
template <class = void> tensor expm1(const tensor& x);
template <class = void> tensor log(const tensor& x);
template <class = void> tensor log1p(const tensor& x);
template <class = void> tensor sin(const tensor& x);
template <class = void> tensor cos(const tensor& x);
template <class = void> tensor erf(const tensor& x);
// compare.hpp: bool8 results, no gradient.
template <class = void> tensor equal(const tensor& a, const tensor& b);
template <class = void> tensor operator==(const tensor& a, const tensor& b);
template <class = void> tensor operator!=(const tensor& a, const tensor& b);
template <class = void> tensor operator<(const tensor& a, const tensor& b);
template <class = void> tensor operator<=(const tensor& a, const tensor& b);
template <class = void> tensor operator>(const tensor& a, const tensor& b);
template <class = void> tensor operator>=(const tensor& a, const tensor& b);
template <class = void> tensor operator==(const tensor& a, double b);
template <class = void> tensor operator!=(const tensor& a, double b);
template <class = void> tensor operator<(const tensor& a, double b);
template <class = void> tensor operator<=(const tensor& a, double b);
template <class = void> tensor operator>(const tensor& a, double b);
template <class = void> tensor operator>=(const tensor& a, double b);
template <class = void> tensor operator!(const tensor& a);
template <class = void> tensor operator&&(const tensor& a, const tensor& b);
template <class = void> tensor operator||(const tensor& a, const tensor& b);
template <class = void> tensor isnan(const tensor& x);
template <class = void> tensor isfinite(const tensor& x);
template <class = void> tensor where(const tensor& condition, const tensor& a, const tensor& b);
template <class = void> tensor where(const tensor& condition, const tensor& a, double b);
template <class = void> tensor where(const tensor& condition, double a, const tensor& b);

// activation.hpp
template <class = void> tensor relu(const tensor& x);
template <class = void> tensor relu6(const tensor& x);
template <class = void> tensor leaky_relu(const tensor& x, double negative_slope = 0.01);
template <class = void> tensor prelu(const tensor& x, const tensor& weight);
template <class = void> tensor elu(const tensor& x, double alpha = 1.0);
template <class = void> tensor selu(const tensor& x);
template <class = void> tensor celu(const tensor& x, double alpha = 1.0);
template <class = void> tensor gelu(const tensor& x, gelu_form form = gelu_form::erf);
template <class = void> tensor silu(const tensor& x);
template <class = void> tensor mish(const tensor& x);
template <class = void>
tensor softplus(const tensor& x, double beta = 1.0, double threshold = 20.0);
template <class = void> tensor softsign(const tensor& x);
template <class = void> tensor sigmoid(const tensor& x);
template <class = void> tensor log_sigmoid(const tensor& x);
template <class = void> tensor tanh(const tensor& x);
template <class = void> tensor hardtanh(const tensor& x, double low = -1.0, double high = 1.0);
template <class = void> tensor hardsigmoid(const tensor& x);
template <class = void> tensor hardswish(const tensor& x);

// layout.hpp: views where possible.
template <class = void> tensor clone(const tensor& x);
template <class = void> tensor contiguous(const tensor& x);
template <class = void> tensor detach(const tensor& x);
template <class = void>
tensor reshape(const tensor& x, const index_list& sizes);  // one size may be -1
template <class = void> tensor flatten(const tensor& x, index_t first = 0, index_t last = -1);
template <class = void> tensor transpose(const tensor& x, index_t a = -2, index_t b = -1);
template <class = void> tensor permute(const tensor& x, const axes& order);
template <class = void> tensor expand(const tensor& x, const index_list& sizes);  // -1 keeps a size
template <class = void> tensor squeeze(const tensor& x, index_t axis);
template <class = void> tensor unsqueeze(const tensor& x, index_t axis);
struct slice_range {
  index_t start = 0;
  index_t stop = std::numeric_limits<index_t>::max();
  index_t step = 1;
};
template <class = void> tensor slice(const tensor& x, index_t axis, const slice_range& range);
template <class = void> tensor select(const tensor& x, index_t axis, index_t index);
template <class = void> tensor flip(const tensor& x, const axes& which);
template <class = void>
tensor pad(const tensor& x, const std::vector<index_t>& amounts, double value = 0.0);
template <class = void> tensor concat(tensor_list x, index_t axis = 0);
template <class = void> tensor stack(tensor_list x, index_t axis = 0);
template <class = void> std::vector<tensor> split(const tensor& x, index_t size, index_t axis = 0);
template <class = void>
std::vector<tensor> split(const tensor& x, const std::vector<index_t>& sizes, index_t axis = 0);
template <class = void> std::vector<tensor> chunk(const tensor& x, index_t count, index_t axis = 0);
template <class = void> tensor repeat(const tensor& x, const index_list& counts);
template <class = void>
tensor roll(const tensor& x, const index_list& shifts, const axes& which = {});
template <class = void> tensor tril(const tensor& x, index_t diagonal = 0);
template <class = void> tensor triu(const tensor& x, index_t diagonal = 0);
// gather.hpp, nonzero.hpp: by integer indices.
template <class = void> tensor gather(const tensor& x, index_t axis, const tensor& index);
template <class = void>
tensor scatter(const tensor& x, index_t axis, const tensor& index, const tensor& source);
template <class = void>
tensor scatter_add(const tensor& x, index_t axis, const tensor& index, const tensor& source);
template <class = void> tensor index_select(const tensor& x, index_t axis, const tensor& index);
template <class = void>
tensor index_add(const tensor& x, index_t axis, const tensor& index, const tensor& source);
template <class = void> tensor masked_fill(const tensor& x, const tensor& mask, double value);
template <class = void> tensor nonzero(const tensor& x);
template <class = void> tensor masked_select(const tensor& x, const tensor& mask);
template <class = void> tensor one_hot(const tensor& index, index_t classes);

// reduce.hpp: axes empty = all; `keep` leaves axes of size 1.
template <class = void> tensor sum(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void> tensor mean(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void>
tensor var(const tensor& x, const axes& over = {}, double correction = 1.0, bool keep = false);
template <class = void>
tensor std_dev(const tensor& x, const axes& over = {}, double correction = 1.0, bool keep = false);
template <class = void> tensor prod(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void> tensor amax(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void> tensor amin(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void>
tensor norm(const tensor& x, double p = 2.0, const axes& over = {}, bool keep = false);
template <class = void> tensor logsumexp(const tensor& x, const axes& over, bool keep = false);
template <class = void> tensor cumsum(const tensor& x, index_t axis);
template <class = void> tensor all(const tensor& x);
template <class = void> tensor any(const tensor& x);
// sort.hpp
template <class = void>
std::array<tensor, 2> max(const tensor& x, index_t axis, bool keep = false);  // values, indices
template <class = void> std::array<tensor, 2> min(const tensor& x, index_t axis, bool keep = false);
template <class = void> tensor argmax(const tensor& x, index_t axis = -1, bool keep = false);
template <class = void> tensor argmin(const tensor& x, index_t axis = -1, bool keep = false);
template <class = void>
std::array<tensor, 2> topk(const tensor& x, index_t k, index_t axis = -1, bool largest = true);
template <class = void>
std::array<tensor, 2> sort(const tensor& x, index_t axis = -1, bool descending = false);
template <class = void> tensor argsort(const tensor& x, index_t axis = -1, bool descending = false);
// sample.hpp
template <class = void>
tensor multinomial(const tensor& weights, index_t count, bool replacement = false,
                   generator& g = default_generator());

// matmul.hpp, linear.hpp
template <class = void> tensor matmul(const tensor& a, const tensor& b);
template <class = void> tensor outer(const tensor& a, const tensor& b);
template <class = void>
tensor linear(const tensor& x, const tensor& weight, const tensor& bias = {});

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
tensor conv2d(const tensor& x, const tensor& w, const tensor& bias = {},
              const conv_options& o = {});
template <class = void>
tensor conv1d(const tensor& x, const tensor& w, const tensor& bias = {},
              const conv1d_options& o = {});
template <class = void>
tensor conv_transpose2d(const tensor& x, const tensor& w, const tensor& bias = {},
                        const conv_options& o = {});
struct pool_options {
  size_2d kernel = 2, stride = 0, padding = 0;  // stride 0: the kernel
  size_2d dilation = 1;                         // max pooling only
  bool ceil_mode = false;
  bool count_include_pad = true;  // average only
};
template <class = void> tensor max_pool2d(const tensor& x, const pool_options& o = {});
template <class = void> tensor avg_pool2d(const tensor& x, const pool_options& o = {});
struct pool1d_options {
  index_t kernel = 2, stride = 0, padding = 0;  // stride 0: the kernel
  index_t dilation = 1;                         // max pooling only
  bool ceil_mode = false;
  bool count_include_pad = true;  // average only
};
template <class = void> tensor max_pool1d(const tensor& x, const pool1d_options& o = {});
template <class = void> tensor avg_pool1d(const tensor& x, const pool1d_options& o = {});
template <class = void> tensor adaptive_avg_pool2d(const tensor& x, const size_2d& out);
template <class = void> tensor adaptive_max_pool2d(const tensor& x, const size_2d& out);

// norm.hpp; weight and bias may be undefined.
struct batch_norm_options {
  bool training = false;
  double momentum = 0.1;
  double eps = 1e-5;
};
template <class = void>
tensor batch_norm(const tensor& x, const tensor& weight, const tensor& bias,
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
tensor batch_norm_act(const tensor& x, const tensor& weight, const tensor& bias,
                      const tensor& running_mean, const tensor& running_var,
                      const tensor& residual = {}, const batch_norm_act_options& o = {});
template <class = void>
tensor layer_norm(const tensor& x, index_t axes_count, const tensor& weight = {},
                  const tensor& bias = {}, double eps = 1e-5);
template <class = void>
tensor group_norm(const tensor& x, index_t groups, const tensor& weight = {},
                  const tensor& bias = {}, double eps = 1e-5);
template <class = void>
tensor instance_norm(const tensor& x, const tensor& weight = {}, const tensor& bias = {},
                     double eps = 1e-5);
template <class = void>
tensor rms_norm(const tensor& x, index_t axes_count, const tensor& weight = {},
                std::optional<double> eps = {});  // none: the epsilon of x's dtype
template <class = void>
tensor normalize(const tensor& x, double p = 2.0, index_t axis = 1, double eps = 1e-12);

// softmax.hpp, embedding.hpp, dropout.hpp
template <class = void> tensor softmax(const tensor& x, index_t axis = -1);
template <class = void> tensor log_softmax(const tensor& x, index_t axis = -1);
template <class = void>
tensor embedding(const tensor& index, const tensor& weight, index_t padding_index = -1);
template <class = void> tensor dropout(const tensor& x, double p = 0.5, bool training = true);
template <class = void> tensor dropout2d(const tensor& x, double p = 0.5, bool training = true);

// attention.hpp
struct attention_options {
  bool causal = false;
  double scale = 0.0;    // 0: 1 / sqrt(head size)
  double dropout = 0.0;  // of the attention weights
};
template <class = void>
tensor scaled_dot_product_attention(const tensor& q, const tensor& k, const tensor& v,
                                    const tensor& mask = {}, const attention_options& o = {});

// rnn.hpp, lstm.hpp, gru.hpp: one layer, one direction, over [t, b, c]; weights [gates * h, c] and
// [gates * h, h].
struct rnn_weights {
  tensor input, hidden;            // w_ih, w_hh
  tensor input_bias, hidden_bias;  // b_ih, b_hh; may be undefined
};
enum class rnn_activation : std::uint8_t { tanh, relu };
template <class = void>
std::array<tensor, 2> rnn(const tensor& x, const tensor& h, const rnn_weights& w,
                          rnn_activation activation = rnn_activation::tanh);  // outputs, last h
template <class = void>
std::array<tensor, 3> lstm(const tensor& x, const tensor& h, const tensor& c,
                           const rnn_weights& w);  // outputs, last h, last c
template <class = void>
std::array<tensor, 2> gru(const tensor& x, const tensor& h, const rnn_weights& w);
// One step, x [b, c].
template <class = void>
std::array<tensor, 2> lstm_cell(const tensor& x, const tensor& h, const tensor& c,
                                const rnn_weights& w);  // h, c
template <class = void> tensor gru_cell(const tensor& x, const tensor& h, const rnn_weights& w);

// cross_entropy.hpp, loss.hpp, margin_loss.hpp
struct cross_entropy_options {
  tensor weight{};  // per class
  index_t ignore_index = -100;
  double label_smoothing = 0.0;
  reduction reduce = reduction::mean;
};
template <class = void>
tensor cross_entropy(const tensor& logits, const tensor& target,
                     const cross_entropy_options& o = {});
template <class = void>
tensor nll_loss(const tensor& log_probabilities, const tensor& target,
                const cross_entropy_options& o = {});
template <class = void>
tensor mse_loss(const tensor& x, const tensor& target, reduction reduce = reduction::mean);
template <class = void>
tensor l1_loss(const tensor& x, const tensor& target, reduction reduce = reduction::mean);
template <class = void>
tensor smooth_l1_loss(const tensor& x, const tensor& target, double beta = 1.0,
                      reduction reduce = reduction::mean);
template <class = void>
tensor huber_loss(const tensor& x, const tensor& target, double delta = 1.0,
                  reduction reduce = reduction::mean);
struct bce_options {
  tensor weight{};
  tensor positive_weight{};
  reduction reduce = reduction::mean;
};
template <class = void>
tensor binary_cross_entropy(const tensor& p, const tensor& target, const bce_options& o = {});
template <class = void>
tensor binary_cross_entropy_with_logits(const tensor& x, const tensor& target,
                                        const bce_options& o = {});
struct kl_options {
  bool log_target = false;
  bool batch_mean = false;  // the sum divided by the batch, as the definition says
  reduction reduce = reduction::mean;
};
template <class = void>
tensor kl_div(const tensor& log_p, const tensor& target, const kl_options& o = {});
template <class = void>
tensor cosine_similarity(const tensor& a, const tensor& b, index_t axis = 1, double eps = 1e-8);
struct margin_options {
  double margin = 0.0;
  reduction reduce = reduction::mean;
};
struct hinge_options {
  double margin = 1.0;
  reduction reduce = reduction::mean;
};
struct triplet_options {
  double margin = 1.0;
  double p = 2.0;  // norm of the distance
  reduction reduce = reduction::mean;
};
template <class = void>
tensor cosine_embedding_loss(const tensor& a, const tensor& b, const tensor& target,
                             const margin_options& o = {});
template <class = void>
tensor triplet_margin_loss(const tensor& anchor, const tensor& positive, const tensor& negative,
                           const triplet_options& o = {});
template <class = void>
tensor hinge_embedding_loss(const tensor& x, const tensor& target, const hinge_options& o = {});
template <class = void>
tensor margin_ranking_loss(const tensor& a, const tensor& b, const tensor& target,
                           const margin_options& o = {});

// inplace.hpp: the handle y is rebound to the new value; other handles on the old value are stale.
template <class = void> tensor& add_(tensor& y, const tensor& x);
template <class = void> tensor& add_(tensor& y, double x);
template <class = void> tensor& sub_(tensor& y, const tensor& x);
template <class = void> tensor& mul_(tensor& y, const tensor& x);
template <class = void> tensor& mul_(tensor& y, double x);
template <class = void> tensor& div_(tensor& y, const tensor& x);
template <class = void> tensor& copy_(tensor& y, const tensor& x);
template <class = void> tensor& fill_(tensor& y, double value);
template <class = void> tensor& zero_(tensor& y);
template <class = void> tensor& clamp_(tensor& y, double low, double high);
template <class = void> tensor& relu_(tensor& y);

}  // namespace adze::inline ADZE_ISA
