// SPDX-License-Identifier: MIT
// The README's first program: a small network learns digits that the library draws itself.
//   g++ -std=c++20 -O2 -march=native -Iinclude examples/hello.cpp -o hello -pthread && ./hello

#include <adze/adze.hpp>

#include <cstdio>

using namespace adze;

struct mlp {  // a model is a plain struct that names its layers once
  nn::linear fc1{{.in = 784, .out = 128}};
  nn::linear fc2{{.in = 128, .out = 10}};
  tensor operator()(const tensor& x) const { return fc2(relu(fc1(flatten(x, 1)))); }
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2); }
};

int main() {
  manual_seed(1);
  const auto train = data::synthetic_digits({.count = 5000});
  const auto test = data::synthetic_digits({.count = 1000, .first = 5000});
  mlp model;
  optim::adamw opt(parameters(model), {.lr = 2e-3});
  const data::loader batches(train, {.batch_size = 50, .shuffle = true});

  for (int epoch = 1; epoch <= 5; ++epoch) {
    double total = 0;
    for (auto& [x, y] : batches.epoch(epoch)) {
      opt.zero_grad();
      const tensor loss = cross_entropy(model(x), y);
      backward(loss);
      opt.step();
      total += loss.item();
    }
    std::printf("epoch %d: loss %.2f\n", epoch, total / 100);
  }
  const no_grad guard;
  const tensor right = argmax(model(test.features())) == test.labels();
  std::printf("%.0f %% of 1000 new digits read\n", 100 * mean(cast(right, f32)).item());
}
