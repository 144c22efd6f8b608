#pragma once
// SPDX-License-Identifier: MIT
// Attention of one head: a block of query rows at a time, so that the scores stay in cache and
// causal heads compute no block above the diagonal. Forward keeps one number per query, the
// log-sum-exp of its scores; backward computes the weights again from it. A query that may look
// at no key gives zeros. Gradients are summed block after block: the same bits for any threads.
#include <adze/kernels/gemm.hpp>
#include <adze/kernels/keep_mask.hpp>
#include <adze/kernels/softmax.hpp>

namespace adze::kernels {

// One head: q [t, d], k [s, d], v [s, e], all with contiguous rows.
template <class T> struct attention_head {
  matrix<const T> q, k, v;
  T scale = T(1);
  bool causal = false;       // query i sees keys 0..i
  matrix<const T> mask{};    // added to the scores where data is not null; strides may be 0
  double dropout = 0.0;      // of the weights
  random_state random{};     // where the mask of all heads starts
  index_t first_weight = 0;  // of this head in it

  index_t keys_seen(index_t query) const { return causal ? std::min(query + 1, k.rows) : k.rows; }
};

template <class T> struct attention_gradients {
  matrix<const T> out;                // gradient of the result
  matrix<T> q{}, k{}, v{}, scores{};  // null where not wanted; scores [t, s]
};

inline namespace ADZE_ISA {

inline constexpr index_t attention_block = 64;  // query rows

template <class T> matrix<T> some_rows(const matrix<T>& m, index_t first, index_t count) {
  return {m.data + first * m.row_stride, count, m.cols, m.row_stride, m.col_stride};
}

// What one thread needs for a head.
template <class T> index_t attention_workspace(const attention_head<T>& h) {
  return 3 * attention_block * h.k.rows;
}

// scores = scale q k^T + mask over the keys that the rows see together; others are not touched.
template <class T>
void attention_scores(const attention_head<T>& h, index_t first, matrix<T> scores) {
  gemm<T>(some_rows(h.q, first, scores.rows), some_rows(h.k, 0, scores.cols).transposed(), scores,
          {.alpha = h.scale});
  if (h.mask.data == nullptr) return;
  using pack = simd::pack<T>;
  for (index_t i = 0; i < scores.rows; ++i) {
    T* row = &scores(i, 0);
    const T* add = &h.mask(first + i, 0);
    over_packs<T>(scores.cols, [&](index_t j, auto lanes) {
      const pack m = h.mask.col_stride == 0 ? pack(*add) : lanes.load(add + j);
      lanes.store(lanes.load(row + j) + m, row + j);
    });
  }
}

// The first n of a row become softmax weights; returns the log-sum-exp, +infinity for none.
template <class T> T attention_softmax(T* row, index_t n) {
  using pack = simd::pack<T>;
  const T most = row_max(row, n);
  if (most == -std::numeric_limits<T>::infinity()) {
    fill_zeros(row, n);
    return std::numeric_limits<T>::infinity();
  }
  const T sum = row_exp(row, row, n, most);
  const pack scale(T(1) / sum);
  over_packs<T>(n,
                [&](index_t j, auto lanes) { lanes.store(lanes.load(row + j) * scale, row + j); });
  return most + std::log(sum);
}

// to = from where the weight of query `query` is kept, divided by 1 - p, else 0.
template <class T>
void drop_weights(const attention_head<T>& h, index_t query, index_t n, const T* from, T* to) {
  constexpr index_t most = 256;
  bool keep[most];
  const T scale = static_cast<T>(keep_scale(h.dropout));
  for (index_t j = 0; j < n; j += most) {
    const index_t m = std::min(most, n - j);
    keep_mask(keep, h.first_weight + query * h.k.rows + j, m, h.random, h.dropout);
    for (index_t i = 0; i < m; ++i) to[j + i] = keep[i] ? from[j + i] * scale : T(0);
  }
}

// out [t, e] = softmax(scores) v; lse [t]. `work`: attention_workspace(h) elements.
template <class T>
[[gnu::noinline]] void attend(const attention_head<T>& h, matrix<T> out, T* lse, T* work) {
  for (index_t first = 0; first < h.q.rows; first += attention_block) {
    const index_t rows = std::min(attention_block, h.q.rows - first);
    const index_t keys = h.keys_seen(first + rows - 1);
    const matrix<T> scores = dense_matrix(work, rows, keys);
    attention_scores(h, first, scores);
    for (index_t i = 0; i < rows; ++i) {
      T* row = &scores(i, 0);
      const index_t n = h.keys_seen(first + i);
      lse[first + i] = attention_softmax(row, n);
      if (h.dropout > 0) drop_weights(h, first + i, n, row, row);
      std::fill(row + n, row + keys, T(0));
    }
    gemm<T>(scores, some_rows(h.v, 0, keys), some_rows(out, first, rows));
  }
}

// The gradients of one block: its rows of q, and its share of k and v added to them.
template <class T>
void attend_back_block(const attention_head<T>& h, const attention_gradients<T>& g, const T* lse,
                       T* work, index_t first) {
  using pack = simd::pack<T>;
  const index_t rows = std::min(attention_block, h.q.rows - first);
  const index_t keys = h.keys_seen(first + rows - 1), size = attention_block * h.k.rows;
  const matrix<T> weights = dense_matrix(work, rows, keys),
                  dropped{work + 2 * size, rows, keys, keys, 1};
  const matrix<T> slopes = dense_matrix(work + size, rows, keys);
  const matrix<const T> out = some_rows(g.out, first, rows);
  attention_scores(h, first, weights);
  gemm<T>(out, some_rows(h.v, 0, keys).transposed(), slopes);
  for (index_t i = 0; i < rows; ++i) {
    T *w = &weights(i, 0), *s = &slopes(i, 0), *kept = &dropped(i, 0);
    const index_t n = h.keys_seen(first + i);
    const pack shift(lse[first + i]);
    over_packs<T>(n, [&](index_t j, auto lanes) {
      lanes.store(exp_nonpositive(lanes.load(w + j) - shift), w + j);
    });
    if (h.dropout > 0) {
      drop_weights(h, first + i, n, w, kept);
      drop_weights(h, first + i, n, s, s);
      std::fill(kept + n, kept + keys, T(0));
    }
    softmax_slope_row(w, s, s, n);
    std::fill(w + n, w + keys, T(0));
    std::fill(s + n, s + keys, T(0));
    if (g.scores.data != nullptr) std::copy_n(s, n, &g.scores(first + i, 0));
  }
  const gemm_options<T> add{.beta = T(1)}, add_scaled{.alpha = h.scale, .beta = T(1)};
  if (g.v.data != nullptr) {
    const matrix<const T> w = h.dropout > 0 ? dropped : weights;
    gemm<T>(w.transposed(), out, some_rows(g.v, 0, keys), add);
  }
  const matrix<const T> ds = slopes;
  if (g.q.data != nullptr) {
    gemm<T>(ds, some_rows(h.k, 0, keys), some_rows(g.q, first, rows), {.alpha = h.scale});
  }
  if (g.k.data != nullptr) {
    gemm<T>(ds.transposed(), some_rows(h.q, first, rows), some_rows(g.k, 0, keys), add_scaled);
  }
}

// All gradients of one head; g.scores must hold zeros where no query looks.
template <class T>
[[gnu::noinline]] void attend_back(const attention_head<T>& h, const attention_gradients<T>& g,
                                   const T* lse, T* work) {
  for (const matrix<T>& m : {g.k, g.v}) {
    for (index_t i = 0; m.data != nullptr && i < m.rows; ++i) fill_zeros(&m(i, 0), m.cols);
  }
  for (index_t first = 0; first < h.q.rows; first += attention_block) {
    attend_back_block(h, g, lse, work, first);
  }
}

}  // namespace ADZE_ISA
}  // namespace adze::kernels
