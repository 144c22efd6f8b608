// Every loss but cross-entropy against its formula written out per element, with all reductions,
// gradients twice, edge cases and texts of errors.
#include <cmath>
#include <functional>
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/graph/trace.hpp>
#include <adze/ops/loss.hpp>
#include <adze/tensor/create.hpp>

#include "losses.hpp"

namespace adze {

using namespace test;

TEST_CASE("mse, l1, smooth l1 and huber equal their formulas") {
  const tensor x = leaf({3, 7}, 2.0), t = leaf({3, 7}, 1.5, 0.9);
  check_loss(
      mse_loss<>, [](double a, double b) { return (a - b) * (a - b); }, x, t);
  check_loss(
      l1_loss<>, [](double a, double b) { return std::abs(a - b); }, x, t);
  for (const double beta : {0.0, 0.5, 1.0, 2.0}) {
    check_loss([=](const tensor& a, const tensor& b,
                   reduction r) { return smooth_l1_loss(a, b, beta, r); },
               [=](double a, double b) {
                 const double d = std::abs(a - b);
                 return d < beta ? 0.5 * d * d / beta : d - 0.5 * beta;
               },
               x, t);
  }
  for (const double delta : {0.5, 1.0, 2.0}) {
    check_loss(
        [=](const tensor& a, const tensor& b, reduction r) { return huber_loss(a, b, delta, r); },
        [=](double a, double b) {
          const double d = std::abs(a - b);
          return d <= delta ? 0.5 * d * d : delta * (d - 0.5 * delta);
        },
        x, t);
  }
}

TEST_CASE("mse of long, transposed and 16-bit tensors; the same bits for any threads") {
  const tensor x = smooth({70, 1500}, f32), t = smooth({70, 1500}, f32, 1.0, 0.5);
  double expected = 0;
  const auto a = numbers(x), b = numbers(t);
  for (std::size_t i = 0; i < a.size(); ++i) expected += (a[i] - b[i]) * (a[i] - b[i]);
  const int before = threads();
  set_threads(1);
  const float one = mse_loss(x, t, reduction::sum).item<float>();
  set_threads(4);
  const float four = mse_loss(x, t, reduction::sum).item<float>();
  set_threads(before);
  CHECK(one == four);
  CHECK(one == doctest::Approx(expected).epsilon(1e-6));
  CHECK(mse_loss(transpose(x), transpose(t), reduction::sum).item() ==
        doctest::Approx(expected).epsilon(1e-6));
  tensor low = cast(x, bf16);
  low.set_requires_grad();
  const tensor y = mse_loss(low, cast(t, bf16));
  CHECK(y.dtype() == bf16);
  backward(y);
  CHECK(low.grad().dtype() == bf16);
  const double scale = 2.0 / static_cast<double>(x.numel());
  CHECK(distance(numbers(low.grad()),
                 numbers((cast(low, f64) - cast(cast(t, bf16), f64)) * scale)) < 1e-7);
}

TEST_CASE("binary cross-entropy equals its formula, with weights, on probabilities and logits") {
  const tensor p = leaf_of(numbers(smooth({4, 5}, f64, 0.45) + 0.5), {4, 5});
  const tensor t = leaf_of(numbers(smooth({4, 5}, f64, 0.4, 0.9) + 0.5), {4, 5});
  const tensor x = leaf({4, 5}, 6.0), w = smooth({4, 5}, f64, 0.3) + 0.8;
  const tensor v = smooth({5}, f64, 0.5, 0.2) + 1.5;
  for (const bool weighted : {false, true}) {
    const bce_options base{weighted ? w : tensor(), {}, {}};
    std::size_t k = 0;
    const auto weight = [&] { return weighted ? numbers(w)[k++ % 20] : 1.0; };
    check_loss(
        [&](const tensor& a, const tensor& b, reduction r) {
          return binary_cross_entropy(a, b, {base.weight, {}, r});
        },
        [&](double a, double b) {
          return -weight() * (b * std::log(a) + (1 - b) * std::log(1 - a));
        },
        p, t);
    for (const bool positive : {false, true}) {
      std::size_t i = 0;
      k = 0;
      check_loss(
          [&](const tensor& a, const tensor& b, reduction r) {
            return binary_cross_entropy_with_logits(a, b,
                                                    {base.weight, positive ? v : tensor(), r});
          },
          [&](double a, double b) {
            const double s = 1 / (1 + std::exp(-a)), c = positive ? numbers(v)[i++ % 5] : 1.0;
            return -weight() * (c * b * std::log(s) + (1 - b) * std::log(1 - s));
          },
          x, t);
    }
  }
}

TEST_CASE("binary cross-entropy at the ends: logarithms stop at -100, logits do not overflow") {
  tensor p = leaf_of({0, 1, 0, 1}, {4});
  const tensor_f64 t{0, 1, 1, 0};
  const tensor y = binary_cross_entropy(p, t, {.reduce = reduction::none});
  CHECK(numbers(y) == std::vector<double>{0, 0, 100, 100});
  backward(sum(y));
  CHECK(numbers(p.grad()) == std::vector<double>{0, 0, -1e12, 1e12});
  tensor x = leaf_of({-1000, 1000, 1000, -1000}, {4});
  const tensor z = binary_cross_entropy_with_logits(x, t, {.reduce = reduction::none});
  CHECK(numbers(z) == std::vector<double>{0, 0, 0, 0});
  const tensor_f64 wrong{1, 0, 0, 1};
  const tensor u = binary_cross_entropy_with_logits(
      x, wrong, {.positive_weight = tensor_f64{2}, .reduce = reduction::none});
  CHECK(numbers(u) == std::vector<double>{2000, 1000, 1000, 2000});
  backward(sum(u));
  CHECK(numbers(x.grad()) == std::vector<double>{-2, 1, 1, -2});
}

TEST_CASE("binary cross-entropy in f16 has finite gradients at the ends") {
  tensor z = cast(tensor_f32{20, -20, 1}, f16), p = cast(tensor_f32{0, 1, 0x1p-20f}, f16);
  z.set_requires_grad(), p.set_requires_grad();
  const tensor t = cast(tensor_f32{1, 0, 1}, f16);
  backward(binary_cross_entropy(sigmoid(z), t));
  CHECK(distance(numbers(z.grad()), {0, 0, -0.0897}) < 1e-4);
  const tensor y = binary_cross_entropy(p, t, {.reduce = reduction::sum});
  CHECK(numbers(grad(y, {p})[0]) == std::vector<double>{-65504, 65504, -65504});
  const tensor zero = binary_cross_entropy(p, cast(tensor_f32{0, 1, 0}, f16));
  CHECK(distance(numbers(grad(zero, {p}, {.create_graph = true})[0]), {0, 0, 1.0 / 3}) < 1e-4);
}

TEST_CASE("infinite logits and inputs: losses are limits, gradients finite") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const tensor_f64 t{0, 1, 0, 1};
  for (const dtype type : {f64, f32, f16, bf16}) {
    tensor x = cast(tensor_f64{inf, inf, -inf, -inf}, type);
    x.set_requires_grad();
    for (const tensor& v : {tensor(), full({}, 1.0, type), full({}, 0.5, type)}) {
      const tensor y = binary_cross_entropy_with_logits(
          x, cast(t, type), {.positive_weight = v, .reduce = reduction::none});
      CHECK(numbers(y) == std::vector<double>{inf, 0, 0, inf});
      const double w = v.defined() ? v.item() : 1.0;
      for (const bool create : {false, true}) {
        CHECK(numbers(grad(sum(y), {x}, {.create_graph = create, .retain_graph = true})[0]) ==
              std::vector<double>{1, 0, 0, -w});
      }
    }
    const tensor zero = zeros({4}, type);
    for (const bool create : {false, true}) {
      CHECK(numbers(grad(smooth_l1_loss(x, zero, 0.5, reduction::sum), {x},
                         {.create_graph = create})[0]) == std::vector<double>{1, 1, -1, -1});
      CHECK(numbers(grad(huber_loss(x, zero, 2.0, reduction::sum), {x},
                         {.create_graph = create})[0]) == std::vector<double>{2, 2, -2, -2});
      // Not compared with {1, 1, 0, 0}, which g++ 12.2 makes four ones (docs/decisions.md).
      const auto slope = numbers(grad(sum(hardswish(x)), {x}, {.create_graph = create})[0]);
      CHECK((slope[0] == 1 && slope[1] == 1 && slope[2] == 0 && slope[3] == 0));
    }
  }
  CHECK(std::isnan(binary_cross_entropy_with_logits(tensor_f64{std::nan("")}, zeros({1})).item()));
}

