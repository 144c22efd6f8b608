// SPDX-License-Identifier: MIT
// A training run that is stopped in the middle of an epoch and goes on from files, bit for bit.
#include <doctest/doctest.h>

#include <adze/amp/grad_scaler.hpp>
#include <adze/amp/master_weights.hpp>
#include <adze/autograd/backward.hpp>
#include <adze/data/loader.hpp>
#include <adze/io/safetensors.hpp>
#include <adze/nn/linear.hpp>
#include <adze/nn/state_dict.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/optim/adam.hpp>
#include <adze/optim/ema.hpp>
#include <adze/optim/schedule.hpp>

#include "optim/problem.hpp"

namespace adze::io {
namespace {

using optim::testing::same_bits;

struct model {
  nn::linear fc1{{.in = 3, .out = 4}};
  tensor scale = ones({}, f64).set_requires_grad();  // as a tensor of f64 without axes
  tensor operator()(const tensor& x) const {
    return cast(fc1(cast(x, fc1.weight.dtype())), f32) * scale;
  }
  void visit(auto&& f) { f("fc1", fc1), f("scale", scale); }
};

struct run {
  explicit run(amp::keep kept, std::uint64_t seed)
      : opt((to(net.fc1, bf16), parameters(net)), {.lr = 1.0}, {.kept = kept, .seed = seed}) {}

  void step(const tensor& x) {
    opt.zero_grad();
    backward(scaler.scale(mean(square(net(x)))));
    scaler.step(opt);
    scaler.update();
    schedule.step();
    average.update();
  }
  void save(named_tensors& values, named_tensors& training) const {
    values = state_dict(net);
    const auto add = [&](std::string_view name, const optim::saved_state& s) {
      for (auto& entry : optim::to_tensors(s, name)) training.push_back(std::move(entry));
    };
    add("optimizer.", opt.state_dict());
    add("schedule.", schedule.state_dict());
    add("average.", average.state_dict());
    add("scaler.", {.numbers = scaler.state_dict()});
  }
  void load(const named_tensors& values, const named_tensors& training) {
    load_state_dict(net, values);
    opt.load_state_dict(optim::from_tensors(training, "optimizer."));
    schedule.load_state_dict(optim::from_tensors(training, "schedule."));
    average.load_state_dict(optim::from_tensors(training, "average."));
    scaler.load_state_dict(optim::from_tensors(training, "scaler.").numbers);
  }

  model net{};
  amp::master_weights<optim::adam> opt;
  optim::scheduler schedule{opt.inner(), optim::step_lr{.step_size = 2, .gamma = 0.7}};
  optim::ema average{parameters(net), {.decay = 0.9, .warm_up = true}};
  amp::grad_scaler scaler{{.init_scale = 1024, .growth_interval = 3}};
};

TEST_CASE("checkpoint: training goes on from files in the middle of an epoch, bit for bit") {
  const data::tensor_dataset set(rand({22, 3}), zeros({22}, i64));
  const data::loader batches(set, {.batch_size = 4, .shuffle = true, .workers = 1, .seed = 3});
  for (const amp::keep kept : {amp::keep::master, amp::keep::rest, amp::keep::stochastic}) {
    manual_seed(1);
    run whole(kept, 5);
    byte_vector values, training;
    for (index_t epoch = 0, k = 0; epoch < 2; ++epoch) {
      for (auto& [x, y] : batches.epoch(epoch)) {
        whole.step(x);
        if (++k != 8) continue;  // two batches into the second epoch
        named_tensors v, t;
        whole.save(v, t);
        values = write_safetensors(v), training = write_safetensors(t);
      }
    }
    manual_seed(2);
    run resumed(kept, 6);
    resumed.load(read_safetensors(values, "values"), read_safetensors(training, "training"));
    for (auto& [x, y] : batches.epoch(1, 2)) resumed.step(x);

    named_tensors a, b;
    whole.save(a, a), resumed.save(b, b);
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      CHECK(a[i].first == b[i].first);
      CHECK_MESSAGE(same_bits(a[i].second, b[i].second), a[i].first);
    }
  }
}

}  // namespace
}  // namespace adze::io
