// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <adze/simd/codes.hpp>
#include <adze/simd/dot.hpp>

namespace adze {
namespace {

// The bytes of some lanes.
template <class I> struct bytes {
  static constexpr std::size_t count = static_cast<std::size_t>(I::size) * 4;
  std::int8_t b[count];

  std::uint8_t u(std::size_t i) const { return static_cast<std::uint8_t>(b[i]); }
  std::int16_t word(std::size_t i) const {
    std::int16_t w;
    std::memcpy(&w, b + 2 * i, 2);
    return w;
  }
  I load() const { return I::load(b); }
};
template <class I> std::vector<std::int32_t> lanes_of(I x) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(I::size));
  x.store(all.data());
  return all;
}

template <class I> void check_products() {
  std::mt19937 draw(41);
  for (int round = 0; round < 500; ++round) {
    bytes<I> a, b, s;
    for (std::size_t i = 0; i < a.count; ++i) {
      const auto bits = draw();
      a.b[i] = static_cast<std::int8_t>(bits % 4 == 0 ? 0xff : bits >> 8);
      b.b[i] = static_cast<std::int8_t>(bits % 8 == 1 ? 0x80 : bits >> 16);
      s.b[i] = static_cast<std::int8_t>(bits >> 24);
      if (!I::bytes_exact) b.b[i] = static_cast<std::int8_t>(b.b[i] / 2);
    }
    const auto sum = lanes_of(s.load());
    const auto quads = lanes_of(dot_bytes(s.load(), a.load(), b.load()));
    const auto words = lanes_of(dot_words(s.load(), a.load(), b.load()));
    const auto low = lanes_of(low_nibbles(a.load())), high = lanes_of(high_nibbles(a.load()));
    const auto plus = lanes_of(s.load() + I::repeat(a.b));
    std::int32_t first;
    std::memcpy(&first, a.b, 4);
    for (std::size_t i = 0; i < sum.size(); ++i) {
      std::int64_t q = sum[i], w = sum[i];
      for (std::size_t k = 0; k < 4; ++k) q += a.u(4 * i + k) * b.b[4 * i + k];
      for (std::size_t k = 0; k < 2; ++k) w += a.word(2 * i + k) * b.word(2 * i + k);
      CHECK(quads[i] == static_cast<std::int32_t>(q));
      CHECK(words[i] == static_cast<std::int32_t>(w));
      CHECK(plus[i] == static_cast<std::int32_t>(std::int64_t(sum[i]) + first));
      std::uint8_t l[4], h[4];
      std::memcpy(l, &low[i], 4), std::memcpy(h, &high[i], 4);
      for (std::size_t k = 0; k < 4; ++k) {
        CHECK(l[k] == (a.u(4 * i + k) & 15));
        CHECK(h[k] == a.u(4 * i + k) >> 4);
      }
    }
  }
}

TEST_CASE("integers: products of bytes and words, nibbles and sums, modulo 2^32") {
  check_products<simd::integers<simd::native>>();
  check_products<simd::integers<simd::scalar>>();
  check_products<simd::integers<simd::integer_tile_tag<simd::native>>>();
}

TEST_CASE("integers: partial stores touch nothing else; floats are rounded to nearest") {
  using I = simd::integers<simd::integer_tile_tag<simd::native>>;
  for (index_t n = 0; n < I::size; ++n) {
    std::vector<std::int32_t> out(static_cast<std::size_t>(I::size), 7);
    I::all(-5).store_partial(out.data(), n);
    for (index_t i = 0; i < I::size; ++i)
      CHECK(out[static_cast<std::size_t>(i)] == (i < n ? -5 : 7));
  }
  std::vector<float> real(static_cast<std::size_t>(I::size));
  for (const std::int32_t x : {0, -1, 16777217, -16777219, std::numeric_limits<std::int32_t>::min(),
                               std::numeric_limits<std::int32_t>::max()}) {
    to_float(I::all(x)).store(real.data());
    for (const float y : real) CHECK(y == static_cast<float>(x));
  }
}

template <class A, class Code> void check_codes() {
  using P = simd::pack<float, A>;
  constexpr auto count = static_cast<std::size_t>(4 * P::size);
  const std::int32_t low = std::numeric_limits<Code>::min(), zero = 3;
  for (int base = -260; base < 260; base += 5) {
    P x[4];
    Code out[count];
    float in[count];
    for (std::size_t i = 0; i < count; ++i)
      in[i] = std::fmax(
          std::fmin(static_cast<float>(base + int(i)) / 2, static_cast<float>(low + 255 - zero)),
          static_cast<float>(low - zero));
    for (std::size_t p = 0; p < 4; ++p) x[p] = P::load(in + p * P::width);
    simd::store_codes(x, zero, out);
    for (std::size_t i = 0; i < count; ++i) CHECK(out[i] == int(std::nearbyint(in[i])) + zero);
    P back;
    simd::load_codes(out, back);
    back.store(in);
    for (std::size_t i = 0; i < P::width; ++i) CHECK(in[i] == static_cast<float>(out[i]));
  }
}

TEST_CASE("codes: half to even, in order, both ends of the range") {
  check_codes<simd::native, std::uint8_t>();
  check_codes<simd::native, std::int8_t>();
  check_codes<simd::scalar, std::uint8_t>();
  check_codes<simd::scalar, std::int8_t>();
}

}  // namespace
}  // namespace adze
