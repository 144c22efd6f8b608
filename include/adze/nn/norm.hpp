#pragma once
// SPDX-License-Identifier: MIT
// Normalisation layers: nn::batch_norm2d bn{{.channels = 16}}; nn::layer_norm ln{{.sizes = {512}}};
// Names, first values and running statistics are PyTorch's.
#include <adze/nn/linear.hpp>
#include <adze/ops/batch_norm_act.hpp>
#include <adze/ops/norm.hpp>

namespace adze::nn {

struct batch_norm_layer_options {
  index_t channels = 0;
  double eps = 1e-5;
  double momentum = 0.1;
  bool affine = true;  // weight and bias
  bool track = true;   // running statistics for evaluation; without, batches normalise themselves
  dtype type = f32;
};

struct layer_norm_options {
  shape sizes{};  // of the last axes
  double eps = 1e-5;
  bool affine = true;
  bool bias = true;
  dtype type = f32;
};

struct rms_norm_options {
  shape sizes{};
  std::optional<double> eps{};  // none: the epsilon of the input's dtype
  bool affine = true;
  dtype type = f32;
};

struct group_norm_options {
  index_t groups = 1, channels = 0;
  double eps = 1e-5;
  bool affine = true;
  dtype type = f32;
};

struct instance_norm_options {
  index_t channels = 0;
  double eps = 1e-5;
  bool affine = false;
  dtype type = f32;
};

}  // namespace adze::nn

