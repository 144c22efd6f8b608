// SPDX-License-Identifier: MIT
// What scripts/quickstart.sh runs: a small CNN learns digits, drawn by the program itself or, with
// --data DIR, read from MNIST-format files. Ends in a table and the loss curve, loss.svg.
#include <adze/adze.hpp>
#ifdef ADZE_ZLIB
#  include <adze/data/gzip.hpp>
#endif

#include <cstdio>
#include <string_view>

using namespace adze;

struct small_cnn {
  nn::conv2d conv1{{.in = 1, .out = 16, .kernel = 3, .padding = 1}};
  nn::conv2d conv2{{.in = 16, .out = 32, .kernel = 3, .padding = 1}};
  nn::linear fc{{.in = 32 * 7 * 7, .out = 10}};

  tensor operator()(const tensor& x) const {
    const tensor h = max_pool2d(relu(conv1(x)));
    return fc(flatten(max_pool2d(relu(conv2(h))), 1));
  }
  void visit(auto&& f) { f("conv1", conv1), f("conv2", conv2), f("fc", fc); }
};

double accuracy(const small_cnn& model, const data::tensor_dataset& set) {
  const no_grad guard;
  index_t right = 0;
  for (auto& [x, y] : data::loader(set, {.batch_size = 500}).epoch(0)) {
    right += sum(argmax(model(x)) == y).item<index_t>();
  }
  return 100.0 * static_cast<double>(right) / static_cast<double>(set.size());
}

data::train_and_test load(int argc, char** argv) {
  data::mnist_options options;
#ifdef ADZE_ZLIB
  options.unpack = data::gunzip;
#endif
  if (argc == 3 && std::string_view(argv[1]) == "--data") return data::mnist(argv[2], options);
  if (argc != 1) raise<value_error>("quickstart: takes nothing or --data DIR");
  return {data::synthetic_digits({.count = 10000}),
          data::synthetic_digits({.count = 2000, .first = 10000})};
}

int main(int argc, char** argv) try {
  const auto [train_set, test_set] = load(argc, argv);
  manual_seed(1);
  small_cnn model;

  const index_t epochs = 3;
  const data::loader batches(train_set, {.batch_size = 64, .shuffle = true, .workers = 1});
  optim::adam opt(parameters(model));
  optim::scheduler schedule(
      opt, optim::one_cycle_lr{.max_lr = 5e-3, .total_steps = epochs * batches.batches()});
  report::progress bar({.epochs = epochs, .steps = batches.batches()});
  std::vector<double> steps, losses;

  for (index_t epoch = 0; epoch < epochs; ++epoch) {
    for (auto& [x, y] : batches.epoch(epoch)) {
      opt.zero_grad();
      const tensor loss = cross_entropy(model(x), y);
      backward(loss);
      opt.step();
      schedule.step();
      bar.step(loss.item(), x.size(0));
      steps.push_back(static_cast<double>(steps.size()));
      losses.push_back(loss.item());
    }
    bar.end_epoch();
  }
  const double seconds = bar.seconds();

  report::table results(
      {"parameters", "epochs", "seconds", "train %", "test %", "samples/s", "peak MB"});
  const auto samples = static_cast<double>(epochs * train_set.size());
  results.add(count_parameters(model), epochs, report::fixed(seconds, 1),
              report::fixed(accuracy(model, train_set), 2),
              report::fixed(accuracy(model, test_set), 2), report::fixed(samples / seconds, 0),
              report::fixed(static_cast<double>(memory().peak_bytes) / 1e6, 0));
  std::fputs(results.text().c_str(), stdout);

  report::line_chart chart({.title = "Training loss",
                            .x = {.label = "step"},
                            .y = {.label = "cross entropy", .logarithmic = true}});
  chart.add("each step", steps, losses, report::line_style::faint);
  chart.add("smoothed", steps, report::smoothed(losses));
  write_file("loss.svg", chart.svg_text());
} catch (const error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
