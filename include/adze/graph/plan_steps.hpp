#pragma once
// SPDX-License-Identifier: MIT
// How a plan runs the ops of the library where it can do better than their forward: constants in
// the form that kernels read, and nothing kept for gradients. An op above the graph brings its own
// way by a member `prepare`.
#include <adze/graph/graph.hpp>
#include <adze/kernels/gemm_packed.hpp>
#include <adze/ops/conv.hpp>
#include <adze/ops/linear.hpp>
#include <adze/ops/pool.hpp>

namespace adze::detail::inline ADZE_ISA {

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

// With the weight packed. Sums run in another order than the op's where its product is not one of
// tiles: results may differ in the last bits.
template <class T>
std::unique_ptr<prepared_step> prepare_linear(const linear_op<>& op, const tensor& weight) {
  kernels::packed_right<T> w(matrix_of<T>(weight).transposed());
  const index_t bytes = w.bytes();
  return make_step(
      [act = op.act, w = std::move(w)](const tensor* const* in) {
        const tensor rows = feature_rows(*in[0], dtype_of<T>);
        const tensor bias = in[2]->defined() ? dense_as(*in[2], dtype_of<T>) : *in[2];
        tensor y = empty(in[0]->shape().with(in[0]->rank() - 1, w.cols()), dtype_of<T>);
        kernels::gemm<T>(matrix_of<T>(rows), w,
                         dense_matrix(y.data_as<T>(), rows.shape()[0], w.cols()),
                         {.bias = bias.defined() ? bias.data_as<T>() : nullptr, .activate = act});
        return y;
      },
      values::input(1), bytes);
}

// With the weight in the form that the kernel reads beside it as it stands, which kernels for other
// strides read. Null where there is no such form.
template <class = void>
std::unique_ptr<prepared_step> prepare_conv(const conv2d_op<>& op, const shape& x,
                                            const tensor& weight) {
  const tensor dense = dense_as(weight, f32);
  kernels::packed_filter<float> w(conv_shape_of(x, weight.shape(), op.o), dense.data_as<float>());
  const index_t bytes = w.bytes();
  if (bytes == 0) return nullptr;
  return make_step([op, w = std::move(w)](
                       const tensor* const* in) { return op.with(&w, *in[0], *in[1], *in[2]); },
                   values::nothing, bytes);
}

// The step of a core op, null where its forward is all there is.
template <class = void>
std::unique_ptr<prepared_step> prepare_core_step(const graph& g, const graph_step& s,
                                                 const std::vector<tensor>& constants) {
  const auto type_of = [&](std::size_t i) { return g.at(s.inputs[i]).type; };
  if (const auto* pool = s.op.as<max_pool2d_op<>>()) {
    if (is_floating(type_of(0))) return prepare_max_pool(*pool);
  }
  if (const auto* linear = s.op.as<linear_op<>>()) {
    const tensor& w = constants[1];
    if (w.defined() && w.dtype() == f32 && type_of(0) == f32) {
      return prepare_linear<float>(*linear, w);
    }
  }
  if (const auto* conv = s.op.as<conv2d_op<>>()) {
    const tensor& w = constants[1];
    const shape& x = g.at(s.inputs[0]).sizes;
    if (w.defined() && w.dtype() == f32 && type_of(0) == f32 && x.numel() > 0) {
      return prepare_conv(*conv, x, w);
    }
  }
  return nullptr;
}

}  // namespace adze::detail::inline ADZE_ISA
