#pragma once
// SPDX-License-Identifier: MIT
// Activations: functors of a few lines. Names, defaults and the slopes at kinks are PyTorch's; NaN
// passes through all of them.
#include <adze/ops/dense.hpp>

namespace adze::inline ADZE_ISA {

namespace functors {

struct relu_f {  // max(x, 0); slope 0 at 0
  static constexpr std::string_view name = "relu";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::output(0);
  template <class V> V f(const V& x) const { return maximum(x, 0.0); }
  template <class V> V df(const V&, const V& y) const { return step(y); }
  std::int64_t whole(std::int64_t x) const { return x > 0 ? x : 0; }
};
struct hardtanh_f {  // min(max(x, low), high); slope 0 at both ends
  static constexpr std::string_view name = "hardtanh";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::output(0);
  double low = -1.0, high = 1.0;
  template <class V> V f(const V& x) const { return minimum(maximum(x, low), high); }
  template <class V> V df(const V&, const V& y) const { return step(y - low) * step(high - y); }
};
struct leaky_relu_f {
  static constexpr std::string_view name = "leaky_relu";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  double slope = 0.01;
  template <class V> V f(const V& x) const { return where(x > 0.0, x, x * slope); }
  template <class V> V df(const V& x, const V&) const { return step(x) * (1.0 - slope) + slope; }
};
struct elu_f {  // x, or alpha (e^x - 1) below 0
  static constexpr std::string_view name = "elu";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  double alpha = 1.0, scale = 1.0, inner = 1.0;  // selu and celu by the other two
  template <class V> V f(const V& x) const {
    return where(x > 0.0, x, expm1(minimum(x, 0.0) * inner) * alpha) * scale;
  }
  template <class V> V df(const V& x, const V&) const {
    return where(x > 0.0, 1.0, exp(minimum(x, 0.0) * inner) * (alpha * inner)) * scale;
  }
};
struct sigmoid_f {
  static constexpr std::string_view name = "sigmoid";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::output(0);
  template <class V> V f(const V& x) const { return sigmoid(x); }
  template <class V> V df(const V&, const V& y) const { return y * (1.0 - y); }
};
struct tanh_f {
  static constexpr std::string_view name = "tanh";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::output(0);
  template <class V> V f(const V& x) const { return tanh(x); }
  template <class V> V df(const V&, const V& y) const { return 1.0 - y * y; }
};
template <class = void> tensor normal_cdf(const tensor& x) {
  return (erf(x * 0.70710678118654752) + 1.0) * 0.5;
}
struct gelu_f {  // x Phi(x)
  static constexpr std::string_view name = "gelu";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return x * normal_cdf(x); }
  template <class V> V df(const V& x, const V&) const {
    return normal_cdf(x) + x * exp(x * x * -0.5) * 0.39894228040143268;
  }
};
struct gelu_tanh_f {  // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  static constexpr std::string_view name = "gelu_tanh";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  static constexpr double root = 0.79788456080286536;
  template <class V> V inner(const V& x, double factor) const {
    return x * (x * x * (0.044715 * factor) + factor);
  }
  // The same by (1 + tanh(u)) / 2 = 1 / (1 + e^(-2u)).
  template <class V> V f(const V& x) const { return x / (exp(inner(x, -2.0 * root)) + 1.0); }
  template <class V> V df(const V& x, const V&) const {
    const V t = tanh(inner(x, root));
    return (t + 1.0) * 0.5 + x * (1.0 - t * t) * (x * x * 0.134145 + 1.0) * (0.5 * root);
  }
};
struct silu_f {  // x sigmoid(x)
  static constexpr std::string_view name = "silu";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return x * sigmoid(x); }
  template <class V> V df(const V& x, const V&) const {
    const V s = sigmoid(x);
    return s * (x * (1.0 - s) + 1.0);
  }
};
struct softplus_f {  // log(1 + e^(beta x)) / beta, and x where beta x > threshold
  static constexpr std::string_view name = "softplus";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads = values::input(0);
  double beta = 1.0, threshold = 20.0;
  template <class V> V f(const V& x) const {
    const V t = x * beta;
    return where(t > threshold, x, log1p(exp(minimum(t, threshold))) / beta);
  }
  template <class V> V df(const V& x, const V&) const {
    return where(x * beta > threshold, 1.0, sigmoid(x * beta));
  }
};
struct log_sigmoid_f {  // min(x, 0) - log(1 + e^-|x|)
  static constexpr std::string_view name = "log_sigmoid";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return minimum(x, 0.0) - log1p(exp(-abs(x))); }
  template <class V> V df(const V& x, const V&) const { return sigmoid(-x); }
};
struct mish_f {  // x tanh(softplus(x))
  static constexpr std::string_view name = "mish";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V gate(const V& x) const {
    return tanh(maximum(x, 0.0) + log1p(exp(-abs(x))));
  }
  template <class V> V f(const V& x) const { return x * gate(x); }
  template <class V> V df(const V& x, const V&) const {
    const V t = gate(x);
    return t + x * (1.0 - t * t) * sigmoid(x);
  }
};
struct softsign_f {  // x / (1 + |x|)
  static constexpr std::string_view name = "softsign";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return x / (abs(x) + 1.0); }
  template <class V> V df(const V& x, const V&) const {
    const V d = abs(x) + 1.0;
    return 1.0 / (d * d);
  }
};
struct hardsigmoid_f {  // min(max(x + 3, 0), 6) / 6
  static constexpr std::string_view name = "hardsigmoid";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return minimum(maximum(x + 3.0, 0.0), 6.0) / 6.0; }
  template <class V> V df(const V& x, const V&) const {
    return step(x + 3.0) * step(3.0 - x) / 6.0;
  }
};
struct hardswish_f {  // x hardsigmoid(x)
  static constexpr std::string_view name = "hardswish";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const {
    return x * (minimum(maximum(x + 3.0, 0.0), 6.0) / 6.0);
  }
  template <class V> V df(const V& x, const V&) const {
    return where(x >= 3.0, 1.0, where(x <= -3.0, 0.0, x / 3.0 + 0.5));
  }
};
struct prelu_f {  // x, or weight x below 0; prelu() shapes the weight to broadcast by channels
  static constexpr std::string_view name = "prelu";
  static constexpr auto reads =
      gradient_reads(values::input(0) | values::input(1), values::input(0));
  template <class V> V f(const V& x, const V& w) const { return where(x > 0.0, x, x * w); }
  template <class = void>
  std::array<tensor, 2> gradients(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0);
    return {c.wants(0) ? where(x > 0.0, g, g * c.in(1)) : tensor(),
            c.wants(1) ? where(x > 0.0, 0.0, g * x) : tensor()};
  }
};

}  // namespace functors

