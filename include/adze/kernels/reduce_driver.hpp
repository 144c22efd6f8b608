#pragma once
// SPDX-License-Identifier: MIT
// How a reduction walks its input: axes are sorted by stride and merged; the innermost one is
// either folded (rows) or kept (columns). Work is cut into units of results and, where these are
// few, into pieces of the folded range whose partial results are joined in order.
#include <vector>

#include <adze/kernels/reduce.hpp>

namespace adze::kernels::detail::inline ADZE_ISA {

// One result in the making: a double, or an integer where those are folded.
union slot {
  double real;
  std::int64_t whole;
};

struct fold_axis {
  index_t size = 1;
  index_t x = 0, y = 0, center = 0;  // strides
};

// Axes of one kind, outermost first, neighbours merged where all strides allow it. Never empty.
struct fold_axes {
  std::array<fold_axis, max_rank> axes{};
  index_t rank = 0;

  void push(const fold_axis& a) {
    if (rank > 0) {
      fold_axis& last = axes[static_cast<std::size_t>(rank - 1)];
      if (last.x == a.x * a.size && last.y == a.y * a.size && last.center == a.center * a.size) {
        last = {last.size * a.size, a.x, a.y, a.center};
        return;
      }
    }
    axes[static_cast<std::size_t>(rank++)] = a;
  }
  const fold_axis& inner() const { return axes[static_cast<std::size_t>(rank - 1)]; }
  index_t outer_count() const {
    index_t n = 1;
    for (index_t i = 0; i + 1 < rank; ++i) n *= axes[static_cast<std::size_t>(i)].size;
    return n;
  }
  // Offsets of the i-th element of all axes but the innermost.
  fold_axis outer_at(index_t i) const {
    fold_axis at;
    for (index_t a = rank - 2; a >= 0; --a) {
      const fold_axis& axis = axes[static_cast<std::size_t>(a)];
      const index_t k = i % axis.size;
      i /= axis.size;
      at.x += k * axis.x, at.y += k * axis.y, at.center += k * axis.center;
    }
    return at;
  }
};

class reduce_run {
 public:
  reduce_run(const reduction& r, const shape& sizes) : r_(r), loops_(r.loops->of(r.compute)) {
    dims order{};
    const index_t rank = memory_order(sizes, r.x.strides, order);
    for (index_t i = 0; i < rank; ++i) {
      const index_t a = order[static_cast<std::size_t>(i)];
      const auto at = static_cast<std::size_t>(a);
      columns_ = (r.folded >> a & 1) == 0;
      if (columns_) {
        kept_.push({sizes[a], r.x.strides[at], r.y.strides[at], r.center.strides[at]});
      } else {
        folded_.push({sizes[a], r.x.strides[at], 0, 0});
      }
    }
    if (kept_.rank == 0) kept_.push({});
    if (folded_.rank == 0) folded_.push({});
    positions_ = folded_.outer_count() * folded_.inner().size;
    direct_ = r.x.type == r.compute && (columns_ ? kept_ : folded_).inner().x == 1;
    direct_ = direct_ || (r.x.type == r.compute && !columns_ && folded_.inner().size == 1);
  }

  void go() const {
    const index_t inner = kept_.inner().size;
    const index_t width = std::min(inner, columns_ || positions_ <= 4096 ? reduce_width : 1);
    const index_t blocks = (inner + width - 1) / width, units = kept_.outer_count() * blocks;
    const index_t work = std::max<index_t>(1, positions_ * width);
    if (units >= 16 || units * work < 2 * map_chunk) {
      return parallel_for(units, std::max<index_t>(1, map_chunk / work),
                          [&](index_t begin, index_t end) {
                            for (index_t u = begin; u < end; ++u) whole_unit(u, width, blocks);
                          });
    }
    const index_t pieces = std::clamp<index_t>(units * work / map_chunk / units, 1, 256);
    const index_t length = (positions_ + pieces - 1) / pieces;
    std::vector<slot> partial(static_cast<std::size_t>(units * pieces * width));
    parallel_for(units * pieces, 1, [&](index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        const index_t first = i % pieces * length;
        fold_unit(unit_at(i / pieces, width, blocks), first, std::min(first + length, positions_),
                  partial.data() + i * width);
      }
    });
    for (index_t u = 0; u < units; ++u) {
      slot* sum = partial.data() + u * pieces * width;
      const unit at = unit_at(u, width, blocks);
      for (index_t k = 1; k < pieces; ++k) {
        r_.loops->join(r_.compute, sum, sum + k * width, at.n);
      }
      finish_unit(at, sum);
    }
  }

 private:
  struct unit {  // n neighbouring results along the innermost kept axis
    fold_axis at;
    index_t n = 0;
  };

