#pragma once
// SPDX-License-Identifier: MIT
// Cross-entropy of rows of logits with one class index each: losses in one pass over the logits
// from cache, gradients in one more. Kept between the two: the shift and the scale of each row's
// softmax, so the logits are all that backward reads. Indices are the caller's promise.
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

// The losses of all rows; fills shift and scale of the rows that count.
template <class T>
[[gnu::noinline]] void cross_entropy_losses(const cross_entropy_rows<T>& a, T* loss) {
  parallel_for(a.rows, a.chunk(), [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t t = a.target[i];
      loss[i] = T(0);
      if (t == a.ignore_index) continue;
      const T* x = a.logits + i * a.classes;
      const T shift = row_max(x, a.classes), sum = row_exp_sum(x, a.classes, shift);
      a.shift[i] = shift;
      a.scale[i] = T(1) / sum;
      const T log_sum = std::log(sum);
      loss[i] = T(1 - a.smoothing) * a.weight_of(t) * (log_sum - (x[t] - shift));
      if (a.smoothing == 0) continue;
      const T missing = weighted_sum(x, a.weight, a.classes, shift + log_sum);
      loss[i] -= T(a.smoothing / static_cast<double>(a.classes)) * missing;
    }
  });
}

// d(sum_i g_i loss_i) / d(logits). `g_step` is 0 when all rows share one g.
template <class T>
[[gnu::noinline]] void cross_entropy_slopes(const cross_entropy_rows<T>& a, const T* g,
                                            index_t g_step, T* d) {
  using pack = simd::pack<T>;
  T total = static_cast<T>(a.classes);
  if (a.weight != nullptr && a.smoothing != 0) {
    total = weighted_sum(a.weight, static_cast<const T*>(nullptr), a.classes, T(0));
  }
  const T each = T(a.smoothing / static_cast<double>(std::max<index_t>(1, a.classes)));
  parallel_for(a.rows, a.chunk(), [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t t = a.target[i];
      T* out = d + i * a.classes;
      if (t == a.ignore_index) {
        std::fill_n(out, a.classes, T(0));
        continue;
      }
      const T* x = a.logits + i * a.classes;
      const T gi = g[i * g_step], hit = gi * T(1 - a.smoothing) * a.weight_of(t);
      const pack shift(a.shift[i]), scale((hit + gi * each * total) * a.scale[i]);
      const pack spread(gi * each);
      over_packs<T>(a.classes, [&](index_t j, auto lanes) {
        pack y = exp(lanes.load(x + j) - shift) * scale;
        if (each != T(0)) y -= a.weight == nullptr ? spread : spread * lanes.load(a.weight + j);
        lanes.store(y, out + j);
      });
      out[t] -= hit;
    }
  });
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