TEST_CASE("kl_div equals its formula; targets of 0 add nothing") {
  const tensor x = leaf({3, 4}, 2.0);
  const tensor q = leaf_of(numbers(smooth({3, 4}, f64, 0.4, 0.9) + 0.5), {3, 4});
  const tensor log_q = leaf({3, 4}, 1.0, 0.9);
  for (const bool logarithm : {false, true}) {
    check_loss([=](const tensor& a, const tensor& b,
                   reduction r) { return kl_div(a, b, {.log_target = logarithm, .reduce = r}); },
               [=](double a, double b) {
                 return logarithm ? std::exp(b) * (b - a) : b * (std::log(b) - a);
               },
               x, logarithm ? log_q : q);
    const tensor& t = logarithm ? log_q : q;
    const tensor whole = kl_div(x, t, {.log_target = logarithm, .reduce = reduction::sum});
    CHECK(kl_div(x, t, {.log_target = logarithm, .batch_mean = true}).item() ==
          doctest::Approx(whole.item() / 3));
  }
  CHECK(kl_div(tensor_f64{-1, -2}, tensor_f64{0, 1}, {.reduce = reduction::sum}).item() == 2.0);
  const tensor never = leaf_of({-std::numeric_limits<double>::infinity(), -2}, {2});
  const tensor certain = leaf_of({0, 1}, {2});
  const tensor loss = kl_div(never, certain, {.reduce = reduction::sum});
  CHECK(loss.item() == 2.0);
  const auto first = grad(loss, {never, certain}, {.create_graph = true});
  CHECK(numbers(first[0]) == std::vector<double>{0, -1});
  CHECK(numbers(first[1]) == std::vector<double>{0, 3});
  CHECK(numbers(grad(sum(first[1]), {certain})[0]) == std::vector<double>{0, 1});
}

