#pragma once
// SPDX-License-Identifier: MIT
// Every public op, declared (each is defined in its family's header, so that one family can call
// another without including it first): here those of tensors, in fwd_reduce.hpp those that
// go along axes, in fwd_inplace.hpp changes in place, in fwd_layers.hpp layers, in fwd_losses.hpp
// losses. What is returned is not dropped.
// Names, argument meaning and defaults are PyTorch's. Docstrings stand at the definitions. All are
// templates, with nothing to choose, because a compiler instantiates all that plain inline
// functions mention, called or not: a file pays for the ops it uses (`#include <adze/adze.hpp>` 4.4
// -> 2.8 s).
#include <initializer_list>
#include <limits>
#include <span>
#include <vector>

#include <adze/autograd/fwd.hpp>
#include <adze/ops/fwd_inplace.hpp>
#include <adze/ops/fwd_layers.hpp>
#include <adze/ops/fwd_losses.hpp>
#include <adze/ops/fwd_reduce.hpp>

namespace adze {

enum class gelu_form : std::uint8_t { erf, tanh };

}  // namespace adze

namespace adze::inline ADZE_ISA {

// arithmetic.hpp: with broadcasting; a double stands for a scalar of the tensor's type.
template <class = void> [[nodiscard]] tensor sub(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor div(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor pow(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor maximum(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor minimum(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor add(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor mul(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor pow(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor maximum(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor minimum(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor clamp(const tensor& x, double low, double high);
template <class = void> [[nodiscard]] tensor clamp_min(const tensor& x, double low);
template <class = void> [[nodiscard]] tensor clamp_max(const tensor& x, double high);
template <class = void> [[nodiscard]] tensor lerp(const tensor& a, const tensor& b, double weight);
template <class = void> [[nodiscard]] tensor operator+(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator-(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator*(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator/(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator+(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor operator-(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor operator*(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor operator/(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor operator+(double a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator-(double a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator*(double a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator/(double a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator-(const tensor& x);
// pointwise.hpp: functions of one tensor.
template <class = void> [[nodiscard]] tensor neg(const tensor& x);
template <class = void> [[nodiscard]] tensor abs(const tensor& x);
template <class = void> [[nodiscard]] tensor sign(const tensor& x);
template <class = void> [[nodiscard]] tensor step(const tensor& x);
template <class = void> [[nodiscard]] tensor floor(const tensor& x);
template <class = void> [[nodiscard]] tensor ceil(const tensor& x);
template <class = void> [[nodiscard]] tensor round(const tensor& x);
template <class = void> [[nodiscard]] tensor square(const tensor& x);
template <class = void> [[nodiscard]] tensor sqrt(const tensor& x);
template <class = void> [[nodiscard]] tensor rsqrt(const tensor& x);
template <class = void> [[nodiscard]] tensor reciprocal(const tensor& x);
template <class = void> [[nodiscard]] tensor exp(const tensor& x);
template <class = void> [[nodiscard]] tensor expm1(const tensor& x);
template <class = void> [[nodiscard]] tensor log(const tensor& x);
template <class = void> [[nodiscard]] tensor log2(const tensor& x);
template <class = void> [[nodiscard]] tensor log1p(const tensor& x);
template <class = void> [[nodiscard]] tensor sin(const tensor& x);
template <class = void> [[nodiscard]] tensor cos(const tensor& x);
template <class = void> [[nodiscard]] tensor erf(const tensor& x);
// compare.hpp: bool8 results, no gradient.
template <class = void> [[nodiscard]] tensor equal(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator==(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator!=(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator<(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator<=(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator>(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator>=(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator==(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor operator!=(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor operator<(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor operator<=(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor operator>(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor operator>=(const tensor& a, double b);
template <class = void> [[nodiscard]] tensor operator!(const tensor& a);
template <class = void> [[nodiscard]] tensor operator&&(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor operator||(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor isnan(const tensor& x);
template <class = void> [[nodiscard]] tensor isfinite(const tensor& x);
template <class = void> [[nodiscard]] tensor isinf(const tensor& x);
template <class = void>
[[nodiscard]] tensor where(const tensor& condition, const tensor& a, const tensor& b);
template <class = void>
[[nodiscard]] tensor where(const tensor& condition, const tensor& a, double b);
template <class = void>
[[nodiscard]] tensor where(const tensor& condition, double a, const tensor& b);
template <class = void> [[nodiscard]] tensor where(const tensor& condition, double a, double b);
// close.hpp
struct close_options {
  double rtol = 1e-5, atol = 1e-8;
  bool equal_nan = false;
};
template <class = void>
[[nodiscard]] tensor isclose(const tensor& a, const tensor& b, const close_options& o = {});
template <class = void>
[[nodiscard]] bool allclose(const tensor& a, const tensor& b, const close_options& o = {});

// activation.hpp
template <class = void> [[nodiscard]] tensor relu(const tensor& x);
template <class = void> [[nodiscard]] tensor relu6(const tensor& x);
template <class = void>
[[nodiscard]] tensor leaky_relu(const tensor& x, double negative_slope = 0.01);
template <class = void> [[nodiscard]] tensor prelu(const tensor& x, const tensor& weight);
template <class = void> [[nodiscard]] tensor elu(const tensor& x, double alpha = 1.0);
template <class = void> [[nodiscard]] tensor selu(const tensor& x);
template <class = void> [[nodiscard]] tensor celu(const tensor& x, double alpha = 1.0);
template <class = void> [[nodiscard]] tensor gelu(const tensor& x, gelu_form form = gelu_form::erf);
template <class = void> [[nodiscard]] tensor silu(const tensor& x);
template <class = void> [[nodiscard]] tensor mish(const tensor& x);
template <class = void>
[[nodiscard]] tensor softplus(const tensor& x, double beta = 1.0, double threshold = 20.0);
template <class = void> [[nodiscard]] tensor softsign(const tensor& x);
template <class = void> [[nodiscard]] tensor sigmoid(const tensor& x);
template <class = void> [[nodiscard]] tensor log_sigmoid(const tensor& x);
template <class = void> [[nodiscard]] tensor tanh(const tensor& x);
template <class = void>
[[nodiscard]] tensor hardtanh(const tensor& x, double low = -1.0, double high = 1.0);
template <class = void> [[nodiscard]] tensor hardsigmoid(const tensor& x);
template <class = void> [[nodiscard]] tensor hardswish(const tensor& x);

// layout.hpp: views where possible.
template <class = void> [[nodiscard]] tensor clone(const tensor& x);
template <class = void> [[nodiscard]] tensor contiguous(const tensor& x);
template <class = void> [[nodiscard]] tensor detach(const tensor& x);
template <class = void>
[[nodiscard]] tensor reshape(const tensor& x, const index_list& sizes);  // one size may be -1
template <class = void>
[[nodiscard]] tensor flatten(const tensor& x, index_t first = 0, index_t last = -1);
template <class = void>
[[nodiscard]] tensor transpose(const tensor& x, index_t a = -2, index_t b = -1);
template <class = void> [[nodiscard]] tensor permute(const tensor& x, const axes& order);
template <class = void>
[[nodiscard]] tensor movedim(const tensor& x, const axes& from, const axes& to);
template <class = void>
[[nodiscard]] tensor expand(const tensor& x, const index_list& sizes);  // -1 keeps a size
template <class = void> [[nodiscard]] tensor squeeze(const tensor& x, index_t axis);
template <class = void> [[nodiscard]] tensor unsqueeze(const tensor& x, index_t axis);
struct slice_range {
  index_t start = 0;
  index_t stop = std::numeric_limits<index_t>::max();
  index_t step = 1;
};
template <class = void>
[[nodiscard]] tensor slice(const tensor& x, index_t axis, const slice_range& range);
template <class = void> [[nodiscard]] tensor select(const tensor& x, index_t axis, index_t index);
template <class = void>
[[nodiscard]] tensor narrow(const tensor& x, index_t axis, index_t start, index_t length);
template <class = void> [[nodiscard]] tensor flip(const tensor& x, const axes& which);
template <class = void>
[[nodiscard]] tensor pad(const tensor& x, const std::vector<index_t>& amounts, double value = 0.0);
template <class = void> [[nodiscard]] tensor concat(tensor_list x, index_t axis = 0);
template <class = void>
[[nodiscard]] tensor concat(std::initializer_list<tensor> x, index_t axis = 0);
template <class = void> [[nodiscard]] tensor stack(tensor_list x, index_t axis = 0);
template <class = void>
[[nodiscard]] tensor stack(std::initializer_list<tensor> x, index_t axis = 0);
template <class = void>
[[nodiscard]] std::vector<tensor> split(const tensor& x, index_t size, index_t axis = 0);
template <class = void>
[[nodiscard]] std::vector<tensor> split(const tensor& x, const std::vector<index_t>& sizes,
                                        index_t axis = 0);
template <class = void>
[[nodiscard]] std::vector<tensor> chunk(const tensor& x, index_t count, index_t axis = 0);
template <class = void> [[nodiscard]] tensor repeat(const tensor& x, const index_list& counts);
template <class = void>
[[nodiscard]] tensor roll(const tensor& x, const index_list& shifts, const axes& which = {});
template <class = void> [[nodiscard]] tensor tril(const tensor& x, index_t diagonal = 0);
template <class = void> [[nodiscard]] tensor triu(const tensor& x, index_t diagonal = 0);
template <class = void> [[nodiscard]] tensor diag(const tensor& x, index_t diagonal = 0);
// gather.hpp, nonzero.hpp: by integer indices.
template <class = void>
[[nodiscard]] tensor gather(const tensor& x, index_t axis, const tensor& index);
template <class = void>
[[nodiscard]] tensor scatter(const tensor& x, index_t axis, const tensor& index,
                             const tensor& source);
template <class = void>
[[nodiscard]] tensor scatter_add(const tensor& x, index_t axis, const tensor& index,
                                 const tensor& source);
template <class = void>
[[nodiscard]] tensor index_select(const tensor& x, index_t axis, const tensor& index);
template <class = void>
[[nodiscard]] tensor index_add(const tensor& x, index_t axis, const tensor& index,
                               const tensor& source);
// places.hpp: the same, of numbers and of slices.
template <class = void>
[[nodiscard]] tensor scatter(const tensor& x, index_t axis, const tensor& index, double value);
template <class = void>
[[nodiscard]] tensor index_fill(const tensor& x, index_t axis, const tensor& index, double value);
template <class = void>
[[nodiscard]] tensor index_copy(const tensor& x, index_t axis, const tensor& index,
                                const tensor& source);
template <class = void>
[[nodiscard]] tensor masked_fill(const tensor& x, const tensor& mask, double value);
template <class = void> [[nodiscard]] tensor nonzero(const tensor& x);
template <class = void> [[nodiscard]] tensor masked_select(const tensor& x, const tensor& mask);
template <class = void> [[nodiscard]] tensor one_hot(const tensor& index, index_t classes);

// matmul.hpp, linear.hpp
template <class = void> [[nodiscard]] tensor matmul(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor outer(const tensor& a, const tensor& b);
template <class = void>
[[nodiscard]] tensor linear(const tensor& x, const tensor& weight, const tensor& bias = {});

}  // namespace adze::inline ADZE_ISA
