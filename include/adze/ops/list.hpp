#pragma once
// SPDX-License-Identifier: MIT
// THE list of ops: every op struct of the library but `checkpoint`. Tests fail where one of them
// has no entry in the generic suite; benchmarks and docs/ops.md go through it. Not included by the
// library itself.
#include <adze/ops/activation.hpp>
#include <adze/ops/attention.hpp>
#include <adze/ops/batch_norm.hpp>
#include <adze/ops/batch_norm_act.hpp>
#include <adze/ops/compare.hpp>
#include <adze/ops/concat.hpp>
#include <adze/ops/conv.hpp>
#include <adze/ops/cross_entropy.hpp>
#include <adze/ops/dropout.hpp>
#include <adze/ops/embedding.hpp>
#include <adze/ops/gather.hpp>
#include <adze/ops/gru.hpp>
#include <adze/ops/inplace.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/linear.hpp>
#include <adze/ops/loss.hpp>
#include <adze/ops/lstm.hpp>
#include <adze/ops/margin_loss.hpp>
#include <adze/ops/matmul.hpp>
#include <adze/ops/nll_loss.hpp>
#include <adze/ops/norm.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/pool.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/ops/rnn.hpp>
#include <adze/ops/sample.hpp>
#include <adze/ops/slice.hpp>
#include <adze/ops/softmax.hpp>
#include <adze/ops/sort.hpp>

namespace adze::inline ADZE_ISA {

// One list per family, in the order of the headers.
using arithmetic_ops =
    types<binary<functors::add_f>, binary<functors::sub_f>, binary<functors::mul_f>,
          binary<functors::div_f>, binary<functors::pow_f>, binary<functors::maximum_f>,
          binary<functors::minimum_f>, binary<functors::lerp_f>, unary<functors::add_scalar_f>,
          unary<functors::mul_scalar_f>, unary<functors::div_scalar_f>,
          unary<functors::from_scalar_f>, unary<functors::scalar_div_f>,
          unary<functors::pow_scalar_f>, unary<functors::maximum_scalar_f>,
          unary<functors::minimum_scalar_f>, unary<functors::clamp_f>, fill_op<>>;
using function_ops =
    types<unary<functors::neg_f>, unary<functors::abs_f>, unary<functors::sign_f>,
          unary<functors::step_f>, unary<functors::floor_f>, unary<functors::ceil_f>,
          unary<functors::round_f>, unary<functors::square_f>, unary<functors::sqrt_f>,
          unary<functors::rsqrt_f>, unary<functors::reciprocal_f>, unary<functors::exp_f>,
          unary<functors::expm1_f>, unary<functors::log_f>, unary<functors::log2_f>,
          unary<functors::log1p_f>, unary<functors::sin_f>, unary<functors::cos_f>,
          unary<functors::erf_f>>;
using comparison_ops = types<comparison<functors::equal_f>, comparison<functors::not_equal_f>,
                             comparison<functors::less_f>, comparison<functors::less_equal_f>,
                             comparison<functors::and_f>, comparison<functors::or_f>, where_op<>>;
using activation_ops =
    types<unary<functors::relu_f>, unary<functors::hardtanh_f>, unary<functors::leaky_relu_f>,
          binary<functors::prelu_f>, unary<functors::elu_f>, unary<functors::sigmoid_f>,
          unary<functors::tanh_f>, unary<functors::gelu_f>, unary<functors::gelu_tanh_f>,
          unary<functors::silu_f>, unary<functors::softplus_f>, unary<functors::log_sigmoid_f>,
          unary<functors::mish_f>, unary<functors::softsign_f>, unary<functors::hardsigmoid_f>,
          unary<functors::hardswish_f>, dropout_op<>>;
using layout_ops =
    types<cast_op<>, clone_op<>, contiguous_op<>, detach_op<>, reshape_op<>, flatten_op<>,
          transpose_op<>, permute_op<>, expand_op<>, squeeze_op<>, unsqueeze_op<>, slice_op<>,
          unslice_op<>, select_op<>, split_op<>, concat_op<>, flip_op<>, pad_op<>, triangle_op<>>;
using index_ops =
    types<gather_op<>, scatter_any<false>, scatter_any<true>, scatter_fill_op<>, index_select_op<>,
          index_any<true>, index_fill_op<>, index_any<false>, one_hot_op<>, embedding_op<>>;
using reduction_ops =
    types<sum_op<>, mean_op<>, sum_to_op<>, var_op<>, std_dev_op<>, norm_op<>, logsumexp_op<>,
          cumsum_op<>, extreme<kernels::folds::largest>, extreme<kernels::folds::smallest>,
          prod_op<>, truth_op<kernels::folds::smallest>, truth_op<kernels::folds::largest>,
          extreme_along_op<>, arg_extreme_op<>, topk_op<>, quantile_op<>, multinomial_op<>>;
using product_ops =
    types<matmul_op<>, linear_op<>, conv2d_op<>, conv_transpose2d_op<>, conv2d_weight_gradient_op<>,
          attention_op<>, rnn_op<>, lstm_op<>, gru_op<>>;
using pool_ops = types<max_pool2d_op<>, avg_pool2d_op<>, avg_pool2d_gradient_op<>, pool_gather_op<>,
                       pool_scatter_op<>>;
using norm_ops = types<layer_norm_op<>, rms_norm_op<>, group_norm_op<>, batch_norm_op<>,
                       batch_norm_eval_op<>, batch_norm_act_op<>, softmax_op<>, log_softmax_op<>>;
using loss_ops = types<cross_entropy_op<>, nll_loss_op<>, mse_loss_op<>, binary_cross_entropy_op<>,
                       bce_with_logits_op<>>;

}  // namespace adze::inline ADZE_ISA

namespace adze::detail {
template <class... L> struct joined_types;
template <class... A> struct joined_types<types<A...>> { using type = types<A...>; };
template <class... A, class... B, class... L>
struct joined_types<types<A...>, types<B...>, L...> : joined_types<types<A..., B...>, L...> {};
}  // namespace adze::detail

namespace adze::inline ADZE_ISA {

using op_list =
    detail::joined_types<arithmetic_ops, function_ops, comparison_ops, activation_ops, layout_ops,
                         index_ops, reduction_ops, product_ops, pool_ops, norm_ops, loss_ops>::type;

}  // namespace adze::inline ADZE_ISA
