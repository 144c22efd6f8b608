#pragma once
// SPDX-License-Identifier: MIT
// The driver of everything that works element by element. An op gives one loop over dense rows for
// each type it computes in; this non-template code does broadcasting, strides, other dtypes (in
// blocks that stay in L1) and threads. So a new op costs two small loops, a new dtype none.
#include <algorithm>
#include <cstring>

#include <adze/core/parallel.hpp>
#include <adze/core/shape.hpp>
#include <adze/kernels/rows.hpp>
#include <adze/simd/pack.hpp>

namespace adze::kernels::inline ADZE_ISA {

// out[i] = functor(in[0][i], in[1][i], ...) for i < n; dense rows of the computing type. Streamed
// only where `out` is aligned to 64 bytes.
using simd::flow;
using row_loop = void (*)(const void* functor, const void* const* in, void* out, index_t n,
                          flow how);

// One loop per computing type; null where the op does not support it.
struct map_loops {
  row_loop f32 = nullptr;
  row_loop f64 = nullptr;
  row_loop i64 = nullptr;
  row_loop of(dtype type) const {
    return type == dtype::f32 ? f32 : type == dtype::f64 ? f64 : i64;
  }
};

// One operand: strides in elements along the axes of the result, 0 where it is stretched.
struct operand {
  const void* data = nullptr;
  dtype type = dtype::f32;
  dims strides{};
};

inline constexpr int max_operands = 5;  // the result and four inputs
inline constexpr index_t map_block = 256;
inline constexpr index_t map_chunk = 32768;  // elements a thread takes; benchmarks/train_step
inline constexpr index_t map_streamed = index_t(1)
                                        << 25;  // bytes of results that go past the caches

}  // namespace adze::kernels::inline ADZE_ISA

