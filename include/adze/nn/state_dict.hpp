#pragma once
// SPDX-License-Identifier: MIT
// The tensors of a model by name, out of it and back into it. Names, order and shapes are those of
// PyTorch's state_dict; io/ reads and writes such lists.
#include <unordered_map>

#include <adze/nn/module.hpp>

namespace adze {

struct load_options {
  // false: names that are missing or unexpected are only reported. Counts of batches may be missing
  // in any case: lists from before PyTorch 0.4.1 have none.
  bool strict = true;
};
struct load_report {
  std::vector<std::string> missing{};     // in the model, not in the list: left as they are
  std::vector<std::string> unexpected{};  // in the list, not in the model: not used
};

}  // namespace adze

namespace adze::detail::inline ADZE_ISA {

template <class = void>
void refuse_doubles(std::string_view op, std::vector<std::string_view> names) {
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    raise<value_error>(op, ": two tensors are named ", *twice, "; names must differ");
  }
}

template <class = void>
std::string listed(std::string_view what, const std::vector<std::string>& names) {
  std::string s;
  for (const std::string& name : names) s += (s.empty() ? "" : ", ") + name;
  return s.empty() ? s : text("; ", what, " ", s);
}

// y gets the values of x, converted to its dtype; whoever saved y for a gradient will notice.
template <class = void> void overwrite(tensor& y, const tensor& x) {
  kernels::copy(y.shape(), operand_of(y), operand_of(x));
  y.impl().store->version.fetch_add(1, std::memory_order_relaxed);
}

template <class = void>
load_report load_parts(const module_parts& parts, const named_tensors& from,
                       const load_options& o) {
  std::vector<std::string_view> names;
  std::unordered_map<std::string_view, const tensor*> given;
  for (const auto& [name, x] : from) {
    names.push_back(name);
    given.emplace(name, &x);
  }
  refuse_doubles("load_state_dict", names);
  load_report report;
  bool incomplete = false;
  std::string misfits;
  pointer_map own;
  std::vector<std::pair<tensor*, tensor>> changes;
  for (const module_tensor& t : parts.tensors) {
    own.emplace(t.value->impl().store, 0);
    const auto found = given.find(t.name);
    if (found == given.end()) {
      report.missing.push_back(t.name);
      incomplete = incomplete || t.parameter || !t.name.ends_with("num_batches_tracked");
      continue;
    }
    const tensor* x = found->second;
    given.erase(found);
    if (!x->defined() || x->shape() != t.value->shape()) {
      misfits += text("; ", t.name, " is ", *t.value, " in the model and ", *x, " in the list");
    } else {
      changes.emplace_back(t.value, *x);
    }
  }
  for (const auto& [name, x] : from) {
    if (given.contains(name)) report.unexpected.push_back(name);
  }
  if (!misfits.empty() || (o.strict && (incomplete || !report.unexpected.empty()))) {
    raise<value_error>("load_state_dict: the list does not fit the model",
                       listed("missing", report.missing), listed("unexpected", report.unexpected),
                       misfits, "; nothing was changed");
  }
  for (auto& [y, x] : changes) {  // values that live in the model itself may be overwritten first
    if (own.contains(x.impl().store)) x = dense_copy(x);
  }
  for (auto& [y, x] : changes) overwrite(*y, x);
  return report;
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// Parameters and buffers by name. The tensors are plain and share the model's memory: clone the
// model first to keep values while training goes on.
template <module M> named_tensors state_dict(const M& model) {
  named_tensors all = detail::named(detail::parts_of(model, true), true, true);
  std::vector<std::string_view> names;
  for (auto& [name, x] : all) {
    names.push_back(name);
    x = alias(x);
  }
  detail::refuse_doubles("state_dict", names);
  return all;
}

// Copies values by name into the model's tensors, converting dtypes. All or nothing: throws
// value_error that lists every missing and unexpected name and every shape that differs.
template <module M>
load_report load_state_dict(M& model, const named_tensors& from, const load_options& o = {}) {
  return detail::load_parts(detail::parts_of(model, true), from, o);
}

}  // namespace adze::inline ADZE_ISA
