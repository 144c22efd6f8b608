#pragma once
// SPDX-License-Identifier: MIT
// Cross-entropy of rows of logits with one class index each: losses in one pass over the logits
// from cache, gradients in one more. Kept between the two: the shift and the scale of each row's
// softmax, so the logits are all that backward reads. Indices are the caller's promise.
#include <adze/core/view.hpp>
#include <adze/kernels/softmax.hpp>

namespace adze::kernels {

// Per row, with t its target, w the class weights (1 when null) and p = softmax(x):
//   loss = -(1 - smoothing) w_t log p_t - smoothing / classes * sum_j w_j log p_j,
// and 0 where t is ignore_index.
template <class T> struct cross_entropy_rows {
  index_t rows = 0, classes = 0;
  const T* logits = nullptr;             // [rows, classes]
  const std::int64_t* target = nullptr;  // [rows]
  const T* weight = nullptr;             // [classes]
  index_t ignore_index = -100;
  double smoothing = 0.0;
  T* shift = nullptr;  // [rows]: the largest logit
  T* scale = nullptr;  // [rows]: 1 / sum_j e^(x_j - shift)

  T weight_of(index_t j) const { return weight == nullptr ? T(1) : weight[j]; }
  index_t chunk() const {
    return std::max<index_t>(1, softmax_chunk / std::max<index_t>(1, classes));
  }
};

inline namespace ADZE_ISA {

// sum_j w_j (x_j - center): what smoothing adds to a loss.
template <class T> T weighted_sum(const T* x, const T* weight, index_t n, T center) {
  using pack = simd::pack<T>;
  pack sum(0);
  over_packs<T>(n, [&](index_t j, auto lanes) {
    const pack d = lanes.load(x + j, static_cast<double>(center)) - pack(center);
    sum += weight == nullptr ? d : d * lanes.load(weight + j);
  });
  return reduce_add(sum);
}

// Rows begin..end: shift, scale and loss in passes, so that rows overlap in the pipeline and the
// logarithms of a pack of rows are one.
template <class T>
void losses_of_rows(const cross_entropy_rows<T>& a, index_t begin, index_t end, T* loss) {
  using pack = simd::pack<T>;
  for (index_t i = begin; i < end; ++i) {
    const T* x = a.logits + i * a.classes;
    a.shift[i] = row_max(x, a.classes);
    a.scale[i] = row_exp_sum(x, a.classes, a.shift[i]);
  }
  T *log_sum = loss + begin, *scale = a.scale + begin;
  over_packs<T>(end - begin, [=](index_t i, auto lanes) {
    const pack sum = lanes.load(scale + i, 1.0);
    lanes.store(log(sum), log_sum + i);
    lanes.store(1.0 / sum, scale + i);
  });
  const T hit = T(1 - a.smoothing), each = T(a.smoothing / static_cast<double>(a.classes));
  for (index_t i = begin; i < end; ++i) {
    const index_t t = a.target[i];
    const T* x = a.logits + i * a.classes;
    if (t == a.ignore_index) {
      loss[i] = T(0);
      continue;
    }
    const T log_s = loss[i];
    loss[i] = hit * a.weight_of(t) * (log_s - (x[t] - a.shift[i]));
    if (a.smoothing != 0) {
      loss[i] -= each * weighted_sum(x, a.weight, a.classes, a.shift[i] + log_s);
    }
  }
}

// The losses of all rows; fills shift and scale.
template <class T>
[[gnu::noinline]] void cross_entropy_losses(const cross_entropy_rows<T>& a, T* loss) {
  if (a.classes == 0) return;
  parallel_for(a.rows, a.chunk(),
               [&](index_t begin, index_t end) { losses_of_rows(a, begin, end, loss); });
}

// out = factor e^(x - shift).
template <class T> void scaled_exp_row(const T* x, T* out, index_t n, T shift, T factor) {
  using pack = simd::pack<T>;
  const pack center(shift), scale(factor);
  over_packs<T>(n, [=](index_t j, auto lanes) {
    lanes.store(exp_nonpositive(lanes.load(x + j) - center) * scale, out + j);
  });
}
// out -= factor w.
template <class T> void subtract_weights(const T* weight, T* out, index_t n, T factor) {
  using pack = simd::pack<T>;
  over_packs<T>(n, [=](index_t j, auto lanes) {
    const pack w = weight == nullptr ? pack(1) : lanes.load(weight + j);
    lanes.store(lanes.load(out + j) - w * pack(factor), out + j);
  });
}

// d(sum_i g_i loss_i) / d(logits). `g_step` is 0 when all rows share one g.
template <class T>
[[gnu::noinline]] void cross_entropy_slopes(const cross_entropy_rows<T>& a, const T* g,
                                            index_t g_step, T* d) {
  if (a.classes == 0) return;
  const T hit = T(1 - a.smoothing), each = T(a.smoothing / static_cast<double>(a.classes));
  T total = T(0);  // of the weights
  for (index_t j = 0; each != T(0) && j < a.classes; ++j) total += a.weight_of(j);
  parallel_for(a.rows, a.chunk(), [&, hit, each, total](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t t = a.target[i];
      T* out = d + i * a.classes;
      if (t == a.ignore_index) {
        fill_zeros(out, a.classes);
        continue;
      }
      const T gi = g[i * g_step], own = gi * hit * a.weight_of(t);
      scaled_exp_row(a.logits + i * a.classes, out, a.classes, a.shift[i],
                     (own + gi * each * total) * a.scale[i]);
      if (each != T(0)) subtract_weights(a.weight, out, a.classes, gi * each);
      out[t] -= own;
    }
  });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
