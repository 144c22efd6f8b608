#pragma once
// SPDX-License-Identifier: MIT
// How an op says which indices of which axes of its inputs and results belong together. Most ops
// say it in einsum letters; where attributes decide, an op has `void couple(axis_ties& t) const`.
// Only graph/couple.hpp reads either. What is neither tied nor pinned may leave on its own.
#include <algorithm>
#include <string_view>
#include <vector>

#include <adze/core/shape.hpp>

namespace adze {

// An axis of an input or a result of one call. Made by axis_ties; empty for an absent value.
struct axis_place {
  index_t value = -1, axis = 0, size = 0;
};

// Index `a + i` of one axis belongs to indices `b + i * block` ... `+ block - 1` of the other.
struct axis_run {
  index_t a = 0, b = 0;
  index_t count = -1;  // as many as the first axis has from `a` on
  index_t block = 1;
};

// What one call ties and pins. Places on absent values are ignored, so optional inputs need no
// care.
class axis_ties {
 public:
  struct tie {
    axis_place a, b;
    axis_run run;
  };
  struct span {
    axis_place at;
    index_t first, count;
  };

  // Shapes of the inputs and then of the results; null where a value is absent.
  axis_ties(std::vector<const shape*> values, index_t inputs)
      : values_(std::move(values)), inputs_(inputs) {}

  index_t inputs() const { return inputs_; }
  index_t outputs() const { return static_cast<index_t>(values_.size()) - inputs_; }
  // Null for an absent value.
  const shape* input_shape(index_t i) const { return values_[static_cast<std::size_t>(i)]; }
  const shape* output_shape(index_t k = 0) const { return input_shape(inputs_ + k); }
  index_t input_rank(index_t i) const { return rank(i); }
  index_t output_rank(index_t k = 0) const { return rank(inputs_ + k); }
  axis_place input(index_t i, index_t axis) const { return place(i, axis); }
  axis_place output(index_t k, index_t axis) const { return place(inputs_ + k, axis); }

  // The indices of two axes leave together, one by one unless `run` says otherwise. Of two axes of
  // different sizes one must have size 1: it is broadcast, and pinned. value_error otherwise.
  void same(const axis_place& a, const axis_place& b) {
    if (a.value < 0 || b.value < 0) return;
    if (a.size == b.size) return same(a, b, axis_run{});
    if (a.size != 1 && b.size != 1) {
      raise<value_error>("couple: axes of ", a.size, " and ", b.size,
                         " indices cannot be the same");
    }
    pin(a.size == 1 ? a : b);
  }
  void same(const axis_place& a, const axis_place& b, axis_run run) {
    if (a.value < 0 || b.value < 0) return;
    if (run.count < 0) run.count = a.size - run.a;
    if (run.a < 0 || run.b < 0 || run.block < 1 || run.a + run.count > a.size ||
        run.b + run.count * run.block > b.size) {
      raise<value_error>("couple: ", run.count, " indices from ", run.a, " on of ", a.size,
                         " do not match blocks of ", run.block, " from ", run.b, " on of ", b.size);
    }
    ties_.push_back({a, b, run});
  }
  // An axis, or one index of it, that cannot leave.
  void pin(const axis_place& at) { pin(at, 0, at.size); }
  void pin(const axis_place& at, index_t first, index_t count = 1) {
    if (at.value >= 0) pins_.push_back({at, first, count});
  }
  void pin_all() {
    for (index_t v = 0; v < static_cast<index_t>(values_.size()); ++v) pin_from(v, 0);
  }
  // All axes of a value from this one on.
  void pin_input_from(index_t i, index_t axis) { pin_from(i, axis); }
  void pin_output_from(index_t k, index_t axis) { pin_from(inputs_ + k, axis); }
  // The op computes a statistic along this axis: its other indices change when one leaves.
  void shifts(const axis_place& at) {
    if (at.value >= 0) shifts_.push_back({at, 0, at.size});
  }

