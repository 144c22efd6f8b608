// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <adze/core/random.hpp>
#include <adze/kernels/reference_int8.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/slice.hpp>
#include <adze/quant/affine.hpp>
#include <adze/tensor/create.hpp>

namespace adze {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

using quant::choose_parameters;
using quant::dequantize;
using quant::quantize;

quant::parameters chosen(float low, float high, const quant::format& f) {
  return quant::choose_parameters(full({}, low), full({}, high), f);
}
void check_chosen(float low, float high, const quant::format& f, float scale, int zero) {
  const quant::parameters p = chosen(low, high, f);
  CHECK(p.scale.item<float>() == scale);
  CHECK(p.zero_point.item<int>() == zero);
}
std::vector<int> codes_of(const tensor& q) {
  const tensor wide = cast(q, i32);
  const auto span = contiguous(wide).as<std::int32_t>().to_vector();
  return {span.begin(), span.end()};
}

TEST_CASE("quant: codes of a format") {
  using quant::code_range;
  CHECK(quant::format{}.codes() == code_range{0, 255});
  CHECK(quant::format{.reduce_range = true}.codes() == code_range{0, 127});
  CHECK(quant::format{.is_signed = true}.codes() == code_range{-128, 127});
  CHECK(quant::format{.is_signed = true, .reduce_range = true}.codes() == code_range{-64, 63});
  CHECK(quant::format{.is_signed = true, .narrow = true, .reduce_range = true}.codes() ==
        code_range{-64, 63});
  CHECK(quant::weight_format().codes() == code_range{-127, 127});
  CHECK(quant::weight_format(4).codes() == code_range{-7, 7});
  CHECK(quant::weight_format(2).codes() == code_range{-1, 1});
  CHECK(quant::torch_weight_format().codes() == code_range{-128, 127});
  CHECK(quant::activation_format(4).codes() == code_range{0, 15});
  CHECK(quant::format{.bits = 16, .is_signed = true}.codes() == code_range{-32768, 32767});
  CHECK(quant::format{.custom = {0, 2}}.codes() == code_range{0, 2});
  CHECK(quant::storage_of({0, 255}) == u8);
  CHECK(quant::storage_of({-128, 127}) == i8);
  CHECK(quant::storage_of({-128, 128}) == i32);
  CHECK_THROWS_AS(quant::format{.bits = 9}.codes(), value_error);
  CHECK_THROWS_AS(quant::format{.bits = 1}.codes(), value_error);
  const quant::format refused{.scheme = quant::scheme::symmetric, .reduce_range = true};
  CHECK_THROWS_AS(refused.codes(), value_error);
}

TEST_CASE("quant: parameters of ranges, the probes of numerics 3.2") {
  const quant::format u8_affine = quant::activation_format();
  check_chosen(0.2f, 1, u8_affine, 1 / 255.0f, 0);
  check_chosen(-2, -1, u8_affine, 2 / 255.0f, 255);
  check_chosen(0, 0, u8_affine, 1.1920929e-7f, 0);
  check_chosen(5, 5, u8_affine, 5 / 255.0f, 0);
  check_chosen(-1, 2, quant::torch_weight_format(8, quant::per_tensor()), 2 / 127.5f, 0);
  check_chosen(-1, 2, quant::weight_format(8, quant::per_tensor()), 2 / 127.0f, 0);
  const auto symmetric = [](quant::format f) {
    f.scheme = quant::scheme::symmetric;
    return f;
  };
  check_chosen(-1, 2, symmetric({}), 2 / 127.5f, 128);
  check_chosen(-1, 2, symmetric({.custom = {0, 254}}), 2 / 127.0f, 127);
  check_chosen(0, 1e-12f, {.least = 0.000244140625f}, 0.000244140625f, 0);
  check_chosen(-3e38f, 3e38f, u8_affine, 3e38f / 255 + 3e38f / 255, 128);
  // The zero point is half to even: 2.5 steps below.
  check_chosen(-2.5f, 252.5f, u8_affine, 1, 2);
  check_chosen(-3.5f, 251.5f, u8_affine, 1, 4);
  const quant::parameters real = chosen(0.5f, 2, {.scheme = quant::scheme::real_zero});
  CHECK(real.scale.item<float>() == 1.5f / 255);
  CHECK(real.zero_point.item<float>() == -0.5f / (1.5f / 255));
  CHECK(chosen(3, 3, {.scheme = quant::scheme::real_zero}).scale.item<float>() == 1);
  CHECK_THROWS_AS(chosen(1, 0, u8_affine), value_error);
  CHECK_THROWS_AS(chosen(nan, 1, u8_affine), value_error);
  CHECK_THROWS_AS(chosen(0, infinity, u8_affine), value_error);
  CHECK_THROWS_AS(quant::choose_parameters(zeros({2}), zeros({3}), u8_affine), shape_error);
}

TEST_CASE("quant: the function itself, the probes of numerics 3.3") {
  const tensor ties = tensor_f32{0.5f, 1.5f, 2.5f, -0.5f, -1.5f};
  CHECK(codes_of(quantize(ties, quant::make_parameters({1, 1}, {0, 255}))) ==
        std::vector<int>{1, 3, 3, 1, 0});
  const quant::parameters real{full({}, 1), full({}, 1), {}, {0, 255}};
  CHECK(codes_of(quantize(ties, real)) == std::vector<int>{2, 2, 4, 0, 0});
  CHECK(codes_of(quantize(tensor_f32{0.273939937f},
                          quant::make_parameters({0.00214854861f, 0}, {0, 255}))) ==
        std::vector<int>{128});
  const tensor special = tensor_f32{infinity, -infinity, nan, 1e30f, -1e30f};
  CHECK(codes_of(quantize(special, quant::make_parameters({0.5f, 7}, {0, 255}))) ==
        std::vector<int>{255, 0, 7, 255, 0});
  for (const auto& p :
       {quant::parameters{full({5}, 0.5), full({5}, 7, i32), quant::per_axis(0), {0, 255}},
        quant::parameters{full({}, 0.5), full({}, 7), {}, {0, 255}}}) {
    CHECK(codes_of(quantize(special, p)) == std::vector<int>{255, 0, 7, 255, 0});
  }
  CHECK(quantize(special, {full({}, 1), {}, {}, {-30000, 30000}}).dtype() == i32);
}

TEST_CASE("quant: dynamic parameters") {
  const auto same = [](const quant::parameters& p, float scale, int zero) {
    CHECK(p.scale.item<float>() == scale);
    CHECK(p.zero_point.item<int>() == zero);
  };
  same(quant::dynamic_parameters(tensor_f32{0.2f, 1, nan}), 1 / 255.0f, 0);
  same(quant::dynamic_parameters(tensor_f32{-1, 3}, kernels::codes_u7), 4 / 127.0f, 32);
  same(quant::dynamic_parameters(zeros({0})), 0.1f, 0);
  // Preserved sparsity: codes -128..127 about the middle code, 127.5 to even.
  same(quant::dynamic_parameters(tensor_f32{-1, 2}, kernels::codes_u8, {.preserve_sparsity = true}),
       static_cast<float>(2 / 127.0), 128);
  same(quant::dynamic_parameters(tensor_f32{0, 2}, kernels::codes_u8, {.preserve_sparsity = true}),
       2 / 255.0f, 0);  // of one sign: as usual
  same(quant::dynamic_parameters(tensor_f32{0, 255}, kernels::codes_u8, {.power_of_two = true}), 1,
       0);
  same(quant::dynamic_parameters(tensor_f32{0, 256}, kernels::codes_u8, {.power_of_two = true}), 2,
       0);
  same(quant::dynamic_parameters(tensor_f32{0, 100}, kernels::codes_u8, {.power_of_two = true}),
       0.5f, 0);
}

struct slow {  // the pair of parameters of one element, by the definition of granularity
  const quant::parameters& p;
  kernels::affine operator()(const index_t (&at)[3], const shape& x) const {
    index_t i = 0;
    if (p.grain.of == quant::granularity::kind::axis) i = at[resolve_axis(p.grain.axis, 3, "")];
    if (p.grain.of == quant::granularity::kind::group) {
      const index_t axis = resolve_axis(p.grain.axis, 3, "");
      for (index_t a = 0; a < 3; ++a)
        i = a == axis ? i * p.scale.shape()[a] + at[a] / p.grain.group : i * x[a] + at[a];
    }
    return {p.scale.data_as<float>()[i], p.zero_point.data_as<std::int32_t>()[i]};
  }
};

// Codes and values of x with every granularity, against the slow twin.
void check_all(const tensor& x, const quant::format& f, std::uint64_t seed) {
  generator g(seed);
  const shape sizes = quant::parameter_shape(f.grain, x.shape(), "test");
  const quant::parameters p =
      quant::choose_parameters(rand(sizes, f32, g) * -3.0, rand(sizes, f32, g) * 3.0, f);
  const tensor q = quant::quantize(x, p), y = quant::dequantize(q, p);
  CHECK(q.dtype() == p.storage());
  CHECK(q.shape() == x.shape());
  CHECK((!is_dense(x) || q.strides() == x.strides()));
  const auto from = cast(x, f32).as<float>();
  const auto back = y.as<float>();
  const auto codes = cast(q, i32).as<std::int32_t>();
  const slow twin{p};
  for (index_t a = 0; a < x.size(0); ++a)
    for (index_t b = 0; b < x.size(1); ++b)
      for (index_t c = 0; c < x.size(2); ++c) {
        const kernels::affine one = twin({a, b, c}, x.shape());
        const auto expected =
            kernels::reference::quantize<std::int32_t>(from(a, b, c), one, p.codes);
        REQUIRE(codes(a, b, c) == expected);
        REQUIRE(back(a, b, c) == kernels::reference::dequantize(expected, one));
      }
}

TEST_CASE("quant: every granularity, layout and dtype has the codes of the slow twin") {
  generator g(3);
  const tensor x = randn({3, 10, 13}, f32, g) * 2.0;
  std::uint64_t seed = 10;
  for (const bool is_signed : {false, true})
    for (const int bits : {2, 4, 7, 8, 16})
      for (const quant::granularity& grain :
           {quant::per_tensor(), quant::per_axis(0), quant::per_axis(1), quant::per_axis(-1),
            quant::per_group(4), quant::per_group(5, 1), quant::per_group(1, 0),
            quant::per_group(100)}) {
        const quant::format f{.bits = bits, .is_signed = is_signed, .grain = grain};
        check_all(x, f, seed++);
        if (bits != 8) continue;
        check_all(transpose(x, 0, 2), f, seed++);
        check_all(slice(x, 2, {.start = 1, .step = 3}), f, seed++);
        check_all(cast(x, f16), f, seed++);
        check_all(cast(x, bf16), f, seed++);
      }
  const quant::parameters wide{full({}, 1e-3, f64), {}, {}, {-2147483647 - 1, 2147483647}};
  CHECK(codes_of(quantize(tensor_f64{123456.789, -1e9, 1e9}, wide)) ==
        std::vector<int>{123456789, -2147483647 - 1, 2147483647});
}

TEST_CASE("quant: empty tensors and 0-d ones") {
  const quant::parameters p = quant::make_parameters({0.5f, 3}, {0, 255});
  CHECK(quantize(zeros({0, 4}), p).shape() == shape{0, 4});
  CHECK(quantize(full({}, 1), p).item<int>() == 5);
  CHECK(dequantize(quantize(full({}, 1), p), p).item<float>() == 1);
  const quant::format f = quant::weight_format(4, quant::per_group(8));
  const shape sizes = quant::parameter_shape(f.grain, {4, 0}, "test");
  CHECK(sizes == shape{4, 0});
  CHECK(quantize(zeros({4, 0}), choose_parameters(zeros(sizes), zeros(sizes), f)).numel() == 0);
}

TEST_CASE("quant: errors are one sentence, before anything is done") {
  const quant::parameters p{full({3}, 1), {}, quant::per_axis(1), {0, 255}};
  CHECK_THROWS_WITH_AS(quantize(zeros({2, 4}), p),
                       "quantize: per index of axis 1 needs floating scales of shape [4]; got "
                       "f32[3] for f32[2,4]",
                       shape_error);
  CHECK_THROWS_AS(quantize(zeros({2}), p), shape_error);
  CHECK_THROWS_AS(quantize(zeros({2, 3}, i32), p), dtype_error);
  CHECK_THROWS_AS(dequantize(zeros({2, 3}), p), dtype_error);
  CHECK_THROWS_AS(quantize(zeros({2}), {full({}, 0), {}, {}, {0, 255}}), value_error);
  CHECK_THROWS_AS(quantize(zeros({2}), {full({}, infinity), {}, {}, {0, 255}}), value_error);
  CHECK_THROWS_AS(quantize(zeros({2}), {full({}, 1), zeros({2}, i32), {}, {0, 255}}), shape_error);
  // Whatever the layout and the type of the scales.
  const tensor pairs = tensor_f32{1.0f, 1.0f, -1.0f, 1.0f};
  const quant::parameters strided{slice(pairs, 0, {.step = 2}), {}, quant::per_axis(0), {0, 255}};
  CHECK_THROWS_AS(quantize(zeros({2}), strided), value_error);
  CHECK_THROWS_AS(quantize(zeros({2}), {full({}, -1, bf16), {}, {}, {0, 255}}), value_error);
  CHECK_THROWS_AS(quantize(zeros({2}), {full({2}, 1), {}, quant::per_group(0), {0, 255}}),
                  value_error);
}

}  // namespace
}  // namespace adze
