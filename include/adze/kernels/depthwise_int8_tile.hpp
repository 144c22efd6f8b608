#pragma once
// SPDX-License-Identifier: MIT
// The registers of depthwise convolutions of codes: packed weights, the sums of a pixel or of a run
// of pixels for one block of channels, and what becomes of them. Lanes are channels; the codes that
// lie below each other in four rows are multiplied and summed in one step (simd/quads.hpp).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <adze/kernels/conv_plan.hpp>
#include <adze/kernels/gemm_int8_finish.hpp>
#include <adze/simd/quads.hpp>

namespace adze::kernels::inline ADZE_ISA {

// Bytes of the weights of four rows and one column of a block.
template <class A> constexpr index_t quad_step_bytes(int parts) {
  return 4 * parts * simd::quad_block<A>;
}

// Weights [c, 1, kh, kw] in blocks of channels: [block][four rows][column] and the registers of
// load_quads. The last block ends with the last channel; a lone one may have lanes of zeros.
template <class A = simd::native> class depthwise_int8_weights {
 public:
  static constexpr index_t lanes = simd::quad_block<A>;
  depthwise_int8_weights() = default;
  // seven_bits: of all codes that these will be multiplied with.
  depthwise_int8_weights(const conv_shape& s, const std::int8_t* w, bool seven_bits)
      : channels_(s.c), quads_((s.kh + 3) / 4), columns_(s.kw),
        parts_(seven_bits && simd::seven_bit_quads<A> ? 1 : simd::quad_parts<A>) {
    bytes_.resize(static_cast<std::size_t>(blocks() * block_bytes()));
    sums_.resize(static_cast<std::size_t>(s.c));
    for (index_t c = 0; c < s.c; ++c)
      for (index_t t = 0; t < s.kh * s.kw; ++t)
        sums_[static_cast<std::size_t>(c)] += w[c * s.kh * s.kw + t];
    for (index_t b = 0; b < blocks(); ++b)
      for (index_t i = 0; i < std::min(lanes, s.c); ++i)
        for (index_t y = 0; y < s.kh; ++y)
          for (index_t x = 0; x < s.kw; ++x)
            put(b, y, x, i, w[((first_channel(b) + i) * s.kh + y) * s.kw + x]);
  }
  index_t blocks() const { return (channels_ + lanes - 1) / lanes; }
  index_t first_channel(index_t block) const {
    return std::max<index_t>(std::min(block * lanes, channels_ - lanes), 0);
  }
  const std::byte* block_data(index_t block) const { return bytes_.data() + block * block_bytes(); }
  const std::int32_t* sums() const { return sums_.data(); }  // of each channel
  index_t bytes() const { return static_cast<index_t>(bytes_.size() + 4 * sums_.size()); }

  int parts() const { return parts_; }

 private:
  index_t block_bytes() const { return quads_ * columns_ * quad_step_bytes<A>(parts_); }
  void put(index_t block, index_t y, index_t x, index_t lane, std::int8_t weight) {
    using I = simd::integers<A>;
    std::byte* to = bytes_.data() + block * block_bytes() +
                    (y / 4 * columns_ + x) * quad_step_bytes<A>(parts_) +
                    lane / I::size * parts_ * lanes + lane % I::size * 4;
    if (parts_ == 1) {
      to[y % 4] = static_cast<std::byte>(weight);
    } else {
      const std::int16_t word = weight;
      std::memcpy(to + y % 2 * lanes + y % 4 / 2 * 2, &word, sizeof word);
    }
  }

  index_t channels_ = 0, quads_ = 0, columns_ = 0;
  int parts_ = simd::quad_parts<A>;
  std::vector<std::byte> bytes_{};
  std::vector<std::int32_t> sums_{};
};

// One row of outputs of one block of channels: rows of inputs, a multiple of four of them, from the
// block's first channel in the first column on.
template <class Code> struct depthwise_int8_line {
  const Code* const* rows = nullptr;
  const std::byte* weights = nullptr;
  index_t step = 0;       // codes between columns
  std::int32_t zero = 0;  // the zero point as a quad
};

// The sums of one block as results of one pixel: width <= lanes of them.
template <class Out, class A> class depthwise_int8_finish {
 public:
  using I = simd::integers<A>;
  using P = simd::pack<float, A>;

  explicit depthwise_int8_finish(const integer_finish& f)
      : rounding_(f), zero_(f.zero), least_(least_result(f)) {}

  // The terms are those of the block.
  [[gnu::always_inline]] void operator()(const I* sums, const column_terms& terms, index_t first,
                                         Out* out, index_t width) const {
    if constexpr (simd::code<Out>) {
      P y[4];
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v)
        y[v] = rounding_(sums[v], P::load(terms.scale + first + v * I::size));
      if (width == 4 * I::size) return simd::store_codes(y, zero_, out);
      Out some[static_cast<std::size_t>(4 * I::size)];
      simd::store_codes(y, zero_, some);
      std::copy_n(some, width, out);
    } else {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        const index_t at = v * I::size, rest = std::min(width - at, I::size);
        if (rest <= 0) return;
        if constexpr (std::is_same_v<Out, float>) {
          const P scale = P::load(terms.scale + first + at),
                  bias = P::load(terms.bias + first + at);
          greater_of(least_, fma(to_float(sums[v]), scale, bias)).store_partial(out + at, rest);
        } else {
          sums[v].store_partial(out + at, rest);
        }
      }
    }
  }

 private:
  code_rounding<P> rounding_;
  std::int32_t zero_;
  P least_;
};

