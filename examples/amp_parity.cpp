// SPDX-License-Identifier: MIT
// Do trainings in 16 bits end where those in f32 do? Five models, each trained from three seeds in
// f32, under bf16 autocast, and under f16 autocast with a scaled loss: the same weights and batches
// at first, Adam, one cycle of the learning rate. About ten minutes on one core.
//   amp_parity [--data DIR] [--text FILE] [--only NAME] [--share 0.1]
// DIR holds MNIST's files, else digits are drawn; FILE is any text, else one is made. The coloured
// images are always made: digits in random colours on random grounds, with noise.
#include <adze/adze.hpp>
#ifdef ADZE_ZLIB
#  include <adze/data/gzip.hpp>
#endif

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

using namespace adze;

struct mlp {
  nn::linear fc1{{.in = 784, .out = 256}}, fc2{{.in = 256, .out = 128}},
      fc3{{.in = 128, .out = 10}};
  tensor operator()(const tensor& x) const { return fc3(relu(fc2(relu(fc1(flatten(x, 1)))))); }
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2), f("fc3", fc3); }
};

// LeCun, Bottou, Bengio, Haffner 1998, with ReLU and max pooling.
struct lenet_5 {
  nn::conv2d conv1{{.in = 1, .out = 6, .kernel = 5, .padding = 2}};
  nn::conv2d conv2{{.in = 6, .out = 16, .kernel = 5}};
  nn::linear fc1{{.in = 400, .out = 120}}, fc2{{.in = 120, .out = 84}}, fc3{{.in = 84, .out = 10}};
  tensor operator()(const tensor& x) const {
    const tensor h = max_pool2d(relu(conv2(max_pool2d(relu(conv1(x))))));
    return fc3(relu(fc2(relu(fc1(flatten(h, 1))))));
  }
  void visit(auto&& f) {
    f("conv1", conv1), f("conv2", conv2), f("fc1", fc1), f("fc2", fc2), f("fc3", fc3);
  }
};

// He et al. 2016 for images of 32 x 32: three stages of 16, 32 and 64 channels, three blocks each;
// shortcuts to more channels take every second pixel and add channels of zeros.
struct residual_block {
  index_t grow, stride;
  nn::conv2d conv1, conv2;
  nn::batch_norm2d norm1, norm2;
  residual_block(index_t in, index_t out)
      : grow(out - in), stride(in == out ? 1 : 2),
        conv1({.in = in, .out = out, .kernel = 3, .stride = stride, .padding = 1, .bias = false}),
        conv2({.in = out, .out = out, .kernel = 3, .padding = 1, .bias = false}),
        norm1({.channels = out}), norm2({.channels = out}) {}
  tensor operator()(const tensor& x) const {
    tensor beside = x;
    if (stride > 1) {
      beside = slice(slice(x, 2, {.step = 2}), 3, {.step = 2});
      beside = pad(beside, {0, 0, 0, 0, grow / 2, grow / 2});
    }
    return relu(norm2(conv2(relu(norm1(conv1(x))))) + beside);
  }
  void visit(auto&& f) {
    f("conv1", conv1), f("conv2", conv2), f("norm1", norm1), f("norm2", norm2);
  }
};
struct resnet_20 {
  nn::conv2d stem{{.in = 3, .out = 16, .kernel = 3, .padding = 1, .bias = false}};
  nn::batch_norm2d norm{{.channels = 16}};
  std::vector<residual_block> blocks;
  nn::linear head{{.in = 64, .out = 10}};
  resnet_20() {
    for (const index_t c : {16, 32, 64}) {
      for (int i = 0; i < 3; ++i) blocks.emplace_back(i == 0 && c > 16 ? c / 2 : c, c);
    }
  }
  tensor operator()(const tensor& x) const {
    tensor y = relu(norm(stem(x)));
    for (const residual_block& b : blocks) y = b(y);
    return head(flatten(adaptive_avg_pool2d(y, {1, 1}), 1));
  }
  void visit(auto&& f) { f("stem", stem), f("norm", norm), f("blocks", blocks), f("head", head); }
};

constexpr index_t most_letters = 96;
struct char_gpt : nn::gpt {
  char_gpt()
      : nn::gpt({.vocabulary = most_letters, .context = 64, .embed = 96, .heads = 4, .layers = 3}) {
  }
};
struct char_lstm {
  nn::embedding token{{.rows = most_letters, .width = 48}};
  nn::lstm cells{{.in = 48, .hidden = 128, .batch_first = true}};
  nn::linear head{{.in = 128, .out = most_letters}};
  tensor operator()(const tensor& x) const { return head(cells(token(x)).output); }
  void visit(auto&& f) { f("token", token), f("cells", cells), f("head", head); }
};

