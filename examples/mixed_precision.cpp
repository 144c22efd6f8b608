// SPDX-License-Identifier: MIT
// Mixed precision on a CPU, in three tables: the same training in f32, bf16 and f16; the gradients
// that f16 loses, and what scaling the loss saves; and models held in bf16 altogether.
//   mixed_precision DIR  MNIST's files in DIR
//   mixed_precision      digits that the program draws itself
#include <adze/adze.hpp>
#ifdef ADZE_ZLIB
#  include <adze/data/gzip.hpp>
#endif

#include <cstdio>

using namespace adze;

// LeCun, Bottou, Bengio, Haffner 1998, with ReLU and max pooling.
struct lenet_5 {
  nn::conv2d conv1{{.in = 1, .out = 6, .kernel = 5, .padding = 2}};
  nn::conv2d conv2{{.in = 6, .out = 16, .kernel = 5}};
  nn::linear fc1{{.in = 400, .out = 120}};
  nn::linear fc2{{.in = 120, .out = 84}};
  nn::linear fc3{{.in = 84, .out = 10}};
  tensor operator()(const tensor& x) const { return after_first(conv1(x)); }
  tensor after_first(const tensor& y) const {
    const tensor h = max_pool2d(relu(conv2(max_pool2d(relu(y)))));
    return fc3(relu(fc2(relu(fc1(flatten(h, 1))))));
  }
  void visit(auto&& f) {
    f("conv1", conv1), f("conv2", conv2), f("fc1", fc1), f("fc2", fc2), f("fc3", fc3);
  }
};

struct outcome {
  double loss = 0.0;  // mean of the last epoch
  double accuracy = 0.0, megabytes = 0.0, steps_per_second = 0.0;
  index_t skipped = 0;
};

double accuracy(const lenet_5& model, const data::tensor_dataset& set, dtype type = f32) {
  const no_grad guard;
  index_t right = 0;
  for (auto& [x, y] : data::loader(set, {.batch_size = 500}).epoch(0)) {
    right += sum(argmax(model(cast(x, type))) == y).item<index_t>();
  }
  return 100.0 * static_cast<double>(right) / static_cast<double>(set.size());
}

// Trains with `step(x, y)`, which returns the loss. Memory is what a step has beside what is there
// when it begins.
template <class Step> outcome train(const data::tensor_dataset& set, index_t epochs, Step step) {
  const data::loader batches(set,
                             {.batch_size = 128, .shuffle = true, .drop_last = true, .seed = 0});
  outcome r;
  double seconds = 0.0;
  for (index_t epoch = 0; epoch < epochs; ++epoch) {
    for (auto& [x, y] : batches.epoch(epoch)) {
      const index_t before = memory().live_bytes;
      reset_peak();
      const double start = report::steady_seconds();
      const double loss = step(x, y);
      seconds += report::steady_seconds() - start;
      r.megabytes = static_cast<double>(memory().peak_bytes - before) / 1e6;
      if (epoch == epochs - 1) r.loss += loss / static_cast<double>(batches.batches());
    }
  }
  r.steps_per_second = static_cast<double>(epochs * batches.batches()) / seconds;
  return r;
}

// Parameters in f32, the policy in the forward pass: the usual way.
outcome autocast_run(const data::train_and_test& sets, const amp::policy& policy, bool on,
                     bool scaled) {
  manual_seed(1);
  const lenet_5 model;
  optim::adam opt(parameters(model));
  optim::scheduler schedule(
      opt, optim::one_cycle_lr{.max_lr = 6e-3, .total_steps = 4 * (sets.train.size() / 128)});
  amp::grad_scaler scaler({.enabled = scaled});
  outcome r = train(sets.train, 4, [&](const tensor& x, const tensor& y) {
    tensor loss;
    {
      const amp::autocast guard(policy, {.enabled = on});
      loss = cross_entropy(model(x), y);
    }
    backward(scaler.scale(loss));
    scaler.step(opt);
    scaler.update();
    schedule.step();
    opt.zero_grad();
    return loss.item();
  });
  const amp::autocast guard(policy, {.enabled = on});
  r.accuracy = accuracy(model, sets.test);
  r.skipped = scaler.statistics().skipped_steps;
  return r;
}

// The gradient of what the first layer gives for a batch, when the loss is scaled.
tensor gradient(const lenet_5& model, const data::batch& b, bool narrow, double scale) {
  tensor first, loss;
  {
    const amp::autocast guard(amp::fp16(), {.enabled = narrow});
    first = model.conv1(b.x);
    loss = cross_entropy(model.after_first(first), b.y);
  }
  return cast(grad(loss * scale, first), f32);
}

