#pragma once
// SPDX-License-Identifier: MIT
// Everything that reads or changes a whole model by name; walk.hpp says what a model is.
#include <algorithm>

#include <adze/autograd/accumulate.hpp>
#include <adze/core/pointer_map.hpp>
#include <adze/nn/walk.hpp>
#include <adze/tensor/layout.hpp>

namespace adze {

using named_tensors = std::vector<std::pair<std::string, tensor>>;  // in the order of visit

}  // namespace adze

namespace adze::detail::inline ADZE_ISA {

template <class = void>
named_tensors named(const module_parts& parts, bool parameters, bool buffers) {
  named_tensors list;
  for (const module_tensor& t : parts.tensors) {
    if (t.parameter ? parameters : buffers) list.emplace_back(t.name, *t.value);
  }
  return list;
}

// Without repetition: a tied tensor counts once.
template <class = void>
[[gnu::cold]] std::vector<tensor> unnamed(const module_parts& parts, bool parameters) {
  std::vector<tensor> list;
  const auto seen = [&](const tensor& x) {
    for (const tensor& other : list)
      if (&other.impl() == &x.impl()) return true;
    return false;
  };
  for (const module_tensor& t : parts.tensors)
    if (t.parameter == parameters && !seen(*t.value)) list.push_back(tensor(*t.value));
  return list;
}

// Gives every handle the copy of its tensor, tied ones the same copy; leaves stay leaves.
template <class F> void replace_tensors(const module_parts& parts, F copy) {
  std::vector<tensor> old, copies;  // kept alive, so that no address is used twice
  pointer_map places;
  for (const module_tensor& t : parts.tensors) {
    const tensor x = *t.value;
    old.push_back(x);
    const auto place = places.emplace(&x.impl(), static_cast<index_t>(copies.size()));
    if (place.second) {
      tensor y = copy(x);
      if (x.requires_grad() && !y.requires_grad()) y.set_requires_grad();
      copies.push_back(std::move(y));
    }
    *t.value = copies[static_cast<std::size_t>(place.first->second)];
  }
}

inline tensor plain_copy(const tensor& x, dtype type) {
  tensor y = empty_like(x, type);
  kernels::copy(x.shape(), operand_of(y), operand_of(x));
  return y;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// What a call with something else than a module says, where the list of constraints would be long.
template <class M>
requires(!module<M>) std::vector<tensor> parameters(const M&) {
  static_assert(module<M>, "adze module: this type has no public visit(auto&&): add, for example, "
                           "void visit(auto&& f) { f(\"fc1\", fc1); f(\"fc2\", fc2); }");
  return {};
}

// The trainable tensors in the order of visit, each once; handles on the model's own.
template <module M> std::vector<tensor> parameters(const M& model) {
  return detail::unnamed(detail::parts_of(model), true);
}
// Tensors that are saved and moved with the model but not trained, such as running statistics.
template <module M> std::vector<tensor> buffers(const M& model) {
  return detail::unnamed(detail::parts_of(model), false);
}
// The same with dotted names, e.g. "encoder.0.weight"; a tied tensor appears under each name.
template <module M> named_tensors named_parameters(const M& model) {
  return detail::named(detail::parts_of(model, true), true, false);
}
template <module M> named_tensors named_buffers(const M& model) {
  return detail::named(detail::parts_of(model, true), false, true);
}

// Number of trainable elements; tied tensors count once.
template <module M> [[gnu::cold, gnu::noinline]] index_t count_parameters(const M& model) {
  index_t n = 0;
  for (const tensor& p : parameters(model)) n += p.numel();
  return n;
}

// Training or evaluation mode of every layer that has one (dropout, batch norm).
template <module M> void train(M& model, bool on = true) {
  for (bool* flag : detail::parts_of(model).training) *flag = on;
}
template <module M> void eval(M& model) { train(model, false); }

// Whether the parameters want gradients: false freezes the model or a part of it.
template <module M> void set_requires_grad(M& model, bool on = true) {
  for (tensor& p : parameters(model)) p.set_requires_grad(on);
}

// Forgets the gradients of all parameters.
template <module M> void zero_grad(M& model) {
  for (tensor& p : parameters(model)) {
    if (p.impl().owner != nullptr && p.is_leaf()) p.set_grad({});
  }
}

// A model of its own: every tensor is copied once (tied ones stay tied), gradients are left behind.
template <module M> M clone(const M& model) {
  M copy = model;
  detail::replace_tensors(detail::parts_of(copy),
                          [](const tensor& x) { return detail::plain_copy(x, x.dtype()); });
  return copy;
}

// Converts every floating parameter and buffer to a floating dtype. The tensors are new ones: make
// the optimizer afterwards; copies of the struct made before keep the old ones.
template <module M> void to(M& model, dtype type) {
  if (!is_floating(type)) {
    raise<dtype_error>("to: a model is converted to a floating dtype; got ", type,
                       "; quantization is done on its graph");
  }
  detail::replace_tensors(detail::parts_of(model), [type](const tensor& x) {
    return is_floating(x.dtype()) && x.dtype() != type ? detail::plain_copy(x, type) : x;
  });
}

}  // namespace adze::inline ADZE_ISA
