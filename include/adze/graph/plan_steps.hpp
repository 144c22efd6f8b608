#pragma once
// SPDX-License-Identifier: MIT
// How a plan runs the ops of the library where it can do better than their forward: constants in
// the form that kernels read, and nothing kept for gradients. An op above the graph brings its own
// way by a member `prepare`.
#include <adze/graph/residual.hpp>
#include <adze/kernels/gemm_packed.hpp>
#include <adze/ops/pool.hpp>

namespace adze::detail::inline ADZE_ISA {

// Copies of what ops hold as state: later loading into the graph must not show.
template <class = void> void own_states(graph& g) {
  for (graph_step& s : g.steps) {
    if (s.op.info().visit == nullptr) continue;
    s.op.info().visit(s.op.data(), [](std::string_view, tensor& x) {
      if (x.defined()) x = plain_copy(x, x.dtype());
    });
  }
}

// A step from a function f(in) that returns the result or an array of them; `holds` names the
// inputs that it keeps in its own form, of so many bytes.
template <class F> class made_step final : public prepared_step {
 public:
  made_step(F f, value_set holds, index_t bytes) : f_(std::move(f)) {
    taken = holds.bits;
    held_bytes = bytes;
  }
  void run(const tensor* const* in, results& out) const override { out.take(f_(in)); }

 private:
  F f_;
};
template <class F>
std::unique_ptr<prepared_step> make_step(F f, value_set holds = values::nothing,
                                         index_t bytes = 0) {
  return std::make_unique<made_step<F>>(std::move(f), holds, bytes);
}

// Without the positions that a gradient would need.
template <class = void> std::unique_ptr<prepared_step> prepare_max_pool(const max_pool2d_op<>& op) {
  return make_step([op](const tensor* const* in) {
    const tensor& x = *in[0];
    const auto part = [&](const tensor& from, tensor& y, index_t) {
      dispatch(float_types{}, from.dtype(), op.name, [&]<class T>() {
        kernels::max_pool<T>(pool_shape_of(op.geometry, from.shape()), image_of<T>(from),
                             image_of<T>(y), {});
      });
    };
    return over_images(x, op.result(x.shape()), prefers_rows(x), part);
  });
}

// The dense layer with its weight packed. Sums run in another order than the op's where its product
// is not one of tiles: results may differ in the last bits.
template <class = void>
std::unique_ptr<prepared_step> prepare_linear(const graph_step& s, const tensor& weight) {
  kernels::packed_right<float> w(matrix_of<float>(weight).transposed());
  const index_t bytes = w.bytes();
  return make_step(
      [act = layer_of<linear_op<>>(s.op)->act, adds = s.inputs.size() == 4,
       w = std::move(w)](const tensor* const* in) {
        const tensor rows = feature_rows(*in[0], f32);
        const auto plain = [](const tensor& x) { return x.defined() ? dense_as(x, f32) : x; };
        const tensor bias = plain(*in[2]), more = adds ? plain(*in[3]) : tensor();
        tensor y = empty(in[0]->shape().with(in[0]->rank() - 1, w.cols()), f32);
        kernels::gemm(matrix_of<float>(rows), w,
                      dense_matrix(y.data_as<float>(), rows.shape()[0], w.cols()),
                      {.bias = bias.defined() ? bias.data_as<float>() : nullptr,
                       .activate = act,
                       .residual = adds ? more.data_as<float>() : nullptr});
        return y;
      },
      values::input(1), bytes);
}

// The convolution with its weight in the form that the kernel reads, beside it as it stands, which
// kernels for other strides read. Null where there is no such form.
template <class = void>
std::unique_ptr<prepared_step> prepare_conv(const graph_step& s, const shape& x,
                                            const tensor& weight) {
  const conv2d_op<> op = *layer_of<conv2d_op<>>(s.op);
  const auto* add = s.op.as<layer_add_op<conv2d_op<>>>();
  const tensor dense = dense_as(weight, f32);
  kernels::packed_filter<float> w(conv_shape_of(x, weight.shape(), op.o), dense.data_as<float>());
  const index_t bytes = w.bytes();
  if (bytes == 0) return nullptr;
  return make_step(
      [op, adds = add != nullptr, sum = add != nullptr ? *add : layer_add_op<conv2d_op<>>{},
       w = std::move(w)](const tensor* const* in) {
        return op.onto(adds ? sum.input(*in[3]) : residual_input{}, *in[0], *in[1], *in[2], &w);
      },
      values::nothing, bytes);
}

// The step of a core op, null where its forward is all there is.
template <class = void>
std::unique_ptr<prepared_step> prepare_core_step(const graph& g, const graph_step& s,
                                                 const std::vector<tensor>& constants) {
  if (s.inputs.empty() || s.inputs[0] == no_value) return nullptr;
  const graph_value& x = g.at(s.inputs[0]);
  if (const auto* pool = s.op.as<max_pool2d_op<>>()) {
    if (is_floating(x.type)) return prepare_max_pool(*pool);
  }
  const bool weighs = constants.size() > 1 && constants[1].defined();
  if (!weighs || constants[1].dtype() != f32 || x.type != f32) return nullptr;
  if (layer_of<linear_op<>>(s.op) != nullptr) return prepare_linear(s, constants[1]);
  if (layer_of<conv2d_op<>>(s.op) != nullptr && x.sizes.numel() > 0) {
    return prepare_conv(s, x.sizes, constants[1]);
  }
  return nullptr;
}

}  // namespace adze::detail::inline ADZE_ISA
