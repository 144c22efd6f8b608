#pragma once
// SPDX-License-Identifier: MIT
// What an optimizer, a schedule or an average knows, by name: plain tensors and numbers, with
// PyTorch's names joined by dots, and as tensors alone, which io/ can write. Reading checks every
// name before anything changes.
#include <cmath>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <adze/simd/arch.hpp>
#include <adze/tensor/tensor.hpp>

namespace adze::optim {

// The tensors are copies: later steps do not change them.
struct saved_state {
  std::vector<std::pair<std::string, tensor>> tensors{};
  std::vector<std::pair<std::string, double>> numbers{};
};

}  // namespace adze::optim

namespace adze::optim::inline ADZE_ISA {

// A state as a list for a file, which may hold several, each behind a prefix of its own. Numbers
// are tensors of f64 without axes there.
template <class = void>
std::vector<std::pair<std::string, tensor>> to_tensors(const saved_state& s,
                                                       std::string_view prefix = {}) {
  std::vector<std::pair<std::string, tensor>> all;
  for (const auto& [name, x] : s.tensors) all.emplace_back(text(prefix, name), x);
  for (const auto& [name, number] : s.numbers) {
    tensor x = empty({}, f64);
    *x.template data_as<double>() = number;
    all.emplace_back(text(prefix, name), x);
  }
  return all;
}

// The state behind this prefix; other names are passed over.
template <class = void>
saved_state from_tensors(const std::vector<std::pair<std::string, tensor>>& all,
                         std::string_view prefix = {}) {
  saved_state s;
  for (const auto& [name, x] : all) {
    if (!name.starts_with(prefix)) continue;
    const std::string own = name.substr(prefix.size());
    if (x.defined() && x.rank() == 0 && x.dtype() == f64) {
      s.numbers.emplace_back(own, *x.template data_as<double>());
    } else {
      s.tensors.emplace_back(own, x);
    }
  }
  return s;
}

}  // namespace adze::optim::inline ADZE_ISA

namespace adze::optim::detail::inline ADZE_ISA {

inline void check_count(std::string_view op, std::string_view name, index_t n) {
  if (n < 1) raise<value_error>(op, ": ", name, " must be at least 1; got ", n);
}

// Entries by name. `done` refuses names that nobody asked for.
class state_reader {
 public:
  template <class = void> state_reader(const saved_state& from, std::string_view op) : op_(op) {
    for (const auto& [name, value] : from.tensors) add(name, {&value, 0.0, false});
    for (const auto& [name, value] : from.numbers) add(name, {nullptr, value, false});
  }

  bool has(const std::string& name) const { return entries_.contains(name); }
  double number(const std::string& name) {
    entry& e = find(name);
    if (e.value != nullptr) {
      raise<value_error>(op_, ": ", name, " is a tensor; a number was expected");
    }
    return e.number;
  }
  index_t count(const std::string& name) {
    const double n = number(name);
    if (!(n >= 0.0 && n <= 9007199254740992.0) || std::floor(n) != n) {
      raise<value_error>(op_, ": ", name, " must be a whole number from 0 on; got ", n);
    }
    return static_cast<index_t>(n);
  }
  // A tensor of this shape and dtype. One of f64 without axes may have come as a number.
  tensor like(const std::string& name, const shape& sizes, dtype type) {
    entry& e = find(name);
    if (e.value == nullptr && sizes.rank() == 0 && type == f64) {
      tensor x = empty({}, f64);
      *x.template data_as<double>() = e.number;
      return x;
    }
    if (e.value == nullptr || !e.value->defined() || e.value->shape() != sizes ||
        e.value->dtype() != type) {
      raise<value_error>(op_, ": ", name, " must be ", type, sizes, "; got ",
                         e.value == nullptr ? std::string("a number") : to_text(*e.value));
    }
    return *e.value;
  }
  void done() const {
    for (const auto& [name, e] : entries_) {
      if (!e.used) {
        raise<value_error>(op_, ": unexpected ", name, "; was it saved by another kind or set-up?");
      }
    }
  }

 private:
  struct entry {
    const tensor* value;
    double number;
    bool used;
  };
  template <class = void> void add(const std::string& name, entry e) {
    if (!entries_.emplace(name, e).second) raise<value_error>(op_, ": ", name, " appears twice");
  }
  entry& find(const std::string& name) {
    const auto at = entries_.find(name);
    if (at == entries_.end()) {
      raise<value_error>(op_, ": ", name,
                         " is missing; the state must come from the same kind and set-up");
    }
    at->second.used = true;
    return at->second;
  }

  std::string op_;
  std::unordered_map<std::string, entry> entries_;
};

}  // namespace adze::optim::detail::inline ADZE_ISA
