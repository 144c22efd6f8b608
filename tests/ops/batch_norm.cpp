// SPDX-License-Identifier: MIT
// Batch norm against the definition: both modes, both layouts, running statistics, derivatives.
#include <doctest/doctest.h>

#include <adze/ops/norm.hpp>

#include "checks.hpp"

namespace adze {
namespace {

using namespace test;

struct statistics {
  std::vector<double> mean, var;  // biased
};

// x as [n, c, pixels].
statistics naive_statistics(const tensor& x) {
  const std::vector<double> v = numbers(x);
  const auto n = static_cast<std::size_t>(x.size(0)), c = static_cast<std::size_t>(x.size(1));
  const std::size_t pixels = v.size() / (n * c);
  const double count = static_cast<double>(n * pixels);
  statistics s{std::vector<double>(c), std::vector<double>(c)};
  for (int pass = 0; pass < 2; ++pass) {
    for (std::size_t i = 0; i < v.size(); ++i) {
      const std::size_t k = i / pixels % c;
      if (pass == 0) s.mean[k] += v[i] / count;
      if (pass == 1) s.var[k] += (v[i] - s.mean[k]) * (v[i] - s.mean[k]) / count;
    }
  }
  return s;
}
std::vector<double> naive(const tensor& x, const tensor& w, const tensor& b, const statistics& s) {
  std::vector<double> v = numbers(x), scale, shift;
  if (w.defined()) scale = numbers(w);
  if (b.defined()) shift = numbers(b);
  const auto n = static_cast<std::size_t>(x.size(0)), c = static_cast<std::size_t>(x.size(1));
  const std::size_t pixels = v.size() / (n * c);
  for (std::size_t i = 0; i < v.size(); ++i) {
    const std::size_t k = i / pixels % c;
    v[i] = (v[i] - s.mean[k]) / std::sqrt(s.var[k] + 1e-5);
    if (w.defined()) v[i] *= scale[k];
    if (b.defined()) v[i] += shift[k];
  }
  return v;
}

}  // namespace

TEST_CASE("batch_norm is the definition in every shape and layout") {
  for (const shape& sizes :
       {shape{4, 3}, shape{7, 1}, shape{300, 9}, shape{1000, 17}, shape{5, 4, 6}, shape{2, 3, 4, 5},
        shape{3, 1, 8, 8}, shape{2, 20, 1, 1}, shape{9, 5, 40, 40}, shape{2, 2, 2, 3, 3}}) {
    CAPTURE(sizes);
    const tensor x = random(sizes), w = random({sizes[1]}), b = random({sizes[1]});
    const std::vector<double> expected = naive(x, w, b, naive_statistics(x));
    CHECK(off_by(batch_norm(x, w, b, {}, {}), expected) < 1e-11);
    const tensor last = channels_last(x), y = batch_norm(last, w, b, {}, {});
    CHECK(off_by(y, expected) < 1e-11);
    CHECK(y.strides() == last.strides());
    const tensor narrow = cast(x, f32);
    const std::vector<double> rounded = naive(narrow, w, b, naive_statistics(narrow));
    CHECK(off_by(batch_norm(narrow, cast(w, f32), cast(b, f32), {}, {}), rounded) < 3e-5);
    CHECK(off_by(batch_norm(channels_last(narrow), cast(w, f32), cast(b, f32), {}, {}), rounded) <
          3e-5);
  }
}

TEST_CASE("running statistics move by the momentum, the variance unbiased") {
  const tensor x = random({3, 2, 5}, f32);
  for (const dtype type : {f32, f64, bf16}) {
    const tensor mean = full({2}, 0.5, type), var = full({2}, 2.0, type);
    const std::uint32_t version = mean.version();
    static_cast<void>(batch_norm(x, {}, {}, mean, var, {.momentum = 0.25}));
    const statistics s = naive_statistics(x);
    std::vector<double> m(2), v(2);
    for (std::size_t i = 0; i < 2; ++i) {
      m[i] = 0.75 * 0.5 + 0.25 * s.mean[i];
      v[i] = 0.75 * 2.0 + 0.25 * s.var[i] * 15 / 14;
    }
    const double most = type == bf16 ? 2e-2 : 1e-6;
    CHECK(off_by(mean, m) < most);
    CHECK(off_by(var, v) < most);
    CHECK(mean.version() > version);
  }
}

TEST_CASE("the smallest batches, and an eps of one's own in both modes") {
  const tensor x = reshape(tensor_f64{1, 3, 10, 16}, {1, 2, 2});  // one image of two pixels
  const tensor mean = zeros({2}, f64), var = ones({2}, f64);
  const tensor y = batch_norm(x, {}, {}, mean, var, {.momentum = 1.0, .eps = 3.0});
  CHECK(off_by(mean, {2, 13}) < 1e-15);
  CHECK(off_by(var, {2, 18}) < 1e-14);  // biased: 1 and 9
  const double b = 3 / std::sqrt(12.0);
  CHECK(off_by(y, {-0.5, 0.5, -b, b}) < 1e-14);
  CHECK(off_by(batch_norm(x, {}, {}, mean, var, {.training = false, .eps = 7.0}),
               {-1.0 / 3, 1.0 / 3, -0.6, 0.6}) < 1e-14);
}

TEST_CASE("a recomputation and an empty batch leave the running statistics alone") {
  const tensor mean = zeros({2}), var = ones({2});
  {
    const detail::state_guard guard;
    detail::state.recomputing = true;
    static_cast<void>(batch_norm(random({3, 2, 5}, f32), {}, {}, mean, var));
  }
  CHECK(batch_norm(empty({0, 2, 5}), {}, {}, mean, var).shape() == shape{0, 2, 5});
  CHECK(off_by(mean, {0, 0}) == 0.0);
  CHECK(off_by(var, {1, 1}) == 0.0);
}

TEST_CASE("evaluation uses the running statistics and changes nothing") {
  const tensor x = random({4, 3, 5}), w = random({3}), b = random({3});
  const tensor mean = random({3}), var = square(random({3}));
  const std::uint32_t version = var.version();
  const statistics s{numbers(mean), numbers(var)};
  const batch_norm_options o{.training = false};
  CHECK(off_by(batch_norm(x, w, b, mean, var, o), naive(x, w, b, s)) < 1e-12);
  CHECK(off_by(batch_norm(channels_last(x), {}, b, mean, var, o), naive(x, {}, b, s)) < 1e-12);
  CHECK(off_by(batch_norm(empty({0, 3}, f64), w, b, mean, var, o), {}) == 0.0);
  CHECK(var.version() == version);
}

TEST_CASE("the gradient in evaluation survives a training step of the statistics") {
  tensor x = random_leaf({4, 3});
  const tensor mean = random({3}), var = square(random({3})), w = random({3});
  const tensor y = batch_norm(x, w, {}, mean, var, {.training = false});
  const std::vector<double> before = numbers(var);
  static_cast<void>(batch_norm(random({4, 3}), w, {}, mean, var));
  const tensor g = grad(y, x, {.gradients = {ones({4, 3}, f64)}});
  for (std::size_t i = 0; i < 12; ++i) {
    CHECK(numbers(g)[i] == doctest::Approx(numbers(w)[i % 3] / std::sqrt(before[i % 3] + 1e-5)));
  }
}

TEST_CASE("digits survive far from zero, in both layouts") {
  const tensor far = cast(random({20, 3, 10, 10}) * 1.0 + 1e6, f32);
  const std::vector<double> expected = naive(far, {}, {}, naive_statistics(far));
  CHECK(off_by(batch_norm(far, {}, {}, {}, {}), expected) < 1e-5);
  CHECK(off_by(batch_norm(channels_last(far), {}, {}, {}, {}), expected) < 1e-5);
}

TEST_CASE("gradients of batch_norm, first and second") {
  const auto training = [](const list& x) { return batch_norm(x[0], x[1], x[2], {}, {}); };
  const auto bare = [](const list& x) { return batch_norm(x[0], {}, {}, {}, {}); };
  const auto last = [](const list& x) {  // through a channels-last copy
    const tensor t = contiguous(permute(x[0], {0, 2, 3, 1}));
    return batch_norm(permute(t, {0, 3, 1, 2}), x[1], x[2], {}, {});
  };
  check_gradients(training, {random_leaf({4, 3}), random_leaf({3}), random_leaf({3})});
  check_gradients(training, {random_leaf({2, 3, 4}), random_leaf({3}), random_leaf({3})});
  check_gradients(training, {random({2, 3, 4}), random_leaf({3}), random({3})});
  check_gradients(training, {random({2, 3, 4}), random({3}), random_leaf({3})});
  check_gradients(bare, {random_leaf({3, 2, 2, 2})});
  check_gradients(last, {random_leaf({2, 3, 2, 3}), random_leaf({3}), random_leaf({3})});
  const tensor mean = random({3}), var = square(random({3}));
  const auto eval = [&](const list& x) {
    return batch_norm(x[0], x[1], x[2], mean, var, {.training = false});
  };
  check_gradients(eval, {random_leaf({2, 3, 4}), random_leaf({3}), random_leaf({3})});
  check_gradients(eval, {random({2, 3, 4}), random_leaf({3}), random({3})});
  check_gradients(eval, {random_leaf({5, 3}), random({3}), random_leaf({3})});
}

TEST_CASE("f32 gradients agree in both layouts and for any threads") {
  const tensor x = random({16, 24, 20, 20}, f32), g = random({16, 24, 20, 20}, f32);
  const auto gradients = [&](const tensor& input, bool training) {
    tensor in = clone(input), w = full({24}, 1.5), b = zeros({24});
    in.set_requires_grad(), w.set_requires_grad(), b.set_requires_grad();
    const tensor mean = zeros({24}), var = ones({24});
    const tensor y = batch_norm(in, w, b, mean, var, {.training = training});
    return grad(tensor_list(&y, 1), std::vector{in, w, b}, {.gradients = {g}});
  };
  for (const bool training : {true, false}) {
    const list plain = gradients(x, training), last = gradients(channels_last(x), training);
    CHECK(distance(plain[0], last[0]) < 1e-5);
    CHECK(distance(plain[1], last[1]) < 2e-3);
    CHECK(distance(plain[2], last[2]) < 2e-3);
    const int before = threads();
    set_threads(3);
    const list three = gradients(channels_last(x), training);
    set_threads(before);
    for (std::size_t i = 0; i < 3; ++i) CHECK(distance(three[i], last[i]) == 0.0);
  }
}

TEST_CASE("16-bit batches keep f32 statistics") {
  const tensor x = random({6, 3, 4}, bf16), mean = zeros({3}), var = ones({3});
  const tensor y = batch_norm(x, {}, {}, mean, var);
  CHECK(y.dtype() == bf16);
  CHECK(distance(y, cast(batch_norm(cast(x, f32), {}, {}, {}, {}), bf16)) == 0.0);
  CHECK(mean.dtype() == f32);
  CHECK(numbers(mean)[0] != 0.0);
}

TEST_CASE("what batch_norm refuses") {
  CHECK(
      message_of([] {
        batch_norm(ones({1, 3, 1, 1}), {}, {}, {}, {});
      }) ==
      "batch_norm: training needs more than one value per channel; got f32[1,3,1,1]; take a larger "
      "batch or eval() mode");
  CHECK(message_of([] { batch_norm(ones({3}), {}, {}, {}, {}); }) ==
        "batch_norm: takes [n, c] or [n, c, ...]; got f32[3]");
  CHECK(message_of([] {
          batch_norm(ones({2, 3}), ones({2}), {}, {}, {});
        }) == "batch_norm: needs one value per channel, [3]; got f32[2] for f32[2,3]");
  CHECK(message_of([] {
          batch_norm(ones({2, 3}), {}, {}, {}, {}, {.training = false});
        }).starts_with("batch_norm: evaluation needs running_mean and running_var"));
  CHECK_THROWS_AS(batch_norm(ones({2, 3}), {}, {}, zeros({2}), {}), shape_error);
  CHECK_THROWS_AS(batch_norm(ones({2, 3}, i64), {}, {}, {}, {}), dtype_error);
  tensor mean = zeros({3});
  mean.set_requires_grad();
  CHECK_THROWS_AS(batch_norm(ones({2, 3}), {}, {}, mean, ones({3})), state_error);
}

}  // namespace adze
