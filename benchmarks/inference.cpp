// SPDX-License-Identifier: MIT
// Inference three ways: the model itself (eager, no gradients), its plan in f32 and its plan in
// int8, statically quantized. All take turns; the table has medians of times and of the ratios of
// each turn, with their quartiles. Quiet machine, one core:
//   taskset -c 1 inference [part of a name]
#include <adze/adze.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

#include "models.hpp"

namespace {

using namespace adze;

double quantile(std::vector<double> v, double p) {
  std::sort(v.begin(), v.end());
  return v[static_cast<std::size_t>(p * static_cast<double>(v.size() - 1))];
}

std::string spread(const std::vector<double>& ratios) {
  return text(report::fixed(quantile(ratios, 0.5), 2).text, " [",
              report::fixed(quantile(ratios, 0.25), 2).text, ", ",
              report::fixed(quantile(ratios, 0.75), 2).text, "]");
}

// Microseconds of one call, the mean of as many as take about 2 ms.
template <class F> double time_of(const F& f, index_t calls) {
  const double start = report::steady_seconds();
  for (index_t i = 0; i < calls; ++i) f();
  return 1e6 * (report::steady_seconds() - start) / static_cast<double>(calls);
}

template <class Model>
void measure(report::table& t, const char* name, const shape& image, const char* only) {
  if (only != nullptr && std::strstr(name, only) == nullptr) return;
  manual_seed(1);
  Model model;
  for (int i = 0; i < 3; ++i) static_cast<void>(model(randn(image.with(0, 16))));
  eval(model);
  const no_grad guard;
  const graph floats = trace(model, randn(image.with(0, 8)));
  const graph prepared = quant::prepare(floats);
  static_cast<void>(prepared(randn(image.with(0, 64))));
  const graph integers = quant::convert(prepared);
  for (const index_t batch : {1, 64}) {
    const tensor x = randn(image.with(0, batch));
    const plan f32_plan = compile(floats, x), int8_plan = compile(integers, x);
    const auto eager = [&] { static_cast<void>(model(x)); };
    const auto planned = [&] { static_cast<void>(f32_plan(x)); };
    const auto quantized = [&] { static_cast<void>(int8_plan(x)); };
    for (int i = 0; i < 3; ++i) eager(), planned(), quantized();
    const index_t calls = std::max<index_t>(1, static_cast<index_t>(2000 / time_of(eager, 1)));
    std::array<std::vector<double>, 3> times;
    std::vector<double> faster, smaller;
    const double until = report::steady_seconds() + 1.5;
    while (report::steady_seconds() < until) {
      const double a = time_of(eager, calls), b = time_of(planned, calls),
                   c = time_of(quantized, calls);
      times[0].push_back(a), times[1].push_back(b), times[2].push_back(c);
      faster.push_back(a / b), smaller.push_back(b / c);
    }
    t.add(name, batch, report::fixed(quantile(times[0], 0.5), 1),
          report::fixed(quantile(times[1], 0.5), 1), report::fixed(quantile(times[2], 0.5), 1),
          spread(faster), spread(smaller), int8_plan.arena_bytes());
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* only = argc > 1 ? argv[1] : nullptr;
  report::table t({"model", "batch", "eager us", "f32 plan us", "int8 plan us", "eager / f32 plan",
                   "f32 plan / int8 plan", "int8 arena bytes"});
  measure<models::mlp>(t, "MLP 784-512-512-10", {1, 784}, only);
  measure<models::lenet_5>(t, "LeNet-5", {1, 1, 28, 28}, only);
  measure<models::resnet_20>(t, "ResNet-20", {1, 3, 32, 32}, only);
  measure<models::mobile_net>(t, "MobileNet-like", {1, 3, 32, 32}, only);
  std::fputs(t.text().c_str(), stdout);
}