template <class> tensor relu(const tensor& x) { return record(unary<functors::relu_f>{}, x); }
template <class> tensor hardtanh(const tensor& x, double low, double high) {
  return record(unary<functors::hardtanh_f>{{low, high}}, x);
}
template <class> tensor relu6(const tensor& x) { return hardtanh(x, 0.0, 6.0); }
template <class> tensor leaky_relu(const tensor& x, double negative_slope) {
  return record(unary<functors::leaky_relu_f>{{negative_slope}}, x);
}
// weight: one value, or one per channel (axis 1).
template <class> tensor prelu(const tensor& x, const tensor& weight) {
  shape wide = weight.shape();
  for (index_t i = 2; i < x.rank() && weight.rank() == 1; ++i) wide = wide.inserted(wide.rank(), 1);
  return record(binary<functors::prelu_f>{}, x, reshape(weight, wide));
}
template <class> tensor elu(const tensor& x, double alpha) {
  return record(unary<functors::elu_f>{{alpha}}, x);
}
template <class> tensor selu(const tensor& x) {
  return record(unary<functors::elu_f>{{1.6732632423543772, 1.0507009873554805}}, x);
}
template <class> tensor celu(const tensor& x, double alpha) {
  return record(unary<functors::elu_f>{{alpha, 1.0, 1.0 / alpha}}, x);
}
template <class> tensor gelu(const tensor& x, gelu_form form) {
  return form == gelu_form::erf ? record(unary<functors::gelu_f>{}, x)
                                : record(unary<functors::gelu_tanh_f>{}, x);
}
template <class> tensor silu(const tensor& x) { return record(unary<functors::silu_f>{}, x); }
template <class> tensor mish(const tensor& x) { return record(unary<functors::mish_f>{}, x); }
template <class> tensor softplus(const tensor& x, double beta, double threshold) {
  return record(unary<functors::softplus_f>{{beta, threshold}}, x);
}
template <class> tensor softsign(const tensor& x) {
  return record(unary<functors::softsign_f>{}, x);
}
template <class> tensor sigmoid(const tensor& x) { return record(unary<functors::sigmoid_f>{}, x); }
template <class> tensor log_sigmoid(const tensor& x) {
  return record(unary<functors::log_sigmoid_f>{}, x);
}
template <class> tensor tanh(const tensor& x) { return record(unary<functors::tanh_f>{}, x); }
template <class> tensor hardsigmoid(const tensor& x) {
  return record(unary<functors::hardsigmoid_f>{}, x);
}
template <class> tensor hardswish(const tensor& x) {
  return record(unary<functors::hardswish_f>{}, x);
}

}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {

template <class> tensor relu_gradient(backward_context& c, const tensor& g) {
  return unary<functors::relu_f>{}.backward(c, g);
}

}  // namespace adze::detail::inline ADZE_ISA

// What the gradients above call.
#include <adze/ops/pointwise.hpp>
