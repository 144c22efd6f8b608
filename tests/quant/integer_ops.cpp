// SPDX-License-Identifier: MIT
// Every op on codes gives the codes of its simulation: dequantize, the float op, quantize.
#include <doctest/doctest.h>

#include <adze/ops/activation.hpp>
#include <adze/ops/pool.hpp>
#include <adze/quant/integer_linear.hpp>
#include <adze/quant/integer_softmax.hpp>
#include <adze/quant/requantize.hpp>

#include "../ops/checks.hpp"

namespace adze::quant {
namespace {

using namespace test;

const edge unsigned_edge{0.037f, 131, {0, 255}}, small_edge{0.11f, 20, {0, 127}},
    signed_edge{0.05f, -3, {-128, 127}}, coarse_edge{0.3f, 0, {0, 255}};

// Random codes, both ends of the range among them.
tensor codes(const shape& sizes, const edge& e) {
  tensor q = empty(sizes, e.storage());
  const tensor drawn = randint(e.codes.low, e.codes.high + 1, sizes, source());
  for (index_t i = 0; i < q.numel(); ++i) {
    const auto code = static_cast<std::int32_t>(drawn.data_as<std::int64_t>()[i]);
    const std::int32_t c = i % 7 == 0 ? e.codes.high : i % 7 == 1 ? e.codes.low : code;
    static_cast<std::uint8_t*>(q.data())[i] = static_cast<std::uint8_t>(c);
  }
  return q;
}
tensor values(const tensor& q, const edge& e) { return record(dequantize_op<>{e}, q); }
tensor codes_of(const tensor& x, const edge& e) { return record(quantize_op<>{e}, x); }

// Codes that differ, and by how much at most.
struct disagreement {
  index_t count = 0;
  double most = 0;
};
disagreement compare(const tensor& a, const tensor& b) {
  REQUIRE(a.shape() == b.shape());
  REQUIRE(a.dtype() == b.dtype());
  disagreement d;
  const auto x = numbers(a), y = numbers(b);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] != y[i]) ++d.count;
    d.most = std::max(d.most, std::abs(x[i] - y[i]));
  }
  return d;
}

TEST_CASE("integer ops: codes go to floats and back unchanged; infinities saturate") {
  for (const edge& e : {unsigned_edge, small_edge, signed_edge, coarse_edge}) {
    const tensor q = codes({257}, e);
    CHECK(compare(codes_of(values(q, e), e), q).count == 0);
    const double inf = std::numeric_limits<double>::infinity();
    const tensor x = tensor_f32{static_cast<float>(inf), static_cast<float>(-inf),
                                std::numeric_limits<float>::quiet_NaN()};
    const auto c = numbers(codes_of(x, e));
    CHECK(c[0] == e.codes.high);
    CHECK(c[1] == e.codes.low);
    CHECK(c[2] == e.zero);
  }
  CHECK(message_of([] { record(dequantize_op<>{signed_edge}, zeros({3}, u8)); }) ==
        "dequantize: takes i8 codes; got u8[3]");
}

TEST_CASE("integer_add: every sum is the simulation's, all sizes and layouts") {
  for (const index_t n : {0, 1, 7, 31, 32, 33, 64, 1000}) {
    for (const edge& a : {unsigned_edge, signed_edge}) {
      for (const edge& b : {small_edge, signed_edge}) {
        for (const edge& y : {unsigned_edge, signed_edge, coarse_edge}) {
          const tensor p = codes({n}, a), q = codes({n}, b);
          const tensor sum = values(p, a) + values(q, b);
          CHECK(compare(record(integer_add_op<>{a, b, y}, p, q), codes_of(sum, y)).count == 0);
          CHECK(compare(record(integer_add_op<>{a, b, y, true}, p, q), codes_of(relu(sum), y))
                    .count == 0);
        }
      }
    }
  }
  const tensor p = channels_last(codes({2, 5, 3, 4}, unsigned_edge));
  const tensor q = codes({2, 5, 3, 4}, small_edge);
  const tensor sum = values(p, unsigned_edge) + values(q, small_edge);
  const tensor y = record(integer_add_op<>{unsigned_edge, small_edge, coarse_edge}, p, q);
  CHECK(y.strides() == p.strides());
  CHECK(compare(y, codes_of(sum, coarse_edge)).count == 0);
}