  // Axis i of input 0 and of result 0 for every i that `but` does not name; those are pinned.
  void same_but(std::uint32_t but) {
    for (index_t a = 0; a < input_rank(0); ++a) {
      if ((but >> a & 1) == 0) {
        same(input(0, a), output(0, a));
      } else {
        pin(input(0, a));
        pin(output(0, a));
      }
    }
  }

  // Ties all axes by letters, "...mk,...kn->...mn": same letter, same index. `...` stands for the
  // axes left over, aligned at the right. A letter that occurs once is pinned. False, and nothing
  // done, when the letters do not fit the values.
  template <class = void> bool letters(std::string_view spec) {
    std::vector<named_place> all;
    std::size_t value = 0, at = 0;
    const std::size_t arrow = spec.find("->");
    if (arrow == std::string_view::npos) return false;
    while (at <= spec.size()) {
      const bool results = at > arrow;
      if (results != (value >= static_cast<std::size_t>(inputs_)) || value >= values_.size()) {
        return false;
      }
      std::size_t end = std::min(spec.find(',', at), results ? spec.size() : arrow);
      if (!name_axes(static_cast<index_t>(value), spec.substr(at, end - at), all)) return false;
      at = end + (end == arrow ? 2 : 1);
      ++value;
    }
    return value == values_.size() && tie_names(all);
  }

  const std::vector<tie>& ties() const { return ties_; }
  const std::vector<span>& pins() const { return pins_; }
  const std::vector<span>& shifted() const { return shifts_; }

 private:
  struct named_place {
    int name;  // a letter, or -1, -2, ... for the axes of `...` from the right
    axis_place at;
  };

  index_t rank(index_t v) const {
    const shape* s = values_[static_cast<std::size_t>(v)];
    return s != nullptr ? s->rank() : 0;
  }
  axis_place place(index_t v, index_t axis) const {
    const shape* s = values_[static_cast<std::size_t>(v)];
    if (s == nullptr) return {};
    const index_t a = resolve_axis(axis, s->rank(), "couple");
    return {v, a, (*s)[a]};
  }
  void pin_from(index_t v, index_t axis) {
    for (index_t a = axis; a < rank(v); ++a) pin(place(v, a));
  }

  template <class = void>
  bool name_axes(index_t v, std::string_view spec, std::vector<named_place>& all) const {
    if (values_[static_cast<std::size_t>(v)] == nullptr) return true;
    const std::size_t dots = spec.find("...");
    const bool open = dots != std::string_view::npos;
    const index_t letters = static_cast<index_t>(spec.size()) - (open ? 3 : 0);
    const index_t rest = rank(v) - letters;
    if (rest < 0 || (rest > 0 && !open)) return false;
    index_t axis = 0;
    for (std::size_t i = 0; i <= spec.size(); ++i) {
      if (i == dots) {
        for (index_t k = rest; k > 0; --k) all.push_back({static_cast<int>(-k), place(v, axis++)});
        i += 2;
      } else if (i < spec.size()) {
        all.push_back({spec[i], place(v, axis++)});
      }
    }
    return true;
  }

  bool tie_names(const std::vector<named_place>& all) {
    const auto widest = [&all](int name) {
      const named_place* most = nullptr;
      for (const named_place& p : all) {
        if (p.name == name && (most == nullptr || p.at.size > most->at.size)) most = &p;
      }
      return most;
    };
    for (const named_place& p : all) {
      const index_t n = widest(p.name)->at.size;
      if (p.at.size != n && p.at.size != 1) return false;
    }
    for (const named_place& p : all) {
      const named_place* first = widest(p.name);
      if (first != &p) {
        same(first->at, p.at);
      } else if (std::count_if(all.begin(), all.end(),
                               [&p](const named_place& q) { return q.name == p.name; }) == 1) {
        pin(p.at);
      }
    }
    return true;
  }

  std::vector<const shape*> values_;
  index_t inputs_;
  std::vector<tie> ties_;
  std::vector<span> pins_, shifts_;
};

}  // namespace adze
