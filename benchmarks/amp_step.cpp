// SPDX-License-Identifier: MIT
// A training step under bf16 autocast beside the same step in f32: models whose time goes to
// products, and models whose time goes to moving activations. The two take turns, each pair of
// turns gives one ratio, and the table has the median of these with their quartiles. Peak bytes
// are those beside parameters and states of the optimizer. Quiet machine, one core:
//   taskset -c 1 amp_step [part of a name]
#include <adze/adze.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "models.hpp"

namespace {

using namespace adze;

struct small_gpt : nn::gpt {
  small_gpt()
      : nn::gpt({.vocabulary = 65, .context = 256, .embed = 128, .heads = 4, .layers = 2}) {}
};

struct lstm_model {
  nn::embedding token{{.rows = 65, .width = 64}};
  nn::lstm cells{{.in = 64, .hidden = 256, .batch_first = true}};
  nn::linear head{{.in = 256, .out = 65}};
  tensor operator()(const tensor& x) const { return head(cells(token(x)).output); }
  void visit(auto&& f) { f("token", token), f("cells", cells), f("head", head); }
};

// Depthwise convolutions with norms and hardswish on large images: few operations a byte.
struct depthwise_net {
  nn::conv2d stem{{.in = 3, .out = 32, .kernel = 3, .stride = 2, .padding = 1}};
  std::vector<nn::conv2d> convs;
  std::vector<nn::batch_norm2d> norms;
  nn::linear head{{.in = 32, .out = 10}};
  depthwise_net() {
    for (int i = 0; i < 4; ++i) {
      convs.emplace_back(
          nn::conv2d({.in = 32, .out = 32, .kernel = 3, .padding = 1, .groups = 32}));
      norms.emplace_back(nn::batch_norm2d({.channels = 32}));
    }
  }
  tensor operator()(const tensor& x) const {
    tensor y = stem(x);
    for (std::size_t i = 0; i < convs.size(); ++i) y = hardswish(norms[i](convs[i](y)));
    return head(flatten(adaptive_avg_pool2d(y, {1, 1}), 1));
  }
  void visit(auto&& f) { f("stem", stem), f("convs", convs), f("norms", norms), f("head", head); }
};

// Gates and residual sums over wide rows; products only at both ends.
struct pointwise_net {
  nn::linear first{{.in = 16, .out = 1024}}, last{{.in = 1024, .out = 10}};
  tensor operator()(const tensor& x) const {
    tensor y = first(x);
    for (int i = 0; i < 4; ++i) y = y + relu(y) * sigmoid(y);
    return last(y);
  }
  void visit(auto&& f) { f("first", first), f("last", last); }
};

struct timing {
  double low = 0, median = 0, high = 0;
};
timing quartiles(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return {x[x.size() / 4], x[x.size() / 2], x[x.size() * 3 / 4]};
}

template <class Model>
void measure(report::table& t, const char* name, const tensor& x, const tensor& y) {
  manual_seed(1);
  const Model model;
  optim::adam opt(parameters(model), {.lr = 1e-4});
  const amp::policy policy = amp::bf16();
  const auto step = [&](bool on) {
    opt.zero_grad();
    const index_t before = memory().live_bytes;
    reset_peak();
    tensor loss;
    {
      const amp::autocast guard(policy, {.enabled = on});
      const tensor logits = model(x);
      loss = cross_entropy(reshape(logits, {-1, logits.size(-1)}), y);
    }
    backward(loss);
    opt.step();
    return static_cast<double>(memory().peak_bytes - before);
  };
  double bytes[2] = {};
  for (int i = 0; i < 4; ++i) bytes[i % 2] = step(i % 2 == 1);
  const double start = report::steady_seconds();
  step(false);
  const int calls = std::clamp(static_cast<int>(0.05 / (report::steady_seconds() - start)), 1, 50);
  std::vector<double> ratios, wide;
  for (int round = 0; round < 31; ++round) {
    double seconds[2] = {};
    for (int turn = 0; turn < 2; ++turn) {
      const bool on = (turn + round) % 2 == 1;
      const double begin = report::steady_seconds();
      for (int i = 0; i < calls; ++i) step(on);
      seconds[on] = (report::steady_seconds() - begin) / calls;
    }
    ratios.push_back(seconds[1] / seconds[0]);
    wide.push_back(seconds[0] * 1e3);
  }
  const timing r = quartiles(ratios);
  t.add(name, report::fixed(quartiles(wide).median, 2), report::fixed(r.median, 3),
        report::fixed(r.low, 3), report::fixed(r.high, 3), report::fixed(bytes[0] / 1e6, 1),
        report::fixed(bytes[1] / bytes[0], 2));
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(1);
  manual_seed(2);
  const auto wanted = [&](const char* name) {
    return argc < 2 || std::strstr(name, argv[1]) != nullptr;
  };
  const auto labels = [](index_t n, index_t classes) { return randint(0, classes, {n}); };
  report::table t({"training step, Adam, one thread", "f32, ms", "bf16 of f32", "quartile",
                   "quartile", "f32, MB", "bf16 of f32"});
  const auto add = [&]<class Model>(std::type_identity<Model>, const char* name, const tensor& x,
                                    const tensor& y) {
    if (wanted(name)) measure<Model>(t, name, x, y);
  };
  const tensor tokens = randint(0, 65, {8, 256});
  add(std::type_identity<models::mlp>{}, "MLP 784-512-512-10, batch 128", rand({128, 784}),
      labels(128, 10));
  add(std::type_identity<models::lenet_1998>{}, "LeNet-5, batch 128", rand({128, 1, 28, 28}),
      labels(128, 10));
  add(std::type_identity<models::resnet_20>{}, "ResNet-20, batch 32", rand({32, 3, 32, 32}),
      labels(32, 10));
  add(std::type_identity<small_gpt>{}, "GPT, 2 layers of 128, 8 x 256", tokens, labels(2048, 65));
  add(std::type_identity<lstm_model>{}, "LSTM of 256, 32 x 64", randint(0, 65, {32, 64}),
      labels(2048, 65));
  add(std::type_identity<depthwise_net>{}, "memory: depthwise, 32 x 64 x 64, batch 16",
      rand({16, 3, 128, 128}), labels(16, 10));
  add(std::type_identity<pointwise_net>{}, "memory: pointwise, 4096 x 1024", rand({4096, 16}),
      labels(4096, 10));
  std::fputs(t.text().c_str(), stdout);
}