TEST_CASE("integer_add: all pairs of codes, where products are not exact") {
  tensor p = empty({65536}, u8), q = empty({65536}, u8);
  for (index_t i = 0; i < 65536; ++i) {
    p.data_as<std::uint8_t>()[i] = static_cast<std::uint8_t>(i >> 8);
    q.data_as<std::uint8_t>()[i] = static_cast<std::uint8_t>(i & 255);
  }
  generator draw(3);
  index_t apart = 0;
  for (int round = 0; round < 40; ++round) {
    const auto scale = [&] { return 0.001f * static_cast<float>(1 + draw.below(64)); };
    const edge a{scale(), 0, {0, 255}}, b{scale(), 0, {0, 255}}, y{2 * scale(), 0, {0, 255}};
    const tensor sum = codes_of(values(p, a) + values(q, b), y);
    tensor lanes = empty({65536}, u8);
    apart += compare(record(integer_add_op<>{a, b, y}, p, q), sum).count;
    // One lane, where compilers are the quickest to make one fma of a product and a sum.
    kernels::add_codes<std::uint8_t, simd::scalar>(
        {p.data(), false, a.affine()}, {q.data(), false, b.affine()}, lanes.data_as<std::uint8_t>(),
        65536, {y.affine(), y.codes, false});
    apart += compare(lanes, sum).count;
  }
  CHECK(apart == 0);
}

TEST_CASE("table: all 256 codes of a function") {
  for (const edge& x : {unsigned_edge, signed_edge}) {
    for (const edge& y : {edge{1.0f / 256, 0, {0, 255}}, signed_edge}) {
      const auto f = [](float v) { return 1.0f / (1.0f + std::exp(-v)); };
      const tensor q = codes({3, 300}, x);
      const tensor got = record(table_op<>{x, y, detail::table_of(x, y, f)}, q);
      const auto in = numbers(values(q, x));
      tensor expected = empty({3, 300});
      for (std::size_t i = 0; i < in.size(); ++i) {
        expected.data_as<float>()[i] = f(static_cast<float>(in[i]));
      }
      CHECK(compare(got, codes_of(expected, y)).count == 0);
    }
  }
}

TEST_CASE("integer_softmax: the simulation's codes, within one of those of floats; any axis") {
  const edge unit{1.0f / 256, 0, {0, 255}}, low_unit{1.0f / 128, -64, {-64, 63}};
  const int before = threads();
  index_t all = 0, differ = 0;
  for (const edge& x : {unsigned_edge, small_edge, signed_edge}) {
    for (const index_t n : {1, 2, 10, 33}) {
      for (const index_t axis : {0, 1, 2}) {
        const shape sizes = shape{3, 4, 5}.with(axis, n);
        for (const tensor& q :
             {codes(sizes, x),
              transpose(codes(sizes.with(0, sizes[2]).with(2, sizes[0]), x), 0, 2)}) {
          for (const edge& y : {unit, low_unit}) {
            const tensor p = softmax(values(q, x), axis);
            const tensor got = record(integer_softmax_op<>{x, y, axis}, q);
            CHECK(compare(got, codes_of(record(softmax_of_codes_op<>{x, axis}, values(q, x)), y))
                      .count == 0);
            const disagreement d = compare(got, codes_of(p, y));
            CHECK(d.most <= 1);
            differ += d.count, all += got.numel();
            CHECK(distance(numbers(record(softmax_of_codes_op<>{x, axis}, values(q, x))),
                           numbers(p)) < 1e-6);
            set_threads(3);
            CHECK(compare(record(integer_softmax_op<>{x, y, axis}, q), got).count == 0);
            set_threads(before);
          }
        }
      }
    }
  }
  CHECK(static_cast<double>(differ) <= 1e-3 * static_cast<double>(all));
  CHECK(
      record(integer_softmax_op<>{unsigned_edge, unit, 1}, codes({2, 0}, unsigned_edge)).numel() ==
      0);
}

