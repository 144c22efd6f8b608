// SPDX-License-Identifier: MIT
// Estimators against their stated formulas: values, gradients of inputs and of parameters, in f64.
#include <doctest/doctest.h>

#include <adze/autograd/gradients.hpp>
#include <adze/graph/trace.hpp>
#include <adze/quant/dorefa.hpp>
#include <adze/quant/pact.hpp>
#include <adze/quant/tqt.hpp>

#include <adze/ops/slice.hpp>

#include "../ops/checks.hpp"

namespace adze::quant {
namespace {

using namespace test;

list gradients(const tensor& y, const tensor& g, const list& x) {
  return grad(list{sum(y * g)}, x);
}
std::vector<double> of(const tensor& x) { return numbers(x); }

TEST_CASE("lsq: the published start and gradient scale") {
  const tensor w = tensor_f64{-1.0, -0.5, 0.25, 0.75};
  const tensor s = lsq_start(w, {.bits = 4});
  CHECK(s.item() == doctest::Approx(0.472456).epsilon(1e-6));
  CHECK(s.requires_grad());
  tensor step = full({}, 0.3, f64);
  step.set_requires_grad();
  const double with = grad(list{sum(lsq(w, step, {.bits = 4}))}, list{step})[0].item();
  const double without =
      grad(list{sum(lsq(w, step, {.bits = 4, .scale_gradient = false}))}, list{step})[0].item();
  CHECK(with / without == doctest::Approx(0.188982).epsilon(1e-6));
}

TEST_CASE("lsq: values and gradients of inputs and steps, per tensor and per axis") {
  for (const bool is_signed : {false, true}) {
    const lsq_options o{.bits = 3, .is_signed = is_signed, .scale_gradient = false};
    const double low = is_signed ? -4 : 0, high = is_signed ? 3 : 7;
    tensor x = tensor_f64{-5.0, -0.3, 0.3, 0.7, 1.4, 9.0}, s = full({}, 0.5, f64);
    x.set_requires_grad();
    s.set_requires_grad();
    const tensor g = random({6});
    const tensor y = lsq(x, s, o);
    const list d = gradients(y, g, {x, s});
    double ds = 0;
    for (std::size_t i = 0; i < 6; ++i) {
      const double v = of(x)[i] / 0.5, r = std::nearbyint(v), q = std::clamp(r, low, high);
      CHECK(of(y)[i] == doctest::Approx(q * 0.5));
      const bool inside = r >= low && r <= high;
      CHECK(of(d[0])[i] == doctest::Approx(inside ? of(g)[i] : 0.0));
      ds += of(g)[i] * (r < low ? low : r > high ? high : r - v);
    }
    CHECK(d[1].item() == doctest::Approx(ds));
  }
  const tensor w = random_leaf({3, 5});
  const lsq_options o{.bits = 4, .grain = per_axis(0)};
  const tensor steps = lsq_start(w, o);
  const tensor y = lsq(w, steps, o), g = random({3, 5});
  const list d = gradients(y, g, {w, steps});
  for (index_t r = 0; r < 3; ++r) {
    tensor row = clone(detach(select(w, 0, r))), one = clone(detach(select(steps, 0, r)));
    row.set_requires_grad();
    one.set_requires_grad();
    const tensor part = lsq(row, one, {.bits = 4});
    const list e = gradients(part, select(g, 0, r), {row, one});
    CHECK(distance(of(select(y, 0, r)), of(part)) < 1e-12);
    CHECK(distance(of(select(d[0], 0, r)), of(e[0])) < 1e-12);
    CHECK(of(d[1])[static_cast<std::size_t>(r)] == doctest::Approx(e[1].item()));
  }
}

TEST_CASE("lsq: one axis with a step for each element") {
  tensor x = tensor_f64{-1.2, -0.3, 0.6, 1.4, -7.0};
  x.set_requires_grad();
  const lsq_options o{.bits = 8, .grain = per_axis(0)};
  const tensor steps = lsq_start(x, o);
  REQUIRE(steps.shape() == shape{5});
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(of(steps)[i] == doctest::Approx(std::abs(of(x)[i]) * 2 / std::sqrt(127.0)));
  }
  tensor own = tensor_f64{0.25, 0.5, 0.004, 0.3, 0.01};  // the third and the last beyond the codes
  own.set_requires_grad();
  const tensor y = lsq(x, own, o), g = random({5});
  const list d = gradients(y, g, {x, own});
  REQUIRE(d[1].shape() == shape{5});
  for (std::size_t i = 0; i < 5; ++i) {
    const double v = of(x)[i] / of(own)[i], r = std::nearbyint(v), q = std::clamp(r, -128.0, 127.0);
    CHECK(of(y)[i] == doctest::Approx(q * of(own)[i]));
    CHECK(of(d[0])[i] == doctest::Approx(q == r ? of(g)[i] : 0.0));
    const double slope = q == r ? r - v : q;
    CHECK(of(d[1])[i] == doctest::Approx(of(g)[i] * slope / std::sqrt(127.0)));
  }
  CHECK_THROWS_AS(lsq_start(x, {.grain = per_group(2)}), value_error);
}

TEST_CASE("lsq: the slope of the step at the outermost codes") {
  const tensor x = tensor_f64{-2.3, -2.1, -1.9, 1.4, 1.6, 1.8};
  tensor s = full({}, 0.5, f64);
  s.set_requires_grad();
  const tensor y = lsq(x, s, {.bits = 3, .scale_gradient = false});
  const std::vector<double> slope{-4, 0.2, -0.2, 0.2, -0.2, 3};  // codes -4..3
  for (index_t i = 0; i < 6; ++i) {
    tensor g = zeros({6}, f64);
    g.data_as<double>()[i] = 1;
    const tensor d = grad(list{sum(y * g)}, list{s}, {.retain_graph = true})[0];
    CHECK(d.item() == doctest::Approx(slope[static_cast<std::size_t>(i)]));
  }
}

TEST_CASE("lsq_plus: the offset moves only what is clipped") {
  tensor x = tensor_f64{-3.0, 0.1, 0.9, 5.0}, s = full({}, 0.5, f64), b = full({}, 0.25, f64);
  for (tensor* t : {&x, &s, &b}) t->set_requires_grad();
  const tensor y = lsq_plus(x, s, b, {.bits = 2, .is_signed = false});
  const tensor g = tensor_f64{1.0, 10.0, 100.0, 1000.0};
  const list d = gradients(y, g, {x, b});
  CHECK(of(y) == std::vector<double>{0.25, 0.25, 0.75, 1.75});
  CHECK(of(d[0]) == std::vector<double>{0, 10, 100, 0});
  CHECK(d[1].item() == 1001.0);
}

// With offset = -zero_point * scale the chain rule gives the gradients of PyTorch's learnable
// quantizer: qmin - z and qmax - z outside, (x^ - x) / s inside; -s per clipped element.
TEST_CASE("lsq_plus: the probe vector of the learnable zero point") {
  const std::vector<double> ds{-3, -0.4, 0.4, -0.4, 0.2, 4}, dz{-0.5, 0, 0, 0, 0, -0.5},
      value{-1.5, -0.5, 0.5, 0.5, 1.5, 2};
  for (index_t i = 0; i < 6; ++i) {
    const tensor x = tensor_f64{-5.0, -0.3, 0.3, 0.7, 1.4, 9.0};
    tensor s = full({}, 0.5, f64), z = full({}, 3.0, f64), g = zeros({6}, f64);
    s.set_requires_grad(), z.set_requires_grad();
    g.data_as<double>()[i] = 1;
    const tensor y =
        lsq_plus(x, s, 0.0 - z * s, {.bits = 3, .is_signed = false, .scale_gradient = false});
    const list d = gradients(y, g, {s, z});
    const auto k = static_cast<std::size_t>(i);
    CHECK(of(y)[k] == doctest::Approx(value[k]).epsilon(1e-12));
    CHECK(d[0].item() == doctest::Approx(ds[k]).epsilon(1e-12));
    CHECK(d[1].item() == doctest::Approx(dz[k]).epsilon(1e-12));
  }
}

TEST_CASE("pact: clipped at alpha, whose gradient is what lies beyond it") {
  tensor x = tensor_f64{-1.0, 0.0, 0.4, 2.0, 3.0}, alpha = full({}, 2.0, f64);
  x.set_requires_grad();
  alpha.set_requires_grad();
  const tensor y = pact(x, alpha, 2);
  const double step = static_cast<double>(static_cast<float>(2.0 / 3));
  CHECK(distance(of(y), {0, 0, step, 3 * step, 3 * step}) < 1e-12);
  const list d = gradients(y, tensor_f64{1.0, 10.0, 100.0, 1000.0, 10000.0}, {x, alpha});
  CHECK(of(d[0]) == std::vector<double>{0, 10, 100, 0, 0});
  CHECK(d[1].item() == 11000.0);
  CHECK(message_of([&] { pact(x, full({}, -1.0)); }).starts_with("pact: alpha is one positive"));
}

TEST_CASE("dorefa: weights, activations and gradients") {
  const tensor w = random_leaf({50});
  const tensor y = dorefa_weight(w, 2), g = random({50});
  double most = 0;
  for (const double v : of(w)) most = std::max(most, std::abs(std::tanh(v)));
  const auto d = of(gradients(y, g, {w})[0]);
  for (std::size_t i = 0; i < 50; ++i) {
    const double t = std::tanh(of(w)[i]);
    const double q = std::nearbyint((t / (2 * most) + 0.5) * 3) / 3;
    CHECK(of(y)[i] == doctest::Approx(2 * q - 1).epsilon(1e-6));
    CHECK(d[i] == doctest::Approx(of(g)[i] * (1 - t * t) / most).epsilon(1e-9));
  }
  const tensor one = dorefa_weight(w, 1);
  const double size = mean(abs(w)).item();
  for (const double v : of(one)) CHECK(std::abs(v) == doctest::Approx(size));
  CHECK(distance(of(gradients(one, g, {w})[0]), of(g)) < 1e-12);

  tensor x = tensor_f64{-0.5, 0.0, 0.3, 1.0, 1.5};
  x.set_requires_grad();
  const tensor a = dorefa_activation(x, 2);
  CHECK(distance(of(a), {0, 0, 1.0 / 3, 1, 1}) < 1e-6);
  CHECK(of(gradients(a, ones({5}, f64), {x})[0]) == std::vector<double>{0, 1, 1, 1, 0});

  const tensor z = random_leaf({4, 1000});
  const tensor big = random({4, 1000});
  const tensor noisy = gradients(dorefa_gradient(z, 6), big, {z})[0];
  const double span = 2 * amax(abs(big)).item() / 63;
  CHECK(distance(of(noisy), of(big)) <= span * 1.01);
  CHECK(std::abs(mean(noisy - big).item()) < 0.1 * span);
}

TEST_CASE("dorefa_gradient: each run of a graph draws its own noise, the same for the same seed") {
  const tensor x = random_leaf({4, 100}), big = random({4, 100});
  const graph g = trace([](const tensor& v) { return dorefa_gradient(v, 3); }, x);
  manual_seed(7);
  const auto one = of(gradients(g(x), big, {x})[0]), two = of(gradients(g(x), big, {x})[0]);
  CHECK(distance(one, two) > 0);
  manual_seed(7);
  CHECK(distance(of(gradients(dorefa_gradient(x, 3), big, {x})[0]), one) == 0);
  // One run back may be repeated.
  const tensor y = dorefa_gradient(x, 3);
  const auto back = [&] {
    return of(grad(list{sum(y * big)}, list{x}, {.retain_graph = true})[0]);
  };
  CHECK(distance(back(), back()) == 0);
}

TEST_CASE("lsq: in a graph the gradient scale is that of the call") {
  tensor step = full({}, 0.3, f64);
  step.set_requires_grad();
  const auto f = [&](const tensor& v) { return lsq(v, step, {.bits = 4}); };
  const tensor x = random({12});
  const graph g = trace(f, random({500}));
  const auto slope = [&](const tensor& y) { return grad(list{sum(y)}, list{step})[0].item(); };
  CHECK(slope(g(x)) == doctest::Approx(slope(f(x))));
}

TEST_CASE("tqt: thresholds that are no numbers, or too large or small for a scale") {
  const tensor x = random({20});
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double t : {std::nan(""), infinity, 1e30}) {
    CHECK_THROWS_AS(tqt(x, full({}, t, f64), {.bits = 4}), value_error);
    CHECK_THROWS_AS(tqt(x, full({}, t, f32), {.bits = 4}), value_error);
  }
  for (const double t : {-infinity, -1e30}) {  // f32's epsilon as the scale
    CHECK(amax(abs(tqt(x, full({}, t, f64), {.bits = 4}))).item() < 1e-5);
  }
}

TEST_CASE("tqt: scales are powers of two, gradients those of the logarithm") {
  tensor x = random_leaf({20}), t = full({}, 0.3, f64);
  t.set_requires_grad();
  const tensor y = tqt(x, t, {.bits = 4});
  const double s = 2.0 / 8;
  const tensor g = random({20});
  const list d = gradients(y, g, {x, t});
  double slope = 0;
  for (std::size_t i = 0; i < 20; ++i) {
    const double v = of(x)[i] / s, r = std::nearbyint(v);
    CHECK(of(y)[i] == doctest::Approx(std::clamp(r, -8.0, 7.0) * s));
    slope += of(g)[i] * (r < -8 ? -8 : r > 7 ? 7 : r - v);
  }
  CHECK(d[1].item() == doctest::Approx(slope * s * std::log(2.0)));
}

TEST_CASE("pact: NaN stays") {
  const tensor y = pact(tensor_f32{NAN, 1.0f}, full({}, 4.0, f32), 4);
  CHECK(std::isnan(numbers(y)[0]));
  CHECK(numbers(y)[1] == doctest::Approx(1.0).epsilon(0.1));
}

}  // namespace
}  // namespace adze::quant