// Digits on 32 x 32 pixels in bright colours before dark ones.
data::tensor_dataset coloured(index_t count, index_t first) {
  const data::batch digits =
      data::synthetic_digits({.count = count, .first = first}).slice(0, count);
  generator g(static_cast<std::uint64_t>(first) + 1);
  const tensor ink = pad(digits.x, {2, 2, 2, 2});
  const tensor ground = rand({count, 3, 1, 1}, f32, g) * 0.5;
  const tensor colour = rand({count, 3, 1, 1}, f32, g) * 0.5 + 0.5;
  const tensor clean = ground + ink * (colour - ground);
  return {contiguous(clean + randn({count, 3, 32, 32}, f32, g) * 0.1), digits.y};
}

// Words of a made language, the frequent ones first; who speaks is followed by what is done.
std::string made_text() {
  const char* const words[] = {"the ", "king ",  "and ",  "lady ",   "speaks ",
                               "of ",  "old ",   "days ", "sleep ",  "under ",
                               "a ",   "tree, ", "rain ", "falls.\n"};
  generator g(1);
  std::string all;
  std::size_t last = 0;
  while (all.size() < 200000) {
    const double u = g.uniform();
    last = u < 0.6 ? (last * 5 + 3) % 14 : static_cast<std::size_t>(14.0 * (u - 0.6) / 0.4);
    all += words[last];
  }
  return all;
}

enum class precision { wide, bf16, f16 };
struct outcome {
  double loss = 0.0;                            // mean of the last tenth of the steps
  double accuracy = 0.0;                        // on what was not trained on, in percent
  index_t early = 0, late = 0, late_steps = 0;  // skipped steps, and all after the warm-up
};
struct recipe {
  const char* name;
  index_t batch, steps;
  double max_lr;
  double smoothing = 0.0;  // of the labels: the loss then ends at their entropy, not at noise
};

template <class Model, class Data> double accuracy(const Model& model, const Data& set) {
  const no_grad guard;
  index_t right = 0, all = 0;
  for (auto& [x, y] : data::loader<Data>(set, {.batch_size = 250}).epoch(0)) {
    right += sum(argmax(model(x)) == y).template item<index_t>();
    all += y.numel();
  }
  return 100.0 * static_cast<double>(right) / static_cast<double>(all);
}

template <class Model, class Data>
outcome train(const recipe& r, const Data& set, const Data& test, precision p, std::uint64_t seed) {
  constexpr index_t warm_up = 50;
  manual_seed(seed);
  Model model;
  const data::loader<Data> batches(
      set, {.batch_size = r.batch, .shuffle = true, .drop_last = true, .seed = seed});
  const amp::policy policy = p == precision::f16 ? amp::fp16() : amp::bf16();
  const amp::autocast_options region{.enabled = p != precision::wide};
  optim::adam opt(parameters(model));
  optim::scheduler schedule(opt, optim::one_cycle_lr{.max_lr = r.max_lr, .total_steps = r.steps});
  amp::grad_scaler scaler({.enabled = p == precision::f16});
  report::progress bar({.steps = r.steps});
  outcome o;
  const index_t tail = std::max<index_t>(1, r.steps / 10);
  index_t step = 0;
  for (index_t epoch = 0; step < r.steps; ++epoch) {
    for (auto& [x, y] : batches.epoch(epoch)) {
      if (step == r.steps) break;
      tensor loss;
      {
        const amp::autocast guard(policy, region);
        const tensor logits = model(x);
        loss = cross_entropy(reshape(logits, {-1, logits.size(-1)}), reshape(y, {-1}),
                             {.label_smoothing = r.smoothing});
      }
      opt.zero_grad();
      backward(scaler.scale(loss));
      if (!scaler.step(opt)) ++(step < warm_up ? o.early : o.late);
      scaler.update();
      schedule.step();
      bar.step(loss.item(), x.size(0));
      if (++step > r.steps - tail) o.loss += loss.item() / static_cast<double>(tail);
    }
  }
  bar.end_epoch();
  o.late_steps = std::max<index_t>(0, r.steps - warm_up);
  eval(model);
  const amp::autocast guard(policy, region);
  o.accuracy = accuracy(model, test);
  std::fprintf(stderr, "loss %.4f, accuracy %.2f %%\n", o.loss, o.accuracy);
  return o;
}

