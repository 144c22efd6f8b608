#pragma once
// SPDX-License-Identifier: MIT
// Layers whose types are known only when the program runs:
//   nn::sequential_list net;
//   for (index_t width : widths) net.append(nn::linear{{.in = in, .out = width}}), in = width;
//   net.append(nn::relu{});
// nn::any_layer is one such layer, also for lists and maps of a model's own. Both are modules with
// the names, order and state_dict of nn::sequential.
#include <memory>

#include <adze/nn/module.hpp>

namespace adze::nn::inline ADZE_ISA {

// A layer from tensor to tensor, of any type. Copies are layers of their own that share tensors, as
// copies of the layer do.
class any_layer {
 public:
  template <class L>
  requires(!std::is_same_v<L, any_layer> && std::is_invocable_r_v<tensor, L&, const tensor&>)
      any_layer(L layer)
      : held_(std::make_unique<holder<L>>(std::move(layer))) {}
  any_layer(const any_layer& o) : held_(o.held_->copy()) {}
  any_layer(any_layer&&) noexcept = default;
  any_layer& operator=(any_layer o) noexcept {
    held_ = std::move(o.held_);
    return *this;
  }
  ~any_layer() = default;

  tensor operator()(const tensor& x) const { return held_->call(x); }

  // The layer itself where it is an L, else null: net[0].as<nn::linear>()->weight.
  template <class L> L* as() {
    auto* h = dynamic_cast<holder<L>*>(held_.get());
    return h == nullptr ? nullptr : &h->layer;
  }
  template <class L> const L* as() const { return const_cast<any_layer&>(*this).as<L>(); }

  // The tensors of the layer under their dotted names, then its training flags.
  void visit(auto&& f) {
    const detail::module_parts parts = held_->parts();
    for (const detail::module_tensor& t : parts.tensors) {
      if (t.parameter) {
        f(t.name, *t.value);
      } else {
        f(t.name, buffer{*t.value});
      }
    }
    for (bool* training : parts.training) f("training", *training);
  }

 private:
  struct face {
    virtual ~face() = default;
    virtual tensor call(const tensor& x) = 0;
    virtual std::unique_ptr<face> copy() const = 0;
    virtual detail::module_parts parts() = 0;
  };
  template <class L> struct holder final : face {
    L layer;
    explicit holder(L l) : layer(std::move(l)) {}
    tensor call(const tensor& x) override { return layer(x); }
    std::unique_ptr<face> copy() const override { return std::make_unique<holder>(layer); }
    detail::module_parts parts() override {
      detail::module_parts found;
      detail::module_walker(found, true)("", layer);
      return found;
    }
  };
  std::unique_ptr<face> held_;
};

// Layers one after the other, as many as a loop makes; names are "0", "1", ... An empty one is the
// identity.
struct sequential_list {
  std::vector<any_layer> layers{};

  sequential_list& append(any_layer layer) {
    layers.push_back(std::move(layer));
    return *this;
  }
  index_t size() const { return static_cast<index_t>(layers.size()); }
  any_layer& operator[](index_t i) { return layers.at(static_cast<std::size_t>(i)); }
  const any_layer& operator[](index_t i) const { return layers.at(static_cast<std::size_t>(i)); }

  tensor operator()(const tensor& x) const {
    tensor y = x;
    for (const any_layer& layer : layers) y = layer(y);
    return y;
  }
  void visit(auto&& f) {
    for (std::size_t i = 0; i < layers.size(); ++i) f(std::to_string(i), layers[i]);
  }
};

}  // namespace adze::nn::inline ADZE_ISA