TEST_CASE("kl_div by the batch divides by that of the run, not of the trace") {
  const auto f = [](const tensor& x, const tensor& t) {
    return kl_div(x, t, {.batch_mean = true});
  };
  for (const shape& part : {shape{}, shape{3}, shape{2, 3}}) {
    const shape few = part.inserted(0, 2), all = part.inserted(0, 4);
    const tensor x = smooth(all), t = smooth(all, f64, 0.4, 0.9) + 0.5;
    CHECK(distance(trace(f, {smooth(few), smooth(few)})(x, t), f(x, t)) == 0.0);
    CHECK(f(x, t).item() == doctest::Approx(kl_div(x, t, {.reduce = reduction::sum}).item() / 4));
  }
}

TEST_CASE("losses of nothing: a mean is NaN, a sum is 0") {
  const tensor e = empty({0, 3});
  CHECK(std::isnan(mse_loss(e, e).item()));
  CHECK(mse_loss(e, e, reduction::sum).item() == 0.0);
  CHECK(std::isnan(l1_loss(e, e).item()));
  CHECK(mse_loss(e, e, reduction::none).shape() == shape{0, 3});
  CHECK(binary_cross_entropy(e, e, {.reduce = reduction::sum}).item() == 0.0);
  CHECK(mse_loss(tensor_f64(shape{}), tensor_f64(shape{})).rank() == 0);
}

TEST_CASE("losses say what does not fit") {
  const tensor x = smooth({4, 1}, f32), t = smooth({4}, f32);
  CHECK_THROWS_WITH_AS(mse_loss(x, t),
                       "mse_loss: input and target must have the same shape; input f32[4,1], "
                       "target f32[4]; reshape one of them",
                       shape_error);
  CHECK_THROWS_WITH_AS(l1_loss(x, smooth({1, 1}, f32)),
                       "l1_loss: input and target must have the same shape; input f32[4,1], "
                       "target f32[1,1]; expand one of them",
                       shape_error);
  CHECK_THROWS_WITH_AS(binary_cross_entropy(tensor_f32{0.5F, 1.5F}, tensor_f32{0, 1}),
                       "binary_cross_entropy: probabilities must be in 0..1; got f32[2] with "
                       "others; binary_cross_entropy_with_logits takes any number",
                       value_error);
  CHECK_THROWS_AS(binary_cross_entropy(tensor_f64{std::nan("")}, tensor_f64{0}), value_error);
  CHECK_THROWS_AS(binary_cross_entropy(t, t, {.positive_weight = t}), value_error);
  CHECK_THROWS_AS(smooth_l1_loss(t, t, -1.0), value_error);
  CHECK_THROWS_AS(huber_loss(t, t, 0.0), value_error);
  CHECK_THROWS_AS(mse_loss(tensor_i64{1}, tensor_i64{1}), dtype_error);
  CHECK_THROWS_AS(kl_div(smooth({}), smooth({}), {.batch_mean = true}), shape_error);
  for (const reduction other : {reduction::sum, reduction::none}) {
    CHECK_THROWS_AS(kl_div(smooth({2}), smooth({2}), {.batch_mean = true, .reduce = other}),
                    value_error);
  }
}

}  // namespace adze