TEST_CASE("integer pooling: maxima exactly, means within a code where floats round otherwise") {
  index_t all = 0, differ = 0;
  for (const bool last : {false, true}) {
    for (const edge& e : {unsigned_edge, signed_edge}) {
      for (const index_t c : {1, 3, 31, 32, 33, 70}) {
        tensor q = codes({2, c, 7, 6}, e);
        if (last) q = channels_last(q);
        for (const pool_options& o :
             {pool_options{.kernel = {2, 2}},
              pool_options{.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}},
              pool_options{.kernel = {7, 6}}}) {
          const tensor max = record(integer_max_pool2d_op<>{e, {o}}, q);
          CHECK(compare(max, codes_of(max_pool2d(values(q, e), o), e)).count == 0);
          const edge y = e.is_signed() ? edge{0.0237f, 5, {-128, 127}} : edge{0.0237f, 5, {0, 255}};
          const tensor mean = record(integer_avg_pool2d_op<>{e, y, {o}}, q);
          const disagreement d = compare(mean, codes_of(avg_pool2d(values(q, e), o), y));
          CHECK(d.most <= 1);
          differ += d.count;
          all += mean.numel();
        }
      }
    }
  }
  CHECK(static_cast<double>(differ) <= 1e-4 * static_cast<double>(all) + 8);
}

// Sums from chosen codes: 255 a + b, every one that the published table has and its neighbours.
TEST_CASE("integer_linear: rounds as the published fp32 way of requantization") {
  constexpr kernels::code_range bytes{-128, 127};
  for (const float m : {0x1p-8f, 0.0117f, 0.5f, 0.25f, 0.3f, 2.0f}) {
    for (const std::int32_t zero : {0, 5}) {
      for (std::int32_t sum = -400; sum <= 400; ++sum) {
        tensor q = full({1, 4}, 0, u8), w = full({1, 4}, sum < 0 ? -1 : 1, i8);
        for (std::int32_t k = 0, left = std::abs(sum); k < 4; ++k, left -= std::min(left, 255)) {
          q.data_as<std::uint8_t>()[k] = static_cast<std::uint8_t>(std::min(left, 255));
        }
        integer_linear_op<> op;
        op.finish = {{1, 0, {0, 255}}, {1, zero, bytes}, false, kernels::activation::none};
        const tensor y = record(op, q, w, full({1}, m), tensor());
        CHECK(y.item<int>() == requantize::nearest(sum, m, zero, bytes));
      }
    }
  }
}

TEST_CASE("integer_linear: sums are exact, codes and floats; a plan's packed step is the same") {
  for (const edge& x : {unsigned_edge, small_edge, signed_edge}) {
    for (const index_t in : {1, 5, 64, 131}) {
      for (const index_t out : {1, 10, 37}) {
        const tensor q = codes({6, in}, x);
        const tensor w = codes({out, in}, {1, 0, {-127, 127}});
        const tensor m = (rand({out}) * 1e-3 + 1e-4) * signed_edge.scale,
                     bias = codes({out}, {1, 0, {-100, 100}});
        tensor whole = empty({out}, i32);
        for (index_t i = 0; i < out; ++i) {
          whole.data_as<std::int32_t>()[i] = bias.data_as<std::int8_t>()[i] * 1000;
        }
        for (const bool real : {false, true}) {
          integer_linear_op<> op;
          op.finish = {x, signed_edge, real, kernels::activation::relu};
          const tensor b = real ? cast(whole, f32) : whole;
          const tensor y = record(op, q, w, m, b);
          const auto packed = op.prepare(list{tensor(), w, m, b});
          const tensor* const only[] = {&q};
          adze::detail::results again;
          packed->run(only, again);
          CHECK(compare(again[0], y).count == 0);
          for (index_t r = 0; r < 6; ++r) {
            for (index_t o = 0; o < out; ++o) {
              std::int64_t t = real ? 0 : whole.data_as<std::int32_t>()[o];
              for (index_t k = 0; k < in; ++k) {
                const std::uint8_t byte = static_cast<const std::uint8_t*>(q.data())[r * in + k];
                const std::int32_t code = x.is_signed() ? static_cast<std::int8_t>(byte) : byte;
                t += (code - x.zero) * w.data_as<std::int8_t>()[o * in + k];
              }
              const float scaled =
                  static_cast<float>(t) * m.data_as<float>()[o] * (1.0f / signed_edge.scale);
              const index_t at = r * out + o;
              if (real) {
                const double exact =
                    static_cast<double>(t) * m.data_as<float>()[o] + b.data_as<float>()[o];
                CHECK(y.data_as<float>()[at] ==
                      doctest::Approx(std::max(exact, 0.0)).epsilon(1e-6));
              } else {
                const double code = static_cast<double>(std::nearbyint(scaled)) + signed_edge.zero;
                CHECK(y.data_as<std::int8_t>()[at] ==
                      std::clamp(code, double(signed_edge.zero), 127.0));
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace adze::quant
