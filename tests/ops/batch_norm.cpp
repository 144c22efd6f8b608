// SPDX-License-Identifier: MIT
// Batch norm against the definition: both modes, both layouts, running statistics, derivatives.
#include <doctest/doctest.h>

#include <adze/autograd/checkpoint.hpp>
#include <adze/graph/trace.hpp>
#include <adze/nn/norm.hpp>
#include <adze/ops/batch_norm_act.hpp>

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
    CHECK(off_by(batch_norm(x, w, b, {}, {}, {.training = true}), expected) < 1e-11);
    const tensor last = channels_last(x), y = batch_norm(last, w, b, {}, {}, {.training = true});
    CHECK(off_by(y, expected) < 1e-11);
    CHECK(y.strides() == last.strides());
    const tensor narrow = cast(x, f32);
    const std::vector<double> rounded = naive(narrow, w, b, naive_statistics(narrow));
    CHECK(off_by(batch_norm(narrow, cast(w, f32), cast(b, f32), {}, {}, {.training = true}),
                 rounded) < 3e-5);
    CHECK(off_by(batch_norm(channels_last(narrow), cast(w, f32), cast(b, f32), {}, {},
                            {.training = true}),
                 rounded) < 3e-5);
  }
}

TEST_CASE("running statistics move by the momentum, the variance unbiased") {
  const tensor x = random({3, 2, 5}, f32);
  for (const dtype type : {f32, f64, bf16}) {
    const tensor mean = full({2}, 0.5, type), var = full({2}, 2.0, type);
    const std::uint32_t version = mean.version();
    static_cast<void>(batch_norm(x, {}, {}, mean, var, {.training = true, .momentum = 0.25}));
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
  const tensor y =
      batch_norm(x, {}, {}, mean, var, {.training = true, .momentum = 1.0, .eps = 3.0});
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
    static_cast<void>(batch_norm(random({3, 2, 5}, f32), {}, {}, mean, var, {.training = true}));
  }
  CHECK(batch_norm(empty({0, 2, 5}), {}, {}, mean, var, {.training = true}).shape() ==
        shape{0, 2, 5});
  CHECK(off_by(mean, {0, 0}) == 0.0);
  CHECK(off_by(var, {1, 1}) == 0.0);
}

TEST_CASE("unless told to train, the running statistics are used, as in PyTorch") {
  const tensor x = random({4, 3, 5}), mean = random({3}), var = square(random({3}));
  const tensor kept = clone(mean), y = batch_norm(x, {}, {}, mean, var);
  CHECK(off_by(y, naive(x, {}, {}, {numbers(mean), numbers(var)})) < 1e-12);
  CHECK(distance(batch_norm_act(x, {}, {}, mean, var), relu(y)) == 0.0);
  CHECK(distance(mean, kept) == 0.0);
  CHECK_THROWS_AS(batch_norm(x, {}, {}, {}, {}), value_error);
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
  static_cast<void>(batch_norm(random({4, 3}), w, {}, mean, var, {.training = true}));
  const tensor g = grad(y, x, {.gradients = {ones({4, 3}, f64)}});
  for (std::size_t i = 0; i < 12; ++i) {
    CHECK(numbers(g)[i] == doctest::Approx(numbers(w)[i % 3] / std::sqrt(before[i % 3] + 1e-5)));
  }
}

TEST_CASE("digits survive far from zero, in both layouts") {
  const tensor far = cast(random({20, 3, 10, 10}) * 1.0 + 1e6, f32);
  const std::vector<double> expected = naive(far, {}, {}, naive_statistics(far));
  CHECK(off_by(batch_norm(far, {}, {}, {}, {}, {.training = true}), expected) < 1e-5);
  CHECK(off_by(batch_norm(channels_last(far), {}, {}, {}, {}, {.training = true}), expected) <
        1e-5);
}

