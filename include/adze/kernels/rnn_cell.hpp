#pragma once
// SPDX-License-Identifier: MIT
// The pointwise part of recurrent cells, one step of a batch at a time: activations in place of
// the gates' sums, and the slopes of those sums. Products and the loop over time are in
// ops/rnn.hpp. Rows are [batch, gates * h]; gate orders are PyTorch's.
#include <adze/kernels/lanes.hpp>
#include <adze/simd/math.hpp>

namespace adze::kernels::inline ADZE_ISA {

// One step: `rows` samples of `h` units, rows one after the other.
struct cell_sizes {
  index_t rows = 0, h = 0;
};

template <class T> struct activation_tanh {
  using pack = simd::pack<T>;
  static pack f(pack x) { return tanh(x); }
  static pack df(pack y) { return 1.0 - y * y; }
};
template <class T> struct activation_relu {
  using pack = simd::pack<T>;
  static pack f(pack x) { return maximum(x, 0.0); }
  static pack df(pack y) { return step(y); }
};

// h = f(sum), in place.
template <class T, class F> [[gnu::noinline]] void rnn_cell(T* sum, const cell_sizes& s) {
  over_packs<T>(s.rows * s.h,
                [&](index_t i, auto lanes) { lanes.store(F::f(lanes.load(sum + i)), sum + i); });
}
// slope = g f'(y).
template <class T, class F>
[[gnu::noinline]] void rnn_cell_slope(const T* y, const T* g, T* slope, const cell_sizes& s) {
  over_packs<T>(s.rows * s.h, [&](index_t i, auto lanes) {
    lanes.store(lanes.load(g + i) * F::df(lanes.load(y + i)), slope + i);
  });
}

// Gates i, f, g, o [rows, 4h] from their sums, in place; c = f c_before + i g, y = o tanh(c).
template <class T>
[[gnu::noinline]] void lstm_cell(T* gates, const T* c_before, T* c, T* y, const cell_sizes& s) {
  using pack = simd::pack<T>;
  for (index_t r = 0; r < s.rows; ++r) {
    T* a = gates + r * 4 * s.h;
    const index_t at = r * s.h;
    over_packs<T>(s.h, [&](index_t j, auto lanes) {
      const pack in = sigmoid(lanes.load(a + j)), forget = sigmoid(lanes.load(a + s.h + j));
      const pack fresh = tanh(lanes.load(a + 2 * s.h + j));
      const pack out = sigmoid(lanes.load(a + 3 * s.h + j));
      const pack cell = fma(forget, lanes.load(c_before + at + j), in * fresh);
      lanes.store(in, a + j);
      lanes.store(forget, a + s.h + j);
      lanes.store(fresh, a + 2 * s.h + j);
      lanes.store(out, a + 3 * s.h + j);
      lanes.store(cell, c + at + j);
      lanes.store(out * tanh(cell), y + at + j);
    });
  }
}

// Slopes of the four sums from the gradient dy of y and dc of c, which becomes that of c_before.
template <class T>
[[gnu::noinline]] void lstm_cell_slope(const T* gates, const T* c_before, const T* c, const T* dy,
                                       T* dc, T* slope, const cell_sizes& s) {
  using pack = simd::pack<T>;
  for (index_t r = 0; r < s.rows; ++r) {
    const T* a = gates + r * 4 * s.h;
    T* d = slope + r * 4 * s.h;
    const index_t at = r * s.h;
    over_packs<T>(s.h, [&](index_t j, auto lanes) {
      const pack in = lanes.load(a + j), forget = lanes.load(a + s.h + j);
      const pack fresh = lanes.load(a + 2 * s.h + j), out = lanes.load(a + 3 * s.h + j);
      const pack t = tanh(lanes.load(c + at + j)), g = lanes.load(dy + at + j);
      const pack cell = fma(g * out, 1.0 - t * t, lanes.load(dc + at + j));
      lanes.store(cell * fresh * in * (1.0 - in), d + j);
      lanes.store(cell * lanes.load(c_before + at + j) * forget * (1.0 - forget), d + s.h + j);
      lanes.store(cell * in * (1.0 - fresh * fresh), d + 2 * s.h + j);
      lanes.store(g * t * out * (1.0 - out), d + 3 * s.h + j);
      lanes.store(cell * forget, dc + at + j);
    });
  }
}

// Gates r, z, n [rows, 3h] in place of the sums over the input; `hidden` [rows, 3h] holds the sums
// over the state. n = tanh(n_input + r n_hidden), y = (1 - z) n + z before.
template <class T>
[[gnu::noinline]] void gru_cell(T* gates, const T* hidden, const T* before, T* y,
                                const cell_sizes& s) {
  using pack = simd::pack<T>;
  for (index_t r = 0; r < s.rows; ++r) {
    T* a = gates + r * 3 * s.h;
    const T* b = hidden + r * 3 * s.h;
    const index_t at = r * s.h;
    over_packs<T>(s.h, [&](index_t j, auto lanes) {
      const index_t z_at = s.h + j, n_at = 2 * s.h + j;
      const pack reset = sigmoid(lanes.load(a + j) + lanes.load(b + j));
      const pack keep = sigmoid(lanes.load(a + z_at) + lanes.load(b + z_at));
      const pack fresh = tanh(fma(reset, lanes.load(b + n_at), lanes.load(a + n_at)));
      lanes.store(reset, a + j);
      lanes.store(keep, a + z_at);
      lanes.store(fresh, a + n_at);
      lanes.store(fma(keep, lanes.load(before + at + j) - fresh, fresh), y + at + j);
    });
  }
}

// Slopes of the sums over the input and over the state from the gradient dy of y, which becomes
// the direct part of that of `before`. `hidden` as in gru_cell, of which n is read.
template <class T>
[[gnu::noinline]] void gru_cell_slope(const T* gates, const T* hidden, const T* before, T* dy,
                                      T* input_slope, T* hidden_slope, const cell_sizes& s) {
  using pack = simd::pack<T>;
  for (index_t r = 0; r < s.rows; ++r) {
    const T *a = gates + r * 3 * s.h, *b = hidden + r * 3 * s.h;
    T *d = input_slope + r * 3 * s.h, *e = hidden_slope + r * 3 * s.h;
    const index_t at = r * s.h;
    over_packs<T>(s.h, [&](index_t j, auto lanes) {
      const index_t z_at = s.h + j, n_at = 2 * s.h + j;
      const pack reset = lanes.load(a + j), keep = lanes.load(a + z_at);
      const pack fresh = lanes.load(a + n_at), g = lanes.load(dy + at + j);
      const pack dn = g * (1.0 - keep) * (1.0 - fresh * fresh);
      const pack dz = g * (lanes.load(before + at + j) - fresh) * keep * (1.0 - keep);
      const pack dr = dn * lanes.load(b + n_at) * reset * (1.0 - reset);
      lanes.store(dr, d + j);
      lanes.store(dz, d + z_at);
      lanes.store(dn, d + n_at);
      lanes.store(dr, e + j);
      lanes.store(dz, e + z_at);
      lanes.store(dn * reset, e + n_at);
      lanes.store(g * keep, dy + at + j);
    });
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
