// SPDX-License-Identifier: MIT
// One network in floats and in integers: LeNet-5, trained, then quantized in every way there is.
//   quantize [--data DIR] [--seeds N] [--few-bits]
// on MNIST's files in DIR, else on digits that the program draws itself; --few-bits trains
// LeNet-300-100 with weights down to two bits too. Accuracy is that of the integer graph itself,
// latency that of its plan.
#include <adze/adze.hpp>
#ifdef ADZE_ZLIB
#  include <adze/data/gzip.hpp>
#endif

#include <cstdio>
#include <cstring>

using namespace adze;

// The variant of LeNet-5 that compression papers use: 20 and 50 channels, 500 units.
struct lenet_5 {
  nn::conv2d conv1{{.in = 1, .out = 20, .kernel = 5}};
  nn::conv2d conv2{{.in = 20, .out = 50, .kernel = 5}};
  nn::linear fc1{{.in = 800, .out = 500}};
  nn::linear fc2{{.in = 500, .out = 10}};
  tensor operator()(const tensor& x) const {
    const tensor h = max_pool2d(relu(conv2(max_pool2d(relu(conv1(x))))));
    return fc2(relu(fc1(flatten(h, 1))));
  }
  void visit(auto&& f) { f("conv1", conv1), f("conv2", conv2), f("fc1", fc1), f("fc2", fc2); }
};

struct lenet_300_100 {
  nn::linear fc1{{.in = 784, .out = 300}};
  nn::linear fc2{{.in = 300, .out = 100}};
  nn::linear fc3{{.in = 100, .out = 10}};
  tensor operator()(const tensor& x) const { return fc3(relu(fc2(relu(fc1(flatten(x, 1)))))); }
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2), f("fc3", fc3); }
};

template <class F> double accuracy(const F& f, const data::tensor_dataset& set) {
  const no_grad guard;
  index_t right = 0;
  for (auto& [x, y] : data::loader(set, {.batch_size = 500}).epoch(0)) {
    right += sum(argmax(f(x)) == y).template item<index_t>();
  }
  return 100.0 * static_cast<double>(right) / static_cast<double>(set.size());
}

// Adam with a one-cycle schedule, batches of 64, for any module: a model or a graph.
template <class Model>
void train(const Model& model, const data::tensor_dataset& set, index_t epochs, double max_lr,
           std::uint64_t seed, const char* what) {
  const data::loader batches(set, {.batch_size = 64, .shuffle = true, .workers = 1, .seed = seed});
  optim::adam opt(parameters(model));
  optim::scheduler schedule(
      opt, optim::one_cycle_lr{.max_lr = max_lr, .total_steps = epochs * batches.batches()});
  std::printf("%s\n", what);
  report::progress bar({.epochs = epochs, .steps = batches.batches()});
  for (index_t epoch = 0; epoch < epochs; ++epoch) {
    for (auto& [x, y] : batches.epoch(epoch)) {
      opt.zero_grad();
      const tensor loss = cross_entropy(model(x), y);
      backward(loss);
      opt.step();
      schedule.step();
      bar.step(loss.item(), x.size(0));
    }
    bar.end_epoch();
  }
}

