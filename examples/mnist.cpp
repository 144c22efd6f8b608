// SPDX-License-Identifier: MIT
// LeNet-300-100 and LeNet-5 on MNIST-format files: mean test accuracy of three seeds.
//   mnist DIR            the classical pair of networks on the files in DIR
//   mnist                the same on digits that the program draws itself
// Each run is reproducible: the weights, the order of the batches and the result depend on the
// seed alone, not on the number of threads.
#include <adze/adze.hpp>
#ifdef ADZE_ZLIB
#  include <adze/data/gzip.hpp>
#endif

#include <cmath>
#include <cstdio>

using namespace adze;

// LeCun, Bottou, Bengio, Haffner 1998: two hidden layers of 300 and 100 units.
struct lenet_300_100 {
  nn::linear fc1{{.in = 784, .out = 300}};
  nn::linear fc2{{.in = 300, .out = 100}};
  nn::linear fc3{{.in = 100, .out = 10}};
  tensor operator()(const tensor& x) const { return fc3(relu(fc2(relu(fc1(flatten(x, 1)))))); }
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2), f("fc3", fc3); }
};

// The variant of LeNet-5 that pruning papers use: 20 and 50 channels, 500 units.
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

struct recipe {
  const char* name;
  index_t epochs;
  double max_lr;
};

template <class Model> double test_accuracy(const Model& model, const data::tensor_dataset& set) {
  const no_grad guard;
  index_t right = 0;
  for (auto& [x, y] : data::loader(set, {.batch_size = 500}).epoch(0)) {
    right += sum(argmax(model(x)) == y).template item<index_t>();
  }
  return 100.0 * static_cast<double>(right) / static_cast<double>(set.size());
}

// Adam with a one-cycle schedule, batches of 64; returns the test accuracy in percent.
template <class Model>
double train(const recipe& r, const data::train_and_test& sets, std::uint64_t seed) {
  manual_seed(seed);
  Model model;
  const data::loader batches(sets.train,
                             {.batch_size = 64, .shuffle = true, .workers = 1, .seed = seed});
  optim::adam opt(parameters(model));
  optim::scheduler schedule(
      opt, optim::one_cycle_lr{.max_lr = r.max_lr, .total_steps = r.epochs * batches.batches()});
  report::progress bar({.epochs = r.epochs, .steps = batches.batches()});
  for (index_t epoch = 0; epoch < r.epochs; ++epoch) {
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
  return test_accuracy(model, sets.test);
}

template <class Model>
void row(report::table& t, const recipe& r, const data::train_and_test& sets) {
  const double start = report::steady_seconds();
  std::vector<double> runs;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) runs.push_back(train<Model>(r, sets, seed));
  const double seconds = (report::steady_seconds() - start) / 3;
  const double mean = (runs[0] + runs[1] + runs[2]) / 3;
  t.add(r.name, r.epochs, report::fixed(runs[0], 2), report::fixed(runs[1], 2),
        report::fixed(runs[2], 2), report::fixed(mean, 2), report::fixed(seconds, 1));
}

int main(int argc, char** argv) try {
  data::mnist_options options;
#ifdef ADZE_ZLIB
  options.unpack = data::gunzip;
#endif
  const data::train_and_test sets =
      argc > 1 ? data::mnist(argv[1], options)
               : data::train_and_test{data::synthetic_digits({.count = 10000}),
                                      data::synthetic_digits({.count = 5000, .first = 10000})};
  std::printf("%lld training and %lld test images\n", static_cast<long long>(sets.train.size()),
              static_cast<long long>(sets.test.size()));
  report::table t(
      {"test accuracy, %", "epochs", "seed 1", "seed 2", "seed 3", "mean", "seconds per run"});
  row<lenet_300_100>(t, {"LeNet-300-100", 15, 4e-3}, sets);
  row<lenet_5>(t, {"LeNet-5 (20-50-500)", 8, 3e-3}, sets);
  std::fputs(t.text().c_str(), stdout);
} catch (const error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
