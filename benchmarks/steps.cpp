// SPDX-License-Identifier: MIT
// Whole training steps beside libtorch's, from the same weights, on the same batch. Problem lines:
//   step <name> model= b= [pixels=]     a network of models.hpp, batch, edge of its images
// A step is forward, cross entropy, backward and SGD with momentum 0.9. What is checked: the losses
// of the first five steps against ours in double, in units of their size. libtorch takes one or two
// threads, and images in either layout, as columns of their own; ours as many as --threads says.
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <adze/adze.hpp>
#include <adze/bench/session.hpp>

#include "allocation_count.hpp"
#include "models.hpp"
#include "peers/torch.hpp"

namespace {

using namespace adze;

constexpr double rate = 0.01;
constexpr int proved_steps = 5;

struct batch {
  tensor x, y;
};

// Our training of a model, from its first weights again whenever asked for.
template <class Model> class training {
 public:
  training(Model model, batch data) : first_(clone(model)), data_(std::move(data)) { restart(); }

  void restart() {
    now_ = std::make_unique<Model>(clone(first_));
    sgd_ = std::make_unique<optim::sgd>(parameters(*now_),
                                        optim::sgd_options{.lr = rate, .momentum = 0.9});
  }
  double step() {
    sgd_->zero_grad();
    const tensor loss = cross_entropy((*now_)(data_.x), data_.y);
    backward(loss);
    sgd_->step();
    return loss.item<double>();
  }

 private:
  Model first_;
  batch data_;
  std::unique_ptr<Model> now_;
  std::unique_ptr<optim::sgd> sgd_;
};

template <class Model> std::vector<double> true_losses(const Model& model, const batch& data) {
  Model exact = clone(model);
  to(exact, f64);
  training<Model> run(exact, {data.x.dtype() == f32 ? cast(data.x, f64) : data.x, data.y});
  std::vector<double> losses;
  for (int i = 0; i < proved_steps; ++i) losses.push_back(run.step());
  return losses;
}

// What a candidate does, so that the proof can go on with the one that has just run.
struct runner {
  std::function<void()> restart;
  std::function<double()> step;
};

template <class Model>
void measure(bench::session& run, const peers::torch_library& torch, const bench::problem& p,
             const batch& data) {
  manual_seed(1);
  const Model model;
  const std::vector<double> truth = true_losses(model, data);
  training<Model> ours(model, data);
  const peers::torch_input x(data.x);
  const auto* const labels = data.y.data_as<std::int64_t>();
  std::vector<runner> runners{{[&] { ours.restart(); }, [&] { return ours.step(); }}};
  std::vector<bench::candidate> all;
  const runner* last = nullptr;
  double loss = 0;
  std::vector<std::pair<std::string, runner>> named{{"adze", runners[0]}};
  std::vector<std::unique_ptr<peers::torch_model>> theirs;
  for (const bool channels_last : {false, true}) {
    if (!torch || (channels_last && data.x.rank() != 4)) break;
    theirs.push_back(
        std::make_unique<peers::torch_model>(torch, p.word("model"), model, channels_last));
    const peers::torch_model* const m = theirs.back().get();
    for (const int threads : {1, 2}) {
      named.emplace_back(text("libtorch", channels_last ? " nhwc" : "", " ", threads, "t"),
                         runner{[m] { m->restart(); },
                                [&, m, threads] {
                                  torch.threads(threads);
                                  return m->step(x, labels, rate);
                                }});
    }
  }
  for (const auto& [name, r] : named)
    all.emplace_back(name, [&loss, &last, who = &r] { last = who, loss = who->step(); });
  // Forward, and twice as much backward.
  const double macs = static_cast<double>(cost(trace(model, data.x)).macs);
  run.measure({.shape = p,
               .cost = {.operations = 6 * macs},
               .spoil =
                   [&] {
                     for (const auto& [name, r] : named) r.restart();
                     loss = std::numeric_limits<double>::quiet_NaN();
                   },
               .error =
                   [&] {
                     double worst = 0;
                     for (const double exact : truth) {
                       const double e = std::fabs(loss - exact) / exact;
                       if (!(e <= worst)) worst = e;  // NaN as well
                       loss = last->step();
                     }
                     return worst;
                   },
               .tolerance = 1e-3},
              std::move(all));
}

void measure(bench::session& run, const peers::torch_library& torch, const bench::problem& p) {
  const std::string name = p.word("model");
  const index_t b = p.size("b");
  manual_seed(2);
  const auto labels = [](index_t n, index_t classes) { return randint(0, classes, {n}); };
  if (name == "char_gpt")
    return measure<models::char_gpt>(run, torch, p,
                                     {randint(0, 65, {b, 128}), labels(b * 128, 65)});
  if (name == "lstm")
    return measure<models::lstm>(run, torch, p, {randn({32, b, 64}), labels(b, 10)});
  const bool known =
      models::with_network(name, [&]<class Model>(std::type_identity<Model>, const shape& one) {
        shape sizes = one.with(0, b);
        if (sizes.rank() == 4 && p.has("pixels"))
          sizes = sizes.with(2, p.size("pixels")).with(3, p.size("pixels"));
        measure<Model>(run, torch, p, {rand(sizes), labels(b, 10)});
      });
  if (!known) raise<value_error>("steps: no network of that name; received '", name, "'");
}

}  // namespace

int main(int argc, char** argv) {
  const bench::program_facts about{
      .name = "steps",
      .about = "training steps of whole networks",
      .problem_folder = ADZE_PROBLEMS,
      .lists = {"steps"},
      .flags = ADZE_FLAGS,
      .memory = counted::memory,
  };
  return bench::run_program(argc, argv, about, [&](bench::session& run) {
    const peers::torch_library torch;
    run.add_fact("libtorch", torch ? torch.version() : peers::torch_library::missing);
    for (const bench::problem& p : run.problems({"step"})) measure(run, torch, p);
  });
}
