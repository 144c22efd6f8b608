// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <adze/optim/ema.hpp>
#include <adze/optim/sgd.hpp>

#include "problem.hpp"

namespace adze::optim::testing {
namespace {

void set_all(const std::vector<tensor>& all, double x) {
  for (tensor p : all) {
    const numbers v(static_cast<std::size_t>(p.numel()), x);
    detail::copy_values(p, tensor_with(p.shape(), v, p.dtype()));
  }
}

TEST_CASE("ema: follows the formula, with and without warm-up") {
  for (const bool warm_up : {false, true}) {
    sgd o(leaves(), {.lr = 0.1});
    ema average(o.parameters(), {.decay = 0.9, .warm_up = warm_up});
    std::vector<numbers> expected;
    for (const tensor& p : o.parameters()) expected.push_back(values_of(p));
    for (int t = 1; t <= 100; ++t) {
      set_gradients(o.parameters(), t);
      o.step();
      average.update();
      const double d = warm_up ? std::min(0.9, (1.0 + t) / (10.0 + t)) : 0.9;
      for (std::size_t k = 0; k < expected.size(); ++k) {
        const numbers p = values_of(o.parameters()[k]), a = values_of(average.averages()[k]);
        for (std::size_t i = 0; i < p.size(); ++i) {
          expected[k][i] = d * expected[k][i] + (1.0 - d) * p[i];
          REQUIRE(std::abs(a[i] - expected[k][i]) <= 1e-12);
        }
      }
    }
  }
}

TEST_CASE("ema: averages are swapped in, and the trained values back out") {
  for (const dtype type : {f32, f64, f16}) {
    const std::vector<tensor> all = leaves(type);
    ema average(all, {.decay = 0.5});
    set_all(all, 3.0);
    average.update();
    const std::vector<tensor> start = leaves(type);
    std::vector<std::uint32_t> versions;
    for (const tensor& p : all) versions.push_back(p.version());
    average.swap_in();
    CHECK(average.swapped_in());
    for (std::size_t k = 0; k < all.size(); ++k) {
      const numbers p = values_of(all[k]), s = values_of(start[k]);
      for (std::size_t i = 0; i < p.size(); ++i) {
        CHECK(p[i] == doctest::Approx((s[i] + 3.0) / 2).epsilon(type == f16 ? 1e-3 : 1e-6));
      }
      CHECK(all[k].version() == versions[k] + 1);
    }
    CHECK_THROWS_WITH_AS(average.update(),
                         "ema.update: the averages are swapped in; call swap_out() first",
                         state_error);
    CHECK_THROWS_AS(average.swap_in(), state_error);
    average.swap_out();
    for (const tensor& p : all) {
      for (const double x : values_of(p)) CHECK(x == 3.0);
    }
    CHECK_THROWS_WITH_AS(average.swap_out(), "ema.swap_out: nothing is swapped in; call swap_in()",
                         state_error);
  }
}

TEST_CASE("ema: averages of 16-bit parameters are kept in float") {
  const tensor p = tensor_with({300}, numbers(300, 1.0), bf16);
  ema average({p}, {.decay = 0.999});
  tensor q = p;
  detail::copy_values(q, tensor_with({300}, numbers(300, 2.0), bf16));
  average.update();
  CHECK(average.averages()[0].dtype() == f32);
  CHECK(values_of(average.averages()[0])[299] == doctest::Approx(1.001));
}

TEST_CASE("ema: goes on from a saved place") {
  const std::vector<tensor> all = leaves(f32);
  ema a(all, {.decay = 0.9, .warm_up = true});
  set_all(all, 1.0);
  a.update();
  ema b(all, {.decay = 0.9, .warm_up = true});
  const saved_state s = a.state_dict();
  b.load_state_dict(s);
  set_all(all, 2.0);
  a.update();
  b.update();
  for (std::size_t k = 0; k < all.size(); ++k) CHECK(same_bits(a.averages()[k], b.averages()[k]));
  saved_state bad = s;
  bad.tensors.pop_back();
  CHECK_THROWS_WITH_AS(b.load_state_dict(bad),
                       "ema.load_state_dict: averages.6 is missing; the state must come from the "
                       "same kind and set-up",
                       value_error);
}

TEST_CASE("ema: a saved state does not follow later updates") {
  const std::vector<tensor> all = leaves(f32);
  ema average(all, {.decay = 0.5});
  const saved_state s = average.state_dict();
  const numbers before = values_of(s.tensors[0].second);
  set_all(all, 9.0);
  average.update();
  CHECK(values_of(s.tensors[0].second) == before);
}

TEST_CASE("ema: an average in another layout than its parameter") {
  numbers v(24);
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(i);
  tensor wide = tensor_with({4, 6}, v);
  const tensor p = alias(wide, {4, 3}, wide.strides());
  ema average({p}, {.decay = 0.5});
  const numbers before = values_of(p);
  for (double& x : v) x = x * x;
  detail::copy_values(wide, tensor_with({4, 6}, v));
  average.update();
  const numbers now = values_of(p), mean = values_of(average.averages()[0]);
  for (std::size_t i = 0; i < mean.size(); ++i) CHECK(mean[i] == (before[i] + now[i]) / 2);
}

TEST_CASE("ema: integers, such as a count of batches, are taken as they are") {
  tensor mean = tensor_with({2}, {1.0, 2.0}), count = tensor_with({}, {3.0}, i64);
  ema average({mean, count}, {.decay = 0.5});
  const auto set = [](tensor& x, const numbers& v) {
    detail::copy_values(x, tensor_with(x.shape(), v, x.dtype()));
  };
  set(mean, {3.0, 4.0}), set(count, {4.0});
  average.update();
  set(mean, {9.0, 9.0}), set(count, {5.0});
  CHECK(average.averages()[1].dtype() == i64);
  ema other({mean, count});
  other.load_state_dict(average.state_dict());
  CHECK(values_of(other.averages()[1]) == numbers{4.0});
  average.swap_in();
  CHECK(values_of(mean) == numbers{2.0, 3.0});
  CHECK(values_of(count) == numbers{4.0});
  average.swap_out();
  CHECK(values_of(count) == numbers{5.0});
}

TEST_CASE("ema: what cannot be averaged") {
  CHECK_THROWS_WITH_AS(ema({}), "ema: got an empty parameter list; pass parameters(model)",
                       value_error);
  const tensor p = tensor_with({1}, {1.0});
  CHECK_THROWS_WITH_AS(ema({p}, {.decay = 1.5}), "ema: decay must be in [0, 1]; got 1.5",
                       value_error);
}

}  // namespace
}  // namespace adze::optim::testing