namespace adze::kernels::detail::inline ADZE_ISA {

// Axes in the order of the result's memory, neighbours merged where all operands allow it.
struct map_plan {
  index_t rank = 0;
  dims sizes{};
  std::array<dims, max_operands> strides{};  // [operand][axis], operand 0 is the result
};

[[gnu::noinline]] inline map_plan plan_map(const shape& sizes, const operand* x, int count) {
  map_plan p;
  dims order{};
  const index_t rank = memory_order(sizes, x[0].strides, order);
  const auto stride = [&](int k, index_t axis) {
    return x[k].strides[static_cast<std::size_t>(axis)];
  };
  for (index_t i = 0; i < rank; ++i) {
    const index_t axis = order[static_cast<std::size_t>(i)];
    bool merge = p.rank > 0;
    for (int k = 0; merge && k < count; ++k) {
      merge = p.strides[static_cast<std::size_t>(k)][static_cast<std::size_t>(p.rank - 1)] ==
              stride(k, axis) * sizes[axis];
    }
    if (!merge) p.sizes[static_cast<std::size_t>(p.rank++)] = 1;
    const auto last = static_cast<std::size_t>(p.rank - 1);
    p.sizes[last] *= sizes[axis];
    for (int k = 0; k < count; ++k) {
      p.strides[static_cast<std::size_t>(k)][last] = stride(k, axis);
    }
  }
  if (p.rank == 0) p.rank = 1, p.sizes[0] = 1;
  return p;
}

struct map_call {
  row_loop loop;  // null: a copy
  const void* functor;
  dtype compute;
  const operand* x;
  int count;
};

// The first n elements of a row whose elements are all the same one.
template <class = void>
void repeat_element(dtype compute, dtype type, const void* x, index_t n, std::byte* to) {
  const auto size = static_cast<std::size_t>(size_of(compute));
  const std::size_t bytes = static_cast<std::size_t>(n) * size;
  load_row_in(compute, type, x, 0, 1, to);
  for (std::size_t done = size; done < bytes; done *= 2)
    std::memcpy(to + done, to, std::min(done, bytes - done));
}

// One row of n elements from the given pointers; strides along the row.
template <class = void>
void map_row(const map_call& c, std::byte* const* at, const index_t* step, index_t n) {
  const operand* x = c.x;
  const void* in[max_operands] = {};
  bool direct = true;
  for (int k = 0; k < c.count; ++k) {
    direct = direct && x[k].type == c.compute && (step[k] == 1 || n == 1);
  }
  if (direct) {
    for (int k = 1; k < c.count; ++k) in[k - 1] = at[k];
    return c.loop(c.functor, in, at[0], n, flow::cached);
  }
  alignas(64) std::byte buffers[max_operands][map_block * sizeof(double)];
  for (index_t i = 0; i < n; i += map_block) {
    const index_t m = std::min(map_block, n - i);
    for (int k = 1; k < c.count; ++k) {
      const std::byte* p = at[k] + i * step[k] * size_of(x[k].type);
      in[k - 1] = p;
      if (x[k].type == c.compute && step[k] == 1) continue;
      in[k - 1] = buffers[k];
      if (step[k] != 0)
        load_row_in(c.compute, x[k].type, p, step[k], m, buffers[k]);
      else if (i == 0)  // the blocks after it have the same value
        repeat_element(c.compute, x[k].type, p, m, buffers[k]);
    }
    std::byte* out = at[0] + i * step[0] * size_of(x[0].type);
    const bool plain = x[0].type == c.compute && step[0] == 1;
    c.loop(c.functor, in, plain ? out : buffers[0], m, flow::cached);
    if (!plain) store_row_in(c.compute, x[0].type, out, step[0], m, buffers[0]);
  }
}

// One row of another dtype or stride; whatever is as computed in already is converted where it
// stands.
template <class = void>
void convert_row(const map_call& c, std::byte* const* at, const index_t* step, index_t n) {
  const dtype to = c.x[0].type, from = c.x[1].type;
  if (from == c.compute && step[1] == 1)
    return store_row_in(c.compute, to, at[0], step[0], n, at[1]);
  if (to == c.compute && step[0] == 1 && step[1] != 0)
    return load_row_in(c.compute, from, at[1], step[1], n, at[0]);
  alignas(64) std::byte buffer[map_block * sizeof(double)];
  if (step[1] == 0) repeat_element(c.compute, from, at[1], std::min(map_block, n), buffer);
  for (index_t i = 0; i < n; i += map_block) {
    const index_t m = std::min(map_block, n - i);
    if (step[1] != 0)
      load_row_in(c.compute, from, at[1] + i * step[1] * size_of(from), step[1], m, buffer);
    store_row_in(c.compute, to, at[0] + i * step[0] * size_of(to), step[0], m, buffer);
  }
}

template <class = void>
void map_any_row(const map_call& c, std::byte* const* at, const index_t* step, index_t n) {
  c.loop == nullptr ? convert_row(c, at, step, n) : map_row(c, at, step, n);
}

// Rows begin..end of the plan; the row index counts over all axes but the last.
template <class = void>
void map_rows(const map_call& c, const map_plan& p, index_t begin, index_t end) {
  const auto last = static_cast<std::size_t>(p.rank - 1);
  for (index_t r = begin; r < end; ++r) {
    std::byte* at[max_operands];
    index_t step[max_operands];
    for (int k = 0; k < c.count; ++k) {
      const dims& s = p.strides[static_cast<std::size_t>(k)];
      index_t offset = 0, rest = r;
      for (index_t a = p.rank - 2; a >= 0; --a) {
        const auto i = static_cast<std::size_t>(a);
        offset += rest % p.sizes[i] * s[i];
        rest /= p.sizes[i];
      }
      at[k] =
          static_cast<std::byte*>(const_cast<void*>(c.x[k].data)) + offset * size_of(c.x[k].type);
      step[k] = s[last];
    }
    map_any_row(c, at, step, p.sizes[last]);
  }
}

}  // namespace adze::kernels::detail::inline ADZE_ISA

namespace adze::kernels::inline ADZE_ISA {

// x[0] = functor(x[1], ..., x[count - 1]) over the axes `sizes`; without loops x[0] = x[1]. x[0]
// may be one of the inputs exactly, but must not overlap them otherwise. Threaded; every element is
// computed alike.
template <class = void>
void map(const map_loops& loops, const void* functor, dtype compute, const shape& sizes,
         const operand* x, int count) {
  if (sizes.numel() == 0) return;
  const detail::map_call c{loops.of(compute), functor, compute, x, count};
  const detail::map_plan p = detail::plan_map(sizes, x, count);
  const auto last = static_cast<std::size_t>(p.rank - 1);
  const index_t n = p.sizes[last], rows = sizes.numel() / n;
  if (rows > 1) {
    const index_t chunk = std::max<index_t>(1, map_chunk / n);
    return parallel_for(rows, chunk,
                        [&](index_t begin, index_t end) { detail::map_rows(c, p, begin, end); });
  }
  parallel_for(n, map_chunk, [&](index_t begin, index_t end) {
    std::byte* at[max_operands];
    index_t step[max_operands];
    for (int k = 0; k < count; ++k) {
      step[k] = p.strides[static_cast<std::size_t>(k)][last];
      at[k] = static_cast<std::byte*>(const_cast<void*>(x[k].data)) +
              begin * step[k] * size_of(x[k].type);
    }
    detail::map_any_row(c, at, step, end - begin);
  });
}

}  // namespace adze::kernels::inline ADZE_ISA

// `copy`, between any dtypes and strides.
#include <adze/kernels/transpose.hpp>