TEST_CASE("gradients of batch_norm, first and second") {
  const auto training = [](const list& x) {
    return batch_norm(x[0], x[1], x[2], {}, {}, {.training = true});
  };
  const auto bare = [](const list& x) {
    return batch_norm(x[0], {}, {}, {}, {}, {.training = true});
  };
  const auto last = [](const list& x) {  // through a channels-last copy
    const tensor t = contiguous(permute(x[0], {0, 2, 3, 1}));
    return batch_norm(permute(t, {0, 3, 1, 2}), x[1], x[2], {}, {}, {.training = true});
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
  const tensor y = batch_norm(x, {}, {}, mean, var, {.training = true});
  CHECK(y.dtype() == bf16);
  CHECK(distance(y, cast(batch_norm(cast(x, f32), {}, {}, {}, {}, {.training = true}), bf16)) ==
        0.0);
  CHECK(mean.dtype() == f32);
  CHECK(numbers(mean)[0] != 0.0);
}

TEST_CASE("what batch_norm refuses") {
  CHECK(
      message_of([] {
        return batch_norm(ones({1, 3, 1, 1}), {}, {}, {}, {}, {.training = true});
      }) ==
      "batch_norm: training needs more than one value per channel; got f32[1,3,1,1]; take a larger "
      "batch or eval() mode");
  CHECK(message_of([] { return batch_norm(ones({3}), {}, {}, {}, {}, {.training = true}); }) ==
        "batch_norm: takes [n, c] or [n, c, ...]; got f32[3]");
  CHECK(message_of([] {
          return batch_norm(ones({2, 3}), ones({2}), {}, {}, {}, {.training = true});
        }) == "batch_norm: needs one value per channel, [3]; got f32[2] for f32[2,3]");
  CHECK(message_of([] {
          return batch_norm(ones({2, 3}), {}, {}, {}, {}, {.training = false});
        }).starts_with("batch_norm: evaluation needs running_mean and running_var"));
  CHECK_THROWS_AS(batch_norm(ones({2, 3}), {}, {}, zeros({2}), {}, {.training = true}),
                  shape_error);
  CHECK_THROWS_AS(batch_norm(ones({2, 3}, i64), {}, {}, {}, {}, {.training = true}), dtype_error);
  tensor mean = zeros({3});
  mean.set_requires_grad();
  CHECK_THROWS_AS(batch_norm(ones({2, 3}), {}, {}, mean, ones({3}), {.training = true}),
                  state_error);
}

TEST_CASE("batch_norm refuses running statistics that cannot take their updates") {
  const tensor x = random({4, 3}, f32), whole = zeros({3}, i64), one = zeros({1}), good = ones({3});
  const tensor all = zeros({4}), pairs = zeros({3, 2});
  const auto refused = [&](const tensor& mean, const tensor& var) {
    return message_of(
        [&] { static_cast<void>(batch_norm(x, {}, {}, mean, var, {.training = true})); });
  };
  CHECK(refused(good, whole) ==
        "batch_norm: running statistics must be floating; got i64[3]; cast(x, f32) first");
  CHECK(refused(expand(one, {3}), good) ==
        "batch_norm: elements of the running statistics f32[3] share memory (an expanded axis); "
        "clone() it");
  CHECK(refused(good, good) ==
        "batch_norm: running_mean and running_var share memory; got f32[3] and f32[3]; clone() "
        "one");
  CHECK(refused(slice(all, 0, {1, 4}), slice(all, 0, {0, 3})).find("share memory") !=
        std::string::npos);
  CHECK(numbers(good) == std::vector<double>(3, 1.0));
  CHECK(one.item() == 0.0);
  CHECK(refused(select(pairs, 1, 0), select(pairs, 1, 1)) == "no error");
  CHECK(numbers(pairs)[1] != 0.0);
}

namespace {

// The result and the gradients of x, weight, bias and residual, by one op or by its parts.
list act_results(bool fused, const tensor& x, const tensor& residual, norm_activation act) {
  std::vector leaves{clone(x), full({x.size(1)}, 4.0), full({x.size(1)}, 0.25)};
  if (residual.defined()) leaves.push_back(clone(residual));
  for (tensor& t : leaves) t.set_requires_grad();
  const tensor more = residual.defined() ? leaves[3] : tensor();
  tensor y;
  if (fused) {
    y = batch_norm_act(leaves[0], leaves[1], leaves[2], {}, {}, more,
                       {.act = act, .training = true});
  } else {
    y = batch_norm(leaves[0], leaves[1], leaves[2], {}, {}, {.training = true});
    if (more.defined()) y = y + more;
    y = act == norm_activation::relu ? relu(y) : relu6(y);
  }
  const tensor g = smooth(x.shape(), y.dtype());
  list all = grad(tensor_list(&y, 1), leaves, {.gradients = {g}});
  all.push_back(y);
  return all;
}

}  // namespace

TEST_CASE("batch_norm_act is batch norm, residual and activation, to the bit in f32 and f64") {
  for (const norm_activation act : {norm_activation::relu, norm_activation::relu6})
    for (const dtype type : {f32, f64, bf16, f16})
      for (const bool adds : {false, true})
        for (const shape& sizes :
             {shape{4, 3}, shape{300, 9}, shape{3, 20, 7, 5}, shape{2, 3, 80, 70}}) {
          CAPTURE(type);
          CAPTURE(sizes);
          CAPTURE(adds);
          const tensor x = cast(random(sizes) * 3.0, type), more = cast(random(sizes) * 4.0, type);
          for (const bool last : {false, true}) {
            if (last && sizes.rank() != 4) continue;
            const tensor in = last ? channels_last(x) : x;
            const list own = act_results(true, in, adds ? more : tensor(), act);
            const list parts = act_results(false, in, adds ? more : tensor(), act);
            CHECK(own.back().strides() == in.strides());
            const bool narrow = size_of(type) == 2;  // the parts round in between
            CHECK(distance(own.back(), parts.back()) <= (narrow ? 0.1 : 0.0));
            for (std::size_t i = 0; !narrow && i + 1 < own.size(); ++i)
              CHECK(distance(own[i], parts[i]) == 0.0);
            for (std::size_t i = 0; i < own.size(); ++i) CHECK(own[i].dtype() == parts[i].dtype());
          }
        }
}

TEST_CASE("batch_norm_act in 16 bits is that in f32, rounded once, in training and in evaluation") {
  for (const dtype type : {bf16, f16})
    for (const shape& sizes : {shape{6, 4, 5, 3}, shape{3, 4099}}) {
      const tensor x = cast(random(sizes) * 3.0, type), more = cast(random(sizes), type);
      const tensor mean = random({sizes[1]}, f32), var = full({sizes[1]}, 0.7);
      for (const bool training : {true, false})
        for (const bool adds : {false, true}) {
          const tensor y = batch_norm_act(x, {}, {}, mean, var, adds ? more : tensor(),
                                          {.act = norm_activation::relu6, .training = training});
          const tensor wide = batch_norm_act(cast(x, f32), {}, {}, clone(mean), clone(var),
                                             adds ? cast(more, f32) : tensor(),
                                             {.act = norm_activation::relu6, .training = training});
          CHECK(y.dtype() == type);
          CHECK(distance(y, cast(wide, type)) <= (training ? 0.0 : 0.07));  // parts round between
        }
    }
}

TEST_CASE("batch_norm_act: checkpoints, residuals of another dtype, some gradients alone") {
  const tensor x = cast(random({7, 5, 3, 2}), bf16), more = cast(random({7, 5, 3, 2}), bf16);
  const auto gradients = [&](bool again) {
    tensor in = clone(x), residual = clone(more);
    in.set_requires_grad(), residual.set_requires_grad();
    const auto f = [](const list& t) {
      return batch_norm_act(t[0], {}, {}, {}, {}, t[1], {.training = true});
    };
    const tensor y = again ? checkpoint(f, list{in, residual}) : f({in, residual});
    const tensor g = smooth(x.shape(), bf16);
    list all = grad(tensor_list(&y, 1), std::vector{in, residual}, {.gradients = {g}});
    all.push_back(y);
    return all;
  };
  const list plain = gradients(false), again = gradients(true);
  for (std::size_t i = 0; i < 3; ++i) CHECK(distance(plain[i], again[i]) == 0.0);

  const tensor wide = cast(more, f32);
  for (const bool training : {true, false}) {
    const tensor y =
        batch_norm_act(x, {}, {}, zeros({5}, bf16), ones({5}, bf16), wide, {.training = training});
    CHECK(y.dtype() == bf16);
  }

  const tensor in = random({7, 5});
  tensor w = full({5}, 2.0, f64), r = random_leaf({7, 5});
  w.set_requires_grad();
  const tensor y = batch_norm_act(in, w, {}, {}, {}, r, {.training = true});
  backward(sum(y * y));
  const tensor own = r.grad(), slope = y * 2.0;
  CHECK(distance(own, slope) < 1e-14);  // 0 where y is 0
  CHECK(distance(w.grad(), sum(slope * batch_norm(in, {}, {}, {}, {}, {.training = true}), {0})) <
        1e-12);
  tensor self = random_leaf({7, 5});
  check_gradients(
      [](const list& t) { return batch_norm_act(t[0], {}, {}, {}, {}, t[0], {.training = true}); },
      {self});
}

TEST_CASE("images without pixels: gradients are zero, in every form") {
  for (const bool act : {false, true}) {
    tensor x = random_leaf({2, 9, 0}), w = random_leaf({9}), b = random_leaf({9});
    const tensor y = act ? batch_norm_act(x, w, b, {}, {}, {}, {.training = true})
                         : batch_norm(x, w, b, {}, {}, {.training = true});
    backward(sum(y));
    CHECK(numbers(w.grad()) == std::vector<double>(9));
    CHECK(numbers(b.grad()) == std::vector<double>(9));
    CHECK(x.grad().shape() == x.shape());
  }
}

TEST_CASE("batch_norm_act: statistics, evaluation, NaN, traces and what it refuses") {
  const tensor x = random({5, 3, 4, 4}, f32), more = random({5, 3, 4, 4}, f32);
  nn::batch_norm_act2d own({.channels = 3});
  nn::batch_norm2d norm{{.channels = 3}};
  CHECK(distance(own(x, more), relu(norm(x) + more)) == 0.0);
  CHECK(distance(own.running_var, norm.running_var) == 0.0);
  CHECK(own.num_batches_tracked.item<index_t>() == 1);
  const graph g = trace(own, x);
  CHECK(g.steps.size() == 2);  // batch norm and relu, which passes know
  norm.running_mean = own.running_mean, norm.running_var = own.running_var;
  eval(own);
  eval(norm);
  CHECK(distance(own(x), relu(norm(x))) == 0.0);

  tensor bad = clone(more);
  bad.data_as<float>()[7] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<double> y = numbers(batch_norm_act(x, {}, {}, {}, {}, bad, {.training = true}));
  CHECK(std::isnan(y[7]));
  CHECK(std::count_if(y.begin(), y.end(), [](double v) { return std::isnan(v); }) == 1);

  for (const bool training : {true, false})
    CHECK(message_of([&] {
            static_cast<void>(batch_norm_act(x, {}, {}, own.running_mean, own.running_var,
                                             random({5, 3, 4, 1}, f32), {.training = training}));
          }) == "batch_norm_act: x f32[5,3,4,4] and residual f32[5,3,4,1] must have the same "
                "shape");
  CHECK(message_of([&] {
          static_cast<void>(own(random({5, 3}, f32)));
        }) == "nn::batch_norm_act2d: takes [n, 3, h, w]; got f32[5,3]");
}

}  // namespace adze
