// SPDX-License-Identifier: MIT
// Observers: the probe table of parameters, the definitions of each statistic, bad input.
#include <doctest/doctest.h>

#include <adze/quant/fake_quant.hpp>
#include <adze/quant/observer.hpp>

#include "../ops/checks.hpp"

namespace adze::quant {
namespace {

using namespace test;

observer of(statistic kind, format f = activation_format()) {
  return observer({.kind = kind, .format = f});
}
parameters seen(observer o, std::initializer_list<tensor> x) {
  for (const tensor& t : x) o.observe(t);
  return o.parameters();
}
double scale(const parameters& p) { return p.scale.item<float>(); }
index_t zero(const parameters& p) { return p.zero_point.item<std::int32_t>(); }

// The squared error of simulating x with p.
double loss(const tensor& x, const parameters& p) {
  return sum(square(x - fake_quantize(x, p))).item();
}

TEST_CASE("observer: PyTorch's probe table") {
  const auto check = [](const tensor& x, float s, index_t z) {
    const parameters p = seen(of(statistic::min_max), {x});
    CHECK(scale(p) == s);
    CHECK(zero(p) == z);
  };
  check(tensor_f32{0.2f, 1.0f}, 1.0f / 255, 0);
  check(tensor_f32{-2.0f, -1.0f}, 2.0f / 255, 255);
  check(zeros({4}), 1.1920929e-7f, 0);
  check(full({3}, 5.0), 5.0f / 255, 0);
  const format torch = torch_weight_format(8, per_tensor());
  CHECK(scale(seen(of(statistic::min_max, torch), {tensor_f32{-1.0f, 2.0f}})) == 2.0f / 127.5f);
  CHECK(scale(of(statistic::min_max).parameters()) == 1.0);
  CHECK(zero(of(statistic::min_max).parameters()) == 0);
  for (const statistic kind : {statistic::min_max, statistic::histogram, statistic::entropy}) {
    observer o = of(kind);
    CHECK_FALSE(o.observed());
    o.observe(zeros({0}));
    CHECK_FALSE(o.observed());
    o.observe(tensor_f32{-1, 2});
    CHECK(o.observed());
  }
}

TEST_CASE("observer: min-max keeps extremes, moving averages move by their rate") {
  const tensor first = tensor_f32{-1.0f, 2.0f}, second = tensor_f32{-3.0f, 1.0f};
  observer a = of(statistic::min_max), b = of(statistic::moving_average);
  for (observer* o : {&a, &b}) {
    o->observe(first);
    o->observe(second);
    o->observe(empty({0, 3}));
  }
  CHECK(a.low().item() == -3.0);
  CHECK(a.high().item() == 2.0);
  CHECK(b.low().item() == doctest::Approx(-1.02));
  CHECK(b.high().item() == doctest::Approx(1.99));
}

TEST_CASE("observer: by axis") {
  observer o({.format = weight_format(8, per_axis(1))});
  o.observe(tensor_f32{{-1.0f, 0.5f}, {2.0f, -4.0f}});
  CHECK(numbers(o.high()) == std::vector<double>{2.0, 0.5});
  const parameters p = o.parameters();
  CHECK(p.scale.data_as<float>()[0] == 2.0f / 127);
  CHECK(p.scale.data_as<float>()[1] == 4.0f / 127);
  CHECK(message_of([&] {
          o.observe(zeros({2, 3}));
        }) == "quant::observer: has seen [2] ranges; got f32[2,3]");
}

TEST_CASE("observer: moving averages by axis") {
  observer o({.kind = statistic::moving_average, .format = weight_format(8, per_axis(0))});
  const tensor x = tensor_f32{{-1.0f, 0.5f}, {2.0f, -4.0f}};
  o.observe(x);
  CHECK(numbers(o.low()) == std::vector<double>{-1, -4});  // the first call as it is
  o.observe(x * 2.0);
  CHECK(distance(numbers(o.low()), {-1.01, -4.04}) < 1e-6);
  CHECK(distance(numbers(o.high()), {0.505, 2.02}) < 1e-6);
}

TEST_CASE("observer: by group, along any axis, the last group shorter") {
  const tensor x = tensor_f32{{-1.0f, 0.5f, 3.0f}, {2.0f, -4.0f, 1.0f}};
  observer o({.format = weight_format(4, per_group(2, 1))});
  o.observe(x);
  o.observe(x * 0.5);
  CHECK(o.high().shape() == shape{2, 2});
  CHECK(numbers(o.low()) == std::vector<double>{-1.0, 1.5, -4.0, 0.5});
  CHECK(numbers(o.high()) == std::vector<double>{0.5, 3.0, 2.0, 1.0});
  CHECK(o.parameters().scale.data_as<float>()[2] == 4.0f / 7);
  observer columns({.format = weight_format(4, per_group(2, 0))});
  columns.observe(x);
  CHECK(numbers(columns.high()) == std::vector<double>{2.0, 0.5, 3.0});
  CHECK_THROWS_AS(columns.observe(zeros({4})), shape_error);
  CHECK_THROWS_AS(observer({.format = weight_format(4, per_group(0))}).observe(x), value_error);
}

TEST_CASE("observer: NaN and infinities are refused and change nothing") {
  for (const statistic kind : {statistic::min_max, statistic::histogram}) {
    observer o = of(kind);
    o.observe(tensor_f32{0.0f, 1.0f});
    const double before = scale(o.parameters());
    CHECK_THROWS_AS(o.observe(tensor_f32{0.0f, std::nanf(""), 5.0f}), numeric_error);
    CHECK_THROWS_AS(o.observe(tensor_f32{std::numeric_limits<float>::infinity()}), numeric_error);
    CHECK(scale(o.parameters()) == before);
  }
}

TEST_CASE("observer: histograms count every value, also when their range grows") {
  histogram h(64);
  const tensor x = random({1000}, f32), y = random({1000}, f32) * 5.0 + 3.0;
  for (const tensor& t : {x, y}) {
    h.add(t.data_as<float>(), t.numel(), amin(t).item(), amax(t).item());
  }
  double all = 0;
  for (std::size_t i = 0; i < h.bins(); ++i) all += h.count(i);
  CHECK(all == doctest::Approx(2000.0));
  CHECK(h.low() == std::min(amin(x).item(), amin(y).item()));
  CHECK(h.quantile(0.0) >= h.low());
  CHECK(h.quantile(1.0) == doctest::Approx(h.high()));
  // Uniform values: an error of width^2 / 12 each.
  histogram u(1000);
  const tensor even = arange(0.0, 1.0, 1e-5);
  u.add(even.data_as<float>(), even.numel(), 0.0, amax(even).item());
  const double cell = u.high() / 16;
  CHECK(u.squared_error(0, u.high(), 16) ==
        doctest::Approx(u.total() * cell * cell / 12).epsilon(1e-3));
}

TEST_CASE("observer: old bins give their counts to the new ones that they overlap") {
  const auto counts = [](std::initializer_list<std::vector<float>> calls, index_t bins) {
    histogram h(bins);
    for (const std::vector<float>& x : calls) {
      const auto [low, high] = std::minmax_element(x.begin(), x.end());
      h.add(x.data(), static_cast<index_t>(x.size()), *low, *high);
    }
    std::vector<double> all;
    for (std::size_t i = 0; i < h.bins(); ++i) all.push_back(h.count(i));
    return all;
  };
  const std::vector<float> x{0.5f, 1.5f, 2.5f, 3.5f};
  CHECK(counts({x, {6.5f}}, 4) == std::vector<double>{2, 2, 0, 1});
  CHECK(counts({x, {6.5f}, {-5.5f}}, 4) == std::vector<double>{1, 0, 4, 1});
  CHECK(counts({{0, 2}, {3}}, 2) == std::vector<double>{1.5, 1.5});
  CHECK(counts({{2, 2, 2}, {0, 4}}, 4) == std::vector<double>{1, 0, 3, 1});  // no width at first
}

TEST_CASE("observer: with outliers every search beats min-max by far") {
  tensor x = random({20000}, f32);
  x.data_as<float>()[7] = 60.0f;
  const double simple = loss(x, seen(of(statistic::min_max, activation_format(4)), {x}));
  for (const statistic kind : {statistic::histogram, statistic::squared_error}) {
    const double found = loss(x, seen(of(kind, activation_format(4)), {x}));
    CHECK(found < 0.5 * simple);
  }
  const auto most = [&](statistic kind, double share) {
    observer o({.kind = kind, .format = activation_format(), .share = share});
    o.observe(x);
    const parameters p = o.parameters();
    return (255.0 - double(zero(p))) * scale(p);
  };
  CHECK(most(statistic::percentile, 0.999) == doctest::Approx(3.09).epsilon(0.05));
  observer both({.kind = statistic::percentile, .format = activation_format(), .share = 0.999});
  both.observe(x * -1.0);
  const parameters cut = both.parameters();
  CHECK(double(zero(cut)) * scale(cut) == doctest::Approx(3.09).epsilon(0.05));
  CHECK(most(statistic::entropy, 0) < 20.0);
  CHECK(most(statistic::entropy, 0) > 2.0);
}

TEST_CASE("observer: without outliers no search is worse than min-max by more than a little") {
  const tensor x = rand({5000}) * 4.0 - 1.0;
  const double simple = loss(x, seen(of(statistic::min_max), {x}));
  for (const statistic kind : {statistic::histogram, statistic::squared_error, statistic::entropy,
                               statistic::percentile}) {
    CHECK(loss(x, seen(of(kind), {x})) < 1.2 * simple);
  }
}

TEST_CASE("observer: fixed ranges, wrong options") {
  const observer o({.kind = statistic::fixed, .range = {0.0f, 255.0f / 256}});
  CHECK(scale(o.parameters()) == 1.0f / 256);
  CHECK(o.observed());
  CHECK(message_of([] { of(statistic::histogram, weight_format()); }) ==
        "quant::observer: histograms are per tensor; got per index of axis 0");
  CHECK_THROWS_AS(of(statistic::min_max, {.bits = 1}), value_error);
  for (const index_t bins : {0, -1}) {
    CHECK(message_of([&] { observer({.kind = statistic::histogram, .bins = bins}); }) ==
          text("quant::histogram: needs one bin at least; got ", bins));
  }
}

}  // namespace
}  // namespace adze::quant
