// SPDX-License-Identifier: MIT
// Fake quantization: the published vectors, the straight-through gradient, and codes equal to those
// of quantize and dequantize bit for bit.
#include <doctest/doctest.h>

#include <adze/autograd/gradients.hpp>
#include <adze/quant/fake_quant.hpp>

#include "../ops/checks.hpp"

namespace adze::quant {
namespace {

using namespace test;

parameters whole(float scale, std::int32_t zero, code_range codes) {
  return make_parameters({scale, zero}, codes);
}
list gradients(const tensor& y, const list& x) { return grad(list{sum(y)}, x); }

TEST_CASE("fake_quantize: ties to even before the zero point, mask on the rounded code") {
  const tensor x = tensor_f32{0.5f, 1.5f, 2.5f, -0.5f, -1.5f};
  CHECK(numbers(quant::quantize(x, whole(1, 1, {0, 255}))) == std::vector<double>{1, 3, 3, 1, 0});
  CHECK(numbers(fake_quantize(x, whole(1, 1, {0, 255}))) == std::vector<double>{0, 2, 2, 0, -1});
  CHECK(numbers(quant::quantize(tensor_f32{0.273939937f}, whole(0.00214854861f, 0, {0, 255})))[0] ==
        128);
  tensor probe = tensor_f32{-0.6f, -0.5f, 2.5f, 2.6f};
  probe.set_requires_grad();
  const tensor y = fake_quantize(probe, whole(1, 0, {0, 2}));
  CHECK(numbers(gradients(y, {probe})[0]) == std::vector<double>{0, 1, 1, 0});
}

TEST_CASE("fake_quantize: NaN stays, infinities are clamped and pass no gradient") {
  const float inf = std::numeric_limits<float>::infinity();
  tensor x = tensor_f32{std::nanf(""), inf, -inf, 1e30f};
  x.set_requires_grad();
  const tensor y = fake_quantize(x, whole(0.5f, 3, {0, 7}));
  const auto v = numbers(y);
  CHECK(std::isnan(v[0]));
  CHECK(v[1] == 2);
  CHECK(v[2] == -1.5);
  CHECK(v[3] == 2);
  CHECK(numbers(gradients(y, {x})[0]) == std::vector<double>{0, 0, 0, 0});
}

TEST_CASE("fake_quantize: bit for bit quantize then dequantize, per tensor, axis and group") {
  const tensor w = random({6, 5, 4}, f32);
  for (const granularity& g : {per_tensor(), per_axis(0), per_axis(1), per_axis(-1),
                               per_group(3, 0), per_group(2, 1), per_group(4, 2)}) {
    for (const bool is_signed : {false, true}) {
      const shape sizes = parameter_shape(g, w.shape(), "test");
      tensor zero = cast(rand(sizes) * 9.0, i32);
      const parameters p{rand(sizes) + 0.05, zero, g,
                         is_signed ? code_range{-128, 127} : code_range{0, 127}};
      for (const tensor& x : {w, transpose(transpose(w, 0, 2), 0, 2)}) {
        const tensor a = fake_quantize(x, p), b = dequantize(quant::quantize(x, p), p);
        CHECK(distance(numbers(a), numbers(b)) == 0.0);
      }
    }
  }
}

TEST_CASE("fake_quantize: first and second gradients are those of the masked identity") {
  const tensor s = tensor_f64{0.25, 0.5, 1.0}, x = random_leaf({4, 3});
  const parameters p{s, {}, per_axis(1), {-2, 2}};
  const tensor inside = cast(abs(x / s) < 2.5, f64);
  const tensor y = fake_quantize(x, p);
  const tensor g = grad(list{sum(square(y))}, list{x}, {.create_graph = true})[0];
  CHECK(distance(numbers(g), numbers(2.0 * y * inside)) < 1e-12);
  const tensor second = grad(list{sum(g)}, list{x})[0];
  CHECK(distance(numbers(second), numbers(2.0 * inside)) < 1e-12);
}

TEST_CASE("fake_quantize: a zero point that is no code; the mask at both ends") {
  tensor x = tensor_f32{-0.8f, -0.5f, 0.0f, 3.2f, 3.3f};
  x.set_requires_grad();
  const tensor y = fake_quantize(x, {full({}, 1), full({}, 0.25), {}, {0, 3}});
  CHECK(numbers(y) == std::vector<double>{-0.25, -0.25, -0.25, 2.75, 2.75});
  CHECK(numbers(gradients(y, {x})[0]) == std::vector<double>{0, 1, 1, 1, 0});
}

TEST_CASE("fake_quantize: 16-bit floats, biases in s32, switched off, errors") {
  const tensor x = random({50}, f32);
  const parameters p = whole(0.1f, 5, {0, 15});
  CHECK(fake_quantize(cast(x, bf16), p).dtype() == bf16);
  const parameters bias{tensor_f32{0x1p-23f}, {}, per_axis(0), bias_codes};
  const tensor b = tensor_f32{1.2345678f};
  CHECK(numbers(quant::quantize(b, bias))[0] == double(1.2345678f) * 0x1p23);
  const fake_quantize_op<> off{per_tensor(), {0, 15}, false};
  CHECK(distance(numbers(record(off, x, p.scale, p.zero_point)), numbers(x)) == 0.0);
  CHECK_THROWS_AS(fake_quantize(x, {tensor_f32{1, 2}, {}, per_axis(0), {0, 15}}), shape_error);
  CHECK_THROWS_AS(fake_quantize(x, whole(0, 0, {0, 15})), value_error);
  CHECK_THROWS_AS(fake_quantize(cast(x, i32), p), dtype_error);
}

}  // namespace
}  // namespace adze::quant
