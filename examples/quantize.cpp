// SPDX-License-Identifier: MIT
// One network in floats and in integers: LeNet-5, trained, then quantized in every way there is.
//   quantize [--data DIR] [--seeds N] [--few-bits]
// on MNIST's files in DIR, else on digits that the program draws itself; --few-bits trains
// LeNet-300-100 with weights down to two bits too. Accuracy is that of the integer graph itself,
// latency and memory those of its plan; bytes of files are those of all constants.
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

// What the observers see: 512 training images.
std::vector<tensor> calibration(const data::train_and_test& sets) {
  std::vector<tensor> batches;
  for (index_t i = 0; i < 8; ++i) batches.push_back(sets.train.slice(64 * i, 64).x);
  return batches;
}

// Plans have no autocast: this one runs step by step.
void in_bf16(const std::function<void()>& body) {
  const amp::autocast low(amp::bf16());
  body();
}

std::vector<quant::contender> all_formats(const data::train_and_test& sets, std::uint64_t seed) {
  manual_seed(seed);
  const lenet_5 model;
  train(model, sets.train, 8, 3e-3, seed, "LeNet-5 in f32");
  const tensor example = sets.train.slice(0, 8).x;
  const graph floats = trace(model, example);
  graph qat = quant::prepare_qat(trace(clone(model), example));
  train(qat, sets.train, 2, 2e-4, seed + 100, "LeNet-5 in simulated int8");
  const auto converted = [&](const quant::config& c) {
    return quant::convert(quant::calibrated(floats, c, calibration(sets)));
  };
  return {{"f32", floats},
          {"bf16 autocast", floats, in_bf16},
          {"int8 dynamic", quant::quantize_dynamic(floats)},
          {"int8 static, x86", converted(quant::x86())},
          {"int8 static, full8", converted(quant::full8())},
          {"int8 QAT, full8", quant::convert(qat)},
          {"int4 weights", quant::quantize_weights(floats)}};
}

// What each layer loses with weights of two bits, and which must stay in floats for two points.
void print_sensitivity(const graph& floats, const data::train_and_test& sets) {
  quant::config c;
  c.all.weight.format = quant::weight_format(2);
  const quant::evaluation e{calibration(sets),
                            [&](const graph& g) { return accuracy(g, sets.test); }};
  std::printf("LeNet-5, weights of two bits, one layer at a time:\n%s",
              quant::to_table(quant::sensitivity(floats, c, e)).text().c_str());
  const quant::bounded_conversion b = quant::convert_within(floats, c, e, 2.0);
  std::printf("within 2 points of f32: %.2f %% with", b.score);
  for (const std::string& name : b.floats) std::printf(" %s", name.c_str());
  std::printf("%s in floats\n", b.floats.empty() ? " nothing" : "");
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
          report::fixed(
              accuracy(quant::convert(quant::calibrated(floats, c, calibration(sets))), sets.test),
              2),
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
    } else {
      raise<value_error>("quantize: takes [--data DIR] [--seeds N] [--few-bits]; got ", argv[i]);
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
  const quant::compare_options how{.score = [&](const graph& g) { return accuracy(g, sets.test); }};
  std::vector<quant::comparison> rows;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::vector<quant::contender> formats = all_formats(sets, seed);
    const auto now = quant::compare(formats, sets.test.slice(0, 64).x, how);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].score += now[i].score;
    if (seed == 1) rows = now;
    if (seed == seeds) print_sensitivity(formats[0].g, sets);
  }
  for (quant::comparison& r : rows) r.score /= static_cast<double>(seeds);
  std::printf("LeNet-5: test accuracy in %%, the mean of %d seeds; latencies of the first, with "
              "quartiles\n%s",
              static_cast<int>(seeds), quant::to_table(rows, how).text().c_str());
  if (few) std::fputs(few_bits(sets).text().c_str(), stdout);
} catch (const error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
