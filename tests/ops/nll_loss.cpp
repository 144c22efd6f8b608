// SPDX-License-Identifier: MIT
// nll_loss is cross-entropy without the softmax, for all options and both derivatives; in a graph
// the targets, the batch and the weights are those of each replay.
#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/graph/trace.hpp>
#include <adze/ops/nll_loss.hpp>

#include "checks.hpp"

namespace adze::nll_loss_test {
namespace {

using namespace test;

tensor classes(const shape& sizes, index_t count, dtype type = i64) {
  tensor t = empty(sizes, i64);
  for (index_t i = 0; i < t.numel(); ++i) t.data_as<std::int64_t>()[i] = (i * 7 + 2) % count;
  return cast(t, type);
}

std::vector<cross_entropy_options> all_options(index_t count) {
  std::vector<cross_entropy_options> options;
  for (const bool weighted : {false, true}) {
    for (const index_t ignored : {index_t{-100}, index_t{2}}) {
      for (const auto reduce : {reduction::mean, reduction::sum, reduction::none}) {
        cross_entropy_options o{{}, ignored, 0.0, reduce};
        if (weighted) o.weight = smooth({count}, f64, 0.4) + 0.7;
        options.push_back(o);
      }
    }
  }
  return options;
}

}  // namespace

TEST_CASE("nll_loss of log_softmax is cross-entropy, with both derivatives") {
  for (const shape& sizes : {shape{4, 5}, shape{2, 5, 3}, shape{5}}) {
    const index_t axis = sizes.rank() == 1 ? 0 : 1;
    const tensor x = leaf(sizes, 2.0), t = classes(sizes.erased(axis), 5);
    for (const auto& o : all_options(5)) {
      const auto loss = [&](const list& in) { return nll_loss(log_softmax(in[0], axis), t, o); };
      if (sizes.rank() == 1 && o.ignore_index == 2) continue;  // of nothing
      const tensor y = loss({x}), expected = cross_entropy(x, t, o);
      CHECK(distance(y, expected) < 1e-12);
      CHECK(distance(grad(sum(y), x), grad(sum(expected), x)) < 1e-12);
      check_gradients(loss, {x});
      check_gradients([&](const list& in) { return square(nll_loss(in[0], t, o)); }, {x});
    }
  }
}

TEST_CASE("a graph of nll_loss takes the targets, the batch and the ignored rows of each replay") {
  const auto data = [](index_t n, double seed) {
    return log_softmax(smooth({n, 5, 2}, f64, 2.0, seed), 1);
  };
  for (const dtype type : {i64, i32}) {
    for (const auto& o : all_options(5)) {
      const auto f = [&](const tensor& x, const tensor& t) { return nll_loss(x, t, o); };
      const graph g = trace(f, {data(4, 0.1), classes({4, 2}, 5, type)});
      for (const index_t n : {4, 7}) {
        tensor x = data(n, 1.3);
        const tensor t = transpose(classes({2, n}, 3, type));  // not contiguous
        CHECK(distance(g(x, t), f(x, t)) < 1e-12);
        x.set_requires_grad();
        CHECK(distance(grad(sum(g(x, t)), x), grad(sum(f(x, t)), x)) < 1e-12);
      }
    }
  }
  const auto weighed = [](const tensor& x, const tensor& t, const tensor& w) {
    return nll_loss(x, t, {.weight = w});
  };
  const graph g = trace(weighed, {data(4, 0.1), classes({4, 2}, 5), ones({5}, f64)});
  const tensor x = data(3, 0.9), t = classes({3, 2}, 4), w = smooth({5}, f64, 0.4) + 0.7;
  CHECK(distance(g(x, t, w), weighed(x, t, w)) < 1e-12);
  CHECK_THROWS_AS(g(x, t + 3.0, w), value_error);
}

TEST_CASE("nll_loss where little or nothing counts") {
  const double inf = std::numeric_limits<double>::infinity();
  tensor x = leaf({3, 4});
  const tensor_i64 none{-100, -100, -100};
  CHECK(std::isnan(nll_loss(x, none).item()));
  CHECK(nll_loss(x, none, {.reduce = reduction::sum}).item() == 0.0);
  backward(nll_loss(x, none));
  CHECK(numbers(x.grad()) == std::vector<double>(12, 0.0));
  CHECK(nll_loss(tensor_f64{{-1, -inf}, {NAN, 0}}, tensor_i64{0, -100}).item() == 1.0);
  CHECK(std::isnan(nll_loss(zeros({0, 4}), zeros({0}, i64)).item()));
}

TEST_CASE("nll_loss of many 16-bit rows is rounded once") {
  tensor x = full({70000, 2}, -1.5, f16);
  x.set_requires_grad();
  const tensor y = nll_loss(x, zeros({70000}, i64));
  CHECK(y.dtype() == f16);
  CHECK(y.item() == 1.5);
  backward(nll_loss(x, zeros({70000}, i64), {.reduce = reduction::sum}) * 0.0 + y * 512.0);
  CHECK(x.grad().as<float16>()(3, 0) == float16(-512.0 / 70000));
}

TEST_CASE("nll_loss says what does not fit") {
  const tensor x = smooth({2, 3}, f32), t = tensor_i64{0, 1};
  CHECK_THROWS_AS(nll_loss(x, tensor_i64{-1, 0}), value_error);
  CHECK_THROWS_AS(nll_loss(x, tensor_i64{0, 1, 2}), shape_error);
  CHECK_THROWS_AS(nll_loss(x, t, {.label_smoothing = 0.1}), value_error);
  CHECK(message_of([&] { return nll_loss(x, t, {.weight = leaf({3})}); }) ==
        "nll_loss: the weight has no gradient; got f64[3] that requires grad; detach it");
}

}  // namespace adze::nll_loss_test