// What is left of the gradients of a trained model when f16 carries them.
void print_underflow(const data::train_and_test& sets) {
  manual_seed(1);
  const lenet_5 model;
  optim::adam opt(parameters(model), {.lr = 3e-3});
  train(sets.train, 4, [&](const tensor& x, const tensor& y) {
    const tensor loss = cross_entropy(model(x), y);
    backward(loss);
    opt.step();
    opt.zero_grad();
    return loss.item();
  });
  const data::batch batch = sets.train.slice(0, 512);
  const tensor exact = gradient(model, batch, false, 1.0), there = abs(exact) > 0.0;
  const double count = sum(there).item(), size = sum(abs(exact)).item();
  report::table t({"gradients of LeNet-5's first activations in f16", "below 2^-24, %",
                   "rounded to 0, %", "mean error, %"});
  for (const double scale : {1.0, 0x1p8, 0x1p16}) {
    const tensor got = gradient(model, batch, true, scale);
    const double small = sum(there && abs(exact) * scale < 0x1p-24).item();
    const double lost = sum(there && got == 0.0).item();
    const double error = sum(abs(got / scale - exact)).item();
    t.add(text("loss times ", scale), report::fixed(100 * small / count, 2),
          report::fixed(100 * lost / count, 2), report::fixed(100 * error / size, 2));
  }
  std::printf("%s\n", t.text().c_str());
}

// The whole model in one dtype: forward, backward, optimizer.
template <class Optimizer>
outcome held_run(const data::train_and_test& sets, dtype type,
                 Optimizer (*make)(const lenet_5& model)) {
  manual_seed(1);
  lenet_5 model;
  to(model, type);
  Optimizer opt = make(model);
  outcome r = train(sets.train, 4, [&](const tensor& x, const tensor& y) {
    const tensor loss = cross_entropy(cast(model(cast(x, type)), f32), y);
    backward(loss);
    opt.step();
    opt.zero_grad();
    return loss.item();
  });
  r.accuracy = accuracy(model, sets.test, type);
  return r;
}

template <amp::keep kept> amp::master_weights<optim::adam> wrapped(const lenet_5& model) {
  return amp::master_weights<optim::adam>(parameters(model), {.lr = 2e-4}, {.kept = kept});
}
optim::adam bare(const lenet_5& model) { return optim::adam(parameters(model), {.lr = 2e-4}); }

int main(int argc, char** argv) try {
  data::mnist_options options;
#ifdef ADZE_ZLIB
  options.unpack = data::gunzip;
#endif
  const data::train_and_test sets =
      argc > 1 ? data::mnist(argv[1], options)
               : data::train_and_test{data::synthetic_digits({.count = 5000}),
                                      data::synthetic_digits({.count = 2000, .first = 5000})};

  report::table a({"LeNet-5, batch 128, autocast", "loss", "test accuracy, %", "MB of a step",
                   "of f32", "steps/s", "skipped steps"});
  double wide = 0.0;
  const auto add = [&](const char* name, const outcome& r) {
    if (wide == 0.0) wide = r.megabytes;
    a.add(name, report::fixed(r.loss, 4), report::fixed(r.accuracy, 2),
          report::fixed(r.megabytes, 2), report::fixed(r.megabytes / wide, 2),
          report::fixed(r.steps_per_second, 1), r.skipped);
  };
  add("f32", autocast_run(sets, amp::bf16(), false, false));
  add("bf16", autocast_run(sets, amp::bf16(), true, false));
  add("f16, loss scaled", autocast_run(sets, amp::fp16(), true, true));
  add("f16, not scaled", autocast_run(sets, amp::fp16(), true, false));
  std::printf("%s\nAVX2 has no arithmetic in 16 bits: kernels widen to f32 and round once, so that "
              "memory is\ngained, not time.\n\n",
              a.text().c_str());

  print_underflow(sets);

  report::table h({"LeNet-5 held in one dtype, Adam 2e-4", "loss", "test accuracy, %",
                   "bytes a weight beside Adam's"});
  const auto held = [&](const char* name, const outcome& r, int bytes) {
    h.add(name, report::fixed(r.loss, 4), report::fixed(r.accuracy, 2), bytes);
  };
  held("f32", held_run(sets, f32, bare), 4);
  held("bf16", held_run(sets, bf16, bare), 2);
  held("bf16, stochastic rounding", held_run(sets, bf16, wrapped<amp::keep::stochastic>), 2);
  held("bf16, rest kept (Kahan)", held_run(sets, bf16, wrapped<amp::keep::rest>), 4);
  held("bf16, f32 master weights", held_run(sets, bf16, wrapped<amp::keep::master>), 6);
  std::fputs(h.text().c_str(), stdout);
} catch (const error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
