#pragma once
// SPDX-License-Identifier: MIT
// One tensor of a model by its name: find(model, "encoder.0.weight").
#include <numeric>

#include <adze/nn/module.hpp>

namespace adze::detail::inline ADZE_ISA {

// Letters to add, leave out or change between two names (Levenshtein 1966).
[[gnu::cold]] inline index_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<index_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), index_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    index_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const index_t changed = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, changed});
    }
  }
  return row.back();
}

template <class = void>
[[gnu::cold]] tensor find_part(const module_parts& parts, std::string_view name) {
  std::vector<std::pair<index_t, std::string_view>> near;
  for (const module_tensor& t : parts.tensors) {
    if (t.name == name) return *t.value;
    near.emplace_back(edit_distance(t.name, name), t.name);
  }
  std::stable_sort(near.begin(), near.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string nearest;
  for (std::size_t i = 0; i < near.size() && i < 3; ++i) {
    nearest += text(i == 0 ? "" : ", ", near[i].second);
  }
  raise<value_error>("find: the model has no tensor ", name,
                     nearest.empty() ? "; it has none" : "; nearest: ", nearest);
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// A handle on the parameter or buffer of this name. value_error names the nearest where there is
// none; absent tensors (a layer without bias) are none.
template <module M> tensor find(const M& model, std::string_view name) {
  return detail::find_part(detail::parts_of(model, true), name);
}

}  // namespace adze::inline ADZE_ISA