// The median of many calls, in microseconds.
template <class F> double latency(const F& f) {
  std::vector<double> times;
  const double until = report::steady_seconds() + 0.3;
  while (report::steady_seconds() < until) {
    const double start = report::steady_seconds();
    f();
    times.push_back(1e6 * (report::steady_seconds() - start));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<index_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

struct row {
  const char* name;
  double accuracy = 0, bytes = 0, one = 0, many = 0;
};

row measure(const char* name, const graph& g, const data::train_and_test& sets) {
  const tensor one = sets.test.slice(0, 1).x, many = sets.test.slice(0, 64).x;
  const plan p1 = compile(g, one), p64 = compile(g, many);
  return {name, accuracy(g, sets.test), static_cast<double>(constant_bytes(g)),
          latency([&] { static_cast<void>(p1(one)); }),
          latency([&] { static_cast<void>(p64(many)); })};
}

// The float graph under bf16 autocast, step by step: plans have no autocast.
row measure_bf16(const graph& g, const data::train_and_test& sets) {
  const no_grad guard;
  const amp::autocast low(amp::bf16());
  const tensor one = sets.test.slice(0, 1).x, many = sets.test.slice(0, 64).x;
  return {"bf16 autocast", accuracy(g, sets.test), static_cast<double>(constant_bytes(g)),
          latency([&] { static_cast<void>(g(one)); }),
          latency([&] { static_cast<void>(g(many)); })};
}

// A graph that has seen 512 training images.
graph calibrated(const graph& floats, const quant::config& c, const data::train_and_test& sets) {
  const no_grad guard;
  const graph g = quant::prepare(floats, c);
  for (index_t i = 0; i < 8; ++i) static_cast<void>(g(sets.train.slice(64 * i, 64).x));
  return g;
}

std::vector<row> all_formats(const data::train_and_test& sets, std::uint64_t seed) {
  manual_seed(seed);
  const lenet_5 model;
  train(model, sets.train, 8, 3e-3, seed, "LeNet-5 in f32");
  const tensor example = sets.train.slice(0, 8).x;
  const graph floats = trace(model, example);
  graph qat = quant::prepare_qat(trace(clone(model), example));
  train(qat, sets.train, 2, 2e-4, seed + 100, "LeNet-5 in simulated int8");
  return {measure("f32", floats, sets),
          measure_bf16(floats, sets),
          measure("int8 dynamic", quant::quantize_dynamic(floats), sets),
          measure("int8 static, x86", quant::convert(calibrated(floats, quant::x86(), sets)), sets),
          measure("int8 static, full8", quant::convert(calibrated(floats, {}, sets)), sets),
          measure("int8 QAT, full8", quant::convert(qat), sets),
          measure("int4 weights", quant::quantize_weights(floats), sets)};
}

// LeNet-300-100 with weights of few bits, calibrated and trained.
report::table few_bits(const data::train_and_test& sets) {
  manual_seed(1);
  const lenet_300_100 model;
  train(model, sets.train, 15, 4e-3, 1, "LeNet-300-100 in f32");
  const tensor example = sets.train.slice(0, 8).x;
  const graph floats = trace(model, example);
  report::table t({"LeNet-300-100, weight bits", "calibrated %", "trained %", "learned steps %"});
  t.add("32", report::fixed(accuracy(floats, sets.test), 2), "", "");
  for (const int bits : {8, 6, 4, 3, 2}) {
    quant::config c;
    c.all.weight.format = quant::weight_format(bits);
    const auto trained = [&](const quant::config& how) {
      const graph g = quant::prepare_qat(trace(clone(model), example), how);
      train(g, sets.train, 4, 1e-3, 5, "LeNet-300-100 in few bits");
      return report::fixed(accuracy(quant::convert(g), sets.test), 2);
    };
    t.add(std::to_string(bits),
          report::fixed(accuracy(quant::convert(calibrated(floats, c, sets)), sets.test), 2),
          trained(c), trained(quant::learned_weights(bits)));
  }
  return t;
}

int main(int argc, char** argv) try {
  const char* folder = nullptr;
  std::uint64_t seeds = 1;
  bool few = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
      seeds = std::strtoull(argv[++i], nullptr, 10);
    } else if (std::strcmp(argv[i], "--data") == 0 && i + 1 < argc) {
      folder = argv[++i];
    } else if (std::strcmp(argv[i], "--few-bits") == 0) {
      few = true;
    }
  }
  data::mnist_options options;
#ifdef ADZE_ZLIB
  options.unpack = data::gunzip;
#endif
  const data::train_and_test sets =
      folder != nullptr
          ? data::mnist(folder, options)
          : data::train_and_test{data::synthetic_digits({.count = 10000}),
                                 data::synthetic_digits({.count = 5000, .first = 10000})};
  std::vector<row> sum;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::vector<row> now = all_formats(sets, seed);
    if (sum.empty()) sum = now;
    for (std::size_t i = 0; i < now.size() && seed > 1; ++i) {
      sum[i].accuracy += now[i].accuracy, sum[i].one += now[i].one, sum[i].many += now[i].many;
    }
  }
  const auto n = static_cast<double>(seeds);
  report::table t({"LeNet-5", "test accuracy %", "kB", "batch 1, us", "batch 64, us"});
  for (const row& r : sum) {
    t.add(r.name, report::fixed(r.accuracy / n, 2), report::fixed(r.bytes / 1e3, 1),
          report::fixed(r.one / n, 1), report::fixed(r.many / n, 1));
  }
  std::fputs(t.text().c_str(), stdout);
  if (few) std::fputs(few_bits(sets).text().c_str(), stdout);
} catch (const error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
