#pragma once
// SPDX-License-Identifier: MIT
// Which axes belong together in the library's ops that move axes, take parts of them, or fold them:
// attributes decide, so letters do not do. The rules stand here, not in the ops, so that programs
// which never couple do not compile them. Layers are in couple_layers.hpp.
#include <adze/autograd/axes.hpp>
#include <adze/graph/graph.hpp>
#include <adze/ops/concat.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/ops/reshape.hpp>
#include <adze/ops/slice.hpp>

namespace adze::detail::inline ADZE_ISA {

// The smallest runs of axes on both sides that hold the same elements: one axis each is the same
// axis. Else only the outermost ones are tied, in blocks, and what is inside is pinned: tying inner
// ones too would join every channel with every pixel. Axes of size 1 stand for nothing.
template <class = void> void tie_reshape(axis_ties& t) {
  const shape &from = *t.input_shape(0), &to = *t.output_shape();
  if (from.numel() == 0) return t.pin_all();
  std::vector<axis_place> a, b;
  const auto list = [&t](const axis_place& p, std::vector<axis_place>& wide) {
    p.size == 1 ? t.pin(p) : wide.push_back(p);
  };
  for (index_t i = 0; i < from.rank(); ++i) list(t.input(0, i), a);
  for (index_t i = 0; i < to.rank(); ++i) list(t.output(0, i), b);
  for (std::size_t i = 0, j = 0; i < a.size(); ++i, ++j) {
    const axis_place &outer = a[i], &other = b[j];
    index_t left = outer.size, right = other.size;
    while (left != right) {
      axis_place inner = left < right ? a[++i] : b[++j];
      (left < right ? left : right) *= inner.size;
      t.pin(inner);
    }
    if (outer.size % other.size == 0) {
      t.same(other, outer, {.block = outer.size / other.size});
    } else if (other.size % outer.size == 0) {
      t.same(outer, other, {.block = other.size / outer.size});
    } else {
      t.pin(outer);
      t.pin(other);
    }
  }
}

template <class = void> void tie_order(axis_ties& t, const index_list& order) {
  for (index_t i = 0; i < order.size(); ++i) t.same(t.input(0, order[i]), t.output(0, i));
}

// An axis is gone from the result; `but` is where it was.
template <class = void> void tie_without(axis_ties& t, index_t but) {
  for (index_t i = 0; i < t.output_rank(); ++i) {
    t.same(t.input(0, i < but ? i : i + 1), t.output(0, i));
  }
}

// A result without the folded axes, or with 1 in their place.
enum class folding { sums, pins };  // whether the rest stays as it is when a zero leaves
template <class = void>
void tie_folded(axis_ties& t, std::string_view op, const index_list& over, folding kind) {
  const shape& x = *t.input_shape(0);
  const std::uint32_t folded = folded_axes(x, over, op);
  const bool keep = t.output_rank() == x.rank();
  for (index_t i = 0, k = 0; i < x.rank(); ++i) {
    const bool gone = (folded >> i & 1) != 0;
    if (gone && kind == folding::pins) t.pin(t.input(0, i));
    if (gone && keep) t.pin(t.output(0, k));
    if (!gone) t.same(t.input(0, i), t.output(0, k));
    if (!gone || keep) ++k;
  }
}

// Aligned at the right; axes of size 1 that were stretched are pinned, their copies are free.
template <class = void>
void tie_stretched(axis_ties& t, axis_place (axis_ties::*narrow)(index_t, index_t) const,
                   axis_place (axis_ties::*wide)(index_t, index_t) const, index_t rank,
                   index_t shift) {
  for (index_t i = 0; i < rank; ++i) {
    const axis_place a = (t.*narrow)(0, i), b = (t.*wide)(0, i + shift);
    a.size == b.size ? t.same(a, b) : t.pin(a);
  }
}

template <class = void> void tie_slice(axis_ties& t, const slice_op<>& op) {
  const index_t a = resolve_axis(op.axis, t.input_rank(0), op.name);
  if (op.range.step != 1) return t.same_but(std::uint32_t{1} << a);
  for (index_t i = 0; i < t.input_rank(0); ++i) {
    if (i != a) t.same(t.input(0, i), t.output(0, i));
  }
  const taken part = resolve_range(op.range, t.input(0, a).size);
  t.same(t.output(0, a), t.input(0, a), {.b = part.first});
}

template <class = void> void tie_split(axis_ties& t, index_t axis) {
  const index_t a = resolve_axis(axis, t.input_rank(0), "split");
  index_t first = 0;
  for (index_t k = 0; k < t.outputs(); ++k) {
    for (index_t i = 0; i < t.input_rank(0); ++i) {
      if (i == a) {
        t.same(t.output(k, a), t.input(0, a), {.b = first});
      } else {
        t.same(t.output(k, i), t.input(0, i));
      }
    }
    first += t.output(k, a).size;
  }
}

template <class = void> void tie_concat(axis_ties& t, index_t axis) {
  const index_t a = resolve_axis(axis, t.output_rank(), "concat");
  index_t first = 0;
  for (index_t k = 0; k < t.inputs(); ++k) {
    for (index_t i = 0; i < t.output_rank(); ++i) {
      if (i == a) {
        t.same(t.input(k, a), t.output(0, a), {.b = first});
      } else {
        t.same(t.input(k, i), t.output(0, i));
      }
    }
    first += t.input(k, a).size;
  }
}

// What is added at both ends, or cut off there, is free: the amounts shrink with it.
template <class = void> void tie_pad(axis_ties& t, const pad_op<>& op) {
  const index_t rank = t.input_rank(0);
  for (index_t i = 0; i < rank; ++i) {
    const index_t low = op.before(i, rank), high = op.after(i, rank);
    const index_t first = std::max<index_t>(-low, 0);
    const index_t count = t.input(0, i).size - first - std::max<index_t>(-high, 0);
    t.same(t.input(0, i), t.output(0, i),
           {.a = first, .b = std::max<index_t>(low, 0), .count = count});
  }
}

template <class = void> void tie_flip(axis_ties& t, const index_list& which) {
  std::uint32_t turned = 0;
  const index_t rank = t.input_rank(0);
  for (const index_t a : which) turned |= std::uint32_t{1} << resolve_axis(a, rank, "flip");
  for (index_t i = 0; i < rank; ++i) {
    const axis_place in = t.input(0, i), out = t.output(0, i);
    if ((turned >> i & 1) == 0) {
      t.same(in, out);
      continue;
    }
    for (index_t k = 0; k < in.size; ++k)
      t.same(in, out, {.a = k, .b = in.size - 1 - k, .count = 1});
  }
}

// Ops that move axes or take parts of them; false for others.
template <class = void> bool tie_layout_op(const erased_op& op, axis_ties& t) {
  const index_t rank = t.inputs() > 0 ? t.input_rank(0) : 0;
  if (op.as<reshape_op<>>() != nullptr || op.as<flatten_op<>>() != nullptr) {
    tie_reshape(t);
  } else if (const auto* swap = op.as<transpose_op<>>()) {
    index_list order;
    for (index_t i = 0; i < rank; ++i) order.push_back(i);
    std::swap(order[resolve_axis(swap->a, rank, swap->name)],
              order[resolve_axis(swap->b, rank, swap->name)]);
    tie_order(t, order);
  } else if (const auto* permute = op.as<permute_op<>>()) {
    tie_order(t, permute->resolved(*t.input_shape(0)));
  } else if (const auto* squeeze = op.as<squeeze_op<>>()) {
    const index_t a = resolve_axis(squeeze->axis, rank, squeeze->name);
    t.pin(t.input(0, a));
    tie_without(t, a);
  } else if (const auto* unsqueeze = op.as<unsqueeze_op<>>()) {
    const index_t a = resolve_axis(unsqueeze->axis, rank + 1, unsqueeze->name);
    t.pin(t.output(0, a));
    for (index_t i = 0; i < rank; ++i) t.same(t.input(0, i), t.output(0, i < a ? i : i + 1));
  } else if (op.as<expand_op<>>() != nullptr) {
    tie_stretched(t, &axis_ties::input, &axis_ties::output, rank, t.output_rank() - rank);
  } else if (op.as<sum_to_op<>>() != nullptr) {
    tie_stretched(t, &axis_ties::output, &axis_ties::input, t.output_rank(),
                  rank - t.output_rank());
  } else if (const auto* slice = op.as<slice_op<>>()) {
    tie_slice(t, *slice);
  } else if (const auto* select = op.as<select_op<>>()) {
    const index_t a = resolve_axis(select->axis, rank, select->name);
    t.pin(t.input(0, a), select->place(*t.input_shape(0)));
    tie_without(t, a);
  } else if (const auto* split = op.as<split_op<>>()) {
    tie_split(t, split->axis);
  } else if (const auto* concat = op.as<concat_op<>>()) {
    tie_concat(t, concat->axis);
  } else if (const auto* pad = op.as<pad_op<>>()) {
    tie_pad(t, *pad);
  } else if (const auto* flip = op.as<flip_op<>>()) {
    tie_flip(t, flip->which);
  } else if (op.as<triangle_op<>>() != nullptr) {
    t.same_but(std::uint32_t{3} << (rank - 2));
  } else {
    return false;
  }
  return true;
}

// Ops that fold axes; false for others.
template <class = void> bool tie_folding_op(const erased_op& op, axis_ties& t) {
  if (const auto* sum = op.as<sum_op<>>()) {
    tie_folded(t, sum->name, sum->over, folding::sums);
  } else if (const auto* mean = op.as<mean_op<>>()) {
    tie_folded(t, mean->name, mean->over, folding::pins);
  } else if (const auto* var = op.as<var_op<>>()) {
    tie_folded(t, var->name, var->over, folding::pins);
  } else if (const auto* deviation = op.as<std_dev_op<>>()) {
    tie_folded(t, deviation->name, deviation->over, folding::pins);
  } else if (const auto* norm = op.as<norm_op<>>()) {
    tie_folded(t, norm->name, norm->over, folding::pins);
  } else if (const auto* most = op.as<extreme<kernels::folds::largest>>()) {
    tie_folded(t, most->name, most->over, folding::pins);
  } else if (const auto* least = op.as<extreme<kernels::folds::smallest>>()) {
    tie_folded(t, least->name, least->over, folding::pins);
  } else {
    return false;
  }
  return true;
}

}  // namespace adze::detail::inline ADZE_ISA