// The f16 steps after the warm-up of all models, and those of them that were skipped.
struct total {
  index_t steps = 0, skipped = 0;
};

// Three rows: means of three seeds, what differs from f32, and how far seeds in f32 are apart.
template <class Model, class Data>
void compare(report::table& t, total& all, const recipe& r, const Data& set, const Data& test) {
  outcome wide;
  for (const precision p : {precision::wide, precision::bf16, precision::f16}) {
    const char* const name = p == precision::wide ? "f32" : p == precision::bf16 ? "bf16" : "f16";
    outcome mean;
    double low = 1e9, high = 0.0, best = 0.0, worst = 100.0;
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
      std::fprintf(stderr, "%s, %s, seed %d\n", r.name, name, static_cast<int>(seed));
      const outcome o = train<Model, Data>(r, set, test, p, seed);
      mean.loss += o.loss / 3, mean.accuracy += o.accuracy / 3;
      mean.early += o.early, mean.late += o.late, mean.late_steps += o.late_steps;
      low = std::min(low, o.loss), high = std::max(high, o.loss);
      best = std::max(best, o.accuracy), worst = std::min(worst, o.accuracy);
    }
    if (p == precision::wide) wide = mean;
    if (p == precision::f16) all.steps += mean.late_steps, all.skipped += mean.late;
    t.add(p == precision::wide ? r.name : "", name, report::fixed(mean.loss, 4),
          report::fixed(100.0 * (mean.loss / wide.loss - 1.0), 2),
          report::fixed(100.0 * (high - low) / mean.loss, 2), report::fixed(mean.accuracy, 2),
          report::fixed(mean.accuracy - wide.accuracy, 2), report::fixed(best - worst, 2),
          mean.early, mean.late);
  }
}

int main(int argc, char** argv) try {
  std::string folder, file, only, part = "1";
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    std::string* const to = name == "--data"    ? &folder
                            : name == "--text"  ? &file
                            : name == "--only"  ? &only
                            : name == "--share" ? &part
                                                : nullptr;
    if (to == nullptr || i + 1 == argc) {
      raise<value_error>("amp_parity: takes [--data DIR] [--text FILE] [--only NAME] [--share X]; ",
                         "got ", name);
    }
    *to = argv[i + 1];
  }
  const double share = std::atof(part.c_str());
  data::mnist_options options;
#ifdef ADZE_ZLIB
  options.unpack = data::gunzip;
#endif
  const data::train_and_test digits =
      !folder.empty()
          ? data::mnist(folder, options)
          : data::train_and_test{data::synthetic_digits({.count = 20000}),
                                 data::synthetic_digits({.count = 10000, .first = 20000})};
  std::string words = made_text();
  if (!file.empty()) {
    const auto bytes = read_file(file);
    words.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  const tensor tokens = data::char_vocabulary(words).encode(words);
  const index_t most = tokens.numel(), cut = most - std::min<index_t>(most / 10, 60000);
  const data::text_windows text(slice(tokens, 0, {0, cut}), {.length = 64});
  const data::text_windows unseen(contiguous(slice(tokens, 0, {cut, most})), {.length = 64});

  report::table t({"model", "in", "final loss", "to f32, %", "seeds, %", "accuracy, %", "to f32",
                   "seeds", "skipped, first 50", "later"});
  total all;
  const auto run = [&]<class Model, class Data>(std::type_identity<Model>, recipe r,
                                                const Data& set, const Data& test) {
    if (std::string_view(r.name).find(only) == std::string_view::npos) return;
    r.steps = std::max<index_t>(10, static_cast<index_t>(share * static_cast<double>(r.steps)));
    compare<Model, Data>(t, all, r, set, test);
  };
  run(std::type_identity<mlp>{}, {"MLP", 128, 1500, 3e-3, 0.1}, digits.train, digits.test);
  run(std::type_identity<lenet_5>{}, {"LeNet-5", 64, 1500, 4e-3, 0.1}, digits.train, digits.test);
  run(std::type_identity<resnet_20>{}, {"ResNet-20", 32, 320, 5e-3, 0.1}, coloured(8000, 0),
      coloured(3000, 8000));
  run(std::type_identity<char_gpt>{}, {"char GPT", 16, 500, 3e-3}, text, unseen);
  run(std::type_identity<char_lstm>{}, {"LSTM", 16, 600, 6e-3}, text, unseen);
  std::printf("%s\n", t.text().c_str());
  std::printf("f16: %lld of %lld steps skipped after the first 50 of each training\n",
              static_cast<long long>(all.skipped), static_cast<long long>(all.steps));
} catch (const error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