namespace adze::detail::inline ADZE_ISA {

inline void start_norm(tensor& weight, tensor* bias, const shape& sizes, dtype type) {
  weight = ones(sizes, type).set_requires_grad();
  if (bias != nullptr) *bias = zeros(sizes, type).set_requires_grad();
}

// For layers without a weight; with one the op compares the sizes.
inline void check_last_axes(std::string_view layer, const tensor& x, const shape& sizes) {
  const index_t first = x.rank() - sizes.rank();
  bool same = first >= 0;
  for (index_t i = 0; same && i < sizes.rank(); ++i) same = x.shape()[first + i] == sizes[i];
  if (!same) raise<shape_error>(layer, ": the last axes must have the sizes ", sizes, "; got ", x);
}

inline void check_images(std::string_view layer, const tensor& x, index_t channels) {
  if (x.rank() != 4 || x.shape()[1] != channels) {
    raise<shape_error>(layer, ": takes [n, ", channels, ", h, w]; got ", x);
  }
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::nn::inline ADZE_ISA {

// What batch_norm1d, batch_norm2d and batch_norm_act2d share. In training each call moves the
// running statistics.
struct batch_norm_layer {
  batch_norm_layer_options options{};
  tensor weight{}, bias{}, running_mean{}, running_var{}, num_batches_tracked{};
  bool training = true;

  explicit batch_norm_layer(const batch_norm_layer_options& o) : options(o) {
    detail::check_layer_size("nn::batch_norm", "channels", o.channels);
    if (o.affine) detail::start_norm(weight, &bias, {o.channels}, o.type);
    if (!o.track) return;
    running_mean = zeros({o.channels}, o.type);
    running_var = ones({o.channels}, o.type);
    num_batches_tracked = zeros({}, i64);
  }
  void visit(auto&& f) {
    f("weight", weight);
    f("bias", bias);
    f("running_mean", buffer{running_mean});
    f("running_var", buffer{running_var});
    f("num_batches_tracked", buffer{num_batches_tracked});
    f("training", training);
  }

 protected:
  bool by_batch() const { return training || !running_mean.defined(); }
  template <class = void> tensor normalized(const tensor& x) const {
    const tensor y =
        batch_norm(x, weight, bias, running_mean, running_var,
                   {.training = by_batch(), .momentum = options.momentum, .eps = options.eps});
    count_batch();
    return y;
  }
  template <class = void> void count_batch() const {
    if (!training || !num_batches_tracked.defined() || detail::state.recomputing) return;
    tensor count = num_batches_tracked;
    init::constant_(count, count.item() + 1);
  }
};

// [n, channels] or [n, channels, l].
struct batch_norm1d : batch_norm_layer {
  using batch_norm_layer::batch_norm_layer;
  template <class = void> tensor operator()(const tensor& x) const {
    const index_t c = options.channels;
    if ((x.rank() != 2 && x.rank() != 3) || x.shape()[1] != c) {
      raise<shape_error>("nn::batch_norm1d: takes [n, ", c, "] or [n, ", c, ", l]; got ", x);
    }
    return normalized(x);
  }
};

// [n, channels, h, w].
struct batch_norm2d : batch_norm_layer {
  using batch_norm_layer::batch_norm_layer;
  template <class = void> tensor operator()(const tensor& x) const {
    detail::check_images("nn::batch_norm2d", x, options.channels);
    return normalized(x);
  }
};

// batch_norm2d, then ReLU or ReLU6, as one op in training: norm(x), or norm(x, residual) for
// relu(norm(x) + residual). Parameters and state_dict are batch_norm2d's.
struct batch_norm_act2d : batch_norm_layer {
  norm_activation act = norm_activation::relu;
  explicit batch_norm_act2d(const batch_norm_layer_options& o,
                            norm_activation a = norm_activation::relu)
      : batch_norm_layer(o), act(a) {}
  template <class = void> tensor operator()(const tensor& x, const tensor& residual = {}) const {
    detail::check_images("nn::batch_norm_act2d", x, options.channels);
    const tensor y = batch_norm_act(
        x, weight, bias, running_mean, running_var, residual,
        {.act = act, .training = by_batch(), .momentum = options.momentum, .eps = options.eps});
    count_batch();
    return y;
  }
};

// Over the last axes, whose sizes are given.
struct layer_norm {
  layer_norm_options options{};
  tensor weight{}, bias{};

  explicit layer_norm(const layer_norm_options& o) : options(o) {
    detail::check_layer_size("nn::layer_norm", "the number of axes", o.sizes.rank());
    if (o.affine) detail::start_norm(weight, o.bias ? &bias : nullptr, o.sizes, o.type);
  }
  template <class = void> tensor operator()(const tensor& x) const {
    if (!weight.defined()) detail::check_last_axes("nn::layer_norm", x, options.sizes);
    return adze::layer_norm(x, options.sizes.rank(), weight, bias, options.eps);
  }
  void visit(auto&& f) {
    f("weight", weight);
    f("bias", bias);
  }
};

struct rms_norm {
  rms_norm_options options{};
  tensor weight{};

  explicit rms_norm(const rms_norm_options& o) : options(o) {
    detail::check_layer_size("nn::rms_norm", "the number of axes", o.sizes.rank());
    if (o.affine) detail::start_norm(weight, nullptr, o.sizes, o.type);
  }
  template <class = void> tensor operator()(const tensor& x) const {
    if (!weight.defined()) detail::check_last_axes("nn::rms_norm", x, options.sizes);
    return adze::rms_norm(x, options.sizes.rank(), weight, options.eps);
  }
  void visit(auto&& f) { f("weight", weight); }
};

// [n, channels, ...].
struct group_norm {
  group_norm_options options{};
  tensor weight{}, bias{};

  explicit group_norm(const group_norm_options& o) : options(o) {
    detail::check_layer_size("nn::group_norm", "channels", o.channels);
    detail::check_layer_size("nn::group_norm", "groups", o.groups);
    if (o.channels % o.groups != 0) {
      raise<value_error>("nn::group_norm: groups must divide the channels; got ", o.groups, " and ",
                         o.channels);
    }
    if (o.affine) detail::start_norm(weight, &bias, {o.channels}, o.type);
  }
  template <class = void> tensor operator()(const tensor& x) const {
    if (x.rank() < 2 || x.shape()[1] != options.channels) {
      raise<shape_error>("nn::group_norm: takes [n, ", options.channels, ", ...]; got ", x);
    }
    return adze::group_norm(x, options.groups, weight, bias, options.eps);
  }
  void visit(auto&& f) {
    f("weight", weight);
    f("bias", bias);
  }
};

// [n, channels, h, w]; without running statistics, and as in PyTorch without weights by default.
struct instance_norm2d {
  instance_norm_options options{};
  tensor weight{}, bias{};

  explicit instance_norm2d(const instance_norm_options& o) : options(o) {
    detail::check_layer_size("nn::instance_norm2d", "channels", o.channels);
    if (o.affine) detail::start_norm(weight, &bias, {o.channels}, o.type);
  }
  template <class = void> tensor operator()(const tensor& x) const {
    detail::check_images("nn::instance_norm2d", x, options.channels);
    return instance_norm(x, weight, bias, options.eps);
  }
  void visit(auto&& f) {
    f("weight", weight);
    f("bias", bias);
  }
};

}  // namespace adze::nn::inline ADZE_ISA
