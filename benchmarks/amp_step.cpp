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

namespace {

using namespace adze;

struct mlp {
  nn::linear fc1{{.in = 784, .out = 512}}, fc2{{.in = 512, .out = 512}},
      fc3{{.in = 512, .out = 10}};
  tensor operator()(const tensor& x) const { return fc3(relu(fc2(relu(fc1(x))))); }
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

// conv - norm - relu - conv - norm, beside the input or every second pixel of it with new channels
// of zeros (He et al. 2016, option A).
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
  add(std::type_identity<mlp>{}, "MLP 784-512-512-10, batch 128", rand({128, 784}),
      labels(128, 10));
  add(std::type_identity<lenet_5>{}, "LeNet-5, batch 128", rand({128, 1, 28, 28}), labels(128, 10));
  add(std::type_identity<resnet_20>{}, "ResNet-20, batch 32", rand({32, 3, 32, 32}),
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
