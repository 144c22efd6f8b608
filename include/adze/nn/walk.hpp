#pragma once
// SPDX-License-Identifier: MIT
// What makes a struct a module, and the walk over one that all readers share (module.hpp).
// A model holds its layers and tensors as members and names them in one function:
//   void visit(auto&& f) { f("fc1", fc1); f("weight", weight); f("mean", nn::buffer{mean}); }
// A tensor is a parameter, a buffer is state without gradient, a bool is the training flag; nested
// modules, and optional, unique_ptr, vector, array or map of modules, may be named too (a map's
// keys are names). Undefined tensors are absent. Layers without visit() must be known to have no
// state. Copying a model shares its tensors; clone() copies them.
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <adze/simd/arch.hpp>
#include <adze/tensor/tensor.hpp>

namespace adze {

namespace nn {

// Marks a tensor in visit() as state that is saved and moved, but not trained.
struct buffer {
  tensor& value;
};

}  // namespace nn

namespace detail {

struct visit_probe {
  template <class T> void operator()(std::string_view, T&&) const {}
};

}  // namespace detail

template <class M>
concept module = requires(std::remove_const_t<M>& m, const detail::visit_probe& f) {
  m.visit(f);
};

// A layer that certainly holds no tensor: an empty class, a function, or one whose data are options
// and that says so (`static constexpr bool stateless = true`).
template <class L>
concept stateless_layer =
    std::is_empty_v<L> || std::is_function_v<std::remove_pointer_t<L>> || requires {
  requires L::stateless;
};

}  // namespace adze

namespace adze::detail::inline ADZE_ISA {

template <class M>
concept ordered_map = requires {
  typename M::mapped_type;
  typename M::key_compare;
};

// What the walk over a model finds. Names are kept only for named walks.
struct module_tensor {
  std::string name;
  tensor* value;
  bool parameter;
};
struct module_parts {
  std::vector<module_tensor> tensors;
  std::vector<bool*> training;
};

// The visitor that all readers share: only this much of them is instantiated per model.
class module_walker {
 public:
  module_walker(module_parts& out, bool named) : out_(out), named_(named) {}

  template <class T> void operator()(std::string_view name, T&& part) const {
    const std::size_t before = path_.size();
    if (named_) enter(name);
    take(part);
    path_.resize(before);
  }

 private:
  [[gnu::cold]] void enter(std::string_view name) const {
    if (!path_.empty()) path_ += '.';
    path_ += name;
  }
  void take(tensor& x) const { keep(x, true); }
  void take(nn::buffer& b) const { keep(b.value, false); }
  void take(bool& training) const { out_.training.push_back(&training); }
  template <class M> void take(std::optional<M>& m) const {
    if (m.has_value()) take(*m);
  }
  template <class M> void take(std::unique_ptr<M>& m) const {
    if (m != nullptr) take(*m);
  }
  template <class M> void take(std::vector<M>& list) const { take_list(list); }
  template <class M, std::size_t N> void take(std::array<M, N>& list) const { take_list(list); }
  template <class M> void take(M& m) const {
    if constexpr (module<M>) {
      m.visit(*this);
    } else if constexpr (ordered_map<M>) {
      for (auto& [name, part] : m) (*this)(name, part);
    } else if constexpr (std::is_invocable_v<M&, const tensor&>) {
      static_assert(stateless_layer<M>,
                    "adze module: this layer has data but no public visit(auto&&): add one, or say "
                    "`static constexpr bool stateless = true` if none of the data is a tensor");
    } else {
      static_assert(std::is_invocable_v<M&, const tensor&>,
                    "adze module: visit() names something that is neither a tensor, nn::buffer, "
                    "bool, module or layer, nor an optional, unique_ptr, vector, array or map of "
                    "them (maps with names as keys; nn::any_layer holds a layer of any type)");
    }
  }
  template <class L> void take_list(L& list) const {
    for (std::size_t i = 0; i < list.size(); ++i) (*this)(named_ ? std::to_string(i) : "", list[i]);
  }
  [[gnu::cold, gnu::noinline]] void keep(tensor& x, bool parameter) const {
    if (x.defined()) out_.tensors.push_back({path_, &x, parameter});
  }

  module_parts& out_;
  bool named_;
  mutable std::string path_;
};

// The one place where constness is cast away: readers hand out copies of handles only.
template <module M> [[gnu::cold]] module_parts parts_of(const M& model, bool named = false) {
  module_parts parts;
  const_cast<M&>(model).visit(module_walker(parts, named));
  return parts;
}

}  // namespace adze::detail::inline ADZE_ISA