// Sums start as the terms' offsets.
template <class A>
[[gnu::always_inline]] inline void start_sums(const std::int32_t* offset, simd::integers<A>* sums) {
  simd::unroll<4>([&](auto v) __attribute__((always_inline)) {
    sums[v] = simd::integers<A>::load(offset + v * simd::integers<A>::size);
  });
}
template <int parts, class A>
[[gnu::always_inline]] inline void add_column(const simd::integers<A>* quads, const std::byte* w,
                                              simd::integers<A>* sums) {
  simd::unroll<4>([&](auto v) __attribute__((always_inline)) {
    sums[v] = simd::add_quads<parts>(sums[v], quads[v], w + v * parts * simd::quad_block<A>);
  });
}

// What the output whose first column is `left` adds to the sums; any kernel.
template <int parts, class Code, class A>
void depthwise_int8_pixel(const conv_shape& s, const depthwise_int8_line<Code>& line, index_t left,
                          simd::integers<A>* sums) {
  const std::byte* w = line.weights;
  for (index_t a = 0; a < s.kh; a += 4)
    for (index_t b = 0; b < s.kw; ++b, w += quad_step_bytes<A>(parts)) {
      const index_t column = left + b * s.dil_w;
      simd::integers<A> quads[4];
      std::fill_n(quads, 4, simd::integers<A>::all(line.zero));
      if (column >= 0 && column < s.w) simd::load_quads(line.rows + a, column * line.step, quads);
      add_column<parts, A>(quads, w, sums);
    }
}

// `count` outputs of a kernel of three columns and at most four rows, all columns of which exist;
// each is read once. emit(0, sums), emit(1, sums) ....
template <int stride, int parts, class Code, class A, class Emit>
void depthwise_int8_run3(const depthwise_int8_line<Code>& line, index_t left, index_t count,
                         const std::int32_t* offset, const Emit& emit) {
  using I = simd::integers<A>;
  const Code* rows[4];
  std::copy_n(line.rows, 4, rows);
  I quads[3][4];
  index_t at = left * line.step;
  const auto load = [&](I * to) __attribute__((always_inline)) {
    simd::load_quads(rows, at, to);
    at += line.step;
  };
  simd::unroll<3 - stride>([&](auto t) __attribute__((always_inline)) { load(quads[t + stride]); });
  for (index_t j = 0; j < count; ++j) {
    simd::unroll<3 - stride>([&](auto t) __attribute__((always_inline)) {
      simd::unroll<4>([&](auto v)
                          __attribute__((always_inline)) { quads[t][v] = quads[t + stride][v]; });
    });
    simd::unroll<stride>([&](auto t)
                             __attribute__((always_inline)) { load(quads[3 - stride + t]); });
    I sums[4];
    start_sums<A>(offset, sums);
    simd::unroll<3>([&](auto t) __attribute__((always_inline)) {
      add_column<parts, A>(quads[t], line.weights + t * quad_step_bytes<A>(parts), sums);
    });
    emit(j, sums);
  }
}

}  // namespace adze::kernels::inline ADZE_ISA