  [[gnu::noinline]] unit unit_at(index_t u, index_t width, index_t blocks) const {
    const fold_axis& inner = kept_.inner();
    const index_t first = u % blocks * width;
    unit r{kept_.outer_at(u / blocks), std::min(width, inner.size - first)};
    r.at.x += first * inner.x, r.at.y += first * inner.y, r.at.center += first * inner.center;
    return r;
  }

  void whole_unit(index_t u, index_t width, index_t blocks) const {
    slot acc[reduce_width];
    const unit at = unit_at(u, width, blocks);
    fold_unit(at, 0, positions_, acc);
    finish_unit(at, acc);
  }

  void fold_unit(const unit& u, index_t begin, index_t end, slot* acc) const {
    r_.loops->start(r_.compute, acc, u.n);
    double centers[reduce_width];
    const double* c = load_centers(u, centers);
    const auto* x = static_cast<const std::byte*>(r_.x.data);
    const index_t bytes = size_of(r_.x.type), rows = folded_.inner().size;
    for (index_t p = begin; p < end;) {
      const index_t first = p % rows, n = std::min(rows - first, end - p);
      const index_t at = u.at.x + folded_.outer_at(p / rows).x + first * folded_.inner().x;
      if (columns_) {
        fold_columns_at(x + at * bytes, n, u.n, c, acc);
      } else {
        for (index_t i = 0; i < u.n; ++i) {
          fold_row_at(x + (at + i * kept_.inner().x) * bytes, n, c != nullptr ? c + i : nullptr,
                      acc + i);
        }
      }
      p += n;
    }
  }

  const double* load_centers(const unit& u, double* to) const {
    if (r_.center.data == nullptr) return nullptr;
    load_row<double>(r_.center.type, static_cast<const double*>(r_.center.data) + u.at.center,
                     kept_.inner().center, u.n, to);
    return to;
  }

  void fold_row_at(const std::byte* x, index_t n, const double* center, slot* acc) const {
    if (direct_) return loops_.row(r_.functor, x, n, center, acc);
    const index_t step = folded_.inner().x, bytes = size_of(r_.x.type);
    alignas(64) std::byte buffer[reduce_block * 8];
    for (index_t i = 0; i < n; i += reduce_block) {
      const index_t m = std::min(reduce_block, n - i);
      load(x + i * step * bytes, step, m, buffer);
      loops_.row(r_.functor, buffer, m, center, acc);
    }
  }

  void fold_columns_at(const std::byte* x, index_t rows, index_t n, const double* centers,
                       slot* acc) const {
    const index_t step = folded_.inner().x, bytes = size_of(r_.x.type);
    if (direct_) return loops_.columns(r_.functor, x, step, rows, n, centers, acc);
    constexpr index_t capacity = 8 * reduce_width;
    alignas(64) std::byte buffer[capacity * 8];
    const index_t at_once = std::min(capacity / n, reduce_rows);
    const bool dense = kept_.inner().x == 1 && step == n;
    for (index_t i = 0; i < rows; i += at_once) {
      const index_t m = std::min(at_once, rows - i);
      if (dense) load(x + i * step * bytes, 1, m * n, buffer);
      for (index_t k = 0; k < m && !dense; ++k) {
        load(x + (i + k) * step * bytes, kept_.inner().x, n, buffer + k * n * size_of(r_.compute));
      }
      loops_.columns(r_.functor, buffer, n, m, n, centers, acc);
    }
  }

  void load(const std::byte* from, index_t step, index_t n, void* to) const {
    load_row_in(r_.compute, r_.x.type, from, step, n, to);
  }

  void finish_unit(const unit& u, slot* acc) const {
    auto* y = static_cast<std::byte*>(const_cast<void*>(r_.y.data)) + u.at.y * size_of(r_.y.type);
    const index_t step = kept_.inner().y;
    if (r_.compute == dtype::i64) {
      return store_row(r_.y.type, y, step, u.n, &acc->whole);
    }
    if (r_.finish != nullptr) {
      double centers[reduce_width];
      r_.finish(r_.finish_data, &acc->real, load_centers(u, centers), u.n);
    }
    store_row(r_.y.type, y, step, u.n, &acc->real);
  }

  const reduction& r_;
  fold_loops loops_;
  fold_axes kept_, folded_;
  bool columns_ = false;
  bool direct_ = false;
  index_t positions_ = 0;
};

}  // namespace adze::kernels::detail::inline ADZE_ISA

namespace adze::kernels::inline ADZE_ISA {

// y = f folded over the axes r.folded of x, which has the given sizes.
template <class = void> void reduce(const reduction& r, const shape& sizes) {
  for (index_t i = 0; i < sizes.rank(); ++i) {
    if (sizes[i] == 0 && (r.folded >> i & 1) == 0) return;  // no results
  }
  detail::reduce_run(r, sizes).go();
}

}  // namespace adze::kernels::inline ADZE_ISA
